//! `/auth`: the first sign-up, sessions, and users.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::Uri;
use domain::hub::HubId;
use domain::{AccountId, Role};
use engine::{AccountChange, Error, MAX_PASSWORD_BYTES, NewAccount, Refused};
use serde_json::{Value, json};

use super::caller::{Caller, MaybeCaller};
use super::error::HubError;
use super::fields::Fields;
use super::wire::{SessionView, User};
use crate::App;
use crate::kit::auth::PeerIp;
use crate::kit::path::Path;

pub(super) type Answer<T> = Result<Json<T>, HubError>;

const MAX_NAME_CHARACTERS: usize = 200;
const MAX_EMAIL_CHARACTERS: usize = 320;
const MAX_PHONE_CHARACTERS: usize = 40;
const ROLES: [&str; 2] = ["ADMIN", "MEMBER"];

/// `GET /auth/has-users`, for anybody.
pub async fn has_users(State(app): State<App>) -> Answer<Value> {
    Ok(Json(json!({"has_users": app.engine.has_accounts().await?})))
}

/// `POST /auth/signup`, for the owner, once.
pub async fn sign_up(State(app): State<App>, MaybeCaller(who): MaybeCaller, request: Request) -> Answer<SessionView> {
    app.engine.may_sign_up(who).await?;
    let (mut body, _) = Fields::body(request).await?;
    let new = new_account(&app, &mut body);
    body.end()?;
    Ok(Json(app.engine.sign_up(who, new).await?.into()))
}

/// `POST /auth/token`, for anybody with a password.
pub async fn log_in(State(app): State<App>, PeerIp(peer): PeerIp, request: Request) -> Answer<SessionView> {
    let (mut body, _) = Fields::body(request).await?;
    let name = body.text("username", 0..=MAX_EMAIL_CHARACTERS);
    let password = body.text("password", 0..=usize::MAX);
    body.end()?;
    Ok(Json(app.engine.log_in(&name, &password, peer).await?.into()))
}

/// `POST /auth/refresh`, for the holder of a refresh token.
pub async fn refresh(State(app): State<App>, request: Request) -> Answer<SessionView> {
    let (mut body, _) = Fields::body(request).await?;
    let token = body.text("refresh_token", 0..=usize::MAX);
    body.end()?;
    Ok(Json(app.engine.refresh(&token).await?.into()))
}

/// `POST /auth/logout`: the token and its session are worth nothing afterwards.
pub async fn log_out(State(app): State<App>, caller: Caller) -> Answer<Value> {
    if let Some(token) = caller.token {
        app.engine.log_out(token).await?;
    }
    Ok(Json(json!({"message": "Logged out"})))
}

/// `GET /auth/users?is_active=true`
pub async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Answer<Vec<User>> {
    app.engine.may_read_users(caller.who)?;
    let is_active = is_active(&uri)?;
    let users = app.engine.accounts(caller.who, is_active).await?;
    Ok(Json(users.into_iter().map(User::from).collect()))
}

/// `POST /auth/users`
pub async fn create(State(app): State<App>, caller: Caller, request: Request) -> Answer<User> {
    app.engine.must_be_admin(caller.who)?;
    let (mut body, _) = Fields::body(request).await?;
    let new = new_account(&app, &mut body);
    body.end()?;
    Ok(Json(app.engine.create_account(caller.who, new).await?.into()))
}

/// `GET /auth/users/{id}`
pub async fn show(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<User> {
    app.engine.may_read_users(caller.who)?;
    let id = known(&id, Refused::NO_USER)?;
    Ok(Json(app.engine.account(caller.who, id).await?.into()))
}

/// `PUT /auth/users/{id}`: what is absent or `null` stays as it is.
pub async fn change(State(app): State<App>, caller: Caller, Path(id): Path<String>, request: Request) -> Answer<User> {
    // An id that nobody has is nobody's own record.
    let id = AccountId::read(&id).unwrap_or(AccountId::NOBODY);
    app.engine.may_change_user(caller.who, id)?;
    let (mut body, _) = Fields::body(request).await?;
    let change = AccountChange {
        username: body.opt_text("username", 1..=MAX_NAME_CHARACTERS),
        password: password(&app, &mut body, false),
        email: body.opt_text("email", 0..=MAX_EMAIL_CHARACTERS),
        phone: body.opt_text("phone", 0..=MAX_PHONE_CHARACTERS),
        role: body.one_of("role", &ROLES, Role::parse),
        is_active: body.boolean("is_active"),
    };
    body.end()?;
    Ok(Json(app.engine.change_account(caller.who, id, change).await?.into()))
}

/// `DELETE /auth/users/{id}?hard=false`
pub async fn remove(State(app): State<App>, caller: Caller, Path(id): Path<String>, uri: Uri) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let hard = flag(&uri, "hard")?.unwrap_or(false);
    app.engine.delete_account(caller.who, known(&id, Refused::NO_USER)?, hard).await?;
    let message = if hard { "User deleted successfully" } else { "User soft-deleted successfully" };
    Ok(Json(json!({"message": message})))
}

fn new_account(app: &App, body: &mut Fields) -> NewAccount {
    NewAccount {
        username: body.text("username", 1..=MAX_NAME_CHARACTERS),
        password: password(app, body, true).unwrap_or_default(),
        email: body.opt_text("email", 0..=MAX_EMAIL_CHARACTERS).filter(|email| !email.is_empty()),
        phone: body.opt_text("phone", 0..=MAX_PHONE_CHARACTERS).filter(|phone| !phone.is_empty()),
        role: body.one_of("role", &ROLES, Role::parse).unwrap_or(Role::Member),
        is_active: body.boolean("is_active").unwrap_or(true),
    }
}

fn password(app: &App, body: &mut Fields, is_needed: bool) -> Option<String> {
    let length = app.engine.min_password_characters()..=MAX_PASSWORD_BYTES;
    let password = if is_needed { Some(body.text("password", length)) } else { body.opt_text("password", length) };
    if password.as_ref().is_some_and(|password| password.len() > MAX_PASSWORD_BYTES) {
        body.refuse("password", "too many bytes");
    }
    password
}

/// An id of a wrong form is one that nothing has.
pub(super) fn known<I: HubId>(id: &str, otherwise: Refused) -> Result<I, HubError> {
    I::read(id).ok_or_else(|| Error::from(otherwise).into())
}

/// Lists show what is active unless they are asked for the rest.
pub(super) fn is_active(uri: &Uri) -> Result<bool, HubError> {
    Ok(flag(uri, "is_active")?.unwrap_or(true))
}

pub(super) fn flag(uri: &Uri, name: &str) -> Result<Option<bool>, HubError> {
    let mut query = Fields::query(uri, &[name]);
    let flag = query.boolean(name);
    query.end()?;
    Ok(flag)
}
