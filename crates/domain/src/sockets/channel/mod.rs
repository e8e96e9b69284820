//! What a messaging platform plugs into: read what it sends, send what we say, and a table of its limits.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Platform;

mod inbound;
mod outbound;

pub use inbound::{
    Authenticity, ConsentChange, Handshake, Identity, IdentityKind, Inbound, InboundMessage, InboundRequest, Intake, IntakeError,
    Media, MediaError, MediaRef, MessageKind, Polled, Sender, StatusNews, Unreadable,
};
pub use outbound::{Accepted, Found, MediaLink, Outbound, PlatformCode, Portion, Refusal, RefusalKind, SendOutcome};

/// A connector: how one platform speaks. It keeps nothing between calls; what it needs to know of a channel comes with each.
#[async_trait]
pub trait Channel: Send + Sync + 'static {
    fn platform(&self) -> Platform;

    fn limits(&self) -> &Limits;

    /// The credentials without which nothing can be sent and that are not there.
    fn missing_credentials(&self, credentials: &Credentials) -> Vec<&'static str>;

    /// Whether credentials have the form of the platform's own; those of a test double mostly have not.
    fn look_real(&self, _credentials: &Credentials) -> bool {
        true
    }

    /// Whether the platform (or who knows its secret) sent this request, judged by its raw bytes.
    fn verify(&self, access: &ChannelAccess, request: &InboundRequest) -> Authenticity;

    /// The answer that a platform wants when its webhook is set up; `None` for every other request. A request by GET is
    /// proof in itself, one by POST is verified first.
    fn handshake(&self, access: &ChannelAccess, request: &InboundRequest) -> Option<Handshake>;

    /// What the request says, in its order.
    fn parse(&self, access: &ChannelAccess, request: &InboundRequest) -> Result<Vec<Inbound>, Unreadable>;

    /// Cuts a long text, and more files than the platform takes at once, into portions that are each sent by itself.
    fn portions(&self, text: &str, media: &[MediaLink]) -> Vec<Portion>;

    /// Sends once, and says what came of it.
    async fn send(&self, access: &ChannelAccess, message: &Outbound) -> SendOutcome;

    /// Asks the platform whether it has a message whose [`send`](Self::send) was [`SendOutcome::Unknown`]. `taken` are the
    /// platform's ids of other messages of the chat, which may have the same words.
    async fn look_up(&self, access: &ChannelAccess, message: &Outbound, taken: &[String]) -> Found;

    /// Shows that somebody writes. It may fail silently, and is to be repeated after [`Typing::repeat_ms`].
    async fn typing(&self, access: &ChannelAccess, to: &str, last_received: Option<&str>);

    /// The bytes of what a contact attached, at most [`Limits::media_bytes`].
    async fn fetch(&self, access: &ChannelAccess, media: &MediaRef) -> Result<Media, MediaError>;

    /// Tells the platform that a press of a button was seen. It may fail silently.
    async fn acknowledge(&self, _access: &ChannelAccess, _token: &str) {}

    /// How messages come: whether the platform is to be told an address, or asked.
    fn intake(&self, _access: &ChannelAccess) -> Intake {
        Intake::Pushed
    }

    /// Tells the platform where to send what comes in (`Some`), or to keep it until it is asked (`None`).
    async fn register(&self, _access: &ChannelAccess, _inbound_url: Option<&str>) -> Result<(), IntakeError> {
        Ok(())
    }

    /// Asks for what came in after `position`, waiting a while for the first.
    async fn poll(&self, _access: &ChannelAccess, _position: Option<i64>) -> Result<Polled, IntakeError> {
        Ok(Polled { requests: Vec::new(), position: None })
    }
}

/// What a connector must know of a channel to speak for it.
#[derive(Debug, Clone)]
pub struct ChannelAccess {
    pub channel_id: String,
    pub credentials: Credentials,
    /// Replaces the platform's own address.
    pub api_to_send_message: Option<String>,
    /// The public origin, with a path prefix if any, under which the platform reaches this server.
    pub webhook_base_url: Option<String>,
    pub inbound_secret: Option<Secret>,
    /// The one before, for a day after a change.
    pub previous_inbound_secret: Option<Secret>,
}

/// A text that never shows itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// What opens the platform to us, by the names of the contract (`token`, `user`, …). Shows its names alone.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credentials(pub BTreeMap<String, String>);

impl Credentials {
    /// The value of that name; empty ones count as missing.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// What a platform takes, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one part of a text, in UTF-16 code units: the largest of the counts that platforms use.
    pub text_units: usize,
    /// Attachments of one message on its way out.
    pub media_out: usize,
    /// Of one attachment that comes in.
    pub media_bytes: usize,
    /// Messages per second, for the whole channel.
    pub per_channel: Rate,
    /// Messages per second, for one chat.
    pub per_chat: Rate,
    /// The hours after a contact's message in which free text is taken.
    pub window_hours: Option<u32>,
    /// `None`: the platform has no sign of typing.
    pub typing: Option<Typing>,
}

/// How a platform shows that somebody writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Typing {
    /// A sign is gone after a little longer than this.
    pub repeat_ms: u64,
    /// The sign also tells the contact that their message was read.
    pub marks_read: bool,
}

/// A bucket that fills at `per_minute` and holds `burst`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    pub per_minute: u32,
    pub burst: u32,
}
