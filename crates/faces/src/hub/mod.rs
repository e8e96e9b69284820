//! The hub: accounts, agents, channels, and chats with contacts. Its words are fixed by the contract, down to the sentences.

mod accounts;
mod agents;
mod caller;
mod canned;
mod channels;
mod chats;
mod console;
mod contacts;
mod error;
mod fields;
mod files;
pub(crate) mod incoming;
mod json_fault;
mod limit;
mod notes;
pub(crate) mod outgoing;
mod routes;
mod small;
mod sockets;
mod webhooks;
mod wire;

pub use routes::routes;
pub use sockets::Counted;

/// What the hub remembers of those who call it.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    pub limits: limit::Limits,
    pub sockets: sockets::Sockets,
}
