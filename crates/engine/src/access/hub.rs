//! Who may do what in the hub. What takes no look at the database is asked before a request is read any further.

use std::collections::HashSet;

use domain::hub::{AgentId, AgentScope, Channel, ChannelId, Chat, ChatId, HubEvent};
use domain::{AccountId, Principal, Role};
use store::Tx;
use store::hub::chats::Viewer;
use store::hub::{accounts, channels, chats, links};

use crate::{Refused, Result};

/// Accounts, agents, tokens, permissions and credentials are ADMINs' business.
///
/// # Errors
/// [`Refused::NEEDS_ADMIN`].
pub(crate) fn admin(who: Principal) -> Result<()> {
    if who.is_admin() { Ok(()) } else { Err(Refused::NEEDS_ADMIN.into()) }
}

/// What people tell each other is no agent's business.
///
/// # Errors
/// [`Refused::NEEDS_USER`], [`Refused::SCOPE`].
pub(crate) fn person(who: Principal) -> Result<()> {
    acts(who, Act::Operate)
}

/// Accounts are read by people, and by agents that see everything.
///
/// # Errors
/// [`Refused::SCOPE`].
pub(crate) fn reads_users(who: Principal) -> Result<()> {
    match who {
        Principal::Owner | Principal::Account { .. } | Principal::Agent { scope: AgentScope::All, .. } => Ok(()),
        Principal::Agent { scope: AgentScope::Linked, .. } => Err(Refused::SCOPE.into()),
    }
}

/// An account is changed by ADMINs and by itself.
///
/// # Errors
/// [`Refused::NEEDS_ADMIN_OR_SELF`].
pub(crate) fn changes_user(who: Principal, changed: AccountId) -> Result<()> {
    match who {
        Principal::Owner | Principal::Account { role: Role::Admin, .. } => Ok(()),
        Principal::Account { id, role: Role::Member } if id == changed => Ok(()),
        Principal::Account { .. } | Principal::Agent { .. } => Err(Refused::NEEDS_ADMIN_OR_SELF.into()),
    }
}

/// Agents are read by people and by agents that see everything; any other agent reads its own record.
///
/// # Errors
/// [`Refused::SCOPE`].
pub(crate) fn reads_agent(who: Principal, read: AgentId) -> Result<()> {
    match who {
        Principal::Owner | Principal::Account { .. } | Principal::Agent { scope: AgentScope::All, .. } => Ok(()),
        Principal::Agent { scope: AgentScope::Linked, id } if id == read => Ok(()),
        Principal::Agent { scope: AgentScope::Linked, .. } => Err(Refused::SCOPE.into()),
    }
}

/// What somebody wants to do in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Read,
    Send,
    /// Name who is responsible, or link agents.
    Arrange,
    /// Take or release the floor, or say what was read.
    Operate,
    Delete,
}

/// Channels are made and changed by ADMINs, and by agents that see everything.
///
/// # Errors
/// [`Refused::NEEDS_ADMIN_OR_AGENT`], [`Refused::SCOPE`].
pub(crate) fn changes_channels(who: Principal) -> Result<()> {
    match who {
        Principal::Owner | Principal::Account { role: Role::Admin, .. } | Principal::Agent { scope: AgentScope::All, .. } => {
            Ok(())
        }
        Principal::Account { role: Role::Member, .. } => Err(Refused::NEEDS_ADMIN_OR_AGENT.into()),
        Principal::Agent { scope: AgentScope::Linked, .. } => Err(Refused::SCOPE.into()),
    }
}

/// Whether such a thing may be done at all by somebody like this, wherever it is.
///
/// # Errors
/// [`Refused`].
pub(crate) fn acts(who: Principal, act: Act) -> Result<()> {
    match (who, act) {
        (Principal::Owner | Principal::Account { role: Role::Admin, .. }, _)
        | (Principal::Account { .. }, Act::Read | Act::Send | Act::Arrange | Act::Operate)
        | (Principal::Agent { scope: AgentScope::All, .. }, Act::Read | Act::Send | Act::Arrange | Act::Delete)
        | (Principal::Agent { .. }, Act::Read | Act::Send) => Ok(()),
        (Principal::Account { role: Role::Member, .. }, Act::Delete) => Err(Refused::NEEDS_ADMIN_OR_AGENT.into()),
        (Principal::Agent { scope: AgentScope::All, .. }, Act::Operate) => Err(Refused::NEEDS_USER.into()),
        (Principal::Agent { scope: AgentScope::Linked, .. }, Act::Arrange | Act::Operate | Act::Delete) => {
            Err(Refused::SCOPE.into())
        }
    }
}

/// The channel, for whoever may see all of it. Permission comes before existence.
///
/// # Errors
/// [`Refused::NO_PERMISSION`], [`Refused::NO_CHANNEL`].
pub(crate) fn channel(tx: &mut Tx, who: Principal, id: ChannelId) -> Result<Channel> {
    if !sees_channel(tx, who, id)? {
        return Err(Refused::NO_PERMISSION.into());
    }
    channels::get(tx, id)?.ok_or(Refused::NO_CHANNEL.into())
}

fn sees_channel(tx: &mut Tx, who: Principal, id: ChannelId) -> Result<bool> {
    match who {
        Principal::Owner | Principal::Account { role: Role::Admin, .. } | Principal::Agent { scope: AgentScope::All, .. } => {
            Ok(true)
        }
        Principal::Account { id: account, role: Role::Member } => Ok(accounts::is_granted(tx, id, account)?),
        Principal::Agent { scope: AgentScope::Linked, .. } => Ok(false),
    }
}

/// The chat, for whoever may do this in it. Who may not see it cannot tell whether it exists.
///
/// # Errors
/// [`Refused`].
pub(crate) fn chat(tx: &mut Tx, who: Principal, (channel, chat): (ChannelId, ChatId), act: Act) -> Result<(Channel, Chat)> {
    acts(who, act)?;
    let found = chats::get(tx, chat)?.filter(|found| found.channel == channel);
    if !sees_channel(tx, who, channel)? {
        let is_own = match (&found, who) {
            (Some(found), Principal::Account { id, .. }) => found.assigned == Some(id),
            (Some(_), Principal::Agent { id, .. }) => links::get(tx, chat, id)?.is_some(),
            (None, _) | (Some(_), Principal::Owner) => false,
        };
        if !is_own {
            return Err(Refused::NO_PERMISSION.into());
        }
    }
    let channel = channels::get(tx, channel)?.ok_or(Refused::NO_CHANNEL)?;
    Ok((channel, found.ok_or(Refused::NO_CHAT)?))
}

/// Whose chats `who` looks at in lists; `None`: everybody's.
pub(crate) const fn viewer(who: Principal) -> Option<Viewer> {
    match who {
        Principal::Owner | Principal::Account { role: Role::Admin, .. } | Principal::Agent { scope: AgentScope::All, .. } => None,
        Principal::Account { id, role: Role::Member } => Some(Viewer::Account(id)),
        Principal::Agent { id, scope: AgentScope::Linked } => Some(Viewer::Agent(id)),
    }
}

/// The channels whose events `who` sees; `None`: of all.
///
/// # Errors
/// The database's.
pub(crate) fn visible_channels(tx: &mut Tx, who: Principal) -> Result<Option<HashSet<ChannelId>>> {
    match viewer(who) {
        None => Ok(None),
        Some(Viewer::Account(id)) => Ok(Some(accounts::granted(tx, id)?.into_iter().collect())),
        Some(Viewer::Agent(_)) => Ok(Some(HashSet::new())),
    }
}

/// Whether an event is for `who`, who sees these channels.
pub(crate) fn sees_event(who: Principal, channels: Option<&HashSet<ChannelId>>, event: &HubEvent) -> bool {
    if event.what.is_internal() && person(who).is_err() {
        return false;
    }
    channels.is_none_or(|channels| channels.contains(&event.channel))
        || match who {
            Principal::Owner => true,
            Principal::Account { id, .. } => event.seen_by.assigned == Some(id),
            Principal::Agent { id, .. } => event.seen_by.agents.contains(&id),
        }
}
