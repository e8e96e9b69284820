//! All paths of the hub. Each answers with and without a slash behind it.

use axum::Router;
use axum::routing::{delete, get, post};

use super::{accounts, agents};
use crate::App;
use crate::kit::Routes as _;

pub fn routes() -> Router<App> {
    Router::new()
        .at("/auth/has-users", get(accounts::has_users))
        .at("/auth/signup", post(accounts::sign_up))
        .at("/auth/token", post(accounts::log_in))
        .at("/auth/refresh", post(accounts::refresh))
        .at("/auth/logout", post(accounts::log_out))
        .at("/auth/users", get(accounts::list).post(accounts::create))
        .at("/auth/users/{user}", get(accounts::show).put(accounts::change).delete(accounts::remove))
        .at("/auth/agents", get(agents::list).post(agents::create))
        .at("/auth/agents/{agent}", get(agents::show).put(agents::change).delete(agents::remove))
        .at("/auth/agents/{agent}/tokens", get(agents::tokens).post(agents::new_token))
        .at("/auth/agents/{agent}/tokens/{token}", delete(agents::revoke_token))
        .at("/auth/agents/{agent}/webhook-secret", post(agents::new_secret))
}
