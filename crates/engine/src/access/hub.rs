//! Who may do what in the hub. What takes no look at the database is asked before a request is read any further.

use domain::hub::{AgentId, AgentScope};
use domain::{AccountId, Principal, Role};

use crate::{Refused, Result};

/// Accounts, agents, tokens, permissions and credentials are ADMINs' business.
///
/// # Errors
/// [`Refused::NEEDS_ADMIN`].
pub(crate) fn admin(who: Principal) -> Result<()> {
    if who.is_admin() { Ok(()) } else { Err(Refused::NEEDS_ADMIN.into()) }
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
