//! Rules on several nodes: a run belongs to the node that took it in, and everybody hears of what it has stored.

use std::time::Duration;

use domain::{Principal, RunId, RunState};
use serde::{Deserialize, Serialize};
use store::rules;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::sleep;

use super::outcome::{Ended, Refreshed, RuleNews};
use super::start::{RunRule, Started, interrupted, unreadable};
use super::{Active, work};
use crate::access::changes_rule;
use crate::{Engine, Error, Result};

/// How often the end of a run on another node is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// What announcements about rules begin with.
const TOPIC: &str = "rules ";

/// What nodes tell each other about rules. It may get lost: the registry says which rows count. Other installations may hear
/// it too, so it says nothing but which run it is about.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// It has stored its rows. `is_late`: long after somebody asked for them.
    #[serde(rename = "s")]
    Stored { run: RunId, is_late: bool },
    #[serde(rename = "c")]
    Cancel(RunId),
}

/// Listens to other nodes until the engine is dropped.
pub(crate) fn listen(engine: &Engine) {
    let Some(mut heard) = engine.announcements() else { return };
    let engine = engine.downgrade();
    tokio::spawn(async move {
        loop {
            let topic = match heard.recv().await {
                Ok(topic) => topic,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            let Some(engine) = engine.upgrade() else { return };
            if let Some(word) = topic.strip_prefix(TOPIC).and_then(|word| serde_json::from_str(word).ok()) {
                obey(&engine, word).await;
            }
        }
    });
}

async fn obey(engine: &Engine, word: Word) {
    match word {
        Word::Cancel(run) => {
            stop(engine, |id, _| id == run);
        }
        Word::Stored { run, is_late } => {
            let found = match engine.inner.store.read(move |tx| rules::run(tx, run)).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "what a rule has stored on another node could not be read");
                    return;
                }
            };
            let Some(answer) = found.as_ref().and_then(work::read_answer) else { return };
            let Ended::Stored { made, table, view } = &answer.ended else { return };
            let refreshed = Refreshed { view: view.clone(), version_table: table.clone(), rule: made.name.clone() };
            let late_answer = is_late.then(|| Box::new((*answer).clone()));
            // Nobody may be listening.
            let _ = engine.inner.rules.news.send(RuleNews { run, refreshed, late_answer });
        }
    }
}

/// Tells the other nodes that a view shows other rows.
pub(super) fn tell(engine: &Engine, news: &RuleNews) {
    announce(engine, &Word::Stored { run: news.run, is_late: news.late_answer.is_some() });
}

fn announce(engine: &Engine, word: &Word) {
    if let Ok(word) = serde_json::to_string(word) {
        engine.announce(format!("{TOPIC}{word}"));
    }
}

/// Stops a run that waits or runs, by its id or by the name that the client gave it: one of this account, or of a rule that `who`
/// may change. One on another node is asked to stop, and may not hear of it.
pub(super) async fn cancel(engine: &Engine, who: Principal, name: &str) -> Result<()> {
    let (account, id) = (who.account(), RunId::parse(name));
    let is_meant =
        |run: RunId, active: &Active| active.account == account && (Some(run) == id || active.rule_id.as_deref() == Some(name));
    if stop(engine, is_meant) {
        return Ok(());
    }
    let key = format!("id {name}");
    let find = move |tx: &mut store::Tx| {
        let run = match id {
            Some(id) => rules::run(tx, id)?,
            None => rules::find_repeat(tx, account, &key)?,
        };
        let run = run.ok_or(Error::NotFound)?;
        let rule = rules::get(tx, run.rule)?.ok_or(Error::NotFound)?;
        Ok::<_, Error>((run, rule))
    };
    let (run, rule) = engine.inner.store.read(find).await?;
    let is_open = matches!(run.state, RunState::Waiting | RunState::Running) && run.finished_at.is_none();
    if !is_open || (run.account != account && changes_rule(who, &rule).is_err()) {
        return Err(Error::NotFound);
    }
    if !stop(engine, |id, _| id == run.id) {
        if engine.inner.lease.is_alone() {
            return Err(Error::NotFound);
        }
        announce(engine, &Word::Cancel(run.id));
    }
    Ok(())
}

/// Whether there was something to stop here.
pub(super) fn stop(engine: &Engine, is_meant: impl Fn(RunId, &Active) -> bool) -> bool {
    let active = engine.inner.rules.active();
    let meant: Vec<&Active> = active.iter().filter(|(id, active)| is_meant(**id, active)).map(|(_, active)| active).collect();
    meant.iter().for_each(|active| active.cancel.cancel());
    !meant.is_empty()
}

/// Waits for the answer of a run on another node.
pub(super) fn join(engine: &Engine, run: RunId, slug: String, wish: &RunRule) -> Started {
    let (sender, answer) = watch::channel(None);
    let (weak, wish) = (engine.downgrade(), wish.clone());
    tokio::spawn(async move {
        loop {
            sleep(LOOK_EVERY).await;
            let Some(engine) = weak.upgrade() else { return };
            let found = match engine.inner.store.read(move |tx| rules::run(tx, run)).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "a rule's run on another node cannot be looked at; trying again");
                    continue;
                }
            };
            let has_ended = found.as_ref().is_none_or(|run| run.answer.is_some() || run.finished_at.is_some());
            if has_ended {
                let known = found.as_ref().and_then(work::read_answer);
                // Whoever asked may have gone.
                let _ = sender.send(Some(known.unwrap_or_else(|| interrupted(&engine, run, &wish).into())));
                return;
            }
        }
    });
    Started::joined(run, slug, answer)
}

/// Takes up what waited when a node stopped. What was running has stored nothing, and ends as interrupted.
///
/// # Errors
/// The database's.
pub(crate) async fn take_up(engine: &Engine) -> Result<()> {
    let me = engine.inner.lease.held().id;
    let alone = engine.inner.store.read(rules::runs_left_alone).await?;
    for run in alone {
        let id = run.id;
        if !engine.inner.store.write(move |tx| rules::claim_run(tx, id, me)).await? {
            continue;
        }
        // It is this node's own, which has lost its lease for a while.
        if engine.inner.rules.active().contains_key(&id) {
            continue;
        }
        let wish: RunRule = serde_json::from_str(&run.request).map_err(unreadable)?;
        let of = run.rule;
        match engine.inner.store.read(move |tx| rules::get(tx, of)).await? {
            Some(rule) if run.state == RunState::Waiting => super::start::relaunch(engine, run, rule, wish),
            _ => {
                let answer = serde_json::to_string(&interrupted(engine, id, &wish)).map_err(unreadable)?;
                let at = engine.clock().now();
                engine.inner.store.write(move |tx| rules::finish_run(tx, id, RunState::Interrupted, &answer, at)).await?;
            }
        }
    }
    Ok(())
}
