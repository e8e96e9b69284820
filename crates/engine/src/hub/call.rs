//! One burst on its way to one agent: made once, sent until it is accepted or dead.

use async_trait::async_trait;
use domain::egress::origin;
use domain::hub::{
    Agent, AgentDelivery, AgentKind, Attachment, Chat, ChatAgent, ChatMessage, ChatView, DeliveryId, DeliveryState, HubId as _,
    Sender,
};
use domain::sockets::agent::{AgentAnswer, AgentCall, AgentReply, Burst, BurstMessage};
use domain::sockets::channel::Secret;
use domain::{Platform, Timestamp};
use serde::{Deserialize, Serialize};
use store::Tx;
use store::hub::{Table, accounts, agents, channels, chats, deliveries, links, messages};

use super::agents::secret_place;
use super::changes::{By, Changes};
use super::secrets::open;
use super::{buffer, builtin, rest, say, typing, window};
use crate::accounts::{fresh, random_bytes};
use crate::jobs::{Attempt, BackOff, Completed, JobError, Policy, Work};
use crate::{Engine, Error, Result};

/// Messages in one call, whatever the agent asks for: a call must end.
const MAX_MESSAGES: i64 = 500;
/// How long after each failed attempt the next one comes. After the last the delivery is a dead letter.
const WAITS_MS: [i64; 5] = [5_000, 5_000, 30_000, 120_000, 600_000];
/// From this wait on, up to a fifth is added or taken away, so that calls that failed together do not come back together.
const FIRST_SPREAD: usize = 2;
/// The longest that an agent may ask us to wait.
const MAX_RETRY_AFTER_MS: i64 = 600_000;
/// Failures in a row on a chat with which operators are warned.
const WARNED_AFTER: i64 = 2;
/// Dead letters in a row with which an agent is left alone, and for how long.
const BREAKS_AFTER: i64 = 10;
const BREAK_MS: i64 = 10 * 60 * 1000;
/// How long an answer may take that there is no limit for, where one is needed all the same.
const DEFAULT_REPLY_MS: i64 = 300_000;

/// Makes the delivery of what the agent has not seen, and queues its call.
///
/// # Errors
/// The database's.
pub(super) fn make(
    tx: &mut Tx,
    engine: &Engine,
    changes: &mut Changes,
    chat: &Chat,
    link: &ChatAgent,
    agent: &Agent,
) -> Result<()> {
    let after = links::seen_place(tx, link.id)?;
    let shown = shown(tx, chat, agent, after, changes.at)?;
    let is_new = |message: &&ChatMessage| message.sender == Sender::Contact && message.place > after;
    let Some(upto) = shown.iter().filter(is_new).map(|message| message.place).max() else { return Ok(()) };
    let id: DeliveryId = fresh(tx, Table::Delivery)?;
    let body = match agent.kind {
        AgentKind::Webhook => {
            let burst = burst(tx, engine, id, chat, agent, shown, after)?;
            engine.outside().agents.body(&burst)
        }
        // What the model is asked, so that a repeat asks the same.
        AgentKind::Builtin => {
            let new = shown.iter().filter(is_new).map(|message| message.content.as_str());
            new.collect::<Vec<_>>().join("\n")
        }
    };
    let delivery = AgentDelivery {
        id,
        chat: chat.id,
        agent: agent.id,
        state: DeliveryState::Open,
        epoch: link.epoch,
        body,
        after,
        upto,
        attempts: 0,
        next_at: Some(changes.at),
        status: None,
        error: None,
        accepted_at: None,
        reply_due_at: None,
        replied: false,
        conversation: None,
        created_at: changes.at,
        ended_at: None,
    };
    deliveries::insert(tx, &delivery)?;
    let (_, paused_until) = deliveries::breaker(tx, agent.id)?;
    let at = paused_until.map_or(changes.at, |until| Timestamp(until.0.max(changes.at.0)));
    queue(tx, changes, agent, id, at)
}

/// What the agent is shown of a chat, oldest first.
///
/// # Errors
/// The database's.
pub(super) fn shown(tx: &mut Tx, chat: &Chat, agent: &Agent, after: i64, now: Timestamp) -> Result<Vec<ChatMessage>> {
    let since = Timestamp(now.0 - agent.recent_msg_window_minutes * 60_000);
    Ok(messages::history(tx, chat.id, agent.history_msg_count, since, after, MAX_MESSAGES)?)
}

fn burst(
    tx: &mut Tx,
    engine: &Engine,
    id: DeliveryId,
    chat: &Chat,
    agent: &Agent,
    shown: Vec<ChatMessage>,
    after: i64,
) -> Result<Burst> {
    let view: Option<ChatView> = chats::view(tx, chat.id)?;
    let channel = channels::get(tx, chat.channel)?;
    let platform = channel.as_ref().map_or("", |channel| Platform::as_str(channel.platform));
    let base = channel.as_ref().and_then(|channel| engine.webhook_base_url(channel)).unwrap_or_default();
    let mut messages = Vec::new();
    for message in shown {
        let (sender, sender_id, sender_name) = match message.sender {
            Sender::Contact => ("contact", Some(chat.contact.spelled()), Some(chat.name.clone())),
            Sender::User(None) => ("user", None, None),
            Sender::User(Some(account)) => {
                ("user", Some(account.spelled()), accounts::get(tx, account)?.map(|account| account.username))
            }
            Sender::Agent(None) => ("agent", None, None),
            Sender::Agent(Some(agent)) => ("agent", Some(agent.spelled()), agents::get(tx, agent)?.map(|agent| agent.name)),
        };
        messages.push(BurstMessage {
            id: message.id.spelled(),
            external_id: message.external_id,
            content: message.content,
            at: message.at,
            meta: message.meta,
            sender,
            sender_id,
            sender_name,
            is_new: message.sender == Sender::Contact && message.place > after,
            attachments: message.attachments.into_iter().map(|file| with_base(file, &base)).collect(),
        });
    }
    Ok(Burst {
        delivery_id: id.spelled(),
        agent_id: agent.id.spelled(),
        chat_id: chat.id.spelled(),
        chat_external_id: chat.external_id.clone(),
        channel_id: chat.channel.spelled(),
        chat_name: chat.name.clone(),
        platform,
        contact_id: chat.contact.spelled(),
        messages,
        window: view.and_then(|view| window::of(&view, engine.inner.clock.now())),
    })
}

/// Agents elsewhere need a whole address; without a public one of ours they know themselves where they reach us.
fn with_base(file: Attachment, base: &str) -> Attachment {
    let url = if file.url.starts_with('/') { format!("{}{}", base.trim_end_matches('/'), file.url) } else { file.url };
    Attachment { url, ..file }
}

fn queue(tx: &mut Tx, changes: &Changes, agent: &Agent, delivery: DeliveryId, at: Timestamp) -> Result<()> {
    let name = delivery.to_string();
    match agent.kind {
        AgentKind::Webhook => {
            let host = agent.webhook_url.as_deref().and_then(origin);
            changes.queue.enqueue(tx, &CallWebhook { delivery, host }, at, Some(key(&name)))?
        }
        AgentKind::Builtin => changes.queue.enqueue(tx, &builtin::RunBuiltin { delivery }, at, Some(key(&name)))?,
    };
    Ok(())
}

const fn key(text: &str) -> crate::jobs::Unique<'_> {
    crate::jobs::Unique { key: text, repeat: crate::jobs::Repeat::Replace }
}

/// Ends a delivery because the next one has its messages.
///
/// # Errors
/// The database's.
pub(super) fn supersede(tx: &mut Tx, changes: &mut Changes, delivery: AgentDelivery) -> Result<()> {
    end(tx, changes, delivery, DeliveryState::Superseded)
}

/// Ends a delivery because nobody may answer it any more.
///
/// # Errors
/// The database's.
pub(super) fn cancel(tx: &mut Tx, changes: &mut Changes, delivery: AgentDelivery) -> Result<()> {
    end(tx, changes, delivery, DeliveryState::Cancelled)
}

fn end(tx: &mut Tx, changes: &mut Changes, mut delivery: AgentDelivery, state: DeliveryState) -> Result<()> {
    delivery.state = state;
    delivery.next_at = None;
    delivery.reply_due_at = None;
    delivery.ended_at = Some(changes.at);
    deliveries::update(tx, &delivery)?;
    let name = delivery.id.to_string();
    changes.queue.cancel::<CallWebhook>(tx, &name)?;
    changes.queue.cancel::<builtin::RunBuiltin>(tx, &name)?;
    changes.queue.cancel::<ReplyDue>(tx, &name)?;
    if let Some(conversation) = delivery.conversation {
        changes.stop_turn(tx, conversation);
    }
    Ok(())
}

/// Whether something may still come of a delivery.
///
/// # Errors
/// The database's.
pub(super) fn may_still_answer(tx: &mut Tx, delivery: &AgentDelivery, now: Timestamp) -> Result<bool> {
    match delivery.state {
        DeliveryState::Open => Ok(true),
        DeliveryState::Done if delivery.ended_at.is_none() => {
            let patience = patience(tx, delivery)?;
            Ok(delivery.accepted_at.is_none_or(|at| now.0 - at.0 < patience))
        }
        DeliveryState::Done | DeliveryState::Failed | DeliveryState::Superseded | DeliveryState::Cancelled => Ok(false),
    }
}

/// For how long after its end an answer to a delivery is still known to be one.
///
/// # Errors
/// The database's.
pub(super) fn patience(tx: &mut Tx, delivery: &AgentDelivery) -> Result<i64> {
    let seconds = agents::get(tx, delivery.agent)?.map_or(0, |agent| agent.reply_timeout_s);
    Ok(if seconds == 0 { DEFAULT_REPLY_MS } else { seconds * 1000 })
}

/// An attempt begins: what is needed for it. `None`: the delivery has ended, or must wait.
///
/// # Errors
/// [`JobError`].
pub(super) async fn begin(attempt: &Attempt, id: DeliveryId) -> Result<Option<(AgentDelivery, Agent)>, JobError> {
    let now = attempt.engine().inner.clock.now();
    let begun = attempt
        .store(move |tx| {
            let Some(mut delivery) = deliveries::get(tx, id)?.filter(|found| found.state == DeliveryState::Open) else {
                return Ok(None);
            };
            let Some(agent) = agents::get(tx, delivery.agent)?.filter(|agent| agent.is_active) else { return Ok(None) };
            let (_, paused_until) = deliveries::breaker(tx, agent.id)?;
            if paused_until.is_some_and(|until| until > now) {
                return Ok(None);
            }
            delivery.attempts += 1;
            delivery.next_at = None;
            deliveries::update(tx, &delivery)?;
            Ok(Some((delivery, agent)))
        })
        .await?;
    if let Some((delivery, _)) = &begun {
        typing::begin(attempt.engine(), delivery);
    }
    Ok(begun)
}

/// What cannot be begun ends, or waits until the agent is called again.
///
/// # Errors
/// [`JobError`].
pub(super) async fn give_back(attempt: &Attempt, id: DeliveryId) -> Result<Completed, JobError> {
    let mut changes = Changes::of(attempt.engine());
    let effects = move |tx: &mut Tx| {
        let Some(delivery) = deliveries::get(tx, id)?.filter(|found| found.state == DeliveryState::Open) else { return Ok(()) };
        match agents::get(tx, delivery.agent)?.filter(|agent| agent.is_active) {
            Some(agent) => {
                let (_, paused_until) = deliveries::breaker(tx, agent.id)?;
                let at = paused_until.map_or(changes.at, |until| Timestamp(until.0.max(changes.at.0)));
                queue(tx, &changes, &agent, id, at)
            }
            None => cancel(tx, &mut changes, delivery),
        }
    };
    attempt.complete(effects).await
}

/// What came of an attempt, stored with its job's completion.
///
/// # Errors
/// [`JobError`].
pub(super) async fn settle(attempt: &Attempt, id: DeliveryId, answer: AgentAnswer) -> Result<Completed, JobError> {
    let (mut changes, engine) = (Changes::of(attempt.engine()), attempt.engine().clone());
    let spread = i64::from(u16::from_le_bytes(random_bytes()) % 401) - 200;
    let effects = move |tx: &mut Tx| {
        let Some(chat) = deliveries::get(tx, id)?.map(|delivery| delivery.chat) else { return Ok(()) };
        changes.hold(tx, chat)?;
        // What was superseded or cancelled meanwhile is answered in vain.
        let Some(delivery) = deliveries::get(tx, id)?.filter(|found| found.state == DeliveryState::Open) else {
            return Ok(());
        };
        let (Some(agent), Some(link)) = (agents::get(tx, delivery.agent)?, links::get(tx, chat, delivery.agent)?) else {
            return Ok(());
        };
        match answer {
            AgentAnswer::Accepted { status, replies, no_reply } => {
                accept(tx, &engine, &mut changes, (delivery, &agent, &link), status, replies, no_reply)?;
            }
            AgentAnswer::Gone { status } => {
                let delivery = AgentDelivery { status: Some(status.into()), error: Some("gone".to_owned()), ..delivery };
                agents::update(tx, &Agent { is_active: false, ..agent.clone() })?;
                rest::begin(tx, &changes.queue, agent.id, changes.at)?;
                bury(tx, &mut changes, delivery, &agent)?;
                changes.note(tx, chat, By::Agent(agent.id), "agent_gone", "The agent wants no more calls and is inactive now")?;
            }
            AgentAnswer::Failed { status, retry_after_ms, error } => {
                let delivery = AgentDelivery { status: status.map(Into::into), error: Some(error), ..delivery };
                fail(tx, &mut changes, delivery, &agent, &link, retry_after_ms, spread)?;
            }
        }
        changes.end(tx)
    };
    attempt.complete(effects).await
}

/// The agent cannot answer, and asking again would not help.
///
/// # Errors
/// [`JobError`].
pub(super) async fn give_up(attempt: &Attempt, id: DeliveryId, error: String) -> Result<Completed, JobError> {
    let mut changes = Changes::of(attempt.engine());
    let effects = move |tx: &mut Tx| {
        let Some(chat) = deliveries::get(tx, id)?.map(|delivery| delivery.chat) else { return Ok(()) };
        changes.hold(tx, chat)?;
        let Some(delivery) = deliveries::get(tx, id)?.filter(|found| found.state == DeliveryState::Open) else {
            return Ok(());
        };
        let Some(agent) = agents::get(tx, delivery.agent)? else { return Ok(()) };
        bury(tx, &mut changes, AgentDelivery { error: Some(error), ..delivery }, &agent)?;
        changes.end(tx)
    };
    attempt.complete(effects).await
}

fn accept(
    tx: &mut Tx,
    engine: &Engine,
    changes: &mut Changes,
    (mut delivery, agent, link): (AgentDelivery, &Agent, &ChatAgent),
    status: u16,
    replies: Vec<AgentReply>,
    no_reply: bool,
) -> Result<()> {
    links::see(tx, link.id, delivery.upto)?;
    links::forget_failures(tx, link.id)?;
    deliveries::set_breaker(tx, agent.id, 0, None)?;
    if chats::get(tx, delivery.chat)?.is_some_and(|chat| chat.failing_agent == Some(agent.id)) {
        chats::set_failing(tx, delivery.chat, None)?;
        changes.chat_updated(delivery.chat);
    }
    delivery.state = DeliveryState::Done;
    delivery.status = Some(status.into());
    delivery.error = None;
    delivery.accepted_at = Some(changes.at);
    let has_replies = !replies.is_empty();
    // The epoch is the one fence: a person, a newer message or a mute has raised it.
    if has_replies && link.epoch == delivery.epoch && agent.is_active {
        for reply in replies {
            delivery.replied |= say::reply(tx, engine, changes, &delivery, reply)?;
        }
    }
    // It may have written by itself before it answered.
    if has_replies || no_reply || delivery.replied {
        delivery.ended_at = Some(changes.at);
    } else if !agent.is_fire_and_forget && agent.reply_timeout_s > 0 {
        let due = Timestamp(changes.at.0 + agent.reply_timeout_s * 1000);
        delivery.reply_due_at = Some(due);
        let name = delivery.id.to_string();
        changes.queue.enqueue(tx, &ReplyDue { delivery: delivery.id }, due, Some(key(&name)))?;
    }
    deliveries::update(tx, &delivery)?;
    buffer::go_on(tx, changes, delivery.chat, agent.id)
}

fn fail(
    tx: &mut Tx,
    changes: &mut Changes,
    mut delivery: AgentDelivery,
    agent: &Agent,
    link: &ChatAgent,
    retry_after_ms: Option<i64>,
    spread: i64,
) -> Result<()> {
    if links::count_failure(tx, link.id)? >= WARNED_AFTER {
        chats::set_failing(tx, delivery.chat, Some(agent.id))?;
        changes.chat_updated(delivery.chat);
    }
    let Some(wait_ms) = wait_after(delivery.attempts, retry_after_ms, spread) else { return bury(tx, changes, delivery, agent) };
    let at = Timestamp(changes.at.0 + wait_ms);
    delivery.next_at = Some(at);
    deliveries::update(tx, &delivery)?;
    if links::pending(tx, link.id)?.is_some() {
        // What has come meanwhile has waited for this attempt only.
        let (chat, agent) = (delivery.chat, delivery.agent);
        supersede(tx, changes, delivery)?;
        return buffer::go_on(tx, changes, chat, agent);
    }
    queue(tx, changes, agent, delivery.id, at)
}

/// `spread`: thousandths that are added to the later waits. `None`: there is no next attempt.
fn wait_after(attempts: i64, retry_after_ms: Option<i64>, spread: i64) -> Option<i64> {
    let index = usize::try_from(attempts).ok()?.checked_sub(1)?;
    let wait = *WAITS_MS.get(index)?;
    let wait = if index < FIRST_SPREAD { wait } else { wait + wait * spread / 1000 };
    Some(retry_after_ms.map_or(wait, |asked| asked.clamp(0, MAX_RETRY_AFTER_MS)))
}

/// A dead letter: people have to look at the chat.
fn bury(tx: &mut Tx, changes: &mut Changes, mut delivery: AgentDelivery, agent: &Agent) -> Result<()> {
    delivery.state = DeliveryState::Failed;
    delivery.next_at = None;
    delivery.ended_at = Some(changes.at);
    deliveries::update(tx, &delivery)?;
    let (failures, paused_until) = deliveries::breaker(tx, agent.id)?;
    let failures = failures + 1;
    let paused_until = if failures >= BREAKS_AFTER { Some(Timestamp(changes.at.0 + BREAK_MS)) } else { paused_until };
    deliveries::set_breaker(tx, agent.id, failures, paused_until)?;
    let why = delivery.error.clone().unwrap_or_default();
    tracing::warn!(delivery = %delivery.id, agent = %agent.id, why, "an agent could not be called; people have to answer");
    hand_over(tx, changes, &delivery, "agent_failed", format!("{} could not be called: {why}", agent.name))?;
    buffer::go_on(tx, changes, delivery.chat, agent.id)
}

/// An agent has not answered: people see a line about it, and the chat among those that need them.
///
/// # Errors
/// The database's.
pub(super) fn hand_over(tx: &mut Tx, changes: &mut Changes, delivery: &AgentDelivery, kind: &str, text: String) -> Result<()> {
    changes.note(tx, delivery.chat, By::Agent(delivery.agent), kind, text)?;
    chats::set_attention(tx, delivery.chat, true)?;
    changes.chat_updated(delivery.chat);
    Ok(())
}

/// Calls the service behind a webhook.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CallWebhook {
    delivery: DeliveryId,
    #[serde(default)]
    host: Option<String>,
}

/// Attempts that the program may break down in: the delivery's own schedule is not this one.
const BREAKDOWNS: [u64; 50] = [1000; 50];

#[async_trait]
impl Work for CallWebhook {
    const KIND: &'static str = "call_webhook";
    const POLICY: Policy = Policy { back_off: BackOff(&BREAKDOWNS), at_once: 256, time_limit_ms: 50_000, lease_ms: 60_000 };

    /// A call that waited for its place after it had begun would count as one that failed.
    fn share(&self) -> Option<String> {
        self.host.as_ref().map(|host| format!("call:{host}"))
    }

    async fn run(self, attempt: &Attempt) -> Result<Completed, JobError> {
        let Some((delivery, agent)) = begin(attempt, self.delivery).await? else {
            return give_back(attempt, self.delivery).await;
        };
        let (engine, now) = (attempt.engine().clone(), attempt.engine().inner.clock.now());
        let secrets = engine.inner.store.read(move |tx| agents::secrets(tx, delivery.agent)).await.map_err(Error::from)?;
        let place = secret_place(agent.id);
        let old = secrets.old.filter(|(_, until)| *until > now).map(|(sealed, _)| sealed);
        let opened = secrets.secret.into_iter().chain(old).map(|sealed| open(&engine, &place, &sealed).map(Secret));
        let call = AgentCall {
            url: agent.webhook_url.clone().unwrap_or_default(),
            delivery_id: delivery.id.spelled(),
            attempt: delivery.attempts,
            body: delivery.body.clone(),
            secrets: opened.collect::<Result<_>>()?,
            reads_answer: !agent.is_fire_and_forget,
            now,
        };
        let answer = engine.outside().agents.call(&call).await;
        settle(attempt, self.delivery, answer).await
    }
}

/// An agent has accepted a burst, and must have answered by now.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReplyDue {
    delivery: DeliveryId,
}

#[async_trait]
impl Work for ReplyDue {
    const KIND: &'static str = "reply_due";
    const POLICY: Policy = Policy { back_off: BackOff::SHORT, at_once: 16, time_limit_ms: 10_000, lease_ms: 5_000 };

    async fn run(self, attempt: &Attempt) -> Result<Completed, JobError> {
        let mut changes = Changes::of(attempt.engine());
        let effects = move |tx: &mut Tx| {
            let Some(chat) = deliveries::get(tx, self.delivery)?.map(|delivery| delivery.chat) else { return Ok(()) };
            changes.hold(tx, chat)?;
            let Some(mut delivery) = deliveries::get(tx, self.delivery)?.filter(|found| found.reply_due_at.is_some()) else {
                return Ok(());
            };
            delivery.reply_due_at = None;
            delivery.ended_at = Some(changes.at);
            deliveries::update(tx, &delivery)?;
            let name = agents::get(tx, delivery.agent)?.map(|agent| agent.name).unwrap_or_default();
            hand_over(tx, &mut changes, &delivery, "agent_silent", format!("{name} has not answered in time"))?;
            changes.end(tx)
        };
        attempt.complete(effects).await
    }
}

/// A reply has come in another way than in the answer to the call.
///
/// # Errors
/// The database's.
pub(super) fn replied(tx: &mut Tx, changes: &Changes, mut delivery: AgentDelivery) -> Result<()> {
    delivery.replied = true;
    if delivery.state == DeliveryState::Done {
        delivery.reply_due_at = None;
        delivery.ended_at = Some(changes.at);
        changes.queue.cancel::<ReplyDue>(tx, &delivery.id.to_string())?;
    }
    Ok(deliveries::update(tx, &delivery)?)
}

/// Sends a dead letter once more, as the same delivery.
///
/// # Errors
/// The database's.
pub(super) fn revive(tx: &mut Tx, changes: &Changes, mut delivery: AgentDelivery, agent: &Agent) -> Result<()> {
    delivery.state = DeliveryState::Open;
    delivery.ended_at = None;
    delivery.next_at = Some(changes.at);
    delivery.attempts = delivery.attempts.min(i64::try_from(WAITS_MS.len()).unwrap_or(0));
    deliveries::update(tx, &delivery)?;
    queue(tx, changes, agent, delivery.id, changes.at)
}

#[cfg(test)]
mod tests {
    use super::wait_after;

    #[test]
    fn attempts_are_spaced_as_the_contract_says() {
        let waits: Vec<Option<i64>> = (1..=6).map(|attempts| wait_after(attempts, None, 0)).collect();
        assert_eq!(waits, [Some(5_000), Some(5_000), Some(30_000), Some(120_000), Some(600_000), None]);
        assert_eq!(wait_after(2, None, 200), Some(5_000), "the seed's three attempts come as they always did");
        assert_eq!(wait_after(3, None, 200), Some(36_000));
        assert_eq!(wait_after(3, None, -200), Some(24_000));
    }

    #[test]
    fn an_agent_may_ask_for_time_but_not_for_ever() {
        assert_eq!(wait_after(1, Some(60_000), 0), Some(60_000));
        assert_eq!(wait_after(1, Some(86_400_000), 0), Some(600_000));
        assert_eq!(wait_after(6, Some(1), 0), None);
    }
}
