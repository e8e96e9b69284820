//! What a platform has already told, so that a repeat changes nothing, and what it told too early.

use domain::hub::{ChannelId, ChatId, ChatMessageId, HubId as _};
use domain::{DeliveryStatus, Timestamp};
use uuid::Uuid;

use crate::{StoreError, Tx};

/// What was answered the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// `None`: it became no message.
    pub message: Option<(ChatId, ChatMessageId)>,
    pub kind: String,
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, channel: ChannelId, key: &str) -> Result<Option<Known>, StoreError> {
    let sql = "SELECT chat_id, message_id, kind FROM inbound_key WHERE channel_id = $1 AND key = $2";
    let Some(row) = tx.query_one(sql, &[channel.uuid().into(), key.into()])? else { return Ok(None) };
    let (chat, message) = (row.get::<Option<Uuid>>(0)?, row.get::<Option<Uuid>>(1)?);
    let message = chat.zip(message).map(|(chat, message)| (ChatId::from_uuid(chat), ChatMessageId::from_uuid(message)));
    Ok(Some(Known { message, kind: row.get(2)? }))
}

/// Remembers a key. `false`: somebody was faster.
///
/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, channel: ChannelId, key: &str, known: &Known, at: Timestamp) -> Result<bool, StoreError> {
    let (chat, message) = known.message.unzip();
    let inserted = tx.execute(
        "INSERT INTO inbound_key (channel_id, key, chat_id, message_id, kind, at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (channel_id, key) DO NOTHING",
        &[
            channel.uuid().into(),
            key.into(),
            chat.map(ChatId::uuid).into(),
            message.map(ChatMessageId::uuid).into(),
            known.kind.as_str().into(),
            at.0.into(),
        ],
    )?;
    Ok(inserted > 0)
}

/// Keeps news about a message that is not known yet.
///
/// # Errors
/// The database's.
pub fn keep_early(
    tx: &mut Tx,
    channel: ChannelId,
    external_id: &str,
    status: DeliveryStatus,
    at: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO early_status (channel_id, external_id, status, at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (channel_id, external_id, status) DO NOTHING",
        &[channel.uuid().into(), external_id.into(), status.as_str().into(), at.0.into()],
    )?;
    Ok(())
}

/// What was told early about the message, and forgets it.
///
/// # Errors
/// The database's.
pub fn take_early(tx: &mut Tx, channel: ChannelId, external_id: &str) -> Result<Vec<DeliveryStatus>, StoreError> {
    let sql = "DELETE FROM early_status WHERE channel_id = $1 AND external_id = $2 RETURNING status";
    let rows = tx.query(sql, &[channel.uuid().into(), external_id.into()])?;
    let mut statuses = Vec::new();
    for row in rows {
        statuses.extend(DeliveryStatus::parse(&row.get::<String>(0)?));
    }
    Ok(statuses)
}

/// Forgets early news from before `early`, and keys whose chats were deleted before `deleted`.
///
/// # Errors
/// The database's.
pub fn sweep(tx: &mut Tx, early: Timestamp, deleted: Timestamp) -> Result<(), StoreError> {
    tx.execute("DELETE FROM early_status WHERE at < $1", &[early.0.into()])?;
    tx.execute("DELETE FROM inbound_key WHERE deleted_at IS NOT NULL AND deleted_at < $1", &[deleted.0.into()])?;
    Ok(())
}
