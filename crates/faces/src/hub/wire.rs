//! The contract's exact names.

use domain::Account;
use domain::hub::{Agent, HubId as _};
use engine::{AgentToken, Secret, Session};
use serde::Serialize;
use serde_json::{Map, Value};

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

#[derive(Debug, Serialize)]
pub struct ChannelView {
    pub id: String,
    pub name: String,
    pub platform: &'static str,
    pub api_to_send_message: Option<String>,
    pub inbound_url: String,
    pub inbound_auth: &'static str,
    pub webhook_base_url: Option<String>,
    pub takeover: &'static str,
    pub takeover_minutes: i64,
    pub buffer_max_messages: i64,
    pub send_read_receipts: bool,
    pub window_hours: Option<i64>,
    pub health: &'static str,
}

#[derive(Debug, Serialize)]
pub struct ChatView {
    pub id: String,
    pub name: String,
    pub external_id: String,
    pub channel_id: String,
    pub assigned_user_id: Option<String>,
    pub last_message_ts: Option<String>,
    pub last_sender_type: Option<&'static str>,
    pub last_message: Option<String>,
    pub meta_data: Map<String, Value>,
    pub extra_data: Map<String, Value>,
    pub channel_name: String,
    pub contact_id: String,
    pub customer_name: String,
    pub customer_phone: Option<String>,
    pub unread_count: i64,
    pub is_assigned: bool,
    pub assigned_user_name: Option<String>,
    pub last_message_at: Option<String>,
    pub created_at: String,
    pub updated_at: String,
    pub floor: FloorView,
    pub needs_attention: bool,
    pub warning: Option<WarningView>,
    pub window: Option<WindowView>,
    pub opted_out: bool,
}

#[derive(Debug, Serialize)]
pub struct FloorView {
    pub holder: &'static str,
    pub user_id: Option<String>,
    pub until: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct WarningView {
    pub code: &'static str,
    pub agent_id: String,
    pub text: String,
}

#[derive(Debug, Serialize)]
pub struct WindowView {
    pub open: bool,
    pub until: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct MessageView {
    pub id: String,
    pub external_id: Option<String>,
    pub chat_id: String,
    pub content: String,
    pub sender_type: &'static str,
    pub timestamp: String,
    pub meta_data: Map<String, Value>,
    pub readed: bool,
    pub delivery_status: &'static str,
    pub sender_id: Option<String>,
    pub attachments: Vec<AttachmentView>,
    pub edited_at: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct AttachmentView {
    pub id: String,
    pub mime_type: String,
    pub size: i64,
    pub url: String,
    pub name: Option<String>,
    pub state: &'static str,
    pub error: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct NewMessage<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub chat_id: String,
    pub channel_id: String,
    pub message_id: String,
    pub sender_type: &'static str,
    pub timestamp: String,
    pub message_type: &'a str,
    pub preview: String,
    pub external_id: Option<&'a str>,
    pub chat_name: &'a str,
    pub chat_external_id: &'a str,
    pub content: &'a str,
    pub contact_name: &'a str,
    pub channel_name: &'a str,
    pub unread_count: i64,
    pub is_assigned: bool,
    pub assigned_to: Option<String>,
    pub metadata: &'a Map<String, Value>,
    pub sender_id: Option<String>,
    pub attachments: Vec<AttachmentView>,
    pub seq: i64,
}
