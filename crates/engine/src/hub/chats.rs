//! Chats: listing, assigning, reading, removing, and the agents that are linked to them.

use domain::hub::{Agent, AgentId, AgentScope, ChannelId, ChatAgent, ChatId, ChatMessageId, ChatView, Holder, HubId as _};
use domain::{AccountId, Principal};
use store::Tx;
use store::hub::chats::Filter;
use store::hub::notes::{self, Activity};
use store::hub::{Table, agents, chats, links, messages};

use super::changes::{By, Changes};
use super::floor;
use crate::access::hub::Act;
use crate::accounts::{fresh, known_account};
use crate::{Engine, Error, Refused, Result, access};

/// The hub's chats.
impl Engine {
    /// Whether such a thing may be done at all by somebody like this; asked before a request is read any further.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn may_in_chats(&self, who: Principal, what: ChatAct) -> Result<()> {
        access::hub::acts(who, what.into())
    }

    /// One page of the chats that `who` sees, and how many there are; with a channel in the filter, of that channel, which
    /// `who` must see as a whole.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn chats(&self, who: Principal, filter: Filter) -> Result<(Vec<ChatView>, i64)> {
        let read = move |tx: &mut Tx| {
            let mut filter = filter;
            match filter.channel {
                Some(channel) => {
                    access::hub::channel(tx, who, channel)?;
                }
                None => filter.seen_by = access::hub::viewer(who),
            }
            Ok(chats::list(tx, &filter)?)
        };
        self.inner.store.read(read).await
    }

    /// One page of all chats that `who` sees, of one channel or of all. A channel that may not be seen has none.
    ///
    /// # Errors
    /// The database's.
    pub async fn all_chats(&self, who: Principal, filter: Filter) -> Result<(Vec<ChatView>, i64)> {
        let filter = Filter { seen_by: access::hub::viewer(who), ..filter };
        Ok(self.inner.store.read(move |tx| chats::list(tx, &filter)).await?)
    }

    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn chat(&self, who: Principal, place: (ChannelId, ChatId)) -> Result<ChatView> {
        let read = move |tx: &mut Tx| {
            let (_, chat) = access::hub::chat(tx, who, place, Act::Read)?;
            floor::seen(tx, chat.id)
        };
        self.inner.store.read(read).await
    }

    /// Names who is responsible; that does not move the floor.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn assign(&self, who: Principal, place: (ChannelId, ChatId), to: Option<AccountId>) -> Result<ChatView> {
        let (mut changes, rights) = (Changes::of(self), self.rights());
        let write = move |tx: &mut Tx| {
            changes.hold(tx, place.1)?;
            let (_, chat) = access::hub::chat(tx, who, place, Act::Arrange)?;
            let text = match to {
                None => "Assigned to nobody".to_owned(),
                Some(to) => {
                    let account = known_account(tx, to)?;
                    if !account.is_active {
                        return Err(Refused::INACTIVE_ASSIGNEE.into());
                    }
                    format!("Assigned to {}", account.username)
                }
            };
            if chat.assigned != to {
                chats::assign(tx, chat.id, to, changes.at)?;
                changes.note(tx, chat.id, By::Who(who), "assigned", text)?;
                changes.chat_updated(chat.id);
                rights.change_with(tx);
            }
            changes.end(tx)?;
            floor::seen(tx, chat.id)
        };
        self.inner.store.write(write).await
    }

    /// The contact's messages up to one (all, if `None`) have been read. Returns how many have not.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn mark_read(&self, who: Principal, place: (ChannelId, ChatId), upto: Option<ChatMessageId>) -> Result<i64> {
        let mut changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            changes.hold(tx, place.1)?;
            let (_, chat) = access::hub::chat(tx, who, place, Act::Operate)?;
            let upto = match upto {
                None => i64::MAX,
                Some(id) => {
                    let message = messages::get(tx, id)?.filter(|message| message.chat == chat.id);
                    message.ok_or(Refused::NO_MESSAGE)?.place
                }
            };
            let unread = messages::mark_read(tx, chat.id, upto)?;
            if unread != chat.unread {
                chats::set_unread(tx, chat.id, unread)?;
                changes.chat_updated(chat.id);
            }
            changes.end(tx)?;
            Ok(unread)
        };
        self.inner.store.write(write).await
    }

    /// Archives the chat (`soft`) or removes it with everything that belongs to it.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn delete_chat(&self, who: Principal, place: (ChannelId, ChatId), soft: bool) -> Result<()> {
        let mut changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            changes.hold(tx, place.1)?;
            let (_, chat) = access::hub::chat(tx, who, place, Act::Delete)?;
            changes.chat_deleted(tx, &chat)?;
            if soft {
                chats::archive(tx, chat.id, changes.at)?;
            } else {
                for link in links::of_chat(tx, chat.id)? {
                    floor::stop(tx, &mut changes, &link)?;
                }
                changes.forget_turns_of(tx, chat.id)?;
                chats::delete(tx, chat.id, changes.at)?;
            }
            changes.end(tx)
        };
        self.inner.store.write(write).await
    }

    /// One page of what happened around a chat, the newest first, and how much there is.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn activity(
        &self,
        who: Principal,
        place: (ChannelId, ChatId),
        offset: i64,
        limit: i64,
    ) -> Result<(Vec<Activity>, i64)> {
        let read = move |tx: &mut Tx| {
            let (_, chat) = access::hub::chat(tx, who, place, Act::Operate)?;
            Ok(notes::activity(tx, chat.id, offset, limit)?)
        };
        self.inner.store.read(read).await
    }
}

/// What somebody wants to do in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatAct {
    Read,
    Send,
    Arrange,
    Operate,
    Delete,
}

impl From<ChatAct> for Act {
    fn from(act: ChatAct) -> Self {
        match act {
            ChatAct::Read => Self::Read,
            ChatAct::Send => Self::Send,
            ChatAct::Arrange => Self::Arrange,
            ChatAct::Operate => Self::Operate,
            ChatAct::Delete => Self::Delete,
        }
    }
}

/// Agents of chats.
impl Engine {
    /// One page of a chat's agents, muted or not, by name, and how many there are.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn chat_agents(
        &self,
        who: Principal,
        place: (ChannelId, ChatId),
        active: bool,
        (offset, limit): (i64, i64),
    ) -> Result<(Vec<(ChatAgent, Agent)>, i64)> {
        let read = move |tx: &mut Tx| {
            let (_, chat) = access::hub::chat(tx, who, place, Act::Read)?;
            if let Principal::Agent { id, scope: AgentScope::Linked } = who {
                // Its own record is the only one that it may read.
                let own = links::get(tx, chat.id, id)?.filter(|link| link.active == active);
                let total = i64::from(own.is_some());
                let page = own.filter(|_| offset == 0 && limit > 0).into_iter();
                return Ok((page.map(|link| with_agent(tx, link)).collect::<Result<_>>()?, total));
            }
            let (page, total) = links::list(tx, chat.id, active, offset, limit)?;
            Ok((page.into_iter().map(|link| with_agent(tx, link)).collect::<Result<_>>()?, total))
        };
        self.inner.store.read(read).await
    }

    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn chat_agent(&self, who: Principal, place: (ChannelId, ChatId), agent: AgentId) -> Result<(ChatAgent, Agent)> {
        let read = move |tx: &mut Tx| {
            let (_, chat) = access::hub::chat(tx, who, place, Act::Read)?;
            if access::hub::reads_agent(who, agent).is_err() {
                return Err(Refused::NO_LINK.into());
            }
            linked(tx, chat.id, agent)
        };
        self.inner.store.read(read).await
    }

    /// Mutes an agent on a chat, or lets it speak again at the contact's next message.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn set_chat_agent(
        &self,
        who: Principal,
        place: (ChannelId, ChatId),
        agent: AgentId,
        active: Option<bool>,
    ) -> Result<(ChatAgent, Agent)> {
        let mut changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            changes.hold(tx, place.1)?;
            let (_, chat) = access::hub::chat(tx, who, place, Act::Arrange)?;
            if let Some(active) = active {
                floor::mute(tx, &mut changes, &chat, agent, active)?;
                let (kind, text) = if active { ("agent_unmuted", "may answer again") } else { ("agent_muted", "is muted") };
                let (_, known) = linked(tx, chat.id, agent)?;
                changes.note(tx, chat.id, By::Who(who), kind, format!("{} {text}", known.name))?;
            }
            changes.end(tx)?;
            linked(tx, chat.id, agent)
        };
        self.inner.store.write(write).await
    }

    /// Links an agent to a chat; repeatable.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn link_agent(
        &self,
        who: Principal,
        place: (ChannelId, ChatId),
        agent: AgentId,
        active: bool,
    ) -> Result<(ChatAgent, Agent)> {
        let (mut changes, rights) = (Changes::of(self), self.rights());
        let write = move |tx: &mut Tx| {
            changes.hold(tx, place.1)?;
            let (_, chat) = access::hub::chat(tx, who, place, Act::Arrange)?;
            agents::get(tx, agent)?.ok_or(Refused::NO_AGENT)?;
            link(tx, chat.id, agent, active)?;
            floor::mute(tx, &mut changes, &chat, agent, active)?;
            rights.change_with(tx);
            changes.end(tx)?;
            linked(tx, chat.id, agent)
        };
        self.inner.store.write(write).await
    }

    /// Takes an agent from a chat; what it is making is not sent.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn unlink_agent(&self, who: Principal, place: (ChannelId, ChatId), agent: AgentId) -> Result<()> {
        let (mut changes, rights) = (Changes::of(self), self.rights());
        let write = move |tx: &mut Tx| {
            changes.hold(tx, place.1)?;
            let (_, chat) = access::hub::chat(tx, who, place, Act::Arrange)?;
            let link = links::get(tx, chat.id, agent)?.ok_or(Refused::NO_LINK)?;
            floor::stop(tx, &mut changes, &link)?;
            links::delete(tx, link.id)?;
            if chat.floor.holder != Holder::User {
                floor::set_holder(tx, &mut changes, &chat)?;
            }
            rights.change_with(tx);
            changes.end(tx)
        };
        self.inner.store.write(write).await
    }
}

/// Links an agent, which starts with nothing behind it: what the contact wrote before is history.
///
/// # Errors
/// The database's.
pub(super) fn link(tx: &mut Tx, chat: ChatId, agent: AgentId, active: bool) -> Result<()> {
    let seen = messages::newest_of(tx, chat, domain::hub::SenderType::Contact)?;
    let link = ChatAgent { id: fresh(tx, Table::ChatAgent)?, chat, agent, active, epoch: 1 };
    Ok(links::insert(tx, &link, seen)?)
}

fn linked(tx: &mut Tx, chat: ChatId, agent: AgentId) -> Result<(ChatAgent, Agent)> {
    let link = links::get(tx, chat, agent)?.ok_or(Refused::NO_LINK)?;
    with_agent(tx, link)
}

fn with_agent(tx: &mut Tx, link: ChatAgent) -> Result<(ChatAgent, Agent)> {
    let agent = agents::get(tx, link.agent)?.ok_or_else(|| Error::Internal(format!("{} is gone", link.agent.spelled())))?;
    Ok((link, agent))
}
