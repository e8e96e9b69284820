//! From a run's batches to a table in a file.

use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection, ToSql, params};
use tokio::sync::mpsc::Receiver;

use super::file::{InFile, drop_table};
use super::{Loaded, ResultTable, quoted};
use crate::StoreError;
use crate::dataset::{Batch, Cell, CellRow, ResultColumn};
use crate::sqlite::failure;

/// Rows in one transaction: large enough to make the sync cheap, small enough that nobody waits long for the file.
const ROWS_PER_COMMIT: usize = 50_000;
/// Pages of the log before it is moved into the file. A load writes each page once, so this costs little.
const CHECKPOINT_PAGES: i64 = 8_000;

impl InFile {
    /// # Errors
    /// The database's; nothing is left then.
    pub(super) fn load(
        &self,
        name: &str,
        created_at: i64,
        preview_rows: usize,
        batches: &mut Receiver<Batch>,
        is_whole: impl FnOnce() -> bool,
    ) -> Result<Option<Loaded>, StoreError> {
        let mut connection = self.writer()?;
        let loaded = fill(&mut connection, name, preview_rows, batches);
        let kept = loaded.map_err(|error| failure(&error)).and_then(|filled| {
            let Some(filled) = filled.filter(|_| is_whole()) else { return Ok(None) };
            let table = ResultTable {
                name: name.to_owned(),
                columns: filled.columns,
                rows: filled.rows,
                bytes: filled.bytes,
                created_at,
            };
            describe(&connection, &table)?;
            Ok(Some(Loaded { table, preview: filled.preview }))
        });
        if !matches!(kept, Ok(Some(_))) {
            drop_table(&mut connection, name).map_err(|error| failure(&error))?;
        }
        kept
    }
}

struct Filled {
    columns: Vec<ResultColumn>,
    rows: u64,
    bytes: u64,
    preview: Vec<CellRow>,
}

fn fill(
    connection: &mut Connection,
    name: &str,
    preview_rows: usize,
    batches: &mut Receiver<Batch>,
) -> rusqlite::Result<Option<Filled>> {
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    let Some(Batch::Columns(columns)) = batches.blocking_recv() else { return Ok(None) };
    let names: Vec<String> = (1..=columns.len()).map(|at| format!("c{at}")).collect();
    connection.execute_batch(&format!("CREATE TABLE {} ({})", quoted(name), names.join(", ")))?;
    let places: Vec<String> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
    let insert = format!("INSERT INTO {} VALUES ({})", quoted(name), places.join(", "));
    let mut filled = Filled { columns, rows: 0, bytes: 0, preview: Vec::new() };
    let mut open = false;
    let mut in_transaction = 0;
    while let Some(batch) = batches.blocking_recv() {
        let Batch::Rows(rows) = batch else { continue };
        if !std::mem::replace(&mut open, true) {
            connection.execute_batch("BEGIN IMMEDIATE")?;
        }
        let mut statement = connection.prepare_cached(&insert)?;
        for row in &rows {
            for (at, cell) in row.iter().enumerate() {
                statement.raw_bind_parameter(at + 1, cell)?;
                filled.bytes += cell.size();
            }
            statement.raw_execute()?;
        }
        drop(statement);
        filled.rows += rows.len() as u64;
        in_transaction += rows.len();
        let missing = preview_rows.saturating_sub(filled.preview.len());
        filled.preview.extend(rows.into_iter().take(missing));
        if in_transaction >= ROWS_PER_COMMIT {
            connection.execute_batch("COMMIT")?;
            (open, in_transaction) = (false, 0);
        }
    }
    if open {
        connection.execute_batch("COMMIT")?;
    }
    Ok(Some(filled))
}

fn describe(connection: &Connection, table: &ResultTable) -> Result<(), StoreError> {
    let columns = serde_json::to_string(&table.columns).map_err(|error| StoreError::Failed(error.to_string()))?;
    let sql = "INSERT INTO result_table (name, columns, rows, bytes, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let done = connection.execute(sql, params![table.name, columns, count(table.rows), count(table.bytes), table.created_at]);
    done.map(drop).map_err(|error| failure(&error))
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Self::Float(number) => ToSqlOutput::Borrowed(ValueRef::Real(*number)),
            Self::Bool(flag) => ToSqlOutput::Owned(SqlValue::Integer(i64::from(*flag))),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}
