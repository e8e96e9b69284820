//! Brings the schema up to date in one transaction: whoever is killed in the middle leaves it as it was. One commit for all steps
//! also makes the first start of all a fast one.

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
    include_str!("migrations/0011_files.sql"),
    include_str!("migrations/0012_team.sql"),
    include_str!("migrations/0013_shares.sql"),
];

/// The newest schema that this version knows.
pub(crate) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Applies what is missing.
///
/// # Errors
/// The database's. All steps are applied, or none.
pub(crate) fn on_sqlite(connection: &mut Connection) -> rusqlite::Result<()> {
    let found = sqlite_version(connection)?;
    if found >= KNOWN {
        return Ok(());
    }
    let tx = connection.transaction()?;
    for (step, sql) in missing(found) {
        tx.execute_batch(sql)?;
        tx.execute_batch(dialect::beside(Dialect::Sqlite, step))?;
    }
    tx.pragma_update(None, "user_version", KNOWN)?;
    tx.commit()
}

/// The schema that the database has; 0 if it is empty.
pub(crate) fn sqlite_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Applies what is missing. Of several nodes that start at once one does it, and the others wait.
///
/// # Errors
/// The database's. All steps are applied, or none.
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
    let tx = client.transaction().await?;
    for (step, sql) in missing(found) {
        tx.batch_execute(&dialect::postgres_schema(sql)).await?;
        tx.batch_execute(dialect::beside(Dialect::Postgres, step)).await?;
        tx.execute("INSERT INTO schema_version (version) VALUES ($1)", &[&step]).await?;
    }
    tx.commit().await
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

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{KNOWN, MIGRATIONS, on_sqlite, sqlite_version};
    use crate::dialect::{self, Dialect};

    /// A database as the version that knew so many steps left it.
    fn left_by(steps: i64) -> Connection {
        let database = Connection::open_in_memory().expect("a database");
        for (step, sql) in (1..=steps).zip(MIGRATIONS) {
            database.execute_batch(sql).expect("a step");
            database.execute_batch(dialect::beside(Dialect::Sqlite, step)).expect("a step");
        }
        database.pragma_update(None, "user_version", steps).expect("a version");
        database
    }

    fn schema(database: &Connection) -> Vec<String> {
        let mut tables = database.prepare("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name").expect("a query");
        let tables = tables.query_map([], |row| row.get(0)).expect("rows");
        tables.collect::<Result<_, _>>().expect("text")
    }

    #[test]
    fn whatever_is_found_becomes_the_newest() {
        let newest = schema(&left_by(KNOWN));
        for steps in 0..=KNOWN {
            let mut database = left_by(steps);
            on_sqlite(&mut database).expect("all steps");
            assert_eq!(sqlite_version(&database).expect("a version"), KNOWN, "from {steps}");
            assert_eq!(schema(&database), newest, "from {steps}");
        }
    }

    #[test]
    fn a_step_that_fails_leaves_everything_as_it_was() {
        let mut database = left_by(7);
        database.execute_batch("CREATE TABLE tool_start (x bigint)").expect("something in the way");
        let before = schema(&database);
        on_sqlite(&mut database).expect_err("the table of step 9 is there");
        assert_eq!((sqlite_version(&database).expect("a version"), schema(&database)), (7, before));
    }
}
