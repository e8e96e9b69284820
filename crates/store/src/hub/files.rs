//! Files of chats. They lie in the database, in pieces: whatever node is asked has them, they go in the transaction that removes
//! their chat, and a backup holds them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::hub::{ChannelId, ChatId, FileId, HubId as _};
use uuid::Uuid;

use crate::{StoreError, Tx, Value};

/// Of one piece but the last: small enough to be read and written beside everything else, and a multiple of three, so that
/// base64 pads nothing.
pub const PIECE_BYTES: usize = 48 * 1024;

/// A file, all of which is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    pub id: FileId,
    pub chat: ChatId,
    pub name: Option<String>,
    /// By its content.
    pub mime_type: String,
    /// In bytes.
    pub size: i64,
}

/// A file that is still to come.
///
/// # Errors
/// The database's.
pub fn expect(tx: &mut Tx, id: FileId, (channel, chat): (ChannelId, ChatId), name: Option<&str>) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO chat_file (id, chat_id, channel_id, name, size) VALUES ($1, $2, $3, $4, 0)",
        &[id.uuid().into(), chat.uuid().into(), channel.uuid().into(), name.map(str::to_owned).into()],
    )?;
    Ok(())
}

/// Begins to store what is expected, and forgets what an earlier attempt left. `false`: it is not expected any more.
///
/// # Errors
/// The database's.
pub fn begin(tx: &mut Tx, id: FileId) -> Result<bool, StoreError> {
    let sql = "UPDATE chat_file SET size = 0 WHERE id = $1 AND mime_type IS NULL";
    let is_expected = tx.execute(sql, &[id.uuid().into()])? > 0;
    if is_expected {
        tx.execute("DELETE FROM chat_file_piece WHERE file_id = $1", &[id.uuid().into()])?;
    }
    Ok(is_expected)
}

/// Stores the pieces of `bytes` behind those that there are: piece number `first` and following. `false`: the file has been
/// removed.
///
/// # Errors
/// The database's.
pub fn append(tx: &mut Tx, id: FileId, first: i64, bytes: &[u8]) -> Result<bool, StoreError> {
    // Whoever removes the file changes the same row, so one of the two waits for the other.
    let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let sql = "UPDATE chat_file SET size = size + $2 WHERE id = $1 AND mime_type IS NULL";
    if tx.execute(sql, &[id.uuid().into(), length.into()])? == 0 {
        return Ok(false);
    }
    for (ordinal, piece) in (first..).zip(bytes.chunks(PIECE_BYTES)) {
        tx.execute(
            "INSERT INTO chat_file_piece (file_id, ordinal, body) VALUES ($1, $2, $3)",
            &[id.uuid().into(), ordinal.into(), STANDARD.encode(piece).into()],
        )?;
    }
    Ok(true)
}

/// All of the file is here. `false`: it has been removed.
///
/// # Errors
/// The database's.
pub fn finish(tx: &mut Tx, id: FileId, mime_type: &str) -> Result<bool, StoreError> {
    let sql = "UPDATE chat_file SET mime_type = $2 WHERE id = $1 AND mime_type IS NULL";
    Ok(tx.execute(sql, &[id.uuid().into(), mime_type.into()])? > 0)
}

/// A file, if all of it is here.
///
/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: FileId) -> Result<Option<StoredFile>, StoreError> {
    let sql = "SELECT chat_id, name, mime_type, size FROM chat_file WHERE id = $1 AND mime_type IS NOT NULL";
    let row = tx.query_one(sql, &[id.uuid().into()])?;
    row.map(|row| {
        let chat = ChatId::from_uuid(row.get::<Uuid>(0)?);
        Ok(StoredFile { id, chat, name: row.get(1)?, mime_type: row.get(2)?, size: row.get(3)? })
    })
    .transpose()
}

/// Up to so many pieces from number `first` on, put together; empty behind the last one.
///
/// # Errors
/// The database's.
pub fn read(tx: &mut Tx, id: FileId, first: i64, count: i64) -> Result<Vec<u8>, StoreError> {
    let sql = "SELECT body FROM chat_file_piece WHERE file_id = $1 AND ordinal >= $2 AND ordinal < $3 ORDER BY ordinal";
    let mut bytes = Vec::new();
    for row in tx.query(sql, &[id.uuid().into(), first.into(), (first + count).into()])? {
        let piece = STANDARD.decode(row.get::<String>(0)?);
        bytes.extend(piece.map_err(|error| StoreError::Failed(format!("a piece of {id}: {error}")))?);
    }
    Ok(bytes)
}

/// Removes one file.
///
/// # Errors
/// The database's.
pub fn delete(tx: &mut Tx, id: FileId) -> Result<(), StoreError> {
    remove(tx, "id", id.uuid())
}

pub(super) fn delete_of_chat(tx: &mut Tx, chat: ChatId) -> Result<(), StoreError> {
    remove(tx, "chat_id", chat.uuid())
}

pub(super) fn delete_of_channel(tx: &mut Tx, channel: ChannelId) -> Result<(), StoreError> {
    remove(tx, "channel_id", channel.uuid())
}

fn remove(tx: &mut Tx, column: &str, value: Uuid) -> Result<(), StoreError> {
    let rows = tx.query(&format!("DELETE FROM chat_file WHERE {column} = $1 RETURNING id"), &[value.into()])?;
    let ids = rows.iter().map(|row| row.get::<Uuid>(0)).collect::<Result<Vec<_>, _>>()?;
    if !ids.is_empty() {
        tx.execute("DELETE FROM chat_file_piece WHERE file_id = ANY($1)", &[Value::Uuids(ids)])?;
    }
    Ok(())
}
