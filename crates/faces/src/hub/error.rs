//! What the hub answers when it does not do something: `{"detail": …}`, a sentence or a list of fields.

use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::kit::error::{Form, Refusal};

/// A refusal in the hub's form.
#[derive(Debug)]
pub enum HubError {
    Refusal(Refusal),
    /// Everything that is wrong with path, query and body, in the order of the fields.
    Fields(Vec<Value>),
    /// There is no proof at all: the contract calls that a missing field.
    NoToken,
}

impl<E> From<E> for HubError
where
    Refusal: From<E>,
{
    fn from(error: E) -> Self {
        match Refusal::from(error) {
            Refusal::InvalidValue { field, reason } => Self::Fields(vec![value_error("body", field, &Value::Null, reason)]),
            Refusal::InvalidText => Self::Fields(vec![value_error("body", "", &Value::Null, NUL)]),
            refusal => Self::Refusal(refusal),
        }
    }
}

pub(super) const NUL: &str = "text contains U+0000";

/// A value that is of the right form, but cannot be taken.
pub(super) fn value_error(place: &str, field: &str, input: &Value, reason: &str) -> Value {
    let loc = if field.is_empty() { json!([place]) } else { json!([place, field]) };
    json!({"type": "value_error", "loc": loc, "msg": format!("Value error, {reason}"), "input": input, "ctx": {"error": reason}})
}

impl IntoResponse for HubError {
    fn into_response(self) -> Response {
        match self {
            Self::Refusal(refusal) => refusal.render(Form::Hub),
            Self::Fields(entries) => (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"detail": entries}))).into_response(),
            Self::NoToken => {
                let entry =
                    json!({"type": "missing", "loc": ["header", "authorization"], "msg": "Field required", "input": null});
                let mut response = Self::Fields(vec![entry]).into_response();
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
        }
    }
}
