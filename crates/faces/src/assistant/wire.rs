//! Frames and objects under the names of the contract.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Frame<'a> {
    ConversationCreated {
        conversation_id: i64,
    },
    ConversationDeleted {
        conversation_id: i64,
    },
    Text {
        content: &'a str,
    },
    ToolCall {
        id: &'a str,
        tool: &'a str,
        input: Cow<'a, Map<String, Value>>,
    },
    Question {
        question_id: String,
        questions: Vec<Question>,
    },
    ResponseDone {
        #[serde(skip_serializing_if = "Option::is_none")]
        outcome: Option<&'static str>,
    },
    Error {
        content: Cow<'a, str>,
        code: &'a str,
        turn_id: Option<String>,
    },
    Pong,
    UserMessage {
        message_id: i64,
        content: &'a str,
        queued: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<&'a str>,
        #[serde(skip_serializing_if = "is_false")]
        duplicate: bool,
    },
    ToolResult {
        id: &'a str,
        tool: &'a str,
        is_error: bool,
        preview: &'a str,
    },
}

/// A frame, and where it stands.
#[derive(Debug, Serialize)]
pub(super) struct Framed<'a> {
    #[serde(flatten)]
    pub(super) frame: Frame<'a>,
    #[serde(flatten)]
    pub(super) place: Place,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Place {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) conversation_id: Option<i64>,
    /// An error has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) turn_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Question {
    pub(super) question: String,
    pub(super) header: String,
    pub(super) options: Vec<QuestionOption>,
    #[serde(rename = "multiSelect")]
    pub(super) multi_select: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct QuestionOption {
    pub(super) label: String,
    pub(super) description: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) id: i64,
    pub(super) project_name: String,
    pub(super) title: Option<String>,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) message_count: u64,
    pub(super) busy: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Detail {
    pub(super) id: i64,
    pub(super) project_name: String,
    pub(super) title: Option<String>,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) messages: Vec<Message>,
    pub(super) busy: bool,
    pub(super) question: Option<OpenQuestion>,
}

#[derive(Debug, Serialize)]
pub(super) struct OpenQuestion {
    pub(super) question_id: String,
    pub(super) questions: Vec<Question>,
}

#[derive(Debug, Serialize)]
pub(super) struct Message {
    pub(super) id: i64,
    pub(super) role: &'static str,
    pub(super) content: String,
    pub(super) timestamp: String,
    pub(super) turn_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<Tool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Tool {
    pub(super) id: String,
    pub(super) tool: String,
    pub(super) input: Map<String, Value>,
    pub(super) is_error: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Session {
    pub(super) project_name: String,
    pub(super) conversation_id: i64,
    pub(super) is_active: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Accepted {
    pub(super) message_id: i64,
    pub(super) queued: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}
