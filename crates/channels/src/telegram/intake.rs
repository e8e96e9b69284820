//! How updates come: pushed to our address, or asked for.

use std::time::Duration;

use domain::Timestamp;
use domain::sockets::channel::{ChannelAccess, InboundRequest, IntakeError, Polled};
use domain::sockets::egress::{Answer, Call, CallError};
use serde_json::{Value, json};

use super::request;
use crate::wire::{items, json as body_of};

const ALLOWED_UPDATES: [&str; 4] = ["message", "edited_message", "callback_query", "my_chat_member"];

/// Telegram's own default; it pushes no more at once.
const MAX_CONNECTIONS: u32 = 40;

const UPDATES_PER_POLL: u32 = 100;

/// Telegram allows 50 s; the guarded client ends every call after 30 s.
const POLL_SECONDS: u64 = 25;

const POLL_TIMEOUT: Duration = Duration::from_secs(30);

/// A hundred updates, each with a text and its markup.
const MAX_UPDATES_BYTES: usize = 4 * 1024 * 1024;

pub(super) fn registration(access: &ChannelAccess, inbound_url: Option<&str>) -> (&'static str, Value) {
    let Some(url) = inbound_url else { return ("deleteWebhook", json!({"drop_pending_updates": false})) };
    let secret = access.inbound_secret.as_ref().map(|secret| secret.0.as_str());
    let body = json!({
        "url": url,
        "secret_token": secret,
        "allowed_updates": ALLOWED_UPDATES,
        "max_connections": MAX_CONNECTIONS,
        "drop_pending_updates": false,
    });
    ("setWebhook", body)
}

pub(super) fn registered(answer: &Result<Answer, CallError>) -> Result<(), IntakeError> {
    result(answer).map(|_| ())
}

pub(super) fn question(access: &ChannelAccess, position: Option<i64>) -> Call {
    let body = json!({
        "offset": position.map(|last| last + 1),
        "limit": UPDATES_PER_POLL,
        "timeout": POLL_SECONDS,
        "allowed_updates": ALLOWED_UPDATES,
    });
    let mut call = request(access, "getUpdates", &body);
    call.timeout = POLL_TIMEOUT;
    call.max_answer_bytes = MAX_UPDATES_BYTES;
    call
}

pub(super) fn polled(answer: &Result<Answer, CallError>, position: Option<i64>) -> Result<Polled, IntakeError> {
    let body = result(answer)?;
    let updates = items(&body, "/result");
    let position = updates.iter().filter_map(|update| update.get("update_id")?.as_i64()).chain(position).max();
    let as_pushed = |update: &Value| InboundRequest {
        received_at: Timestamp(0),
        is_get: false,
        headers: Vec::new(),
        path_and_query: String::new(),
        loopback_host: None,
        body: update.to_string().into_bytes(),
    };
    Ok(Polled { requests: updates.iter().map(as_pushed).collect(), position })
}

fn result(answer: &Result<Answer, CallError>) -> Result<Value, IntakeError> {
    let answer = answer.as_ref().map_err(|_| IntakeError::Unreachable { after_ms: None })?;
    let body = body_of(answer);
    match answer.status {
        _ if body.get("ok") == Some(&Value::Bool(true)) => Ok(body),
        // Telegram answers 404 to a token of the wrong form.
        401 | 404 => Err(IntakeError::Auth),
        409 => Err(IntakeError::Conflict),
        _ => {
            let seconds = body.pointer("/parameters/retry_after").and_then(Value::as_u64);
            Err(IntakeError::Unreachable { after_ms: seconds.map(|seconds| seconds.saturating_mul(1000)) })
        }
    }
}
