//! The bodies of requests: small, in time, and JSON.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::error::Refusal;
use super::json::{Object, parse_object_bytes};

/// The contracts' limit of a body and of a socket's frame.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// How long a body may take to arrive: 1 MiB over a poor line, and no longer.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A body that was read: its object, and its bytes, from which an idempotency key knows it again.
#[derive(Debug, Clone)]
pub struct JsonBody {
    pub object: Object,
    pub bytes: Bytes,
}

/// Reads the body of a request that must have one.
///
/// # Errors
/// [`Refusal::TooLarge`], [`Refusal::UnsupportedMediaType`], [`Refusal::BadJson`], [`Refusal::NotAnObject`],
/// [`Refusal::TooSlow`].
pub async fn read(request: Request) -> Result<JsonBody, Refusal> {
    let bytes = read_bytes(request).await?;
    Ok(JsonBody { object: parse_object_bytes(&bytes)?, bytes })
}

/// Reads the body of a request that may come without one. No body and `null` are an empty object.
///
/// # Errors
/// As [`read`].
pub async fn read_optional(request: Request) -> Result<JsonBody, Refusal> {
    let bytes = read_bytes(request).await?;
    if matches!(bytes.trim_ascii(), b"" | b"null") {
        return Ok(JsonBody { object: Object::default(), bytes });
    }
    Ok(JsonBody { object: parse_object_bytes(&bytes)?, bytes })
}

/// Reads a body as it came, if it is JSON at all.
///
/// # Errors
/// [`Refusal::TooLarge`], [`Refusal::UnsupportedMediaType`], [`Refusal::TooSlow`].
pub async fn read_raw(request: Request) -> Result<Bytes, Refusal> {
    read_bytes(request).await
}

/// Reads a body as it came, whatever it is.
///
/// # Errors
/// [`Refusal::TooLarge`], [`Refusal::TooSlow`].
pub async fn read_any(request: Request) -> Result<Bytes, Refusal> {
    let (parts, body) = request.into_parts();
    if content_length(&parts.headers).is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(Refusal::TooLarge);
    }
    tokio::time::timeout(BODY_TIMEOUT, collect(body)).await.map_err(|_| Refusal::TooSlow)?
}

async fn read_bytes(request: Request) -> Result<Bytes, Refusal> {
    let (parts, body) = request.into_parts();
    let announced = content_length(&parts.headers);
    if announced.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(Refusal::TooLarge);
    }
    let is_json = is_json(&parts.headers);
    if announced.is_some_and(|length| length > 0) && !is_json {
        return Err(Refusal::UnsupportedMediaType);
    }
    let bytes = tokio::time::timeout(BODY_TIMEOUT, collect(body)).await.map_err(|_| Refusal::TooSlow)??;
    if !bytes.is_empty() && !is_json {
        return Err(Refusal::UnsupportedMediaType);
    }
    Ok(bytes)
}

async fn collect(body: Body) -> Result<Bytes, Refusal> {
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
        // The connection broke in mid-body; whatever is answered here, nobody reads it.
        Err(_) => Err(Refusal::BadJson),
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}
