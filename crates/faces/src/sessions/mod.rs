//! The sessions API: REST and server-sent events.

mod export;
pub mod incoming;
pub mod outgoing;
pub mod routes;
mod stream;
pub mod wire;

pub use routes::routes;
