//! Configured answerers, and the tokens and secrets by which they and we know each other.

mod change;
mod tokens;

use domain::Principal;
use domain::hub::{Agent, AgentId};

use crate::accounts::{Secret, TokenView};
use crate::{Engine, Result};

pub(crate) use change::known;
pub use change::{AgentChange, NewAgent};
pub(crate) use tokens::secret_place;
pub use tokens::{AgentToken, TokenRef};

/// The hub's agents.
impl Engine {
    /// Agents that are active, or those that are not, by name. An agent that sees only its chats sees only itself.
    ///
    /// # Errors
    /// The database's.
    pub async fn agents(&self, who: Principal, is_active: bool) -> Result<Vec<Agent>> {
        change::list(self, who, is_active).await
    }

    /// # Errors
    /// [`Refused`](crate::Refused), or the database's.
    pub async fn agent(&self, who: Principal, id: AgentId) -> Result<Agent> {
        change::get(self, who, id).await
    }

    /// Makes an agent; one behind a webhook gets a token and a secret, which are shown this once.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused), [`Error::InvalidValue`](crate::Error::InvalidValue), or the database's.
    pub async fn create_agent(&self, who: Principal, new: AgentChange) -> Result<NewAgent> {
        change::create(self, who, new).await
    }

    /// Changes what `change` names.
    ///
    /// # Errors
    /// As [`Self::create_agent`].
    pub async fn change_agent(&self, who: Principal, id: AgentId, change: AgentChange) -> Result<Agent> {
        change::change(self, who, id, change).await
    }

    /// Makes the agent inactive, or (`hard`) removes it.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused), or the database's.
    pub async fn delete_agent(&self, who: Principal, id: AgentId, hard: bool) -> Result<()> {
        change::delete(self, who, id, hard).await
    }

    /// The agent's tokens, masked; the one that was made with the agent is shown in full to the first who asks soon enough.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused), or the database's.
    pub async fn agent_tokens(&self, who: Principal, id: AgentId) -> Result<Vec<TokenView>> {
        tokens::list(self, who, id).await
    }

    /// Another token for the agent.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused), or the database's.
    pub async fn new_agent_token(&self, who: Principal, id: AgentId) -> Result<AgentToken> {
        tokens::create(self, who, id).await
    }

    /// Makes the token worthless; its sockets close within 5 s.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused), or the database's.
    pub async fn revoke_agent_token(&self, who: Principal, id: AgentId, token: TokenRef) -> Result<()> {
        tokens::revoke(self, who, id, token).await
    }

    /// A new secret for signatures. Calls carry those of both for a day.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused), or the database's.
    pub async fn new_agent_secret(&self, who: Principal, id: AgentId) -> Result<Secret> {
        tokens::new_secret(self, who, id).await
    }
}
