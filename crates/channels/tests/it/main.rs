//! Tests of the connectors and of the guarded client, against servers on loopback.

#![expect(clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

mod egress;
mod forging;
mod media;
mod peer;
mod reading;
mod sending;
mod world;
