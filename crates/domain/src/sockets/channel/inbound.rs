//! What a platform tells us.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Refusal, RefusalKind};
use crate::{DeliveryStatus, Timestamp};

/// A request on the channel's inbound address, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundRequest {
    pub received_at: Timestamp,
    pub is_get: bool,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Path and raw query, exactly as requested.
    pub path_and_query: String,
    /// Set only for a peer on this machine that no proxy speaks for.
    pub loopback_host: Option<String>,
    pub body: Vec<u8>,
}

impl InboundRequest {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The raw query, without its question mark; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.path_and_query.split_once('?').map_or("", |(_, query)| query)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Authenticity {
    Genuine,
    /// Carries no signature at all: good for channels with `inbound_auth` `local`, from this machine.
    Unsigned,
    Forged,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// 200 with this text.
    Challenge(String),
    /// 403.
    Refused,
}

/// The body lacks what the platform always sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the payload could not be read")]
pub struct Unreadable;

/// One thing that a platform tells. Texts hold no U+0000.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    Message(Box<InboundMessage>),
    /// A message was changed by its writer.
    Edited {
        from: Sender,
        external_id: String,
        text: String,
        dedupe: Vec<String>,
    },
    Status(StatusNews),
    /// A contact has shut us out, or let us in again, without a message.
    Consent {
        from: Sender,
        change: ConsentChange,
        dedupe: Vec<String>,
    },
    /// Authentic, and of no use to us.
    Ignored,
}

#[derive(Debug, Clone, PartialEq)]
pub struct InboundMessage {
    pub from: Sender,
    /// The platform's id of the message, unique in its chat.
    pub external_id: String,
    /// Keys of which each may be stored once for a channel: a repeat of one is a redelivery.
    pub dedupe: Vec<String>,
    pub kind: MessageKind,
    /// What the contact wrote, or the visible text of what it chose or sent.
    pub text: String,
    pub media: Vec<MediaRef>,
    /// The platform's id of the message that it answers.
    pub reply_to: Option<String>,
    /// Messages of one album belong to one burst.
    pub album: Option<String>,
    /// The words of an opt-out, or of the way back.
    pub consent: Option<ConsentChange>,
    /// To be given to [`Channel::acknowledge`].
    pub acknowledge: Option<String>,
    /// The message's `meta_data`.
    pub meta: Map<String, Value>,
}

impl InboundMessage {
    /// The message as the contract shows it: `[IMAGE Message] <url>`, with what was written on the next line.
    #[must_use]
    pub fn content(&self) -> String {
        let lines = self.media.iter().map(|media| media.kind.media_line(&media.shown));
        lines.chain((!self.text.is_empty()).then(|| self.text.clone())).collect::<Vec<_>>().join("\n")
    }
}

/// Who wrote, and where an answer goes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sender {
    /// The chat's `external_id`: the address that answers are sent to.
    pub address: String,
    /// All that names the contact, strongest first.
    pub identities: Vec<Identity>,
    /// The name that the contact gave itself.
    pub profile_name: Option<String>,
    /// What to call it otherwise: `WhatsApp +52…`.
    pub fallback_name: String,
    /// The chat's `meta_data`.
    pub chat_meta: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub kind: IdentityKind,
    pub value: String,
}

/// In the order of strength: a platform's own id before a number or a name, which change hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityKind {
    WaBsuid,
    WaId,
    TelegramUser,
    SlackUser,
    External,
    /// E.164.
    Phone,
    TelegramUsername,
}

impl IdentityKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaBsuid => "wa_bsuid",
            Self::WaId => "wa_id",
            Self::TelegramUser => "telegram_user",
            Self::SlackUser => "slack_user",
            Self::External => "external",
            Self::Phone => "phone",
            Self::TelegramUsername => "telegram_username",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        use IdentityKind::{External, Phone, SlackUser, TelegramUser, TelegramUsername, WaBsuid, WaId};
        let all = [WaBsuid, WaId, TelegramUser, SlackUser, External, Phone, TelegramUsername];
        all.into_iter().find(|kind| kind.as_str() == word)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    Text,
    Voice,
    Image,
    Video,
    Media,
    Location,
    Contact,
    Interactive,
}

impl MessageKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Voice => "voice",
            Self::Image => "image",
            Self::Video => "video",
            Self::Media => "media",
            Self::Location => "location",
            Self::Contact => "contact",
            Self::Interactive => "interactive",
        }
    }

    /// By the type of an attachment: `audio/ogg` is a voice message.
    #[must_use]
    pub fn of_mime_type(mime_type: &str) -> Self {
        match mime_type.split('/').next() {
            Some("audio") => Self::Voice,
            Some("image") => Self::Image,
            Some("video") => Self::Video,
            _ => Self::Media,
        }
    }

    /// How a file of this kind stands in a message's text: `[IMAGE Message] <address>`.
    #[must_use]
    pub fn media_line(self, address: &str) -> String {
        let label = match self {
            Self::Voice => "Voice",
            Self::Image => "IMAGE",
            Self::Video => "VIDEO",
            Self::Text | Self::Media | Self::Location | Self::Contact | Self::Interactive => "MEDIA",
        };
        format!("[{label} Message] {address}")
    }
}

/// An attachment that has not been fetched yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaRef {
    /// How the platform calls it: an address or an id; for [`Channel::fetch`].
    pub handle: String,
    /// What people are shown: the platform's address where it has one.
    pub shown: String,
    pub mime_type: Option<String>,
    pub file_name: Option<String>,
    pub kind: MessageKind,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Media {
    /// By the content, never by what the platform claims.
    pub mime_type: String,
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media").field("mime_type", &self.mime_type).field("bytes", &self.bytes.len()).finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MediaError {
    #[error("The platform did not answer")]
    TryAgain,
    #[error("The platform does not give the file out")]
    Gone,
    #[error("The file is larger than 20 MB")]
    TooLarge,
    #[error("The file's address is not allowed")]
    NotAllowed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConsentChange {
    OptedOut,
    OptedIn,
}

/// What became of a message of ours.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusNews {
    /// The platform's id of the message.
    pub external_id: String,
    /// Our own id, where the platform repeats it.
    pub message_id: Option<String>,
    /// The platform's word.
    pub word: String,
    /// `None` if the word is not known.
    pub status: Option<DeliveryStatus>,
    /// Why it failed; a closed window and an opt-out are told apart.
    pub refusal: Option<(RefusalKind, Refusal)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Intake {
    /// The platform calls us; where, its own settings say.
    Pushed,
    /// The platform calls us once [`Channel::register`] has told it where.
    Registered,
    /// We ask, with [`Channel::poll`]; one node at a time.
    Polled,
}

/// What [`Channel::poll`] brought: requests as if the platform had sent each, and the position behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    pub requests: Vec<InboundRequest>,
    pub position: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum IntakeError {
    #[error("the platform refuses the credentials")]
    Auth,
    #[error("somebody else asks for the same messages")]
    Conflict,
    #[error("the platform did not answer")]
    Unreachable { after_ms: Option<u64> },
}
