//! What operators see happen, numbered over the whole hub.

use domain::Timestamp;
use domain::hub::{AgentId, ChannelId, ChatId, ChatNoteId, HubEvent, HubEventKind, HubId as _, SeenBy};
use uuid::Uuid;

use super::unreadable;
use crate::{Row, StoreError, Tx};

/// An event that has no number yet.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub channel: ChannelId,
    pub chat: ChatId,
    pub seen_by: SeenBy,
    pub what: HubEventKind,
}

/// Numbers and stores an event. Nobody else can until this transaction ends, so it must be the last thing in it.
///
/// # Errors
/// The database's.
pub fn append(tx: &mut Tx, event: NewEvent, at: Timestamp) -> Result<HubEvent, StoreError> {
    let row = tx.query_one("UPDATE hub_head SET seq = seq + 1 WHERE id = 1 RETURNING seq", &[])?;
    let seq: i64 = row.ok_or_else(|| StoreError::Failed("the hub has no head".to_owned()))?.get(0)?;
    let NewEvent { channel, chat, seen_by, what } = event;
    let failed = |error: serde_json::Error| StoreError::Failed(error.to_string());
    tx.execute(
        "INSERT INTO hub_event (seq, at, channel_id, chat_id, seen_by, body) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            seq.into(),
            at.0.into(),
            channel.uuid().into(),
            chat.uuid().into(),
            serde_json::to_string(&seen_by).map_err(failed)?.into(),
            serde_json::to_string(&what).map_err(failed)?.into(),
        ],
    )?;
    Ok(HubEvent { seq, at, channel, chat, seen_by, what })
}

/// The number of the last event.
///
/// # Errors
/// The database's.
pub fn head(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.query_one("SELECT seq FROM hub_head WHERE id = 1", &[])?.map_or(Ok(0), |row| row.get(0))
}

/// The number up to which events are forgotten.
///
/// # Errors
/// The database's.
pub fn swept(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.query_one("SELECT swept FROM hub_head WHERE id = 1", &[])?.map_or(Ok(0), |row| row.get(0))
}

/// Events behind a number, in their order.
///
/// # Errors
/// The database's.
pub fn after(tx: &mut Tx, seq: i64, limit: i64) -> Result<Vec<HubEvent>, StoreError> {
    let sql = "SELECT seq, at, channel_id, chat_id, seen_by, body FROM hub_event WHERE seq > $1 ORDER BY seq LIMIT $2";
    tx.query(sql, &[seq.into(), limit.into()])?.iter().map(event).collect()
}

/// Forgets all events up to a number.
///
/// # Errors
/// The database's.
pub fn sweep(tx: &mut Tx, upto: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE hub_head SET swept = $1 WHERE id = 1 AND swept < $1", &[upto.into()])?;
    tx.execute("DELETE FROM hub_event WHERE seq <= $1", &[upto.into()])?;
    Ok(())
}

/// Forgets the events that say what a note said. Numbers may have gaps.
///
/// # Errors
/// The database's.
pub fn forget_note(tx: &mut Tx, chat: ChatId, note: ChatNoteId) -> Result<(), StoreError> {
    let sql = "DELETE FROM hub_event WHERE chat_id = $1 AND body LIKE $2";
    // Nothing else that is written in an event has the id of a note.
    tx.execute(sql, &[chat.uuid().into(), format!("%\"{}\"%", note.uuid()).into()])?;
    Ok(())
}

/// Who may see a chat's events without the channel's permission.
///
/// # Errors
/// The database's.
pub fn linked(tx: &mut Tx, chat: ChatId) -> Result<Vec<AgentId>, StoreError> {
    let rows = tx.query("SELECT agent_id FROM chat_agent WHERE chat_id = $1", &[chat.uuid().into()])?;
    rows.iter().map(|row| Ok(AgentId::from_uuid(row.get::<Uuid>(0)?))).collect()
}

fn event(row: &Row) -> Result<HubEvent, StoreError> {
    let (seen_by, body) = (row.get::<String>(4)?, row.get::<String>(5)?);
    Ok(HubEvent {
        seq: row.get(0)?,
        at: Timestamp(row.get(1)?),
        channel: ChannelId::from_uuid(row.get::<Uuid>(2)?),
        chat: ChatId::from_uuid(row.get::<Uuid>(3)?),
        seen_by: serde_json::from_str(&seen_by).map_err(|_| unreadable("viewers", &seen_by))?,
        what: serde_json::from_str(&body).map_err(|_| unreadable("event", &body))?,
    })
}
