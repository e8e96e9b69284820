//! Approved versions run again by the clock, as the rules file says.

use std::time::Duration;

use domain::Principal;
use store::rules;

use super::{decide, names};
use crate::{Engine, Result};

/// How often the clock is looked at. A refresh is never asked for more often than every second, and seldom below a minute.
const TICK: Duration = Duration::from_secs(5);

/// Looks at the clock until the engine is dropped.
pub(crate) fn spawn(engine: &Engine) {
    let engine = engine.downgrade();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TICK).await;
            let Some(engine) = engine.upgrade() else { return };
            if let Err(error) = refresh_due(&engine).await {
                tracing::error!(%error, "rules could not be refreshed by the clock");
            }
        }
    });
}

/// One after the other, so that runs of one rule never overlap. What fails keeps its former rows, and is tried again when
/// its time has passed once more.
async fn refresh_due(engine: &Engine) -> Result<()> {
    let (file, _) = engine.inner.rules.file();
    let now = engine.clock().now().0;
    for known in file.rules.iter().filter(|rule| rule.refresh_ms.is_some()) {
        let slug = names::slug(&known.code);
        let read = move |tx: &mut store::Tx| {
            let Some(rule) = rules::by_slug(tx, &slug)? else { return Ok(None) };
            let last = rules::runs_of(tx, rule.id, 1)?.into_iter().next();
            Ok::<_, crate::Error>(Some((rule, last)))
        };
        let Some((rule, Some(last))) = engine.inner.store.read(read).await? else { continue };
        let due = last.finished_at.is_some_and(|at| now - at.0 >= known.refresh_ms.unwrap_or(i64::MAX));
        if due && rule.stored.is_some() {
            let slug = rule.slug.clone();
            if let Err(refusal) = decide::refresh_now(engine, Principal::Owner, rule).await? {
                tracing::warn!(rule = slug, ?refusal, "a rule could not be refreshed by the clock");
            }
        }
    }
    Ok(())
}
