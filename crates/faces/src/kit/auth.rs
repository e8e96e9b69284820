//! Who asks. A header beats a token in the query (of the socket only), which beats a cookie.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::Principal;
use domain::hub::TokenId;
use engine::{Engine, Proven, Refused};

use super::error::{Form, Refusal};
use super::guard::{AuthMode, Boundary};
use crate::App;

/// How often an open stream or socket asks whether its proof still holds. A sign-out must end it within 5 s.
pub const RECHECK: Duration = Duration::from_secs(3);

/// The address a request came from, put into its extensions by whoever accepts the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

impl Peer {
    fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

/// Somebody who has proved who they are.
#[derive(Debug, Clone)]
pub struct Proof {
    pub principal: Principal,
    pub how: How,
    /// It opens the hub and nothing else.
    pub hub_only: bool,
    /// The token, unless it is the owner's or a cookie.
    pub token: Option<TokenId>,
}

/// What the proof was.
#[derive(Clone)]
pub enum How {
    /// A bearer token in the header.
    Header(Arc<str>),
    /// A token in the query; only sockets have those.
    Query(Arc<str>),
    /// The value of a browser's cookie.
    Cookie(Arc<str>),
    /// Nothing was asked: sign-in is off and the caller is on this machine.
    Local,
}

impl fmt::Debug for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header(_) => "Header(…)",
            Self::Query(_) => "Query(…)",
            Self::Cookie(_) => "Cookie(…)",
            Self::Local => "Local",
        })
    }
}

/// Why nobody is let in.
#[derive(Debug)]
pub enum AuthError {
    /// No proof, or a header that proves nothing: HTTP 401.
    Unauthenticated,
    /// A token in the query that is none of ours. A socket is opened and closed with 4401, as a browser can read that.
    WrongQueryToken,
    /// The account or agent may not do anything now.
    Inactive(Refused),
    Failed(engine::Error),
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unauthenticated | AuthError::WrongQueryToken => Self::Unauthenticated,
            AuthError::Inactive(_) => Self::Forbidden,
            AuthError::Failed(error) => error.into(),
        }
    }
}

/// Who asks. `query_token` is `None` everywhere but on the socket; `peer` is who is connected.
///
/// # Errors
/// [`AuthError`].
pub async fn authenticate(
    engine: &Engine,
    boundary: &Boundary,
    headers: &HeaderMap,
    query_token: Option<&str>,
    peer: Option<Peer>,
) -> Result<Proof, AuthError> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer).ok_or(AuthError::Unauthenticated)?;
        return by_token(engine, token, How::Header(token.into())).await;
    }
    if let Some(token) = query_token {
        return by_token(engine, token, How::Query(token.into())).await.map_err(|error| match error {
            AuthError::Unauthenticated => AuthError::WrongQueryToken,
            other => other,
        });
    }
    if let Some(cookie) = boundary.cookie_of(headers)
        && let Some(proof) = by_cookie(engine, cookie).await.map_err(AuthError::Failed)?
    {
        return Ok(proof);
    }
    match boundary.auth() {
        AuthMode::Off if peer.is_some_and(Peer::is_loopback) => {
            Ok(Proof { principal: Principal::Owner, how: How::Local, hub_only: false, token: None })
        }
        AuthMode::Off | AuthMode::Token => Err(AuthError::Unauthenticated),
    }
}

/// Who holds the token.
///
/// # Errors
/// [`AuthError`].
pub async fn by_token(engine: &Engine, token: &str, how: How) -> Result<Proof, AuthError> {
    match engine.holder_of_token(token).await.map_err(AuthError::Failed)? {
        Proven::Holder { who, hub_only, token } => Ok(Proof { principal: who, how, hub_only, token }),
        Proven::InactiveAccount => Err(AuthError::Inactive(Refused::INACTIVE_USER)),
        Proven::InactiveAgent => Err(AuthError::Inactive(Refused::INACTIVE_AGENT)),
        Proven::Nothing => Err(AuthError::Unauthenticated),
    }
}

/// Whose browser it is, if anybody's.
///
/// # Errors
/// The database's.
pub async fn by_cookie(engine: &Engine, cookie: &str) -> engine::Result<Option<Proof>> {
    let principal = engine.principal_of_cookie(cookie).await?;
    Ok(principal.map(|principal| Proof { principal, how: How::Cookie(cookie.into()), hub_only: false, token: None }))
}

/// Whom the proof proves now, whose role may have changed; `None` if it would no longer be accepted. A database that fails
/// for a moment cuts nobody off: the next check will tell.
pub async fn still_valid(engine: &Engine, proof: &Proof) -> Option<Principal> {
    let now = match &proof.how {
        How::Header(token) | How::Query(token) => engine.holder_of_token(token).await.map(Proven::who),
        How::Cookie(cookie) => engine.principal_of_cookie(cookie).await,
        How::Local => return Some(proof.principal),
    };
    now.map_or(Some(proof.principal), |now| now.filter(|now| now.is_same_as(proof.principal)))
}

/// Whoever sent the request that a handler answers. [`require`] has let them in.
#[derive(Debug, Clone)]
pub struct Caller(pub Proof);

impl Caller {
    #[must_use]
    pub const fn principal(&self) -> Principal {
        self.0.principal
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let proof = parts.extensions.get::<Proof>().cloned();
        proof.map(Self).ok_or_else(|| Refusal::Unauthenticated.render(Form::of_path(parts.uri.path())))
    }
}

/// The address that wrong sign-ins are counted against.
#[derive(Debug, Clone, Copy)]
pub struct PeerIp(pub IpAddr);

impl<S: Sync> FromRequestParts<S> for PeerIp {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical());
        Ok(Self(peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
    }
}

/// Lets requests to the APIs pass only with a proof, whether their path leads anywhere or not.
pub async fn require(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !needs_proof(path) {
        return next.run(request).await;
    }
    let form = Form::of_path(path);
    let peer = request.extensions().get::<Peer>().copied();
    match authenticate(&app.engine, &app.boundary, request.headers(), None, peer).await {
        Ok(proof) if proof.hub_only => Refusal::Forbidden.render(form),
        Ok(proof) => {
            request.extensions_mut().insert(proof);
            next.run(request).await.into_response()
        }
        Err(error) => Refusal::from(error).render(form),
    }
}

/// The socket reads its own proofs, which include one that no other path accepts.
fn needs_proof(path: &str) -> bool {
    let without_slash = path.strip_suffix('/').unwrap_or(path);
    match without_slash {
        // The hub asks in its own way, and `/ws/stats` is the hub's; a platform proves itself by its signature.
        "/ws" | "/ws/stats" | "/api/sign-in" => false,
        path if path.starts_with("/api/inbound/") => false,
        _ => ["/api", "/ws", "/query", "/rules", "/patterns"]
            .iter()
            .any(|prefix| without_slash.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Returns once the proof proves something else: another role, or nothing any more.
pub(crate) async fn recheck(engine: Engine, proof: Proof) -> Option<Principal> {
    if matches!(proof.how, How::Local) {
        return std::future::pending().await;
    }
    loop {
        Box::pin(tokio::time::sleep(RECHECK)).await;
        let now = Box::pin(still_valid(&engine, &proof)).await;
        if now != Some(proof.principal) {
            return now;
        }
    }
}
