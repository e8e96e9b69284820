//! The names of the sessions contract. Only its types are ever serialised.

use serde::Serialize;
use serde_json::{Map, Value};

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub id: String,
    pub title: String,
    pub created_at: String,
    pub updated_at: String,
    pub working_directory: String,
    pub provider: String,
    pub model: String,
    pub mode: &'static str,
    pub busy: bool,
    pub pending_approvals: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub id: String,
    pub session_id: String,
    pub role: Role,
    pub created_at: String,
    pub parts: Vec<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    pub turn_id: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub streaming: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    Assistant,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    pub id: String,
    pub message_id: String,
    #[serde(flatten)]
    pub content: Content,
    pub order: u32,
}

/// `type` and `content` of a part.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", content = "content", rename_all = "snake_case")]
pub enum Content {
    Text {
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        input: Map<String, Value>,
    },
    ToolResult {
        tool_use_id: String,
        content: String,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        truncated: bool,
        #[serde(rename = "durationMs")]
        duration_ms: u64,
    },
    /// Only for clients that ask for it: the contract's own know three types of parts.
    Reasoning {
        text: String,
    },
}

/// An event of a stream. `type` is also its `event:` name.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Event<'a> {
    #[serde(rename = "message.start")]
    MessageStart {
        message_id: String,
        turn_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_message_id: Option<String>,
    },
    #[serde(rename = "message.delta")]
    MessageDelta { text: &'a str },
    #[serde(rename = "message.reasoning")]
    MessageReasoning { text: &'a str },
    #[serde(rename = "tool.start")]
    ToolStart { tool_name: &'a str, tool_id: &'a str, input: &'a Map<String, Value> },
    #[serde(rename = "tool.result")]
    ToolResult { tool_id: &'a str, result: &'a str, is_error: bool, truncated: bool, duration_ms: u64 },
    #[serde(rename = "message.error")]
    MessageError { error: &'a str, code: &'static str, retryable: bool },
    #[serde(rename = "message.done")]
    MessageDone {
        message_id: String,
        status: &'static str,
        last_message_id: String,
        usage: Usage,
        cost: Option<f64>,
        duration_ms: u64,
    },
    #[serde(rename = "message.queued")]
    MessageQueued { user_message_id: String, position: u32 },
    #[serde(rename = "message.user")]
    MessageUser {
        message_id: String,
        content: &'a str,
        created_at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<&'a str>,
        queued: u32,
    },
    #[serde(rename = "session.created")]
    SessionCreated { session: Session },
    #[serde(rename = "session.updated")]
    SessionUpdated { session: Session },
    #[serde(rename = "session.deleted")]
    SessionDeleted {},
    #[serde(rename = "session.reset")]
    SessionReset { reason: &'static str },
}

impl Event<'_> {
    /// The name in the `event:` line.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message.start",
            Self::MessageDelta { .. } => "message.delta",
            Self::MessageReasoning { .. } => "message.reasoning",
            Self::ToolStart { .. } => "tool.start",
            Self::ToolResult { .. } => "tool.result",
            Self::MessageError { .. } => "message.error",
            Self::MessageDone { .. } => "message.done",
            Self::MessageQueued { .. } => "message.queued",
            Self::MessageUser { .. } => "message.user",
            Self::SessionCreated { .. } => "session.created",
            Self::SessionUpdated { .. } => "session.updated",
            Self::SessionDeleted {} => "session.deleted",
            Self::SessionReset { .. } => "session.reset",
        }
    }
}

/// The data of an event: its own fields, and whose it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data<'a> {
    #[serde(flatten)]
    pub event: &'a Event<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
}

/// The seed's first event of an events stream has no `type`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    pub busy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_write_tokens: u64,
}

#[derive(Debug, Serialize)]
pub struct Success {
    pub success: bool,
}

#[derive(Debug, Serialize)]
pub struct Cancelled {
    pub cancelled: bool,
}

#[derive(Debug, Serialize)]
pub struct Export {
    pub version: u8,
    pub session: Session,
    pub messages: Vec<Message>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchHit {
    pub session: Session,
    pub message_id: String,
    pub snippet: String,
    pub created_at: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    pub name: String,
    pub description: String,
    pub input_schema: Value,
    pub effect: &'static str,
    pub modes: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    pub name: String,
    pub display_name: String,
    pub models: Vec<String>,
    pub is_configured: bool,
    pub is_default: bool,
}

#[derive(Debug, Serialize)]
pub struct Models {
    pub models: Vec<String>,
    pub source: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    pub api_key: Option<String>,
    pub is_configured: bool,
}

#[derive(Debug, Serialize)]
pub struct KeyCheck {
    pub valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
