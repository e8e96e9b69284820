//! The objects and frames of the chats API, with the contract's exact names. A field marked optional is absent, never null,
//! unless its doc says so.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

/// A chat, as REST shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Chat {
    pub(crate) id: String,
    pub(crate) title: String,
    #[serde(rename = "created_at")]
    pub(crate) created_at: String,
    #[serde(rename = "updated_at")]
    pub(crate) updated_at: String,
    /// `provider/model`
    pub(crate) model: String,
    pub(crate) mode: &'static str,
    pub(crate) working_directory: String,
    pub(crate) busy: bool,
}

/// A row of a chat: a person's message, or one text block of the agent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    pub(crate) id: String,
    #[serde(rename = "chat_id")]
    pub(crate) chat_id: String,
    pub(crate) role: &'static str,
    pub(crate) content: String,
    pub(crate) timestamp: String,
    /// On the agent's rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_id: Option<String>,
    /// Only on the row that is still being written.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) streaming: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<String>,
    /// On the last row of a turn that did not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<&'static str>,
    /// Why the turn failed, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The answer to a message posted over REST.
#[derive(Debug, Serialize)]
pub(crate) struct Accepted {
    pub(crate) message: Message,
    pub(crate) queued: u32,
}

/// What stands around every frame of a chat.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Framed<'a> {
    #[serde(flatten)]
    pub(crate) frame: Frame<'a>,
    pub(crate) chat_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_id: Option<String>,
    /// The cursor of the last frame that one fact makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum Frame<'a> {
    History {
        messages: Vec<Message>,
        truncated: bool,
        /// Null if no turn is running.
        turn: Option<Running>,
    },
    Subscribed {
        resumed: bool,
    },
    Unsubscribed,
    Accepted {
        client_id: &'a str,
        message_id: String,
        duplicate: bool,
    },
    UserMessage {
        content: &'a str,
        message_id: String,
        timestamp: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<&'a str>,
        queued: u32,
    },
    TurnStarted {
        message_ids: Vec<String>,
    },
    AssistantMessage {
        content: &'a str,
        message_id: String,
    },
    AssistantReasoning {
        content: &'a str,
    },
    AgentStatus {
        message: Cow<'a, str>,
    },
    ToolUse {
        tool_name: &'a str,
        tool_id: &'a str,
        tool_input: &'a Map<String, Value>,
    },
    ToolResult {
        tool_id: &'a str,
        tool_name: &'a str,
        output: &'a str,
        truncated: bool,
        is_error: bool,
        duration_ms: u64,
    },
    Result {
        success: bool,
        /// US dollars; null if the price is not known.
        cost: Option<f64>,
        #[serde(rename = "duration_ms")]
        duration_ms: u64,
        outcome: &'static str,
        usage: Usage,
    },
    /// With a turn id it ends the turn; without one it refuses a frame.
    Error {
        error: &'a str,
        message: &'a str,
        code: &'static str,
        retryable: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<&'a str>,
    },
    ChatRenamed {
        title: &'a str,
    },
    ChatRemoved,
}

/// The turn that is running while a chat is subscribed to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Running {
    pub(crate) turn_id: String,
    pub(crate) started_at: String,
    pub(crate) queued: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) cache_read_tokens: u64,
    pub(crate) cache_write_tokens: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}
