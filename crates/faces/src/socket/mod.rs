//! The shared socket `/ws`: one connection speaks the dialects of several APIs and follows many chats. There is no kind of
//! socket to choose; each frame's `type` says whose it is, and [`owner_of`] is the list.

mod connection;
mod hub;
mod inbox;
mod refused;
mod streams;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::App;
use crate::chats::incoming as chats;
use crate::kit::auth::{AuthError, Peer, authenticate};
use crate::kit::error::ChatsError;
use crate::kit::json::Object;
use crate::kit::ws::{self, Close, Line};
use crate::kit::{Routes as _, query::Query};
use crate::rules::incoming as rules;

pub(crate) use refused::{Echo, Refused};

/// Whose frame it is, and how that API reads it.
pub(crate) enum Owner {
    /// Answered at once, past all other frames.
    Ping,
    /// Taken silently: the hub's clients send it.
    Pong,
    Chats(fn(&Object) -> Result<chats::Wish, Refused>),
    Rules(fn(&Object) -> Result<rules::Wish, Refused>),
    /// Of the chats, of the hub or of both: the fields tell.
    Subscribe,
}

/// A new API adds its types here. No type may ever belong to two of them.
fn owner_of(kind: &str) -> Option<Owner> {
    match kind {
        "ping" => Some(Owner::Ping),
        "pong" => Some(Owner::Pong),
        "subscribe" => Some(Owner::Subscribe),
        "chat" => Some(Owner::Chats(chats::read_chat)),
        "cancel" => Some(Owner::Chats(chats::read_cancel)),
        "unsubscribe" => Some(Owner::Chats(chats::read_unsubscribe)),
        "run_rule" => Some(Owner::Rules(rules::read_run)),
        "cancel_rule" => Some(Owner::Rules(rules::read_cancel)),
        "request" => Some(Owner::Rules(rules::read_envelope)),
        _ => None,
    }
}

/// The socket's only path.
pub fn routes() -> Router<App> {
    Router::new().at("/ws", get(open))
}

/// `GET /ws`: 101; 401 without a proof; 426 if it is no upgrade. A wrong `?token=` is told by a close code, because browsers
/// cannot read the status of a refused upgrade.
async fn open(State(app): State<App>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let query = Query::of(&parts.uri);
    let peer = parts.extensions.get::<Peer>().copied();
    let proof = authenticate(&app.engine, &app.boundary, &parts.headers, query.raw("token"), peer).await;
    let proof = match proof {
        Ok(proof) => Some(proof),
        // Whoever may not do anything now is told by the code as well, if the token came in the query.
        Err(AuthError::WrongQueryToken | AuthError::Inactive(_)) if query.raw("token").is_some() => None,
        Err(
            error @ (AuthError::Unauthenticated | AuthError::WrongQueryToken | AuthError::Inactive(_) | AuthError::Failed(_)),
        ) => return ChatsError::from(error).into_response(),
    };
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &app).await else { return no_upgrade() };
    let upgrade = ws::limited(upgrade);
    match proof {
        Some(proof) => upgrade.on_upgrade(move |socket| connection::serve(socket, app, proof)),
        None => upgrade.on_upgrade(|socket| Line::new(socket).close(Close::SignedOut)),
    }
}

fn no_upgrade() -> Response {
    let headers = [(header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_VERSION, "13")];
    let body = json!({"detail": "WebSocket upgrade expected", "code": "upgrade_required"});
    (StatusCode::UPGRADE_REQUIRED, headers, Json(body)).into_response()
}
