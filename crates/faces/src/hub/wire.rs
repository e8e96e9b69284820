//! The contract's exact names.

use domain::Account;
use domain::hub::{Agent, HubId as _};
use engine::{AgentToken, Secret, Session};
use serde::Serialize;

use crate::kit::time;

#[derive(Debug, Serialize)]
pub struct User {
    id: String,
    username: String,
    email: Option<String>,
    phone: Option<String>,
    role: &'static str,
    is_active: bool,
}

impl From<Account> for User {
    fn from(account: Account) -> Self {
        let Account { id, username, email, phone, role, is_active, created_at: _ } = account;
        Self { id: id.spelled(), username, email, phone, role: role.as_str(), is_active }
    }
}

#[derive(Serialize)]
pub struct SessionView {
    access_token: String,
    refresh_token: String,
    token_type: &'static str,
    expires_at: String,
    user: User,
}

impl From<Session> for SessionView {
    fn from(session: Session) -> Self {
        let Session { account, access_token: Secret(access_token), refresh_token: Secret(refresh_token), expires_at } = session;
        Self { access_token, refresh_token, token_type: "bearer", expires_at: time::with_z(expires_at), user: account.into() }
    }
}

#[derive(Debug, Serialize)]
pub struct AgentView {
    id: String,
    name: String,
    webhook_url: Option<String>,
    is_fire_and_forget: bool,
    buffer_time_seconds: i64,
    history_msg_count: i64,
    recent_msg_window_minutes: i64,
    activate_for_new_conversation: bool,
    is_active: bool,
    kind: &'static str,
    scope: &'static str,
    channel_ids: Option<Vec<String>>,
    on_new_message: &'static str,
    reply_timeout_seconds: i64,
    max_wait_seconds: Option<i64>,
    model: Option<String>,
    instructions: Option<String>,
    tools: Option<Vec<String>>,
    mode: Option<&'static str>,
}

impl From<Agent> for AgentView {
    fn from(agent: Agent) -> Self {
        let is_builtin = agent.kind == domain::hub::AgentKind::Builtin;
        Self {
            id: agent.id.spelled(),
            name: agent.name,
            webhook_url: agent.webhook_url,
            is_fire_and_forget: agent.is_fire_and_forget,
            buffer_time_seconds: agent.buffer_time_s,
            history_msg_count: agent.history_msg_count,
            recent_msg_window_minutes: agent.recent_msg_window_minutes,
            activate_for_new_conversation: agent.activate_for_new_conversation,
            is_active: agent.is_active,
            kind: agent.kind.as_str(),
            scope: agent.scope.as_str(),
            channel_ids: agent.channels.map(|ids| ids.into_iter().map(|id| id.spelled()).collect()),
            on_new_message: agent.on_new_message.as_str(),
            reply_timeout_seconds: agent.reply_timeout_s,
            max_wait_seconds: agent.max_wait_s,
            model: agent.model.filter(|_| is_builtin).map(|model| model.to_string()),
            instructions: is_builtin.then_some(agent.instructions),
            tools: agent.tools.filter(|_| is_builtin),
            mode: is_builtin.then_some(agent.mode.as_str()),
        }
    }
}

/// A new agent, with what is shown of it this once.
#[derive(Serialize)]
pub struct NewAgentView {
    #[serde(flatten)]
    pub agent: AgentView,
    #[serde(flatten)]
    pub proofs: Option<AgentProofs>,
}

#[derive(Serialize)]
pub struct AgentProofs {
    access_token: String,
    token_expires_at: String,
    webhook_secret: String,
}

impl From<(AgentToken, Secret)> for AgentProofs {
    fn from((token, Secret(webhook_secret)): (AgentToken, Secret)) -> Self {
        Self { access_token: token.token.0, token_expires_at: time::with_z(token.expires_at), webhook_secret }
    }
}
