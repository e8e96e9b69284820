//! `/contacts`: who writes to us.

use axum::Json;
use axum::extract::{Request, State};
use domain::hub::{ChannelId, ContactId, HubId as _};
use engine::ContactView;
use serde_json::{Value, json};

use super::accounts::Answer;
use super::caller::Caller;
use super::channels::id_or_none;
use super::chats::Repeat;
use super::fields::Fields;
use crate::App;
use crate::kit::path::Path;

const MAX_REASON_CHARACTERS: usize = 1000;

/// `GET /contacts/{id}`
pub async fn show(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Value> {
    Ok(Json(contact(&app.engine.contact(caller.who, id_or_none(&id)).await?)))
}

/// `POST /contacts/{id}/merge {contact_id}`
pub async fn merge(State(app): State<App>, caller: Caller, Path(id): Path<String>, request: Request) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let repeat = Repeat::of(&app, &caller, &request);
    let (mut body, bytes) = Fields::body(request).await?;
    let other = body.text("contact_id", 0..=64);
    body.end()?;
    let engine = app.engine.clone();
    let work = async move {
        let merged = engine.merge_contacts(caller.who, id_or_none(&id), id_or_none::<ContactId>(&other)).await?;
        Ok(contact(&merged))
    };
    repeat.once(&bytes, work).await
}

/// `DELETE /contacts/{id}/opt-out {reason, channel_id?}`
pub async fn end_opt_out(State(app): State<App>, caller: Caller, Path(id): Path<String>, request: Request) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let (mut body, _) = Fields::body(request).await?;
    let reason = body.text("reason", 1..=MAX_REASON_CHARACTERS);
    let channel = body.opt_text("channel_id", 0..=64).map(|id| id_or_none::<ChannelId>(&id));
    body.end()?;
    Ok(Json(contact(&app.engine.end_opt_out(caller.who, id_or_none(&id), channel, reason).await?)))
}

fn contact(view: &ContactView) -> Value {
    let identities = view.identities.iter().map(|(kind, value)| json!({"kind": kind, "value": value}));
    json!({
        "id": view.id.spelled(),
        "name": view.name,
        "identities": identities.collect::<Vec<_>>(),
        "chat_ids": view.chats.iter().map(|id| id.spelled()).collect::<Vec<_>>(),
        "opted_out": view.opted_out.iter().map(|id| id.spelled()).collect::<Vec<_>>(),
        "conflicts": view.conflicts.iter().map(|id| id.spelled()).collect::<Vec<_>>(),
    })
}
