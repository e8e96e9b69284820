//! What every face needs: who asks, what is refused and in whose words, bodies, streams.

pub mod auth;
pub mod body;
pub mod error;
pub mod guard;
pub mod idempotency;
pub mod json;
pub mod path;
pub mod query;
pub(crate) mod rate;
pub mod sse;
pub mod time;
pub mod ws;

use axum::Router;
use axum::routing::MethodRouter;

use crate::App;

/// Adds routes the way all our APIs have them: with a trailing slash the path means the same.
pub trait Routes {
    #[must_use]
    fn at(self, path: &str, methods: MethodRouter<App>) -> Self;
}

impl Routes for Router<App> {
    fn at(self, path: &str, methods: MethodRouter<App>) -> Self {
        self.route(path, methods.clone()).route(&format!("{path}/"), methods)
    }
}
