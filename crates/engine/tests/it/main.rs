//! The engine through its own doors, without a server around it.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod jobs;
mod jobs_world;
