//! An agent becomes inactive, or active again: what it was making is not sent, and in each of its chats the floor goes to
//! whoever is left to answer.

use async_trait::async_trait;
use domain::Timestamp;
use domain::hub::{AgentId, Holder};
use serde::{Deserialize, Serialize};
use store::Tx;
use store::hub::{agents, chats, deliveries, links};

use super::changes::{By, Changes};
use super::{call, floor};
use crate::Result;
use crate::jobs::{Attempt, BackOff, Completed, JobError, Policy, Queue, Repeat, Unique, Work};

/// Chats that one transaction looks at, so that nobody waits long for it.
const BATCH: i64 = 200;

/// Puts the chats of an agent in order whose `is_active` has changed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RestAgent {
    agent: AgentId,
}

/// The agent has become active or inactive.
///
/// # Errors
/// The database's.
pub(super) fn begin(tx: &mut Tx, queue: &Queue, agent: AgentId, at: Timestamp) -> Result<()> {
    let key = agent.to_string();
    queue.enqueue(tx, &RestAgent { agent }, at, Some(Unique { key: &key, repeat: Repeat::Replace }))?;
    Ok(())
}

/// Puts up to so many chats in order. Gives how many there were.
///
/// # Errors
/// The database's.
pub(super) fn settle(tx: &mut Tx, changes: &mut Changes, agent: AgentId, limit: i64) -> Result<usize> {
    let Some(known) = agents::get(tx, agent)? else { return Ok(0) };
    let at_work = if known.is_active { Vec::new() } else { links::at_work(tx, agent, limit)? };
    for link in &at_work {
        chats::hold(tx, link.chat)?;
        floor::stop(tx, changes, link)?;
        // One that an administrator has revived need not be the newest.
        if let Some(open) = deliveries::open(tx, link.chat, agent)? {
            call::cancel(tx, changes, open)?;
        }
        // Somebody waits for an answer that will not come.
        changes.note(
            tx,
            link.chat,
            By::Agent(agent),
            "agent_inactive",
            format!("{} is inactive and does not answer", known.name),
        )?;
        chats::set_attention(tx, link.chat, true)?;
        changes.chat_updated(link.chat);
    }
    let wrong = links::held_wrongly(tx, agent, limit)?;
    for chat in &wrong {
        chats::hold(tx, *chat)?;
        if let Some(chat) = chats::get(tx, *chat)?.filter(|chat| chat.floor.holder != Holder::User) {
            floor::set_holder(tx, changes, &chat)?;
        }
    }
    Ok(at_work.len() + wrong.len())
}

#[async_trait]
impl Work for RestAgent {
    const KIND: &'static str = "rest_agent";
    const POLICY: Policy = Policy { back_off: BackOff::SHORT, at_once: 4, time_limit_ms: 30_000, lease_ms: 5_000 };

    async fn run(self, attempt: &Attempt) -> Result<Completed, JobError> {
        let (mut changes, queue) = (Changes::of(attempt.engine()), attempt.queue());
        let effects = move |tx: &mut Tx| {
            let settled = settle(tx, &mut changes, self.agent, BATCH)?;
            let now = changes.at;
            changes.end(tx)?;
            if settled > 0 { begin(tx, &queue, self.agent, now) } else { Ok(()) }
        };
        attempt.complete(effects).await
    }
}
