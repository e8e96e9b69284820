//! PostgreSQL databases for servers that are measured.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::NoTls;

use crate::Result;

/// Names a server whose user may make databases; `scripts/with-services` starts one for a command and sets it.
const VARIABLE: &str = "COLLOQUY_TEST_POSTGRES";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A PostgreSQL server.
#[derive(Debug, Clone)]
pub struct Postgres {
    address: String,
}

/// An empty database on it.
#[derive(Debug)]
pub struct Database {
    /// As `DATABASE_URL` takes it.
    pub url: String,
    name: String,
    server: Postgres,
}

impl Postgres {
    /// `None`: none is named.
    #[must_use]
    pub fn named() -> Option<Self> {
        std::env::var(VARIABLE).ok().map(|address| Self { address })
    }

    pub async fn database(&self) -> Result<Database> {
        let name = format!("bench_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        self.run(&format!("CREATE DATABASE {name}")).await?;
        let (server, _) = self.address.rsplit_once('/').ok_or_else(|| format!("{VARIABLE} names no database"))?;
        Ok(Database { url: format!("{server}/{name}"), name, server: self.clone() })
    }

    async fn run(&self, statement: &str) -> Result<()> {
        let (client, connection) = tokio_postgres::connect(&self.address, NoTls).await?;
        let connection = tokio::spawn(connection);
        client.batch_execute(statement).await?;
        drop(client);
        Ok(connection.await??)
    }
}

impl Database {
    /// Removes it, whoever is still connected.
    pub async fn remove(self) -> Result<()> {
        self.server.run(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await
    }
}
