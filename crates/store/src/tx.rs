//! One transaction, on whichever database it is.

use domain::Timestamp;
use rusqlite::Connection;

use crate::dialect::Dialect;
use crate::postgres::Session;
use crate::{Row, StoreError, Value, sqlite};

pub(crate) type AfterCommit = Box<dyn FnOnce() + Send>;

/// One atomic change to the database, or one consistent look at it. After a failed statement it can only be rolled back.
pub struct Tx<'c> {
    on: On<'c>,
    poisoned: bool,
    trouble: Option<Trouble>,
    after_commit: Vec<AfterCommit>,
}

/// What can be wrong with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Full,
    Io,
}

enum On<'c> {
    Sqlite(&'c Connection),
    Postgres(Session<'c>),
}

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("poisoned", &self.poisoned).finish_non_exhaustive()
    }
}

impl<'c> Tx<'c> {
    pub(crate) fn on_sqlite(connection: &'c Connection) -> Self {
        Self { on: On::Sqlite(connection), poisoned: false, trouble: None, after_commit: Vec::new() }
    }

    pub(crate) fn on_postgres(session: Session<'c>) -> Self {
        Self { on: On::Postgres(session), poisoned: false, trouble: None, after_commit: Vec::new() }
    }

    /// Why a statement failed, if it was the disk.
    pub(crate) const fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// Runs `hook` once the transaction is on disk, before its `write` returns, and not at all if it fails. On SQLite hooks
    /// run in the order of commits; on PostgreSQL those of transactions that commit at the same time may run in any order.
    /// A hook runs on a thread of the store, so it must be short and must not touch the store.
    pub fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.after_commit.push(Box::new(hook));
    }

    /// Runs a statement, and returns how many rows it changed.
    ///
    /// # Errors
    /// The statement failed; the transaction is poisoned.
    pub fn execute(&mut self, sql: &str, values: &[Value]) -> Result<usize, StoreError> {
        self.run(values, |on| match on {
            On::Sqlite(connection) => sqlite::execute(connection, sql, values),
            On::Postgres(session) => session.execute(sql, values),
        })
    }

    /// Runs a statement of which nothing is to be known but that it did not fail. On PostgreSQL it travels together with
    /// the next statement or the commit, which saves waiting for its answer; if it fails, that one fails.
    ///
    /// # Errors
    /// The statement failed, or one before it; the transaction is poisoned.
    pub fn later(&mut self, sql: &str, values: &[Value]) -> Result<(), StoreError> {
        self.run(values, |on| match on {
            On::Sqlite(connection) => sqlite::execute(connection, sql, values).map(drop),
            On::Postgres(session) => session.later(sql, values),
        })
    }

    /// All rows of a query or of a statement with `RETURNING`.
    ///
    /// # Errors
    /// The statement failed; the transaction is poisoned.
    pub fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.run(values, |on| match on {
            On::Sqlite(connection) => sqlite::query(connection, sql, values),
            On::Postgres(session) => session.query(sql, values),
        })
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// The statement failed; the transaction is poisoned.
    pub fn query_one(&mut self, sql: &str, values: &[Value]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, values)?.into_iter().next())
    }

    /// The present time by the database's clock. What several nodes must agree on is measured with it.
    ///
    /// # Errors
    /// The statement failed; the transaction is poisoned.
    pub fn now(&mut self) -> Result<Timestamp, StoreError> {
        let sql = self.dialect().now();
        self.query_one(sql, &[])?.map_or(Ok(Timestamp(0)), |row| row.get(0).map(Timestamp))
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        match self.on {
            On::Sqlite(_) => Dialect::Sqlite,
            On::Postgres(_) => Dialect::Postgres,
        }
    }

    pub(crate) const fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    pub(crate) fn take_hooks(&mut self) -> Vec<AfterCommit> {
        std::mem::take(&mut self.after_commit)
    }

    /// The session of a transaction on PostgreSQL, to be ended.
    pub(crate) fn into_session(self) -> Option<Session<'c>> {
        match self.on {
            On::Sqlite(_) => None,
            On::Postgres(session) => Some(session),
        }
    }

    fn run<T>(
        &mut self,
        values: &[Value],
        statement: impl FnOnce(&mut On<'c>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        let result = values.iter().try_for_each(Value::check).and_then(|()| statement(&mut self.on));
        self.poisoned = result.is_err();
        self.trouble = match &result {
            Err(StoreError::Full) => Some(Trouble::Full),
            Err(StoreError::Io(_)) => Some(Trouble::Io),
            _ => self.trouble,
        };
        result
    }
}
