//! The chats API: a conversation is a chat, with rows instead of messages. REST is here, its frames come over the shared
//! socket.

pub(crate) mod incoming;
pub(crate) mod outgoing;
mod routes;
mod wire;

pub use routes::routes;
