//! The sample data set: rules work at once, without any database of one's own.

use std::path::Path;

use rusqlite::Connection;

/// Tables and rows, in SQL that both engines take.
pub const SAMPLE_SQL: &str = include_str!("sample.sql");

/// Writes the sample data set to a file that does not exist yet. A half-written file is never seen under its name.
///
/// # Errors
/// A sentence about what cannot be written.
pub fn create_sample(path: &Path) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    let draft = path.with_extension("draft");
    let _ = std::fs::remove_file(&draft);
    let write = || -> rusqlite::Result<()> {
        let connection = Connection::open(&draft)?;
        connection.execute_batch(&format!("BEGIN; {SAMPLE_SQL} COMMIT;"))?;
        connection.close().map_err(|(_, error)| error)
    };
    write().map_err(|error| format!("the sample data set cannot be written: {error}"))?;
    std::fs::rename(&draft, path).map_err(|error| format!("the sample data set cannot be written: {error}"))
}
