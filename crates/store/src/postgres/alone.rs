//! One connection without a pool, for work on a whole database.

use tokio::runtime::Runtime;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::statement::{Failure, read, sentence};
use super::{PostgresUrl, connect, runtime};
use crate::{OpenError, Row, StoreError, dialect, migrate};

/// Must be used on a thread that no runtime drives.
#[derive(Debug)]
pub(crate) struct Alone {
    client: Client,
    runtime: Runtime,
}

impl Alone {
    /// With the schema brought up to date if `is_owner`; else it must be what this version knows, because servers may run.
    ///
    /// # Errors
    /// As those of a server that starts.
    pub(crate) fn open(url: &PostgresUrl, is_owner: bool) -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError::Server { server: url.to_string(), reason };
        let runtime = runtime().map_err(failed)?;
        if is_owner {
            runtime.block_on(connect::prepare(url))?;
        }
        let client = runtime.block_on(connect::bare(url)).map_err(|failure| failed(failure.into_error().to_string()))?;
        let found = runtime.block_on(migrate::postgres_version(&client)).map_err(|error| failed(sentence(&error)))?;
        match found {
            _ if found == migrate::KNOWN => Ok(Self { client, runtime }),
            _ if found > migrate::KNOWN => Err(OpenError::NewerSchema { found, known: migrate::KNOWN }),
            _ => {
                Err(failed(format!("it has schema {found}, and this version {}: start this version on it first", migrate::KNOWN)))
            }
        }
    }

    /// Keeps all servers out. `false`: one is there.
    ///
    /// # Errors
    /// The server's.
    pub(crate) fn lock(&self) -> Result<bool, StoreError> {
        let rows = self.query(dialect::KEEP_SERVERS_OUT, &[])?;
        rows.first().map_or(Ok(false), |row| row.get::<i64>(0).map(|locked| locked == 1))
    }

    /// # Errors
    /// The server's.
    pub(crate) fn command(&self, sql: &str) -> Result<(), StoreError> {
        self.runtime.block_on(self.client.batch_execute(sql)).map_err(error)
    }

    /// # Errors
    /// The server's.
    pub(crate) fn execute(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, StoreError> {
        self.runtime.block_on(self.client.execute(sql, values)).map_err(error)
    }

    /// # Errors
    /// The server's.
    pub(crate) fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        let rows = self.runtime.block_on(self.client.query(sql, values)).map_err(error)?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Failure::into_error)
    }
}

fn error(error: tokio_postgres::Error) -> StoreError {
    Failure::from(error).into_error()
}
