//! What the original's own web client asks besides.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::accounts::Answer;
use super::caller::Caller;
use crate::App;

/// `GET /ws/stats`
pub async fn stats(State(app): State<App>, _: Caller) -> Answer<Value> {
    Ok(Json(json!({"active_connections": app.hub.sockets.count(), "status": "running"})))
}

/// `GET /globals`, for anybody: asked before anybody has signed in.
pub async fn globals() -> Json<Value> {
    Json(json!({"frontend_project_name": "Colloquy"}))
}

/// `GET /menu`: there is nothing to add to the client's own menu.
pub async fn menu(_: Caller) -> Json<Value> {
    Json(json!({"menus": [], "total_count": 0}))
}
