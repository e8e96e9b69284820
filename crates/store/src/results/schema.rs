//! Results in a schema of the server's PostgreSQL database.

mod columns;

use futures_util::TryStreamExt;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Transaction};

use super::{Loaded, Page, ResultTable, difference_of, quoted};
use crate::dataset::{BATCH_ROWS, Batch, CellRow, CellType, ResultColumn, distinct_names};
use crate::postgres::{connected, failure};
use crate::{PostgresUrl, StoreError};
use columns::{Storage, cell};

/// Beside the schema `public`; beside another one, which some other installation has in the same database, it is named by that.
const SCHEMA: &str = "colloquy_rules";
/// Bytes of a name that PostgreSQL keeps.
const NAME: usize = 63;
/// Of several nodes that start at once one makes the schema. The number is the word "rules".
const LOCK: &str = "SELECT pg_advisory_xact_lock(491596309875)";
const REGISTER: &str = "name text NOT NULL PRIMARY KEY, columns text NOT NULL, rows bigint NOT NULL, bytes bigint NOT NULL, created_at bigint NOT NULL";

/// The schema. Each call has a connection of its own: there are few, and some take long.
#[derive(Debug, Clone)]
pub(super) struct InSchema {
    url: PostgresUrl,
    schema: String,
}

impl InSchema {
    pub(super) fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        let mut found = Self { url: url.clone(), schema: SCHEMA.to_owned() };
        found.schema = found.with(async |client| {
            let tx = client.transaction().await?;
            tx.execute(LOCK, &[]).await?;
            let beside: String = tx.query_one("SELECT coalesce(current_schema(), 'public')::text", &[]).await?.try_get(0)?;
            let schema = if beside == "public" { SCHEMA.to_owned() } else { format!("{beside}_rules") };
            // Whoever may not create a schema may still use one that is there.
            let find = "SELECT to_regnamespace($1) IS NOT NULL";
            if !tx.query_one(find, &[&quoted(&schema)]).await?.try_get::<_, bool>(0)? {
                tx.batch_execute(&format!("CREATE SCHEMA {}", quoted(&schema))).await?;
            }
            tx.batch_execute(&format!("CREATE TABLE IF NOT EXISTS {}.result_table ({REGISTER})", quoted(&schema))).await?;
            tx.commit().await?;
            Ok(schema)
        })?;
        Ok(found)
    }

    /// A name as SQL has it, in the schema.
    fn placed(&self, name: &str) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(name))
    }

    fn register(&self) -> String {
        self.placed("result_table")
    }

    fn with<T>(&self, work: impl AsyncFnOnce(&mut Client) -> Result<T, tokio_postgres::Error>) -> Result<T, StoreError> {
        let (runtime, mut client) = connected(&self.url)?;
        runtime.block_on(work(&mut client)).map_err(failure)
    }

    /// One transaction, from the table's first row to the moment from which it counts: a crash leaves nothing of it.
    pub(super) fn load(
        &self,
        name: &str,
        created_at: i64,
        preview_rows: usize,
        batches: &mut Receiver<Batch>,
        is_whole: impl FnOnce() -> bool,
    ) -> Result<Option<Loaded>, StoreError> {
        let Some(Batch::Columns(columns)) = batches.blocking_recv() else { return Ok(None) };
        let (runtime, mut client) = connected(&self.url)?;
        let tx = runtime.block_on(client.transaction()).map_err(failure)?;
        let table = ResultTable { name: name.to_owned(), columns, rows: 0, bytes: 0, created_at };
        let place = self.placed(name);
        let Some(loaded) = fill(&runtime, &tx, &place, table, preview_rows, batches).map_err(failure)?.filter_whole(is_whole)
        else {
            // The transaction is rolled back.
            return Ok(None);
        };
        describe(&runtime, tx, &self.register(), &loaded.table)?;
        Ok(Some(loaded))
    }

    pub(super) fn send(&self, table: &ResultTable, page: &Page, sender: &Sender<Batch>) -> Result<(), StoreError> {
        if sender.blocking_send(Batch::Columns(table.columns.clone())).is_err() {
            return Ok(());
        }
        self.with(async |client| {
            let types = client.prepare(&format!("SELECT * FROM {}", self.placed(&table.name))).await?;
            let stored: Vec<Storage> = types.columns().iter().skip(1).map(|column| Storage::read(column.type_())).collect();
            let rows = client
                .query_raw::<_, &(dyn ToSql + Sync), _>(&select(&self.placed(&table.name), table, &stored, page), [])
                .await?;
            let mut rows = std::pin::pin!(rows);
            let mut batch: Vec<CellRow> = Vec::new();
            while let Some(row) = rows.try_next().await? {
                let cells = stored.iter().zip(&table.columns).enumerate();
                batch.push(
                    cells.map(|(at, (stored, column))| cell(&row, at, *stored, column.cell_type)).collect::<Result<_, _>>()?,
                );
                if batch.len() == BATCH_ROWS && sender.send(Batch::Rows(std::mem::take(&mut batch))).await.is_err() {
                    return Ok(());
                }
            }
            if !batch.is_empty() {
                // Nobody takes them any more: there is nobody to tell either.
                let _ = sender.send(Batch::Rows(batch)).await;
            }
            Ok(())
        })
    }

    pub(super) fn table(&self, name: &str) -> Result<Option<ResultTable>, StoreError> {
        let sql = format!("SELECT name, columns, rows, bytes, created_at FROM {} WHERE name = $1", self.register());
        let row = self.with(async |client| client.query_opt(&sql, &[&name]).await)?;
        row.as_ref().map(described).transpose()
    }

    pub(super) fn tables(&self) -> Result<Vec<ResultTable>, StoreError> {
        let sql = format!("SELECT name, columns, rows, bytes, created_at FROM {} ORDER BY created_at, name", self.register());
        let rows = self.with(async |client| client.query(&sql, &[]).await)?;
        rows.iter().map(described).collect()
    }

    pub(super) fn show(&self, view: &str, name: &str) -> Result<(), StoreError> {
        let shown = self.table(name)?.ok_or_else(|| StoreError::Failed(format!("there is no table {name}")))?;
        let short = |name: &str| name[..name.floor_char_boundary(NAME - 4)].to_owned();
        let names = distinct_names(shown.columns.iter().map(|column| short(&column.name)));
        let columns: Vec<String> = (1..).zip(names).map(|(at, name)| format!("c{at} AS {}", quoted(&name))).collect();
        let view = self.placed(view);
        let text =
            format!("DROP VIEW IF EXISTS {view}; CREATE VIEW {view} AS SELECT {} FROM {}", columns.join(", "), self.placed(name));
        self.in_transaction(&text)
    }

    pub(super) fn hide(&self, view: &str) -> Result<(), StoreError> {
        self.in_transaction(&format!("DROP VIEW IF EXISTS {}", self.placed(view)))
    }

    pub(super) fn drop_table(&self, name: &str) -> Result<(), StoreError> {
        let text = format!("DROP TABLE IF EXISTS {} CASCADE", self.placed(name));
        let forget = format!("DELETE FROM {} WHERE name = $1", self.register());
        self.with(async |client| {
            let tx = client.transaction().await?;
            tx.execute(&forget, &[&name]).await?;
            tx.batch_execute(&text).await?;
            tx.commit().await
        })
    }

    pub(super) fn difference(
        &self,
        new: &ResultTable,
        old: &ResultTable,
        keys: &[String],
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let (runtime, client) = connected(&self.url)?;
        difference_of(
            new,
            old,
            keys,
            |name| self.placed(name),
            |text| {
                let row = runtime.block_on(client.query_one(text, &[])).map_err(failure)?;
                row.try_get(0).map_err(failure)
            },
        )
    }

    fn in_transaction(&self, text: &str) -> Result<(), StoreError> {
        self.with(async |client| {
            let tx = client.transaction().await?;
            tx.batch_execute(text).await?;
            tx.commit().await
        })
    }
}

impl Loaded {
    fn filter_whole(self, is_whole: impl FnOnce() -> bool) -> Option<Self> {
        is_whole().then_some(self)
    }
}

fn fill(
    runtime: &Runtime,
    tx: &Transaction<'_>,
    place: &str,
    mut table: ResultTable,
    preview_rows: usize,
    batches: &mut Receiver<Batch>,
) -> Result<Loaded, tokio_postgres::Error> {
    let mut stored: Vec<Storage> = table.columns.iter().map(|column| Storage::of(column.cell_type)).collect();
    let mut preview: Vec<CellRow> = Vec::new();
    let columns: Vec<String> = (1..).zip(&stored).map(|(at, stored)| format!("c{at} {}", stored.sql_type())).collect();
    let create = format!("CREATE TABLE {place} (n bigint PRIMARY KEY, {})", columns.join(", "));
    runtime.block_on(tx.batch_execute(&create))?;
    while let Some(batch) = batches.blocking_recv() {
        let Batch::Rows(rows) = batch else { continue };
        for (at, stored) in stored.iter_mut().enumerate() {
            // SQLite's columns hold what they like.
            if rows.iter().filter_map(|row| row.get(at)).any(|cell| !stored.takes(cell)) {
                let column = format!("c{}", at + 1);
                let text = format!("ALTER TABLE {place} ALTER {column} TYPE text USING {column}::text");
                runtime.block_on(tx.batch_execute(&text))?;
                *stored = Storage::Text;
            }
        }
        let from = i64::try_from(table.rows).unwrap_or(i64::MAX);
        insert(runtime, tx, place, &stored, from, &rows)?;
        table.rows += rows.len() as u64;
        table.bytes += rows.iter().flatten().map(crate::dataset::Cell::size).sum::<u64>();
        let missing = preview_rows.saturating_sub(preview.len());
        preview.extend(rows.into_iter().take(missing));
    }
    Ok(Loaded { table, preview })
}

/// All rows of a batch with one statement: each column travels as an array.
fn insert(
    runtime: &Runtime,
    tx: &Transaction<'_>,
    place: &str,
    stored: &[Storage],
    from: i64,
    rows: &[CellRow],
) -> Result<(), tokio_postgres::Error> {
    let (mut taken, mut arrays) = (Vec::new(), Vec::new());
    let mut values: Vec<Box<dyn ToSql + Sync>> = vec![Box::new(from)];
    for (at, stored) in stored.iter().enumerate() {
        taken.push(format!("u.c{}{}", at + 1, stored.cast()));
        arrays.push(format!("${}::{}[]", at + 2, stored.travels_as()));
        values.push(stored.column(rows, at));
    }
    let names: Vec<String> = (1..=stored.len()).map(|at| format!("c{at}")).collect();
    let names = names.join(", ");
    let text = format!(
        "INSERT INTO {place} (n, {names}) SELECT $1::bigint + u.n, {} FROM unnest({}) WITH ORDINALITY AS u({names}, n)",
        taken.join(", "),
        arrays.join(", ")
    );
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(AsRef::as_ref).collect();
    runtime.block_on(tx.execute(&text, &values)).map(drop)
}

fn describe(runtime: &Runtime, tx: Transaction<'_>, register: &str, table: &ResultTable) -> Result<(), StoreError> {
    let columns = serde_json::to_string(&table.columns).map_err(|error| StoreError::Failed(error.to_string()))?;
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let sql = format!("INSERT INTO {register} (name, columns, rows, bytes, created_at) VALUES ($1, $2, $3, $4, $5)");
    let describing = async {
        tx.execute(&sql, &[&table.name, &columns, &count(table.rows), &count(table.bytes), &table.created_at]).await?;
        tx.commit().await
    };
    runtime.block_on(describing).map_err(failure)
}

fn described(row: &Row) -> Result<ResultTable, StoreError> {
    let count = |at: usize| row.try_get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or(0)).map_err(failure);
    let columns: String = row.try_get(1).map_err(failure)?;
    let columns: Vec<ResultColumn> = serde_json::from_str(&columns).map_err(|error| StoreError::Failed(error.to_string()))?;
    let name = row.try_get(0).map_err(failure)?;
    Ok(ResultTable { name, columns, rows: count(2)?, bytes: count(3)?, created_at: row.try_get(4).map_err(failure)? })
}

fn select(place: &str, table: &ResultTable, stored: &[Storage], page: &Page) -> String {
    let columns: Vec<String> = (1..).zip(stored).map(|(at, stored)| format!("c{at}{}", stored.read_as())).collect();
    let order = match page.order.as_ref().and_then(|order| order.place_in(table)) {
        Some((at, cell_type, direction)) => {
            let nulls = if direction == "ASC" { "FIRST" } else { "LAST" };
            let cast = match (stored.get(at - 1), cell_type) {
                // By its bytes, as the other database does it.
                (Some(Storage::Text), CellType::Text | CellType::Date | CellType::Timestamp) => " COLLATE \"C\"",
                _ => "",
            };
            // Of the table, because a column of the answer may have the same name and another type.
            format!("r.c{at}{cast} {direction} NULLS {nulls}, r.n")
        }
        None => "r.n".to_owned(),
    };
    let limit = page.limit.map_or_else(|| "ALL".to_owned(), |limit| i64::try_from(limit).unwrap_or(i64::MAX).to_string());
    format!("SELECT {} FROM {place} AS r ORDER BY {order} LIMIT {limit} OFFSET {}", columns.join(", "), page.offset)
}
