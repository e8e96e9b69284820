//! Forgetting what nobody needs any more.

use std::sync::Weak;
use std::time::Duration;

use domain::Timestamp;
use store::Tx;
use store::hub::{channels, deliveries, inbound, notes};

use super::say::DRAFTS_MS;
use crate::{Engine, Inner, Result};

const EVERY: Duration = Duration::from_secs(60 * 60);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// How long the data of a deleted channel is kept, and what became of an agent's calls.
const KEPT_MS: i64 = 30 * DAY_MS;
/// How long a platform may repeat what it told of a chat that was deleted.
const KEYS_MS: i64 = 30 * DAY_MS;
/// How long news may come before the message that they are about.
const EARLY_MS: i64 = DAY_MS;

/// Sweeps now and every hour, as long as the engine lives.
pub(super) fn start(engine: &Engine) {
    tokio::spawn(go_on(std::sync::Arc::downgrade(&engine.inner)));
}

async fn go_on(engine: Weak<Inner>) {
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let now = inner.clock.now();
        if let Err(error) = inner.store.write(move |tx| sweep(tx, now)).await {
            tracing::warn!(%error, "what the hub needs no more could not be forgotten");
        }
        drop(inner);
        tokio::time::sleep(EVERY).await;
    }
}

fn sweep(tx: &mut Tx, now: Timestamp) -> Result<()> {
    let before = |age_ms: i64| Timestamp(now.0 - age_ms);
    notes::sweep_drafts(tx, before(DRAFTS_MS))?;
    deliveries::sweep(tx, before(KEPT_MS))?;
    inbound::sweep(tx, before(EARLY_MS), before(KEYS_MS))?;
    for channel in channels::deleted_before(tx, before(KEPT_MS))? {
        channels::purge(tx, channel)?;
    }
    Ok(())
}
