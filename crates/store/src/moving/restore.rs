//! Bringing back what was kept in a file.

use std::path::{Path, PathBuf};

use domain::Timestamp;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::backup::{Unfinished, backup, check, count, duplicate};
use super::on_sqlite::{File, open_to_read};
use super::{Counts, MoveError, Progress, Side, Use, pour};
use crate::sqlite::{self, failure};
use crate::{DatabaseUrl, migrate};

/// Where a backup is to be brought back.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    pub database: &'p DatabaseUrl,
    /// For files on the way, and for what was there before.
    pub directory: &'p Path,
    /// Whether data that are there give way.
    pub replace: bool,
    pub now: Timestamp,
}

/// What was brought back.
#[derive(Debug)]
pub struct Restored {
    pub counts: Counts,
    /// Where the data are now that were there before.
    pub replaced: Option<PathBuf>,
}

/// Brings back what [`backup`] has kept. If there are data already, they are kept in a file in the directory first, or are an
/// error. No server may run.
///
/// Every conversation gets an epoch that none has had before: a client that has seen more than was kept is told so, and
/// takes a fresh snapshot. Browsers must sign in anew.
///
/// # Errors
/// See [`MoveError`]. The database is as it was before.
pub fn restore(file: &Path, place: Place<'_>, progress: Progress<'_>) -> Result<Restored, MoveError> {
    check(file)?;
    let renewed = Unfinished::beside(&place.directory.join("restore.db"))?;
    duplicate(&open_to_read(file)?, &renewed.path)?;
    renew(&renewed.path, place.now)?;
    match place.database {
        DatabaseUrl::SqliteInMemory => Err(MoveError::InMemory),
        DatabaseUrl::Sqlite(path) => into_file(&renewed.path, path, place, progress),
        DatabaseUrl::Postgres(_) => into_server(&renewed.path, place, progress),
    }
}

/// Brings the schema up to date, and ends what must not go on from where it was.
fn renew(file: &Path, now: Timestamp) -> Result<(), MoveError> {
    let mut connection = Connection::open(file).map_err(|e| failure(&e))?;
    migrate::on_sqlite(&mut connection).map_err(|e| failure(&e))?;
    // Milliseconds: no other restore has had the number, and counting up by one for each crash never comes so far.
    let epoch = now.0;
    let tx = connection.transaction().map_err(|e| failure(&e))?;
    for sql in [
        // Pieces of an answer that was being written still count.
        "UPDATE delta SET epoch = 0 WHERE epoch = (SELECT c.epoch FROM conversation c WHERE c.id = delta.conversation_id)",
        &format!("UPDATE conversation SET epoch = MAX(epoch + 1, {epoch})"),
        "DELETE FROM sign_in",
        "DELETE FROM node",
    ] {
        tx.execute(sql, []).map_err(|e| failure(&e))?;
    }
    tx.commit().map_err(|e| failure(&e))?;
    Ok(())
}

fn into_file(file: &Path, path: &Path, place: Place<'_>, progress: Progress<'_>) -> Result<Restored, MoveError> {
    let (mut connection, _lock) = sqlite::open_alone(path)?;
    let has_data = Side::Sqlite(File::open(path, Use::Shared)?).has_data()?;
    let replaced = keep_first(has_data, place)?;
    let source = open_to_read(file)?;
    // In one transaction: whoever is killed here leaves the old data or the new ones.
    let copying = Backup::new(&source, &mut connection).map_err(|e| failure(&e))?;
    if copying.step(-1).map_err(|e| failure(&e))? != StepResult::Done {
        return Err(MoveError::InUse(path.display().to_string()));
    }
    drop(copying);
    drop(connection);
    check(path)?;
    Ok(Restored { counts: count(path, progress)?, replaced })
}

fn into_server(file: &Path, place: Place<'_>, progress: Progress<'_>) -> Result<Restored, MoveError> {
    let mut target = Side::open(place.database, Use::Alone)?;
    let has_data = target.has_data()?;
    let replaced = keep_first(has_data, place)?;
    let mut source = Side::Sqlite(File::open(file, Use::Shared)?);
    let counts = pour(&mut source, &mut target, progress)?;
    Ok(Restored { counts, replaced })
}

/// What is there now goes into a file before anything else takes its place.
fn keep_first(has_data: bool, place: Place<'_>) -> Result<Option<PathBuf>, MoveError> {
    match (has_data, place.replace) {
        (false, _) => Ok(None),
        (true, false) => Err(MoveError::NotEmpty(place.database.to_string())),
        (true, true) => {
            let kept = place.directory.join(format!("before-restore-{}.db", place.now.0));
            backup(place.database, &kept, &mut |_, _| {})?;
            Ok(Some(kept))
        }
    }
}
