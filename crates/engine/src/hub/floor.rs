//! Who answers in a chat: its agents, or a person. It is a fact in the database, and whatever an agent wants to send is
//! checked against it in the transaction that queues it.

use async_trait::async_trait;
use domain::hub::{AgentId, ChannelId, Chat, ChatAgent, ChatId, ChatView, Floor, Holder, SenderType};
use domain::{AccountId, Principal, Timestamp};
use serde::{Deserialize, Serialize};
use store::Tx;
use store::hub::outbox::Whose;
use store::hub::{chats, deliveries, links, messages};

use super::changes::{By, Changes};
use super::{buffer, call, deliver};
use crate::access::hub::Act;
use crate::jobs::{Attempt, BackOff, Completed, JobError, Policy, Repeat, Unique, Work};
use crate::{Engine, Refused, Result, access};

const MINUTE_MS: i64 = 60 * 1000;

/// Taking and releasing the floor.
impl Engine {
    /// Takes the floor, for so many minutes or for the channel's; 0: until it is released.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn take_floor(&self, who: Principal, place: (ChannelId, ChatId), minutes: Option<i64>) -> Result<ChatView> {
        let mut changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            changes.hold(tx, place.1)?;
            let (channel, chat) = access::hub::chat(tx, who, place, Act::Operate)?;
            take(tx, &mut changes, &chat, who, minutes.unwrap_or(channel.takeover_minutes))?;
            changes.end(tx)?;
            seen(tx, chat.id)
        };
        self.inner.store.write(write).await
    }

    /// Gives the floor back to the chat's agents, who at once get what the contact wrote meanwhile.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn release_floor(&self, who: Principal, place: (ChannelId, ChatId)) -> Result<ChatView> {
        let mut changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            changes.hold(tx, place.1)?;
            let (_, chat) = access::hub::chat(tx, who, place, Act::Operate)?;
            if chat.floor.holder == Holder::User {
                release(tx, &mut changes, &chat, By::Who(who))?;
            }
            changes.end(tx)?;
            seen(tx, chat.id)
        };
        self.inner.store.write(write).await
    }
}

pub(super) fn seen(tx: &mut Tx, chat: ChatId) -> Result<ChatView> {
    chats::view(tx, chat)?.ok_or(Refused::NO_CHAT.into())
}

/// Gives the floor to a person, or leaves it there for longer.
///
/// # Errors
/// The database's.
pub(super) fn take(tx: &mut Tx, changes: &mut Changes, chat: &Chat, who: Principal, minutes: i64) -> Result<()> {
    let account = account_of(who);
    let until = (minutes > 0).then(|| Timestamp(changes.at.0.saturating_add(minutes.saturating_mul(MINUTE_MS))));
    let is_news = chat.floor.holder != Holder::User;
    if is_news {
        shut_out(tx, changes, chat)?;
        changes.note(tx, chat.id, By::Who(who), "floor_taken", "A person has taken over")?;
    }
    chats::set_floor(tx, chat.id, &Floor { holder: Holder::User, account, until }, changes.at)?;
    match until {
        Some(until) => {
            let job = ReturnFloor { chat: chat.id };
            let unique = Unique { key: &chat.id.to_string(), repeat: Repeat::Replace };
            changes.queue.enqueue(tx, &job, until, Some(unique))?;
        }
        None => {
            changes.queue.cancel::<ReturnFloor>(tx, &chat.id.to_string())?;
        }
    }
    tracing::info!(chat = %chat.id, news = is_news, "a person holds the floor");
    changes.chat_updated(chat.id);
    Ok(())
}

/// Gives the floor to the chat's agents, or to nobody if there are none.
///
/// # Errors
/// The database's.
fn release(tx: &mut Tx, changes: &mut Changes, chat: &Chat, by: By) -> Result<()> {
    // What the person has answered is not new to the agents.
    let person = messages::newest_of(tx, chat.id, SenderType::User)?;
    for link in links::of_chat(tx, chat.id)? {
        links::fence(tx, link.id)?;
        links::see(tx, link.id, person)?;
    }
    set_holder(tx, changes, chat)?;
    changes.queue.cancel::<ReturnFloor>(tx, &chat.id.to_string())?;
    changes.note(tx, chat.id, by, "floor_released", "The agents answer again")?;
    tracing::info!(chat = %chat.id, "the agents have the floor again");
    let contact = messages::newest_of(tx, chat.id, SenderType::Contact)?;
    let ours = person.max(messages::newest_of(tx, chat.id, SenderType::Agent)?);
    if contact > ours {
        for link in links::awake(tx, chat.id)? {
            buffer::make_due(tx, changes, &link)?;
        }
    }
    Ok(())
}

/// Whoever is there to answer now that no person does.
///
/// # Errors
/// The database's.
pub(super) fn set_holder(tx: &mut Tx, changes: &mut Changes, chat: &Chat) -> Result<()> {
    let holder = if links::awake(tx, chat.id)?.is_empty() { Holder::None } else { Holder::Agent };
    chats::set_floor(tx, chat.id, &Floor { holder, account: None, until: None }, changes.at)?;
    changes.chat_updated(chat.id);
    Ok(())
}

/// Nothing that any agent of the chat is making will be sent any more.
fn shut_out(tx: &mut Tx, changes: &mut Changes, chat: &Chat) -> Result<()> {
    let place = messages::newest_of(tx, chat.id, SenderType::Contact)?;
    for link in links::of_chat(tx, chat.id)? {
        stop(tx, changes, &link)?;
        // What the contact has said so far is the person's business now.
        links::see(tx, link.id, place)?;
    }
    deliver::withdraw(tx, changes, chat.id, Whose::Agents, "superseded")
}

/// Shuts out what one agent is making for the chat.
///
/// # Errors
/// The database's.
pub(super) fn stop(tx: &mut Tx, changes: &mut Changes, link: &ChatAgent) -> Result<()> {
    links::fence(tx, link.id)?;
    buffer::forget(tx, changes, link)?;
    deliver::withdraw(tx, changes, link.chat, Whose::Agent(link.agent), "superseded")?;
    match deliveries::newest(tx, link.chat, link.agent)? {
        Some(newest) if call::may_still_answer(tx, &newest, changes.at)? => call::cancel(tx, changes, newest),
        Some(_) | None => Ok(()),
    }
}

/// The account that holds the floor; the owner has none.
fn account_of(who: Principal) -> Option<AccountId> {
    match who {
        Principal::Account { id, .. } => Some(id),
        Principal::Owner | Principal::Agent { .. } => None,
    }
}

/// One agent is not to answer in the chat, or is again.
///
/// # Errors
/// The database's.
pub(super) fn mute(tx: &mut Tx, changes: &mut Changes, chat: &Chat, agent: AgentId, active: bool) -> Result<()> {
    let link = links::get(tx, chat.id, agent)?.ok_or(Refused::NO_LINK)?;
    if link.active != active {
        links::set_active(tx, link.id, active)?;
        if !active {
            stop(tx, changes, &link)?;
        }
    }
    if chat.floor.holder != Holder::User {
        set_holder(tx, changes, chat)?;
    }
    Ok(())
}

/// The floor goes back by itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReturnFloor {
    chat: ChatId,
}

#[async_trait]
impl Work for ReturnFloor {
    const KIND: &'static str = "return_floor";
    const POLICY: Policy = Policy { back_off: BackOff::SHORT, at_once: 16, time_limit_ms: 10_000, lease_ms: 5_000 };

    async fn run(self, attempt: &Attempt) -> Result<Completed, JobError> {
        let mut changes = Changes::of(attempt.engine());
        let effects = move |tx: &mut Tx| {
            changes.hold(tx, self.chat)?;
            let Some(chat) = chats::get(tx, self.chat)? else { return Ok(()) };
            let is_over = chat.floor.until.is_some_and(|until| until <= changes.at);
            if chat.floor.holder == Holder::User && is_over {
                release(tx, &mut changes, &chat, By::Nobody)?;
            }
            changes.end(tx)
        };
        attempt.complete(effects).await
    }
}
