//! `/channels/{c}/traffic` and `/channels/{c}/test`: whether a channel works, for who sets it up. Our own addition to the hub.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::Uri;
use domain::hub::{HubId as _, SenderType};
use engine::{Passed, SendTest};
use serde_json::{Value, json};

use super::accounts::Answer;
use super::caller::Caller;
use super::channels::id_or_none;
use super::fields::Fields;
use crate::App;
use crate::kit::path::Path;
use crate::kit::time;

/// Lines of the list, unless it is asked for fewer or more.
const LINES: i64 = 20;
const MAX_LINES: i64 = 50;
const MAX_ADDRESS_CHARACTERS: usize = 200;
/// Short enough for one message on every platform.
const MAX_TEXT_CHARACTERS: usize = 1000;

/// `GET /channels/{c}/traffic?limit=`: the newest messages in both directions, and what was turned away; the newest first.
pub async fn traffic(State(app): State<App>, caller: Caller, Path(id): Path<String>, uri: Uri) -> Answer<Value> {
    let mut query = Fields::query(&uri, &["limit"]);
    let limit = query.integer("limit", 1..=MAX_LINES).unwrap_or(LINES);
    query.end()?;
    let (passed, knocks) = app.engine.channel_traffic(caller.who, id_or_none(&id), limit).await?;
    let refused = knocks.into_iter().map(|knock| json!({"at": time::naive(knock.at), "error": knock.error}));
    Ok(Json(json!({
        "messages": passed.iter().map(shown).collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
    })))
}

fn shown(passed: &Passed) -> Value {
    let direction = if passed.sender == SenderType::Contact { "in" } else { "out" };
    json!({
        "direction": direction,
        "message_id": passed.message.spelled(),
        "chat_id": passed.chat.spelled(),
        "chat_name": passed.chat_name,
        "sender_type": passed.sender.as_str(),
        "at": time::naive(passed.at),
        "delivery_status": passed.status.as_str(),
        "attempts": passed.attempts,
        "next_at": passed.next_at.map(time::naive),
        "error": passed.error,
        "error_code": passed.error_code,
    })
}

/// `POST /channels/{c}/test {to, text}`: sends once, now, to nobody's chat.
pub async fn test(State(app): State<App>, caller: Caller, Path(id): Path<String>, request: Request) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let (mut body, _) = Fields::body(request).await?;
    let to = body.text("to", 1..=MAX_ADDRESS_CHARACTERS);
    let text = body.text("text", 1..=MAX_TEXT_CHARACTERS);
    body.end()?;
    let tested = app.engine.test_channel(caller.who, id_or_none(&id), to, text).await?;
    let SendTest { ok, took_ms, external_id, error, error_code } = tested;
    Ok(Json(json!({"ok": ok, "ms": took_ms, "external_id": external_id, "error": error, "error_code": error_code})))
}
