//! An account's personal tokens, for programs that act in its name.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use domain::hub::{HubId as _, TokenId};
use engine::{Error, TokenView};
use serde::Serialize;

use crate::App;
use crate::kit::auth::{Caller, How};
use crate::kit::error::{ProblemError, Refusal};
use crate::kit::path::Path;
use crate::kit::{json, time};

const MAX_NAME_CHARACTERS: usize = 200;

#[derive(Debug, Serialize)]
pub struct Token {
    id: String,
    name: String,
    /// Masked, but for the one time at which it is made.
    token: String,
    created_at: String,
    expires_at: String,
    last_used_at: Option<String>,
}

/// `GET /api/tokens`: the newest first.
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Vec<Token>>, ProblemError> {
    let tokens = app.engine.personal_tokens(caller.principal()).await?;
    Ok(Json(tokens.into_iter().map(shown).collect()))
}

/// `POST /api/tokens {name}`: 201, and the token in full, this once. Only for who has signed in with a password, so that a
/// stolen token cannot make others.
pub async fn create(State(app): State<App>, caller: Caller, request: Request) -> Result<(StatusCode, Json<Token>), ProblemError> {
    match caller.0.how {
        How::Cookie(_) => {}
        How::Header(_) | How::Query(_) | How::Local => return Err(Refusal::Forbidden.into()),
    }
    let body = json::read(request).await?.object;
    let name = body.opt_text("name", 0, MAX_NAME_CHARACTERS)?.unwrap_or_default().to_owned();
    let made = app.engine.new_personal_token(caller.principal(), name).await?;
    Ok((StatusCode::CREATED, Json(Token { token: made.token.0, ..shown(made.view) })))
}

/// `DELETE /api/tokens/{id}`: 204. It opens nothing any more.
pub async fn revoke(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ProblemError> {
    let id = TokenId::read(&id).ok_or(Error::NotFound)?;
    app.engine.revoke_personal_token(caller.principal(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(view: TokenView) -> Token {
    let TokenView { id, name, shown, created_at, expires_at, last_used_at } = view;
    Token {
        id: id.spelled(),
        name,
        token: shown,
        created_at: time::with_z(created_at),
        expires_at: time::with_z(expires_at),
        last_used_at: last_used_at.map(time::with_z),
    }
}
