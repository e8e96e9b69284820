//! The rules of one socket: one after the other, beside everything else that the socket does.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use domain::{Principal, RunId};
use engine::{Answer, Ended, Engine, RuleNews, RunRule};
use serde_json::json;
use tokio::sync::{broadcast, mpsc};

use super::incoming::Wish;
use super::outgoing;
use crate::kit::time::with_z;

/// Rules of one socket that wait; the engine allows as many for all.
const MAX_WAITING: usize = 50;

/// Exists from the first rules frame of a socket on.
pub(crate) struct Lane {
    engine: Engine,
    waiting: VecDeque<(Principal, RunRule, bool)>,
    current: Option<mpsc::UnboundedReceiver<Told>>,
    /// The run that is current has not said its id yet.
    is_unnamed: bool,
    news: broadcast::Receiver<RuleNews>,
    /// News that came before that.
    held: Vec<RuleNews>,
    /// Runs that this socket asked for: it hears of them by their answers.
    own: HashSet<RunId>,
    /// Those that wait for an approval.
    pending: HashSet<RunId>,
    /// Answers that could not be given at once.
    late: (mpsc::UnboundedSender<Utf8Bytes>, mpsc::UnboundedReceiver<Utf8Bytes>),
}

/// What the task of a run tells the lane.
enum Told {
    Named(Option<RunId>),
    Frame(Utf8Bytes),
    Ended {
        answer: Arc<Answer>,
        repeated: bool,
    },
    /// The engine could not even take it in.
    Failed(Utf8Bytes),
}

impl Lane {
    /// # Errors
    /// The engine's: whoever asks runs no rules.
    pub(crate) fn new(engine: &Engine, who: Principal) -> engine::Result<Self> {
        Ok(Self {
            engine: engine.clone(),
            waiting: VecDeque::new(),
            current: None,
            is_unnamed: false,
            news: engine.follow_rules(who)?,
            held: Vec::new(),
            own: HashSet::new(),
            pending: HashSet::new(),
            late: mpsc::unbounded_channel(),
        })
    }

    /// Takes a frame in; gives what is answered at once.
    pub(crate) fn take(&mut self, who: Principal, wish: Wish) -> Option<Utf8Bytes> {
        match wish {
            Wish::Run { wish, .. } if self.waiting.len() >= MAX_WAITING => {
                Some(self.error(&wish, "busy", "Too many rules are waiting"))
            }
            Wish::Run { wish, with_progress } => {
                self.waiting.push_back((who, wish, with_progress));
                self.advance();
                None
            }
            Wish::Cancel { name } => self.cancel(who, &name),
        }
    }

    /// The next frames to send. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Vec<Utf8Bytes> {
        let current = async {
            match &mut self.current {
                Some(current) => current.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            told = current => self.on_told(told),
            Some(frame) = self.late.1.recv() => vec![frame],
            news = self.news.recv() => match news {
                Ok(news) if self.is_unnamed => {
                    self.held.push(news);
                    Vec::new()
                }
                Ok(news) => self.on_news(news),
                // Whoever is that far behind reads the registry anyway.
                Err(_) => Vec::new(),
            },
        }
    }

    /// The socket ends; what was asked for is done all the same.
    pub(crate) fn finish(self) {
        let Self { engine, waiting, .. } = self;
        tokio::spawn(async move {
            for (who, wish, _) in waiting {
                if let Ok(mut started) = engine.run_rule(who, wish, false).await {
                    started.answer().await;
                }
            }
        });
    }

    fn advance(&mut self) {
        if self.current.is_some() {
            return;
        }
        let Some((who, wish, with_progress)) = self.waiting.pop_front() else { return };
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(self.engine.clone(), who, wish, with_progress, sender));
        self.current = Some(receiver);
        self.is_unnamed = true;
    }

    fn on_told(&mut self, told: Option<Told>) -> Vec<Utf8Bytes> {
        match told {
            Some(Told::Named(run)) => {
                self.own.extend(run);
                self.is_unnamed = false;
                let held = std::mem::take(&mut self.held);
                held.into_iter().flat_map(|news| self.on_news(news)).collect()
            }
            Some(Told::Frame(frame)) => vec![frame],
            Some(Told::Ended { answer, repeated }) => {
                self.end_current();
                if matches!(answer.ended, Ended::Previewed { .. } | Ended::Waiting { .. }) {
                    self.pending.insert(answer.run);
                }
                let event = if repeated { None } else { outgoing::event_of(&answer) };
                [outgoing::frame(&outgoing::terminal(&answer))].into_iter().chain(event).collect()
            }
            Some(Told::Failed(frame)) => {
                self.end_current();
                vec![frame]
            }
            None => {
                self.end_current();
                Vec::new()
            }
        }
    }

    fn end_current(&mut self) {
        self.current = None;
        self.is_unnamed = false;
        self.advance();
    }

    fn on_news(&mut self, news: RuleNews) -> Vec<Utf8Bytes> {
        let event = outgoing::event(&news.refreshed, self.engine.clock().now());
        if self.pending.remove(&news.run) {
            let late = news.late_answer.map(|answer| outgoing::frame(&outgoing::terminal(&answer)));
            return late.into_iter().chain([event]).collect();
        }
        if self.own.contains(&news.run) && news.late_answer.is_none() { Vec::new() } else { vec![event] }
    }

    fn cancel(&mut self, who: Principal, name: &str) -> Option<Utf8Bytes> {
        let queued = self.waiting.iter().position(|(_, wish, _)| wish.rule_id.as_deref() == Some(name));
        if let Some((_, wish, _)) = queued.and_then(|at| self.waiting.remove(at)) {
            return Some(self.error(&wish, "cancelled", "Cancelled"));
        }
        if self.engine.cancel_rule(who, name).is_ok() {
            return None;
        }
        // It may run on another node, and nothing else waits for that.
        let (engine, name, late) = (self.engine.clone(), name.to_owned(), self.late.0.clone());
        tokio::spawn(async move {
            if engine.cancel_rule_anywhere(who, &name).await.is_err() {
                let wish = RunRule { rule_id: Some(name), ..RunRule::default() };
                // The socket may have ended.
                let _ = late.send(error(&engine, &wish, "not_found", "Run not found"));
            }
        });
        None
    }

    fn error(&self, wish: &RunRule, code: &str, message: &str) -> Utf8Bytes {
        error(&self.engine, wish, code, message)
    }
}

fn error(engine: &Engine, wish: &RunRule, code: &str, message: &str) -> Utf8Bytes {
    let mut frame = json!({
        "type": "error",
        "rule": wish.rule_code.split_whitespace().collect::<Vec<_>>().join("_").to_lowercase(),
        "message": message,
        "code": code,
        "timestamp": with_z(engine.clock().now()),
    });
    if let Some(frame) = frame.as_object_mut() {
        for (name, id) in [("rule_id", &wish.rule_id), ("client_id", &wish.client_id)] {
            if let Some(id) = id {
                frame.insert(name.to_owned(), json!(id));
            }
        }
    }
    frame.to_string().into()
}

/// One run, from its beginning to its terminal answer. It goes on when nobody listens any more.
async fn run(engine: Engine, who: Principal, wish: RunRule, with_progress: bool, told: mpsc::UnboundedSender<Told>) {
    let mut started = match engine.run_rule(who, wish.clone(), with_progress).await {
        Ok(started) => started,
        Err(failed) => {
            let refusal = crate::kit::error::Refusal::from(failed);
            let words = refusal.text(crate::kit::error::Form::Chats);
            let _ = told.send(Told::Failed(error(&engine, &wish, refusal.code(), &words)));
            return;
        }
    };
    // A socket that has gone hears nothing of it.
    let _ = told.send(Told::Named(started.run));
    let (run, slug, repeated) = (started.run, started.slug.clone(), started.repeated);
    if let Some(mut progress) = started.progress.take() {
        while let Some(step) = progress.recv().await {
            let frame = outgoing::progress(&slug, wish.rule_id.as_deref(), run, step, engine.clock().now());
            let _ = told.send(Told::Frame(frame));
        }
    }
    if let Some(answer) = started.answer().await {
        let _ = told.send(Told::Ended { answer, repeated });
    }
}
