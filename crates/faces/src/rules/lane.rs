//! The rules of one socket: one after the other, beside everything else that the socket does.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use domain::{Principal, RunId};
use engine::{Answer, Ended, Engine, RuleErrorCode, RuleNews, RunRule, Started};
use serde_json::json;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::incoming::{Named, Wish};
use super::outgoing;
use crate::kit::error::{Form, Refusal};
use crate::kit::time::with_z;

/// Rules of one socket that are not yet on disk; the engine bounds those that wait to run.
const MAX_ENTERING: usize = 50;

/// Exists from the first rules frame of a socket on.
pub(crate) struct Lane {
    engine: Engine,
    /// Frames on their way into the engine. Whatever is in there is done, also when the socket ends.
    wishes: mpsc::UnboundedSender<(Principal, Wish)>,
    told: mpsc::UnboundedReceiver<Told>,
    /// Runs that have not said their ids yet.
    unnamed: usize,
    news: broadcast::Receiver<RuleNews>,
    /// News that came before that.
    held: Vec<RuleNews>,
    /// Runs that this socket asked for: it hears of them by their answers.
    own: HashSet<RunId>,
    /// Those that wait for an approval.
    pending: HashSet<RunId>,
}

/// What the tasks behind the lane tell it.
enum Told {
    /// A rule has been taken in. `None`: nothing is run for it.
    Named(Option<RunId>),
    Frame(Utf8Bytes),
    Ended {
        answer: Arc<Answer>,
        repeated: bool,
    },
}

impl Lane {
    /// # Errors
    /// The engine's: whoever asks runs no rules.
    pub(crate) fn new(engine: &Engine, who: Principal) -> engine::Result<Self> {
        let news = engine.follow_rules(who)?;
        let (wishes, taken) = mpsc::unbounded_channel();
        let (teller, told) = mpsc::unbounded_channel();
        tokio::spawn(enter(engine.clone(), taken, teller));
        Ok(Self {
            engine: engine.clone(),
            wishes,
            told,
            unnamed: 0,
            news,
            held: Vec::new(),
            own: HashSet::new(),
            pending: HashSet::new(),
        })
    }

    /// Takes a frame in; gives what is answered at once.
    pub(crate) fn take(&mut self, who: Principal, wish: Wish) -> Option<Utf8Bytes> {
        if let Wish::Run { wish, .. } = &wish {
            if self.unnamed >= MAX_ENTERING {
                return Some(refused(&self.engine, wish, "busy", "Too many rules are waiting"));
            }
            self.unnamed += 1;
        }
        // The task lives as long as the lane.
        let _ = self.wishes.send((who, wish));
        None
    }

    /// The next frames to send. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Vec<Utf8Bytes> {
        tokio::select! {
            biased;
            Some(told) = self.told.recv() => self.on_told(told),
            news = self.news.recv() => match news {
                Ok(news) if self.unnamed > 0 => {
                    self.held.push(news);
                    Vec::new()
                }
                Ok(news) => self.on_news(news),
                // Whoever is that far behind reads the registry anyway.
                Err(_) => Vec::new(),
            },
        }
    }

    fn on_told(&mut self, told: Told) -> Vec<Utf8Bytes> {
        match told {
            Told::Named(run) => {
                self.own.extend(run);
                self.unnamed -= 1;
                let held = if self.unnamed == 0 { std::mem::take(&mut self.held) } else { Vec::new() };
                held.into_iter().flat_map(|news| self.on_news(news)).collect()
            }
            Told::Frame(frame) => vec![frame],
            Told::Ended { answer, repeated } => {
                if matches!(answer.ended, Ended::Previewed { .. } | Ended::Waiting { .. }) {
                    self.pending.insert(answer.run);
                }
                let event = if repeated { None } else { outgoing::event_of(&answer) };
                [outgoing::frame(&outgoing::terminal(&answer))].into_iter().chain(event).collect()
            }
        }
    }

    fn on_news(&mut self, news: RuleNews) -> Vec<Utf8Bytes> {
        let event = outgoing::event(&news.refreshed, self.engine.clock().now());
        if self.pending.remove(&news.run) {
            let late = news.late_answer.map(|answer| outgoing::frame(&outgoing::terminal(&answer)));
            return late.into_iter().chain([event]).collect();
        }
        if self.own.contains(&news.run) && news.late_answer.is_none() { Vec::new() } else { vec![event] }
    }
}

/// Brings the frames of one socket into the engine, in their order. Each run begins when the one before it has been told of.
async fn enter(engine: Engine, mut wishes: mpsc::UnboundedReceiver<(Principal, Wish)>, told: mpsc::UnboundedSender<Told>) {
    let mut before = None;
    while let Some((who, wish)) = wishes.recv().await {
        // A socket that has gone hears nothing of all this.
        match wish {
            Wish::Run { wish, with_progress } => match engine.run_rule(who, wish.clone(), with_progress, before.clone()).await {
                Ok(started) => {
                    let _ = told.send(Told::Named(started.run));
                    let end = CancellationToken::new();
                    tokio::spawn(tell(engine.clone(), wish, started, before.replace(end.clone()), end, told.clone()));
                }
                Err(failed) => {
                    let refusal = Refusal::from(failed);
                    let _ = told.send(Told::Named(None));
                    let _ = told.send(Told::Frame(refused(&engine, &wish, refusal.code(), &refusal.text(Form::Chats))));
                }
            },
            Wish::Cancel(named) => {
                if engine.cancel_rule(who, named.name()).await.is_err() {
                    let _ = told.send(Told::Frame(not_found(&engine, &named)));
                }
            }
        }
    }
}

/// Tells of one run, from its beginning to its terminal answer, and then that it has ended.
async fn tell(
    engine: Engine,
    wish: RunRule,
    mut started: Started,
    before: Option<CancellationToken>,
    end: CancellationToken,
    told: mpsc::UnboundedSender<Told>,
) {
    let (run, slug, repeated) = (started.run, started.slug.clone(), started.repeated);
    if let Some(mut progress) = started.progress.take() {
        while let Some(step) = progress.recv().await {
            let frame = outgoing::progress(&slug, wish.rule_id.as_deref(), run, step, engine.clock().now());
            let _ = told.send(Told::Frame(frame));
        }
    }
    if let Some(answer) = started.answer().await {
        if let Some(before) = before.as_ref().filter(|_| keeps_its_place(&answer, repeated)) {
            before.cancelled().await;
        }
        let _ = told.send(Told::Ended { answer, repeated });
    }
    // What was stopped while it waited lets nobody overtake those before it.
    if let Some(before) = before {
        before.cancelled().await;
    }
    end.cancel();
}

/// What nothing was run for is answered when its turn comes; what was stopped or refused while it waited, at once.
fn keeps_its_place(answer: &Answer, repeated: bool) -> bool {
    repeated || !matches!(answer.ended, Ended::Failed { code: RuleErrorCode::Busy | RuleErrorCode::Cancelled, .. })
}

fn refused(engine: &Engine, wish: &RunRule, code: &str, message: &str) -> Utf8Bytes {
    let ids = [("rule_id", wish.rule_id.as_deref()), ("client_id", wish.client_id.as_deref())];
    error(engine, &engine::rule_slug(&wish.rule_code), &ids, code, message)
}

fn not_found(engine: &Engine, named: &Named) -> Utf8Bytes {
    let ids = match named {
        Named::Rule(id) => [("rule_id", Some(id.as_str()))],
        Named::Run(id) => [("run_id", Some(id.as_str()))],
    };
    error(engine, &engine::rule_slug(named.name()), &ids, "not_found", "Run not found")
}

fn error(engine: &Engine, rule: &str, ids: &[(&str, Option<&str>)], code: &str, message: &str) -> Utf8Bytes {
    let timestamp = with_z(engine.clock().now());
    let mut frame = json!({"type": "error", "rule": rule, "message": message, "code": code, "timestamp": timestamp});
    for (name, id) in ids {
        if let Some(id) = id {
            frame[*name] = json!(id);
        }
    }
    frame.to_string().into()
}
