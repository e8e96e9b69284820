//! Connected platforms.

use domain::hub::{Channel, ChannelId, Health, HubId as _, InboundAuth, Takeover};
use domain::{Platform, Timestamp};
use uuid::Uuid;

use super::{flag, unreadable};
use crate::{Row, StoreError, Tx, Value};

const COLUMNS: &str = "id, name, platform, api_to_send_message, webhook_base_url, inbound_auth, takeover, takeover_minutes, \
    buffer_max_messages, send_read_receipts, window_hours, health, created_at, deleted_at";

/// What opens the platform to us and us to it, encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secrets {
    pub credentials: String,
    pub inbound_secret: Option<String>,
    /// The one before, and until when it is good as well.
    pub old_inbound_secret: Option<(String, Timestamp)>,
}

/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, channel: &Channel, secrets: &Secrets) -> Result<(), StoreError> {
    let mut values: Vec<Value> = vec![channel.id.uuid().into(), channel.created_at.0.into()];
    values.extend(settings(channel));
    values.extend(secret_values(secrets));
    tx.execute(
        "INSERT INTO channel (id, created_at, name, platform, api_to_send_message, webhook_base_url, inbound_auth, takeover, \
         takeover_minutes, buffer_max_messages, send_read_receipts, window_hours, health, credentials, inbound_secret, \
         old_inbound_secret, old_inbound_secret_until) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        &values,
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn update(tx: &mut Tx, channel: &Channel, secrets: &Secrets) -> Result<(), StoreError> {
    let mut values: Vec<Value> = vec![channel.id.uuid().into()];
    values.extend(settings(channel));
    values.extend(secret_values(secrets));
    tx.execute(
        "UPDATE channel SET name = $2, platform = $3, api_to_send_message = $4, webhook_base_url = $5, inbound_auth = $6, \
         takeover = $7, takeover_minutes = $8, buffer_max_messages = $9, send_read_receipts = $10, window_hours = $11, \
         health = $12, credentials = $13, inbound_secret = $14, old_inbound_secret = $15, old_inbound_secret_until = $16 \
         WHERE id = $1",
        &values,
    )?;
    Ok(())
}

/// The channel, if it is not deleted.
///
/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: ChannelId) -> Result<Option<Channel>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM channel WHERE id = $1 AND deleted_at IS NULL");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| channel(&row)).transpose()
}

/// All that are not deleted, by name.
///
/// # Errors
/// The database's.
pub fn list(tx: &mut Tx) -> Result<Vec<Channel>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM channel WHERE deleted_at IS NULL ORDER BY name, id");
    tx.query(&sql, &[])?.iter().map(channel).collect()
}

/// # Errors
/// The database's.
pub fn secrets(tx: &mut Tx, id: ChannelId) -> Result<Secrets, StoreError> {
    let sql = "SELECT credentials, inbound_secret, old_inbound_secret, old_inbound_secret_until FROM channel WHERE id = $1";
    let Some(row) = tx.query_one(sql, &[id.uuid().into()])? else { return Ok(Secrets::default()) };
    let until = row.get::<Option<i64>>(3)?.map(Timestamp);
    Ok(Secrets {
        credentials: row.get(0)?,
        inbound_secret: row.get(1)?,
        old_inbound_secret: row.get::<Option<String>>(2)?.zip(until),
    })
}

/// # Errors
/// The database's.
pub fn set_health(tx: &mut Tx, id: ChannelId, health: Health) -> Result<(), StoreError> {
    tx.execute("UPDATE channel SET health = $2 WHERE id = $1", &[id.uuid().into(), health.as_str().into()])?;
    Ok(())
}

/// Where asking for messages goes on.
///
/// # Errors
/// The database's.
pub fn poll_position(tx: &mut Tx, id: ChannelId) -> Result<Option<i64>, StoreError> {
    let row = tx.query_one("SELECT poll_position FROM channel WHERE id = $1", &[id.uuid().into()])?;
    row.map_or(Ok(None), |row| row.get(0))
}

/// # Errors
/// The database's.
pub fn set_poll_position(tx: &mut Tx, id: ChannelId, position: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE channel SET poll_position = $2 WHERE id = $1", &[id.uuid().into(), position.into()])?;
    Ok(())
}

/// Nothing comes in or goes out any more.
///
/// # Errors
/// The database's.
pub fn delete(tx: &mut Tx, id: ChannelId, at: Timestamp) -> Result<(), StoreError> {
    let key: [Value; 1] = [id.uuid().into()];
    tx.execute("UPDATE channel SET deleted_at = $2 WHERE id = $1", &[id.uuid().into(), at.0.into()])?;
    tx.execute("DELETE FROM channel_permission WHERE channel_id = $1", &key)?;
    tx.execute("UPDATE outbox SET state = 'failed', error = 'channel deleted' WHERE channel_id = $1 AND state = 'queued'", &key)?;
    Ok(())
}

/// Channels that were deleted before `before`.
///
/// # Errors
/// The database's.
pub fn deleted_before(tx: &mut Tx, before: Timestamp) -> Result<Vec<ChannelId>, StoreError> {
    let rows = tx.query("SELECT id FROM channel WHERE deleted_at IS NOT NULL AND deleted_at <= $1", &[before.0.into()])?;
    rows.iter().map(|row| Ok(ChannelId::from_uuid(row.get::<Uuid>(0)?))).collect()
}

/// Removes the channel and all that was said on it. Contacts stay: they may be known elsewhere.
///
/// # Errors
/// The database's.
pub fn purge(tx: &mut Tx, id: ChannelId) -> Result<(), StoreError> {
    super::files::delete_of_channel(tx, id)?;
    for sql in [
        "DELETE FROM outbox WHERE channel_id = $1",
        "DELETE FROM chat_message WHERE channel_id = $1",
        "DELETE FROM chat_note WHERE chat_id IN (SELECT id FROM chat WHERE channel_id = $1)",
        "DELETE FROM chat_agent WHERE chat_id IN (SELECT id FROM chat WHERE channel_id = $1)",
        "DELETE FROM agent_delivery WHERE chat_id IN (SELECT id FROM chat WHERE channel_id = $1)",
        "DELETE FROM draft WHERE chat_id IN (SELECT id FROM chat WHERE channel_id = $1)",
        "DELETE FROM activity WHERE chat_id IN (SELECT id FROM chat WHERE channel_id = $1)",
        "DELETE FROM hub_event WHERE channel_id = $1",
        "DELETE FROM chat WHERE channel_id = $1",
        "DELETE FROM inbound_key WHERE channel_id = $1",
        "DELETE FROM early_status WHERE channel_id = $1",
        "DELETE FROM opt_out WHERE channel_id = $1",
        "DELETE FROM channel_permission WHERE channel_id = $1",
        "DELETE FROM channel WHERE id = $1",
    ] {
        tx.execute(sql, &[id.uuid().into()])?;
    }
    Ok(())
}

fn settings(channel: &Channel) -> Vec<Value> {
    vec![
        channel.name.as_str().into(),
        channel.platform.as_str().into(),
        channel.api_to_send_message.clone().into(),
        channel.webhook_base_url.clone().into(),
        channel.inbound_auth.as_str().into(),
        channel.takeover.as_str().into(),
        channel.takeover_minutes.into(),
        channel.buffer_max_messages.into(),
        flag(channel.send_read_receipts).into(),
        channel.window_hours.into(),
        channel.health.as_str().into(),
    ]
}

fn secret_values(secrets: &Secrets) -> Vec<Value> {
    let (old, until) = secrets.old_inbound_secret.clone().unzip();
    vec![secrets.credentials.as_str().into(), secrets.inbound_secret.clone().into(), old.into(), until.map(|at| at.0).into()]
}

fn channel(row: &Row) -> Result<Channel, StoreError> {
    let word = |index: usize| row.get::<String>(index);
    let (platform, auth, takeover, health) = (word(2)?, word(5)?, word(6)?, word(11)?);
    Ok(Channel {
        id: ChannelId::from_uuid(row.get::<Uuid>(0)?),
        name: word(1)?,
        platform: Platform::parse(&platform).ok_or_else(|| unreadable("platform", &platform))?,
        api_to_send_message: row.get(3)?,
        webhook_base_url: row.get(4)?,
        inbound_auth: InboundAuth::parse(&auth).ok_or_else(|| unreadable("inbound auth", &auth))?,
        takeover: Takeover::parse(&takeover).ok_or_else(|| unreadable("takeover", &takeover))?,
        takeover_minutes: row.get(7)?,
        buffer_max_messages: row.get(8)?,
        send_read_receipts: row.get::<i64>(9)? != 0,
        window_hours: row.get(10)?,
        health: Health::parse(&health).ok_or_else(|| unreadable("health", &health))?,
        created_at: Timestamp(row.get(12)?),
        deleted_at: row.get::<Option<i64>>(13)?.map(Timestamp),
    })
}
