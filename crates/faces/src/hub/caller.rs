//! Who asks the hub. It never takes "nobody" for the owner, whatever the settings are: its clients always have a token.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use domain::Principal;
use domain::hub::TokenId;
use engine::Refused;

use super::error::HubError;
use crate::App;
use crate::kit::auth::{AuthError, How, Proof, by_cookie, by_token};

/// Whoever sent the request.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    pub who: Principal,
    /// What proved it, unless that was the owner's token or a cookie.
    pub token: Option<TokenId>,
}

/// Whoever sent the request, or nobody: for the few paths that take both.
#[derive(Debug, Clone, Copy)]
pub struct MaybeCaller(pub Option<Principal>);

impl FromRequestParts<App> for Caller {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, HubError> {
        let proof = prove(parts, app).await?.ok_or(HubError::NoToken)?;
        app.hub.limits.take(proof.principal, app.engine.clock().now())?;
        Ok(Self { who: proof.principal, token: proof.token })
    }
}

impl FromRequestParts<App> for MaybeCaller {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, HubError> {
        Ok(Self(prove(parts, app).await?.map(|proof| proof.principal)))
    }
}

async fn prove(parts: &Parts, app: &App) -> Result<Option<Proof>, HubError> {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).ok_or(Refused::INVALID_HEADER);
        let token = token.map_err(engine::Error::from)?.trim();
        return match by_token(&app.engine, token, How::Header(token.into())).await {
            Ok(proof) => Ok(Some(proof)),
            Err(AuthError::Inactive(refused)) => Err(engine::Error::from(refused).into()),
            Err(AuthError::Failed(error)) => Err(error.into()),
            Err(AuthError::Unauthenticated | AuthError::WrongQueryToken) => {
                Err(engine::Error::from(Refused::INVALID_TOKEN).into())
            }
        };
    }
    match app.boundary.cookie_of(&parts.headers) {
        Some(cookie) => Ok(by_cookie(&app.engine, cookie).await?),
        None => Ok(None),
    }
}
