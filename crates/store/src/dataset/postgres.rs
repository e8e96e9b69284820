//! A data set in PostgreSQL, read by a role of its own: one connection for each run, a read-only transaction that is always
//! rolled back, and the extended protocol, which takes one statement.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::{CancelToken, Client, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::postgres_role::{self, Role};
use super::postgres_schema;
use super::postgres_values::{cell, cell_type, element_type};
use super::run::{BATCH_ROWS, Batch, CellRow, CellType, Limits, Meter, Ran, ResultColumn, RunError, distinct_names};
use super::schema::Schema;
use crate::PostgresUrl;
use crate::postgres::connector;

/// Connections at once; the role's own limit is the same.
const CONNECTIONS: usize = 8;
const CONNECTING: Duration = Duration::from_secs(5);
/// The database itself stops the statement at its deadline. If it does not, it is told to after this long,
const CANCEL_AFTER: Duration = Duration::from_millis(100);
/// and then the connection is dropped.
const DROP_AFTER: Duration = Duration::from_secs(1);
/// Waiting for somebody else's lock is no part of a rule.
const LOCK_TIMEOUT_MS: u64 = 500;

/// The database, as the reader sees it.
#[derive(Clone)]
pub struct PostgresSet {
    url: Arc<PostgresUrl>,
    /// How it is reached; `Err` says why not.
    way: Arc<OnceLock<Result<MakeRustlsConnect, String>>>,
    /// The one schema that rules may read.
    schema: String,
    places: Arc<Semaphore>,
}

impl fmt::Debug for PostgresSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSet").field("url", &self.url).field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// A way to the database is not understood. The address, which may hold a password, is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is not understood: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
pub struct BadAddress;

impl PostgresSet {
    /// # Errors
    /// [`BadAddress`].
    pub fn new(address: &str, schema: &str) -> Result<Self, BadAddress> {
        let url = PostgresUrl::read(address, "colloquy-rules").map_err(|_| BadAddress)?;
        let (url, places) = (Arc::new(url), Arc::new(Semaphore::new(CONNECTIONS)));
        Ok(Self { url, way: Arc::default(), schema: schema.to_owned(), places })
    }

    /// The same database, with another schema to read.
    #[must_use]
    pub fn in_schema(mut self, schema: &str) -> Self {
        schema.clone_into(&mut self.schema);
        self
    }

    /// Every table and view of the schema; allowed are those that the reader may `SELECT`.
    ///
    /// # Errors
    /// [`RunError::Unavailable`].
    pub async fn schema(&self) -> Result<Schema, RunError> {
        let client = self.connect().await?;
        postgres_schema::read(&client, &self.schema).await.map_err(|error| unavailable(&error))
    }

    /// What the reader's role may do.
    ///
    /// # Errors
    /// [`RunError::Unavailable`].
    pub async fn role(&self) -> Result<Role, RunError> {
        let client = self.connect().await?;
        postgres_role::read(&client, &self.schema).await.map_err(|error| unavailable(&error))
    }

    /// Runs one statement and sends what it gives. Whatever the statement is, it changes nothing.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn run(
        &self,
        sql: &str,
        limits: Limits,
        cancel: &CancellationToken,
        rows: &Sender<Batch>,
    ) -> Result<Ran, RunError> {
        self.guarded(limits, cancel, async |client| {
            let cost = explain(client, sql, limits).await?;
            Ok(Ran { cost, ..fetch(client, sql, limits, rows).await? })
        })
        .await
    }

    /// Asks the planner, without running the statement; gives the estimated cost.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn plan(&self, sql: &str, limits: Limits) -> Result<Option<f64>, RunError> {
        self.guarded(limits, &CancellationToken::new(), async |client| explain(client, sql, limits).await).await
    }

    /// Works within a read-only transaction that is rolled back, on a connection that is thrown away, against the clock.
    async fn guarded<T>(
        &self,
        limits: Limits,
        cancel: &CancellationToken,
        work: impl AsyncFnOnce(&Client) -> Result<T, RunError>,
    ) -> Result<T, RunError> {
        let _place = self.places.acquire().await.map_err(|_| RunError::Cancelled)?;
        let client = self.connect().await?;
        let token = client.cancel_token();
        let deadline = Instant::now() + limits.time();
        let all = async {
            begin(&client, limits).await.map_err(|error| failure(&error))?;
            let result = work(&client).await;
            // Even a read-only transaction keeps some things if it is committed, and some survive its end.
            let _ = client.batch_execute("ROLLBACK").await;
            let _ = client.batch_execute("DISCARD ALL").await;
            result
        };
        tokio::pin!(all);
        tokio::select! {
            result = &mut all => return result,
            () = cancel.cancelled() => {}
            () = tokio::time::sleep_until(deadline + CANCEL_AFTER) => {}
        }
        ask_to_cancel(token, self.way()?).await;
        let over = if cancel.is_cancelled() { RunError::Cancelled } else { RunError::Timeout };
        match timeout_at(Instant::now() + DROP_AFTER, all).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(RunError::Timeout)) | Err(_) => Err(over),
            Ok(Err(error)) => Err(error),
        }
    }

    fn way(&self) -> Result<MakeRustlsConnect, RunError> {
        // The certificates of the system are many.
        let way = self.way.get_or_init(|| connector(&self.url));
        way.clone().map_err(|reason| {
            tracing::warn!(reason, "the data set of the rules cannot be reached safely");
            RunError::Unavailable("the way to the database is not safe".to_owned())
        })
    }

    async fn connect(&self) -> Result<Client, RunError> {
        let connecting = timeout(CONNECTING, self.url.config.connect(self.way()?)).await;
        let (client, connection) = connecting
            .map_err(|_| RunError::Unavailable("the database does not answer".to_owned()))?
            .map_err(|error| unavailable(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the data set of the rules ended");
            }
        });
        Ok(client)
    }
}

async fn begin(client: &Client, limits: Limits) -> Result<(), tokio_postgres::Error> {
    let text = format!(
        "BEGIN READ ONLY; SET LOCAL search_path = ''; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; \
         SET LOCAL work_mem = '16MB'; SET LOCAL standard_conforming_strings = on; SET LOCAL DateStyle = 'ISO'; \
         SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL jit = off",
        limits.time_ms
    );
    client.batch_execute(&text).await
}

/// The planner's estimate. `prepare` takes exactly one statement, so that no second one hides behind `EXPLAIN`.
async fn explain(client: &Client, sql: &str, limits: Limits) -> Result<Option<f64>, RunError> {
    client.prepare(sql).await.map_err(|error| failure(&error))?;
    let text = format!("EXPLAIN (FORMAT JSON) {sql}");
    let rows = client.query(&text, &[]).await.map_err(|error| failure(&error))?;
    let plan: Option<serde_json::Value> = rows.first().and_then(|row| row.try_get(0).ok());
    let cost = plan.and_then(|plan| plan[0]["Plan"]["Total Cost"].as_f64());
    if cost.is_some_and(|cost| cost > limits.cost) { Err(RunError::TooExpensive) } else { Ok(cost) }
}

/// A cursor refuses whatever is no query, also a write within `WITH`. The text of `FETCH` is ours, so it may be asked in the
/// simple protocol, which tells every value as text.
async fn fetch(client: &Client, sql: &str, limits: Limits, sender: &Sender<Batch>) -> Result<Ran, RunError> {
    let statement = client.prepare(sql).await.map_err(|error| failure(&error))?;
    if !statement.params().is_empty() || statement.columns().is_empty() {
        return Err(RunError::Forbidden("only a query is allowed".to_owned()));
    }
    let types: Vec<(CellType, Option<CellType>)> =
        statement.columns().iter().map(|column| (cell_type(column.type_()), element_type(column.type_()))).collect();
    let names = distinct_names(statement.columns().iter().map(|column| column.name().to_owned()));
    let columns =
        names.into_iter().zip(&types).map(|(name, (cell_type, _))| ResultColumn { name, cell_type: *cell_type }).collect();
    let declare = format!("DECLARE rq NO SCROLL CURSOR WITHOUT HOLD FOR {sql}");
    client.execute(&declare, &[]).await.map_err(|error| failure(&error))?;
    send(sender, Batch::Columns(columns)).await?;
    let mut meter = Meter::new(limits);
    let next = format!("FETCH FORWARD {BATCH_ROWS} FROM rq");
    loop {
        let messages = client.simple_query(&next).await.map_err(|error| failure(&error))?;
        let mut rows: Vec<CellRow> = Vec::with_capacity(BATCH_ROWS);
        for message in &messages {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let row: CellRow =
                types.iter().enumerate().map(|(index, (kind, element))| cell(row.get(index), *kind, *element)).collect();
            if !meter.takes(&row) {
                send(sender, Batch::Rows(rows)).await?;
                return Ok(Ran { rows: meter.rows(), truncated: true, cost: None });
            }
            rows.push(row);
        }
        let is_last = rows.len() < BATCH_ROWS;
        send(sender, Batch::Rows(rows)).await?;
        if is_last {
            return Ok(Ran { rows: meter.rows(), truncated: false, cost: None });
        }
    }
}

async fn send(sender: &Sender<Batch>, batch: Batch) -> Result<(), RunError> {
    if matches!(&batch, Batch::Rows(rows) if rows.is_empty()) {
        return Ok(());
    }
    sender.send(batch).await.map_err(|_| RunError::Abandoned)
}

async fn ask_to_cancel(token: CancelToken, way: MakeRustlsConnect) {
    // A database that does not even take this loses the connection.
    let _ = timeout(DROP_AFTER, token.cancel_query(way)).await;
}

fn unavailable(error: &tokio_postgres::Error) -> RunError {
    // The words of a failed connection name host and user.
    tracing::warn!(code = error.code().map(SqlState::code), "the data set of the rules does not answer");
    RunError::Unavailable("the database does not answer".to_owned())
}

/// Classes 42 (syntax, names, types) and 0A (not supported) speak of the statement only; others may repeat values.
fn failure(error: &tokio_postgres::Error) -> RunError {
    let Some(db) = error.as_db_error() else { return unavailable(error) };
    let code = db.code().code();
    match code {
        "57014" => RunError::Timeout,
        "42501" => RunError::Forbidden("the query reads what is not available".to_owned()),
        "25006" => RunError::Forbidden("only a query is allowed".to_owned()),
        "42601" if db.message().contains("multiple commands") => {
            RunError::Forbidden("exactly one statement is allowed".to_owned())
        }
        "22012" => RunError::Mistake("division by zero".to_owned()),
        _ if code.starts_with("42") || code.starts_with("0A") => RunError::Mistake(db.message().to_owned()),
        _ if code.starts_with("22") => RunError::Mistake("a value does not fit its type".to_owned()),
        _ if code.starts_with("53") || code.starts_with("54") => {
            RunError::Mistake("the query needs too much memory or space".to_owned())
        }
        _ if code.starts_with("08") || code.starts_with("57") => unavailable(error),
        "55P03" => RunError::Unavailable("a relation is locked".to_owned()),
        _ => RunError::Mistake("the database refused the query".to_owned()),
    }
}
