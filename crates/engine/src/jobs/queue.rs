//! The way into the queue.

use std::sync::Arc;

use domain::{Clock, Job, JobId, Timestamp};
use store::jobs::{self, NewJob};
use store::{StoreError, Tx};
use tokio::sync::Notify;

use super::work::Work;

pub use store::jobs::Repeat;

/// At most one job of its kind waits under a key. One that runs already is another: a second job for its key waits.
#[derive(Debug, Clone, Copy)]
pub struct Unique<'a> {
    pub key: &'a str,
    pub repeat: Repeat,
}

/// What it takes to enqueue jobs. Cheap to clone, so that it can be moved into a transaction.
#[derive(Debug, Clone)]
pub struct Queue {
    clock: Arc<dyn Clock>,
    hint: Arc<Notify>,
}

impl Queue {
    pub(super) fn new(clock: Arc<dyn Clock>, hint: Arc<Notify>) -> Self {
        Self { clock, hint }
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Enqueues a job that is due at `run_at`. It exists if and only if the transaction commits.
    /// Returns the id of the job that waits now, which may be an earlier one under the same key.
    ///
    /// # Errors
    /// The database's; the transaction must then be given up.
    pub fn enqueue<W: Work>(
        &self,
        tx: &mut Tx,
        work: &W,
        run_at: Timestamp,
        unique: Option<Unique<'_>>,
    ) -> Result<JobId, StoreError> {
        let body = serde_json::to_string(work).map_err(|error| StoreError::Failed(error.to_string()))?;
        let (lane, share) = (work.lane(), work.share());
        let new = NewJob {
            id: JobId::new(),
            kind: W::KIND,
            body: &body,
            lane: lane.as_deref(),
            share: share.as_deref(),
            unique: unique.map(|unique| jobs::Unique { key: unique.key, repeat: unique.repeat }),
            run_at,
            at: self.clock.now(),
        };
        let id = jobs::enqueue(tx, &new)?;
        let hint = Arc::clone(&self.hint);
        tx.after_commit(move || hint.notify_one());
        Ok(id)
    }

    /// Removes the job under this key, whether it waits or runs; one that runs is stopped, and nothing of its attempt is
    /// stored. `false`: there is none.
    ///
    /// # Errors
    /// The database's.
    pub fn cancel<W: Work>(&self, tx: &mut Tx, key: &str) -> Result<bool, StoreError> {
        jobs::cancel(tx, W::KIND, key)
    }

    /// The job that waits under this key.
    ///
    /// # Errors
    /// The database's.
    pub fn waiting<W: Work>(&self, tx: &mut Tx, key: &str) -> Result<Option<Job>, StoreError> {
        jobs::waiting(tx, W::KIND, key)
    }
}
