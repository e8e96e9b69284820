//! What was said: messages, and the parts they are made of.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::sockets::language_model::Verbatim;
use crate::{AccountId, ConversationId, MessageId, PartId, Seq, Timestamp, TurnId};

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Author {
    Person(AccountId),
    Agent,
    /// The engine itself: it reports the results of tool calls to the model.
    System,
}

/// Where a message or part stands among those of its conversation: the order in which they began.
///
/// What begins with an event stands at twice its `seq`; what begins with a delta stands just behind the last event before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place(pub i64);

impl Place {
    #[must_use]
    pub const fn at(seq: Seq) -> Self {
        Self(seq.0 * 2)
    }

    #[must_use]
    pub const fn behind(seq: Seq) -> Self {
        Self(seq.0 * 2 + 1)
    }
}

/// One utterance. Its parts are immutable once complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: MessageId,
    pub conversation: ConversationId,
    pub place: Place,
    pub author: Author,
    /// The turn that the message belongs to: for a person's message, the turn that answers it.
    pub turn: TurnId,
    /// The name the sender gave this message, unique per conversation and author.
    pub client_id: Option<String>,
    pub created_at: Timestamp,
    /// In order of [`Part::ordinal`].
    pub parts: Vec<Part>,
}

/// A piece of a message: text, reasoning, a tool call or its result.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub id: PartId,
    pub message: MessageId,
    /// 0, 1, 2… within the message.
    pub ordinal: u32,
    pub place: Place,
    pub body: PartBody,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PartBody {
    Text {
        text: String,
    },
    /// What the model thought, with what its provider wants back unchanged.
    Reasoning {
        text: String,
        /// `None` if it must not be sent back: the thought was interrupted.
        #[serde(default)]
        verbatim: Option<Verbatim>,
    },
    ToolCall(ToolCall),
    ToolResult(ToolResult),
    /// A block of a provider that nobody else understands. Kept, sent back to the provider it came from, never shown.
    Opaque(Verbatim),
}

impl PartBody {
    /// The text that people read, for the parts that have one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text } | Self::Reasoning { text, .. } => Some(text),
            Self::ToolCall(_) | Self::ToolResult(_) | Self::Opaque(_) => None,
        }
    }
}

/// The kinds of part that are written piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    Text,
    Reasoning,
}

/// One wish of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The model's own id if it is usable, else ours; unique in the conversation.
    pub id: String,
    /// The tool's name in the engine: `read_file`.
    pub name: String,
    /// Input that was no JSON object is kept as an empty one.
    pub input: Map<String, Value>,
}

/// How a tool call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    pub call_id: String,
    pub name: String,
    pub output: String,
    pub outcome: ToolOutcome,
    /// The tool had more to say than its limit allows.
    #[serde(default)]
    pub truncated: bool,
    pub duration_ms: u64,
}

impl ToolResult {
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.outcome != ToolOutcome::Completed
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolOutcome {
    Completed,
    Failed,
    Cancelled,
    /// It was begun, and nobody knows whether it has run.
    Unknown,
}
