//! The APIs: between the wire and the engine. A face has no store and no model to call, so it cannot hold logic.
//!
//! Every face has the same files: `routes.rs` (all its paths), `incoming.rs` (a request or frame becomes one call of the
//! engine), `outgoing.rs` (what happened becomes events or frames), `wire.rs` (the contract's exact names). What they share
//! is in [`kit`].

pub mod assistant;
pub mod chats;
pub mod hub;
pub mod kit;
pub mod own;
pub mod rules;
pub mod sessions;
pub mod socket;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use engine::Engine;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub use kit::auth::Peer;
use kit::error::{Form, Refusal, is_api};
pub use kit::guard::{AuthMode, BadAddress, Boundary};

/// What every handler may use.
#[derive(Debug, Clone)]
pub struct App {
    pub engine: Engine,
    pub boundary: Boundary,
    /// Ends every stream and socket, so that the server can stop.
    pub drain: CancellationToken,
    /// Frames per second that one socket may send for long; 0 is no limit.
    pub socket_rate: u32,
    /// What the hub remembers of those who call it.
    pub hub: hub::Hub,
    pub assistant: assistant::Assistant,
    /// What answers the paths that belong to no API: the web app.
    pub web: Router,
}

/// All APIs behind their guards. Requests must carry a [`Peer`] in their extensions.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(own::routes())
        .merge(sessions::routes())
        .merge(chats::routes())
        .merge(assistant::routes())
        .merge(assistant::compat::routes())
        .merge(hub::routes())
        .merge(rules::routes())
        .merge(socket::routes())
        .method_not_allowed_fallback(kit::error::method_not_allowed)
        .fallback(elsewhere)
        .layer(from_fn_with_state(app.clone(), kit::auth::require))
        .layer(from_fn_with_state(app.boundary.clone(), kit::guard::check))
        .with_state(app)
}

/// Paths that no API has. Below an API's prefix that is an error in its form, never the web app.
async fn elsewhere(State(app): State<App>, request: Request) -> Response {
    let path = request.uri().path();
    if is_api(path) {
        return Refusal::PathNotFound.render(Form::of_path(path));
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if path == "/" && reads && !own::wants_html(request.headers()) {
        return own::greeting().into_response();
    }
    app.web.oneshot(request).await.into_response()
}
