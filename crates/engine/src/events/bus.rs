//! Which conversations are live on this node, and the way of every event to their followers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{ConversationId, Event, TurnId};
use store::{Store, conversations};

use super::feed::FeedLog;
use super::flush::Flusher;
use super::live::{Entry, Live, PartName, What};
use crate::{Error, Result};

#[derive(Debug)]
pub(crate) struct Bus {
    store: Store,
    /// A conversation is here while somebody follows it or a turn writes to it.
    live: Mutex<HashMap<ConversationId, Held>>,
    pub(super) feed: FeedLog,
    flusher: Flusher,
}

impl Bus {
    pub(crate) fn new(store: Store) -> Arc<Self> {
        let flusher = Flusher::spawn(store.clone());
        Arc::new(Self { store, live: Mutex::default(), feed: FeedLog::default(), flusher })
    }

    /// The live log of a conversation, which stays while the answer is held.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn live(self: &Arc<Self>, conversation: ConversationId) -> Result<Attached> {
        let attached = self.hold(conversation);
        if !attached.live.is_loaded() {
            let head = self.store.read(move |tx| conversations::head(tx, conversation)).await?.ok_or(Error::NotFound)?;
            attached.live.load(head.epoch, head.seq);
        }
        Ok(attached)
    }

    /// Hands a fact that is on disk to everybody who follows.
    pub(crate) fn publish(&self, event: &Event) {
        let live = self.lock().get(&event.conversation).map(|held| Arc::clone(&held.live));
        if let Some(live) = live {
            live.publish(event.clone());
        }
        self.feed.push(|| {
            let cursor = domain::Cursor { epoch: event.epoch, seq: event.seq, offset: 0 };
            Entry::new(cursor, What::Fact(event.clone()))
        });
    }

    /// Hands a piece of text to everybody who follows, and to the store within 50 ms.
    pub(crate) fn write(&self, live: &Arc<Live>, turn: TurnId, part: &PartName, text: &str) {
        if let Some(entry) = live.write(turn, part, text) {
            self.feed.push(|| entry);
            self.flusher.mark(live);
        }
    }

    /// Stores what is open without waiting for the next tick.
    pub(crate) async fn flush(&self) {
        self.flusher.flush_now().await;
    }

    /// The live log of a conversation, which stays while the answer is held. It may not know yet where it ends.
    pub(super) fn hold(self: &Arc<Self>, conversation: ConversationId) -> Attached {
        let mut all = self.lock();
        let held = all.entry(conversation).or_insert_with(|| Held { live: Arc::new(Live::new(conversation)), holders: 0 });
        held.holders += 1;
        Attached { bus: Arc::clone(self), live: Arc::clone(&held.live) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConversationId, Held>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hold on a live log: it is forgotten when nobody holds it any more.
#[derive(Debug)]
pub(crate) struct Attached {
    bus: Arc<Bus>,
    pub(crate) live: Arc<Live>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut all = self.bus.lock();
        if let Some(held) = all.get_mut(&self.live.conversation) {
            held.holders -= 1;
            if held.holders == 0 {
                all.remove(&self.live.conversation);
            }
        }
    }
}

impl Attached {
    /// A second hold on the same log.
    pub(crate) fn again(&self) -> Self {
        self.bus.hold(self.live.conversation)
    }
}

#[derive(Debug)]
struct Held {
    live: Arc<Live>,
    holders: usize,
}
