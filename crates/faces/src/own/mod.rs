//! Our own endpoints: sign-in, who am I, health, jobs, projects. Their errors are problem+json.

mod health;
mod jobs;
mod projects;
mod questions;
mod sign_in;
mod tokens;

use axum::Router;
use axum::routing::{delete, get, post};

use crate::App;
use crate::kit::Routes;

pub use health::{greeting, wants_html};

pub fn routes() -> Router<App> {
    Router::new()
        .at("/health", get(health::health))
        .at("/api/sign-in", post(sign_in::sign_in))
        .at("/api/sign-out", post(sign_in::sign_out))
        .at("/api/sign-in-codes", post(sign_in::new_code))
        .at("/api/me", get(sign_in::me))
        .at("/api/questions", get(questions::list))
        .at("/api/questions/{id}", post(questions::answer))
        .at("/api/jobs", get(jobs::list))
        .at("/api/jobs/{id}/retry", post(jobs::retry))
        .at("/api/projects", get(projects::list).post(projects::add))
        .at("/api/projects/{project}", get(projects::show).delete(projects::remove))
        .at("/api/projects/{project}/file", get(projects::file))
        .at("/api/tokens", get(tokens::list).post(tokens::create))
        .at("/api/tokens/{id}", delete(tokens::revoke))
}
