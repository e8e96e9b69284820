//! Whole databases: kept in a file, brought back, and moved from one kind of database to the other.
//!
//! A backup is an SQLite database, whichever database it is of. Everything is read in one state and written in one
//! transaction, and what was written is read again and compared before that transaction is committed.

mod backup;
mod digest;
mod on_postgres;
mod on_sqlite;
mod restore;

use std::path::PathBuf;

pub use backup::backup;
pub use restore::{Place, Restored, restore};

use crate::{DatabaseUrl, OpenError, StoreError, Value};
use digest::Digest;
use on_postgres::Server;
use on_sqlite::File;

/// Why a database was not moved. The target is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{} exists already", .0.display())]
    FileExists(PathBuf),
    #[error("{}: {reason}", .path.display())]
    File { path: PathBuf, reason: String },
    #[error("{0} holds data already")]
    NotEmpty(String),
    #[error("{0} is in use by a server: stop it first")]
    InUse(String),
    #[error("a database in memory cannot be moved")]
    InMemory,
    #[error("the databases have different tables: {0}")]
    Tables(String),
    /// What was read back is not what was written.
    #[error("the copy of {table} is not like the original: {written} rows were written, and {found} were found")]
    Differs { table: String, written: u64, found: u64 },
}

/// How many rows each table had, in alphabetical order.
pub type Counts = Vec<(String, u64)>;

/// Is told of every table, while it is copied, how many rows have been written.
pub type Progress<'p> = &'p mut dyn FnMut(&str, u64);

/// Moves everything from one database into another one, which must be empty. Nobody may use either meanwhile.
///
/// # Errors
/// See [`MoveError`].
pub fn copy(from: &DatabaseUrl, to: &DatabaseUrl, progress: Progress<'_>) -> Result<Counts, MoveError> {
    let mut source = Side::open(from, Use::Alone)?;
    let mut target = Side::open(to, Use::Alone)?;
    if target.has_data()? {
        return Err(MoveError::NotEmpty(to.to_string()));
    }
    pour(&mut source, &mut target, progress)
}

/// Who else may be at a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Alone,
    /// It is only looked at, and servers may run.
    Shared,
}

/// Rows that live only as long as a node does.
const PASSING: &[&str] = &["node"];
/// Counters that a new database is born with. Without anything that they have counted they are no data.
const COUNTERS: &[&str] = &["hub_head", "number_series"];
/// Rows in one go: enough to share a round trip, few enough for the memory.
const BATCH: usize = 500;

/// A table with its columns, in alphabetical order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    name: String,
    columns: Vec<(String, Kind)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Text,
    Uuid,
}

impl Kind {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "bigint" | "int8" => Some(Self::Int),
            "text" => Some(Self::Text),
            "uuid" => Some(Self::Uuid),
            _ => None,
        }
    }
}

impl Table {
    fn column_names(&self) -> String {
        self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|(name, _)| name == column)
    }
}

type Rows = Vec<Vec<Value>>;

/// A database in one transaction.
enum Side {
    Sqlite(File),
    Postgres(Server),
}

impl Side {
    fn open(url: &DatabaseUrl, use_: Use) -> Result<Self, MoveError> {
        match url {
            DatabaseUrl::Sqlite(path) => File::open(path, use_).map(Self::Sqlite),
            DatabaseUrl::SqliteInMemory => Err(MoveError::InMemory),
            DatabaseUrl::Postgres(url) => Server::open(url, use_).map(Self::Postgres),
        }
    }

    fn tables(&mut self) -> Result<Vec<Table>, MoveError> {
        let mut tables = match self {
            Self::Sqlite(file) => file.tables(),
            Self::Postgres(server) => server.tables(),
        }?;
        tables.retain(|table| !PASSING.contains(&table.name.as_str()));
        for table in &mut tables {
            table.columns.sort_by(|one, other| one.0.cmp(&other.0));
        }
        tables.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(tables)
    }

    fn has_data(&mut self) -> Result<bool, MoveError> {
        for table in self.tables()?.into_iter().filter(|table| !COUNTERS.contains(&table.name.as_str())) {
            let mut found = false;
            self.read(&table, 1, &mut |_| {
                found = true;
                Ok(false)
            })?;
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hands over all rows in batches, until `take` says `false`.
    fn read(
        &mut self,
        table: &Table,
        batch: usize,
        take: &mut dyn FnMut(Rows) -> Result<bool, MoveError>,
    ) -> Result<(), MoveError> {
        match self {
            Self::Sqlite(file) => file.read(table, batch, take),
            Self::Postgres(server) => server.read(table, batch, take),
        }
    }

    fn write(&mut self, table: &Table, rows: &[Vec<Value>]) -> Result<(), MoveError> {
        match self {
            Self::Sqlite(file) => file.write(table, rows),
            Self::Postgres(server) => server.write(table, rows),
        }
    }

    fn empty(&mut self, tables: &[Table]) -> Result<(), MoveError> {
        match self {
            Self::Sqlite(file) => file.empty(tables),
            Self::Postgres(server) => server.empty(tables),
        }
    }

    /// Makes the words findable, and commits.
    fn commit(&mut self) -> Result<(), MoveError> {
        match self {
            Self::Sqlite(file) => file.commit(),
            Self::Postgres(server) => server.commit(),
        }
    }

    fn digest(&mut self, table: &Table) -> Result<Digest, MoveError> {
        let mut digest = Digest::default();
        self.read(table, BATCH, &mut |rows| {
            rows.iter().for_each(|row| digest.add(row));
            Ok(true)
        })?;
        Ok(digest)
    }
}

/// Puts every row of one in the place of all that the other has, and looks at what has been written before it is committed.
fn pour(source: &mut Side, target: &mut Side, progress: Progress<'_>) -> Result<Counts, MoveError> {
    let (tables, theirs) = (source.tables()?, target.tables()?);
    if tables != theirs {
        let names = |tables: &[Table]| tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>().join(", ");
        return Err(MoveError::Tables(format!("{} and {}", names(&tables), names(&theirs))));
    }
    target.empty(&tables)?;
    let mut counts = Vec::new();
    for table in &tables {
        let mut digest = Digest::default();
        progress(&table.name, 0);
        source.read(table, BATCH, &mut |rows| {
            rows.iter().for_each(|row| digest.add(row));
            target.write(table, &rows)?;
            progress(&table.name, digest.rows());
            Ok(true)
        })?;
        let found = target.digest(table)?;
        if found != digest {
            return Err(MoveError::Differs { table: table.name.clone(), written: digest.rows(), found: found.rows() });
        }
        counts.push((table.name.clone(), digest.rows()));
    }
    target.commit()?;
    Ok(counts)
}
