//! One transaction on one connection.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::statement::{Cause, Done, Failure, Ready};
use crate::{Row, StoreError, Value, dialect};

/// How long an answer may take. The server ends a statement before that, so it is the network or the machine that hangs.
const ANSWER: Duration = Duration::from_secs(40);
/// Statements that travel together. `join_all` sends up to 30 in their order, and four may come to these.
const TOGETHER: usize = 24;
/// Prepared statements of one connection. The program has about a hundred texts, and those that are put together vary.
const STATEMENTS: usize = 512;

const BEGIN: &str = "BEGIN";
const BEGIN_READ: &str = "BEGIN READ ONLY";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

/// A connection with its prepared statements.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    id: Uuid,
    /// The mark of its last transaction.
    mark: i64,
    statements: HashMap<String, Statement>,
    /// Something is wrong with it, or with the transaction that is open on it.
    is_broken: bool,
}

impl Connection {
    /// # Errors
    /// The server's.
    pub(super) async fn new(client: Client) -> Result<Self, Failure> {
        let id = Uuid::now_v7();
        let mut connection = Self { client, id, mark: 0, statements: HashMap::new(), is_broken: false };
        // A failed transaction can be ended only by what is prepared already.
        for sql in [BEGIN, BEGIN_READ, dialect::SET_MARK, COMMIT, ROLLBACK] {
            connection.prepared(sql).await?;
        }
        connection.client.execute(dialect::SET_MARK, &[&id, &0_i64]).await?;
        Ok(connection)
    }

    /// Whether it can still be used, as far as the server has told by now.
    pub(super) fn is_good(&self, runtime: &Runtime) -> bool {
        // Lets the thread's runtime read what has come in the meantime.
        runtime.block_on(tokio::task::yield_now());
        !self.is_broken && !self.client.is_closed()
    }

    /// Whether a transaction of some connection, perhaps of one that is gone, was committed; `None` if that was forgotten.
    ///
    /// # Errors
    /// The server's, also while the transaction is still under way.
    pub(super) async fn was_committed(&self, mark: Mark) -> Result<Option<bool>, Failure> {
        let row = self.client.query_opt(dialect::GET_MARK, &[&mark.connection]).await?;
        row.map(|row| Ok(row.try_get::<_, i64>(0)? == mark.mark)).transpose()
    }

    async fn prepared(&mut self, sql: &str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        if self.statements.len() >= STATEMENTS {
            self.statements.retain(|sql, _| [BEGIN, BEGIN_READ, dialect::SET_MARK, COMMIT, ROLLBACK].contains(&sql.as_str()));
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// By what a transaction is known after its connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    connection: Uuid,
    mark: i64,
}

/// Whether a transaction may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A transaction from its first statement to its end. The server first hears of it with the first statement whose answer is
/// waited for: everything before that travels with it.
#[derive(Debug)]
pub(crate) struct Session<'c> {
    runtime: &'c Runtime,
    connection: &'c mut Connection,
    access: Access,
    has_begun: bool,
    later: Vec<Ready<'static>>,
    failure: Option<Failure>,
    /// What stands in the database if the transaction was committed.
    mark: Option<Mark>,
}

/// How a transaction has ended.
#[derive(Debug)]
pub(super) enum End {
    /// It is on disk; a reading one has seen what it saw.
    Committed,
    /// Its closure gave it up.
    GivenUp,
    Failed(Failure),
    /// The connection broke while it was being committed. The database tells by the mark how that ended.
    Unknown(Mark),
}

impl<'c> Session<'c> {
    pub(super) fn new(runtime: &'c Runtime, connection: &'c mut Connection, access: Access) -> Self {
        Self { runtime, connection, access, has_begun: false, later: Vec::new(), failure: None, mark: None }
    }

    pub(crate) fn execute(&mut self, sql: &str, values: &[Value]) -> Result<usize, StoreError> {
        self.answer(sql, values).map(|done| done.changed)
    }

    pub(crate) fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.answer(sql, values).map(|done| done.rows)
    }

    pub(crate) fn later(&mut self, sql: &str, values: &[Value]) -> Result<(), StoreError> {
        let ready = self.ready(sql, Cow::Owned(values.to_vec()))?;
        self.later.push(ready);
        if self.later.len() >= TOGETHER { self.fly(None).map(drop) } else { Ok(()) }
    }

    fn answer(&mut self, sql: &str, values: &[Value]) -> Result<Done, StoreError> {
        let ready = self.ready(sql, Cow::Borrowed(values))?;
        self.fly(Some(ready))
    }

    /// Ends the transaction.
    pub(super) fn end(mut self, keep: bool) -> End {
        if !keep || self.failure.is_some() {
            self.roll_back();
            return self.failure.map_or(End::GivenUp, End::Failed);
        }
        if !self.has_begun && self.later.is_empty() {
            return End::Committed;
        }
        if self.commit().is_ok() {
            return End::Committed;
        }
        // It may have failed before the server was told to commit.
        self.roll_back();
        match (self.failure, self.mark) {
            (Some(Failure { cause: Cause::Broken, .. }), Some(mark)) => End::Unknown(mark),
            (Some(failure), _) => End::Failed(failure),
            (None, _) => End::GivenUp,
        }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        // Its mark must be set before it may be committed.
        if self.access == Access::Write && self.mark.is_none() {
            self.fly(None)?;
        }
        let commit = self.ready(COMMIT, Cow::Borrowed(&[]))?;
        self.fly(Some(commit)).map(drop)
    }

    fn roll_back(&mut self) {
        self.later.clear();
        if !self.has_begun || self.connection.is_broken {
            return;
        }
        let failure = self.failure.take();
        let rolled_back = self.ready(ROLLBACK, Cow::Borrowed(&[])).and_then(|rollback| self.fly(Some(rollback)));
        // Then the connection is given up, and the transaction with it.
        self.connection.is_broken |= rolled_back.is_err();
        self.failure = failure;
    }

    fn ready<'v>(&mut self, sql: &str, values: Cow<'v, [Value]>) -> Result<Ready<'v>, StoreError> {
        let statement = self.runtime.block_on(async {
            let prepared = tokio::time::timeout(ANSWER, self.connection.prepared(sql)).await;
            prepared.unwrap_or_else(|_| Err(Failure::silence()))
        });
        match statement {
            Ok(statement) => Ready::new(statement, sql, values),
            Err(failure) => Err(self.failed(failure)),
        }
    }

    /// Sends what waits and then `last`, and waits for all answers; gives that of `last`.
    fn fly(&mut self, last: Option<Ready<'_>>) -> Result<Done, StoreError> {
        let mut flight: Vec<Ready<'_>> = Vec::new();
        let begins = !self.has_begun;
        if begins {
            self.has_begun = true;
            match self.access {
                Access::Read => flight.push(self.ready(BEGIN_READ, Cow::Borrowed(&[]))?),
                Access::Write => {
                    flight.push(self.ready(BEGIN, Cow::Borrowed(&[]))?);
                    self.connection.mark += 1;
                    let values = vec![self.connection.id.into(), self.connection.mark.into()];
                    flight.push(self.ready(dialect::SET_MARK, Cow::Owned(values))?);
                }
            }
        }
        flight.extend(std::mem::take(&mut self.later));
        flight.extend(last);
        let client = &self.connection.client;
        let answers = self
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER, join_all(flight.iter().map(|ready| ready.send(client)))).await });
        let answers = answers.map_err(|_| Failure::silence());
        // Of several failures the first is the cause of the others.
        match answers.and_then(|answers| answers.into_iter().collect::<Result<Vec<Done>, Failure>>()) {
            Ok(mut done) => {
                if begins && self.access == Access::Write {
                    self.mark = Some(Mark { connection: self.connection.id, mark: self.connection.mark });
                }
                Ok(done.pop().unwrap_or_default())
            }
            Err(failure) => Err(self.failed(failure)),
        }
    }

    fn failed(&mut self, failure: Failure) -> StoreError {
        self.connection.is_broken |= failure.cause == Cause::Broken;
        let error = failure.clone().into_error();
        self.failure = Some(failure);
        error
    }
}
