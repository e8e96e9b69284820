//! Signing the web app in and out.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::Principal;
use engine::Cookie;
use serde::Serialize;

use crate::App;
use crate::kit::auth::{Caller, How, PeerIp};
use crate::kit::error::{ProblemError, Refusal};
use crate::kit::json::{self, Object};

/// `POST /api/sign-in`, with `{code}`, `{token}` or `{username, password}`: 204 and a new cookie, or 401.
pub async fn sign_in(State(app): State<App>, PeerIp(peer): PeerIp, request: Request) -> Result<Response, ProblemError> {
    let headers = request.headers().clone();
    let body = json::read(request).await?.object;
    let cookie = prove(&app, &body, peer).await?.ok_or(Refusal::Unauthenticated)?;
    if let Some(old) = app.boundary.cookie_of(&headers) {
        app.engine.sign_out(old).await?;
    }
    Ok(with_cookie(&app, &headers, &cookie))
}

/// `POST /api/sign-out`: 204. The cookie is worth nothing afterwards, wherever it was copied to.
pub async fn sign_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, ProblemError> {
    if let Some(cookie) = app.boundary.cookie_of(&headers) {
        app.engine.sign_out(cookie).await?;
    }
    Ok(with_cookie(&app, &headers, &Cookie { value: String::new(), max_age_s: 0 }))
}

#[derive(Debug, Serialize)]
pub struct Me {
    name: String,
    role: &'static str,
}

/// `GET /api/me`.
pub async fn me(State(app): State<App>, caller: Caller) -> Result<Json<Me>, ProblemError> {
    let (name, role) = app.engine.name_of(caller.principal()).await?;
    Ok(Json(Me { name, role }))
}

#[derive(Debug, Serialize)]
pub struct NewCode {
    code: String,
}

/// `POST /api/sign-in-codes`: a fresh code for a sign-in link. Only for who holds the owner's token itself, so that a
/// stolen cookie cannot renew itself for ever.
pub async fn new_code(State(app): State<App>, caller: Caller) -> Result<Json<NewCode>, ProblemError> {
    match (caller.principal(), &caller.0.how) {
        (Principal::Owner, How::Header(_)) => Ok(Json(NewCode { code: app.engine.new_sign_in_code().0 })),
        (Principal::Owner | Principal::Account { .. } | Principal::Agent { .. }, _) => Err(Refusal::Forbidden.into()),
    }
}

async fn prove(app: &App, body: &Object, peer: std::net::IpAddr) -> Result<Option<Cookie>, ProblemError> {
    if let Some(code) = body.opt_string("code")? {
        return Ok(app.engine.sign_in_with_code(code, peer).await?);
    }
    if let Some(token) = body.opt_string("token")? {
        return Ok(app.engine.sign_in_with_token(token, peer).await?);
    }
    let (name, password) = (body.string("username")?, body.string("password")?);
    Ok(app.engine.sign_in_with_password(name, password, peer).await?)
}

fn with_cookie(app: &App, headers: &HeaderMap, cookie: &Cookie) -> Response {
    let (name, secure) = app.boundary.cookie_name(headers);
    let Cookie { value, max_age_s } = cookie;
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{secure}");
    let mut response = StatusCode::NO_CONTENT.into_response();
    // A cookie's value is hex, so it always fits into a header.
    if let Ok(text) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(SET_COOKIE, text);
    }
    response
}
