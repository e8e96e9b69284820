//! Tests of the whole program, over its public surface.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails, in its helpers as well")]

mod floors;
mod serve_commands;
mod serve_connections;
mod serve_kit;
mod serve_stopping;
mod serve_web;
mod settings;
