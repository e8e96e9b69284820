//! All paths of the sessions API.

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use domain::{ConversationId, MessageId, TurnId};
use engine::{Error, Paging};

use super::stream::Wish;
use super::{export, incoming, outgoing, stream, wire};
use crate::App;
use crate::kit::Routes;
use crate::kit::auth::Caller;
use crate::kit::error::{Refusal, SessionsError};
use crate::kit::query::Query;
use crate::kit::{idempotency, json};

type Answer<T> = Result<Json<T>, SessionsError>;

/// The most sessions or search hits that one answer may be limited to.
const MAX_SESSIONS: u32 = 500;
const MAX_MESSAGES: u32 = 1000;
const MAX_HITS: u32 = 100;
const DEFAULT_HITS: u32 = 20;
/// Longer searches find nothing that shorter ones do not.
const MAX_QUERY_CHARACTERS: usize = 200;

pub fn routes() -> Router<App> {
    Router::new()
        .at("/api/sessions", get(list).post(create))
        .at("/api/sessions/search", get(search))
        .at("/api/sessions/import", post(import))
        .at("/api/sessions/{id}", get(one).patch(change).delete(delete))
        .at("/api/sessions/{id}/messages", get(messages).post(post_message))
        .at("/api/sessions/{id}/events", get(session_events))
        .at("/api/sessions/{id}/cancel", post(cancel))
        .at("/api/sessions/{id}/export", get(export_session))
        .at("/api/events", get(events))
        .at("/api/approvals", get(approvals))
        .at("/api/approvals/{id}", post(answer_approval))
        .at("/api/tools", get(tools))
        .at("/api/providers", get(providers))
        .at("/api/providers/validate", post(validate_key))
        .at("/api/providers/{name}/models", get(models))
        .at("/api/providers/{name}/api-key", get(api_key))
}

/// `GET /api/sessions`.
async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Answer<Vec<wire::Session>> {
    let query = Query::of(&uri);
    let paging = Paging {
        words: query.text("q", MAX_QUERY_CHARACTERS)?.map(str::to_owned),
        before: query.raw("before").map(|id| ConversationId::parse(id).ok_or(Error::NotFound)).transpose()?,
        limit: query.integer("limit", 1..=MAX_SESSIONS)?,
    };
    let conversations = app.engine.conversations(caller.principal(), paging).await?;
    Ok(Json(conversations.iter().map(outgoing::session).collect()))
}

/// `POST /api/sessions`.
async fn create(State(app): State<App>, caller: Caller, request: Request) -> Answer<wire::Session> {
    let headers = request.headers().clone();
    let body = json::read_optional(request).await?;
    let key = idempotency::request_key(&headers, "POST /api/sessions", &body.bytes)?;
    let new = incoming::new_session(app.engine.catalogue(), &body.object).await?;
    let conversation = app.engine.create_conversation(caller.principal(), new, key).await?;
    Ok(Json(outgoing::session(&conversation)))
}

/// `GET /api/sessions/:id`.
async fn one(State(app): State<App>, caller: Caller, Id(id): Id) -> Answer<wire::Session> {
    Ok(Json(outgoing::session(&app.engine.conversation(caller.principal(), id).await?)))
}

/// `PATCH /api/sessions/:id`.
async fn change(State(app): State<App>, caller: Caller, Id(id): Id, request: Request) -> Answer<wire::Session> {
    let body = json::read(request).await?;
    let now = app.engine.conversation(caller.principal(), id).await?;
    let change = incoming::change(app.engine.catalogue(), &now, &body.object).await?;
    let conversation = app.engine.change_conversation(caller.principal(), id, change).await?;
    Ok(Json(outgoing::session(&conversation)))
}

/// `DELETE /api/sessions/:id`.
async fn delete(State(app): State<App>, caller: Caller, Id(id): Id) -> Answer<wire::Success> {
    app.engine.delete_conversation(caller.principal(), id).await?;
    Ok(Json(wire::Success { success: true }))
}

/// `GET /api/sessions/:id/messages`. `Colloquy-Cursor` is the position that the list stands for.
async fn messages(State(app): State<App>, caller: Caller, Id(id): Id, uri: Uri) -> Result<Response, SessionsError> {
    let query = Query::of(&uri);
    let limit = query.integer("limit", 1..=MAX_MESSAGES)?;
    let before = query.raw("before").map(|id| MessageId::parse(id).ok_or(Error::NotFound)).transpose()?;
    let before = before.map(MessageId::uuid);
    let limit = limit.or_else(|| before.is_some().then_some(MAX_MESSAGES));
    let transcript = app.engine.transcript(caller.principal(), id, before, limit).await?;
    let mut response = Json(outgoing::messages(&transcript.messages, wants_reasoning(&query))).into_response();
    if let Ok(cursor) = HeaderValue::from_str(&transcript.cursor.to_string()) {
        response.headers_mut().insert("colloquy-cursor", cursor);
    }
    Ok(response)
}

/// `POST /api/sessions/:id/messages`: the answer is the turn, as a stream.
async fn post_message(State(app): State<App>, caller: Caller, Id(id): Id, request: Request) -> Result<Response, SessionsError> {
    let headers = request.headers().clone();
    let reasoning = wants_reasoning(&Query::of(request.uri()));
    let body = json::read(request).await?.object;
    let post = incoming::post(id, &body, idempotency::header(&headers)?)?;
    stream::turn(&app, caller, post, reasoning).await
}

/// `GET /api/sessions/:id/events`.
async fn session_events(
    State(app): State<App>,
    caller: Caller,
    Id(id): Id,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, SessionsError> {
    stream::session(&app, caller, id, wish(&uri, &headers)).await
}

/// `GET /api/events`: one session's with `?session=`, everybody's without.
async fn events(State(app): State<App>, caller: Caller, uri: Uri, headers: HeaderMap) -> Result<Response, SessionsError> {
    match Query::of(&uri).raw("session") {
        Some(id) => {
            let id = ConversationId::parse(id).ok_or(Error::NotFound)?;
            stream::session(&app, caller, id, wish(&uri, &headers)).await
        }
        None => stream::all(&app, caller, wish(&uri, &headers)).await,
    }
}

/// `POST /api/sessions/:id/cancel`.
async fn cancel(State(app): State<App>, caller: Caller, Id(id): Id, request: Request) -> Answer<wire::Cancelled> {
    let headers = request.headers().clone();
    let body = json::read_optional(request).await?;
    let key = idempotency::request_key(&headers, &format!("POST /api/sessions/{id}/cancel"), &body.bytes)?;
    let turn = match body.object.opt_string("turnId")? {
        None => None,
        Some(text) => match TurnId::parse(text) {
            Some(turn) => Some(turn),
            None => {
                // No turn has such an id, so there is nothing to cancel, if only the session is there.
                app.engine.conversation(caller.principal(), id).await?;
                return Ok(Json(wire::Cancelled { cancelled: false }));
            }
        },
    };
    let cancelled = app.engine.cancel(caller.principal(), id, turn, key).await?;
    Ok(Json(wire::Cancelled { cancelled }))
}

/// `GET /api/sessions/:id/export`.
async fn export_session(State(app): State<App>, caller: Caller, Id(id): Id, uri: Uri) -> Result<Response, SessionsError> {
    let as_markdown = Query::of(&uri).one_of("format", &["json", "markdown"])? == Some("markdown");
    let conversation = app.engine.conversation(caller.principal(), id).await?;
    let transcript = app.engine.transcript(caller.principal(), id, None, None).await?;
    let (session, messages) = (outgoing::session(&conversation), outgoing::messages(&transcript.messages, false));
    Ok(if as_markdown { export::markdown(&session, &messages) } else { export::json(session, messages) })
}

/// `POST /api/sessions/import`. A directory that does not exist here becomes the default one.
async fn import(State(app): State<App>, caller: Caller, request: Request) -> Answer<wire::Session> {
    let headers = request.headers().clone();
    let body = json::read(request).await?;
    let key = idempotency::request_key(&headers, "POST /api/sessions/import", &body.bytes)?;
    let (new, messages) = incoming::import(app.engine.catalogue(), &body.object)?;
    let elsewhere = engine::NewConversation { workdir: None, ..new.clone() };
    let who = caller.principal();
    let conversation = match app.engine.import_conversation(who, new, messages.clone(), key.clone()).await {
        Err(Error::BadWorkdir) => app.engine.import_conversation(who, elsewhere, messages, key).await?,
        result => result?,
    };
    Ok(Json(outgoing::session(&conversation)))
}

/// `GET /api/sessions/search`.
async fn search(State(app): State<App>, caller: Caller, uri: Uri) -> Answer<Vec<wire::SearchHit>> {
    let query = Query::of(&uri);
    let limit = query.integer("limit", 1..=MAX_HITS)?.unwrap_or(DEFAULT_HITS);
    let words = query.text("q", MAX_QUERY_CHARACTERS)?.ok_or_else(|| query.missing("q", 1, MAX_QUERY_CHARACTERS))?;
    let hits = app.engine.search(caller.principal(), words.to_owned(), limit).await?;
    Ok(Json(hits.iter().map(outgoing::search_hit).collect()))
}

/// `GET /api/approvals`: nothing here asks for one yet.
async fn approvals(_: Caller) -> Json<[(); 0]> {
    Json([])
}

/// `POST /api/approvals/:id`.
async fn answer_approval(_: Caller) -> SessionsError {
    Refusal::ApprovalNotFound.into()
}

/// `GET /api/tools`.
async fn tools(State(app): State<App>, _: Caller) -> Json<Vec<wire::Tool>> {
    Json(app.engine.catalogue().tools().into_iter().map(outgoing::tool).collect())
}

/// `GET /api/providers`.
async fn providers(State(app): State<App>, _: Caller) -> Json<Vec<wire::Provider>> {
    Json(app.engine.catalogue().providers().into_iter().map(outgoing::provider).collect())
}

/// `GET /api/providers/:name/models`.
async fn models(State(app): State<App>, _: Caller, Segment(name): Segment) -> Answer<wire::Models> {
    let (models, live) = app.engine.catalogue().models(&name).await?;
    Ok(Json(wire::Models { models, source: if live { "live" } else { "list" } }))
}

/// `GET /api/providers/:name/api-key`.
async fn api_key(State(app): State<App>, _: Caller, Segment(name): Segment) -> Answer<wire::ApiKey> {
    let provider = app.engine.catalogue().provider(&name)?;
    Ok(Json(wire::ApiKey { api_key: provider.masked_key(), is_configured: provider.is_configured() }))
}

/// `POST /api/providers/validate`.
async fn validate_key(State(app): State<App>, _: Caller, request: Request) -> Result<Response, SessionsError> {
    let body = json::read(request).await?.object;
    let (provider, key) = incoming::key_to_check(&body)?;
    let error = match app.engine.catalogue().check_key(&provider, &key).await {
        // Nobody's key is empty, so nobody is asked.
        _ if key.is_empty() => Some("The API key is empty.".to_owned()),
        Ok(verdict) => verdict.err().map(|error| error.sentence),
        Err(Error::UnknownProvider) => Some("Unknown provider".to_owned()),
        Err(error) => return Err(error.into()),
    };
    let status = if error.is_none() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    Ok((status, Json(wire::KeyCheck { valid: error.is_none(), error })).into_response())
}

/// A session's id in the path. What is no UUID is simply unknown.
struct Id(ConversationId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = SessionsError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SessionsError> {
        let text = Path::<String>::from_request_parts(parts, state).await.map_or_else(|_| String::new(), |path| path.0);
        ConversationId::parse(&text).map(Self).ok_or_else(|| Refusal::ConversationNotFound.into())
    }
}

/// A name in the path. What cannot be read is a name that nothing has.
struct Segment(String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Path::<String>::from_request_parts(parts, state).await.map_or_else(|_| String::new(), |path| path.0)))
    }
}

/// A browser's own memory of where it was beats the address it was given at first.
fn wish(uri: &Uri, headers: &HeaderMap) -> Wish {
    let query = Query::of(uri);
    let remembered = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?")).filter(|id| !id.is_empty());
    Wish { position: remembered.or(query.raw("since")).map(str::to_owned), reasoning: wants_reasoning(&query) }
}

fn wants_reasoning(query: &Query) -> bool {
    query.raw("include").is_some_and(|list| list.split(',').any(|item| item == "reasoning"))
}
