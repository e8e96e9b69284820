//! Notes: what people tell each other about a chat. They are rows of their own, so nothing that reads messages can meet one.

use domain::hub::{ChatId, ChatMessageId, ChatNote, ChatNoteId, HubId as _, NoteAuthor};
use domain::{AccountId, Timestamp};
use uuid::Uuid;

use super::flag;
use crate::{Row, StoreError, Tx};

const SELECT: &str = "SELECT n.id, n.chat_id, m.id, n.content, n.account_id, n.by_owner, a.username, n.created_at, n.edited_at, \
    n.client_print, n.deleted_at FROM chat_note n \
    LEFT JOIN chat_message m ON m.chat_id = n.chat_id AND m.place = n.after_place LEFT JOIN account a ON a.id = n.account_id";

/// A note that is to be stored.
#[derive(Debug, Clone)]
pub struct NewNote {
    pub id: ChatNoteId,
    pub chat: ChatId,
    pub content: String,
    /// Not [`NoteAuthor::Removed`].
    pub author: NoteAuthor,
    pub at: Timestamp,
    /// What the client named its request, and SHA-256 of it.
    pub client_key: Option<(String, String)>,
}

/// Which notes of a chat to list: those that stand behind the message `after` or one that came later, and before `before`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page {
    pub after: Option<i64>,
    pub before: Option<i64>,
    pub offset: i64,
    pub limit: i64,
}

/// Stores a note behind the chat's newest message. The chat must be held.
///
/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, note: NewNote) -> Result<(), StoreError> {
    let (client_key, client_print) = note.client_key.unzip();
    tx.execute(
        "INSERT INTO chat_note (id, chat_id, ordinal, after_place, content, account_id, by_owner, created_at, client_key, \
         client_print) SELECT $1::uuid, c.id, \
         (SELECT COALESCE(max(n.ordinal), 0) + 1 FROM chat_note n WHERE n.chat_id = c.id), c.place, $3::text, $4::uuid, \
         $5::bigint, $6::bigint, $7::text, $8::text FROM chat c WHERE c.id = $2",
        &[
            note.id.uuid().into(),
            note.chat.uuid().into(),
            note.content.as_str().into(),
            account(note.author).map(AccountId::uuid).into(),
            flag(note.author == NoteAuthor::Owner).into(),
            note.at.0.into(),
            client_key.into(),
            client_print.into(),
        ],
    )?;
    Ok(())
}

/// The note, unless it was deleted.
///
/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: ChatNoteId) -> Result<Option<ChatNote>, StoreError> {
    let sql = format!("{SELECT} WHERE n.id = $1 AND n.deleted_at IS NULL");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| note(&row)).transpose()
}

/// The note of a request that was named so (`None`: it was deleted), and the print of that request.
///
/// # Errors
/// The database's.
pub fn by_client_key(tx: &mut Tx, chat: ChatId, key: &str) -> Result<Option<(Option<ChatNote>, String)>, StoreError> {
    let sql = format!("{SELECT} WHERE n.chat_id = $1 AND n.client_key = $2");
    let Some(row) = tx.query_one(&sql, &[chat.uuid().into(), key.into()])? else { return Ok(None) };
    let print = row.get::<Option<String>>(9)?.unwrap_or_default();
    let is_deleted = row.get::<Option<i64>>(10)?.is_some();
    Ok(Some((if is_deleted { None } else { Some(note(&row)?) }, print)))
}

/// One page, the newest first, and how many there are.
///
/// # Errors
/// The database's.
pub fn list(tx: &mut Tx, chat: ChatId, page: &Page) -> Result<(Vec<ChatNote>, i64), StoreError> {
    let (after, before) = (page.after.unwrap_or(0), page.before.unwrap_or(i64::MAX));
    let values = [chat.uuid().into(), after.into(), before.into(), page.limit.into(), page.offset.into()];
    let found = "n.chat_id = $1 AND n.after_place >= $2 AND n.after_place < $3 AND n.deleted_at IS NULL";
    let sql = format!("SELECT count(*) FROM chat_note n WHERE {found}");
    let total = tx.query_one(&sql, &values[..3])?.map_or(Ok(0), |row| row.get(0))?;
    let sql = format!("{SELECT} WHERE {found} ORDER BY n.after_place DESC, n.ordinal DESC LIMIT $4 OFFSET $5");
    Ok((tx.query(&sql, &values)?.iter().map(note).collect::<Result<_, _>>()?, total))
}

/// # Errors
/// The database's.
pub fn edit(tx: &mut Tx, id: ChatNoteId, content: &str, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE chat_note SET content = $2, edited_at = $3 WHERE id = $1";
    tx.execute(sql, &[id.uuid().into(), content.into(), at.0.into()])?;
    Ok(())
}

/// Forgets what the note said.
///
/// # Errors
/// The database's.
pub fn delete(tx: &mut Tx, id: ChatNoteId, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE chat_note SET content = '', deleted_at = $2 WHERE id = $1";
    tx.execute(sql, &[id.uuid().into(), at.0.into()])?;
    Ok(())
}

const fn account(author: NoteAuthor) -> Option<AccountId> {
    match author {
        NoteAuthor::Account(id) => Some(id),
        NoteAuthor::Owner | NoteAuthor::Removed => None,
    }
}

fn note(row: &Row) -> Result<ChatNote, StoreError> {
    let account = row.get::<Option<Uuid>>(4)?.map(AccountId::from_uuid);
    let by_owner = row.get::<i64>(5)? != 0;
    Ok(ChatNote {
        id: ChatNoteId::from_uuid(row.get::<Uuid>(0)?),
        chat: ChatId::from_uuid(row.get::<Uuid>(1)?),
        after: row.get::<Option<Uuid>>(2)?.map(ChatMessageId::from_uuid),
        content: row.get(3)?,
        author: match account {
            Some(account) => NoteAuthor::Account(account),
            None if by_owner => NoteAuthor::Owner,
            None => NoteAuthor::Removed,
        },
        author_name: row.get(6)?,
        created_at: Timestamp(row.get(7)?),
        edited_at: row.get::<Option<i64>>(8)?.map(Timestamp),
    })
}
