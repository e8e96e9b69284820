//! The hub's events on one socket: whether it gets any, and which.

use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use domain::Principal;
use engine::{Engine, HubFeed, HubNews};
use tokio::time::sleep;

use crate::hub::incoming::{RESYNC, Subscribe};
use crate::hub::outgoing;

/// How long to wait when the database refuses.
const RETRY: Duration = Duration::from_secs(1);

/// Kept small: most sockets have nothing to do with the hub.
#[derive(Debug)]
pub(super) enum HubLine {
    /// None until it asks for some.
    Off,
    On(Box<HubFeed>),
    /// Without having asked: it may be the hub's own client, which sends no token.
    Unasked(Box<HubFeed>),
}

impl HubLine {
    pub(super) async fn on(engine: &Engine) -> Self {
        Self::On(Box::new(engine.hub_feed().await))
    }

    pub(super) async fn unasked(engine: &Engine) -> Self {
        Self::Unasked(Box::new(engine.hub_feed().await))
    }

    /// It has shown that it is another client, and gets no more of what it did not ask for.
    pub(super) fn end_unasked(&mut self) {
        if let Self::Unasked(_) = self {
            *self = Self::Off;
        }
    }

    /// Does what a `subscribe` asks for.
    pub(super) async fn subscribe(&mut self, engine: &Engine, subscribe: &Subscribe) {
        let mut feed = match std::mem::replace(self, Self::Off) {
            Self::On(feed) | Self::Unasked(feed) => feed,
            Self::Off => Box::new(engine.hub_feed().await),
        };
        feed.want(subscribe.channels(), subscribe.notes);
        if let Some(after) = subscribe.after {
            feed.resume(after).await;
        }
        *self = Self::On(feed);
    }

    /// The next frames; never, if there are none to come. May be dropped and called again without losing anything.
    pub(super) async fn next(&mut self, who: Principal) -> Vec<Utf8Bytes> {
        let (Self::On(feed) | Self::Unasked(feed)) = self else { return std::future::pending().await };
        loop {
            match feed.next(who).await {
                Ok(HubNews::Entries(entries)) => {
                    let frames = entries.iter().map(|entry| entry.encoded(outgoing::frame));
                    // What was JSON is UTF-8.
                    return frames.filter_map(|frame| Utf8Bytes::try_from(frame).ok()).collect();
                }
                Ok(HubNews::Resync) => return vec![RESYNC],
                Err(error) => {
                    tracing::warn!(%error, "the hub's events cannot be read for a socket; trying again");
                    sleep(RETRY).await;
                }
            }
        }
    }
}
