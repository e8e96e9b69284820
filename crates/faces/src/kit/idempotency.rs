//! `Idempotency-Key`: a name for a request, so that a repeat of it is not done twice.

use axum::http::HeaderMap;
use engine::RequestKey;
use serde_json::Value;

use super::error::Refusal;
use super::json::{Expected, Fault, FieldError, FieldPlace};

const HEADER: &str = "idempotency-key";

/// Long enough for every scheme of naming that is in use, short enough for an index. A `clientId` obeys the same limit.
pub const MAX_KEY_CHARACTERS: usize = 128;

/// The header's value as it came, 1-128 characters.
///
/// # Errors
/// [`Refusal::Field`] if it is empty, too long or not text.
pub fn header(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| (1..=MAX_KEY_CHARACTERS).contains(&text.len()));
    text.map(Some).ok_or_else(|| {
        let expected = Expected::Characters { min: 1, max: MAX_KEY_CHARACTERS };
        let value = Box::new(value.to_str().map_or(Value::Null, Value::from));
        FieldError { field: "Idempotency-Key".to_owned(), place: FieldPlace::Header, expected, fault: Fault::Wrong, value }.into()
    })
}

/// The key of this request for [`engine::Engine`]'s verbs; `route` names method and path, `body` is the body as it came.
///
/// # Errors
/// As [`header`].
pub fn request_key(headers: &HeaderMap, route: &str, body: &[u8]) -> Result<Option<RequestKey>, Refusal> {
    Ok(header(headers)?.map(|key| RequestKey::new(route, key, body)))
}
