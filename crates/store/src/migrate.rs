//! Brings the schema up to date, one transaction a step: whoever is killed in the middle leaves a step done or not begun.

use rusqlite::Connection;
use tokio_postgres::Client;

use crate::dialect::{self, Dialect};

/// The common text of each step. What a database needs beside it is in [`dialect::beside`].
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_house.sql"),
    include_str!("migrations/0002_jobs.sql"),
    include_str!("migrations/0003_accounts.sql"),
    include_str!("migrations/0004_nodes.sql"),
    include_str!("migrations/0005_homes_and_questions.sql"),
    include_str!("migrations/0006_rules.sql"),
    include_str!("migrations/0007_hub.sql"),
    include_str!("migrations/0008_projects.sql"),
    include_str!("migrations/0009_tool_starts.sql"),
    include_str!("migrations/0010_rule_nodes.sql"),
];

/// The newest schema that this version knows.
pub(crate) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Applies what is missing.
///
/// # Errors
/// The database's. Each step is applied wholly or not at all.
pub(crate) fn on_sqlite(connection: &mut Connection) -> rusqlite::Result<()> {
    let found = sqlite_version(connection)?;
    for (step, sql) in missing(found) {
        let tx = connection.transaction()?;
        tx.execute_batch(sql)?;
        tx.execute_batch(dialect::beside(Dialect::Sqlite, step))?;
        tx.pragma_update(None, "user_version", step)?;
        tx.commit()?;
    }
    Ok(())
}

/// The schema that the database has; 0 if it is empty.
pub(crate) fn sqlite_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Applies what is missing. Of several nodes that start at once one does it, and the others wait.
///
/// # Errors
/// The database's. Each step is applied wholly or not at all.
pub(crate) async fn on_postgres(client: &mut Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(dialect::LOCK_MIGRATIONS).await?;
    let applied = missing_on_postgres(client).await;
    let made = client.batch_execute(dialect::CREATE_MARKS).await;
    // The lock goes with the connection if this cannot be said.
    client.batch_execute(dialect::UNLOCK_MIGRATIONS).await?;
    applied.and(made)
}

async fn missing_on_postgres(client: &mut Client) -> Result<(), tokio_postgres::Error> {
    let found = postgres_version(client).await?;
    for (step, sql) in missing(found) {
        let tx = client.transaction().await?;
        tx.batch_execute(&dialect::postgres_schema(sql)).await?;
        tx.batch_execute(dialect::beside(Dialect::Postgres, step)).await?;
        tx.execute("INSERT INTO schema_version (version) VALUES ($1)", &[&step]).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// The schema that the database has; 0 if it is empty.
pub(crate) async fn postgres_version(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let made = client.query_one("SELECT to_regclass('schema_version') IS NOT NULL", &[]).await?;
    if !made.get::<_, bool>(0) {
        return Ok(0);
    }
    Ok(client.query_one("SELECT COALESCE(MAX(version), 0) FROM schema_version", &[]).await?.get(0))
}

/// Each step that is to be applied, with its number.
fn missing(found: i64) -> impl Iterator<Item = (i64, &'static str)> {
    (1..).zip(MIGRATIONS.iter().copied()).skip_while(move |(step, _)| *step <= found)
}
