//! The database. [`Store::read`] and [`Store::write`] run plain synchronous closures over one [`Tx`]; each noun has a file
//! of its own with private rows and the queries about it. The SQL is one text for every database; [`dialect`] is the only
//! file that knows differences.
//!
//! To add a noun: a migration, a file with its queries over `&mut Tx`, and a `pub mod` line here.

pub mod conversations;
pub mod dataset;
pub mod deltas;
mod dialect;
pub mod events;
pub mod hub;
pub mod jobs;
pub mod messages;
mod migrate;
pub mod moving;
pub mod nodes;
mod postgres;
pub mod projects;
pub mod questions;
pub mod request_keys;
pub mod results;
pub mod rules;
pub mod search;
pub mod sign_ins;
mod sqlite;
pub mod tool_starts;
pub mod turns;
mod tx;
mod value;
mod work;

use std::fmt;
use std::path::PathBuf;

use tokio::sync::oneshot;

pub use postgres::{Notify, PostgresUrl};
pub use tx::Tx;
pub use value::{FromValue, Row, Value};

use postgres::{Access, Postgres};
use sqlite::Sqlite;
use work::{Job, Work};

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
    /// Another transaction was in the way. Nobody sees this but the closure, which is repeated.
    #[error("another transaction was in the way: {0}")]
    Conflict(String),
    /// The database is on another machine, or in another process, and cannot be reached. It is tried again with every call.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
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
    /// The address itself is not repeated, because it may hold a password.
    #[error("the address is not understood: {0}")]
    BadUrl(String),
    #[error("the database {server} cannot be used: {reason}")]
    Server { server: String, reason: String },
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
    Postgres(Box<PostgresUrl>),
}

impl DatabaseUrl {
    /// Reads `sqlite:PATH`, `sqlite::memory:` or `postgres://…`.
    ///
    /// # Errors
    /// The address is of no database that this version knows.
    pub fn parse(text: &str) -> Result<Self, OpenError> {
        match text.split_once(':') {
            Some(("sqlite", ":memory:")) => Ok(Self::SqliteInMemory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.strip_prefix("//").unwrap_or(path).into())),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Self::Postgres(Box::new(PostgresUrl::parse(text)?)))
            }
            _ => Err(OpenError::BadUrl("expected sqlite:PATH, sqlite::memory: or postgres://…".to_owned())),
        }
    }
}

/// Without what is secret.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::SqliteInMemory => f.write_str("sqlite::memory:"),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// An open database. Cheap to clone; the last clone closes it.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
}

#[derive(Debug, Clone)]
enum Database {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Store {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// See [`OpenError`]; there is no fall-back.
    pub fn open(url: &DatabaseUrl) -> Result<Self, OpenError> {
        let database = match url {
            DatabaseUrl::Sqlite(path) => Database::Sqlite(Sqlite::open(Some(path))?),
            DatabaseUrl::SqliteInMemory => Database::Sqlite(Sqlite::open(None)?),
            DatabaseUrl::Postgres(url) => Database::Postgres(Postgres::open(url)?),
        };
        Ok(Self { database })
    }

    /// Sentences about the database that whoever started the program should read.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        match &self.database {
            Database::Sqlite(_) => &[],
            Database::Postgres(postgres) => &postgres.warnings,
        }
    }

    /// Whether no other process can have the database open while this one has.
    #[must_use]
    pub const fn is_exclusive(&self) -> bool {
        matches!(self.database, Database::Sqlite(_))
    }

    /// Runs `work` over one consistent state of the database.
    ///
    /// # Errors
    /// Those of `work`, or of the database.
    pub async fn read<T, E>(&self, work: impl FnOnce(&mut Tx) -> Result<T, E> + Clone + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.send(Access::Read, Box::new(Work::new(work, answer)));
        answered.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Runs `work` in one transaction, and returns when it is on disk. If `work` fails, nothing of it is stored.
    ///
    /// `work` may run more than once: on PostgreSQL it is repeated in a new transaction if another one was in its way. So it
    /// must do nothing but read and write through its [`Tx`]; what is to follow is registered with [`Tx::after_commit`].
    ///
    /// Dropping the future does not stop the transaction: it commits all the same, and what it registered with
    /// [`Tx::after_commit`] runs.
    ///
    /// # Errors
    /// Those of `work`, or of the database; then nothing is stored.
    pub async fn write<T, E>(&self, work: impl FnOnce(&mut Tx) -> Result<T, E> + Clone + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.send(Access::Write, Box::new(Work::new(work, answer)));
        answered.await.unwrap_or_else(|_| Err(closed().into()))
    }

    fn send(&self, access: Access, job: Box<dyn Job>) {
        match (&self.database, access) {
            (Database::Sqlite(sqlite), Access::Read) => sqlite.read(job),
            (Database::Sqlite(sqlite), Access::Write) => sqlite.write(job),
            (Database::Postgres(postgres), access) => postgres.send(access, job),
        }
    }
}

fn closed() -> StoreError {
    StoreError::Failed("it is closed".to_owned())
}
