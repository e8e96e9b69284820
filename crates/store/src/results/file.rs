//! Results in an SQLite file of their own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::{ResultTable, difference_of, quoted};
use crate::StoreError;
use crate::sqlite::failure;

/// What a writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

const SET_UP: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS result_table (
        name TEXT NOT NULL PRIMARY KEY, columns TEXT NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL, created_at INTEGER NOT NULL
    );";

/// The file.
#[derive(Debug, Clone)]
pub(super) struct InFile {
    path: PathBuf,
}

impl InFile {
    /// Opens the file, or makes it. Tables of loads that a crash broke off are removed.
    ///
    /// # Errors
    /// The file cannot be opened or written.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let results = Self { path: path.to_owned() };
        let connection = results.writer()?;
        connection.execute_batch(SET_UP).map_err(|error| failure(&error))?;
        results.remove_broken_loads(&connection)?;
        Ok(results)
    }

    /// # Errors
    /// The database's.
    pub(super) fn table(&self, name: &str) -> Result<Option<ResultTable>, StoreError> {
        table(&self.reader()?, name)
    }

    /// Every table, the oldest first.
    ///
    /// # Errors
    /// The database's.
    pub(super) fn tables(&self) -> Result<Vec<ResultTable>, StoreError> {
        let connection = self.reader()?;
        let sql = "SELECT name, columns, rows, bytes, created_at FROM result_table ORDER BY created_at, name";
        let mut statement = connection.prepare(sql).map_err(|error| failure(&error))?;
        let rows = statement.query_map([], described).map_err(|error| failure(&error))?;
        rows.map(|row| row.map_err(|error| failure(&error))).collect()
    }

    /// Makes the stable view show this table, under the names that its columns have.
    ///
    /// # Errors
    /// There is no such table; or the database's.
    pub(super) fn show(&self, view: &str, name: &str) -> Result<(), StoreError> {
        let mut connection = self.writer()?;
        let shown = table(&connection, name)?.ok_or_else(|| StoreError::Failed(format!("there is no table {name}")))?;
        let columns: Vec<String> =
            shown.columns.iter().enumerate().map(|(at, column)| format!("c{} AS {}", at + 1, quoted(&column.name))).collect();
        let view = quoted(view);
        let text = format!("CREATE VIEW {view} AS SELECT {} FROM {}", columns.join(", "), quoted(name));
        let swap = |connection: &mut Connection| {
            let tx = connection.transaction()?;
            tx.execute_batch(&format!("DROP VIEW IF EXISTS {view}; {text}"))?;
            tx.commit()
        };
        swap(&mut connection).map_err(|error| failure(&error))
    }

    /// # Errors
    /// The database's.
    pub(super) fn hide(&self, view: &str) -> Result<(), StoreError> {
        let text = format!("DROP VIEW IF EXISTS {}", quoted(view));
        self.writer()?.execute_batch(&text).map_err(|error| failure(&error))
    }

    /// # Errors
    /// The database's.
    pub(super) fn drop_table(&self, name: &str) -> Result<(), StoreError> {
        let mut connection = self.writer()?;
        drop_table(&mut connection, name).map_err(|error| failure(&error))
    }

    /// # Errors
    /// The database's.
    pub(super) fn difference(
        &self,
        new: &ResultTable,
        old: &ResultTable,
        keys: &[String],
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let connection = self.reader()?;
        difference_of(new, old, keys, quoted, |text| {
            connection.query_row(text, [], |row| row.get::<_, i64>(0)).map_err(|error| failure(&error))
        })
    }

    pub(super) fn writer(&self) -> Result<Connection, StoreError> {
        let connection = Connection::open(&self.path).map_err(|error| failure(&error))?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| failure(&error))?;
        Ok(connection)
    }

    pub(super) fn reader(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(|error| failure(&error))?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| failure(&error))?;
        Ok(connection)
    }

    fn remove_broken_loads(&self, connection: &Connection) -> Result<(), StoreError> {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'rule_*' \
            AND name NOT IN (SELECT name FROM result_table)";
        let broken: Vec<String> = connection
            .prepare(sql)
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .map_err(|error| failure(&error))?;
        broken.iter().try_for_each(|name| self.drop_table(name))
    }
}

pub(super) fn drop_table(connection: &mut Connection, name: &str) -> rusqlite::Result<()> {
    let tx = connection.transaction()?;
    tx.execute("DELETE FROM result_table WHERE name = ?1", [name])?;
    tx.execute_batch(&format!("DROP TABLE IF EXISTS {}", quoted(name)))?;
    tx.commit()
}

fn table(connection: &Connection, name: &str) -> Result<Option<ResultTable>, StoreError> {
    let sql = "SELECT name, columns, rows, bytes, created_at FROM result_table WHERE name = ?1";
    connection.query_row(sql, params![name], described).optional().map_err(|error| failure(&error))
}

fn described(row: &rusqlite::Row<'_>) -> rusqlite::Result<ResultTable> {
    let columns: String = row.get(1)?;
    let unreadable = |error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error));
    Ok(ResultTable {
        name: row.get(0)?,
        columns: serde_json::from_str(&columns).map_err(unreadable)?,
        rows: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
        bytes: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
        created_at: row.get(4)?,
    })
}
