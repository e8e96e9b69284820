//! The rules API: `run_rule` frames on the shared socket, and the REST that its clients read.

mod csv;
mod error;
pub mod incoming;
pub(crate) mod lane;
mod outgoing;
mod routes;
mod values;
mod wire;

pub use routes::routes;
