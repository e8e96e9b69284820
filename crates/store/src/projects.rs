//! Projects, the conversations about them, and the numbers by which their API knows both them and their rows.

use domain::{AccountId, Conversation, ConversationId, Home, MessageId, Project, ProjectName, ProjectSource, Timestamp};
use uuid::Uuid;

use crate::conversations::{COLUMNS, conversation, escape_like};
use crate::{Row, StoreError, Tx, Value};

/// The registered projects, by name.
///
/// # Errors
/// The database's.
pub fn registered(tx: &mut Tx) -> Result<Vec<Project>, StoreError> {
    tx.query("SELECT name, path FROM assistant_project ORDER BY name", &[])?.iter().map(project).collect()
}

/// # Errors
/// The database's.
pub fn find(tx: &mut Tx, name: &ProjectName) -> Result<Option<Project>, StoreError> {
    let row = tx.query_one("SELECT name, path FROM assistant_project WHERE name = $1", &[name.as_str().into()])?;
    row.map(|row| project(&row)).transpose()
}

/// # Errors
/// [`StoreError::Duplicate`]: there is one of this name; or the database's.
pub fn register(tx: &mut Tx, name: &ProjectName, path: &str, at: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO assistant_project (name, path, created_at) VALUES ($1, $2, $3)";
    tx.execute(sql, &[name.as_str().into(), path.into(), at.0.into()])?;
    Ok(())
}

/// Forgets the registration; conversations stay. Says whether it was there.
///
/// # Errors
/// The database's.
pub fn unregister(tx: &mut Tx, name: &ProjectName) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM assistant_project WHERE name = $1", &[name.as_str().into()])? > 0)
}

/// A conversation with what its own API knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    pub number: i64,
    pub project: ProjectName,
    pub conversation: Conversation,
    /// Rows of its transcript.
    pub rows: i64,
}

/// Gives a conversation its number.
///
/// # Errors
/// The database's.
pub fn number_conversation(tx: &mut Tx, conversation: ConversationId, project: &ProjectName) -> Result<i64, StoreError> {
    let number = next(tx, "assistant_conversation")?;
    let sql = "INSERT INTO assistant_conversation (number, conversation_id, project_name) VALUES ($1, $2, $3)";
    tx.execute(sql, &[number.into(), conversation.uuid().into(), project.as_str().into()])?;
    Ok(number)
}

/// # Errors
/// The database's.
pub fn by_number(tx: &mut Tx, project: &ProjectName, number: i64) -> Result<Option<Numbered>, StoreError> {
    let sql = select("WHERE a.number = $1 AND a.project_name = $2");
    tx.query_one(&sql, &[number.into(), project.as_str().into()])?.map(|row| numbered(&row)).transpose()
}

/// # Errors
/// The database's.
pub fn by_id(tx: &mut Tx, id: ConversationId) -> Result<Option<Numbered>, StoreError> {
    let sql = select("WHERE a.conversation_id = $1");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| numbered(&row)).transpose()
}

/// Which conversations of a project to list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Only those in whose title or transcript these words occur.
    pub words: Option<String>,
    /// Only those that stand behind the one of this number.
    pub before: Option<i64>,
    pub limit: Option<u32>,
}

/// The conversations about a project, those that changed last first, then those made last.
///
/// # Errors
/// The database's.
pub fn list(tx: &mut Tx, project: &ProjectName, page: &Page) -> Result<Vec<Numbered>, StoreError> {
    let mut sql = select("WHERE a.project_name = $1 AND c.home = $2");
    let mut values: Vec<Value> = vec![project.as_str().into(), Home::Project.as_str().into()];
    if let Some(words) = &page.words {
        let dialect = tx.dialect();
        let Some(query) = dialect.search_query(words) else { return Ok(Vec::new()) };
        values.push(query.into());
        values.push(format!("%{}%", escape_like(words.trim())).into());
        sql += &format!(" AND ({} OR c.title {} $4 ESCAPE '!')", dialect.conversation_matches(), dialect.like());
    }
    if let Some(before) = page.before {
        let Some(before) = by_number(tx, project, before)? else { return Ok(Vec::new()) };
        let n = values.len();
        sql += &format!(" AND (c.updated_at, a.number) < (${}, ${})", n + 1, n + 2);
        values.extend([before.conversation.updated_at.0.into(), before.number.into()]);
    }
    sql += " ORDER BY c.updated_at DESC, a.number DESC";
    if let Some(limit) = page.limit {
        values.push(i64::from(limit).into());
        sql += &format!(" LIMIT ${}", values.len());
    }
    tx.query(&sql, &values)?.iter().map(numbered).collect()
}

/// A row of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub number: i64,
    /// A person's message, or the first assistant message of a turn.
    pub message: MessageId,
}

/// Gives a row its number. It is not shown yet.
///
/// # Errors
/// The database's.
pub fn number_row(tx: &mut Tx, conversation: ConversationId, message: MessageId) -> Result<i64, StoreError> {
    let number = next(tx, "assistant_row")?;
    let sql = "INSERT INTO assistant_row (number, conversation_id, message_id, shown) VALUES ($1, $2, $3, 0)";
    tx.execute(sql, &[number.into(), conversation.uuid().into(), message.uuid().into()])?;
    Ok(number)
}

/// # Errors
/// The database's.
pub fn show_row(tx: &mut Tx, message: MessageId) -> Result<(), StoreError> {
    tx.execute("UPDATE assistant_row SET shown = 1 WHERE message_id = $1", &[message.uuid().into()])?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn row_number(tx: &mut Tx, message: MessageId) -> Result<Option<i64>, StoreError> {
    let row = tx.query_one("SELECT number FROM assistant_row WHERE message_id = $1", &[message.uuid().into()])?;
    row.map(|row| row.get(0)).transpose()
}

/// What of a conversation is shown, in the order in which it began.
///
/// # Errors
/// The database's.
pub fn rows(tx: &mut Tx, conversation: ConversationId) -> Result<Vec<Shown>, StoreError> {
    let rows = tx.query(
        "SELECT r.number, r.message_id FROM assistant_row r JOIN message m ON m.id = r.message_id \
         WHERE r.conversation_id = $1 AND r.shown = 1 ORDER BY m.place",
        &[conversation.uuid().into()],
    )?;
    rows.iter().map(|row| Ok(Shown { number: row.get(0)?, message: MessageId::from_uuid(row.get::<Uuid>(1)?) })).collect()
}

/// Makes it the conversation that this account last started in the project.
///
/// # Errors
/// The database's.
pub fn start_session(
    tx: &mut Tx,
    project: &ProjectName,
    account: AccountId,
    conversation: ConversationId,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO assistant_session (project_name, account_id, conversation_id) VALUES ($1, $2, $3) \
         ON CONFLICT (project_name, account_id) DO UPDATE SET conversation_id = excluded.conversation_id",
        &[project.as_str().into(), account.uuid().into(), conversation.uuid().into()],
    )?;
    Ok(())
}

/// The conversation of the account's session.
///
/// # Errors
/// The database's.
pub fn session(tx: &mut Tx, project: &ProjectName, account: AccountId) -> Result<Option<Numbered>, StoreError> {
    let sql = select("JOIN assistant_session s ON s.conversation_id = c.id WHERE s.project_name = $1 AND s.account_id = $2");
    tx.query_one(&sql, &[project.as_str().into(), account.uuid().into()])?.map(|row| numbered(&row)).transpose()
}

/// The names of the projects in which the account has a session, sorted.
///
/// # Errors
/// The database's.
pub fn sessions(tx: &mut Tx, account: AccountId) -> Result<Vec<ProjectName>, StoreError> {
    let sql = "SELECT project_name FROM assistant_session WHERE account_id = $1";
    let mut names = tx.query(sql, &[account.uuid().into()])?.iter().map(|row| name(row, 0)).collect::<Result<Vec<_>, _>>()?;
    // Databases differ in what they call sorted.
    names.sort();
    Ok(names)
}

/// Says whether there was one.
///
/// # Errors
/// The database's.
pub fn end_session(tx: &mut Tx, project: &ProjectName, account: AccountId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM assistant_session WHERE project_name = $1 AND account_id = $2";
    Ok(tx.execute(sql, &[project.as_str().into(), account.uuid().into()])? > 0)
}

/// The question for [`Numbered`] rows, with the rest of it behind.
fn select(rest: &str) -> String {
    format!(
        "SELECT {COLUMNS}, a.number, a.project_name, \
             (SELECT COUNT(*) FROM assistant_row r WHERE r.conversation_id = c.id AND r.shown = 1) \
         FROM conversation c JOIN assistant_conversation a ON a.conversation_id = c.id {rest}"
    )
}

/// Locks the series until the transaction ends, so that numbers become visible in their order.
fn next(tx: &mut Tx, series: &str) -> Result<i64, StoreError> {
    let row = tx.query_one("UPDATE number_series SET last = last + 1 WHERE name = $1 RETURNING last", &[series.into()])?;
    row.ok_or_else(|| StoreError::Failed(format!("no series {series}")))?.get(0)
}

fn project(row: &Row) -> Result<Project, StoreError> {
    Ok(Project { name: name(row, 0)?, path: row.get::<String>(1)?.into(), source: ProjectSource::Registered })
}

fn name(row: &Row, column: usize) -> Result<ProjectName, StoreError> {
    let name: String = row.get(column)?;
    ProjectName::parse(&name).ok_or_else(|| StoreError::Failed(format!("stored project name {name:?}")))
}

fn numbered(row: &Row) -> Result<Numbered, StoreError> {
    let own = crate::conversations::COLUMN_COUNT;
    Ok(Numbered {
        conversation: conversation(row)?,
        number: row.get(own)?,
        project: name(row, own + 1)?,
        rows: row.get(own + 2)?,
    })
}
