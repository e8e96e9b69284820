//! Stories told to a whole server, and attacks on it.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod golden;
mod harness;
mod harness_etiquette;
mod harness_http;
mod harness_sse;
mod harness_upstream;
mod harness_ws;
