//! A data set in a SQLite file: opened anew for each run, read-only, behind an authorizer that denies by default.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch as Statements, Connection, ErrorCode, OpenFlags, Statement};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::functions;
use super::guard::MAX_SQL_BYTES;
use super::run::{BATCH_ROWS, Batch, Cell, CellRow, CellType, Limits, Meter, Ran, ResultColumn, RunError, distinct_names};
use super::schema::{Column, Engine, Relation, Schema};

/// Bytes of one value. A query that makes longer ones grows without end.
const MAX_VALUE_BYTES: i32 = 4_000_000;
const MAX_EXPRESSION_DEPTH: i32 = 200;
const MAX_COMPOUND_SELECTS: i32 = 50;
const MAX_PROGRAM_OPS: i32 = 250_000;
/// Steps of SQLite's machine between two looks at the clock: some ten microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 1_000;

/// The file. The schema is the snapshot that the authorizer compares with.
#[derive(Debug, Clone)]
pub struct SqliteSet {
    path: PathBuf,
}

impl SqliteSet {
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every table and view of the file, none of them allowed.
    ///
    /// # Errors
    /// [`RunError::Unavailable`].
    pub fn schema(&self) -> Result<Schema, RunError> {
        let connection = self.open()?;
        let read = || -> rusqlite::Result<Vec<Relation>> {
            let sql =
                "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY name";
            let mut statement = connection.prepare(sql)?;
            let names = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            names.map(|name| name.and_then(|(name, kind)| relation(&connection, name, kind == "view"))).collect()
        };
        let relations = read().map_err(|error| unavailable(&error))?;
        Ok(Schema { engine: Engine::Sqlite, name: "main".to_owned(), relations })
    }

    /// Runs one statement and sends what it gives; blocks. Whatever the statement is, it changes nothing.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn run(
        &self,
        sql: &str,
        schema: &Arc<Schema>,
        limits: Limits,
        cancel: &CancellationToken,
        rows: &Sender<Batch>,
    ) -> Result<Ran, RunError> {
        let deadline = Instant::now() + limits.time();
        let connection = self.fenced(schema, deadline, cancel)?;
        let failed = |error: rusqlite::Error| failure(&error, cancel);
        let mut statements = Statements::new(&connection, sql);
        let mut statement =
            statements.next().map_err(failed)?.ok_or_else(|| RunError::Mistake("there is no query".to_owned()))?;
        if !statement.readonly() || statement.column_count() == 0 || statement.is_explain() != 0 {
            return Err(RunError::Forbidden("only a query is allowed".to_owned()));
        }
        if statements.next().map_or(true, |second| second.is_some()) {
            return Err(RunError::Forbidden("exactly one statement is allowed".to_owned()));
        }
        send(&mut statement, limits, rows).map_err(|error| match error {
            Stop::Database(error) => failure(&error, cancel),
            Stop::Abandoned => RunError::Abandoned,
        })
    }

    /// Looks at a statement without running it.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn plan(&self, sql: &str, schema: &Arc<Schema>, limits: Limits) -> Result<(), RunError> {
        let cancel = CancellationToken::new();
        let connection = self.fenced(schema, Instant::now() + limits.time(), &cancel)?;
        connection.prepare(sql).map(drop).map_err(|error| failure(&error, &cancel))
    }

    fn open(&self) -> Result<Connection, RunError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&self.path, flags).map_err(|error| unavailable(&error))
    }

    fn fenced(&self, schema: &Arc<Schema>, deadline: Instant, cancel: &CancellationToken) -> Result<Connection, RunError> {
        let mut connection = self.open()?;
        let mut set_up = || -> rusqlite::Result<()> {
            connection.pragma_update(None, "query_only", true)?;
            connection.pragma_update(None, "cell_size_check", true)?;
            connection.pragma_update(None, "temp_store", "MEMORY")?;
            for (config, value) in [
                (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
                (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
                (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
                (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
            ] {
                connection.set_db_config(config, value)?;
            }
            for (limit, value) in [
                (Limit::SQLITE_LIMIT_ATTACHED, 0),
                (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES),
                (Limit::SQLITE_LIMIT_SQL_LENGTH, i32::try_from(MAX_SQL_BYTES).unwrap_or(i32::MAX)),
                (Limit::SQLITE_LIMIT_EXPR_DEPTH, MAX_EXPRESSION_DEPTH),
                (Limit::SQLITE_LIMIT_COMPOUND_SELECT, MAX_COMPOUND_SELECTS),
                (Limit::SQLITE_LIMIT_VDBE_OP, MAX_PROGRAM_OPS),
                (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
            ] {
                connection.set_limit(limit, value)?;
            }
            let cancel = cancel.clone();
            connection
                .progress_handler(STEPS_BETWEEN_LOOKS, Some(move || cancel.is_cancelled() || Instant::now() >= deadline))?;
            let fence = Fence::new(Arc::clone(schema));
            connection.authorizer(Some(move |context: AuthContext<'_>| fence.allows(&context)))
        };
        set_up().map_err(|error| unavailable(&error))?;
        Ok(connection)
    }
}

enum Stop {
    Database(rusqlite::Error),
    Abandoned,
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

fn send(statement: &mut Statement<'_>, limits: Limits, sender: &Sender<Batch>) -> Result<Ran, Stop> {
    let declared: Vec<Option<CellType>> = statement.columns().map(|column| declared_type(column.decl_type())).collect();
    let names = distinct_names(statement.column_names().map(str::to_owned));
    let mut meter = Meter::new(limits);
    let (mut waiting, mut told, mut truncated) = (Vec::new(), false, false);
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let read = |(index, declared): (usize, &Option<CellType>)| Ok(cell(row.get_ref(index)?, *declared));
        let row: CellRow = declared.iter().enumerate().map(read).collect::<rusqlite::Result<_>>()?;
        if !meter.takes(&row) {
            truncated = true;
            break;
        }
        waiting.push(row);
        if waiting.len() == BATCH_ROWS {
            hand_over(sender, &names, &declared, &mut told, &mut waiting)?;
        }
    }
    hand_over(sender, &names, &declared, &mut told, &mut waiting)?;
    Ok(Ran { rows: meter.rows(), truncated, cost: None })
}

/// The types are known when the first rows are: an expression has none of its own.
fn hand_over(
    sender: &Sender<Batch>,
    names: &[String],
    declared: &[Option<CellType>],
    told: &mut bool,
    waiting: &mut Vec<CellRow>,
) -> Result<(), Stop> {
    if !std::mem::replace(told, true) {
        let column = |(index, name): (usize, &String)| ResultColumn {
            name: name.clone(),
            cell_type: declared[index].unwrap_or_else(|| seen_type(waiting, index)),
        };
        let columns = names.iter().enumerate().map(column).collect();
        sender.blocking_send(Batch::Columns(columns)).map_err(|_| Stop::Abandoned)?;
    }
    if waiting.is_empty() {
        return Ok(());
    }
    let rows = std::mem::replace(waiting, Vec::with_capacity(BATCH_ROWS));
    sender.blocking_send(Batch::Rows(rows)).map_err(|_| Stop::Abandoned)
}

fn seen_type(rows: &[CellRow], index: usize) -> CellType {
    let mut seen = None;
    for row in rows {
        let one = match &row[index] {
            Cell::Null => continue,
            Cell::Int(_) => CellType::Integer,
            Cell::Float(_) => CellType::Float,
            Cell::Bool(_) => CellType::Boolean,
            Cell::Text(_) => CellType::Text,
            Cell::Bytes(_) => CellType::Bytes,
        };
        seen = match seen {
            None => Some(one),
            Some(before) if before == one => seen,
            Some(CellType::Integer | CellType::Float) if one.is_number() => Some(CellType::Float),
            Some(_) => return CellType::Text,
        };
    }
    seen.unwrap_or(CellType::Text)
}

fn cell(value: ValueRef<'_>, declared: Option<CellType>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number @ (0 | 1)) if declared == Some(CellType::Boolean) => Cell::Bool(number == 1),
        ValueRef::Integer(number) => Cell::Int(number),
        ValueRef::Real(number) if number.is_nan() => Cell::Null,
        ValueRef::Real(number) => Cell::Float(number),
        ValueRef::Text(text) if declared == Some(CellType::Timestamp) => Cell::Text(timestamp(&String::from_utf8_lossy(text))),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
    }
}

/// `2025-01-14 09:00:00`, as SQLite's own functions write it, becomes `2025-01-14T09:00:00`. Other words stay.
fn timestamp(text: &str) -> String {
    match text.split_once(' ') {
        Some((day, time)) if day.len() == "2025-01-14".len() && time.starts_with(|char: char| char.is_ascii_digit()) => {
            format!("{day}T{time}")
        }
        _ => text.to_owned(),
    }
}

fn declared_type(declared: Option<&str>) -> Option<CellType> {
    let declared = declared?.to_ascii_lowercase();
    let base = declared.split('(').next().unwrap_or_default().trim();
    Some(match base {
        "date" => CellType::Date,
        "datetime" | "timestamp" => CellType::Timestamp,
        "boolean" | "bool" => CellType::Boolean,
        "json" => CellType::Json,
        "real" | "double" | "float" | "double precision" => CellType::Float,
        "blob" => CellType::Bytes,
        name if name.contains("int") => CellType::Integer,
        name if name.contains("char") || name.contains("text") || name.contains("clob") => CellType::Text,
        // What may hold either is known by its values.
        _ => return None,
    })
}

/// What a statement may do: an allow-list, asked by SQLite while it prepares the statement.
struct Fence {
    schema: Arc<Schema>,
    /// By name in lower case.
    places: HashMap<String, usize>,
}

impl Fence {
    fn new(schema: Arc<Schema>) -> Self {
        let places = schema.relations.iter().enumerate().map(|(at, relation)| (relation.name.to_lowercase(), at)).collect();
        Self { schema, places }
    }

    fn allows(&self, context: &AuthContext<'_>) -> Authorization {
        let allowed = match context.action {
            AuthAction::Select | AuthAction::Recursive => true,
            AuthAction::Function { function_name } => functions::is_allowed(Engine::Sqlite, &function_name.to_ascii_lowercase()),
            AuthAction::Read { table_name, column_name } => self.may_read(table_name, column_name, context),
            _ => false,
        };
        if allowed { Authorization::Allow } else { Authorization::Deny }
    }

    fn may_read(&self, table: &str, column: &str, context: &AuthContext<'_>) -> bool {
        // What an allowed view reads was decided by whoever made the view.
        if context.accessor.is_some_and(|view| self.relation(view).is_some_and(|view| view.allowed && view.is_view)) {
            return true;
        }
        match self.relation(table) {
            Some(relation) if !relation.allowed => false,
            Some(relation) => match relation.columns.iter().find(|known| known.name.eq_ignore_ascii_case(column)) {
                Some(known) => known.allowed,
                // No column at all, as in `count(*)`, or the hidden row number.
                None => column.is_empty() || !relation.is_restricted(),
            },
            // A subquery has neither column nor database. Without the look at the name, a table that is merely counted, or
            // one of SQLite's own, would pass as one.
            None => column.is_empty() && context.database_name.is_none() && !is_sqlites_own(table),
        }
    }

    fn relation(&self, name: &str) -> Option<&Relation> {
        self.places.get(&name.to_lowercase()).map(|at| &self.schema.relations[*at])
    }
}

fn is_sqlites_own(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let modules = [
        "json_each",
        "json_tree",
        "jsonb_each",
        "jsonb_tree",
        "dbstat",
        "bytecode",
        "tables_used",
        "fts5vocab",
        "generate_series",
    ];
    name.starts_with("sqlite_") || name.starts_with("pragma_") || modules.contains(&name.as_str())
}

fn relation(connection: &Connection, name: String, is_view: bool) -> rusqlite::Result<Relation> {
    let references: HashMap<String, String> = connection
        .prepare("SELECT \"from\", \"table\", coalesce(\"to\", 'id') FROM pragma_foreign_key_list($1)")?
        .query_map([&name], |row| Ok((row.get(0)?, format!("{}.{}", row.get::<_, String>(1)?, row.get::<_, String>(2)?))))?
        .collect::<rusqlite::Result<_>>()?;
    let columns = connection
        .prepare("SELECT name, type, \"notnull\", pk FROM pragma_table_info($1)")?
        .query_map([&name], |row| {
            let name: String = row.get(0)?;
            Ok(Column {
                references: references.get(&name).cloned(),
                name,
                data_type: row.get::<_, String>(1)?.to_lowercase(),
                not_null: row.get::<_, i64>(2)? != 0,
                primary_key: row.get::<_, i64>(3)? != 0,
                allowed: false,
                comment: None,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Relation { name, is_view, allowed: false, columns, comment: None, rows: None })
}

fn unavailable(error: &rusqlite::Error) -> RunError {
    tracing::warn!(%error, "the data set of the rules does not answer");
    let reason = match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => "the file cannot be opened",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => "the file is no sound database",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "the file is locked",
        _ => "the file cannot be read",
    };
    RunError::Unavailable(reason.to_owned())
}

/// SQLite's words name only what the statement names, and no values.
fn failure(error: &rusqlite::Error, cancel: &CancellationToken) -> RunError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) if cancel.is_cancelled() => RunError::Cancelled,
        Some(ErrorCode::OperationInterrupted) => RunError::Timeout,
        Some(ErrorCode::AuthorizationForStatementDenied) => {
            RunError::Forbidden("the query reads what is not available".to_owned())
        }
        Some(ErrorCode::TooBig | ErrorCode::OutOfMemory) => RunError::Mistake("a value is too long".to_owned()),
        Some(ErrorCode::ReadOnly) => RunError::Forbidden("only a query is allowed".to_owned()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            unavailable(error)
        }
        _ => RunError::Mistake(words(error)),
    }
}

fn words(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        _ => "the database refused the query".to_owned(),
    }
}
