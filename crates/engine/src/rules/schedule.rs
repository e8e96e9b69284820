//! Approved versions run again by the clock, as the rules file says. Every node looks at the clock, and one of them does it.

use std::time::Duration;

use async_trait::async_trait;
use domain::{Principal, RuleId, RuleRun, RunId, RunState};
use serde::{Deserialize, Serialize};
use store::rules;

use super::decide;
use crate::jobs::{Attempt, BackOff, Completed, JobError, Policy, Repeat, Unique, Work};
use crate::{Engine, Result};

/// How often the clock is looked at. A refresh is never asked for more often than every second, and seldom below a minute.
const TICK: Duration = Duration::from_secs(5);
/// Runs among which the last one is looked for that waits for nobody.
const LOOKED_AT: i64 = 50;

/// Looks at the clock until the engine is dropped.
pub(crate) fn spawn(engine: &Engine) {
    let engine = engine.downgrade();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TICK).await;
            let Some(engine) = engine.upgrade() else { return };
            if let Err(error) = enqueue_due(&engine).await {
                tracing::error!(%error, "rules could not be refreshed by the clock");
            }
        }
    });
}

async fn enqueue_due(engine: &Engine) -> Result<()> {
    let (file, _) = engine.inner.rules.file();
    let now = engine.clock().now();
    for known in file.rules.iter().filter(|rule| rule.refresh_ms.is_some()) {
        let code = known.code.clone();
        let read = move |tx: &mut store::Tx| {
            let Some(rule) = rules::by_code(tx, &code)? else { return Ok(None) };
            let last = last_run(tx, rule.id)?;
            Ok::<_, crate::Error>(Some((rule, last)))
        };
        let Some((rule, Some(last))) = engine.inner.store.read(read).await? else { continue };
        let due = last.finished_at.is_some_and(|at| now.0 - at.0 >= known.refresh_ms.unwrap_or(i64::MAX));
        if due && rule.stored.is_some() {
            let (queue, work) = (engine.queue(), RefreshRule { rule: rule.id, after: last.id });
            let enqueue = move |tx: &mut store::Tx| {
                let key = work.rule.to_string();
                queue.enqueue(tx, &work, now, Some(Unique { key: &key, repeat: Repeat::Keep })).map(drop)
            };
            engine.inner.store.write(enqueue).await.map_err(crate::Error::from)?;
        }
    }
    Ok(())
}

/// The newest run that waits for nobody: what a person has not decided yet does not hold up what is approved.
fn last_run(tx: &mut store::Tx, rule: RuleId) -> std::result::Result<Option<RuleRun>, store::StoreError> {
    let waits_for_a_person = |run: &RuleRun| matches!(run.state, RunState::Pending | RunState::Question);
    Ok(rules::runs_of(tx, rule, LOOKED_AT)?.into_iter().find(|run| !waits_for_a_person(run)))
}

/// Runs the newest approved version of a rule again, unless that has been done since run `after`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RefreshRule {
    rule: RuleId,
    after: RunId,
}

#[async_trait]
impl Work for RefreshRule {
    const KIND: &'static str = "refresh_rule";
    /// What fails keeps its former rows, and is done again when its time has passed once more.
    const POLICY: Policy = Policy { back_off: BackOff::NEVER, at_once: 2, time_limit_ms: 300_000, lease_ms: 15_000 };

    /// Runs of one rule never overlap.
    fn lane(&self) -> Option<String> {
        Some(format!("rule {}", self.rule))
    }

    async fn run(self, attempt: &Attempt) -> std::result::Result<Completed, JobError> {
        let engine = attempt.engine();
        let Self { rule: id, after } = self;
        let read = move |tx: &mut store::Tx| {
            let last = last_run(tx, id)?;
            Ok::<_, crate::Error>((rules::get(tx, id)?, last))
        };
        if let (Some(rule), Some(last)) = engine.inner.store.read(read).await?
            && last.id == after
        {
            let slug = rule.slug.clone();
            match decide::refresh_now(engine, Principal::Owner, rule).await? {
                Ok(mut started) => drop(started.answer().await),
                Err(refusal) => tracing::warn!(rule = slug, ?refusal, "a rule could not be refreshed by the clock"),
            }
        }
        attempt.complete(|_| Ok(())).await
    }
}
