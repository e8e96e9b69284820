//! A PostgreSQL database as one side of a move.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Kind, MoveError, Rows, Table, Use};
use crate::postgres::{Alone, PostgresUrl};
use crate::{StoreError, Value, dialect};

pub(super) struct Server {
    database: Alone,
}

impl Server {
    /// In a transaction that is rolled back unless it is committed.
    pub(super) fn open(url: &PostgresUrl, use_: Use) -> Result<Self, MoveError> {
        let database = Alone::open(url, use_ == Use::Alone)?;
        if use_ == Use::Alone && !database.lock()? {
            return Err(MoveError::InUse(url.to_string()));
        }
        let begin = match use_ {
            Use::Alone => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Use::Shared => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        database.command(begin)?;
        Ok(Self { database })
    }

    pub(super) fn tables(&self) -> Result<Vec<Table>, MoveError> {
        let columns = self.database.query(
            "SELECT table_name::text, column_name::text, udt_name::text FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name NOT IN ('schema_version', 'part_search', 'commit_mark') \
             ORDER BY table_name, ordinal_position",
            &[],
        )?;
        let mut tables: Vec<Table> = Vec::new();
        for column in columns {
            let (table, name, type_): (String, String, String) = (column.get(0)?, column.get(1)?, column.get(2)?);
            let strange = || MoveError::Tables(format!("{table}.{name} is of type {type_}"));
            let kind = Kind::parse(&type_).ok_or_else(strange)?;
            match tables.last_mut().filter(|last| last.name == table) {
                Some(last) => last.columns.push((name, kind)),
                None => tables.push(Table { name: table, columns: vec![(name, kind)] }),
            }
        }
        Ok(tables)
    }

    pub(super) fn read(
        &self,
        table: &Table,
        batch: usize,
        take: &mut dyn FnMut(Rows) -> Result<bool, MoveError>,
    ) -> Result<(), MoveError> {
        let select = format!("SELECT {} FROM {}", table.column_names(), table.name);
        self.database.command(&format!("DECLARE moved NO SCROLL CURSOR FOR {select}"))?;
        loop {
            let rows = self.database.query(&format!("FETCH {batch} FROM moved"), &[])?;
            let is_last = rows.len() < batch;
            let goes_on = rows.is_empty() || take(rows.into_iter().map(crate::Row::into_values).collect())?;
            if is_last || !goes_on {
                break;
            }
        }
        self.database.command("CLOSE moved")?;
        Ok(())
    }

    /// One statement for all rows: each column comes as a list.
    pub(super) fn write(&self, table: &Table, rows: &[Vec<Value>]) -> Result<(), MoveError> {
        let mut lists: Vec<Box<dyn ToSql + Sync>> = Vec::new();
        let mut places = Vec::new();
        for (index, (name, kind)) in table.columns.iter().enumerate() {
            let strange = |value: &Value| StoreError::Failed(format!("{}.{name} holds {value:?}", table.name));
            let n = index + 1;
            match kind {
                Kind::Int => {
                    let column =
                        rows.iter().map(|row| optional(row.get(index), |value| int(value).ok_or_else(|| strange(value))));
                    lists.push(Box::new(column.collect::<Result<Vec<Option<i64>>, _>>()?));
                    places.push(format!("${n}::bigint[]"));
                }
                Kind::Text => {
                    let column =
                        rows.iter().map(|row| optional(row.get(index), |value| text(value).ok_or_else(|| strange(value))));
                    lists.push(Box::new(column.collect::<Result<Vec<Option<String>>, _>>()?));
                    places.push(format!("${n}::text[]"));
                }
                Kind::Uuid => {
                    let column =
                        rows.iter().map(|row| optional(row.get(index), |value| uuid(value).ok_or_else(|| strange(value))));
                    lists.push(Box::new(column.collect::<Result<Vec<Option<Uuid>>, _>>()?));
                    places.push(format!("${n}::uuid[]"));
                }
            }
        }
        let sql = format!("INSERT INTO {} ({}) SELECT * FROM UNNEST({})", table.name, table.column_names(), places.join(", "));
        let values: Vec<&(dyn ToSql + Sync)> = lists.iter().map(AsRef::as_ref).collect();
        self.database.execute(&sql, &values)?;
        if table.name == "part" {
            self.index(table, rows)?;
        }
        Ok(())
    }

    /// Makes the texts among these parts findable.
    fn index(&self, table: &Table, rows: &[Vec<Value>]) -> Result<(), MoveError> {
        let places = ["id", "conversation_id", "kind", "text"].map(|column| table.position(column));
        let [Some(id), Some(conversation), Some(kind), Some(words)] = places else { return Ok(()) };
        let (mut ids, mut conversations, mut vectors) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows.iter().filter(|row| row[kind] == Value::Text("text".to_owned())) {
            ids.push(uuid(&row[id]));
            conversations.push(uuid(&row[conversation]));
            vectors.push(text(&row[words]).map(|text| dialect::words(&text)));
        }
        self.database.execute(dialect::INDEX_POSTGRES_PARTS, &[&ids, &conversations, &vectors])?;
        Ok(())
    }

    pub(super) fn empty(&self, tables: &[Table]) -> Result<(), MoveError> {
        let names = tables.iter().map(|table| table.name.as_str()).chain(["part_search"]);
        self.database.command(&format!("TRUNCATE {}", names.collect::<Vec<_>>().join(", ")))?;
        Ok(())
    }

    pub(super) fn commit(&self) -> Result<(), MoveError> {
        Ok(self.database.command("COMMIT")?)
    }
}

fn optional<T>(value: Option<&Value>, read: impl FnOnce(&Value) -> Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(value).map(Some),
    }
}

fn int(value: &Value) -> Option<i64> {
    if let Value::Int(number) = value { Some(*number) } else { None }
}

fn text(value: &Value) -> Option<String> {
    if let Value::Text(text) = value { Some(text.clone()) } else { None }
}

fn uuid(value: &Value) -> Option<Uuid> {
    if let Value::Uuid(id) = value { Some(*id) } else { None }
}
