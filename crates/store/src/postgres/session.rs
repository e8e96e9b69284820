//! One transaction on one connection.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Statement};

use super::statement::{Cause, Done, Failure, Ready};
use crate::{Row, StoreError, Value};

/// How long an answer may take. The server ends a statement before that, so it is the network or the machine that hangs.
const ANSWER: Duration = Duration::from_secs(40);
/// Statements that travel together. `join_all` sends up to 30 in their order, and four may come to these.
const TOGETHER: usize = 24;
/// Prepared statements of one connection. The program has about a hundred texts, and those that are put together vary.
const STATEMENTS: usize = 512;

const BEGIN: &str = "BEGIN";
const BEGIN_READ: &str = "BEGIN READ ONLY";
const NUMBER: &str = "SELECT txid_current()";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

/// A connection with its prepared statements.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
    /// Something is wrong with it, or with the transaction that is open on it.
    is_broken: bool,
}

impl Connection {
    /// # Errors
    /// The server's.
    pub(super) async fn new(client: Client) -> Result<Self, Failure> {
        let mut connection = Self { client, statements: HashMap::new(), is_broken: false };
        // A failed transaction can be ended only by what is prepared already.
        for sql in [BEGIN, BEGIN_READ, NUMBER, COMMIT, ROLLBACK] {
            connection.prepared(sql).await?;
        }
        Ok(connection)
    }

    /// Whether it can still be used, as far as the server has told by now.
    pub(super) fn is_good(&self, runtime: &Runtime) -> bool {
        // Lets the thread's runtime read what has come in the meantime.
        runtime.block_on(tokio::task::yield_now());
        !self.is_broken && !self.client.is_closed()
    }

    /// What the server knows of a transaction: `committed`, `aborted` or `in progress`; anything else if it has forgotten it.
    ///
    /// # Errors
    /// The server's.
    pub(super) async fn status(&self, number: i64) -> Result<String, Failure> {
        let row = self.client.query_one("SELECT COALESCE(txid_status($1), 'forgotten')", &[&number]).await?;
        Ok(row.try_get(0)?)
    }

    async fn prepared(&mut self, sql: &str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        if self.statements.len() >= STATEMENTS {
            self.statements.retain(|sql, _| [BEGIN, BEGIN_READ, NUMBER, COMMIT, ROLLBACK].contains(&sql.as_str()));
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
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
    /// The number under which the server remembers whether the transaction was committed.
    number: Option<i64>,
}

/// How a transaction has ended.
#[derive(Debug)]
pub(super) enum End {
    /// It is on disk; a reading one has seen what it saw.
    Committed,
    /// Its closure gave it up.
    GivenUp,
    Failed(Failure),
    /// The connection broke while it was being committed. The server knows how that ended, under this number.
    Unknown(i64),
}

impl<'c> Session<'c> {
    pub(super) fn new(runtime: &'c Runtime, connection: &'c mut Connection, access: Access) -> Self {
        Self { runtime, connection, access, has_begun: false, later: Vec::new(), failure: None, number: None }
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
        match (self.failure, self.number) {
            (Some(Failure { cause: Cause::Broken, .. }), Some(number)) => End::Unknown(number),
            (Some(failure), _) => End::Failed(failure),
            (None, _) => End::GivenUp,
        }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        // Its number must be known before it may be committed.
        if self.access == Access::Write && self.number.is_none() {
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
            let (begin, number) = match self.access {
                Access::Read => (BEGIN_READ, None),
                Access::Write => (BEGIN, Some(NUMBER)),
            };
            for sql in std::iter::once(begin).chain(number) {
                flight.push(self.ready(sql, Cow::Borrowed(&[]))?);
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
                    self.number = done.get(1).and_then(|number| number.rows.first()?.get(0).ok());
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
