//! The newest messages of a channel in both directions, and what became of them.

use domain::hub::{ChannelId, ChatId, ChatMessageId, HubId as _, SenderType};
use domain::{DeliveryStatus, Timestamp};
use uuid::Uuid;

use super::unreadable;
use crate::{Row, StoreError, Tx};

/// One message of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    pub message: ChatMessageId,
    pub chat: ChatId,
    pub chat_name: String,
    pub sender: SenderType,
    pub at: Timestamp,
    pub status: DeliveryStatus,
    /// Of one of ours: how often its most tried part was tried, and when the next attempt is due.
    pub attempts: i64,
    pub next_at: Option<Timestamp>,
    pub error: Option<String>,
    pub error_code: Option<String>,
}

/// The newest first.
///
/// # Errors
/// The database's.
pub fn newest(tx: &mut Tx, channel: ChannelId, limit: i64) -> Result<Vec<Passed>, StoreError> {
    // The newest `limit` messages are among the last `limit` of the `limit` chats that were written to last.
    let sql = "SELECT m.id, m.chat_id, c.name, m.sender, m.at, m.status, \
        COALESCE((SELECT max(o.attempts) FROM outbox o WHERE o.message_id = m.id), 0), \
        (SELECT min(o.next_at) FROM outbox o WHERE o.message_id = m.id AND o.state = 'queued'), \
        (SELECT max(o.error) FROM outbox o WHERE o.message_id = m.id AND o.state <> 'sent'), \
        (SELECT max(o.error_code) FROM outbox o WHERE o.message_id = m.id AND o.state <> 'sent') \
        FROM (SELECT id, name, place FROM chat WHERE channel_id = $1 ORDER BY last_at DESC, id LIMIT $2) c \
        JOIN chat_message m ON m.chat_id = c.id AND m.place > c.place - $2 ORDER BY m.at DESC, m.place DESC, m.id LIMIT $2";
    tx.query(sql, &[channel.uuid().into(), limit.into()])?.iter().map(passed).collect()
}

fn passed(row: &Row) -> Result<Passed, StoreError> {
    let (sender, status) = (row.get::<String>(3)?, row.get::<String>(5)?);
    Ok(Passed {
        message: ChatMessageId::from_uuid(row.get::<Uuid>(0)?),
        chat: ChatId::from_uuid(row.get::<Uuid>(1)?),
        chat_name: row.get(2)?,
        sender: SenderType::parse(&sender).ok_or_else(|| unreadable("sender", &sender))?,
        at: Timestamp(row.get(4)?),
        status: DeliveryStatus::parse(&status).ok_or_else(|| unreadable("status", &status))?,
        attempts: row.get(6)?,
        next_at: row.get::<Option<i64>>(7)?.map(Timestamp),
        error: row.get(8)?,
        error_code: row.get(9)?,
    })
}
