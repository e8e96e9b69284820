//! The faces, as their clients see them.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod chats_following;
mod chats_rest;
mod sessions_guard;
mod sessions_http;
mod sessions_json;
mod sessions_projection;
mod sessions_streams;
mod sessions_world;
mod socket_frames;
mod socket_limits;
mod socket_world;
