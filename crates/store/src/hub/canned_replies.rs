//! Texts that people send often.

use domain::Timestamp;
use domain::hub::{CannedReply, CannedReplyId, HubId as _};
use uuid::Uuid;

use crate::{Row, StoreError, Tx};

const SELECT: &str = "SELECT r.id, r.title, r.shortcut, r.content, r.created_at, r.updated_at FROM canned_reply r";

/// # Errors
/// [`StoreError::Duplicate`]: another one has the shortcut; or the database's.
pub fn insert(tx: &mut Tx, reply: &CannedReply) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO canned_reply (id, title, shortcut, content, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            reply.id.uuid().into(),
            reply.title.as_str().into(),
            reply.shortcut.clone().into(),
            reply.content.as_str().into(),
            reply.created_at.0.into(),
            reply.updated_at.0.into(),
        ],
    )?;
    Ok(())
}

/// Stores everything that may change.
///
/// # Errors
/// As [`insert`].
pub fn update(tx: &mut Tx, reply: &CannedReply) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE canned_reply SET title = $2, shortcut = $3, content = $4, updated_at = $5 WHERE id = $1",
        &[
            reply.id.uuid().into(),
            reply.title.as_str().into(),
            reply.shortcut.clone().into(),
            reply.content.as_str().into(),
            reply.updated_at.0.into(),
        ],
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: CannedReplyId) -> Result<Option<CannedReply>, StoreError> {
    tx.query_one(&format!("{SELECT} WHERE r.id = $1"), &[id.uuid().into()])?.map(|row| reply(&row)).transpose()
}

/// Which one has the shortcut.
///
/// # Errors
/// The database's.
pub fn by_shortcut(tx: &mut Tx, shortcut: &str) -> Result<Option<CannedReplyId>, StoreError> {
    let row = tx.query_one("SELECT id FROM canned_reply WHERE shortcut = $1", &[shortcut.into()])?;
    row.map(|row| Ok(CannedReplyId::from_uuid(row.get::<Uuid>(0)?))).transpose()
}

/// All of them, by title.
///
/// # Errors
/// The database's.
pub fn list(tx: &mut Tx) -> Result<Vec<CannedReply>, StoreError> {
    tx.query(&format!("{SELECT} ORDER BY lower(r.title), r.id"), &[])?.iter().map(reply).collect()
}

/// # Errors
/// The database's.
pub fn count(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.query_one("SELECT count(*) FROM canned_reply", &[])?.map_or(Ok(0), |row| row.get(0))
}

/// Whether there was one.
///
/// # Errors
/// The database's.
pub fn delete(tx: &mut Tx, id: CannedReplyId) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM canned_reply WHERE id = $1", &[id.uuid().into()])? > 0)
}

fn reply(row: &Row) -> Result<CannedReply, StoreError> {
    Ok(CannedReply {
        id: CannedReplyId::from_uuid(row.get::<Uuid>(0)?),
        title: row.get(1)?,
        shortcut: row.get(2)?,
        content: row.get(3)?,
        created_at: Timestamp(row.get(4)?),
        updated_at: Timestamp(row.get(5)?),
    })
}
