//! Bursts on their way to agents.

use domain::hub::{AgentDelivery, AgentId, ChatId, DeliveryId, DeliveryState, HubId as _};
use domain::{ConversationId, Timestamp};
use uuid::Uuid;

use super::{flag, unreadable};
use crate::{Row, StoreError, Tx, Value};

const COLUMNS: &str = "d.id, d.chat_id, d.agent_id, d.state, d.epoch, d.body, d.after_place, d.upto_place, d.attempts, \
    d.next_at, d.status, d.error, d.accepted_at, d.reply_due_at, d.replied, d.conversation_id, d.created_at, d.ended_at";

/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, delivery: &AgentDelivery) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO agent_delivery (id, chat_id, agent_id, state, epoch, body, after_place, upto_place, attempts, next_at, \
         replied, conversation_id, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, 0, $10, $11)",
        &[
            delivery.id.uuid().into(),
            delivery.chat.uuid().into(),
            delivery.agent.uuid().into(),
            delivery.state.as_str().into(),
            delivery.epoch.into(),
            delivery.body.as_str().into(),
            delivery.after.into(),
            delivery.upto.into(),
            delivery.next_at.map(|at| at.0).into(),
            delivery.conversation.map(ConversationId::uuid).into(),
            delivery.created_at.0.into(),
        ],
    )?;
    Ok(())
}

/// Stores everything that may change.
///
/// # Errors
/// The database's.
pub fn update(tx: &mut Tx, delivery: &AgentDelivery) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE agent_delivery SET state = $2, attempts = $3, next_at = $4, status = $5, error = $6, accepted_at = $7, \
         reply_due_at = $8, replied = $9, conversation_id = $10, ended_at = $11 WHERE id = $1",
        &[
            delivery.id.uuid().into(),
            delivery.state.as_str().into(),
            delivery.attempts.into(),
            delivery.next_at.map(|at| at.0).into(),
            delivery.status.into(),
            delivery.error.clone().into(),
            delivery.accepted_at.map(|at| at.0).into(),
            delivery.reply_due_at.map(|at| at.0).into(),
            flag(delivery.replied).into(),
            delivery.conversation.map(ConversationId::uuid).into(),
            delivery.ended_at.map(|at| at.0).into(),
        ],
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: DeliveryId) -> Result<Option<AgentDelivery>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM agent_delivery d WHERE d.id = $1");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| delivery(&row)).transpose()
}

/// The one that the agent has not accepted yet.
///
/// # Errors
/// The database's.
pub fn open(tx: &mut Tx, chat: ChatId, agent: AgentId) -> Result<Option<AgentDelivery>, StoreError> {
    one(tx, chat, agent, " AND d.state = 'open'")
}

/// The newest, whatever became of it.
///
/// # Errors
/// The database's.
pub fn newest(tx: &mut Tx, chat: ChatId, agent: AgentId) -> Result<Option<AgentDelivery>, StoreError> {
    one(tx, chat, agent, "")
}

fn one(tx: &mut Tx, chat: ChatId, agent: AgentId, more: &str) -> Result<Option<AgentDelivery>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM agent_delivery d WHERE d.chat_id = $1 AND d.agent_id = $2{more} \
         ORDER BY d.created_at DESC, d.upto_place DESC LIMIT 1"
    );
    tx.query_one(&sql, &[chat.uuid().into(), agent.uuid().into()])?.map(|row| delivery(&row)).transpose()
}

/// One page of an agent's, the newest first, and how many there are.
///
/// # Errors
/// The database's.
pub fn list(
    tx: &mut Tx,
    agent: AgentId,
    state: Option<DeliveryState>,
    offset: i64,
    limit: i64,
) -> Result<(Vec<AgentDelivery>, i64), StoreError> {
    let mut values: Vec<Value> = vec![agent.uuid().into()];
    let mut condition = "d.agent_id = $1".to_owned();
    if let Some(state) = state {
        values.push(state.as_str().into());
        condition += " AND d.state = $2";
    }
    let sql = format!("SELECT count(*) FROM agent_delivery d WHERE {condition}");
    let total = tx.query_one(&sql, &values)?.map_or(Ok(0), |row| row.get(0))?;
    values.extend([limit.into(), offset.into()]);
    let sql = format!(
        "SELECT {COLUMNS} FROM agent_delivery d WHERE {condition} ORDER BY d.created_at DESC, d.id LIMIT ${} OFFSET ${}",
        values.len() - 1,
        values.len()
    );
    Ok((tx.query(&sql, &values)?.iter().map(delivery).collect::<Result<_, _>>()?, total))
}

/// The conversations in which built-in agents have answered a chat.
///
/// # Errors
/// The database's.
pub fn conversations_of(tx: &mut Tx, chat: ChatId) -> Result<Vec<ConversationId>, StoreError> {
    let sql = "SELECT conversation_id FROM agent_delivery WHERE chat_id = $1 AND conversation_id IS NOT NULL";
    let rows = tx.query(sql, &[chat.uuid().into()])?;
    rows.iter().map(|row| Ok(ConversationId::from_uuid(row.get::<Uuid>(0)?))).collect()
}

/// The delivery that a conversation answers.
///
/// # Errors
/// The database's.
pub fn of_conversation(tx: &mut Tx, conversation: ConversationId) -> Result<Option<AgentDelivery>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM agent_delivery d WHERE d.conversation_id = $1");
    tx.query_one(&sql, &[conversation.uuid().into()])?.map(|row| delivery(&row)).transpose()
}

/// Removes one.
///
/// # Errors
/// The database's.
pub fn delete(tx: &mut Tx, id: DeliveryId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM agent_delivery WHERE id = $1", &[id.uuid().into()])?;
    Ok(())
}

/// Forgets what ended before `before`.
///
/// # Errors
/// The database's.
pub fn sweep(tx: &mut Tx, before: Timestamp) -> Result<(), StoreError> {
    tx.execute("DELETE FROM agent_delivery WHERE state <> 'open' AND created_at < $1", &[before.0.into()])?;
    Ok(())
}

/// The circuit breaker of an agent: dead letters since its last success, and until when it is not called.
///
/// # Errors
/// The database's.
pub fn breaker(tx: &mut Tx, agent: AgentId) -> Result<(i64, Option<Timestamp>), StoreError> {
    let row = tx.query_one("SELECT failures, paused_until FROM agent WHERE id = $1", &[agent.uuid().into()])?;
    row.map_or(Ok((0, None)), |row| Ok((row.get(0)?, row.get::<Option<i64>>(1)?.map(Timestamp))))
}

/// # Errors
/// The database's.
pub fn set_breaker(tx: &mut Tx, agent: AgentId, failures: i64, paused_until: Option<Timestamp>) -> Result<(), StoreError> {
    let sql = "UPDATE agent SET failures = $2, paused_until = $3 WHERE id = $1";
    tx.execute(sql, &[agent.uuid().into(), failures.into(), paused_until.map(|at| at.0).into()])?;
    Ok(())
}

fn delivery(row: &Row) -> Result<AgentDelivery, StoreError> {
    let time = |index| Ok::<_, StoreError>(row.get::<Option<i64>>(index)?.map(Timestamp));
    let state: String = row.get(3)?;
    Ok(AgentDelivery {
        id: DeliveryId::from_uuid(row.get::<Uuid>(0)?),
        chat: ChatId::from_uuid(row.get::<Uuid>(1)?),
        agent: AgentId::from_uuid(row.get::<Uuid>(2)?),
        state: DeliveryState::parse(&state).ok_or_else(|| unreadable("state", &state))?,
        epoch: row.get(4)?,
        body: row.get(5)?,
        after: row.get(6)?,
        upto: row.get(7)?,
        attempts: row.get(8)?,
        next_at: time(9)?,
        status: row.get(10)?,
        error: row.get(11)?,
        accepted_at: time(12)?,
        reply_due_at: time(13)?,
        replied: row.get::<i64>(14)? != 0,
        conversation: row.get::<Option<Uuid>>(15)?.map(ConversationId::from_uuid),
        created_at: Timestamp(row.get(16)?),
        ended_at: time(17)?,
    })
}
