//! `/canned-replies`: texts that everybody who answers may use. Our own addition to the hub.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::Method;
use domain::hub::{CannedReply, HubId as _};
use engine::CannedChange;
use serde_json::{Value, json};

use super::accounts::Answer;
use super::caller::Caller;
use super::channels::id_or_none;
use super::fields::Fields;
use crate::App;
use crate::kit::path::Path;
use crate::kit::{idempotency, time};

const MAX_TITLE_CHARACTERS: usize = 100;
/// It is typed from memory.
const MAX_SHORTCUT_CHARACTERS: usize = 32;
/// What is longer is a document, and platforms cut it into parts.
const MAX_CONTENT_CHARACTERS: usize = 10_000;

/// `GET /canned-replies`: all of them, by title, for people.
pub async fn list(State(app): State<App>, caller: Caller) -> Answer<Value> {
    let replies = app.engine.canned_replies(caller.who).await?;
    Ok(Json(json!({"canned_replies": replies.iter().map(shown).collect::<Vec<_>>()})))
}

/// `POST /canned-replies {title, content, shortcut?}`
pub async fn create(State(app): State<App>, caller: Caller, request: Request) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let headers = request.headers().clone();
    let (mut body, bytes) = Fields::body(request).await?;
    let title = body.text("title", 1..=MAX_TITLE_CHARACTERS);
    let content = body.text("content", 1..=MAX_CONTENT_CHARACTERS);
    let shortcut = shortcut(&mut body);
    not_blank(&mut body, &[("title", &title), ("content", &content)]);
    body.end()?;
    let route = format!("{} /canned-replies", Method::POST);
    let key = idempotency::request_key(&headers, &route, &bytes)?;
    let new = CannedChange { title: Some(title), content: Some(content), shortcut };
    Ok(Json(shown(&app.engine.create_canned_reply(caller.who, new, key).await?)))
}

/// `PUT /canned-replies/{r}`: what is absent stays as it is; a shortcut of null is none.
pub async fn change(State(app): State<App>, caller: Caller, Path(id): Path<String>, request: Request) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let (mut body, _) = Fields::body(request).await?;
    let title = body.opt_text("title", 1..=MAX_TITLE_CHARACTERS);
    let content = body.opt_text("content", 1..=MAX_CONTENT_CHARACTERS);
    let shortcut = shortcut(&mut body);
    let given = [("title", title.as_deref().unwrap_or_default()), ("content", content.as_deref().unwrap_or_default())];
    not_blank(&mut body, &given);
    body.end()?;
    let change = CannedChange { title, content, shortcut };
    Ok(Json(shown(&app.engine.change_canned_reply(caller.who, id_or_none(&id), change).await?)))
}

/// `DELETE /canned-replies/{r}`
pub async fn remove(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    app.engine.delete_canned_reply(caller.who, id_or_none(&id)).await?;
    Ok(Json(json!({"message": "Canned reply deleted successfully"})))
}

fn shown(reply: &CannedReply) -> Value {
    json!({
        "id": reply.id.spelled(),
        "title": reply.title,
        "shortcut": reply.shortcut,
        "content": reply.content,
        "created_at": time::naive(reply.created_at),
        "updated_at": time::naive(reply.updated_at),
    })
}

/// `Some(None)`: there is to be none.
fn shortcut(body: &mut Fields) -> Option<Option<String>> {
    const NAME: &str = "shortcut";
    if !body.names(NAME) {
        return None;
    }
    let shortcut = body.opt_text(NAME, 1..=MAX_SHORTCUT_CHARACTERS);
    if shortcut.as_ref().is_some_and(|text| !text.chars().all(|c| c.is_alphanumeric() && !c.is_uppercase() || c == '-')) {
        body.refuse(NAME, "small letters, digits and - only");
    }
    Some(shortcut)
}

fn not_blank(body: &mut Fields, given: &[(&str, &str)]) {
    for (name, text) in given {
        if !text.is_empty() && text.trim().is_empty() {
            body.refuse(name, "it is empty");
        }
    }
}
