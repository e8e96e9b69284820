//! The chats that one socket follows. Each is a stream of its own: in order in itself, in no order with the others.
//!
//! A stream keeps its place in its chat's log, so nothing is read ahead for a peer that is not ready for it: entries are
//! taken one by one while its line has room, and stay in the log otherwise.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::vec::IntoIter;

use axum::extract::ws::Utf8Bytes;
use domain::ConversationId;
use engine::{Entry, Follow};
use futures_util::Stream;
use futures_util::stream::try_unfold;

use super::{Echo, Refused};
use crate::chats::incoming::Followed;
use crate::chats::outgoing;
use crate::kit::ws::Line;

/// Chats that one socket may follow, by the contract.
pub(super) const MAX_CHATS: usize = 100;

#[derive(Default)]
pub(super) struct Streams {
    all: Vec<OneChat>,
    /// Whose turn it is to be asked first, so that a busy chat does not silence the others.
    next: usize,
    /// Chats of whose text more was shown than is left, because a node has died. They must be shown anew.
    outdated: Vec<(ConversationId, bool)>,
}

struct OneChat {
    chat: ConversationId,
    with_reasoning: bool,
    batches: Batches,
    /// What is left of the newest batch.
    ready: IntoIter<Arc<Entry>>,
}

type Batches = Pin<Box<dyn Stream<Item = engine::Result<Vec<Arc<Entry>>>> + Send>>;

/// Something came of a chat.
#[derive(Debug)]
pub(super) enum News {
    Entries(ConversationId),
    /// The chat is over, and no longer followed.
    Over,
    /// The chat can no longer be followed, for no fault of the peer's.
    Broken(ConversationId, engine::Error),
}

impl Streams {
    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn has(&self, chat: ConversationId) -> bool {
        self.all.iter().any(|one| one.chat == chat)
    }

    pub(super) fn put(&mut self, chat: ConversationId, followed: Followed) {
        self.remove(chat);
        let Followed { follow, with_reasoning } = followed;
        self.all.push(OneChat { chat, with_reasoning, batches: batches(follow), ready: Vec::new().into_iter() });
    }

    pub(super) fn remove(&mut self, chat: ConversationId) {
        self.all.retain(|one| one.chat != chat);
    }

    /// Chats that are no longer followed and must be subscribed to again, and whether with thoughts.
    pub(super) fn take_outdated(&mut self) -> Vec<(ConversationId, bool)> {
        std::mem::take(&mut self.outdated)
    }

    /// Waits until one of the chats has something. `held` is left alone: a frame about it is being handled, and what is
    /// answered to that comes first. May be dropped and called again without losing anything.
    pub(super) async fn next(&mut self, held: Option<ConversationId>) -> News {
        std::future::poll_fn(|cx| self.poll_next(cx, held)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, held: Option<ConversationId>) -> Poll<News> {
        let (first, count) = (self.next, self.all.len());
        for index in (first..first + count).map(|index| index % count) {
            if held == Some(self.all[index].chat) {
                continue;
            }
            if let Poll::Ready(news) = self.poll_one(cx, index) {
                self.next = index + 1;
                return Poll::Ready(news);
            }
        }
        Poll::Pending
    }

    fn poll_one(&mut self, cx: &mut Context<'_>, index: usize) -> Poll<News> {
        let one = &mut self.all[index];
        if one.ready.len() > 0 {
            return Poll::Ready(News::Entries(one.chat));
        }
        let news = match one.batches.as_mut().poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(batch))) => {
                one.ready = batch.into_iter();
                return Poll::Ready(News::Entries(one.chat));
            }
            Poll::Ready(Some(Err(engine::Error::BadCursor))) => {
                self.outdated.push((one.chat, one.with_reasoning));
                News::Over
            }
            Poll::Ready(Some(Err(error))) => News::Broken(one.chat, error),
            Poll::Ready(None) => News::Over,
        };
        self.all.remove(index);
        Poll::Ready(news)
    }

    /// Sends what is ready of a chat, while the line has room for it.
    pub(super) fn feed(&mut self, chat: ConversationId, line: &mut Line) {
        let Some(one) = self.all.iter_mut().find(|one| one.chat == chat) else { return };
        while line.has_room()
            && let Some(entry) = one.ready.next()
        {
            outgoing::frames(&entry, one.with_reasoning).for_each(|frame| line.send(frame));
        }
    }

    /// Sends everything that has already happened in a chat. `false`: there is more than the line has room for now.
    pub(super) fn catch_up(&mut self, chat: ConversationId, line: &mut Line) -> bool {
        // Whoever waits polls again, with a waker of its own.
        let mut cx = Context::from_waker(Waker::noop());
        while line.has_room() {
            let Some(index) = self.all.iter().position(|one| one.chat == chat) else { return true };
            match self.poll_one(&mut cx, index) {
                Poll::Ready(News::Entries(_)) => self.feed(chat, line),
                Poll::Ready(News::Broken(chat, error)) => line.send(broken(chat, error)),
                Poll::Ready(News::Over) | Poll::Pending => return true,
            }
        }
        false
    }
}

/// Tells the peer that it has to subscribe again.
pub(super) fn broken(chat: ConversationId, error: engine::Error) -> Utf8Bytes {
    Refused::from(error).frame(&Echo::chat(chat.hex()))
}

fn batches(follow: Follow) -> Batches {
    Box::pin(try_unfold(follow, async |mut follow: Follow| Ok(follow.next().await?.map(|batch| (batch, follow)))))
}
