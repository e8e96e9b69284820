//! The providers against recorded streams, real connections, and prompts.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod cuts;
mod demo;
mod http;
mod openai_http;
mod openai_requests;
mod openai_streams;
mod requests;
mod scripted;
mod speed;
mod streams;
mod support;
