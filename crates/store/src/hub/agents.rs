//! Configured answerers.

use domain::hub::{Agent, AgentId, AgentKind, AgentScope, HubId as _, OnNewMessage};
use domain::{Mode, ModelName, Timestamp};
use uuid::Uuid;

use super::{flag, unreadable};
use crate::{Row, StoreError, Tx, Value};

const COLUMNS: &str = "id, name, kind, webhook_url, is_fire_and_forget, buffer_time_s, history_msg_count, \
    recent_msg_window_minutes, activate_for_new_conversation, is_active, scope, channels, on_new_message, reply_timeout_s, \
    max_wait_s, model, instructions, tools, mode, created_at";

/// What an agent's calls are signed with, encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secrets {
    pub secret: Option<String>,
    /// The one before, and until when calls are signed with it as well.
    pub old: Option<(String, Timestamp)>,
}

/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, agent: &Agent) -> Result<(), StoreError> {
    let mut values = vec![agent.id.uuid().into(), agent.created_at.0.into()];
    values.extend(settings(agent)?);
    tx.execute(
        "INSERT INTO agent (id, created_at, name, kind, webhook_url, is_fire_and_forget, buffer_time_s, history_msg_count, \
         recent_msg_window_minutes, activate_for_new_conversation, is_active, scope, channels, on_new_message, \
         reply_timeout_s, max_wait_s, model, instructions, tools, mode, failures) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, 0)",
        &values,
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn update(tx: &mut Tx, agent: &Agent) -> Result<(), StoreError> {
    let mut values = vec![agent.id.uuid().into()];
    values.extend(settings(agent)?);
    tx.execute(
        "UPDATE agent SET name = $2, kind = $3, webhook_url = $4, is_fire_and_forget = $5, buffer_time_s = $6, \
         history_msg_count = $7, recent_msg_window_minutes = $8, activate_for_new_conversation = $9, is_active = $10, \
         scope = $11, channels = $12, on_new_message = $13, reply_timeout_s = $14, max_wait_s = $15, model = $16, \
         instructions = $17, tools = $18, mode = $19 WHERE id = $1",
        &values,
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: AgentId) -> Result<Option<Agent>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM agent WHERE id = $1");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| agent(&row)).transpose()
}

/// Those that are active, or those that are not, by name.
///
/// # Errors
/// The database's.
pub fn list(tx: &mut Tx, is_active: bool) -> Result<Vec<Agent>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM agent WHERE is_active = $1 ORDER BY name, id");
    tx.query(&sql, &[flag(is_active).into()])?.iter().map(agent).collect()
}

/// # Errors
/// The database's.
pub fn delete(tx: &mut Tx, id: AgentId) -> Result<(), StoreError> {
    super::links::delete_of_agent(tx, id)?;
    tx.execute("DELETE FROM agent WHERE id = $1", &[id.uuid().into()])?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn secrets(tx: &mut Tx, id: AgentId) -> Result<Secrets, StoreError> {
    let sql = "SELECT secret, old_secret, old_secret_until FROM agent WHERE id = $1";
    let Some(row) = tx.query_one(sql, &[id.uuid().into()])? else { return Ok(Secrets::default()) };
    let until = row.get::<Option<i64>>(2)?.map(Timestamp);
    Ok(Secrets { secret: row.get(0)?, old: row.get::<Option<String>>(1)?.zip(until) })
}

/// # Errors
/// The database's.
pub fn set_secrets(tx: &mut Tx, id: AgentId, secrets: &Secrets) -> Result<(), StoreError> {
    let (old, until) = secrets.old.clone().unzip();
    tx.execute(
        "UPDATE agent SET secret = $2, old_secret = $3, old_secret_until = $4 WHERE id = $1",
        &[id.uuid().into(), secrets.secret.clone().into(), old.into(), until.map(|at| at.0).into()],
    )?;
    Ok(())
}

/// Everything but the id and the time of its making, in the order of the columns.
fn settings(agent: &Agent) -> Result<Vec<Value>, StoreError> {
    let json = |list: Option<String>| Value::from(list);
    let channels = agent.channels.as_ref().map(|ids| ids.iter().map(|id| id.spelled()).collect::<Vec<_>>());
    Ok(vec![
        agent.name.as_str().into(),
        agent.kind.as_str().into(),
        agent.webhook_url.clone().into(),
        flag(agent.is_fire_and_forget).into(),
        agent.buffer_time_s.into(),
        agent.history_msg_count.into(),
        agent.recent_msg_window_minutes.into(),
        flag(agent.activate_for_new_conversation).into(),
        flag(agent.is_active).into(),
        agent.scope.as_str().into(),
        json(channels.map(|ids| to_json(&ids)).transpose()?),
        agent.on_new_message.as_str().into(),
        agent.reply_timeout_s.into(),
        agent.max_wait_s.into(),
        agent.model.as_ref().map(ToString::to_string).into(),
        agent.instructions.as_str().into(),
        json(agent.tools.as_ref().map(to_json).transpose()?),
        agent.mode.as_str().into(),
    ])
}

fn to_json(list: &Vec<String>) -> Result<String, StoreError> {
    serde_json::to_string(list).map_err(|error| StoreError::Failed(error.to_string()))
}

fn from_json(text: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(|_| unreadable("list", text))
}

fn agent(row: &Row) -> Result<Agent, StoreError> {
    let word = |index: usize| row.get::<String>(index);
    let kind = word(2)?;
    let scope = word(10)?;
    let on_new = word(12)?;
    let mode = word(18)?;
    let channels = row.get::<Option<String>>(11)?.map(|text| from_json(&text)).transpose()?;
    let model = row.get::<Option<String>>(15)?;
    Ok(Agent {
        id: AgentId::from_uuid(row.get::<Uuid>(0)?),
        name: word(1)?,
        kind: AgentKind::parse(&kind).ok_or_else(|| unreadable("kind", &kind))?,
        webhook_url: row.get(3)?,
        is_fire_and_forget: row.get::<i64>(4)? != 0,
        buffer_time_s: row.get(5)?,
        history_msg_count: row.get(6)?,
        recent_msg_window_minutes: row.get(7)?,
        activate_for_new_conversation: row.get::<i64>(8)? != 0,
        is_active: row.get::<i64>(9)? != 0,
        scope: AgentScope::parse(&scope).ok_or_else(|| unreadable("scope", &scope))?,
        // An id that is none belongs to no channel.
        channels: channels.map(|ids| ids.iter().filter_map(|id| domain::hub::ChannelId::read(id)).collect()),
        on_new_message: OnNewMessage::parse(&on_new).ok_or_else(|| unreadable("choice", &on_new))?,
        reply_timeout_s: row.get(13)?,
        max_wait_s: row.get(14)?,
        model: model.map(|name| ModelName::parse(&name).ok_or_else(|| unreadable("model", &name))).transpose()?,
        instructions: word(16)?,
        tools: row.get::<Option<String>>(17)?.map(|text| from_json(&text)).transpose()?,
        mode: Mode::parse(&mode).ok_or_else(|| unreadable("mode", &mode))?,
        created_at: Timestamp(row.get(19)?),
    })
}
