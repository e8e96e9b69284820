//! One attempt at a job, as the job sees it.

use domain::JobId;
use store::{StoreError, Tx, jobs};

use super::queue::Queue;
use super::work::JobError;
use crate::{Engine, Error};

/// What a job is given to run with.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub(super) engine: Engine,
    pub(super) id: JobId,
    pub(super) number: u32,
    pub(super) fence: i64,
    pub(super) lease_ms: i64,
}

/// The proof that a job's completion is on disk.
#[derive(Debug)]
pub struct Completed(());

impl Attempt {
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same in every attempt at this job, so that others can tell a repeat.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// 1 for the first.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// For jobs that this one causes.
    #[must_use]
    pub fn queue(&self) -> Queue {
        self.engine.queue()
    }

    /// Completes the job, and stores its effects with that in one transaction.
    ///
    /// # Errors
    /// [`JobError::Lost`], or what `effects` refuses; nothing is stored then.
    pub async fn complete(
        &self,
        effects: impl FnOnce(&mut Tx) -> Result<(), Error> + Clone + Send + 'static,
    ) -> Result<Completed, JobError> {
        let (id, fence) = (self.id, self.fence);
        let stored = self.engine.inner.store.write(move |tx| {
            if !jobs::complete(tx, id, fence)? {
                return Err(Refused::Lost);
            }
            effects(tx).map_err(Refused::Effects)
        });
        Ok(stored.await.map(|()| Completed(()))?)
    }

    /// Stores something on the way, if the job is still ours.
    ///
    /// # Errors
    /// As [`Self::complete`].
    pub async fn store<T: Send + 'static>(
        &self,
        effects: impl FnOnce(&mut Tx) -> Result<T, Error> + Clone + Send + 'static,
    ) -> Result<T, JobError> {
        let (id, fence, lease_ms) = (self.id, self.fence, self.lease_ms);
        let stored = self.engine.inner.store.write(move |tx| {
            if !jobs::hold(tx, id, fence, lease_ms)? {
                return Err(Refused::Lost);
            }
            effects(tx).map_err(Refused::Effects)
        });
        Ok(stored.await?)
    }
}

enum Refused {
    Lost,
    Effects(Error),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Effects(error.into())
    }
}

impl From<Refused> for JobError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Lost => Self::Lost,
            Refused::Effects(error) => error.into(),
        }
    }
}
