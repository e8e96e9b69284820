//! The frames of one socket that wait to be handled, one at a time, in the order in which they came.

use std::collections::VecDeque;

use axum::extract::ws::Utf8Bytes;
use domain::{Clock, ConversationId};
use serde::Serialize;
use serde_json::Value;

use super::{Echo, Owner, Refused, owner_of};
use crate::chats::incoming as chats;
use crate::hub::incoming as hub;
use crate::kit::json::{Fault, Object, parse_object};
use crate::kit::time;
use crate::rules::incoming as rules;

/// Frames that are read ahead of the one being handled. Behind these the peer has to wait.
const MAX_FRAMES: usize = 64;

/// Bytes that are read ahead, likewise: one frame of the largest size.
const MAX_BYTES: usize = 1024 * 1024;

/// A frame that waits.
#[derive(Debug)]
pub(super) enum Item {
    Chats(chats::Request),
    Rules(rules::Wish),
    Hub(hub::Subscribe),
    /// It makes no sense. The answer waits like any other, so that it overtakes none.
    Refused {
        chat: Option<ConversationId>,
        answer: Utf8Bytes,
    },
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    items: VecDeque<(Item, usize)>,
    bytes: usize,
}

impl Inbox {
    pub(super) fn has_room(&self) -> bool {
        self.items.len() < MAX_FRAMES && self.bytes < MAX_BYTES
    }

    /// `size` is that of the frame as it came.
    pub(super) fn put(&mut self, item: Item, size: usize) {
        self.bytes += size;
        self.items.push_back((item, size));
    }

    pub(super) fn take(&mut self) -> Option<Item> {
        let (item, size) = self.items.pop_front()?;
        self.bytes -= size;
        if self.items.is_empty() {
            // A socket that is idle again keeps no room for a burst.
            self.items = VecDeque::new();
        }
        Some(item)
    }
}

/// What a frame is to the socket.
#[derive(Debug)]
pub(super) enum Read {
    AtOnce(Utf8Bytes),
    Nothing,
    InTurn(Item),
    /// One after the other.
    Both(Item, Item),
}

/// Reads a frame, and says whose it is.
pub(super) fn read(text: &str, clock: &dyn Clock) -> Read {
    let Ok(object) = parse_object(text) else { return refused(&Echo::default(), None, &Refused::bad_json()) };
    let owner = match object.string("type") {
        Ok(kind) => owner_of(&kind.trim().to_lowercase()),
        Err(error) if error.fault == Fault::Repeated => return refuse(&object, &Refused::bad_json()),
        Err(_) => None,
    };
    match owner {
        None => refuse(&object, &Refused::unknown_type(&object)),
        Some(Owner::Ping) if object.repeats("timestamp") => refuse(&object, &Refused::bad_json()),
        Some(Owner::Ping) => Read::AtOnce(pong(&object, clock)),
        Some(Owner::Pong) => Read::Nothing,
        Some(Owner::Rules(wish)) => match wish(&object) {
            Ok(wish) => Read::InTurn(Item::Rules(wish)),
            Err(error) => refuse(&object, &error),
        },
        Some(Owner::Chats(wish)) => Read::InTurn(of_chats(&object, wish)),
        Some(Owner::Subscribe) => subscribe(&object),
    }
}

fn of_chats(object: &Object, wish: impl FnOnce(&Object) -> Result<chats::Wish, Refused>) -> Item {
    match chats::Request::read(object, wish) {
        Ok(request) => Item::Chats(request),
        Err(error) => refusal(object, &error),
    }
}

/// `chatId` says that it is the chats', `channels` that it is the hub's; with both, both are done, with neither none.
fn subscribe(object: &Object) -> Read {
    let of_hub = || match hub::Subscribe::read(object) {
        Ok(subscribe) => Item::Hub(subscribe),
        Err(error) => refusal(object, &error.into()),
    };
    match (object.has("chatId"), object.has("channels")) {
        (true, true) => Read::Both(of_chats(object, chats::read_subscribe), of_hub()),
        (false, true) => Read::InTurn(of_hub()),
        (true | false, false) => Read::InTurn(of_chats(object, chats::read_subscribe)),
    }
}

/// Refuses a frame that came too soon after too many others.
pub(super) fn read_too_many(text: &str, retry_after_ms: u64) -> Read {
    let echo = parse_object(text).map(|object| Echo::of(&object)).unwrap_or_default();
    refused(&echo, None, &Refused::too_many_frames(retry_after_ms))
}

fn refuse(object: &Object, error: &Refused) -> Read {
    Read::InTurn(refusal(object, error))
}

fn refusal(object: &Object, error: &Refused) -> Item {
    let chat = object.string("chatId").ok().and_then(ConversationId::parse);
    Item::Refused { chat, answer: error.frame(&Echo::of(object)) }
}

fn refused(echo: &Echo, chat: Option<ConversationId>, error: &Refused) -> Read {
    Read::InTurn(Item::Refused { chat, answer: error.frame(echo) })
}

#[derive(Serialize)]
struct Pong<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// As it was sent, whatever it was.
    timestamp: &'a Value,
    server_time: String,
}

fn pong(object: &Object, clock: &dyn Clock) -> Utf8Bytes {
    let timestamp = object.value("timestamp").unwrap_or(&Value::Null);
    let pong = Pong { kind: "pong", timestamp, server_time: time::with_z(clock.now()) };
    // What was read from JSON has a JSON form.
    serde_json::to_string(&pong).unwrap_or_default().into()
}
