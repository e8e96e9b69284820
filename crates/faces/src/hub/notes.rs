//! `…/chats/{k}/notes`: what people tell each other about a chat. Our own addition; the contract's clients never ask for it.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::Uri;
use domain::hub::{ChatMessageId, ChatNoteId};
use engine::{ChatAct, NotePage};
use serde_json::{Value, json};

use super::accounts::Answer;
use super::caller::Caller;
use super::channels::{id_or_none, page};
use super::chats::{Place, named_request};
use super::error::HubError;
use super::fields::Fields;
use super::outgoing;
use crate::App;
use crate::kit::path::Path;

/// A note is read beside the messages; what is longer belongs into a document.
const MAX_NOTE_CHARACTERS: usize = 10_000;

/// `GET …/notes`: the newest first. `after` and `before` name messages.
pub async fn list(State(app): State<App>, caller: Caller, Place(place): Place, uri: Uri) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Operate)?;
    let mut query = Fields::query(&uri, &["limit", "offset", "before", "after"]);
    let (offset, limit) = page(&mut query);
    let before = query.opt_text("before", 0..=64).map(|id| id_or_none::<ChatMessageId>(&id));
    let after = query.opt_text("after", 0..=64).map(|id| id_or_none::<ChatMessageId>(&id));
    query.end()?;
    let (notes, total) = app.engine.notes(caller.who, place, NotePage { offset, limit, after, before }).await?;
    let shown: Vec<Value> = notes.iter().map(outgoing::note).collect();
    Ok(Json(outgoing::page("notes", shown, offset, total)))
}

/// `POST …/notes {content}`: stored behind the newest message. An `Idempotency-Key` counts as long as the chat is there.
pub async fn add(State(app): State<App>, caller: Caller, Place(place): Place, request: Request) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Operate)?;
    let headers = request.headers().clone();
    let (mut body, bytes) = Fields::body(request).await?;
    let content = content(&mut body);
    body.end()?;
    let key = named_request(&headers, &bytes)?;
    Ok(Json(outgoing::note(&app.engine.add_note(caller.who, place, content, key).await?)))
}

/// `PUT …/notes/{n} {content}`, for who wrote it.
pub async fn edit(
    State(app): State<App>,
    caller: Caller,
    Place(place): Place,
    Path(path): Path<(String, String, String)>,
    request: Request,
) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Operate)?;
    let (mut body, _) = Fields::body(request).await?;
    let content = content(&mut body);
    body.end()?;
    let note = id_or_none::<ChatNoteId>(&path.2);
    Ok(Json(outgoing::note(&app.engine.edit_note(caller.who, place, note, content).await?)))
}

/// `DELETE …/notes/{n}`, for who wrote it and for administrators.
pub async fn remove(
    State(app): State<App>,
    caller: Caller,
    Place(place): Place,
    Path(path): Path<(String, String, String)>,
) -> Result<Json<Value>, HubError> {
    app.engine.may_in_chats(caller.who, ChatAct::Operate)?;
    app.engine.delete_note(caller.who, place, id_or_none(&path.2)).await?;
    Ok(Json(json!({"message": "Note deleted successfully"})))
}

fn content(body: &mut Fields) -> String {
    let content = body.text("content", 1..=MAX_NOTE_CHARACTERS);
    if !content.is_empty() && content.trim().is_empty() {
        body.refuse("content", "a note says something");
    }
    content
}
