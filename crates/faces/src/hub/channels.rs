//! `/channels`: connected platforms, and who may see them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use domain::hub::{HubId, InboundAuth, Takeover};
use domain::{AccountId, Platform};
use engine::{ChannelChange, OutboxState};
use serde_json::{Value, json};

use super::accounts::{Answer, flag};
use super::caller::Caller;
use super::fields::Fields;
use super::outgoing;
use super::wire::ChannelView;
use crate::App;
use crate::kit::path::Path;
use crate::kit::{idempotency, time};

const MAX_NAME_CHARACTERS: usize = 200;
const MAX_URL_CHARACTERS: usize = 4096;
const MAX_SECRET_CHARACTERS: usize = 512;
/// Credentials are a few short values; an access token of Meta's has some hundred characters.
const MAX_CREDENTIAL_CHARACTERS: usize = 8192;
pub(super) const MAX_PAGE: i64 = 100;
pub(super) const PAGE: i64 = 50;

/// `GET /channels/platforms`, for anybody.
pub async fn platforms() -> Json<Vec<&'static str>> {
    Json(Platform::ALL.into_iter().map(Platform::as_str).collect())
}

/// `GET /channels`: those that the caller may see, by name.
pub async fn list(State(app): State<App>, caller: Caller) -> Answer<Vec<ChannelView>> {
    let channels = app.engine.channels(caller.who).await?;
    Ok(Json(channels.into_iter().map(|channel| outgoing::channel(&app, channel)).collect()))
}

/// `POST /channels`
pub async fn create(State(app): State<App>, caller: Caller, headers: HeaderMap, request: Request) -> Answer<ChannelView> {
    app.engine.may_change_channels(caller.who)?;
    let (mut body, bytes) = Fields::body(request).await?;
    let key = idempotency::request_key(&headers, "POST /channels", &bytes)?;
    let name = body.text("name", 1..=MAX_NAME_CHARACTERS);
    let platform = body.must_be_one_of("platform", &PLATFORMS, Platform::parse);
    let change = ChannelChange { name: Some(name), platform, ..read_change(&mut body) };
    body.end()?;
    let made = app.engine.create_channel(caller.who, change, key).await?;
    Ok(Json(outgoing::channel(&app, made)))
}

/// `GET /channels/{c}`
pub async fn show(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<ChannelView> {
    Ok(Json(outgoing::channel(&app, app.engine.channel(caller.who, id_or_none(&id)).await?)))
}

/// `PUT /channels/{c}`: what is absent stays as it is.
pub async fn change(State(app): State<App>, caller: Caller, Path(id): Path<String>, request: Request) -> Answer<ChannelView> {
    app.engine.may_change_channels(caller.who)?;
    let (mut body, _) = Fields::body(request).await?;
    let name = body.opt_text("name", 1..=MAX_NAME_CHARACTERS);
    let platform = body.one_of("platform", &PLATFORMS, Platform::parse);
    let change = ChannelChange { name, platform, ..read_change(&mut body) };
    body.end()?;
    Ok(Json(outgoing::channel(&app, app.engine.change_channel(caller.who, id_or_none(&id), change).await?)))
}

/// `DELETE /channels/{c}?hard=false`
pub async fn remove(State(app): State<App>, caller: Caller, Path(id): Path<String>, uri: Uri) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let hard = flag(&uri, "hard")?.unwrap_or(false);
    app.engine.delete_channel(caller.who, id_or_none(&id), hard).await?;
    Ok(Json(json!({"message": "Channel deleted successfully"})))
}

/// `GET /channels/{c}/credentials`: values are masked, but for the secret that the platform must be told.
pub async fn credentials(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let (masked, inbound_secret) = app.engine.channel_credentials(caller.who, id_or_none(&id)).await?;
    Ok(Json(json!({"credentials_to_send_message": masked, "inbound_secret": inbound_secret})))
}

/// `GET /channels/{c}/permissions`
pub async fn permissions(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let permissions = app.engine.permissions(caller.who, id_or_none(&id)).await?;
    Ok(Json(json!({"permissions": permissions.into_iter().map(outgoing::permission).collect::<Vec<_>>()})))
}

/// `PUT /channels/{c}/permissions/{user}`
pub async fn grant(State(app): State<App>, caller: Caller, Path((id, user)): Path<(String, String)>) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let granted = app.engine.grant(caller.who, id_or_none(&id), id_or_none::<AccountId>(&user)).await?;
    Ok(Json(outgoing::permission(granted)))
}

/// `DELETE /channels/{c}/permissions/{user}`
pub async fn revoke(State(app): State<App>, caller: Caller, Path((id, user)): Path<(String, String)>) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    app.engine.revoke_permission(caller.who, id_or_none(&id), id_or_none::<AccountId>(&user)).await?;
    Ok(Json(json!({"message": "Permission revoked"})))
}

/// `GET /channels/{c}/outbox?state=failed`
pub async fn outbox(State(app): State<App>, caller: Caller, Path(id): Path<String>, uri: Uri) -> Answer<Value> {
    let mut query = Fields::query(&uri, &["state", "limit", "offset"]);
    let state = query.one_of("state", &["queued", "sent", "failed"], |word| Some(OutboxState::parse(word)));
    let page = page(&mut query);
    query.end()?;
    let state = state.unwrap_or(OutboxState::Failed);
    let items = app.engine.outbox(caller.who, id_or_none(&id), state, page).await?;
    let shown = items.into_iter().map(|part| {
        json!({
            "message_id": part.message.spelled(),
            "chat_id": part.chat.spelled(),
            "attempts": part.attempts,
            "next_at": (state == OutboxState::Queued).then(|| time::naive(part.next_at)),
            "error": part.error,
            "error_code": part.error_code,
        })
    });
    Ok(Json(json!({"items": shown.collect::<Vec<_>>()})))
}

const PLATFORMS: [&str; 7] = [
    Platform::ALL[0].as_str(),
    Platform::ALL[1].as_str(),
    Platform::ALL[2].as_str(),
    Platform::ALL[3].as_str(),
    Platform::ALL[4].as_str(),
    Platform::ALL[5].as_str(),
    Platform::ALL[6].as_str(),
];

/// An id of a wrong form is one that nothing has; whoever may not see anything gets the same answer for both.
pub(super) fn id_or_none<I: HubId>(text: &str) -> I {
    I::read(text).unwrap_or_else(|| I::from_uuid(AccountId::NOBODY.uuid()))
}

/// `offset` and `limit`, for the engine.
pub(super) fn page(query: &mut Fields) -> (i64, i64) {
    let limit = query.integer("limit", 1..=MAX_PAGE).unwrap_or(PAGE);
    let offset = query.integer("offset", 0..=i64::from(u32::MAX)).unwrap_or(0);
    (offset, limit)
}

/// Everything but name and platform. Fields that may be nothing are set to nothing by `null`.
fn read_change(body: &mut Fields) -> ChannelChange {
    ChannelChange {
        name: None,
        platform: None,
        credentials: credentials_of(body),
        api_to_send_message: named(body, "api_to_send_message", MAX_URL_CHARACTERS),
        webhook_base_url: named(body, "webhook_base_url", MAX_URL_CHARACTERS),
        inbound_auth: body.one_of("inbound_auth", &["required", "local"], InboundAuth::parse),
        inbound_secret: body.opt_text("inbound_secret", 1..=MAX_SECRET_CHARACTERS),
        takeover: body.one_of("takeover", &["auto", "manual"], Takeover::parse),
        takeover_minutes: body.integer("takeover_minutes", 0..=525_600),
        buffer_max_messages: body.integer("buffer_max_messages", 1..=1000),
        send_read_receipts: body.boolean("send_read_receipts"),
        window_hours: body.names("window_hours").then(|| body.integer("window_hours", 1..=8760)),
    }
}

fn credentials_of(body: &mut Fields) -> Option<BTreeMap<String, String>> {
    const NAME: &str = "credentials_to_send_message";
    let given = body.dictionary(NAME)?;
    let text = |value: &Value| match value {
        Value::String(text) if text.chars().count() <= MAX_CREDENTIAL_CHARACTERS => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null => Some(String::new()),
        Value::String(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let read: Option<BTreeMap<String, String>> = given.iter().map(|(name, value)| Some((name.clone(), text(value)?))).collect();
    if read.is_none() {
        body.refuse(NAME, "credentials are texts");
    }
    read
}

fn named(body: &mut Fields, name: &str, max: usize) -> Option<Option<String>> {
    body.names(name).then(|| body.opt_text(name, 1..=max))
}
