//! What a path names.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::error::{Form, Refusal};

/// The parameters of a path, as [`axum::extract::Path`] reads them. A path that cannot be read, for it is no UTF-8 or has
/// letters where a number stands, names nothing, and is told so in its API's words.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(named)) => Ok(Self(named)),
            Err(_) => Err(Refusal::PathNotFound.render(Form::of_path(parts.uri.path()))),
        }
    }
}
