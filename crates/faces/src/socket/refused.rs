//! The answer to a frame that makes no sense, or that cannot be done: one `error` frame, and the socket stays open.

use std::borrow::Cow;

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::kit::error::{Form, Refusal};
use crate::kit::json::{Fault, FieldError, Object};

const INVALID_FORMAT: &str = "Invalid message format";

/// Names longer than this are echoed to nobody: they are none of ours.
const MAX_ECHO_BYTES: usize = 512;

/// Why a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    text: Cow<'static, str>,
    code: &'static str,
    retryable: bool,
    more: More,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum More {
    Nothing,
    /// The names of the frame's fields, never their values.
    Keys(Vec<String>),
    Field(String),
    RetryAfter(u64),
}

impl Refused {
    /// The frame is well formed, but this cannot be done.
    pub(crate) const fn because(code: &'static str, text: &'static str) -> Self {
        Self { text: Cow::Borrowed(text), code, retryable: false, more: More::Nothing }
    }

    pub(crate) const fn bad_json() -> Self {
        Self::because("bad_json", INVALID_FORMAT)
    }

    pub(crate) const fn invalid_text() -> Self {
        Self::because("invalid_text", INVALID_FORMAT)
    }

    pub(crate) fn unknown_type(object: &Object) -> Self {
        let keys = object.keys().map(str::to_owned).collect();
        Self { more: More::Keys(keys), ..Self::because("unknown_type", INVALID_FORMAT) }
    }

    pub(crate) fn invalid_field(field: &str) -> Self {
        Self { more: More::Field(field.to_owned()), ..Self::because("invalid_field", INVALID_FORMAT) }
    }

    pub(crate) fn too_many_frames(retry_after_ms: u64) -> Self {
        let refused = Self::because("rate_limited", "Too many requests");
        Self { retryable: true, more: More::RetryAfter(retry_after_ms), ..refused }
    }

    /// The frame, with what the refused one had to be known by.
    pub(crate) fn frame(&self, echo: &Echo) -> Utf8Bytes {
        let error = ErrorFrame {
            kind: "error",
            error: &self.text,
            message: &self.text,
            code: self.code,
            retryable: self.retryable,
            keys: if let More::Keys(keys) = &self.more { Some(keys) } else { None },
            field: if let More::Field(field) = &self.more { Some(field) } else { None },
            retry_after_ms: if let More::RetryAfter(ms) = self.more { Some(ms) } else { None },
            client_id: echo.client_id.as_deref(),
            client_id_in_words: echo.client_id_in_words.as_deref(),
            chat_id: echo.chat_id.as_deref(),
        };
        // A struct with string keys always has a JSON form.
        serde_json::to_string(&error).unwrap_or_default().into()
    }
}

impl From<engine::Error> for Refused {
    fn from(error: engine::Error) -> Self {
        use engine::Error;
        let retryable = match &error {
            Error::InvalidText => return Self::invalid_text(),
            Error::RateLimited { retry_after_ms } => return Self::too_many_frames(*retry_after_ms),
            Error::Busy | Error::QueueFull | Error::StorageFull | Error::Unavailable | Error::Internal(_) => true,
            Error::NotFound
            | Error::Forbidden
            | Error::EmptyMessage
            | Error::Conflict
            | Error::NoQuestion
            | Error::ProjectNotFound
            | Error::ProjectGone
            | Error::ProjectExists
            | Error::UnknownProvider
            | Error::InvalidModel { .. }
            | Error::BadWorkdir
            | Error::BadCursor
            | Error::Refused(_)
            | Error::InvalidValue { .. } => false,
        };
        let refusal = Refusal::from(error);
        Self { text: refusal.text(Form::Chats).into(), code: refusal.code(), retryable, more: More::Nothing }
    }
}

impl From<FieldError> for Refused {
    fn from(error: FieldError) -> Self {
        match error.fault {
            Fault::Missing | Fault::Wrong => Self::invalid_field(&error.field),
            Fault::Nul => Self::invalid_text(),
            Fault::Repeated => Self::bad_json(),
        }
    }
}

/// By what a client recognises the frame that an error is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Echo {
    chat_id: Option<String>,
    /// `clientId`
    client_id: Option<String>,
    /// `client_id`
    client_id_in_words: Option<String>,
}

impl Echo {
    pub(crate) fn of(object: &Object) -> Self {
        Self {
            chat_id: short_string(object, "chatId"),
            client_id: short_string(object, "clientId"),
            client_id_in_words: short_string(object, "client_id"),
        }
    }

    pub(crate) fn chat(chat_id: String) -> Self {
        Self { chat_id: Some(chat_id), ..Self::default() }
    }
}

fn short_string(object: &Object, name: &str) -> Option<String> {
    let text = object.value(name).and_then(Value::as_str)?;
    (text.len() <= MAX_ECHO_BYTES).then(|| text.to_owned())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorFrame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: &'a str,
    message: &'a str,
    code: &'static str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<&'a Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(rename = "client_id", skip_serializing_if = "Option::is_none")]
    client_id_in_words: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_id: Option<&'a str>,
}
