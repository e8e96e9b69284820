//! New connections, and what is asked of a server before it is trusted with anything.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_postgres::Client;

use super::session::Connection;
use super::statement::{Failure, sentence};
use super::{PostgresUrl, tls};
use crate::{OpenError, dialect, migrate};

/// What holds for every connection. A transaction sees one state, and is refused and repeated if another one has changed
/// what it changes. One that its client has forgotten ends before the 5 s after which another node takes over its turn.
const SETTINGS: &str = "
    SET default_transaction_isolation = 'repeatable read';
    SET idle_in_transaction_session_timeout = '4s';
    SET lock_timeout = '10s';
    SET statement_timeout = '30s';
    SET client_min_messages = 'error'";

/// PostgreSQL 13. What is older is not maintained any more.
const OLDEST: i32 = 130_000;

/// How long the server may be away before those who wait are told so. A restart of it takes about a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to reach it: times the attempts so far, at most [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The way to the server, and whether it is open.
#[derive(Debug)]
pub(super) struct Link {
    url: PostgresUrl,
    /// Since when the server cannot be reached.
    away_since: Mutex<Option<Instant>>,
}

impl Link {
    pub(super) fn new(url: PostgresUrl) -> Self {
        Self { url, away_since: Mutex::default() }
    }

    /// A new connection, driven by this runtime. Waits for a server that has gone a short while ago.
    ///
    /// # Errors
    /// The server has been away for too long.
    pub(super) fn connect(&self, runtime: &Runtime) -> Result<Connection, Failure> {
        for attempt in 1.. {
            match runtime.block_on(connect(&self.url)) {
                Ok(connection) => {
                    self.is_back();
                    return Ok(connection);
                }
                Err(failure) if self.away(&failure) > PATIENCE => return Err(failure),
                Err(_) => thread::sleep((PAUSE * attempt).min(LONGEST_PAUSE)),
            }
        }
        Err(Failure::silence())
    }

    /// For how long the server has been away.
    fn away(&self, failure: &Failure) -> Duration {
        let mut since = self.away_since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_none() {
            tracing::error!(server = %self.url, reason = failure.sentence(), "the database cannot be reached");
        }
        since.get_or_insert_with(Instant::now).elapsed()
    }

    fn is_back(&self) {
        let mut since = self.away_since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = since.take() {
            tracing::info!(server = %self.url, away_ms = since.elapsed().as_millis(), "the database can be reached again");
        }
    }
}

async fn connect(url: &PostgresUrl) -> Result<Connection, Failure> {
    let client = bare(url).await?;
    client.batch_execute(SETTINGS).await?;
    client.batch_execute(dialect::NOTE_SERVER).await?;
    Connection::new(client).await
}

pub(super) async fn bare(url: &PostgresUrl) -> Result<Client, Failure> {
    let tls = tls::connector(url).map_err(Failure::ours)?;
    let (client, connection) = url.config.connect(tls).await.map_err(Failure::connecting)?;
    // It ends with the client, and whoever uses that is told why.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// Looks at the server, and brings the schema up to date. Gives sentences that the operator should read.
///
/// # Errors
/// The server cannot be reached, is not safe, or has a newer schema.
pub(super) async fn prepare(url: &PostgresUrl) -> Result<Vec<String>, OpenError> {
    let failed = |reason: String| OpenError::Server { server: url.to_string(), reason };
    let mut client = bare(url).await.map_err(|failure| failed(failure.into_error().to_string()))?;
    let warnings = check(&client).await.map_err(failed)?;
    let refused = |error: tokio_postgres::Error| failed(sentence(&error));
    let found = migrate::postgres_version(&client).await.map_err(refused)?;
    if found > migrate::KNOWN {
        return Err(OpenError::NewerSchema { found, known: migrate::KNOWN });
    }
    migrate::on_postgres(&mut client).await.map_err(refused)?;
    client.batch_execute(dialect::FORGET_MARKS).await.map_err(refused)?;
    Ok(warnings)
}

async fn check(client: &Client) -> Result<Vec<String>, String> {
    let setting = async |name: &str| -> Result<String, String> {
        let row = client.query_one("SELECT current_setting($1)", &[&name]).await.map_err(|e| sentence(&e))?;
        row.try_get(0).map_err(|e| sentence(&e))
    };
    let version: i32 = setting("server_version_num").await?.parse().unwrap_or(0);
    if version < OLDEST {
        return Err(format!("PostgreSQL {} is too old: 13 or newer is needed", setting("server_version").await?));
    }
    if setting("server_encoding").await? != "UTF8" {
        return Err("the database is not encoded in UTF8".to_owned());
    }
    if setting("in_hot_standby").await.is_ok_and(|standby| standby == "on") || setting("transaction_read_only").await? == "on" {
        return Err("the server is a standby, which can only be read".to_owned());
    }
    if setting("fsync").await? != "on" {
        let sentence = "it runs with fsync=off, so a power cut would lose what was acknowledged: set fsync = on";
        return Err(sentence.to_owned());
    }
    let mut warnings = Vec::new();
    if setting("full_page_writes").await? != "on" {
        warnings.push("database: full_page_writes is off, so a power cut may damage it".to_owned());
    }
    if setting("synchronous_commit").await? == "off" {
        warnings.push(
            "database: synchronous_commit is off, so a crash of PostgreSQL may lose what was acknowledged just before".to_owned(),
        );
    }
    Ok(warnings)
}
