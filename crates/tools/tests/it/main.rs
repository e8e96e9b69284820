//! The read tools, as the engine calls them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod escapes;
mod glob;
mod grep;
mod hidden;
mod input;
mod large;
mod read_file;
mod support;
mod swaps;
