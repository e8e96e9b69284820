//! What a kind of job is: its data, how it is run, and how patient it is.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::JobId;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::attempt::{Attempt, Completed};
use crate::accounts::ForgetAccount;
use crate::{Error, hub, rules};

/// A kind of job. The struct itself is what is stored, as JSON, so its fields must stay readable by later versions.
///
/// A job is run at least once: what it does outside the database must bear a repeat, or carry [`Attempt::id`] so that the
/// other side can tell. What it does inside commits with its completion, exactly once.
#[async_trait]
pub trait Work: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The stored name, such as `deliver_message`; never changes.
    const KIND: &'static str;
    const POLICY: Policy = Policy::STANDARD;

    /// Jobs of one lane, of whatever kind, run one after another in the order in which they were enqueued. One that waits
    /// for its next attempt holds up those behind it; a dead one does not.
    fn lane(&self) -> Option<String> {
        None
    }

    /// Jobs of one share, of whatever kind, have as many places together as calls to one host may run at once: what is slow
    /// there holds up nobody else.
    fn share(&self) -> Option<String> {
        None
    }

    /// One attempt. It ends with [`Attempt::complete`]; a panic is a failed attempt.
    async fn run(self, attempt: &Attempt) -> Result<Completed, JobError>;
}

/// How a kind of job is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub back_off: BackOff,
    /// Jobs of this kind that run at once on one node.
    pub at_once: u32,
    /// How long one attempt may take.
    pub time_limit_ms: u64,
    /// How soon another node takes over from one that has died. Renewed three times as often while an attempt runs.
    pub lease_ms: u32,
}

impl Policy {
    /// For work that depends on somebody else's server.
    pub const STANDARD: Self = Self { back_off: BackOff::WEBHOOK, at_once: 16, time_limit_ms: 60_000, lease_ms: 15_000 };
}

/// How long to wait after each failure. When all are used up, the job is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff(pub &'static [u64]);

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

impl BackOff {
    /// The schedule that Standard Webhooks recommend: eight attempts over about 28 hours.
    pub const WEBHOOK: Self = Self(&[5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR]);
    /// For work of our own that only a passing trouble can keep from succeeding: six attempts within five minutes.
    pub const SHORT: Self = Self(&[SECOND, 5 * SECOND, 15 * SECOND, MINUTE, 3 * MINUTE]);
    /// One attempt.
    pub const NEVER: Self = Self(&[]);

    /// The wait after attempt number `attempt` (from 1) has failed; `None`: it was the last. Up to a twentieth is added,
    /// so that jobs which failed together do not all come back together; for one attempt of a job it is always the same.
    #[must_use]
    pub fn after(self, attempt: u32, id: JobId) -> Option<u64> {
        let wait = *self.0.get(usize::try_from(attempt).ok()?.checked_sub(1)?)?;
        // The low bits of an id are random.
        let spread = (id.uuid().as_u128() as u64).rotate_left(attempt.wrapping_mul(7)) % 1000;
        Some(wait + wait * spread / 20_000)
    }
}

/// Why an attempt did not complete its job. Reasons are sentences for the owner: never a secret or what somebody wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Try again, after the back-off or after this long.
    #[error("{reason}")]
    Retry { reason: String, after_ms: Option<u64> },
    /// Trying again would not help.
    #[error("{reason}")]
    Fail { reason: String },
    /// It was cancelled, or another node has taken it over. Nothing of this attempt is stored.
    #[error("the job is not ours any more")]
    Lost,
}

impl JobError {
    #[must_use]
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after_ms: None }
    }

    #[must_use]
    pub fn fail(reason: impl Into<String>) -> Self {
        Self::Fail { reason: reason.into() }
    }
}

impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::RateLimited { retry_after_ms } => Self::Retry { reason, after_ms: Some(retry_after_ms) },
            Error::StorageFull | Error::Unavailable | Error::Internal(_) | Error::Busy | Error::QueueFull => Self::retry(reason),
            Error::NotFound
            | Error::Forbidden
            | Error::EmptyMessage
            | Error::InvalidText
            | Error::Conflict
            | Error::NoQuestion
            | Error::ProjectNotFound
            | Error::ProjectGone
            | Error::ProjectExists
            | Error::UnknownProvider
            | Error::InvalidModel { .. }
            | Error::BadWorkdir
            | Error::BadCursor
            | Error::Refused(_)
            | Error::InvalidValue { .. } => Self::fail(reason),
        }
    }
}

type Run = Box<dyn Fn(String, Attempt) -> BoxFuture<'static, Result<Completed, JobError>> + Send + Sync>;

pub(super) struct Kind {
    pub(super) policy: Policy,
    pub(super) run: Run,
}

/// The kinds of job that this program can run.
#[derive(Default)]
pub struct Kinds(pub(super) BTreeMap<&'static str, Kind>);

impl std::fmt::Debug for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Kinds {
    /// Every kind of the product.
    #[must_use]
    pub fn ours() -> Self {
        Self::default()
            .with::<hub::EndBurst>()
            .with::<hub::CallWebhook>()
            .with::<hub::RunBuiltin>()
            .with::<hub::ReplyDue>()
            .with::<hub::ReturnFloor>()
            .with::<hub::RestAgent>()
            .with::<hub::SendQueued>()
            .with::<hub::FetchFile>()
            .with::<hub::ListenToChannel>()
            .with::<rules::RefreshRule>()
            .with::<ForgetAccount>()
    }

    /// Adds a kind.
    #[must_use]
    pub fn with<W: Work>(mut self) -> Self {
        let run: Run = Box::new(|body, attempt| {
            Box::pin(async move {
                match serde_json::from_str::<W>(&body) {
                    Ok(work) => work.run(&attempt).await,
                    Err(error) => Err(JobError::fail(format!("The stored job cannot be read: {error}"))),
                }
            })
        });
        self.0.insert(W::KIND, Kind { policy: W::POLICY, run });
        self
    }
}

#[cfg(test)]
mod tests {
    use domain::JobId;

    use super::BackOff;

    #[test]
    fn waits_grow_and_end() {
        let id = JobId::new();
        for (index, wait) in BackOff::WEBHOOK.0.iter().enumerate() {
            let after = BackOff::WEBHOOK.after(u32::try_from(index + 1).unwrap(), id).unwrap();
            assert!((*wait..=wait + wait / 20).contains(&after), "{after} after attempt {}", index + 1);
        }
        assert_eq!(BackOff::WEBHOOK.after(8, id), None);
        assert_eq!(BackOff::NEVER.after(1, id), None);
    }

    #[test]
    fn jobs_that_failed_together_come_back_apart() {
        let waits: std::collections::BTreeSet<_> = (0..50).filter_map(|_| BackOff::WEBHOOK.after(2, JobId::new())).collect();
        assert!(waits.len() > 30, "{waits:?}");
    }
}
