//! Durable background work: enqueued in the transaction that causes it, run at least once, completed exactly once.
//!
//! To add a kind of job: a serde struct in a file of its own beside what it is about, [`Work`] for it, and a line in
//! [`Kinds::ours`]. Whoever causes it calls [`Queue::enqueue`] inside the causing transaction.

mod attempt;
mod list;
mod queue;
mod work;
mod worker;

pub use attempt::{Attempt, Completed};
pub(crate) use list::{jobs, retry_job};
pub use queue::{Queue, Repeat, Unique};
pub use work::{BackOff, JobError, Kinds, Policy, Work};
pub(crate) use worker::{Workers, drain, start};
