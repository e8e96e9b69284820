//! The conversation that a socket is bound to: what had happened before, as far as it is to be shown, and then what happens.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use domain::{AccountId, Closing, ConversationId, EventKind, Outcome, Seq, TurnId};
use engine::{Entry, Follow, Opened, What};
use futures_util::stream::try_unfold;
use futures_util::{Stream, StreamExt};

use super::outgoing;
use super::reconnects::Left;
use crate::kit::ws::Line;

pub(super) struct Bound {
    pub(super) conversation: ConversationId,
    number: i64,
    account: AccountId,
    batches: Batches,
    /// What is left of the newest batch.
    ready: std::vec::IntoIter<Arc<Entry>>,
    /// The end of the log when the socket was bound. What is older is shown again, not new.
    as_of: Seq,
    replay: Replay,
    /// The turn that runs, as far as the stream has come.
    running: Option<TurnId>,
    /// Why the turn that runs is being cancelled, and whether the socket is unbound after it.
    closing: Option<(&'static str, bool)>,
    /// The client is told what clients of the earlier system do not know.
    notices: bool,
}

/// What is shown of the time before the socket was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replay {
    /// Everything from a position on. If nothing runs then, the client is told that this was all.
    Everything { nothing_runs: bool },
    /// What was said in one turn. What people wrote meanwhile, the client reads in the transcript.
    OneTurn,
}

enum News {
    Batch(Vec<Arc<Entry>>),
    /// All that had happened before has been handed out.
    CaughtUp,
}

type Batches = Pin<Box<dyn Stream<Item = engine::Result<News>> + Send>>;

/// What came of waiting.
pub(super) enum Came {
    Entries,
    /// Send it to the client.
    Frame(Utf8Bytes),
    Nothing,
    /// The conversation is gone.
    Over,
    Broken(engine::Error),
}

impl Bound {
    pub(super) fn new(opened: Opened, number: i64, account: AccountId, replay: Replay) -> Self {
        let as_of = opened.as_of();
        Self {
            conversation: opened.conversation.id,
            number,
            account,
            running: opened.runs,
            batches: batches(opened.follow),
            ready: Vec::new().into_iter(),
            as_of,
            replay,
            closing: None,
            notices: false,
        }
    }

    pub(super) fn with_notices(self, notices: bool) -> Self {
        Self { notices, ..self }
    }

    /// The turn that runs, for whoever leaves in the middle of it.
    pub(super) fn left(&self) -> Option<Left> {
        self.running.map(|turn| Left { conversation: self.conversation, turn })
    }

    pub(super) const fn number(&self) -> i64 {
        self.number
    }

    /// Waits for something. May be dropped and called again without losing anything.
    pub(super) async fn next(&mut self) -> Came {
        if self.ready.len() > 0 {
            return Came::Entries;
        }
        match self.batches.next().await {
            Some(Ok(News::Batch(batch))) => {
                self.ready = batch.into_iter();
                Came::Entries
            }
            Some(Ok(News::CaughtUp)) => match self.replay {
                Replay::Everything { nothing_runs: true } => Came::Frame(outgoing::response_done(Some(self.number))),
                Replay::Everything { nothing_runs: false } | Replay::OneTurn => Came::Nothing,
            },
            Some(Err(error)) => Came::Broken(error),
            None => Came::Over,
        }
    }

    /// Sends what is ready, while the line has room for it. `false`: the socket is to be unbound.
    pub(super) fn feed(&mut self, line: &mut Line) -> bool {
        while line.has_room()
            && let Some(entry) = self.ready.next()
        {
            let (frame, stays) = self.take(&entry);
            if let Some(frame) = frame {
                line.send(frame);
            }
            if !stays {
                return false;
            }
        }
        true
    }

    fn take(&mut self, entry: &Entry) -> (Option<Utf8Bytes>, bool) {
        let shown = |this: &Self| outgoing::frame(entry, this.number);
        let What::Fact(event) = &entry.what else { return (shown(self), true) };
        let is_past = event.seq <= self.as_of;
        match &event.kind {
            EventKind::ConversationClosed { .. } if is_past => (None, true),
            EventKind::ConversationClosed { why } => (None, self.close(*why)),
            EventKind::ConversationDeleted => (self.notices.then(|| outgoing::conversation_deleted(self.number)), false),
            EventKind::MessageAdded { .. } if is_past && self.replay == Replay::OneTurn => (None, true),
            EventKind::TurnStarted { .. } => {
                self.running = self.running.or(event.turn);
                (shown(self), true)
            }
            EventKind::TurnFinished { outcome, .. } => {
                let frame = match (self.closing, outcome) {
                    (Some((content, _)), Outcome::Cancelled) => Some(outgoing::closed(entry, self.number, content)),
                    _ => shown(self),
                };
                let mut stays = true;
                if self.running == event.turn {
                    self.running = None;
                    stays = !self.closing.take().is_some_and(|(_, unbind)| unbind);
                }
                (frame, stays)
            }
            _ => (shown(self), true),
        }
    }

    /// Whether the socket stays bound for now.
    fn close(&mut self, why: Closing) -> bool {
        let (content, unbind) = match why {
            Closing::Session { account } => ("Session closed", account == self.account),
            // The last event of all unbinds it.
            Closing::Deletion => ("Conversation deleted", false),
        };
        if self.running.is_some() {
            self.closing = Some((content, unbind));
            return true;
        }
        !unbind
    }
}

fn batches(follow: Follow) -> Batches {
    enum Stage {
        Replaying(Follow),
        Live(Follow),
    }
    Box::pin(try_unfold(Stage::Replaying(follow), async |stage: Stage| match stage {
        Stage::Replaying(mut follow) => Ok(Some(match follow.replay_next().await? {
            Some(batch) => (News::Batch(batch), Stage::Replaying(follow)),
            None => (News::CaughtUp, Stage::Live(follow)),
        })),
        Stage::Live(mut follow) => Ok(follow.next().await?.map(|batch| (News::Batch(batch), Stage::Live(follow)))),
    }))
}
