//! Persons on platforms: sets of identities, not phone numbers.

use domain::Timestamp;
use domain::hub::{ChannelId, ChatId, ContactId, HubId, IdentityId};
use uuid::Uuid;

use crate::{StoreError, Tx};

/// By what a platform knows somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The contract's word.
    pub kind: String,
    /// The channel within which alone the value means somebody; `None`: it means the same person everywhere.
    pub scope: Option<ChannelId>,
    pub value: String,
}

/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, id: ContactId, name: &str, at: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO contact (id, name, created_at) VALUES ($1, $2, $3)";
    tx.execute(sql, &[id.uuid().into(), name.into(), at.0.into()])?;
    Ok(())
}

/// The contact's name.
///
/// # Errors
/// The database's.
pub fn name(tx: &mut Tx, id: ContactId) -> Result<Option<String>, StoreError> {
    let row = tx.query_one("SELECT name FROM contact WHERE id = $1", &[id.uuid().into()])?;
    row.map(|row| row.get(0)).transpose()
}

/// # Errors
/// The database's.
pub fn rename(tx: &mut Tx, id: ContactId, name: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE contact SET name = $2 WHERE id = $1", &[id.uuid().into(), name.into()])?;
    Ok(())
}

/// Whose identity it is.
///
/// # Errors
/// The database's.
pub fn of_identity(tx: &mut Tx, identity: &Identity) -> Result<Option<ContactId>, StoreError> {
    let sql = "SELECT contact_id FROM contact_identity WHERE kind = $1 AND scope = $2 AND value = $3";
    let row = tx.query_one(sql, &[identity.kind.as_str().into(), scope(identity).into(), identity.value.as_str().into()])?;
    row.map(|row| Ok(ContactId::from_uuid(row.get::<Uuid>(0)?))).transpose()
}

/// Gives the contact an identity, unless somebody has it.
///
/// # Errors
/// The database's.
pub fn add_identity(
    tx: &mut Tx,
    id: IdentityId,
    contact: ContactId,
    identity: &Identity,
    at: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO contact_identity (id, contact_id, kind, scope, value, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (kind, scope, value) DO NOTHING",
        &[
            id.uuid().into(),
            contact.uuid().into(),
            identity.kind.as_str().into(),
            scope(identity).into(),
            identity.value.as_str().into(),
            at.0.into(),
        ],
    )?;
    Ok(())
}

/// Kind and value of everything that names the contact, the oldest first.
///
/// # Errors
/// The database's.
pub fn identities(tx: &mut Tx, id: ContactId) -> Result<Vec<(String, String)>, StoreError> {
    let sql = "SELECT kind, value FROM contact_identity WHERE contact_id = $1 ORDER BY created_at, id";
    tx.query(sql, &[id.uuid().into()])?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Notes that two contacts may be one person, whichever was seen first.
///
/// # Errors
/// The database's.
pub fn note_conflict(tx: &mut Tx, one: ContactId, other: ContactId) -> Result<(), StoreError> {
    for (from, to) in [(one, other), (other, one)] {
        let sql =
            "INSERT INTO contact_conflict (contact_id, other_id) VALUES ($1, $2) ON CONFLICT (contact_id, other_id) DO NOTHING";
        tx.execute(sql, &[from.uuid().into(), to.uuid().into()])?;
    }
    Ok(())
}

/// # Errors
/// The database's.
pub fn conflicts(tx: &mut Tx, id: ContactId) -> Result<Vec<ContactId>, StoreError> {
    ids(tx, "SELECT other_id FROM contact_conflict WHERE contact_id = $1", id)
}

/// The contact's chats on channels that are not deleted.
///
/// # Errors
/// The database's.
pub fn chats(tx: &mut Tx, id: ContactId) -> Result<Vec<(ChannelId, ChatId)>, StoreError> {
    let sql = "SELECT c.channel_id, c.id FROM chat c JOIN channel h ON h.id = c.channel_id \
               WHERE c.contact_id = $1 AND h.deleted_at IS NULL ORDER BY c.created_at, c.id";
    let rows = tx.query(sql, &[id.uuid().into()])?;
    rows.iter().map(|row| Ok((ChannelId::from_uuid(row.get::<Uuid>(0)?), ChatId::from_uuid(row.get::<Uuid>(1)?)))).collect()
}

/// Makes `other` the same person as `id`. Where both have a chat on one channel, each keeps its own, and `other` stays.
/// Says whether nothing of `other` is left.
///
/// # Errors
/// The database's.
pub fn merge(tx: &mut Tx, id: ContactId, other: ContactId) -> Result<bool, StoreError> {
    let both = [id.uuid().into(), other.uuid().into()];
    tx.execute("UPDATE contact_identity SET contact_id = $1 WHERE contact_id = $2", &both)?;
    tx.execute(
        "UPDATE chat SET contact_id = $1 WHERE contact_id = $2 \
         AND channel_id NOT IN (SELECT c.channel_id FROM chat c WHERE c.contact_id = $1)",
        &both,
    )?;
    tx.execute(
        "INSERT INTO opt_out (contact_id, channel_id, at) SELECT $1::uuid, channel_id, at FROM opt_out WHERE contact_id = $2 \
         ON CONFLICT (contact_id, channel_id) DO NOTHING",
        &both,
    )?;
    tx.execute("DELETE FROM contact_conflict WHERE contact_id = $2 AND other_id = $1", &both)?;
    tx.execute("DELETE FROM contact_conflict WHERE contact_id = $1 AND other_id = $2", &both)?;
    let key = [other.uuid().into()];
    if tx.query_one("SELECT id FROM chat WHERE contact_id = $1 LIMIT 1", &key)?.is_some() {
        return Ok(false);
    }
    tx.execute("DELETE FROM contact_conflict WHERE contact_id = $1 OR other_id = $1", &key)?;
    tx.execute("DELETE FROM opt_out WHERE contact_id = $1", &key)?;
    tx.execute("DELETE FROM contact WHERE id = $1", &key)?;
    Ok(true)
}

/// # Errors
/// The database's.
pub fn opt_out(tx: &mut Tx, id: ContactId, channel: ChannelId, at: Timestamp) -> Result<(), StoreError> {
    let sql =
        "INSERT INTO opt_out (contact_id, channel_id, at) VALUES ($1, $2, $3) ON CONFLICT (contact_id, channel_id) DO NOTHING";
    tx.execute(sql, &[id.uuid().into(), channel.uuid().into(), at.0.into()])?;
    Ok(())
}

/// Says whether the contact had opted out.
///
/// # Errors
/// The database's.
pub fn opt_in(tx: &mut Tx, id: ContactId, channel: ChannelId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM opt_out WHERE contact_id = $1 AND channel_id = $2";
    Ok(tx.execute(sql, &[id.uuid().into(), channel.uuid().into()])? > 0)
}

/// # Errors
/// The database's.
pub fn has_opted_out(tx: &mut Tx, id: ContactId, channel: ChannelId) -> Result<bool, StoreError> {
    let sql = "SELECT contact_id FROM opt_out WHERE contact_id = $1 AND channel_id = $2";
    Ok(tx.query_one(sql, &[id.uuid().into(), channel.uuid().into()])?.is_some())
}

/// The channels that the contact wants nothing from.
///
/// # Errors
/// The database's.
pub fn opted_out_of(tx: &mut Tx, id: ContactId) -> Result<Vec<ChannelId>, StoreError> {
    ids(tx, "SELECT channel_id FROM opt_out WHERE contact_id = $1", id)
}

fn ids<I: HubId>(tx: &mut Tx, sql: &str, id: ContactId) -> Result<Vec<I>, StoreError> {
    tx.query(sql, &[id.uuid().into()])?.iter().map(|row| Ok(I::from_uuid(row.get::<Uuid>(0)?))).collect()
}

fn scope(identity: &Identity) -> String {
    identity.scope.map(HubId::spelled).unwrap_or_default()
}
