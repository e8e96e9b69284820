//! The one way into the log. What is appended in a transaction is published after its commit, and cannot be forgotten.

use std::sync::Arc;

use domain::{ConversationId, Event, EventKind, Seq, Timestamp, TurnId};
use store::events::{self, Fence};
use store::{StoreError, Tx};

use super::{Attached, Bus, Live};
use crate::{Engine, Error};

/// Why a transaction that appends did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// The conversation is deleted, or another node holds the turn now.
    #[error("the conversation is no longer ours to write to")]
    Gone,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Gone => Self::NotFound,
            AppendError::Store(error) => error.into(),
        }
    }
}

/// What it takes to append to one conversation.
#[derive(Debug, Clone)]
pub(crate) struct Append {
    bus: Arc<Bus>,
    conversation: ConversationId,
    fence: Fence,
    at: Timestamp,
    /// The live log, if it was held before the transaction began.
    live: Option<Arc<Live>>,
}

impl Append {
    /// Appends to `conversation` at the present time.
    pub(crate) fn to(engine: &Engine, conversation: ConversationId, fence: Fence) -> Self {
        Self { bus: Arc::clone(&engine.inner.bus), conversation, fence, at: engine.inner.clock.now(), live: None }
    }

    /// The same, and a hold on the live log. Once something is appended, the log is loaded: it is held since before that, so
    /// it has everything from there on, and the store need not be asked where it ends.
    pub(crate) fn holding(engine: &Engine, conversation: ConversationId, fence: Fence) -> (Self, Attached) {
        let attached = engine.inner.bus.hold(conversation);
        (Self { live: Some(Arc::clone(&attached.live)), ..Self::to(engine, conversation, fence) }, attached)
    }

    pub(crate) const fn at(&self) -> Timestamp {
        self.at
    }

    /// Keeps everybody else from appending until the transaction ends, so that what is read in it stays true. Should be
    /// its first statement if anything is read before the first append.
    ///
    /// # Errors
    /// As [`Self::event`].
    pub(crate) fn lock(&self, tx: &mut Tx) -> Result<(), AppendError> {
        if events::lock(tx, self.conversation, self.fence)? { Ok(()) } else { Err(AppendError::Gone) }
    }

    /// Appends one event, whose number `kind` is told.
    ///
    /// # Errors
    /// [`AppendError::Gone`], or the database's; the transaction must then be given up.
    pub(crate) fn event(
        &self,
        tx: &mut Tx,
        turn: Option<TurnId>,
        kind: impl FnOnce(Seq) -> EventKind,
    ) -> Result<Event, AppendError> {
        let head = events::next(tx, self.conversation, self.fence)?.ok_or(AppendError::Gone)?;
        let event =
            Event { conversation: self.conversation, seq: head.seq, epoch: head.epoch, at: self.at, turn, kind: kind(head.seq) };
        events::insert(tx, &event)?;
        let (bus, live, published) = (Arc::clone(&self.bus), self.live.clone(), event.clone());
        tx.after_commit(move || {
            if let Some(live) = live {
                bus.load(&live, published.epoch, Seq(published.seq.0 - 1));
            }
            bus.publish(&published);
        });
        Ok(event)
    }
}
