//! Agents that are linked to chats, and the bursts that grow there.

use domain::Timestamp;
use domain::hub::{AgentId, ChatAgent, ChatAgentId, ChatId, HubId as _};
use uuid::Uuid;

use super::flag;
use crate::{Row, StoreError, Tx};

const COLUMNS: &str = "l.id, l.chat_id, l.agent_id, l.active, l.epoch";

/// The burst that grows on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    pub since: Timestamp,
    pub count: i64,
    pub chars: i64,
    /// When it is over.
    pub due_at: Timestamp,
}

/// Links the agent, unless it is linked already.
///
/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, link: &ChatAgent, seen_place: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO chat_agent (id, chat_id, agent_id, active, epoch, pending_count, pending_chars, seen_place, failures) \
         VALUES ($1, $2, $3, $4, $5, 0, 0, $6, 0) ON CONFLICT (chat_id, agent_id) DO NOTHING",
        &[
            link.id.uuid().into(),
            link.chat.uuid().into(),
            link.agent.uuid().into(),
            flag(link.active).into(),
            link.epoch.into(),
            seen_place.into(),
        ],
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, chat: ChatId, agent: AgentId) -> Result<Option<ChatAgent>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM chat_agent l WHERE l.chat_id = $1 AND l.agent_id = $2");
    tx.query_one(&sql, &[chat.uuid().into(), agent.uuid().into()])?.map(|row| link(&row)).transpose()
}

/// All agents of the chat, muted ones too.
///
/// # Errors
/// The database's.
pub fn of_chat(tx: &mut Tx, chat: ChatId) -> Result<Vec<ChatAgent>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM chat_agent l WHERE l.chat_id = $1 ORDER BY l.id");
    tx.query(&sql, &[chat.uuid().into()])?.iter().map(link).collect()
}

/// One page of those that are muted, or not, by the agents' names, and how many there are.
///
/// # Errors
/// The database's.
pub fn list(tx: &mut Tx, chat: ChatId, active: bool, offset: i64, limit: i64) -> Result<(Vec<ChatAgent>, i64), StoreError> {
    let from = "FROM chat_agent l JOIN agent g ON g.id = l.agent_id WHERE l.chat_id = $1 AND l.active = $2";
    let key = [chat.uuid().into(), flag(active).into()];
    let total = tx.query_one(&format!("SELECT count(*) {from}"), &key)?.map_or(Ok(0), |row| row.get(0))?;
    let sql = format!("SELECT {COLUMNS} {from} ORDER BY g.name, g.id LIMIT $3 OFFSET $4");
    let [chat, active] = key;
    let page = tx.query(&sql, &[chat, active, limit.into(), offset.into()])?;
    Ok((page.iter().map(link).collect::<Result<_, _>>()?, total))
}

/// Links that may be called: not muted, and of an active agent.
///
/// # Errors
/// The database's.
pub fn awake(tx: &mut Tx, chat: ChatId) -> Result<Vec<ChatAgent>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM chat_agent l JOIN agent g ON g.id = l.agent_id \
         WHERE l.chat_id = $1 AND l.active = 1 AND g.is_active = 1 ORDER BY l.id"
    );
    tx.query(&sql, &[chat.uuid().into()])?.iter().map(link).collect()
}

/// Some links of the agent on which a burst grows or a call is open.
///
/// # Errors
/// The database's.
pub fn at_work(tx: &mut Tx, agent: AgentId, limit: i64) -> Result<Vec<ChatAgent>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM chat_agent l WHERE l.agent_id = $1 AND (l.pending_since IS NOT NULL OR EXISTS \
         (SELECT 1 FROM agent_delivery d WHERE d.chat_id = l.chat_id AND d.agent_id = l.agent_id \
         AND d.state = 'open')) ORDER BY l.id LIMIT $2"
    );
    tx.query(&sql, &[agent.uuid().into(), limit.into()])?.iter().map(link).collect()
}

/// Some chats of the agent that agents are said to hold although none is awake, or nobody although one is.
///
/// # Errors
/// The database's.
pub fn held_wrongly(tx: &mut Tx, agent: AgentId, limit: i64) -> Result<Vec<ChatId>, StoreError> {
    let awake = "EXISTS (SELECT 1 FROM chat_agent o JOIN agent g ON g.id = o.agent_id \
                 WHERE o.chat_id = c.id AND o.active = 1 AND g.is_active = 1)";
    let sql = format!(
        "SELECT c.id FROM chat_agent l JOIN chat c ON c.id = l.chat_id WHERE l.agent_id = $1 \
         AND ((c.floor = 'agent' AND NOT {awake}) OR (c.floor = 'none' AND {awake})) ORDER BY c.id LIMIT $2"
    );
    let rows = tx.query(&sql, &[agent.uuid().into(), limit.into()])?;
    rows.iter().map(|row| Ok(ChatId::from_uuid(row.get::<Uuid>(0)?))).collect()
}

/// # Errors
/// The database's.
pub fn set_active(tx: &mut Tx, id: ChatAgentId, active: bool) -> Result<(), StoreError> {
    tx.execute("UPDATE chat_agent SET active = $2 WHERE id = $1", &[id.uuid().into(), flag(active).into()])?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn delete(tx: &mut Tx, id: ChatAgentId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM chat_agent WHERE id = $1", &[id.uuid().into()])?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn delete_of_agent(tx: &mut Tx, agent: AgentId) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM chat_agent WHERE agent_id = $1",
        "DELETE FROM agent_delivery WHERE agent_id = $1",
        "DELETE FROM draft WHERE agent_id = $1",
        "UPDATE chat SET failing_agent_id = NULL WHERE failing_agent_id = $1",
        "UPDATE chat_message SET agent_id = NULL WHERE agent_id = $1",
        "UPDATE activity SET agent_id = NULL WHERE agent_id = $1",
    ] {
        tx.execute(sql, &[agent.uuid().into()])?;
    }
    Ok(())
}

/// Shuts out what is being made for this link; what grows there is forgotten.
///
/// # Errors
/// The database's.
pub fn fence(tx: &mut Tx, id: ChatAgentId) -> Result<(), StoreError> {
    let sql = "UPDATE chat_agent SET epoch = epoch + 1, pending_since = NULL, pending_count = 0, pending_chars = 0, \
               due_at = NULL WHERE id = $1";
    tx.execute(sql, &[id.uuid().into()])?;
    Ok(())
}

/// What grows on the link; `None`: nothing.
///
/// # Errors
/// The database's.
pub fn pending(tx: &mut Tx, id: ChatAgentId) -> Result<Option<Pending>, StoreError> {
    let sql = "SELECT pending_since, pending_count, pending_chars, due_at FROM chat_agent WHERE id = $1";
    let Some(row) = tx.query_one(sql, &[id.uuid().into()])? else { return Ok(None) };
    let times = row.get::<Option<i64>>(0)?.zip(row.get::<Option<i64>>(3)?);
    let Some((since, due_at)) = times else { return Ok(None) };
    Ok(Some(Pending { since: Timestamp(since), count: row.get(1)?, chars: row.get(2)?, due_at: Timestamp(due_at) }))
}

/// # Errors
/// The database's.
pub fn set_pending(tx: &mut Tx, id: ChatAgentId, pending: Option<Pending>) -> Result<(), StoreError> {
    let (since, due_at) = pending.map(|pending| (pending.since.0, pending.due_at.0)).unzip();
    tx.execute(
        "UPDATE chat_agent SET pending_since = $2, pending_count = $3, pending_chars = $4, due_at = $5 WHERE id = $1",
        &[
            id.uuid().into(),
            since.into(),
            pending.map_or(0, |pending| pending.count).into(),
            pending.map_or(0, |pending| pending.chars).into(),
            due_at.into(),
        ],
    )?;
    Ok(())
}

/// The place of the newest message that the agent has accepted, or that a person had dealt with.
///
/// # Errors
/// The database's.
pub fn seen_place(tx: &mut Tx, id: ChatAgentId) -> Result<i64, StoreError> {
    let row = tx.query_one("SELECT seen_place FROM chat_agent WHERE id = $1", &[id.uuid().into()])?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// It only rises.
///
/// # Errors
/// The database's.
pub fn see(tx: &mut Tx, id: ChatAgentId, place: i64) -> Result<(), StoreError> {
    let sql = "UPDATE chat_agent SET seen_place = $2 WHERE id = $1 AND seen_place < $2";
    tx.execute(sql, &[id.uuid().into(), place.into()])?;
    Ok(())
}

/// Counts a failed call; returns how many failed in a row.
///
/// # Errors
/// The database's.
pub fn count_failure(tx: &mut Tx, id: ChatAgentId) -> Result<i64, StoreError> {
    let sql = "UPDATE chat_agent SET failures = failures + 1 WHERE id = $1 RETURNING failures";
    tx.query_one(sql, &[id.uuid().into()])?.map_or(Ok(0), |row| row.get(0))
}

/// # Errors
/// The database's.
pub fn forget_failures(tx: &mut Tx, id: ChatAgentId) -> Result<(), StoreError> {
    tx.execute("UPDATE chat_agent SET failures = 0 WHERE id = $1", &[id.uuid().into()])?;
    Ok(())
}

fn link(row: &Row) -> Result<ChatAgent, StoreError> {
    Ok(ChatAgent {
        id: ChatAgentId::from_uuid(row.get::<Uuid>(0)?),
        chat: ChatId::from_uuid(row.get::<Uuid>(1)?),
        agent: AgentId::from_uuid(row.get::<Uuid>(2)?),
        active: row.get::<i64>(3)? != 0,
        epoch: row.get(4)?,
    })
}
