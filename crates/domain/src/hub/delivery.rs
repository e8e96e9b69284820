use super::agent::words;
use super::{AgentId, ChatId, DeliveryId};
use crate::{ConversationId, Timestamp};

/// One burst of a contact's messages on its way to one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentDelivery {
    pub id: DeliveryId,
    pub chat: ChatId,
    pub agent: AgentId,
    pub state: DeliveryState,
    /// That of the link when it was made: a reply of another epoch is not sent.
    pub epoch: i64,
    /// What is sent, byte for byte the same in every attempt.
    pub body: String,
    /// Places of the contact's messages that it brings: those behind `after`, up to `upto`.
    pub after: i64,
    pub upto: i64,
    pub attempts: i64,
    pub next_at: Option<Timestamp>,
    /// The HTTP status of the last attempt.
    pub status: Option<i64>,
    pub error: Option<String>,
    /// When it was accepted, and until when an answer must have come.
    pub accepted_at: Option<Timestamp>,
    pub reply_due_at: Option<Timestamp>,
    /// Something of it was already sent to the contact.
    pub replied: bool,
    /// Of a built-in agent: the turn's conversation.
    pub conversation: Option<ConversationId>,
    pub created_at: Timestamp,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Not accepted yet.
    Open,
    /// Accepted.
    Done,
    /// A dead letter.
    Failed,
    /// A newer burst has its messages.
    Superseded,
    /// A person took over, the agent was muted, or the chat is gone.
    Cancelled,
}

words!(DeliveryState { Open = "open", Done = "done", Failed = "failed", Superseded = "superseded", Cancelled = "cancelled" });
