//! Messages and their parts. Both are paged from the end, so that a long conversation costs no more than a short one.

use std::collections::HashMap;

use domain::{AccountId, Author, ConversationId, Message, MessageId, Part, PartBody, PartId, Place, Seq, Timestamp, TurnId};
use uuid::Uuid;

use crate::{Row, StoreError, Tx, Value, dialect};

const MESSAGE_COLUMNS: &str = "m.id, m.conversation_id, m.place, m.author, m.account_id, m.turn_id, m.client_id, m.created_at";
const PART_COLUMNS: &str = "p.id, p.message_id, p.ordinal, p.place, p.kind, p.text, p.body, p.created_at";

/// Stores the message without its parts. `fingerprint` tells a repeat of its client id from another message.
///
/// # Errors
/// [`StoreError::Duplicate`]: the author has used the client id in this conversation; or the database's.
pub fn insert(tx: &mut Tx, message: &Message, fingerprint: Option<&str>) -> Result<(), StoreError> {
    let (author, account) = match message.author {
        Author::Person(account) => ("person", Some(account.uuid())),
        Author::Agent => ("agent", None),
        Author::System => ("system", None),
    };
    tx.later(
        "INSERT INTO message (id, conversation_id, place, author, account_id, turn_id, client_id, fingerprint, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            message.id.uuid().into(),
            message.conversation.uuid().into(),
            message.place.0.into(),
            author.into(),
            account.into(),
            message.turn.uuid().into(),
            message.client_id.as_deref().into(),
            fingerprint.into(),
            message.created_at.0.into(),
        ],
    )
}

/// Gives a message another place among those of its conversation.
///
/// # Errors
/// The database's.
pub fn put(tx: &mut Tx, id: MessageId, place: Place) -> Result<(), StoreError> {
    tx.execute("UPDATE message SET place = $2 WHERE id = $1", &[id.uuid().into(), place.0.into()]).map(|_| ())
}

/// Those of these parts that are stored, which means that they are complete.
///
/// # Errors
/// The database's.
pub fn existing_parts(tx: &mut Tx, ids: &[PartId]) -> Result<Vec<PartId>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = tx.query("SELECT id FROM part WHERE id = ANY($1)", &[ids.into()])?;
    rows.iter().map(|row| Ok(PartId::from_uuid(row.get::<Uuid>(0)?))).collect()
}

/// # Errors
/// The database's.
pub fn exists(tx: &mut Tx, id: MessageId) -> Result<bool, StoreError> {
    Ok(tx.query_one("SELECT 1 FROM message WHERE id = $1", &[id.uuid().into()])?.is_some())
}

/// Stores a part that is complete with event `seq`, and makes its text findable.
///
/// # Errors
/// The database's.
pub fn insert_part(tx: &mut Tx, conversation: ConversationId, part: &Part, seq: Seq) -> Result<(), StoreError> {
    let (kind, text, body) = split(&part.body)?;
    tx.execute(
        "INSERT INTO part (id, conversation_id, message_id, ordinal, place, seq, kind, text, body, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            part.id.uuid().into(),
            conversation.uuid().into(),
            part.message.uuid().into(),
            i64::from(part.ordinal).into(),
            part.place.0.into(),
            seq.0.into(),
            kind.into(),
            text,
            body,
            part.created_at.0.into(),
        ],
    )?;
    match &part.body {
        PartBody::Text { text } => dialect::index_part(tx, conversation.uuid(), part.id.uuid(), text),
        PartBody::Reasoning { .. } | PartBody::ToolCall(_) | PartBody::ToolResult(_) | PartBody::Opaque(_) => Ok(()),
    }
}

/// The message that this author sent under this client id, with its fingerprint.
///
/// # Errors
/// The database's.
pub fn by_client_id(
    tx: &mut Tx,
    conversation: ConversationId,
    account: AccountId,
    client_id: &str,
) -> Result<Option<(Message, String)>, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE_COLUMNS}, m.fingerprint FROM message m \
         WHERE m.conversation_id = $1 AND m.account_id = $2 AND m.client_id = $3"
    );
    let row = tx.query_one(&sql, &[conversation.uuid().into(), account.uuid().into(), client_id.into()])?;
    let Some(row) = row else { return Ok(None) };
    let fingerprint: Option<String> = row.get(8)?;
    let mut messages = vec![message(&row)?];
    fill_parts(tx, &mut messages, None)?;
    Ok(messages.pop().map(|message| (message, fingerprint.unwrap_or_default())))
}

/// A stretch of a conversation, taken from its end.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Only what stands before this place.
    pub before: Option<Place>,
    /// Only what was complete with this event.
    pub as_of: Option<Seq>,
    pub limit: Option<u32>,
}

impl Page {
    pub const ALL: Self = Self { before: None, as_of: None, limit: None };
}

/// The newest messages of the page, oldest first, with those of their parts that were complete.
///
/// # Errors
/// The database's.
pub fn page(tx: &mut Tx, conversation: ConversationId, page: Page) -> Result<Vec<Message>, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE_COLUMNS} FROM message m WHERE m.conversation_id = $1 AND m.place < $2 ORDER BY m.place DESC LIMIT $3"
    );
    let mut messages: Vec<Message> = tx
        .query(&sql, &[conversation.uuid().into(), end(page).into(), limit(page).into()])?
        .iter()
        .map(message)
        .collect::<Result<_, _>>()?;
    messages.reverse();
    fill_parts(tx, &mut messages, page.as_of)?;
    Ok(messages)
}

/// A text part with what a list of rows shows of its message.
#[derive(Debug, Clone, PartialEq)]
pub struct TextRow {
    pub part: Part,
    pub author: Author,
    pub turn: TurnId,
    pub client_id: Option<String>,
}

/// The newest text parts of the page, oldest first.
///
/// # Errors
/// The database's.
pub fn text_rows(tx: &mut Tx, conversation: ConversationId, page: Page) -> Result<Vec<TextRow>, StoreError> {
    let sql = format!(
        "SELECT {PART_COLUMNS}, m.author, m.account_id, m.turn_id, m.client_id FROM part p JOIN message m ON m.id = p.message_id \
         WHERE p.conversation_id = $1 AND p.kind = 'text' AND p.place < $2 AND p.seq <= $3 ORDER BY p.place DESC LIMIT $4"
    );
    let as_of = page.as_of.map_or(i64::MAX, |seq| seq.0);
    let values = [conversation.uuid().into(), end(page).into(), as_of.into(), limit(page).into()];
    let mut rows: Vec<TextRow> = tx.query(&sql, &values)?.iter().map(text_row).collect::<Result<_, _>>()?;
    rows.reverse();
    Ok(rows)
}

/// Where a message or a part of this conversation stands.
///
/// # Errors
/// The database's.
pub fn place_of(tx: &mut Tx, conversation: ConversationId, id: Uuid) -> Result<Option<Place>, StoreError> {
    for table in ["message", "part"] {
        let sql = format!("SELECT place FROM {table} WHERE id = $2 AND conversation_id = $1");
        if let Some(row) = tx.query_one(&sql, &[conversation.uuid().into(), id.into()])? {
            return Ok(Some(Place(row.get(0)?)));
        }
    }
    Ok(None)
}

/// All messages of these turns, in the order in which they began, with their parts.
///
/// # Errors
/// The database's.
pub fn of_turns(tx: &mut Tx, turns: &[TurnId]) -> Result<Vec<Message>, StoreError> {
    let ids: Vec<Uuid> = turns.iter().map(|turn| turn.uuid()).collect();
    let sql = format!("SELECT {MESSAGE_COLUMNS} FROM message m WHERE m.turn_id = ANY($1) ORDER BY m.place");
    let mut messages: Vec<Message> = tx.query(&sql, &[ids.into()])?.iter().map(message).collect::<Result<_, _>>()?;
    fill_parts(tx, &mut messages, None)?;
    Ok(messages)
}

/// These messages, with their parts.
///
/// # Errors
/// The database's.
pub fn by_ids(tx: &mut Tx, ids: &[MessageId]) -> Result<Vec<Message>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let sql = format!("SELECT {MESSAGE_COLUMNS} FROM message m WHERE m.id = ANY($1) ORDER BY m.place");
    let mut messages: Vec<Message> = tx.query(&sql, &[ids.into()])?.iter().map(message).collect::<Result<_, _>>()?;
    fill_parts(tx, &mut messages, None)?;
    Ok(messages)
}

/// Whether the agent has said anything in the turn that people read.
///
/// # Errors
/// The database's.
pub fn agent_has_spoken(tx: &mut Tx, turn: TurnId) -> Result<bool, StoreError> {
    let sql = "SELECT p.id FROM message m JOIN part p ON p.message_id = m.id \
         WHERE m.turn_id = $1 AND m.author = 'agent' AND p.kind = 'text' AND p.text <> '' LIMIT 1";
    Ok(tx.query_one(sql, &[turn.uuid().into()])?.is_some())
}

/// The messages of one turn, with those of their parts that were complete with event `as_of`.
///
/// # Errors
/// The database's.
pub fn of_turn_as_of(tx: &mut Tx, turn: TurnId, as_of: Seq) -> Result<Vec<Message>, StoreError> {
    let sql = format!("SELECT {MESSAGE_COLUMNS} FROM message m WHERE m.turn_id = $1 AND m.place < $2 ORDER BY m.place");
    let rows = tx.query(&sql, &[turn.uuid().into(), (Place::behind(as_of).0 + 1).into()])?;
    let mut messages: Vec<Message> = rows.iter().map(message).collect::<Result<_, _>>()?;
    fill_parts(tx, &mut messages, Some(as_of))?;
    Ok(messages)
}

/// The text part of the turn that a list of rows shows last: the agent's last, or the person's if the agent said nothing.
///
/// # Errors
/// The database's.
pub fn last_text_of_turn(tx: &mut Tx, turn: TurnId) -> Result<Option<PartId>, StoreError> {
    let row = tx.query_one(
        "SELECT p.id FROM message m JOIN part p ON p.message_id = m.id WHERE m.turn_id = $1 AND p.kind = 'text' AND p.text <> '' \
         ORDER BY m.author = 'agent' DESC, p.place DESC LIMIT 1",
        &[turn.uuid().into()],
    )?;
    row.map(|row| Ok(PartId::from_uuid(row.get::<Uuid>(0)?))).transpose()
}

/// The message that the agent began last in this turn, up to event `as_of`: while the turn runs, the one being written.
///
/// # Errors
/// The database's.
pub fn begun_last(tx: &mut Tx, turn: TurnId, as_of: Seq) -> Result<Option<MessageId>, StoreError> {
    let sql = "SELECT id FROM message WHERE turn_id = $1 AND author = 'agent' AND place <= $2 ORDER BY place DESC LIMIT 1";
    let row = tx.query_one(sql, &[turn.uuid().into(), Place::behind(as_of).0.into()])?;
    row.map(|row| Ok(MessageId::from_uuid(row.get::<Uuid>(0)?))).transpose()
}

/// The last assistant message of each of these turns that a list of messages shows: the last one with parts, or the first.
///
/// # Errors
/// The database's.
pub fn last_of_turns(tx: &mut Tx, turns: &[TurnId]) -> Result<Vec<MessageId>, StoreError> {
    let ids: Vec<Uuid> = turns.iter().map(|turn| turn.uuid()).collect();
    let rows = tx.query(
        "SELECT (SELECT m.id FROM message m WHERE m.turn_id = t.id AND m.author = 'agent' \
             AND (m.id = t.reply_id OR EXISTS (SELECT 1 FROM part p WHERE p.message_id = m.id)) ORDER BY m.place DESC LIMIT 1) \
         FROM turn t WHERE t.id = ANY($1)",
        &[ids.into()],
    )?;
    rows.iter().filter_map(|row| row.get::<Option<Uuid>>(0).map(|id| id.map(MessageId::from_uuid)).transpose()).collect()
}

/// Whether a person's message joined the turn after event `seq`.
///
/// # Errors
/// The database's.
pub fn joined_after(tx: &mut Tx, turn: TurnId, seq: Seq) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM message WHERE turn_id = $1 AND author = 'person' AND place > $2 LIMIT 1";
    Ok(tx.query_one(sql, &[turn.uuid().into(), Place::at(seq).0.into()])?.is_some())
}

/// Whether a tool call of this conversation has the id already.
///
/// # Errors
/// The database's.
pub fn tool_call_exists(tx: &mut Tx, conversation: ConversationId, call_id: &str) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM part WHERE conversation_id = $1 AND kind = 'tool_call' AND text = $2 LIMIT 1";
    Ok(tx.query_one(sql, &[conversation.uuid().into(), call_id.into()])?.is_some())
}

/// One part by its id.
///
/// # Errors
/// The database's.
pub fn part_by_id(tx: &mut Tx, id: PartId) -> Result<Option<Part>, StoreError> {
    let sql = format!("SELECT {PART_COLUMNS} FROM part p WHERE p.id = $1");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| part(&row)).transpose()
}

fn end(page: Page) -> i64 {
    let as_of = page.as_of.map_or(i64::MAX, |seq| Place::behind(seq).0 + 1);
    page.before.map_or(as_of, |place| place.0.min(as_of))
}

fn limit(page: Page) -> i64 {
    page.limit.map_or(i64::MAX, i64::from)
}

fn fill_parts(tx: &mut Tx, messages: &mut [Message], as_of: Option<Seq>) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = messages.iter().map(|message| message.id.uuid()).collect();
    let sql = format!(
        "SELECT {PART_COLUMNS} FROM part p WHERE p.message_id = ANY($1) AND p.seq <= $2 ORDER BY p.message_id, p.ordinal"
    );
    let rows = tx.query(&sql, &[ids.into(), as_of.map_or(i64::MAX, |seq| seq.0).into()])?;
    let mut parts: HashMap<MessageId, Vec<Part>> = HashMap::new();
    for row in &rows {
        let part = part(row)?;
        parts.entry(part.message).or_default().push(part);
    }
    for message in messages {
        message.parts = parts.remove(&message.id).unwrap_or_default();
    }
    Ok(())
}

/// What of a body goes into which column. The `text` of a tool call is its id, so that one index-free look-up finds it.
fn split(body: &PartBody) -> Result<(&'static str, Value, Value), StoreError> {
    let json = || serde_json::to_string(body).map_err(|e| StoreError::Failed(e.to_string()));
    Ok(match body {
        PartBody::Text { text } => ("text", text.as_str().into(), Value::Null),
        PartBody::Reasoning { .. } => ("reasoning", Value::Null, json()?.into()),
        PartBody::ToolCall(call) => ("tool_call", call.id.as_str().into(), json()?.into()),
        PartBody::ToolResult(_) => ("tool_result", Value::Null, json()?.into()),
        PartBody::Opaque(_) => ("opaque", Value::Null, json()?.into()),
    })
}

fn message(row: &Row) -> Result<Message, StoreError> {
    Ok(Message {
        id: MessageId::from_uuid(row.get::<Uuid>(0)?),
        conversation: ConversationId::from_uuid(row.get::<Uuid>(1)?),
        place: Place(row.get(2)?),
        author: author(row, 3)?,
        turn: TurnId::from_uuid(row.get::<Uuid>(5)?),
        client_id: row.get(6)?,
        created_at: Timestamp(row.get(7)?),
        parts: Vec::new(),
    })
}

/// Reads the author from column `first` and the account in the column behind it.
fn author(row: &Row, first: usize) -> Result<Author, StoreError> {
    match row.get::<String>(first)?.as_str() {
        "person" => Ok(Author::Person(AccountId::from_uuid(row.get::<Uuid>(first + 1)?))),
        "agent" => Ok(Author::Agent),
        "system" => Ok(Author::System),
        other => Err(StoreError::Failed(format!("stored author {other:?}"))),
    }
}

pub(crate) fn part(row: &Row) -> Result<Part, StoreError> {
    part_at(row, 0)
}

/// Reads the columns of [`PART_COLUMNS`] from column `first` on.
pub(crate) fn part_at(row: &Row, first: usize) -> Result<Part, StoreError> {
    let kind: String = row.get(first + 4)?;
    let body = if kind == "text" {
        PartBody::Text { text: row.get(first + 5)? }
    } else {
        serde_json::from_str(&row.get::<String>(first + 6)?).map_err(|e| StoreError::Failed(format!("stored part: {e}")))?
    };
    Ok(Part {
        id: PartId::from_uuid(row.get::<Uuid>(first)?),
        message: MessageId::from_uuid(row.get::<Uuid>(first + 1)?),
        ordinal: u32::try_from(row.get::<i64>(first + 2)?).unwrap_or(0),
        place: Place(row.get(first + 3)?),
        body,
        created_at: Timestamp(row.get(first + 7)?),
    })
}

fn text_row(row: &Row) -> Result<TextRow, StoreError> {
    Ok(TextRow {
        part: part(row)?,
        author: author(row, 8)?,
        turn: TurnId::from_uuid(row.get::<Uuid>(10)?),
        client_id: row.get(11)?,
    })
}
