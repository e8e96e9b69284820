//! An SQLite file as one side of a move.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::{Kind, MoveError, Rows, Table, Use};
use crate::sqlite::{self, failure};
use crate::{OpenError, StoreError, Value, dialect, migrate};

pub(super) struct File {
    pub(super) connection: Connection,
    path: PathBuf,
    /// Held while nobody else may use it.
    _lock: Option<std::fs::File>,
}

impl File {
    /// In a transaction that is rolled back unless it is committed.
    pub(super) fn open(path: &Path, use_: Use) -> Result<Self, MoveError> {
        let (connection, lock) = match use_ {
            Use::Alone => {
                let (connection, lock) = sqlite::open_alone(path)?;
                (connection, Some(lock))
            }
            Use::Shared => (open_to_read(path)?, None),
        };
        let begin = if use_ == Use::Alone { "BEGIN IMMEDIATE" } else { "BEGIN" };
        connection.execute_batch(begin).map_err(|e| failure(&e))?;
        Ok(Self { connection, path: path.to_owned(), _lock: lock })
    }

    /// A file that nobody else knows of.
    pub(super) fn open_scratch(path: &Path) -> Result<Self, MoveError> {
        let connection = Connection::open(path).map_err(|e| failure(&e))?;
        connection.execute_batch("BEGIN IMMEDIATE").map_err(|e| failure(&e))?;
        Ok(Self { connection, path: path.to_owned(), _lock: None })
    }

    pub(super) fn tables(&self) -> Result<Vec<Table>, MoveError> {
        let sql = "SELECT t.name, c.name, lower(c.type) FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite!_%' ESCAPE '!' AND t.name NOT LIKE 'part!_search%' ESCAPE '!' \
             ORDER BY t.name, c.cid";
        let columns = self.texts(sql)?;
        let mut tables: Vec<Table> = Vec::new();
        for column in columns {
            let [table, name, type_] = column;
            let kind = Kind::parse(&type_).ok_or_else(|| self.strange(&format!("column {table}.{name} is of type {type_}")))?;
            match tables.last_mut().filter(|last| last.name == table) {
                Some(last) => last.columns.push((name, kind)),
                None => tables.push(Table { name: table, columns: vec![(name, kind)] }),
            }
        }
        Ok(tables)
    }

    fn texts(&self, sql: &str) -> Result<Vec<[String; 3]>, StoreError> {
        let mut statement = self.connection.prepare(sql).map_err(|e| failure(&e))?;
        let rows = statement.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?])).map_err(|e| failure(&e))?;
        rows.collect::<Result<_, _>>().map_err(|e| failure(&e))
    }

    pub(super) fn read(
        &self,
        table: &Table,
        batch: usize,
        take: &mut dyn FnMut(Rows) -> Result<bool, MoveError>,
    ) -> Result<(), MoveError> {
        let sql = format!("SELECT {} FROM {}", table.column_names(), table.name);
        let mut statement = self.connection.prepare(&sql).map_err(|e| failure(&e))?;
        let mut rows = statement.raw_query();
        let mut read = Vec::new();
        while let Some(row) = rows.next().map_err(|e| failure(&e))? {
            let values = (0..table.columns.len()).map(|index| row.get_ref(index).map(sqlite::read));
            read.push(values.collect::<Result<Vec<_>, _>>().map_err(|e| failure(&e))?);
            if read.len() == batch && !take(std::mem::take(&mut read))? {
                return Ok(());
            }
        }
        if !read.is_empty() {
            take(read)?;
        }
        Ok(())
    }

    pub(super) fn write(&self, table: &Table, rows: &[Vec<Value>]) -> Result<(), MoveError> {
        let places: Vec<String> = (1..=table.columns.len()).map(|n| format!("?{n}")).collect();
        let sql = format!("INSERT INTO {} ({}) VALUES ({})", table.name, table.column_names(), places.join(", "));
        let mut statement = self.connection.prepare_cached(&sql).map_err(|e| failure(&e))?;
        for row in rows {
            statement.execute(params_from_iter(row)).map_err(|e| failure(&e))?;
        }
        Ok(())
    }

    pub(super) fn empty(&self, tables: &[Table]) -> Result<(), MoveError> {
        for table in tables {
            self.connection.execute_batch(&format!("DELETE FROM {}", table.name)).map_err(|e| failure(&e))?;
        }
        Ok(())
    }

    pub(super) fn commit(&self) -> Result<(), MoveError> {
        self.connection.execute_batch(dialect::REBUILD_SQLITE_SEARCH).map_err(|e| failure(&e))?;
        self.connection.execute_batch("COMMIT").map_err(|e| failure(&e))?;
        Ok(())
    }

    fn strange(&self, reason: &str) -> MoveError {
        MoveError::File { path: self.path.clone(), reason: reason.to_owned() }
    }
}

/// A file that a server may be writing to.
///
/// # Errors
/// It is none of ours, of a newer version, or cannot be read.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, MoveError> {
    let failed = |reason: String| MoveError::File { path: path.to_owned(), reason };
    // Read-only would not do for a file in WAL mode that nobody has open; it is not written to.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| failed(e.to_string()))?;
    let version = migrate::sqlite_version(&connection).map_err(|e| failed(e.to_string()))?;
    match version {
        1.. if version > migrate::KNOWN => Err(OpenError::NewerSchema { found: version, known: migrate::KNOWN }.into()),
        1.. => Ok(connection),
        _ => Err(failed("it is no database of this program".to_owned())),
    }
}
