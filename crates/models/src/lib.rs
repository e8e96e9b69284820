//! The model providers: each is a pure request builder, a pure mapper of the vendor's stream, and a little HTTP.
//!
//! | provider | what it is |
//! |---|---|
//! | [`Anthropic`] | the Messages API, or any server that speaks it |
//! | [`OpenAiChat`] | Chat Completions: OpenAI's own, or any server that speaks it |
//! | [`Demo`] | needs no key, answers the same to the same, drives real tools |
//! | [`Scripted`] | says what a test wrote down for it |
//!
//! To add a provider: a folder with a request builder from [`domain::sockets::language_model::ModelRequest`] to JSON, a
//! mapper from bytes to [`domain::sockets::language_model::ModelEvent`] without I/O, and the two traits on top; then
//! recorded streams in `fixtures/`, replayed whole and cut anywhere. Nothing here retries: the engine does.

mod answer;
pub mod anthropic;
mod call;
mod demo;
mod errors;
mod http;
mod names;
pub mod openai_chat;
mod prices;
pub mod retry;
pub mod scripted;
pub mod sse;

pub use anthropic::{Anthropic, AnthropicConfig};
pub use demo::{Demo, DemoPace};
pub use http::{HttpClientError, http_client};
pub use openai_chat::{OpenAiChat, OpenAiConfig};
pub use prices::Prices;
pub use scripted::{Script, Scripted};
