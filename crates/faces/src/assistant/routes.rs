//! The paths of the assistant API.

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::{get, post as post_to};
use axum::{Json, Router};
use domain::{Home, ProjectName};
use engine::{Change, NewProjectConversation, Posted, ProjectPaging, RequestKey};
use serde_json::{Value, json};

use super::{incoming, outgoing, socket, wire};
use crate::App;
use crate::kit::Routes;
use crate::kit::auth::Caller;
use crate::kit::error::{AssistantError, Refusal};
use crate::kit::idempotency::{self, MAX_KEY_CHARACTERS};
use crate::kit::json::{Object, read, read_optional};
use crate::kit::query::Query;

/// Characters of a title that somebody chose.
const MAX_TITLE_CHARACTERS: usize = 200;

/// Characters of a search. More is no search.
const MAX_QUERY_CHARACTERS: usize = 500;

/// The largest number that every client can read.
const LARGEST_NUMBER: i64 = (1 << 53) - 1;

type Answer<T> = Result<T, AssistantError>;

pub fn routes() -> Router<App> {
    Router::new()
        .at("/api/assistant/conversations/{project}", get(list).post(create))
        .at("/api/assistant/conversations/{project}/{id}", get(show).patch(change).delete(remove))
        .at("/api/assistant/conversations/{project}/{id}/messages", post_to(post_message))
        .at("/api/assistant/conversations/{project}/{id}/answer", post_to(answer))
        .at("/api/assistant/conversations/{project}/{id}/cancel", post_to(cancel))
        .at("/api/assistant/sessions", get(sessions))
        .at("/api/assistant/sessions/{project}", get(session).delete(end_session))
        .at("/api/assistant/ws/{project}", get(socket::open))
}

/// `GET /api/assistant/conversations/{p}`
async fn list(State(app): State<App>, caller: Caller, Named(project): Named, uri: Uri) -> Answer<Json<Vec<wire::Summary>>> {
    let query = Query::of(&uri);
    let before = query.raw("before").map(number).transpose()?;
    let words = query.text("q", MAX_QUERY_CHARACTERS)?.map(str::to_owned);
    let paging = ProjectPaging { words, before, limit: query.integer("limit", 1..=500)? };
    let found = app.engine.project_conversations(caller.principal(), &project, paging).await?;
    Ok(Json(found.into_iter().map(outgoing::summary).collect()))
}

/// `POST /api/assistant/conversations/{p}`: 200, as the original answers.
async fn create(
    State(app): State<App>,
    caller: Caller,
    Named(project): Named,
    headers: HeaderMap,
    request: Request,
) -> Answer<Json<wire::Summary>> {
    let body = read_optional(request).await?;
    let title = body.object.opt_text("title", 0, MAX_TITLE_CHARACTERS)?.unwrap_or_default().to_owned();
    let route = format!("POST /api/assistant/conversations/{project}");
    let key = match body.object.opt_text("client_id", 1, MAX_KEY_CHARACTERS)? {
        Some(client_id) => Some(RequestKey::new(&route, client_id, &body.bytes)),
        None => idempotency::request_key(&headers, &route, &body.bytes)?,
    };
    let new = NewProjectConversation { title, greeting: None };
    let made = app.engine.create_project_conversation(caller.principal(), &project, new, key).await?;
    Ok(Json(outgoing::summary(made)))
}

/// `GET /api/assistant/conversations/{p}/{id}`
async fn show(State(app): State<App>, caller: Caller, Numbered(project, id): Numbered) -> Answer<Json<wire::Detail>> {
    let found = app.engine.project_detail(caller.principal(), &project, id).await?;
    Ok(Json(outgoing::detail(found)))
}

/// `PATCH /api/assistant/conversations/{p}/{id}`
async fn change(
    State(app): State<App>,
    caller: Caller,
    Numbered(project, id): Numbered,
    request: Request,
) -> Answer<Json<wire::Summary>> {
    let object = read(request).await?.object;
    let title = object.opt_text("title", 1, MAX_TITLE_CHARACTERS)?;
    let title = title.ok_or_else(|| Refusal::from(missing(&object, "title")))?.to_owned();
    let who = caller.principal();
    let found = app.engine.project_conversation(who, &project, id).await?;
    let change = Change { title: Some(title), ..Change::default() };
    app.engine.of(Home::Project).change_conversation(who, found.conversation.id, change).await?;
    Ok(Json(outgoing::summary(app.engine.project_conversation(who, &project, id).await?)))
}

/// `DELETE /api/assistant/conversations/{p}/{id}`: what runs is cancelled first, and its terminal frame still sent.
async fn remove(State(app): State<App>, caller: Caller, Numbered(project, id): Numbered) -> Answer<Json<Value>> {
    let who = caller.principal();
    let found = app.engine.project_conversation(who, &project, id).await?;
    app.engine.of(Home::Project).delete_conversation(who, found.conversation.id).await?;
    Ok(Json(json!({"success": true, "message": "Conversation deleted"})))
}

/// `POST /api/assistant/conversations/{p}/{id}/messages`: 202, once the message is on disk.
async fn post_message(
    State(app): State<App>,
    caller: Caller,
    Numbered(project, id): Numbered,
    headers: HeaderMap,
    request: Request,
) -> Answer<(StatusCode, Json<wire::Accepted>)> {
    let key = idempotency::header(&headers)?.map(str::to_owned);
    let object = read(request).await?.object;
    let content = object.string("content")?.trim().to_owned();
    incoming::check_content(&content).map_err(|_| match content.is_empty() {
        true => Refusal::EmptyMessage,
        false => Refusal::MessageTooLong,
    })?;
    let client_id = object.opt_text("client_id", 1, MAX_KEY_CHARACTERS)?.map(str::to_owned).or(key);
    let who = caller.principal();
    let found = app.engine.project_conversation(who, &project, id).await?;
    let posted =
        app.engine.of(Home::Project).post_message(who, incoming::post(found.conversation.id, content, client_id)).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted(&posted))))
}

/// `POST /api/assistant/conversations/{p}/{id}/answer`: 202, the `answer` frame over REST. 409: no question is waiting.
async fn answer(
    State(app): State<App>,
    caller: Caller,
    Numbered(project, id): Numbered,
    headers: HeaderMap,
    request: Request,
) -> Answer<(StatusCode, Json<wire::Accepted>)> {
    let key = idempotency::header(&headers)?.map(str::to_owned);
    let object = read(request).await?.object;
    let answers = object.object("answers")?;
    let invalid =
        Refusal::InvalidValue { field: "answers", reason: "must have indexes as keys, and texts or lists of texts as values" };
    let reply = incoming::reply_of(answers).ok_or(invalid)?;
    incoming::check_content(&reply.text()).map_err(|_| match reply.text().is_empty() {
        true => Refusal::EmptyMessage,
        false => Refusal::MessageTooLong,
    })?;
    let client_id = object.opt_text("client_id", 1, MAX_KEY_CHARACTERS)?.map(str::to_owned).or(key);
    let who = caller.principal();
    let found = app.engine.project_conversation(who, &project, id).await?;
    let answering = incoming::answering(found.conversation.id, reply, client_id);
    let posted = app.engine.of(Home::Project).answer_question(who, answering).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted(&posted))))
}

/// `POST /api/assistant/conversations/{p}/{id}/cancel`
async fn cancel(State(app): State<App>, caller: Caller, Numbered(project, id): Numbered) -> Answer<Json<Value>> {
    let who = caller.principal();
    let found = app.engine.project_conversation(who, &project, id).await?;
    let cancelled = app.engine.of(Home::Project).cancel(who, found.conversation.id, None, None).await?;
    Ok(Json(json!({"cancelled": cancelled})))
}

/// `GET /api/assistant/sessions`
async fn sessions(State(app): State<App>, caller: Caller) -> Answer<Json<Vec<String>>> {
    let names = app.engine.project_sessions(caller.principal()).await?;
    Ok(Json(names.iter().map(ToString::to_string).collect()))
}

/// `GET /api/assistant/sessions/{p}`
async fn session(State(app): State<App>, caller: Caller, Named(project): Named) -> Answer<Json<wire::Session>> {
    let found = app.engine.project_session(caller.principal(), &project).await?.ok_or(Refusal::NoSession)?;
    Ok(Json(wire::Session { project_name: project.to_string(), conversation_id: found.number, is_active: true }))
}

/// `DELETE /api/assistant/sessions/{p}`
async fn end_session(State(app): State<App>, caller: Caller, Named(project): Named) -> Answer<Json<Value>> {
    match app.engine.close_project_session(caller.principal(), &project).await? {
        true => Ok(Json(json!({"success": true, "message": "Session closed"}))),
        false => Err(Refusal::NoSession.into()),
    }
}

fn accepted(posted: &Posted) -> wire::Accepted {
    wire::Accepted { message_id: posted.number.unwrap_or_default(), queued: posted.queued }
}

fn missing(object: &Object, name: &str) -> crate::kit::json::FieldError {
    object.wrong(name, crate::kit::json::Expected::Characters { min: 1, max: MAX_TITLE_CHARACTERS })
}

/// The project that the path names. Its name is checked before anything else.
struct Named(ProjectName);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = AssistantError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AssistantError> {
        let name = Path::<String>::from_request_parts(parts, state).await.ok();
        Ok(Self(project(name.map(|Path(name)| name).as_deref())?))
    }
}

/// The project that the path names, and the number behind it.
struct Numbered(ProjectName, i64);

impl<S: Send + Sync> FromRequestParts<S> for Numbered {
    type Rejection = AssistantError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AssistantError> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await.ok();
        let (name, id) = path.map(|Path(both)| both).ok_or(Refusal::BadProjectName)?;
        Ok(Self(project(Some(&name))?, number(&id)?))
    }
}

fn project(name: Option<&str>) -> Result<ProjectName, Refusal> {
    name.and_then(ProjectName::parse).ok_or(Refusal::BadProjectName)
}

/// A number that no conversation has is not found; what is no number at all is another mistake.
fn number(text: &str) -> Result<i64, Refusal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<i64>().ok().filter(|number| is_integer && (-LARGEST_NUMBER..=LARGEST_NUMBER).contains(number));
    number.ok_or_else(|| Refusal::BadNumber(text.to_owned()))
}
