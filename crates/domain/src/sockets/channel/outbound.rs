//! What we tell a platform, and what came of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{DeliveryStatus, Timestamp};

/// One part of a message, on its way out.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbound {
    pub message_id: String,
    /// Which part of the message, from 0.
    pub part: u32,
    pub chat_id: String,
    /// The chat's `external_id`.
    pub to: String,
    /// With `media` one of the portions that [`Channel::portions`] made.
    pub text: String,
    pub media: Vec<MediaLink>,
    /// The platform's own template, sent in place of the text.
    pub template: Option<Map<String, Value>>,
    /// The platform's id of the message that this one answers.
    pub reply_to: Option<String>,
    pub chat_meta: Map<String, Value>,
    /// When it was first tried: what [`Channel::look_up`] asks from.
    pub first_tried_at: Timestamp,
    pub now: Timestamp,
}

/// An address that the platform fetches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaLink {
    pub url: String,
    pub mime_type: String,
    pub name: Option<String>,
}

/// What one call to a platform can carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    pub text: String,
    pub media: Vec<MediaLink>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SendOutcome {
    Accepted(Box<Accepted>),
    /// Nothing has happened, and may later: no connection, too many requests, a fault of the platform's.
    Retry {
        after_ms: Option<u64>,
        refusal: Refusal,
    },
    /// It was sent, and there was no complete answer.
    Unknown,
    /// It will never work.
    Refused(RefusalKind, Refusal),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The platform's id of the message, if it gives one.
    pub external_id: Option<String>,
    /// [`DeliveryStatus::Pending`] where the platform has only queued it and will tell more.
    pub status: DeliveryStatus,
    /// The platform's word for that.
    pub word: Option<String>,
    pub sent_to: String,
    pub sent_from: Option<String>,
    /// The chat has moved: its new `external_id`.
    pub moved_to: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    Permanent,
    /// The contact wrote too long ago for free text.
    WindowClosed,
    OptedOut,
    /// The platform takes no such thing from anybody.
    NotSupported,
    /// Our credentials are refused: the channel's queue waits for new ones.
    Auth,
    /// The receiver wants nothing more from this channel.
    ChannelGone,
}

/// In the platform's words: they go to the operators who may see the channel, and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: Option<PlatformCode>,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PlatformCode {
    Number(i64),
    Word(String),
}

/// What the platform knows of a message whose fate is unknown.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    Yes(Accepted),
    /// It does not have it, now.
    No,
    /// The receiver knows a repeat by its id, so nobody need be asked.
    RepeatIsHarmless,
    /// It cannot be asked at all: one repeat is better than silence.
    CannotTell,
    /// It did not answer.
    TryAgain,
}
