//! PostgreSQL: a pool of threads, each with a connection of its own, on which closures run one after another.
//!
//! A thread drives its connection itself, so that a statement costs one round trip and no hand-over between threads.

mod address;
mod alone;
mod connect;
mod notify;
mod pool;
mod session;
mod statement;
mod tls;
mod worker;

use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Client;

pub use address::PostgresUrl;
pub(crate) use alone::Alone;
pub use notify::Notify;
pub(crate) use session::{Access, Session};
pub(crate) use tls::connector;

use crate::work::Job;
use crate::{OpenError, StoreError};
use connect::Link;
use pool::Pool;
use statement::Failure;

/// The threads end when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    pool: Arc<Open>,
    pub(crate) warnings: Arc<[String]>,
}

impl Postgres {
    /// Looks at the server, brings the schema up to date, and makes the pool.
    pub(crate) fn open(url: &PostgresUrl) -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError::Server { server: url.to_string(), reason };
        let warnings = in_thread(|runtime| runtime.block_on(connect::prepare(url))).map_err(failed)??;
        Ok(Self { pool: Arc::new(Open(Pool::new(Link::new(url.clone())))), warnings: warnings.into() })
    }

    pub(crate) fn send(&self, access: Access, job: Box<dyn Job>) {
        self.pool.0.send(access, job);
    }
}

#[derive(Debug)]
struct Open(Arc<Pool>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A connection of its own, and what drives it. To be used where blocking is allowed.
///
/// # Errors
/// The server cannot be reached.
pub(crate) fn connected(url: &PostgresUrl) -> Result<(Runtime, Client), StoreError> {
    let runtime = runtime().map_err(StoreError::Failed)?;
    let client = runtime.block_on(connect::bare(url)).map_err(Failure::into_error)?;
    Ok((runtime, client))
}

/// What the driver says, in common words.
pub(crate) fn failure(error: tokio_postgres::Error) -> StoreError {
    Failure::from(error).into_error()
}

/// The caller may itself be run by a runtime, in which no other one can be waited for.
fn in_thread<T: Send>(work: impl FnOnce(Runtime) -> T + Send) -> Result<T, String> {
    let runtime = runtime()?;
    thread::scope(|scope| scope.spawn(|| work(runtime)).join()).map_err(|_| "a thread broke down".to_owned())
}

fn runtime() -> Result<Runtime, String> {
    Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())
}
