//! The paths of the chats API.

use std::path::PathBuf;

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use domain::{ConversationId, MessageId, ModelName};
use engine::{Change, Error, NewConversation, Paging};
use serde_json::{Value, json};

use super::incoming::{self, Chat, read_mode};
use super::{outgoing, wire};
use crate::App;
use crate::kit::Routes as _;
use crate::kit::auth::Caller;
use crate::kit::error::ChatsError;
use crate::kit::idempotency;
use crate::kit::json::{Object, read, read_optional};
use crate::kit::query::Query;

/// What a chat is called until somebody or its first message names it.
const UNTITLED: &str = "New Chat";

/// Titles longer than this are texts.
const MAX_TITLE_CHARACTERS: usize = 1000;

/// More words than this nobody looks for at once.
const MAX_SEARCH_CHARACTERS: usize = 1000;

/// All paths of this API.
pub fn routes() -> Router<App> {
    Router::new()
        .at("/api/chats", get(list).post(create))
        .at("/api/chats/{id}", get(show).delete(remove).patch(change))
        .at("/api/chats/{id}/messages", get(messages).post(post_message))
        .at("/api/chats/{id}/cancel", post(cancel))
}

type Answer<T> = Result<T, ChatsError>;

/// `GET /api/chats`: the chat that changed last first.
async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Answer<Json<Vec<wire::Chat>>> {
    let query = Query::of(&uri);
    let before = query.raw("before").map(|id| ConversationId::parse(id).ok_or(Error::NotFound)).transpose()?;
    let words = query.text("q", MAX_SEARCH_CHARACTERS)?.map(str::to_owned);
    let paging = Paging { words, before, limit: query.integer("limit", 1..=500)? };
    let chats = app.engine.conversations(caller.principal(), paging).await?;
    Ok(Json(chats.into_iter().map(outgoing::chat).collect()))
}

/// `POST /api/chats`: 201.
async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    request: Request,
) -> Answer<(StatusCode, Json<wire::Chat>)> {
    let body = read_optional(request).await?;
    let key = idempotency::request_key(&headers, "POST /api/chats", &body.bytes)?;
    let object = &body.object;
    let title = object.opt_text("title", 0, MAX_TITLE_CHARACTERS)?.filter(|title| !title.is_empty());
    let new = NewConversation {
        title: title.unwrap_or(UNTITLED).to_owned(),
        model: read_model(object)?,
        mode: read_mode(object)?.unwrap_or_default(),
        workdir: object.opt_string("workingDirectory")?.map(PathBuf::from),
    };
    let chat = app.engine.create_conversation(caller.principal(), new, key).await?;
    Ok((StatusCode::CREATED, Json(outgoing::chat(chat))))
}

/// `GET /api/chats/{id}`
async fn show(State(app): State<App>, caller: Caller, ChatId(id): ChatId) -> Answer<Json<wire::Chat>> {
    let chat = app.engine.conversation(caller.principal(), id).await?;
    Ok(Json(outgoing::chat(chat)))
}

/// `PATCH /api/chats/{id}`: only what the body names is changed.
async fn change(State(app): State<App>, caller: Caller, ChatId(id): ChatId, request: Request) -> Answer<Json<wire::Chat>> {
    let object = read(request).await?.object;
    let change = Change {
        title: object.opt_text("title", 1, MAX_TITLE_CHARACTERS)?.map(str::to_owned),
        model: read_model(&object)?,
        mode: read_mode(&object)?,
        workdir: None,
    };
    let chat = app.engine.change_conversation(caller.principal(), id, change).await?;
    Ok(Json(outgoing::chat(chat)))
}

/// `DELETE /api/chats/{id}`: what runs is cancelled first, and its terminal frame still sent.
async fn remove(State(app): State<App>, caller: Caller, ChatId(id): ChatId) -> Answer<Json<Value>> {
    app.engine.delete_conversation(caller.principal(), id).await?;
    Ok(Json(json!({"success": true})))
}

/// `GET /api/chats/{id}/messages`: oldest first; with `limit` the newest page, with `before` the page before that row.
async fn messages(State(app): State<App>, caller: Caller, ChatId(id): ChatId, uri: Uri) -> Answer<Json<Vec<wire::Message>>> {
    let query = Query::of(&uri);
    let before = query.raw("before").map(|row| MessageId::parse(row).map(MessageId::uuid).ok_or(Error::NotFound)).transpose()?;
    let limit = query.integer("limit", 1..=1000)?;
    let rows = app.engine.rows(caller.principal(), id, before, limit).await?;
    let chat_id = id.hex();
    Ok(Json(rows.into_iter().map(|row| outgoing::message(&chat_id, row)).collect()))
}

/// `POST /api/chats/{id}/messages`: 202, once the message is on disk. A repeat under the same name gives the first answer.
async fn post_message(
    State(app): State<App>,
    caller: Caller,
    ChatId(id): ChatId,
    headers: HeaderMap,
    request: Request,
) -> Answer<(StatusCode, Json<wire::Accepted>)> {
    let key = idempotency::header(&headers)?;
    let mut message = Chat::read(&read(request).await?.object)?;
    message.client_id = message.client_id.or_else(|| key.map(str::to_owned));
    let posted = app.engine.post_message(caller.principal(), message.into_post(id)).await?;
    let accepted = wire::Accepted { message: outgoing::posted(&posted.message), queued: posted.queued };
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

/// `POST /api/chats/{id}/cancel`: ends the running turn, or the one of `turnId`.
async fn cancel(
    State(app): State<App>,
    caller: Caller,
    ChatId(id): ChatId,
    headers: HeaderMap,
    request: Request,
) -> Answer<Json<Value>> {
    let body = read_optional(request).await?;
    let key = idempotency::request_key(&headers, &format!("POST /api/chats/{id}/cancel"), &body.bytes)?;
    let turn_id = body.object.opt_string("turnId")?;
    let cancelled = incoming::cancelled(&app.engine, caller.principal(), id, turn_id, key).await?;
    Ok(Json(json!({"cancelled": cancelled})))
}

/// `provider/model`
fn read_model(object: &Object) -> Result<Option<ModelName>, ChatsError> {
    let model = object.opt_string("model").map_err(ChatsError::from)?;
    Ok(model.map(|name| ModelName::parse(name).ok_or(Error::UnknownProvider)).transpose()?)
}

/// The chat that the path names. What is no id is answered like an id that nothing has.
struct ChatId(ConversationId);

impl<S: Send + Sync> FromRequestParts<S> for ChatId {
    type Rejection = ChatsError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ChatsError> {
        let path = Path::<String>::from_request_parts(parts, state).await.ok();
        let id = path.and_then(|Path(id)| ConversationId::parse(&id)).ok_or(Error::NotFound)?;
        Ok(Self(id))
    }
}
