//! What is refused here, in this API's words: `{"detail":…,"code":…}`, the form of the chats API.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use engine::{Error, NotRead, RuleErrorCode, VersionRefusal};
use serde_json::json;

use crate::kit::error::{Form, Refusal};

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    Rule,
    Run,
    Table,
}

/// A refusal of the rules API.
#[derive(Debug)]
pub(super) enum RulesError {
    Usual(Refusal),
    Words {
        status: StatusCode,
        code: &'static str,
        detail: String,
    },
    /// 422 in list form.
    Parameter {
        place: &'static str,
        field: &'static str,
        reason: &'static str,
    },
}

impl RulesError {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Words { status, code, detail: detail.into() }
    }

    /// What is not there is named.
    pub(super) fn about(thing: Thing) -> impl Fn(Error) -> Self {
        move |error| match error {
            Error::NotFound => Self::new(
                StatusCode::NOT_FOUND,
                "not_found",
                match thing {
                    Thing::Rule => "Rule not found",
                    Thing::Run => "Run not found",
                    Thing::Table => "Table not found",
                },
            ),
            Error::InvalidValue { field, reason } => Self::Parameter { place: "query", field, reason },
            other => Self::Usual(other.into()),
        }
    }

    /// Why, is for those who keep the server: it has been logged.
    pub(super) fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Data set is not available")
    }
}

impl<E> From<E> for RulesError
where
    Refusal: From<E>,
{
    fn from(error: E) -> Self {
        Self::Usual(error.into())
    }
}

impl From<VersionRefusal> for RulesError {
    fn from(refusal: VersionRefusal) -> Self {
        match refusal {
            VersionRefusal::Changed => Self::new(StatusCode::CONFLICT, "conflict", "This version has changed"),
            VersionRefusal::AlreadyDecided => Self::new(StatusCode::CONFLICT, "conflict", "Already decided"),
            VersionRefusal::NoApprovedVersion => Self::new(StatusCode::CONFLICT, "conflict", "No approved version"),
            VersionRefusal::Guard(reason) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_sql", reason),
            VersionRefusal::Unavailable(_) => Self::unavailable(),
        }
    }
}

impl From<NotRead> for RulesError {
    fn from(failure: NotRead) -> Self {
        match failure.code {
            RuleErrorCode::Unavailable => Self::unavailable(),
            RuleErrorCode::Internal => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", failure.message),
            code => Self::new(StatusCode::SERVICE_UNAVAILABLE, code.as_str(), failure.message),
        }
    }
}

impl IntoResponse for RulesError {
    fn into_response(self) -> Response {
        match self {
            Self::Usual(refusal) => refusal.render(Form::Chats),
            Self::Parameter { place, field, reason } => {
                let detail = json!([{"type": "value_error", "loc": [place, field], "msg": format!("Value error, {reason}")}]);
                let body = json!({"detail": detail, "code": "invalid_field"});
                (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
            }
            Self::Words { status, code, detail } => (status, Json(json!({"detail": detail, "code": code}))).into_response(),
        }
    }
}
