//! The queue of background work. Whoever claims a job gets a lease on the database's clock and a fence; every later word
//! about the job must show the fence, so that a holder whose lease has passed on changes nothing.

use std::collections::HashMap;

use domain::{Job, JobId, JobState, Timestamp};
use uuid::Uuid;

use crate::{Row, StoreError, Tx};

const COLUMNS: &str = "j.id, j.kind, j.state, j.run_at, j.created_at, j.attempts, j.error";

/// A job to be stored.
#[derive(Debug, Clone)]
pub struct NewJob<'a> {
    pub id: JobId,
    pub kind: &'a str,
    pub body: &'a str,
    pub lane: Option<&'a str>,
    pub share: Option<&'a str>,
    pub unique: Option<Unique<'a>>,
    pub run_at: Timestamp,
    pub at: Timestamp,
}

/// At most one job of its kind waits under a key.
#[derive(Debug, Clone, Copy)]
pub struct Unique<'a> {
    pub key: &'a str,
    pub repeat: Repeat,
}

/// What a second job under a key means for the one that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The one that waits stays as it is.
    Keep,
    /// It gets the new body and the new time.
    Replace,
    /// As [`Self::Replace`], but it becomes due this long after it was first enqueued at the latest.
    PushBack { at_most_ms: i64 },
}

/// A job that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub id: JobId,
    pub body: String,
    /// This one included.
    pub attempt: u32,
    pub fence: i64,
}

/// Stores a job, or does to the one that waits under its key what [`Repeat`] says. Returns the id of the one that waits now.
///
/// # Errors
/// The database's.
pub fn enqueue(tx: &mut Tx, job: &NewJob) -> Result<JobId, StoreError> {
    let replace = "body = excluded.body, share = excluded.share, attempts = 0, error = NULL, run_at = ";
    let on_repeat = match job.unique.map(|unique| unique.repeat) {
        None | Some(Repeat::Keep) => "kind = job.kind".to_owned(),
        Some(Repeat::Replace) => format!("{replace} excluded.run_at"),
        Some(Repeat::PushBack { at_most_ms }) => format!(
            "{replace} CASE WHEN excluded.run_at > job.created_at + {at_most_ms} \
             THEN job.created_at + {at_most_ms} ELSE excluded.run_at END"
        ),
    };
    let sql = format!(
        "INSERT INTO job (id, kind, body, unique_key, lane, share, position, state, run_at, created_at, attempts, fence) \
         VALUES ($1, $2, $3, $4, $5, $6, (SELECT COALESCE(MAX(l.position), 0) + 1 FROM job l WHERE l.lane = $5), \
             'waiting', $7, $8, 0, 0) \
         ON CONFLICT (kind, unique_key) WHERE state = 'waiting' DO UPDATE SET {on_repeat} RETURNING id"
    );
    let values = [
        job.id.uuid().into(),
        job.kind.into(),
        job.body.into(),
        job.unique.map(|unique| unique.key).into(),
        job.lane.into(),
        job.share.into(),
        job.run_at.0.into(),
        job.at.0.into(),
    ];
    let row = tx.query_one(&sql, &values)?.ok_or_else(|| StoreError::Failed("a job was not stored".to_owned()))?;
    Ok(JobId::from_uuid(row.get::<Uuid>(0)?))
}

/// Removes the job of this key, whether it waits or runs: what one that runs wants to store at its end is then refused.
/// `false`: there is none.
///
/// # Errors
/// The database's.
pub fn cancel(tx: &mut Tx, kind: &str, key: &str) -> Result<bool, StoreError> {
    let sql = "DELETE FROM job WHERE kind = $1 AND unique_key = $2 AND state IN ('waiting', 'running')";
    Ok(tx.execute(sql, &[kind.into(), key.into()])? > 0)
}

/// The job that waits under this key.
///
/// # Errors
/// The database's.
pub fn waiting(tx: &mut Tx, kind: &str, key: &str) -> Result<Option<Job>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM job j WHERE j.kind = $1 AND j.unique_key = $2 AND j.state = 'waiting'");
    tx.query_one(&sql, &[kind.into(), key.into()])?.map(|row| job(&row)).transpose()
}

/// When the next job is due, by the time it was enqueued for. A job whose holder has let its lease run out is due now.
///
/// # Errors
/// The database's.
pub fn next_due(tx: &mut Tx) -> Result<Option<Timestamp>, StoreError> {
    let now = tx.now()?;
    let sql = "SELECT 1 FROM job WHERE state = 'running' AND leased_until <= $1 LIMIT 1";
    if tx.query_one(sql, &[now.0.into()])?.is_some() {
        return Ok(Some(Timestamp(0)));
    }
    let row = tx.query_one("SELECT MIN(run_at) FROM job WHERE state = 'waiting'", &[])?;
    Ok(row.map(|row| row.get::<Option<i64>>(0)).transpose()?.flatten().map(Timestamp))
}

/// The first time after `now` at which a job becomes due.
///
/// # Errors
/// The database's.
pub fn next_after(tx: &mut Tx, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let row = tx.query_one("SELECT MIN(run_at) FROM job WHERE state = 'waiting' AND run_at > $1", &[now.0.into()])?;
    Ok(row.map(|row| row.get::<Option<i64>>(0)).transpose()?.flatten().map(Timestamp))
}

/// Those of these kinds of which something is due at `now`, or was left by a holder whose lease has run out.
///
/// # Errors
/// The database's.
pub fn due_kinds(tx: &mut Tx, kinds: &[&'static str], now: Timestamp) -> Result<Vec<&'static str>, StoreError> {
    let clock = tx.now()?;
    // One look into an index for each, however much of them waits.
    let listed: Vec<String> =
        (0..kinds.len()).map(|at| format!("SELECT {at} AS nth, CAST(${} AS text) AS kind", at + 3)).collect();
    let sql = format!(
        "SELECT k.nth FROM ({}) k \
         WHERE EXISTS (SELECT 1 FROM job j WHERE j.kind = k.kind AND j.state = 'waiting' AND j.run_at <= $1) \
             OR EXISTS (SELECT 1 FROM job j WHERE j.kind = k.kind AND j.state = 'running' AND j.leased_until <= $2)",
        listed.join(" UNION ALL ")
    );
    let mut values = vec![now.0.into(), clock.0.into()];
    values.extend(kinds.iter().map(|kind| (*kind).into()));
    let rows = tx.query(&sql, &values)?;
    rows.iter().map(|row| Ok(kinds[row.get::<i64>(0)? as usize])).collect()
}

/// How many jobs run, of each share that has any.
#[derive(Debug)]
pub struct Shares(HashMap<String, u32>);

impl Shares {
    /// # Errors
    /// The database's.
    pub fn now(tx: &mut Tx) -> Result<Self, StoreError> {
        let clock = tx.now()?;
        let sql =
            "SELECT share, COUNT(*) FROM job WHERE state = 'running' AND share IS NOT NULL AND leased_until > $1 GROUP BY share";
        let rows = tx.query(sql, &[clock.0.into()])?;
        let shares = rows.iter().map(|row| Ok((row.get(0)?, u32::try_from(row.get::<i64>(1)?).unwrap_or(u32::MAX))));
        Ok(Self(shares.collect::<Result<_, StoreError>>()?))
    }
}

/// Which jobs are to be claimed.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub kind: &'a str,
    /// At most so many.
    pub limit: u32,
    pub now: Timestamp,
    pub lease_ms: i64,
    /// Jobs of one share that run at once.
    pub share_places: u32,
}

/// Claims jobs that are due: of each lane only the first, of each share no more than it has places. `shares` is kept up to date.
///
/// # Errors
/// The database's.
pub fn claim(tx: &mut Tx, wanted: Claim, shares: &mut Shares) -> Result<Vec<Claimed>, StoreError> {
    let clock = tx.now()?;
    let mut claimed = Vec::new();
    loop {
        let limit = (wanted.limit as usize).saturating_sub(claimed.len());
        let due = due(tx, &wanted, clock, limit)?;
        let (found, before) = (due.len(), claimed.len());
        for (id, share) in due {
            if let Some(share) = share {
                let running = shares.0.entry(share).or_default();
                if *running >= wanted.share_places {
                    continue;
                }
                *running += 1;
            }
            let row = tx.query_one(
                "UPDATE job SET state = 'running', attempts = attempts + 1, fence = fence + 1, leased_until = $2 \
                 WHERE id = $1 RETURNING id, body, attempts, fence",
                &[id.into(), (clock.0 + wanted.lease_ms).into()],
            )?;
            claimed.extend(row.map(|row| claim_of(&row)).transpose()?);
        }
        // Those of a share that is full by now have taken the places of others, which are looked for once more.
        let got = claimed.len() - before;
        if got == found || got == 0 {
            return Ok(claimed);
        }
    }
}

/// What may be claimed, with its share. Nothing of a share that is full already.
fn due(tx: &mut Tx, wanted: &Claim, clock: Timestamp, limit: usize) -> Result<Vec<(Uuid, Option<String>)>, StoreError> {
    let sql = format!(
        "SELECT j.id, j.share FROM job j \
         WHERE j.kind = $1 AND ((j.state = 'waiting' AND j.run_at <= $2) OR (j.state = 'running' AND j.leased_until <= $3)) \
             AND (j.lane IS NULL OR NOT EXISTS ( \
                 SELECT 1 FROM job e WHERE e.lane = j.lane AND e.state <> 'dead' \
                 AND (e.position < j.position OR (e.position = j.position AND e.id < j.id)))) \
             AND (j.share IS NULL OR j.share NOT IN ( \
                 SELECT r.share FROM job r WHERE r.state = 'running' AND r.share IS NOT NULL AND r.leased_until > $3 \
                 GROUP BY r.share HAVING COUNT(*) >= $5)) \
         ORDER BY j.run_at, j.id LIMIT $4 {}",
        tx.dialect().skip_locked()
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = [wanted.kind.into(), wanted.now.0.into(), clock.0.into(), limit.into(), i64::from(wanted.share_places).into()];
    tx.query(&sql, &values)?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Removes a job that is done. `false`: it is not the caller's any more, and the transaction must be given up.
///
/// # Errors
/// The database's.
pub fn complete(tx: &mut Tx, id: JobId, fence: i64) -> Result<bool, StoreError> {
    let sql = "DELETE FROM job WHERE id = $1 AND fence = $2 AND state = 'running'";
    Ok(tx.execute(sql, &[id.uuid().into(), fence.into()])? > 0)
}

/// Prolongs the lease. `false`: the job is not the caller's any more.
///
/// # Errors
/// The database's.
pub fn hold(tx: &mut Tx, id: JobId, fence: i64, lease_ms: i64) -> Result<bool, StoreError> {
    let until = tx.now()?.0 + lease_ms;
    let sql = "UPDATE job SET leased_until = $3 WHERE id = $1 AND fence = $2 AND state = 'running'";
    Ok(tx.execute(sql, &[id.uuid().into(), fence.into(), until.into()])? > 0)
}

/// Lets a job wait again. If another waits under its key by now, that one has taken its place.
///
/// # Errors
/// The database's.
pub fn retry(tx: &mut Tx, id: JobId, fence: i64, run_at: Timestamp, error: &str) -> Result<(), StoreError> {
    let superseded = "DELETE FROM job WHERE id = $1 AND fence = $2 AND state = 'running' AND unique_key IS NOT NULL AND EXISTS ( \
             SELECT 1 FROM job o WHERE o.kind = job.kind AND o.unique_key = job.unique_key AND o.state = 'waiting')";
    tx.execute(superseded, &[id.uuid().into(), fence.into()])?;
    let sql = "UPDATE job SET state = 'waiting', run_at = $3, error = $4, leased_until = NULL \
         WHERE id = $1 AND fence = $2 AND state = 'running'";
    tx.execute(sql, &[id.uuid().into(), fence.into(), run_at.0.into(), error.into()])?;
    Ok(())
}

/// Gives a job back without having tried it: at once due, and the attempt does not count.
///
/// # Errors
/// The database's.
pub fn release(tx: &mut Tx, id: JobId, fence: i64, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE job SET attempts = attempts - 1 WHERE id = $1 AND fence = $2 AND state = 'running'";
    tx.execute(sql, &[id.uuid().into(), fence.into()])?;
    retry(tx, id, fence, now, "The server stopped while it ran.")
}

/// Marks a job as failed for good. It no longer holds its key, nor up its lane.
///
/// # Errors
/// The database's.
pub fn bury(tx: &mut Tx, id: JobId, fence: i64, now: Timestamp, error: &str) -> Result<(), StoreError> {
    let sql = "UPDATE job SET state = 'dead', unique_key = NULL, run_at = $3, error = $4, leased_until = NULL \
         WHERE id = $1 AND fence = $2 AND state = 'running'";
    tx.execute(sql, &[id.uuid().into(), fence.into(), now.0.into(), error.into()])?;
    Ok(())
}

/// Lets a dead job wait again, with all its attempts before it. `None`: there is no such dead job.
///
/// # Errors
/// The database's.
pub fn revive(tx: &mut Tx, id: JobId, now: Timestamp) -> Result<Option<Job>, StoreError> {
    let sql = "UPDATE job SET state = 'waiting', attempts = 0, run_at = $2 WHERE id = $1 AND state = 'dead'";
    tx.execute(sql, &[id.uuid().into(), now.0.into()])?;
    let sql = format!("SELECT {COLUMNS} FROM job j WHERE j.id = $1 AND j.state = 'waiting'");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| job(&row)).transpose()
}

/// The jobs in this state, those that were due last first.
///
/// # Errors
/// The database's.
pub fn list(tx: &mut Tx, state: JobState, limit: u32) -> Result<Vec<Job>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM job j WHERE j.state = $1 ORDER BY j.run_at DESC, j.id DESC LIMIT $2");
    tx.query(&sql, &[state.as_str().into(), i64::from(limit).into()])?.iter().map(job).collect()
}

/// Ends every lease: whoever held them is gone. Only for a database that no other process has open.
///
/// # Errors
/// The database's.
pub fn end_leases(tx: &mut Tx) -> Result<(), StoreError> {
    tx.execute("UPDATE job SET leased_until = 0 WHERE state = 'running'", &[])?;
    Ok(())
}

/// Forgets those that died before `before`.
///
/// # Errors
/// The database's.
pub fn forget_dead(tx: &mut Tx, before: Timestamp) -> Result<(), StoreError> {
    tx.execute("DELETE FROM job WHERE state = 'dead' AND run_at < $1", &[before.0.into()])?;
    Ok(())
}

fn claim_of(row: &Row) -> Result<Claimed, StoreError> {
    Ok(Claimed {
        id: JobId::from_uuid(row.get::<Uuid>(0)?),
        body: row.get(1)?,
        attempt: u32::try_from(row.get::<i64>(2)?).unwrap_or(u32::MAX),
        fence: row.get(3)?,
    })
}

fn job(row: &Row) -> Result<Job, StoreError> {
    let state: String = row.get(2)?;
    Ok(Job {
        id: JobId::from_uuid(row.get::<Uuid>(0)?),
        kind: row.get(1)?,
        state: JobState::parse(&state).ok_or_else(|| StoreError::Failed(format!("stored job state {state:?}")))?,
        run_at: Timestamp(row.get(3)?),
        created_at: Timestamp(row.get(4)?),
        attempts: u32::try_from(row.get::<i64>(5)?).unwrap_or(u32::MAX),
        error: row.get(6)?,
    })
}
