//! Which conversations are live on this node, and the way of every event to their followers, here and on other nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use domain::{Clock, ConversationId, Event, Seq, Subject, TurnId};
use store::{Store, StoreError, conversations};
use tokio::sync::{broadcast, mpsc};

use super::feed::FeedLog;
use super::flush::Flusher;
use super::live::{Entry, Live, PartName, What};
use super::mail::{Order, Outbox};
use super::remote::{self, Remote};
use crate::nodes::Sharing;
use crate::{Error, Result};

#[derive(Debug)]
pub(crate) struct Bus {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    /// A conversation is here while somebody follows it or a turn writes to it.
    live: Mutex<HashMap<ConversationId, Held>>,
    pub(super) feed: Arc<FeedLog>,
    flusher: Flusher,
    /// `None`: there are no other nodes.
    pub(super) remote: Option<Remote>,
    pub(super) itself: Weak<Self>,
}

impl Bus {
    /// Also gives what other nodes will ask this one to do.
    pub(crate) fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        sharing: &Sharing,
    ) -> (Arc<Self>, Option<mpsc::UnboundedReceiver<Order>>) {
        let flusher = Flusher::spawn(store.clone());
        let (remote, orders) = match sharing {
            Sharing::Alone => (None, None),
            Sharing::Shared { id, carrier, .. } => {
                let (remote, orders) = Remote::new(*id, carrier.clone());
                (Some(remote), Some(orders))
            }
        };
        let bus = Arc::new_cyclic(|itself| {
            let (live, feed) = (Mutex::default(), Arc::default());
            Self { store, clock, live, feed, flusher, remote, itself: Weak::clone(itself) }
        });
        remote::start(&bus);
        (bus, orders)
    }

    /// Whether other nodes write to the same logs.
    pub(crate) const fn is_shared(&self) -> bool {
        self.remote.is_some()
    }

    /// The live log of a conversation, which stays while the answer is held.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn live(self: &Arc<Self>, conversation: ConversationId) -> Result<Attached> {
        let attached = self.hold(conversation);
        if attached.live.head().is_none() {
            let shared = self.is_shared();
            let looking = self.store.read(move |tx| {
                let Some(head) = conversations::head(tx, conversation)? else { return Ok(None) };
                // On one node a turn that writes holds the live log, so nothing is open that it does not know.
                let open = if shared { remote::part_being_written(tx, conversation)? } else { None };
                Ok::<_, StoreError>(Some((head, open)))
            });
            let (head, open) = looking.await.map_err(Error::from)?.ok_or(Error::NotFound)?;
            attached.live.load(head.epoch, head.seq, open);
        }
        Ok(attached)
    }

    /// Tells a live log where it ended before something that this node has stored. Whether another node is writing is read
    /// afterwards.
    pub(super) fn load(&self, live: &Live, epoch: i64, seq: Seq) {
        if live.load(epoch, seq, None)
            && let Some(remote) = &self.remote
        {
            remote.mark(live.conversation, true);
        }
    }

    /// Hands a fact that this node has stored to everybody who follows.
    pub(crate) fn publish(&self, event: &Event) {
        match self.find(event.conversation) {
            Some(live) => {
                let whole = live.publish(event.clone());
                if let Some(remote) = self.remote.as_ref().filter(|_| !whole) {
                    remote.mark(event.conversation, false);
                }
            }
            None => self.feed.push(|| {
                let cursor = domain::Cursor { epoch: event.epoch, seq: event.seq, offset: 0 };
                Entry::new(cursor, What::Fact(event.clone()))
            }),
        }
        if let Some(outbox) = self.outbox() {
            outbox.fact(event);
        }
    }

    /// Hands a piece of text to everybody who follows, and to the store within 50 ms. `false`: it is not this node's any more
    /// to write.
    pub(crate) fn write(&self, live: &Arc<Live>, turn: TurnId, part: &PartName, text: &str) -> bool {
        let Some(entry) = live.write(turn, part, text) else { return false };
        self.flusher.mark(live);
        if let Some(outbox) = self.outbox() {
            outbox.text(&entry, part.at);
        }
        true
    }

    /// Stores what is open without waiting for the next tick.
    pub(crate) async fn flush(&self) {
        self.flusher.flush_now().await;
    }

    /// Brings a live log up to the store, with text that other nodes write.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn catch_up(&self, live: &Live) -> Result<()> {
        self.catch_up_with(&[(live.conversation, true)]).await
    }

    /// The live log has come to `seq`, which is in the store.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn catch_up_to(&self, live: &Live, seq: Seq) -> Result<()> {
        if live.head().is_none_or(|(_, head)| head < seq) {
            self.catch_up_with(&[(live.conversation, false)]).await?;
        }
        Ok(())
    }

    /// The live log has every fact that this node has stored.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn close_gaps(&self, live: &Live) -> Result<()> {
        if live.has_gap() {
            self.catch_up_with(&[(live.conversation, false)]).await?;
        }
        Ok(())
    }

    /// Another node is to stop this turn. That it is to stop is in the store already.
    pub(crate) fn ask_to_stop(&self, conversation: ConversationId, turn: TurnId) {
        if let Some(outbox) = self.outbox() {
            outbox.order(Order::Stop(conversation, turn));
        }
    }

    /// Another node is to answer what waits.
    pub(crate) fn ask_to_serve(&self, conversation: ConversationId) {
        if let Some(outbox) = self.outbox() {
            outbox.order(Order::Serve(conversation));
        }
    }

    /// Tells all other nodes that something has changed that is no conversation: a lost word does no harm if they also look
    /// by themselves now and then.
    pub(crate) fn announce(&self, topic: String) {
        if let Some(outbox) = self.outbox() {
            outbox.topic(topic);
        }
    }

    /// What other nodes [`announce`](Self::announce); nothing if there are none.
    pub(crate) fn announcements(&self) -> Option<broadcast::Receiver<String>> {
        Some(self.remote.as_ref()?.topics())
    }

    pub(crate) async fn send_what_waits(&self) {
        if let Some(remote) = &self.remote {
            remote.send_what_waits().await;
            remote.let_go();
        }
    }

    /// Somebody follows everything from now on.
    pub(super) fn follow_all_text(&self) {
        if let Some(outbox) = self.outbox() {
            outbox.follow(Subject::AllText, true);
        }
    }

    pub(super) fn outbox(&self) -> Option<&Outbox> {
        self.remote.as_ref()?.outbox()
    }

    pub(super) fn find(&self, conversation: ConversationId) -> Option<Arc<Live>> {
        self.lock().get(&conversation).map(|held| Arc::clone(&held.live))
    }

    pub(super) fn all_live(&self) -> Vec<Arc<Live>> {
        self.lock().values().map(|held| Arc::clone(&held.live)).collect()
    }

    /// The live log of a conversation, which stays while the answer is held. It may not know yet where it ends.
    pub(super) fn hold(self: &Arc<Self>, conversation: ConversationId) -> Attached {
        let mut all = self.lock();
        let held = all.entry(conversation).or_insert_with(|| {
            self.follow_text(conversation, true);
            Held { live: Arc::new(Live::new(conversation, Arc::clone(&self.feed))), holders: 0 }
        });
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
                self.bus.follow_text(self.live.conversation, false);
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
