//! Reading tables by name: results first, then what of the data set may be read. A name is looked up in lists; only then is
//! it part of a statement, and the statement is ours.

use store::dataset::{BATCHES, Batch, CellRow, Limits, ResultColumn};
use store::results::{Order, Page};
use store::rules;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::names;
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

/// Columns, and rows as they come.
#[derive(Debug)]
pub struct QueryRows {
    pub columns: Vec<ResultColumn>,
    batches: mpsc::Receiver<Batch>,
}

impl QueryRows {
    /// The next rows; `None` at the end.
    pub async fn next(&mut self) -> Option<Vec<CellRow>> {
        loop {
            match self.batches.recv().await? {
                Batch::Rows(rows) => return Some(rows),
                Batch::Columns(_) => {}
            }
        }
    }
}

/// # Errors
/// [`Error::NotFound`]: there is no such table, or it may not be read; nobody can tell which. The inner error says why the
/// data set is not available.
pub(crate) async fn open(engine: &Engine, query: Query) -> Result<std::result::Result<QueryRows, String>> {
    if let Some(rows) = of_results(engine, &query).await? {
        return Ok(Ok(rows));
    }
    of_data_set(engine, &query).await
}

async fn of_results(engine: &Engine, query: &Query) -> Result<Option<QueryRows>> {
    let inner = &engine.inner.rules;
    let wanted = query.table.clone();
    let rules = engine.inner.store.read(rules::all).await?;
    let shown =
        rules.iter().find(|rule| names::view(&rule.slug) == wanted).and_then(|rule| Some(rule.stored.as_ref()?.table.clone()));
    let name = shown.unwrap_or(wanted);
    let Some(table) = inner.with_results(move |results| results.table(&name)).await? else { return Ok(None) };
    let order = query.order.clone().map(|(column, descending)| Order { column, descending });
    let page = Page { limit: query.limit, offset: query.offset, order };
    let (sender, receiver) = mpsc::channel(BATCHES);
    let results = inner.results().await?.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = results.send(&table, &page, &sender) {
            tracing::error!(%error, "a result could not be read to its end");
        }
    });
    with_columns(receiver).await.map(Some)
}

async fn of_data_set(engine: &Engine, query: &Query) -> Result<std::result::Result<QueryRows, String>> {
    let source = match engine.inner.rules.source().await {
        Ok(source) => source,
        Err(reason) => return Ok(Err(reason)),
    };
    let relation = source.schema.allowed(&query.table).ok_or(Error::NotFound)?;
    let readable: Vec<String> = relation.readable().map(|column| quoted(&column.name)).collect();
    let order = query.order.as_ref().and_then(|(column, descending)| {
        let known = relation.readable().find(|known| known.name == *column)?;
        Some(format!(" order by {} {}", quoted(&known.name), if *descending { "desc" } else { "asc" }))
    });
    let limit = query.limit.map(|limit| format!(" limit {limit}")).unwrap_or_else(|| " limit 1000000000".to_owned());
    let text = format!(
        "select {} from {}{}{limit} offset {}",
        readable.join(", "),
        quoted(&relation.name),
        order.unwrap_or_default(),
        query.offset
    );
    let checked = store::dataset::check(&text, &source.schema).map_err(|_| Error::NotFound)?;
    let limits = Limits { ..source.file.limits };
    let (sender, receiver) = mpsc::channel(BATCHES);
    tokio::spawn(async move {
        let run = source.data.run(checked.sql(), &source.schema, limits, &CancellationToken::new(), sender).await;
        if let Err(error) = run {
            tracing::warn!(%error, "a relation of the data set could not be read to its end");
        }
    });
    with_columns(receiver).await.map(Ok)
}

async fn with_columns(mut batches: mpsc::Receiver<Batch>) -> Result<QueryRows> {
    match batches.recv().await {
        Some(Batch::Columns(columns)) => Ok(QueryRows { columns, batches }),
        Some(Batch::Rows(_)) | None => Err(Error::Internal("a table could not be read".to_owned())),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}
