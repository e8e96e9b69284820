//! Statements on SQLite: values in, rows out, errors in common words.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, ffi};
use uuid::Uuid;

use crate::{Row, StoreError, Value, dialect};

pub(crate) fn execute(connection: &Connection, sql: &str, values: &[Value]) -> Result<usize, StoreError> {
    bind(connection, sql, values)?.raw_execute().map_err(|e| failure(&e))
}

pub(crate) fn query(connection: &Connection, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
    let mut statement = bind(connection, sql, values)?;
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(|e| failure(&e))? {
        let values = (0..columns).map(|index| row.get_ref(index).map(read)).collect::<Result<_, _>>();
        found.push(Row::new(values.map_err(|e| failure(&e))?));
    }
    Ok(found)
}

fn bind<'c>(connection: &'c Connection, sql: &str, values: &[Value]) -> Result<CachedStatement<'c>, StoreError> {
    let mut statement = connection.prepare_cached(&dialect::sqlite_text(sql)).map_err(|e| failure(&e))?;
    if statement.parameter_count() != values.len() {
        return Err(StoreError::Failed(format!("{} values for the {} of: {sql}", values.len(), statement.parameter_count())));
    }
    for (index, value) in values.iter().enumerate() {
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
pub(crate) fn read(value: ValueRef<'_>) -> Value {
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
const NO_ROOM_FOR_INDEX: i32 = ffi::SQLITE_IOERR_SHMSIZE;

pub(crate) fn failure(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error().map(|error| (error.code, error.extended_code)) {
        Some((ErrorCode::DiskFull, _) | (_, NO_ROOM_FOR_INDEX)) => StoreError::Full,
        Some((ErrorCode::SystemIoFailure | ErrorCode::CannotOpen, _)) => StoreError::Io(error.to_string()),
        Some((_, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY)) => StoreError::Duplicate,
        _ => StoreError::Failed(error.to_string()),
    }
}
