//! The data that rules read: somebody's database, of which only what was offered may be seen, and nothing may be changed.
//!
//! Three fences stand around it, each of which must hold alone: the [`guard`] looks at the text, the database grants its
//! reader no more than that, and the executor runs one statement read-only against a deadline.

pub mod functions;
pub mod guard;
mod postgres;
mod postgres_role;
mod postgres_schema;
mod postgres_values;
mod run;
mod sample;
mod schema;
mod sqlite;

use std::sync::Arc;

use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

pub use guard::{Checked, Class, Refusal, check};
pub use postgres::{BadAddress, PostgresSet};
pub use postgres_role::Role;
pub(crate) use run::distinct_names;
pub use run::{BATCH_ROWS, BATCHES, Batch, Cell, CellRow, CellType, Limits, Ran, ResultColumn, RunError};
pub use sample::{SAMPLE_SQL, create_sample};
pub use schema::{Column, Engine, Relation, Schema};
pub use sqlite::SqliteSet;

/// A data set, wherever it is.
#[derive(Debug, Clone)]
pub enum DataSet {
    Sqlite(SqliteSet),
    Postgres(PostgresSet),
}

impl DataSet {
    /// What it holds. In PostgreSQL the reader's rights say what is allowed, in SQLite nothing is yet.
    ///
    /// # Errors
    /// [`RunError::Unavailable`].
    pub async fn schema(&self) -> Result<Schema, RunError> {
        match self {
            Self::Sqlite(set) => {
                let set = set.clone();
                on_a_thread(move || set.schema()).await
            }
            Self::Postgres(set) => set.schema().await,
        }
    }

    /// Runs one statement and sends what it gives. Whatever the statement is, it changes nothing.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn run(
        &self,
        sql: &str,
        schema: &Arc<Schema>,
        limits: Limits,
        cancel: &CancellationToken,
        rows: Sender<Batch>,
    ) -> Result<Ran, RunError> {
        match self {
            Self::Sqlite(set) => {
                let (set, sql, schema, cancel) = (set.clone(), sql.to_owned(), Arc::clone(schema), cancel.clone());
                on_a_thread(move || set.run(&sql, &schema, limits, &cancel, &rows)).await
            }
            Self::Postgres(set) => set.run(sql, limits, cancel, &rows).await,
        }
    }

    /// Asks the engine about a statement without running it; gives the estimated cost where there is one.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn plan(&self, sql: &str, schema: &Arc<Schema>, limits: Limits) -> Result<Option<f64>, RunError> {
        match self {
            Self::Sqlite(set) => {
                let (set, sql, schema) = (set.clone(), sql.to_owned(), Arc::clone(schema));
                on_a_thread(move || set.plan(&sql, &schema, limits)).await.map(|()| None)
            }
            Self::Postgres(set) => set.plan(sql, limits).await,
        }
    }
}

async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T, RunError> + Send + 'static) -> Result<T, RunError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|_| Err(RunError::Unavailable("the run broke down".to_owned())))
}
