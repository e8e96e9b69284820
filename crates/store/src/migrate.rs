//! Brings the schema up to date, one transaction a step.

use rusqlite::Connection;

use crate::dialect;

const MIGRATIONS: &[&[&str]] = &[
    &[include_str!("migrations/0001_house.sql"), dialect::CREATE_SEARCH],
    &[include_str!("migrations/0002_jobs.sql")],
    &[include_str!("migrations/0003_accounts.sql")],
    &[include_str!("migrations/0004_nodes.sql")],
    &[include_str!("migrations/0005_homes_and_questions.sql")],
];

/// The newest schema that this version knows.
pub(crate) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Applies what is missing.
///
/// # Errors
/// The database's. Each step is applied wholly or not at all.
pub(crate) fn run(connection: &mut Connection) -> rusqlite::Result<()> {
    let found = version(connection)?;
    let missing = usize::try_from(found).unwrap_or(0);
    for (index, step) in MIGRATIONS.iter().enumerate().skip(missing) {
        let tx = connection.transaction()?;
        step.iter().try_for_each(|sql| tx.execute_batch(sql))?;
        tx.pragma_update(None, "user_version", index as i64 + 1)?;
        tx.commit()?;
    }
    Ok(())
}

/// The schema that the database has; 0 if it is empty.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
