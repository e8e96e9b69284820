//! Reading tables by name: results first, then what of the data set may be read. A name is looked up in lists; only then is
//! it part of a statement, and the statement is ours.

use store::dataset::{BATCHES, Batch, CellRow, ResultColumn, RunError};
use store::results::{Order, Page};
use store::rules;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::names;
use super::outcome::{Failure, RuleErrorCode, Stage};
use super::work::failure_of;
use crate::{Engine, Error, Result};

/// Which rows of which table.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub table: String,
    /// `None`: all of them.
    pub limit: Option<u64>,
    pub offset: u64,
    /// The column, and whether the largest comes first.
    pub order: Option<(String, bool)>,
}

/// Why rows do not come, or no more of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRead {
    pub code: RuleErrorCode,
    pub message: String,
}

/// Columns, and rows as they come.
#[derive(Debug)]
pub struct QueryRows {
    pub columns: Vec<ResultColumn>,
    batches: mpsc::Receiver<Batch>,
    /// Known when there are no more rows, and told once.
    end: Option<End>,
}

type End = oneshot::Receiver<std::result::Result<(), NotRead>>;

impl QueryRows {
    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// [`NotRead`]: those that came are not all of them.
    pub async fn next(&mut self) -> std::result::Result<Option<Vec<CellRow>>, NotRead> {
        loop {
            match self.batches.recv().await {
                Some(Batch::Rows(rows)) => return Ok(Some(rows)),
                Some(Batch::Columns(_)) => {}
                None => match self.end.take() {
                    Some(end) => return ended(end).await.map(|()| None),
                    None => return Ok(None),
                },
            }
        }
    }
}

async fn ended(end: End) -> std::result::Result<(), NotRead> {
    end.await.unwrap_or_else(|_| Err(broken()))
}

fn broken() -> NotRead {
    NotRead { code: RuleErrorCode::Internal, message: "Something went wrong on the server".to_owned() }
}

/// # Errors
/// [`Error::NotFound`]: there is no such table, or it may not be read; nobody can tell which. The inner error says why none of
/// its rows come.
pub(crate) async fn open(engine: &Engine, query: Query) -> Result<std::result::Result<QueryRows, NotRead>> {
    match of_results(engine, &query).await? {
        Some(rows) => Ok(rows),
        None => of_data_set(engine, &query).await,
    }
}

async fn of_results(engine: &Engine, query: &Query) -> Result<Option<std::result::Result<QueryRows, NotRead>>> {
    let inner = &engine.inner.rules;
    let wanted = query.table.clone();
    let rules = engine.inner.store.read(rules::all).await?;
    let shown =
        rules.iter().find(|rule| names::view(&rule.slug) == wanted).and_then(|rule| Some(rule.stored.as_ref()?.table.clone()));
    let name = shown.unwrap_or(wanted);
    let Some(table) = inner.with_results(move |results| results.table(&name)).await? else { return Ok(None) };
    let order = query.order.clone().map(|(column, descending)| Order { column, descending });
    if let Some(order) = &order {
        known(table.columns.iter().any(|column| column.name == order.column))?;
    }
    let page = Page { limit: query.limit, offset: query.offset, order };
    let (sender, receiver) = mpsc::channel(BATCHES);
    let (tell, end) = oneshot::channel();
    let results = inner.results().await?.clone();
    tokio::task::spawn_blocking(move || {
        let sent = results.send(&table, &page, &sender).map_err(|error| {
            tracing::error!(%error, "a result could not be read to its end");
            broken()
        });
        // Nobody may be reading any more.
        let _ = tell.send(sent);
    });
    Ok(Some(with_columns(receiver, end).await))
}

async fn of_data_set(engine: &Engine, query: &Query) -> Result<std::result::Result<QueryRows, NotRead>> {
    let source = match engine.inner.rules.source().await {
        Ok(source) => source,
        Err(reason) => return Ok(Err(NotRead { code: RuleErrorCode::Unavailable, message: reason })),
    };
    let relation = source.schema.allowed(&query.table).ok_or(Error::NotFound)?;
    let readable: Vec<String> = relation.readable().map(|column| quoted(&column.name)).collect();
    let order = match &query.order {
        Some((column, descending)) => {
            known(relation.readable().any(|known| known.name == *column))?;
            format!(" order by {} {}", quoted(column), if *descending { "desc" } else { "asc" })
        }
        None => String::new(),
    };
    let limit = query.limit.unwrap_or(u64::from(u32::MAX));
    let text =
        format!("select {} from {}{order} limit {limit} offset {}", readable.join(", "), quoted(&relation.name), query.offset);
    let checked = store::dataset::check(&text, &source.schema).map_err(|_| Error::NotFound)?;
    let limits = source.file.limits;
    let (sender, receiver) = mpsc::channel(BATCHES);
    let (tell, end) = oneshot::channel();
    tokio::spawn(async move {
        let ran = source.data.run(checked.sql(), &source.schema, limits, &CancellationToken::new(), sender).await;
        let ended = match ran {
            Ok(_) | Err(RunError::Abandoned) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "a relation of the data set could not be read to its end");
                let Failure { code, message, .. } = failure_of(&error, limits.time_ms, Stage::Running);
                Err(NotRead { code, message })
            }
        };
        // Nobody may be reading any more.
        let _ = tell.send(ended);
    });
    Ok(with_columns(receiver, end).await)
}

async fn with_columns(mut batches: mpsc::Receiver<Batch>, end: End) -> std::result::Result<QueryRows, NotRead> {
    match batches.recv().await {
        Some(Batch::Columns(columns)) => Ok(QueryRows { columns, batches, end: Some(end) }),
        Some(Batch::Rows(_)) => Err(broken()),
        None => Err(ended(end).await.err().unwrap_or_else(broken)),
    }
}

fn known(is_known: bool) -> Result<()> {
    let reason = "must be a column of the table, with - in front for the largest first";
    if is_known { Ok(()) } else { Err(Error::InvalidValue { field: "order", reason }) }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
