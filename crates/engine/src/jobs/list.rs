//! What the owner may see and do: the queue, and jobs that have died.

use domain::{Job, JobId, JobState, Principal};
use store::jobs;

use crate::{Engine, Error, Result};

pub(crate) async fn jobs(engine: &Engine, who: Principal, state: JobState, limit: u32) -> Result<Vec<Job>> {
    match who {
        Principal::Owner => engine.inner.store.read(move |tx| jobs::list(tx, state, limit)).await.map_err(Error::from),
    }
}

pub(crate) async fn retry_job(engine: &Engine, who: Principal, id: JobId) -> Result<Job> {
    match who {
        Principal::Owner => {}
    }
    let now = engine.inner.clock.now();
    let revived = engine.inner.store.write(move |tx| jobs::revive(tx, id, now)).await.map_err(Error::from)?;
    engine.inner.workers.wake();
    revived.ok_or(Error::NotFound)
}
