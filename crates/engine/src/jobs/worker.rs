//! Who runs jobs: one task that looks for what is due, and one for each job that runs.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use domain::sockets::egress::MAX_CALLS_PER_HOST;
use domain::{Clock, Home, Timestamp};
use futures_util::FutureExt;
use store::jobs::{self, Claim, Claimed, Shares};
use store::{StoreError, Tx};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempt, Completed};
use super::queue::Queue;
use super::work::{JobError, Kind, Kinds, Policy};
use crate::{Engine, Inner};

/// How long nobody looks at the queue at most: other nodes enqueue without telling us, and a clock may be turned.
const POLL: Duration = Duration::from_secs(1);
/// How long to wait when the database refuses.
const RETRY: Duration = Duration::from_secs(1);
/// How long dead jobs can be looked at and retried.
const DEAD_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// The kinds of job, and what runs of them.
#[derive(Debug)]
pub(crate) struct Workers {
    kinds: Kinds,
    hint: Arc<Notify>,
    running: Mutex<HashMap<&'static str, u32>>,
    /// How many run, of whatever kind.
    count: watch::Sender<usize>,
    /// No job is claimed any more.
    stopping: CancellationToken,
    /// What still runs must stop now.
    shutdown: CancellationToken,
}

impl Workers {
    pub(crate) fn new(kinds: Kinds) -> Self {
        Self {
            kinds,
            hint: Arc::default(),
            running: Mutex::default(),
            count: watch::channel(0).0,
            stopping: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        }
    }

    pub(crate) fn queue(&self, clock: Arc<dyn Clock>) -> Queue {
        Queue::new(clock, Arc::clone(&self.hint))
    }

    /// Cancelled as soon as no job is to be claimed any more; who waits for somebody else for long ends then.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Looks at the queue now.
    pub(crate) fn wake(&self) {
        self.hint.notify_one();
    }

    /// Kinds that may begin more jobs, and how many.
    fn free(&self) -> Vec<(&'static str, Policy, u32)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let free = |(name, kind): (&&'static str, &Kind)| {
            let places = kind.policy.at_once.saturating_sub(running.get(name).copied().unwrap_or(0));
            (*name, kind.policy, places)
        };
        self.kinds.0.iter().map(free).filter(|(.., places)| *places > 0).collect()
    }

    fn change_running(&self, kind: &'static str, change: impl Fn(u32) -> u32) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let count = running.entry(kind).or_default();
        *count = change(*count);
        let all = running.values().map(|count| *count as usize).sum();
        self.count.send_replace(all);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // The task that looks at the queue ends when it finds nobody to look for.
        self.stopping.cancel();
    }
}

/// Begins to run jobs.
pub(crate) async fn start(engine: &Engine) {
    let dead = Timestamp(engine.inner.clock.now().0 - DEAD_KEPT_MS);
    let alone = engine.inner.store.is_exclusive();
    let store = &engine.inner.store;
    let swept = store.write(move |tx| {
        if alone {
            jobs::end_leases(tx)?;
        }
        jobs::forget_dead(tx, dead)
    });
    if let Err::<(), StoreError>(error) = swept.await {
        // Leases end by themselves, and nobody who wants to read must wait for a disk to have room.
        tracing::error!(%error, "the queue of jobs could not be swept");
    }
    let workers = &engine.inner.workers;
    tokio::spawn(look(Arc::downgrade(&engine.inner), Arc::clone(&workers.hint), workers.stopping.clone()));
}

/// Claims no more jobs, and waits for those that run; what still runs after `patience_ms` is given back.
pub(crate) async fn drain(engine: &Engine, patience_ms: u64) {
    let workers = &engine.inner.workers;
    workers.stopping.cancel();
    let mut count = workers.count.subscribe();
    if tokio::time::timeout(Duration::from_millis(patience_ms), count.wait_for(|count| *count == 0)).await.is_err() {
        workers.shutdown.cancel();
        if tokio::time::timeout(Duration::from_secs(2), count.wait_for(|count| *count == 0)).await.is_err() {
            tracing::warn!("some jobs did not stop in time; they are run again");
        }
    }
}

async fn look(engine: Weak<Inner>, hint: Arc<Notify>, stopping: CancellationToken) {
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let pause = match begin_due(&Engine { inner, home: Home::Direct }).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(%error, "the queue of jobs cannot be read; trying again");
                RETRY
            }
        };
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            () = hint.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Begins what is due. Returns how long there is nothing to do.
async fn begin_due(engine: &Engine) -> Result<Duration, StoreError> {
    let inner = &engine.inner;
    let now = inner.clock.now();
    let Some(due) = inner.store.read(jobs::next_due).await? else { return Ok(POLL) };
    if due > now {
        return Ok(Duration::from_millis(due.millis_since(now)).min(POLL));
    }
    let free = inner.workers.free();
    if inner.workers.stopping.is_cancelled() {
        return Ok(POLL);
    }
    let claimed = if free.is_empty() { Vec::new() } else { inner.store.write(move |tx| claim(tx, &free, now)).await? };
    if claimed.is_empty() {
        // What is due waits for a place, a share or a lane, and whoever makes room says so. Others become due meanwhile.
        let next = inner.store.read(move |tx| jobs::next_after(tx, now)).await?;
        return Ok(next.map_or(POLL, |next| Duration::from_millis(next.millis_since(now)).min(POLL)));
    }
    for (kind, job) in claimed {
        inner.workers.change_running(kind, |count| count + 1);
        tokio::spawn(serve(engine.clone(), kind, job));
    }
    Ok(Duration::ZERO)
}

type Claims = Vec<(&'static str, Claimed)>;

fn claim(tx: &mut Tx, free: &[(&'static str, Policy, u32)], now: Timestamp) -> Result<Claims, StoreError> {
    let kinds: Vec<&'static str> = free.iter().map(|(kind, ..)| *kind).collect();
    let due = jobs::due_kinds(tx, &kinds, now)?;
    let (mut claims, mut shares) = (Vec::new(), Shares::now(tx)?);
    for (kind, policy, places) in free.iter().filter(|(kind, ..)| due.contains(kind)) {
        let lease_ms = i64::from(policy.lease_ms);
        let wanted = Claim { kind, limit: *places, now, lease_ms, share_places: MAX_CALLS_PER_HOST };
        let claimed = jobs::claim(tx, wanted, &mut shares)?;
        claims.extend(claimed.into_iter().map(|job| (*kind, job)));
    }
    Ok(claims)
}

async fn serve(engine: Engine, name: &'static str, job: Claimed) {
    let workers = &engine.inner.workers;
    if let Some(kind) = workers.kinds.0.get(name) {
        serve_one(&engine, name, kind, job).await;
    }
    workers.change_running(name, |count| count.saturating_sub(1));
    // A place is free, and perhaps a share and a lane.
    workers.wake();
}

async fn serve_one(engine: &Engine, name: &'static str, kind: &Kind, job: Claimed) {
    let Claimed { id, body, attempt: number, fence } = job;
    let policy = kind.policy;
    let attempt = Attempt { engine: engine.clone(), id, number, fence, lease_ms: i64::from(policy.lease_ms) };
    let error = if number as usize > policy.back_off.0.len() + 1 {
        // Each attempt has brought the program down, or has outlived its lease.
        JobError::fail("No attempt came to its end.")
    } else {
        match run(kind, body, &attempt).await {
            Ended::Result(Ok(Completed { .. })) => return,
            Ended::Result(Err(error)) => error,
            Ended::Stopped => return settle(&attempt, move |tx, now| jobs::release(tx, id, fence, now)).await,
        }
    };
    match (error, policy.back_off.after(number, id)) {
        (JobError::Lost, _) => tracing::info!(job = %id, kind = name, "a job was cancelled or taken over while it ran"),
        (JobError::Retry { reason, after_ms }, Some(back_off)) => {
            let wait = i64::try_from(after_ms.unwrap_or(back_off)).unwrap_or(i64::MAX);
            tracing::info!(job = %id, kind = name, attempt = number, wait_ms = wait, reason, "a job failed and is tried again");
            settle(&attempt, move |tx, now| jobs::retry(tx, id, fence, Timestamp(now.0.saturating_add(wait)), &reason)).await;
        }
        (JobError::Retry { reason, .. } | JobError::Fail { reason }, _) => {
            tracing::error!(job = %id, kind = name, attempt = number, reason, "a job failed for good");
            settle(&attempt, move |tx, now| jobs::bury(tx, id, fence, now, &reason)).await;
        }
    }
}

enum Ended {
    Result(Result<Completed, JobError>),
    /// The program ends.
    Stopped,
}

/// Runs one attempt, and holds the lease meanwhile.
async fn run(kind: &Kind, body: String, attempt: &Attempt) -> Ended {
    let limit = Duration::from_millis(kind.policy.time_limit_ms);
    let work = async {
        let run = async { (kind.run)(body, attempt.clone()).await };
        match tokio::time::timeout(limit, AssertUnwindSafe(run).catch_unwind()).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(JobError::retry("The job broke down.")),
            Err(_) => Err(JobError::retry(format!("The job took longer than {} s.", limit.as_secs()))),
        }
    };
    tokio::select! {
        result = work => Ended::Result(result),
        () = lose(attempt) => Ended::Result(Err(JobError::Lost)),
        () = attempt.engine.inner.workers.shutdown.cancelled() => Ended::Stopped,
    }
}

/// Renews the lease, and ends when the job is not ours any more.
async fn lose(attempt: &Attempt) {
    let (id, fence, lease_ms) = (attempt.id, attempt.fence, attempt.lease_ms);
    let pause = Duration::from_millis(u64::try_from(lease_ms / 3).unwrap_or(0));
    loop {
        tokio::time::sleep(pause).await;
        match attempt.engine.inner.store.write(move |tx| jobs::hold(tx, id, fence, lease_ms)).await {
            Ok(true) => {}
            Ok(false) => return,
            Err::<_, StoreError>(error) => tracing::warn!(job = %id, %error, "the lease of a job could not be renewed"),
        }
    }
}

/// Stores what comes of an attempt, however long the database refuses.
async fn settle(attempt: &Attempt, change: impl FnOnce(&mut Tx, Timestamp) -> Result<(), StoreError> + Clone + Send + 'static) {
    let inner = &attempt.engine.inner;
    loop {
        let (change, now) = (change.clone(), inner.clock.now());
        match inner.store.write(move |tx| change(tx, now)).await {
            Ok(()) => return,
            Err::<_, StoreError>(error) => {
                tracing::error!(job = %attempt.id, %error, "the end of an attempt could not be stored")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = inner.workers.shutdown.cancelled() => return,
        }
    }
}
