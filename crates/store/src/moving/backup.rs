//! Keeping a database in a file.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::Backup;

use super::on_sqlite::{File, open_to_read};
use super::{Counts, MoveError, Progress, Side, Use, pour};
use crate::sqlite::failure;
use crate::{DatabaseUrl, migrate};

/// Keeps the database, as it is at this moment, in a new file. Servers may go on writing to it meanwhile.
///
/// # Errors
/// See [`MoveError`]; there is no file then.
pub fn backup(from: &DatabaseUrl, file: &Path, progress: Progress<'_>) -> Result<Counts, MoveError> {
    if fs::symlink_metadata(file).is_ok() {
        return Err(MoveError::FileExists(file.to_owned()));
    }
    let unfinished = Unfinished::beside(file)?;
    let counts = match from {
        DatabaseUrl::SqliteInMemory => return Err(MoveError::InMemory),
        DatabaseUrl::Sqlite(path) => {
            duplicate(&open_to_read(path)?, &unfinished.path)?;
            count(&unfinished.path, progress)?
        }
        DatabaseUrl::Postgres(_) => {
            let mut source = Side::open(from, Use::Shared)?;
            let mut connection = Connection::open(&unfinished.path).map_err(|e| failure(&e))?;
            migrate::on_sqlite(&mut connection).map_err(|e| failure(&e))?;
            drop(connection);
            let mut target = Side::Sqlite(File::open_scratch(&unfinished.path)?);
            pour(&mut source, &mut target, progress)?
        }
    };
    check(&unfinished.path)?;
    unfinished.finish(file)?;
    Ok(counts)
}

/// Every page of a database, in one state of it, into a file of its own.
///
/// # Errors
/// The database's.
pub(super) fn duplicate(from: &Connection, to: &Path) -> Result<(), MoveError> {
    let mut target = Connection::open(to).map_err(|e| failure(&e))?;
    let copying = Backup::new(from, &mut target).map_err(|e| failure(&e))?;
    // All at once: between two steps somebody might write, and then it would have to begin anew.
    let all = copying.step(-1).map_err(|e| failure(&e))?;
    drop(copying);
    if all != rusqlite::backup::StepResult::Done {
        return Err(MoveError::File { path: to.to_owned(), reason: "the database was busy".to_owned() });
    }
    // One file, without a log beside it.
    target.pragma_update(None, "journal_mode", "DELETE").map_err(|e| failure(&e))?;
    Ok(())
}

/// # Errors
/// It is damaged.
pub(super) fn check(file: &Path) -> Result<(), MoveError> {
    let failed = |reason: String| MoveError::File { path: file.to_owned(), reason };
    let connection = open_to_read(file)?;
    let verdict: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(|error| failed(error.to_string()))?;
    if verdict == "ok" { Ok(()) } else { Err(failed(format!("it is damaged: {verdict}"))) }
}

pub(super) fn count(file: &Path, progress: Progress<'_>) -> Result<Counts, MoveError> {
    let mut side = Side::Sqlite(File::open(file, Use::Shared)?);
    let mut counts = Vec::new();
    for table in side.tables()? {
        let rows = side.digest(&table)?.rows();
        progress(&table.name, rows);
        counts.push((table.name, rows));
    }
    Ok(counts)
}

/// A file that goes unless it is finished.
pub(super) struct Unfinished {
    pub(super) path: PathBuf,
}

impl Unfinished {
    /// Readable by its owner alone, as the database is.
    pub(super) fn beside(file: &Path) -> Result<Self, MoveError> {
        use std::os::unix::fs::OpenOptionsExt;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let path = file.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let made = fs::File::options().write(true).create_new(true).mode(0o600).open(&path);
        made.map_err(|error| MoveError::File { path: path.clone(), reason: error.to_string() })?;
        Ok(Self { path })
    }

    /// Gives it its name once it is on disk.
    fn finish(self, file: &Path) -> Result<(), MoveError> {
        let failed = |error: std::io::Error| MoveError::File { path: file.to_owned(), reason: error.to_string() };
        fs::File::open(&self.path).and_then(|file| file.sync_all()).map_err(failed)?;
        // Unlike a rename it does not take the place of a file that has come there meanwhile.
        fs::hard_link(&self.path, file).map_err(failed)?;
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let mut name = self.path.clone().into_os_string();
            name.push(suffix);
            // Most of them do not exist.
            let _ = fs::remove_file(name);
        }
    }
}
