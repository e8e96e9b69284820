//! What the owner may see and do: the queue, and jobs that have died.

use domain::{Job, JobId, JobState, Principal};
use store::jobs;

use crate::{Engine, Error, Result};

pub(crate) async fn jobs(engine: &Engine, who: Principal, state: JobState, limit: u32) -> Result<Vec<Job>> {
    owner_alone(who)?;
    engine.inner.store.read(move |tx| jobs::list(tx, state, limit)).await.map_err(Error::from)
}

pub(crate) async fn retry_job(engine: &Engine, who: Principal, id: JobId) -> Result<Job> {
    owner_alone(who)?;
    let now = engine.inner.clock.now();
    let revived = engine.inner.store.write(move |tx| jobs::revive(tx, id, now)).await.map_err(Error::from)?;
    engine.inner.workers.wake();
    revived.ok_or(Error::NotFound)
}

/// Jobs are about everybody's business, so they are the owner's to look at.
fn owner_alone(who: Principal) -> Result<()> {
    match who {
        Principal::Owner => Ok(()),
        Principal::Account { .. } | Principal::Agent { .. } => Err(Error::Forbidden),
    }
}
