//! The hub: accounts, agents, channels, and chats with contacts. Its words are fixed by the contract, down to the sentences.

mod accounts;
mod agents;
mod caller;
mod error;
mod fields;
mod limit;
mod routes;
mod wire;

pub use limit::Limits;
pub use routes::routes;
