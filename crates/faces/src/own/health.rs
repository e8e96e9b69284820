//! What is answered without a proof, and says nothing but that we are here.

use axum::Json;
use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

/// `GET /health`.
pub async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /` for whoever is no browser.
pub fn greeting() -> Json<Value> {
    Json(json!({"message": "Colloquy is running"}))
}

/// Whether the sender is a browser that wants a page.
#[must_use]
pub fn wants_html(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|value| value.to_str().is_ok_and(|accepted| accepted.contains("text/html")))
}
