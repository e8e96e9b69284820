use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::agent::words;
use super::{AgentId, ChannelId, ChatAgentId, ChatId, ChatMessageId, ContactId, FileId};
use crate::{AccountId, DeliveryStatus, Timestamp};

/// What one contact and we have said on one channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chat {
    pub id: ChatId,
    pub channel: ChannelId,
    pub contact: ContactId,
    /// The address that answers are sent to.
    pub external_id: String,
    pub name: String,
    /// Who is responsible; that does not move the floor.
    pub assigned: Option<AccountId>,
    pub last_message: Option<LastMessage>,
    pub meta: Map<String, Value>,
    pub extra: Map<String, Value>,
    /// The contact's messages that no operator has read.
    pub unread: i64,
    pub floor: Floor,
    /// A person must look at it.
    pub needs_attention: bool,
    /// The agent whose calls have failed twice in a row.
    pub failing_agent: Option<AgentId>,
    /// When the contact wrote last.
    pub contact_wrote_at: Option<Timestamp>,
    /// Not listed, until the contact writes again.
    pub archived_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The newest message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastMessage {
    pub at: Timestamp,
    pub sender: SenderType,
    pub text: String,
}

/// Who answers in a chat now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    pub holder: Holder,
    /// The person, unless it is the owner.
    pub account: Option<AccountId>,
    /// When it goes back by itself.
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    Agent,
    /// A person.
    User,
    /// Nobody: no active agent is linked.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SenderType {
    Contact,
    User,
    Agent,
}

/// A chat, with what others tell about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatView {
    pub chat: Chat,
    pub channel_name: String,
    pub assigned_name: Option<String>,
    pub phone: Option<String>,
    pub opted_out: bool,
    pub window_hours: Option<i64>,
    pub failing_agent_name: Option<String>,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatMessage {
    pub id: ChatMessageId,
    pub chat: ChatId,
    /// Its place in the chat: 1, 2, 3…
    pub place: i64,
    /// The platform's id, once there is one.
    pub external_id: Option<String>,
    pub content: String,
    pub sender: Sender,
    pub at: Timestamp,
    pub meta: Map<String, Value>,
    /// A contact's: an operator has read it. Ours: the contact has.
    pub is_read: bool,
    pub status: DeliveryStatus,
    pub attachments: Vec<Attachment>,
    pub edited_at: Option<Timestamp>,
    /// `text`, `image`…, as the connector saw it; of a contact's message only.
    pub kind: Option<String>,
}

/// Who wrote a message; the owner is a user without an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    Contact,
    User(Option<AccountId>),
    Agent(Option<AgentId>),
}

impl Sender {
    #[must_use]
    pub const fn kind(self) -> SenderType {
        match self {
            Self::Contact => SenderType::Contact,
            Self::User(_) => SenderType::User,
            Self::Agent(_) => SenderType::Agent,
        }
    }
}

/// A file that belongs to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub id: FileId,
    /// Of a stored file by its content; of any other what was said of it.
    pub mime_type: String,
    /// In bytes; 0 while it is not known.
    pub size: i64,
    /// Where a stored file can be read on this server, or where the platform fetches one of ours.
    pub url: String,
    /// As its sender called it.
    pub name: Option<String>,
    pub state: AttachmentState,
    /// Why there is no copy, in a sentence for operators.
    pub error: Option<String>,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachmentState {
    /// A contact's, that is not here yet.
    Fetching,
    /// A contact's, whose copy is here.
    Stored,
    /// A contact's, that could not be had.
    Failed,
    /// Ours: an address that the platform fetches.
    Linked,
}

/// An agent that is linked to a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatAgent {
    pub id: ChatAgentId,
    pub chat: ChatId,
    pub agent: AgentId,
    /// Not muted.
    pub active: bool,
    /// Rises whenever answers that are being made must not be sent any more.
    pub epoch: i64,
}

words!(Holder { Agent = "agent", User = "user", None = "none" });
words!(AttachmentState { Fetching = "fetching", Stored = "stored", Failed = "failed", Linked = "linked" });
words!(SenderType { Contact = "CONTACT", User = "USER", Agent = "AGENT" });
