//! One transaction, with a closed type of values, so that every database refuses the same mistakes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use domain::Timestamp;
use rusqlite::Connection;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::StoreError;
use crate::dialect;

/// A value that goes into or comes out of the database.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Int(i64),
    Text(String),
    Uuid(Uuid),
    /// For `= ANY($n)` only.
    Uuids(Vec<Uuid>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Uuid> for Value {
    fn from(value: Uuid) -> Self {
        Self::Uuid(value)
    }
}

impl From<Vec<Uuid>> for Value {
    fn from(value: Vec<Uuid>) -> Self {
        Self::Uuids(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(Vec<Value>);

impl Row {
    /// The value of column `index`, counted from 0.
    ///
    /// # Errors
    /// The column does not exist or holds something else.
    pub fn get<T: FromValue>(&self, index: usize) -> Result<T, StoreError> {
        let value = self.0.get(index).cloned().unwrap_or(Value::Null);
        T::from_value(value).map_err(|value| StoreError::Failed(format!("column {index} holds {value:?}")))
    }
}

/// What a column can be read as.
pub trait FromValue: Sized {
    /// # Errors
    /// The value itself, if it is of another type.
    fn from_value(value: Value) -> Result<Self, Value>;
}

impl FromValue for i64 {
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Int(number) => Ok(number),
            other => Err(other),
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Text(text) => Ok(text),
            other => Err(other),
        }
    }
}

impl FromValue for Uuid {
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Uuid(uuid) => Ok(uuid),
            other => Err(other),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}

type AfterCommit = Box<dyn FnOnce() + Send>;

/// One atomic change to the database, or one consistent look at it. After a failed statement it can only be rolled back.
pub struct Tx<'c> {
    connection: &'c Connection,
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

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("poisoned", &self.poisoned).finish_non_exhaustive()
    }
}

impl<'c> Tx<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Self {
        Self { connection, poisoned: false, trouble: None, after_commit: Vec::new() }
    }

    /// Why a statement failed, if it was the disk.
    pub(crate) const fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// Runs `hook` once the transaction is on disk, before its `write` returns, in the order of commits; not at all if it
    /// fails. It runs on the writer's thread, so it must be short and must not touch the store.
    pub fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.after_commit.push(Box::new(hook));
    }

    /// Runs a statement, and returns how many rows it changed.
    ///
    /// # Errors
    /// The statement failed; the transaction is poisoned.
    pub fn execute(&mut self, sql: &str, values: &[Value]) -> Result<usize, StoreError> {
        self.statement(sql, values, |statement| statement.raw_execute())
    }

    /// All rows of a query or of a statement with `RETURNING`.
    ///
    /// # Errors
    /// The statement failed; the transaction is poisoned.
    pub fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.statement(sql, values, |statement| {
            let columns = statement.column_count();
            let mut rows = statement.raw_query();
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(Row((0..columns).map(|index| row.get_ref(index).map(read)).collect::<Result<_, _>>()?));
            }
            Ok(found)
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
        self.query_one(dialect::NOW, &[])?.map_or(Ok(Timestamp(0)), |row| row.get(0).map(Timestamp))
    }

    fn statement<T>(
        &mut self,
        sql: &str,
        values: &[Value],
        run: impl FnOnce(&mut rusqlite::CachedStatement<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        let result = bind(self.connection, sql, values).and_then(|mut statement| run(&mut statement).map_err(|e| failure(&e)));
        self.poisoned = result.is_err();
        self.trouble = match &result {
            Err(StoreError::Full) => Some(Trouble::Full),
            Err(StoreError::Io(_)) => Some(Trouble::Io),
            _ => self.trouble,
        };
        result
    }
}

fn bind<'c>(connection: &'c Connection, sql: &str, values: &[Value]) -> Result<rusqlite::CachedStatement<'c>, StoreError> {
    let mut statement = connection.prepare_cached(&dialect::sqlite_text(sql)).map_err(|e| failure(&e))?;
    if statement.parameter_count() != values.len() {
        return Err(StoreError::Failed(format!("{} values for the {} of: {sql}", values.len(), statement.parameter_count())));
    }
    for (index, value) in values.iter().enumerate() {
        if matches!(value, Value::Text(text) if text.contains('\0')) {
            return Err(StoreError::NulInText);
        }
        // SQLite numbers `$n` by first appearance, so they are bound by name.
        let parameter = statement.parameter_index(&format!("${}", index + 1)).map_err(|e| failure(&e))?;
        let parameter = parameter.ok_or_else(|| StoreError::Failed(format!("no ${} in: {sql}", index + 1)))?;
        statement.raw_bind_parameter(parameter, value).map_err(|e| failure(&e))?;
    }
    Ok(statement)
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Uuid(uuid) => ToSqlOutput::Borrowed(ValueRef::Blob(uuid.as_bytes())),
            Self::Uuids(uuids) => ToSqlOutput::from(dialect::sqlite_list(uuids)),
        })
    }
}

/// A blob is always an id here; what is no id reads as null, and so fails where it is used.
fn read(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        // No column holds fractions; a sum may come as one.
        ValueRef::Real(number) => Value::Text(number.to_string()),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Uuid::from_slice(bytes).map_or(Value::Null, Value::Uuid),
    }
}

/// The memory that connections share grows in the file beside the database, and says so in its own way when it cannot.
const NO_ROOM_FOR_INDEX: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

pub(crate) fn failure(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(_) if error.sqlite_error().is_some_and(|error| error.extended_code == NO_ROOM_FOR_INDEX) => StoreError::Full,
        Some(rusqlite::ErrorCode::SystemIoFailure | rusqlite::ErrorCode::CannotOpen) => StoreError::Io(error.to_string()),
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
        Some(rusqlite::ErrorCode::ConstraintViolation) => StoreError::Duplicate,
        _ => StoreError::Failed(error.to_string()),
    }
}

/// A closure on its way to the database, whose result type only its sender knows.
pub(crate) trait Job: Send {
    /// Runs the closure. Says whether its changes are to be kept.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Answers the sender; with an error if the commit failed after all.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

pub(crate) struct Work<F, T, E> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    after_commit: Vec<AfterCommit>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Work<F, T, E> {
    pub(crate) fn new(work: F, answer: oneshot::Sender<Result<T, E>>) -> Self {
        Self { work: Some(work), result: None, after_commit: Vec::new(), answer }
    }
}

impl<F, T, E> Job for Work<F, T, E>
where
    F: FnOnce(&mut Tx) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        // A closure that panics must cost its own transaction only, never the thread that serves everybody.
        let result = catch_unwind(AssertUnwindSafe(|| work(tx))).unwrap_or_else(|panic| Err(panicked(&*panic).into()));
        let keep = result.is_ok() && !tx.poisoned;
        self.result = Some(match result {
            // An error that the closure swallowed would otherwise look like success.
            Ok(_) if tx.poisoned => Err(StoreError::Poisoned.into()),
            result => result,
        });
        self.after_commit = std::mem::take(&mut tx.after_commit);
        keep
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = match (self.result, committed) {
            (Some(Ok(value)), Ok(())) => {
                self.after_commit.into_iter().for_each(|hook| hook());
                Ok(value)
            }
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(_)), Err(error)) => Err(error.into()),
            (None, committed) => Err(committed.err().unwrap_or(StoreError::Poisoned).into()),
        };
        // Nobody waits any more: the caller was dropped, which never undoes a commit.
        let _ = self.answer.send(result);
    }
}

fn panicked(panic: &(dyn Any + Send)) -> StoreError {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    StoreError::Failed(format!("a transaction panicked: {}", message.unwrap_or("no message")))
}
