//! The database. [`Store::read`] and [`Store::write`] run plain synchronous closures over one [`Tx`]; each noun has a file
//! of its own with private rows and the queries about it. The SQL is one text for every database; [`dialect`] is the only
//! file that knows differences.
//!
//! To add a noun: a migration, a file with its queries over `&mut Tx`, and a `pub mod` line here.

pub mod conversations;
pub mod deltas;
mod dialect;
pub mod events;
pub mod hub;
pub mod jobs;
pub mod messages;
mod migrate;
pub mod nodes;
pub mod questions;
pub mod request_keys;
pub mod search;
pub mod sign_ins;
mod sqlite;
pub mod turns;
mod tx;

use std::path::PathBuf;

use tokio::sync::oneshot;

pub use tx::{FromValue, Row, Tx, Value};

/// Why a transaction did not happen. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("the storage is full")]
    Full,
    /// A unique index refused a row.
    #[error("a row with this key exists already")]
    Duplicate,
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Io(String),
    /// The database does not answer, or answers nonsense.
    #[error("the database failed: {0}")]
    Failed(String),
    /// The text contains U+0000, which not every database can store.
    #[error("the text contains a NUL character")]
    NulInText,
    /// A statement failed earlier in this transaction, which can only be rolled back now.
    #[error("the transaction has already failed")]
    Poisoned,
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the database address {0:?} is not understood: expected sqlite:PATH or sqlite::memory:")]
    BadUrl(String),
    #[error("PostgreSQL is not supported by this version: use sqlite:PATH")]
    PostgresUnsupported,
    #[error("the database {} is in use by another process", .0.display())]
    InUse(PathBuf),
    #[error("the database was written by a newer version (schema {found}, this version knows {known})")]
    NewerSchema { found: i64, known: i64 },
    #[error("the database {} cannot be opened: {reason}", .path.display())]
    Failed { path: PathBuf, reason: String },
}

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite(PathBuf),
    SqliteInMemory,
}

impl DatabaseUrl {
    /// Reads `sqlite:PATH` or `sqlite::memory:`.
    ///
    /// # Errors
    /// The address is of no database that this version knows.
    pub fn parse(text: &str) -> Result<Self, OpenError> {
        match text.split_once(':') {
            Some(("sqlite", ":memory:")) => Ok(Self::SqliteInMemory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.strip_prefix("//").unwrap_or(path).into())),
            Some(("postgres" | "postgresql", _)) => Err(OpenError::PostgresUnsupported),
            _ => Err(OpenError::BadUrl(text.to_owned())),
        }
    }
}

/// An open database. Cheap to clone; the last clone closes it.
#[derive(Debug, Clone)]
pub struct Store {
    database: sqlite::Sqlite,
}

impl Store {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// See [`OpenError`]; there is no fall-back.
    pub fn open(url: &DatabaseUrl) -> Result<Self, OpenError> {
        Ok(Self { database: sqlite::Sqlite::open(url)? })
    }

    /// Whether no other process can have the database open while this one has.
    #[must_use]
    pub const fn is_exclusive(&self) -> bool {
        true
    }

    /// Runs `work` over one consistent state of the database.
    ///
    /// # Errors
    /// Those of `work`, or of the database.
    pub async fn read<T, E>(&self, work: impl FnOnce(&mut Tx) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.database.read(Box::new(tx::Work::new(work, answer)));
        answered.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Runs `work` in one transaction, and returns when it is on disk. If `work` fails, nothing of it is stored.
    ///
    /// Dropping the future does not stop the transaction: it commits all the same, and what it registered with
    /// [`Tx::after_commit`] runs.
    ///
    /// # Errors
    /// Those of `work`, or of the database; then nothing is stored.
    pub async fn write<T, E>(&self, work: impl FnOnce(&mut Tx) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.database.write(Box::new(tx::Work::new(work, answer)));
        answered.await.unwrap_or_else(|_| Err(closed().into()))
    }
}

fn closed() -> StoreError {
    StoreError::Failed("it is closed".to_owned())
}
