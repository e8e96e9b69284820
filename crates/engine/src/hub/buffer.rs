//! Waiting until a contact has finished: a burst grows on each link, and is over when the contact has been quiet for a while,
//! or when it has grown long enough.

use async_trait::async_trait;
use domain::Timestamp;
use domain::hub::{Agent, AgentId, ChatAgent, ChatId, DeliveryState, Holder, OnNewMessage};
use serde::{Deserialize, Serialize};
use store::Tx;
use store::hub::links::Pending;
use store::hub::{agents, chats, deliveries, links};

use super::call;
use super::changes::Changes;
use crate::Result;
use crate::jobs::{Attempt, BackOff, Completed, JobError, Policy, Repeat, Unique, Work};

/// Characters with which a burst is over, however fast more come.
const MAX_CHARS: i64 = 8000;
/// A burst may grow for as many buffer times, but not longer than this unless the buffer time itself is.
const WAIT_FACTOR: i64 = 5;
const MAX_WAIT_MS: i64 = 15_000;
/// Pieces of one long text, and of one album, come one after the other.
const PIECES_QUIET_MS: i64 = 1500;
/// A text of so many UTF-16 units was probably cut into pieces by the platform.
const PIECE_UNITS: usize = 4000;

/// What a contact's message means for a burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    pub chars: i64,
    /// More of the same is on its way.
    pub has_more: bool,
}

impl Growth {
    pub(super) fn of(text: &str, is_album: bool) -> Self {
        let has_more = is_album || text.encode_utf16().take(PIECE_UNITS).count() == PIECE_UNITS;
        Self { chars: i64::try_from(text.chars().count()).unwrap_or(i64::MAX), has_more }
    }
}

/// Lets the bursts of all agents that are awake grow by one message.
///
/// # Errors
/// The database's.
pub(super) fn grow(tx: &mut Tx, changes: &mut Changes, chat: ChatId, growth: Growth, max_messages: i64) -> Result<()> {
    for link in links::awake(tx, chat)? {
        let Some(agent) = agents::get(tx, link.agent)? else { continue };
        interrupt(tx, changes, &link, &agent)?;
        let pending = links::pending(tx, link.id)?;
        let due = due(&agent, pending, growth, max_messages, changes.at);
        links::set_pending(tx, link.id, Some(due))?;
        enqueue(tx, changes, &link, due.due_at)?;
    }
    Ok(())
}

/// What a new message does to an answer that is being made.
fn interrupt(tx: &mut Tx, changes: &mut Changes, link: &ChatAgent, agent: &Agent) -> Result<()> {
    let Some(newest) = deliveries::newest(tx, link.chat, link.agent)? else { return Ok(()) };
    let waits_for_retry = newest.state == DeliveryState::Open && newest.attempts > 0 && newest.next_at.is_some();
    if waits_for_retry {
        // Its messages are in the next one.
        return call::supersede(tx, changes, newest);
    }
    let is_in_work = match newest.state {
        DeliveryState::Open => true,
        DeliveryState::Done => newest.ended_at.is_none() && !agent.is_fire_and_forget,
        DeliveryState::Failed | DeliveryState::Superseded | DeliveryState::Cancelled => false,
    };
    if agent.on_new_message == OnNewMessage::Interrupt && is_in_work && !newest.replied {
        let pending = links::pending(tx, link.id)?;
        links::fence(tx, link.id)?;
        links::set_pending(tx, link.id, pending)?;
        return call::supersede(tx, changes, newest);
    }
    Ok(())
}

/// When a burst is over that has grown by `growth` at `now`.
fn due(agent: &Agent, before: Option<Pending>, growth: Growth, max_messages: i64, now: Timestamp) -> Pending {
    let mut quiet_ms = agent.buffer_time_s * 1000;
    if growth.has_more {
        quiet_ms = quiet_ms.max(PIECES_QUIET_MS);
    }
    let max_wait_ms = match agent.max_wait_s {
        Some(seconds) => seconds * 1000,
        None => quiet_ms.max((WAIT_FACTOR * quiet_ms).min(MAX_WAIT_MS)),
    };
    let since = before.map_or(now, |before| before.since);
    let count = before.map_or(0, |before| before.count) + 1;
    let chars = before.map_or(0, |before| before.chars).saturating_add(growth.chars);
    let is_full = count >= max_messages || chars >= MAX_CHARS || quiet_ms == 0;
    let due_at = if is_full { now } else { Timestamp((now.0 + quiet_ms).min(since.0 + max_wait_ms).max(now.0)) };
    Pending { since, count, chars, due_at }
}

/// The agent gets now what it has not seen.
///
/// # Errors
/// The database's.
pub(super) fn make_due(tx: &mut Tx, changes: &mut Changes, link: &ChatAgent) -> Result<()> {
    let pending = Pending { since: changes.at, count: 1, chars: 0, due_at: changes.at };
    links::set_pending(tx, link.id, Some(pending))?;
    enqueue(tx, changes, link, changes.at)
}

/// Nothing grows on the link any more.
///
/// # Errors
/// The database's.
pub(super) fn forget(tx: &mut Tx, changes: &mut Changes, link: &ChatAgent) -> Result<()> {
    changes.queue.cancel::<EndBurst>(tx, &link.id.to_string())?;
    Ok(())
}

fn enqueue(tx: &mut Tx, changes: &Changes, link: &ChatAgent, due_at: Timestamp) -> Result<()> {
    let key = link.id.to_string();
    let unique = Unique { key: &key, repeat: Repeat::Replace };
    changes.queue.enqueue(tx, &EndBurst { chat: link.chat, agent: link.agent }, due_at, Some(unique))?;
    Ok(())
}

/// After a delivery has ended: what has grown meanwhile is looked at again.
///
/// # Errors
/// The database's.
pub(super) fn go_on(tx: &mut Tx, changes: &Changes, chat: ChatId, agent: AgentId) -> Result<()> {
    let Some(link) = links::get(tx, chat, agent)? else { return Ok(()) };
    if let Some(pending) = links::pending(tx, link.id)? {
        enqueue(tx, changes, &link, Timestamp(pending.due_at.0.max(changes.at.0)))?;
    }
    Ok(())
}

/// A burst is over: it becomes one delivery.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EndBurst {
    chat: ChatId,
    agent: AgentId,
}

#[async_trait]
impl Work for EndBurst {
    const KIND: &'static str = "end_burst";
    const POLICY: Policy = Policy { back_off: BackOff::SHORT, at_once: 64, time_limit_ms: 10_000, lease_ms: 5_000 };

    async fn run(self, attempt: &Attempt) -> Result<Completed, JobError> {
        let (mut changes, engine) = (Changes::of(attempt.engine()), attempt.engine().clone());
        let effects = move |tx: &mut Tx| {
            changes.hold(tx, self.chat)?;
            let Some(chat) = chats::get(tx, self.chat)? else { return Ok(()) };
            let Some(link) = links::get(tx, self.chat, self.agent)? else { return Ok(()) };
            let Some(pending) = links::pending(tx, link.id)? else { return Ok(()) };
            let Some(agent) = agents::get(tx, self.agent)? else { return Ok(()) };
            if chat.floor.holder == Holder::User || !link.active || !agent.is_active {
                links::set_pending(tx, link.id, None)?;
                return Ok(());
            }
            // One delivery at a time: this burst goes on growing until the one before has ended.
            if deliveries::open(tx, self.chat, self.agent)?.is_some() {
                return Ok(());
            }
            if pending.due_at > changes.at {
                return enqueue(tx, &changes, &link, pending.due_at);
            }
            call::make(tx, &engine, &mut changes, &chat, &link, &agent)?;
            links::set_pending(tx, link.id, None)?;
            changes.end(tx)
        };
        attempt.complete(effects).await
    }
}

#[cfg(test)]
mod tests {
    use domain::hub::{Agent, AgentId, AgentKind, AgentScope, HubId as _, OnNewMessage};
    use domain::{Mode, Timestamp};
    use store::hub::links::Pending;

    use super::{Growth, due};

    fn agent(buffer_time_s: i64, max_wait_s: Option<i64>) -> Agent {
        Agent {
            id: AgentId::from_random(1),
            name: String::new(),
            kind: AgentKind::Webhook,
            webhook_url: None,
            is_fire_and_forget: false,
            buffer_time_s,
            history_msg_count: 40,
            recent_msg_window_minutes: 1440,
            activate_for_new_conversation: true,
            is_active: true,
            scope: AgentScope::Linked,
            channels: None,
            on_new_message: OnNewMessage::Collect,
            reply_timeout_s: 300,
            max_wait_s,
            model: None,
            instructions: String::new(),
            tools: None,
            mode: Mode::Ask,
            created_at: Timestamp(0),
        }
    }

    fn grown(agent: &Agent, texts: &[(i64, &str)]) -> i64 {
        let mut pending: Option<Pending> = None;
        for (at, text) in texts {
            pending = Some(due(agent, pending, Growth::of(text, false), 20, Timestamp(*at)));
        }
        pending.map_or(0, |pending| pending.due_at.0)
    }

    #[test]
    fn a_burst_ends_after_quiet_and_never_waits_for_ever() {
        let three = agent(3, None);
        assert_eq!(grown(&three, &[(0, "a")]), 3000);
        assert_eq!(grown(&three, &[(0, "a"), (2000, "b")]), 5000);
        let talk: Vec<(i64, &str)> = (0..15).map(|second| (second * 1000, "a")).collect();
        assert_eq!(grown(&three, &talk), 15_000, "the longest wait counts from the first message");
        assert_eq!(grown(&agent(10, None), &[(0, "a"), (9000, "b")]), 15_000);
        assert_eq!(grown(&agent(300, None), &[(0, "a")]), 300_000, "a long buffer time counts whole");
        assert_eq!(grown(&agent(3, Some(4)), &[(0, "a"), (2000, "b")]), 4000);
    }

    #[test]
    fn a_full_burst_ends_at_once() {
        assert_eq!(grown(&agent(0, None), &[(7, "a")]), 7);
        let many: Vec<(i64, &str)> = (0..20).map(|at| (at, "a")).collect();
        assert_eq!(grown(&agent(3, None), &many), 19);
        let long = "x".repeat(3000);
        assert_eq!(grown(&agent(3, None), &[(0, &long), (1, &long), (2, &long)]), 2);
    }

    #[test]
    fn pieces_of_one_text_are_waited_for() {
        let piece = "x".repeat(4000);
        assert_eq!(grown(&agent(1, None), &[(0, &piece)]), 1500);
        let wide = "👋".repeat(2000);
        assert!(Growth::of(&wide, false).has_more, "UTF-16 units count, not characters");
        assert!(Growth::of("", true).has_more);
    }
}
