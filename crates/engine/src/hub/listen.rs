//! How a channel's messages come in: most platforms call us, some want to be told where, and one can be asked instead. One job
//! for each channel sees to it; its lease makes sure that only one node asks.

use async_trait::async_trait;
use domain::hub::{Channel, ChannelId, Health, HubId as _};
use domain::sockets::channel::{ChannelAccess, Intake, IntakeError, Polled};
use domain::{Platform, Timestamp};
use serde::{Deserialize, Serialize};
use store::Tx;
use store::hub::channels;

use super::changes::Changes;
use super::intake::take_in;
use super::receive::presses;
use super::typing;
use crate::jobs::{Attempt, BackOff, Completed, JobError, Policy, Queue, Repeat, Unique, Work};
use crate::{Engine, Result};

/// A platform that answers at once, although it was asked to wait, is not asked without a pause.
const PAUSE_MS: i64 = 1_000;
/// The longest pause after failures in a row, which begin with a second and double.
const MAX_PAUSE_MS: i64 = 60_000;
/// Failures in a row, about a minute of them, with which operators are told. A poll of a former run lives on for so long.
const TOLD_AFTER: u32 = 6;

/// Sees to it that a channel's messages come in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ListenToChannel {
    channel: ChannelId,
    /// The platform has been told to keep messages until it is asked.
    is_set_up: bool,
    failures: u32,
}

/// Begins to listen, or begins anew after a change.
///
/// # Errors
/// The database's.
pub(crate) fn listen(tx: &mut Tx, queue: &Queue, channel: ChannelId) -> Result<()> {
    ListenToChannel { channel, is_set_up: false, failures: 0 }.enqueue(tx, queue, queue.now(), Repeat::Replace)
}

/// Begins to listen to every channel: the public address may be another than it was.
///
/// # Errors
/// The database's.
pub(crate) async fn listen_to_all(engine: &Engine) -> Result<()> {
    let queue = engine.queue();
    let write = move |tx: &mut Tx| {
        for channel in channels::list(tx)? {
            listen(tx, &queue, channel.id)?;
        }
        Ok(())
    };
    engine.inner.store.write(write).await
}

#[async_trait]
impl Work for ListenToChannel {
    const KIND: &'static str = "listen_to_channel";
    const POLICY: Policy = Policy { back_off: BackOff::WEBHOOK, at_once: 256, time_limit_ms: 60_000, lease_ms: 15_000 };

    fn lane(&self) -> Option<String> {
        Some(format!("listen:{}", self.channel.spelled()))
    }

    async fn run(self, attempt: &Attempt) -> Result<Completed, JobError> {
        let (engine, id) = (attempt.engine().clone(), self.channel);
        let load = move |tx: &mut Tx| {
            let Some(channel) = channels::get(tx, id)? else { return Ok(None) };
            let access = engine.channel_access(tx, &channel)?;
            Ok(Some((channel, access, channels::poll_position(tx, id)?)))
        };
        let Some((channel, access, position)) = attempt.store(load).await? else { return attempt.complete(|_| Ok(())).await };
        let Some(connector) = attempt.engine().outside().channel(channel.platform) else {
            return attempt.complete(|_| Ok(())).await;
        };
        match connector.intake(&access) {
            Intake::Pushed => attempt.complete(|_| Ok(())).await,
            Intake::Registered => {
                let url = inbound_url(&access, channel.platform);
                let told = connector.register(&access, url.as_deref()).await;
                self.after_telling(attempt, channel, told).await
            }
            Intake::Polled => {
                let engine = attempt.engine();
                let asking = async {
                    if !self.is_set_up {
                        connector.register(&access, None).await?;
                    }
                    connector.poll(&access, position).await
                };
                // Nobody who stops the server waits for a poll to end.
                match engine.inner.workers.stopping().run_until_cancelled(asking).await {
                    Some(polled) => self.after_asking(attempt, channel, access, polled).await,
                    None => self.again(attempt, channel, None, 0).await,
                }
            }
        }
    }
}

impl ListenToChannel {
    fn enqueue(&self, tx: &mut Tx, queue: &Queue, at: Timestamp, repeat: Repeat) -> Result<()> {
        let key = self.channel.spelled();
        queue.enqueue(tx, self, at, Some(Unique { key: &key, repeat }))?;
        Ok(())
    }

    /// Unless a change has begun to listen anew meanwhile.
    fn go_on(&self, tx: &mut Tx, queue: &Queue, at: Timestamp) -> Result<()> {
        self.enqueue(tx, queue, at, Repeat::Keep)
    }

    async fn after_telling(
        self,
        attempt: &Attempt,
        channel: Channel,
        told: Result<(), IntakeError>,
    ) -> Result<Completed, JobError> {
        match told {
            Ok(()) => attempt.complete(move |tx| set_health(tx, &channel, Health::Ok)).await,
            Err(error) => self.after_failure(attempt, channel, error).await,
        }
    }

    /// What was told and how far it goes are stored together, so that nothing is lost and nothing comes twice.
    async fn after_asking(
        self,
        attempt: &Attempt,
        channel: Channel,
        access: ChannelAccess,
        polled: Result<Polled, IntakeError>,
    ) -> Result<Completed, JobError> {
        let Polled { requests, position } = match polled {
            Ok(polled) => polled,
            Err(error) => return self.after_failure(attempt, channel, error).await,
        };
        let Some(connector) = attempt.engine().outside().channel(channel.platform) else {
            return attempt.complete(|_| Ok(())).await;
        };
        let parsed = requests.iter().filter_map(|request| connector.parse(&access, request).ok());
        let told: Vec<_> = parsed.flatten().collect();
        let (presses, telling) = (presses(&told), (channel.clone(), access.clone()));
        let pause_ms = if requests.is_empty() { PAUSE_MS } else { 0 };
        let next = Self { is_set_up: true, failures: 0, ..self };
        let mut changes = Changes::of(attempt.engine());
        let effects = move |tx: &mut Tx| {
            for one in told {
                take_in(tx, &mut changes, &channel, one)?;
            }
            if let Some(position) = position {
                channels::set_poll_position(tx, channel.id, position)?;
            }
            set_health(tx, &channel, Health::Ok)?;
            let (queue, at) = (changes.queue.clone(), Timestamp(changes.at.0 + pause_ms));
            changes.end(tx)?;
            next.go_on(tx, &queue, at)
        };
        let completed = attempt.complete(effects).await?;
        typing::acknowledge(attempt.engine(), &telling.0, telling.1, presses);
        Ok(completed)
    }

    async fn after_failure(self, attempt: &Attempt, channel: Channel, error: IntakeError) -> Result<Completed, JobError> {
        let health = match error {
            IntakeError::Auth => Some(Health::Auth),
            IntakeError::Conflict if self.failures >= TOLD_AFTER => Some(Health::Conflict),
            IntakeError::Unreachable { .. } if self.failures >= TOLD_AFTER => Some(Health::Unreachable),
            IntakeError::Conflict | IntakeError::Unreachable { .. } => None,
        };
        let asked = match error {
            IntakeError::Unreachable { after_ms } => after_ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0),
            IntakeError::Auth | IntakeError::Conflict => 0,
        };
        let pause_ms = (PAUSE_MS << self.failures.min(6)).min(MAX_PAUSE_MS).max(asked);
        let next = Self { is_set_up: false, failures: self.failures.saturating_add(1), ..self };
        next.again(attempt, channel, health, pause_ms).await
    }

    async fn again(
        self,
        attempt: &Attempt,
        channel: Channel,
        health: Option<Health>,
        pause_ms: i64,
    ) -> Result<Completed, JobError> {
        let queue = attempt.queue();
        let effects = move |tx: &mut Tx| {
            if let Some(health) = health {
                set_health(tx, &channel, health)?;
            }
            self.go_on(tx, &queue, Timestamp(queue.now().0 + pause_ms))
        };
        attempt.complete(effects).await
    }
}

/// Credentials may have been changed meanwhile; what was heard with the old ones says nothing of the new.
fn set_health(tx: &mut Tx, before: &Channel, health: Health) -> Result<()> {
    let is_as_before = channels::get(tx, before.id)?.is_some_and(|channel| channel.health == before.health);
    if is_as_before && before.health != health {
        channels::set_health(tx, before.id, health)?;
    }
    Ok(())
}

fn inbound_url(access: &ChannelAccess, platform: Platform) -> Option<String> {
    let base = access.webhook_base_url.as_deref()?.trim_end_matches('/');
    Some(format!("{base}/webhooks/inbound/{}/{}", platform.as_str().to_lowercase(), access.channel_id))
}
