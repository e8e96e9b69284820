//! What is refused, and how each API says so. A [`Refusal`] has no API's words in it; [`Refusal::render`] is the one place
//! that knows them. Handlers answer with [`SessionsError`], [`ChatsError`] or [`ProblemError`], which `?` makes of a
//! refusal, an engine's error or a field's.

use std::fmt::Write;

use axum::Json;
use axum::extract::Request;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use engine::{Error, Refused, RefusedKind};
use serde_json::{Value, json};

use super::json::{BadJson, Expected, Fault, FieldError, FieldPlace};

/// Whose form an error has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `{"detail":…,"code":…}`.
    Chats,
    /// `{"error":…,"code":…}`.
    Sessions,
    /// As the chats API's, with more of it in list form.
    Assistant,
    /// `{"detail":…}`.
    Hub,
    /// RFC 9457, for our own endpoints.
    Problem,
}

const HUB: [&str; 10] = [
    "/auth",
    "/canned-replies",
    "/channels",
    "/chats",
    "/contacts",
    "/webhooks",
    "/ws/stats",
    "/globals",
    "/menu",
    "/api/inbound",
];
const CHATS: [&str; 2] = ["/api/chats", "/ws"];
/// The rules API has the form of the chats API.
const RULES: [&str; 3] = ["/query", "/rules", "/patterns"];
const SESSIONS: [&str; 5] = ["/api/sessions", "/api/providers", "/api/approvals", "/api/events", "/api/tools"];

impl Form {
    /// The form of the API that the path belongs to, whether anything is there or not.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        if is_hub(path) {
            Self::Hub
        } else if is_below(path, "/api/assistant") {
            Self::Assistant
        } else if CHATS.iter().chain(&RULES).any(|prefix| is_below(path, prefix)) {
            Self::Chats
        } else if SESSIONS.iter().any(|prefix| is_below(path, prefix)) {
            Self::Sessions
        } else {
            Self::Problem
        }
    }
}

/// Whether the path belongs to an API, so that the web app never answers it.
#[must_use]
pub fn is_api(path: &str) -> bool {
    ["/api", "/ws", "/health"].iter().chain(&RULES).any(|prefix| is_below(path, prefix)) || is_hub(path)
}

fn is_hub(path: &str) -> bool {
    HUB.iter().any(|prefix| is_below(path, prefix))
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    Unauthenticated,
    OriginForbidden,
    /// The `Host` is not ours.
    WrongHost,
    Forbidden,
    /// The conversation is unknown, deleted or not the caller's: the same bytes in every case.
    ConversationNotFound,
    ApprovalNotFound,
    PathNotFound,
    MethodNotAllowed,
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    UnsupportedMediaType,
    BadJson,
    NotAnObject,
    Field(FieldError),
    EmptyMessage,
    InvalidText,
    Conflict,
    /// No question waits for the answer.
    NoQuestion,
    /// It is no name that a project can have.
    BadProjectName,
    /// Unknown, or its directory is gone, or not to be seen by the caller: the same bytes in every case.
    ProjectNotFound,
    ProjectExists,
    /// No absolute path of a directory that may be chosen.
    BadProjectPath,
    /// In a sentence of the tool that reads files.
    FileNotShown(String),
    NoSession,
    /// What should be a conversation's number is none.
    BadNumber(String),
    MessageTooLong,
    UpgradeRequired,
    Busy,
    QueueFull,
    UnknownProvider,
    InvalidModel {
        provider: String,
        allowed: Vec<String>,
    },
    InvalidKey {
        provider: String,
        reason: String,
    },
    BadWorkdir,
    BadCursor,
    /// The hub's own words.
    Hub(Refused),
    InvalidValue {
        field: &'static str,
        reason: &'static str,
    },
    RateLimited {
        retry_after_ms: u64,
    },
    StorageFull,
    /// The database is away.
    Unavailable,
    Internal,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::ConversationNotFound,
            Error::Forbidden => Self::Forbidden,
            Error::EmptyMessage => Self::EmptyMessage,
            Error::InvalidText => Self::InvalidText,
            Error::Conflict => Self::Conflict,
            Error::NoQuestion => Self::NoQuestion,
            Error::ProjectNotFound | Error::ProjectGone => Self::ProjectNotFound,
            Error::ProjectExists => Self::ProjectExists,
            Error::Busy => Self::Busy,
            Error::QueueFull => Self::QueueFull,
            Error::UnknownProvider => Self::UnknownProvider,
            Error::InvalidModel { provider, allowed } => Self::InvalidModel { provider, allowed },
            Error::BadWorkdir => Self::BadWorkdir,
            Error::BadCursor => Self::BadCursor,
            Error::Refused(refused) => Self::Hub(refused),
            Error::InvalidValue { field, reason } => Self::InvalidValue { field, reason },
            Error::RateLimited { retry_after_ms } => Self::RateLimited { retry_after_ms },
            Error::StorageFull => Self::StorageFull,
            Error::Unavailable => Self::Unavailable,
            Error::Internal(_) => Self::Internal,
        }
    }
}

impl From<BadJson> for Refusal {
    fn from(error: BadJson) -> Self {
        match error {
            BadJson::Syntax => Self::BadJson,
            BadJson::NotAnObject => Self::NotAnObject,
        }
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        match error.fault {
            Fault::Nul => Self::InvalidText,
            Fault::Repeated => Self::BadJson,
            Fault::Missing | Fault::Wrong => Self::Field(error),
        }
    }
}

impl Refusal {
    /// The stable code, the same in every API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::OriginForbidden => "origin_forbidden",
            Self::WrongHost => "host_forbidden",
            Self::Forbidden => "forbidden",
            Self::ConversationNotFound | Self::ApprovalNotFound | Self::PathNotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooLarge => "too_large",
            Self::TooSlow => "timeout",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::BadJson => "bad_json",
            Self::NotAnObject | Self::Field(_) => "invalid_field",
            Self::EmptyMessage => "empty_message",
            Self::InvalidText => "invalid_text",
            Self::Conflict => "conflict",
            Self::NoQuestion => "no_question",
            Self::BadProjectName => "invalid_project_name",
            Self::ProjectNotFound => "project_not_found",
            Self::ProjectExists => "project_exists",
            Self::BadProjectPath => "bad_project_path",
            Self::FileNotShown(_) => "file_not_shown",
            Self::NoSession => "no_session",
            Self::BadNumber(_) => "invalid_field",
            Self::MessageTooLong => "too_large",
            Self::UpgradeRequired => "upgrade_required",
            Self::Busy => "busy",
            Self::QueueFull => "queue_full",
            Self::UnknownProvider => "unknown_provider",
            Self::InvalidModel { .. } => "invalid_model",
            Self::InvalidKey { .. } => "invalid_api_key",
            Self::BadWorkdir => "bad_working_directory",
            Self::BadCursor => "bad_cursor",
            Self::Hub(refused) => match refused.kind {
                RefusedKind::Unauthenticated => "unauthenticated",
                RefusedKind::Forbidden => "forbidden",
                RefusedKind::NotFound => "not_found",
                RefusedKind::Conflict => "conflict",
            },
            Self::InvalidValue { .. } => "invalid_field",
            Self::RateLimited { .. } => "rate_limited",
            Self::StorageFull => "storage_full",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The status in an API's words. They differ in what a body that is JSON, but not the right one, is called.
    #[must_use]
    pub const fn status(&self, form: Form) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::OriginForbidden | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::ConversationNotFound
            | Self::ApprovalNotFound
            | Self::PathNotFound
            | Self::ProjectNotFound
            | Self::NoSession
            | Self::FileNotShown(_) => StatusCode::NOT_FOUND,
            Self::BadProjectName => match form {
                Form::Assistant => StatusCode::BAD_REQUEST,
                Form::Chats | Form::Sessions | Form::Hub | Form::Problem => StatusCode::UNPROCESSABLE_ENTITY,
            },
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadJson | Self::UnknownProvider | Self::InvalidModel { .. } | Self::InvalidKey { .. } | Self::BadWorkdir => {
                match form {
                    Form::Chats | Form::Assistant | Form::Hub => StatusCode::UNPROCESSABLE_ENTITY,
                    Form::Sessions | Form::Problem => StatusCode::BAD_REQUEST,
                }
            }
            Self::NotAnObject
            | Self::Field(_)
            | Self::EmptyMessage
            | Self::InvalidText
            | Self::Conflict
            | Self::BadCursor
            | Self::BadNumber(_)
            | Self::BadProjectPath
            | Self::MessageTooLong
            | Self::InvalidValue { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Hub(refused) => match refused.kind {
                RefusedKind::Unauthenticated => StatusCode::UNAUTHORIZED,
                RefusedKind::Forbidden => StatusCode::FORBIDDEN,
                RefusedKind::NotFound => StatusCode::NOT_FOUND,
                RefusedKind::Conflict => StatusCode::CONFLICT,
            },
            Self::Busy | Self::QueueFull | Self::NoQuestion | Self::ProjectExists => StatusCode::CONFLICT,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// One sentence for people, in an API's words.
    #[must_use]
    pub fn text(&self, form: Form) -> String {
        let text = match self {
            Self::Unauthenticated => "Not authenticated",
            Self::OriginForbidden => "Origin not allowed",
            Self::WrongHost => "Host not allowed",
            Self::Forbidden => "Not allowed",
            Self::ConversationNotFound => match form {
                Form::Chats => "Chat not found",
                Form::Assistant => "Conversation not found",
                Form::Sessions => "Session not found",
                Form::Hub | Form::Problem => "Not found",
            },
            Self::ApprovalNotFound => "Approval not found",
            Self::PathNotFound => match form {
                Form::Chats | Form::Assistant | Form::Hub => "Not Found",
                Form::Sessions | Form::Problem => "Not found",
            },
            Self::MethodNotAllowed => match form {
                Form::Chats | Form::Assistant | Form::Hub => "Method Not Allowed",
                Form::Sessions | Form::Problem => "Method not allowed",
            },
            Self::TooLarge => "Body too large",
            Self::TooSlow => "The body did not arrive in time",
            Self::UnsupportedMediaType => "JSON expected",
            Self::BadJson => "The body is not valid JSON",
            Self::NotAnObject => "body: expected an object",
            Self::Field(error) => return error.to_string(),
            Self::EmptyMessage => "Empty message",
            Self::InvalidText => "Text must not contain U+0000",
            Self::Conflict => match form {
                Form::Hub => "Idempotency-Key was used with another body",
                Form::Chats | Form::Assistant | Form::Sessions | Form::Problem => "This key was used before with another body",
            },
            Self::NoQuestion => "No question is waiting for an answer",
            Self::BadProjectName => "Invalid project name",
            Self::ProjectNotFound => "Project not found",
            Self::ProjectExists => "Project exists",
            Self::BadProjectPath => "path: expected an absolute path of a directory",
            Self::FileNotShown(reason) => return reason.clone(),
            Self::NoSession => "No active session for this project",
            Self::BadNumber(_) => "conversation_id: expected an integer",
            Self::MessageTooLong => "Message is too long",
            Self::UpgradeRequired => "WebSocket upgrade expected",
            Self::Busy => match form {
                Form::Chats => "The chat is busy",
                Form::Assistant | Form::Sessions | Form::Hub | Form::Problem => "The session is busy",
            },
            Self::QueueFull => "Too many messages are waiting",
            Self::UnknownProvider => "Unknown provider",
            Self::InvalidModel { provider, allowed } => {
                return format!("Invalid model for {provider}. Allowed: {}", allowed.join(", "));
            }
            Self::InvalidKey { provider, reason } => return format!("Invalid {provider} API key: {reason}"),
            Self::BadWorkdir => "Working directory does not exist or is not accessible",
            Self::BadCursor => "Unknown position",
            Self::Hub(refused) => refused.text,
            Self::InvalidValue { field, reason } => return format!("{field}: {reason}"),
            Self::RateLimited { .. } => "Too many requests",
            Self::StorageFull => "Storage is full",
            Self::Unavailable => "The server cannot reach its database at the moment",
            Self::Internal => "Something went wrong on the server",
        };
        text.to_owned()
    }

    /// The answer in an API's form.
    #[must_use]
    pub fn render(&self, form: Form) -> Response {
        let (status, code) = (self.status(form), self.code());
        let mut response = match form {
            Form::Chats => {
                let detail = self.list_form().unwrap_or_else(|| Value::from(self.text(form)));
                (status, Json(json!({"detail": detail, "code": code}))).into_response()
            }
            Form::Assistant => {
                let detail = self.list_form().or_else(|| self.value_form()).unwrap_or_else(|| Value::from(self.text(form)));
                (status, Json(json!({"detail": detail, "code": code}))).into_response()
            }
            Form::Sessions => (status, Json(json!({"error": self.text(form), "code": code}))).into_response(),
            Form::Hub => (status, Json(json!({"detail": self.text(form)}))).into_response(),
            Form::Problem => problem(status, code, &self.text(form)),
        };
        match self {
            Self::RateLimited { retry_after_ms } => {
                let seconds = retry_after_ms.div_ceil(1000).max(1);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::Unavailable => {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Unauthenticated | Self::Hub(Refused { kind: RefusedKind::Unauthenticated, .. }) => {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }

    /// The seed's list form, for errors of single fields and of the JSON as a whole.
    fn list_form(&self) -> Option<Value> {
        match self {
            Self::Field(error) => Some(json!([field_entry(error)])),
            Self::BadJson => Some(json!([{
                "type": "json_invalid", "loc": ["body"], "msg": "JSON decode error", "input": {}, "ctx": {"error": "not valid JSON"},
            }])),
            Self::NotAnObject => Some(json!([{
                "type": "model_attributes_type", "loc": ["body"],
                "msg": "Input should be a valid dictionary or object to extract fields from", "input": Value::Null,
            }])),
            Self::BadNumber(input) => Some(json!([{
                "type": "int_parsing", "loc": ["path", "conversation_id"],
                "msg": "Input should be a valid integer, unable to parse string as an integer", "input": input,
            }])),
            _ => None,
        }
    }

    /// The list form of what the seed had no error for.
    fn value_form(&self) -> Option<Value> {
        let field = match self {
            Self::Conflict => "client_id",
            Self::InvalidText | Self::EmptyMessage | Self::MessageTooLong => "content",
            _ => return None,
        };
        let message = self.text(Form::Assistant);
        Some(json!([{"type": "value_error", "loc": ["body", field], "msg": message, "input": Value::Null}]))
    }
}

/// `{"type":"string_type","loc":["body","title"],"msg":"Input should be a valid string","input":…}`.
fn field_entry(error: &FieldError) -> Value {
    let place = match error.place {
        FieldPlace::Body => "body",
        FieldPlace::Query => "query",
        FieldPlace::Header => "header",
    };
    let (kind, message, context) = match error.fault {
        Fault::Missing => ("missing", "Field required".to_owned(), None),
        Fault::Wrong | Fault::Nul | Fault::Repeated => wrong_entry(error),
    };
    let mut entry = json!({"type": kind, "loc": [place, error.field], "msg": message, "input": error.value});
    if let (Some(context), Some(entry)) = (context, entry.as_object_mut()) {
        entry.insert("ctx".to_owned(), context);
    }
    entry
}

fn wrong_entry(error: &FieldError) -> (&'static str, String, Option<Value>) {
    let simple = |kind, what| (kind, format!("Input should be a valid {what}"), None);
    match error.expected {
        Expected::String => simple("string_type", "string"),
        Expected::Characters { min, max } => {
            let length = error.value.as_str().map_or(0, |text| text.chars().count());
            let characters = |count| if count == 1 { "1 character".to_owned() } else { format!("{count} characters") };
            if length > max {
                let message = format!("String should have at most {}", characters(max));
                ("string_too_long", message, Some(json!({"max_length": max})))
            } else {
                let message = format!("String should have at least {}", characters(min));
                ("string_too_short", message, Some(json!({"min_length": min})))
            }
        }
        Expected::OneOf(allowed) => {
            let expected = quoted(allowed);
            ("enum", format!("Input should be {expected}"), Some(json!({"expected": expected})))
        }
        Expected::Integer => simple("int_type", "integer"),
        Expected::IntegerBetween { min, max } => match number(&error.value) {
            Some(number) if number > max => {
                ("less_than_equal", format!("Input should be less than or equal to {max}"), Some(json!({"le": max})))
            }
            Some(_) => {
                ("greater_than_equal", format!("Input should be greater than or equal to {min}"), Some(json!({"ge": min})))
            }
            None => ("int_parsing", "Input should be a valid integer, unable to parse string as an integer".to_owned(), None),
        },
        Expected::Boolean => simple("bool_type", "boolean"),
        Expected::Object => simple("dict_type", "dictionary"),
        Expected::List | Expected::StringList => simple("list_type", "list"),
    }
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// `'ask', 'plan' or 'build'`.
fn quoted(words: &[&str]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        let glue = match index {
            0 => "",
            last if last + 1 == words.len() => " or ",
            _ => ", ",
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{glue}'{word}'");
    }
    text
}

fn problem(status: StatusCode, code: &str, text: &str) -> Response {
    let body = json!({"type": "about:blank", "title": text, "status": status.as_u16(), "code": code});
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/problem+json"));
    response
}

macro_rules! face_error {
    ($(#[$doc:meta])* $name:ident, $form:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name(pub Refusal);

        impl<E> From<E> for $name
        where
            Refusal: From<E>,
        {
            fn from(error: E) -> Self {
                Self(error.into())
            }
        }

        impl IntoResponse for $name {
            fn into_response(self) -> Response {
                self.0.render($form)
            }
        }
    };
}

face_error!(
    /// A refusal in the words of the sessions API.
    SessionsError,
    Form::Sessions
);
face_error!(
    /// A refusal in the words of the chats API.
    ChatsError,
    Form::Chats
);
face_error!(
    /// A refusal in the words of the assistant API.
    AssistantError,
    Form::Assistant
);
face_error!(
    /// A refusal of one of our own endpoints.
    ProblemError,
    Form::Problem
);

/// Answers a known path with a method it does not have.
pub async fn method_not_allowed(request: Request) -> Response {
    Refusal::MethodNotAllowed.render(Form::of_path(request.uri().path()))
}
