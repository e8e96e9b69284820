//! A turn, from the queue to its end. `run.rs` is the loop: ask, act, repeat.

mod act;
mod ask;
mod cancel;
mod claim;
mod effects;
mod finish;
mod fold;
mod history;
mod prompt;
mod resume;
mod run;
pub(crate) mod runner;

pub(crate) use ask::backoff_ms;
pub(crate) use cancel::{cancel, cancel_all, cancel_running, end_queued};
pub(crate) use claim::{Claimed, take};
pub(crate) use finish::store_result;
pub(crate) use history::Histories;
pub(crate) use resume::resume_all;
pub use run::MAX_STEPS;
pub(crate) use runner::{Runners, drain};
