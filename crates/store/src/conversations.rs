//! Conversations: their own row, their list, and the number of their last event.

use domain::{AccountId, Conversation, ConversationId, Home, Mode, ModelName, Seq, Timestamp};
use uuid::Uuid;

use crate::{Row, StoreError, Tx, Value, dialect};

/// Of a conversation `c`, as [`conversation`] reads them.
pub(crate) const COLUMNS: &str = "c.id, c.owner_id, c.title, c.model, c.mode, c.workdir, c.created_at, c.updated_at, c.home, \
    EXISTS (SELECT 1 FROM turn t JOIN node n ON n.id = t.node_id WHERE t.conversation_id = c.id AND t.state = 'running')";

/// How many they are.
pub(crate) const COLUMN_COUNT: usize = 10;

/// Stores a new conversation without events.
///
/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, conversation: &Conversation) -> Result<(), StoreError> {
    tx.later(
        "INSERT INTO conversation (id, owner_id, title, model, mode, workdir, created_at, updated_at, home, seq, epoch) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 1)",
        &[
            conversation.id.uuid().into(),
            conversation.owner.uuid().into(),
            conversation.title.as_str().into(),
            conversation.model.to_string().into(),
            conversation.mode.as_str().into(),
            conversation.workdir.to_string_lossy().into_owned().into(),
            conversation.created_at.0.into(),
            conversation.updated_at.0.into(),
            conversation.home.as_str().into(),
        ],
    )
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM conversation c WHERE c.id = $1");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| conversation(&row)).transpose()
}

/// Which conversations to list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub home: Home,
    /// Only those in whose title or transcript these words occur.
    pub words: Option<String>,
    /// Only those that stand behind this one.
    pub before: Option<ConversationId>,
    /// All, if there is no limit.
    pub limit: Option<u32>,
}

/// The owner's conversations, those that changed last first (equal: those created last).
///
/// # Errors
/// The database's.
pub fn list(tx: &mut Tx, owner: AccountId, page: &Page) -> Result<Vec<Conversation>, StoreError> {
    let mut sql = format!("SELECT {COLUMNS} FROM conversation c WHERE c.owner_id = $1 AND c.home = $2");
    let mut values: Vec<Value> = vec![owner.uuid().into(), page.home.as_str().into()];
    if let Some(words) = &page.words {
        let Some(query) = tx.dialect().search_query(words) else { return Ok(Vec::new()) };
        values.push(query.into());
        values.push(format!("%{}%", escape_like(words.trim())).into());
        let dialect = tx.dialect();
        sql += &format!(" AND ({} OR c.title {} $4 ESCAPE '!')", dialect.conversation_matches(), dialect.like());
    }
    if let Some(before) = page.before {
        let Some(before) = get(tx, before)? else { return Ok(Vec::new()) };
        let n = values.len();
        sql += &format!(" AND (c.updated_at, c.created_at, c.id) < (${}, ${}, ${})", n + 1, n + 2, n + 3);
        values.extend([before.updated_at.0.into(), before.created_at.0.into(), before.id.uuid().into()]);
    }
    sql += " ORDER BY c.updated_at DESC, c.created_at DESC, c.id DESC";
    if let Some(limit) = page.limit {
        values.push(i64::from(limit).into());
        sql += &format!(" LIMIT ${}", values.len());
    }
    tx.query(&sql, &values)?.iter().map(conversation).collect()
}

pub(crate) fn escape_like(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

/// Stores title, model, mode, directory and `updated_at` as they are in `conversation`.
///
/// # Errors
/// The database's.
pub fn update(tx: &mut Tx, conversation: &Conversation) -> Result<(), StoreError> {
    tx.later(
        "UPDATE conversation SET title = $2, model = $3, mode = $4, workdir = $5, updated_at = $6 WHERE id = $1",
        &[
            conversation.id.uuid().into(),
            conversation.title.as_str().into(),
            conversation.model.to_string().into(),
            conversation.mode.as_str().into(),
            conversation.workdir.to_string_lossy().into_owned().into(),
            conversation.updated_at.0.into(),
        ],
    )
}

/// Says that the conversation has changed. Time never runs backwards in it.
///
/// # Errors
/// The database's.
pub fn touch(tx: &mut Tx, id: ConversationId, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE conversation SET updated_at = $2 WHERE id = $1 AND updated_at < $2";
    tx.later(sql, &[id.uuid().into(), at.0.into()])
}

/// The end of a conversation's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub epoch: i64,
    pub seq: Seq,
}

/// The end of the log; `None` if the conversation does not exist.
///
/// # Errors
/// The database's.
pub fn head(tx: &mut Tx, id: ConversationId) -> Result<Option<Head>, StoreError> {
    let row = tx.query_one("SELECT epoch, seq FROM conversation WHERE id = $1", &[id.uuid().into()])?;
    row.map(|row| Ok(Head { epoch: row.get(0)?, seq: Seq(row.get(1)?) })).transpose()
}

/// The ends of those of these logs that exist.
///
/// # Errors
/// The database's.
pub fn heads(tx: &mut Tx, ids: &[ConversationId]) -> Result<Vec<(ConversationId, Head)>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = tx.query("SELECT id, epoch, seq FROM conversation WHERE id = ANY($1)", &[ids.into()])?;
    let head = |row: &Row| Ok((ConversationId::from_uuid(row.get(0)?), Head { epoch: row.get(1)?, seq: Seq(row.get(2)?) }));
    rows.iter().map(head).collect()
}

/// Shuts out whoever held the conversation's turn before; returns the new epoch.
///
/// # Errors
/// The database's.
pub fn raise_epoch(tx: &mut Tx, id: ConversationId) -> Result<Option<i64>, StoreError> {
    let row = tx.query_one("UPDATE conversation SET epoch = epoch + 1 WHERE id = $1 RETURNING epoch", &[id.uuid().into()])?;
    row.map(|row| row.get(0)).transpose()
}

/// What belongs to a conversation, by its `conversation_id`.
const TABLES: [&str; 10] = [
    "delta",
    "event",
    "part",
    "message",
    "turn",
    "question",
    "tool_start",
    "assistant_session",
    "assistant_row",
    "assistant_conversation",
];

/// Removes the conversation and all that belongs to it. Says whether it was there.
///
/// # Errors
/// The database's.
pub fn delete(tx: &mut Tx, id: ConversationId) -> Result<bool, StoreError> {
    let key: [Value; 1] = [id.uuid().into()];
    dialect::unindex_conversation(tx, id.uuid())?;
    for table in TABLES {
        tx.later(&format!("DELETE FROM {table} WHERE conversation_id = $1"), &key)?;
    }
    Ok(tx.execute("DELETE FROM conversation WHERE id = $1", &key)? > 0)
}

pub(crate) fn conversation(row: &Row) -> Result<Conversation, StoreError> {
    let model: String = row.get(3)?;
    let mode: String = row.get(4)?;
    let home: String = row.get(8)?;
    Ok(Conversation {
        id: ConversationId::from_uuid(row.get::<Uuid>(0)?),
        owner: AccountId::from_uuid(row.get::<Uuid>(1)?),
        home: Home::parse(&home).ok_or_else(|| StoreError::Failed(format!("stored home {home:?}")))?,
        title: row.get(2)?,
        model: ModelName::parse(&model).ok_or_else(|| StoreError::Failed(format!("stored model {model:?}")))?,
        mode: Mode::parse(&mode).ok_or_else(|| StoreError::Failed(format!("stored mode {mode:?}")))?,
        workdir: row.get::<String>(5)?.into(),
        created_at: Timestamp(row.get(6)?),
        updated_at: Timestamp(row.get(7)?),
        busy: row.get::<i64>(9)? != 0,
    })
}
