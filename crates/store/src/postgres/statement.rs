//! Statements on PostgreSQL: values in, rows out, errors in common words.

use std::borrow::Cow;
use std::error::Error as _;

use bytes::BytesMut;
use futures_util::TryStreamExt;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::{Row, StoreError, Value};

/// A statement with its values, ready to be sent.
#[derive(Debug)]
pub(super) struct Ready<'v> {
    statement: Statement,
    values: Cow<'v, [Value]>,
}

/// What a statement has done.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) rows: Vec<Row>,
    pub(super) changed: usize,
}

impl<'v> Ready<'v> {
    /// # Errors
    /// The values are not what the statement takes.
    pub(super) fn new(statement: Statement, sql: &str, values: Cow<'v, [Value]>) -> Result<Self, StoreError> {
        let types = statement.params();
        if types.len() != values.len() {
            return Err(StoreError::Failed(format!("{} values for the {} of: {sql}", values.len(), types.len())));
        }
        for (n, (value, type_)) in (1..).zip(values.iter().zip(types)) {
            let fits = match value {
                Value::Null => true,
                Value::Int(_) => *type_ == Type::INT8,
                Value::Text(_) => *type_ == Type::TEXT,
                Value::Uuid(_) => *type_ == Type::UUID,
                Value::Uuids(_) => *type_ == Type::UUID_ARRAY,
            };
            if !fits {
                return Err(StoreError::Failed(format!("${n} is of the type {type_}, for which there is no value: {sql}")));
            }
        }
        Ok(Self { statement, values })
    }

    /// The first poll sends it.
    pub(super) async fn send(&self, client: &Client) -> Result<Done, Failure> {
        let values = self.values.iter().map(|value| value as &(dyn ToSql + Sync));
        let stream = client.query_raw(&self.statement, values).await?;
        let mut stream = std::pin::pin!(stream);
        let mut done = Done::default();
        while let Some(row) = stream.try_next().await? {
            done.rows.push(read(&row)?);
        }
        done.changed = stream.rows_affected().and_then(|rows| usize::try_from(rows).ok()).unwrap_or(0);
        Ok(done)
    }
}

impl ToSql for Value {
    fn to_sql(&self, type_: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) => number.to_sql(type_, out),
            Self::Text(text) => text.to_sql(type_, out),
            Self::Uuid(uuid) => uuid.to_sql(type_, out),
            Self::Uuids(uuids) => uuids.to_sql(type_, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // [`Ready::new`] has looked at the value as well.
        true
    }

    to_sql_checked!();
}

pub(super) fn read(row: &tokio_postgres::Row) -> Result<Row, Failure> {
    let value = |index: usize| {
        let type_ = row.columns()[index].type_();
        let value = match *type_ {
            Type::INT8 => row.try_get::<_, Option<i64>>(index)?.map(Value::Int),
            // Literals and counts of their own, such as `SELECT 1`.
            Type::INT4 => row.try_get::<_, Option<i32>>(index)?.map(|number| Value::Int(number.into())),
            // SQLite has no truth values, only 0 and 1.
            Type::BOOL => row.try_get::<_, Option<bool>>(index)?.map(|truth| Value::Int(truth.into())),
            Type::TEXT | Type::VARCHAR | Type::NAME => row.try_get::<_, Option<String>>(index)?.map(Value::Text),
            Type::UUID => row.try_get::<_, Option<Uuid>>(index)?.map(Value::Uuid),
            _ => return Err(Failure::ours(format!("column {index} is of the type {type_}, which needs a cast"))),
        };
        Ok(value.unwrap_or(Value::Null))
    };
    (0..row.len()).map(value).collect::<Result<_, _>>().map(Row::new)
}

/// Why something failed, and what may be done about it.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    sentence: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The connection is gone, and with it a transaction that had not begun to commit.
    Broken,
    /// The server does not take connections just now.
    Unreachable,
    /// Another transaction was in the way; the same one may well succeed now.
    Conflict,
    /// A unique index has refused a row.
    Duplicate,
    Full,
    Other,
}

impl Failure {
    pub(super) const fn ours(sentence: String) -> Self {
        Self { cause: Cause::Other, sentence }
    }

    /// Nothing has come back for so long that nothing will.
    pub(super) fn silence() -> Self {
        Self { cause: Cause::Broken, sentence: "the server does not answer".to_owned() }
    }

    /// The server cannot be reached, or does not let us in.
    pub(super) fn connecting(error: tokio_postgres::Error) -> Self {
        let failure = Self::from(error);
        match failure.cause {
            Cause::Broken => Self { cause: Cause::Unreachable, ..failure },
            _ => failure,
        }
    }

    pub(super) fn sentence(&self) -> &str {
        &self.sentence
    }

    pub(super) fn into_error(self) -> StoreError {
        match self.cause {
            Cause::Full => StoreError::Full,
            Cause::Duplicate => StoreError::Duplicate,
            Cause::Broken | Cause::Unreachable => StoreError::Unreachable(self.sentence),
            Cause::Conflict => StoreError::Conflict(self.sentence),
            Cause::Other => StoreError::Failed(self.sentence),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let cause = match error.as_db_error() {
            Some(refusal) => cause_of(refusal),
            // Neither values nor types can be wrong here, so it is the connection.
            None => Cause::Broken,
        };
        Self { cause, sentence: sentence(&error) }
    }
}

fn cause_of(refusal: &DbError) -> Cause {
    let code = refusal.code();
    if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED {
        Cause::Conflict
    } else if *code == SqlState::UNIQUE_VIOLATION {
        Cause::Duplicate
    } else if *code == SqlState::DISK_FULL {
        Cause::Full
    } else if [SqlState::CANNOT_CONNECT_NOW, SqlState::TOO_MANY_CONNECTIONS].contains(code) {
        Cause::Unreachable
    } else if matches!(refusal.parsed_severity(), Some(Severity::Fatal | Severity::Panic)) {
        Cause::Broken
    } else {
        Cause::Other
    }
}

/// The error in words. What the server says in detail may repeat what somebody wrote, and is left out.
pub(super) fn sentence(error: &tokio_postgres::Error) -> String {
    if let Some(refusal) = error.as_db_error() {
        return format!("{} ({})", refusal.message(), refusal.code().code());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}").replace(": : ", ": "),
        None => error.to_string(),
    }
}
