//! The assistant API: conversations about a project's files. REST, and a socket of its own for each project.
//!
//! `socket.rs` is one connection, `stream.rs` the conversation it is bound to, `reconnects.rs` what happens to clients that
//! come back without a word.

pub(crate) mod compat;
mod incoming;
mod outgoing;
mod reconnects;
mod routes;
mod socket;
mod stream;
mod wire;

use std::sync::Arc;

pub use routes::routes;

/// What all connections of this API share.
#[derive(Debug, Clone, Default)]
pub struct Assistant {
    /// Whether the endpoints of the original client's other panels answer.
    pub compat: bool,
    pub(crate) reconnects: Arc<reconnects::Reconnects>,
}

impl Assistant {
    #[must_use]
    pub fn new(compat: bool) -> Self {
        Self { compat, reconnects: Arc::default() }
    }
}
