//! SQLite: one writer thread that commits in groups, and a few readers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::{Connection, OpenFlags};

use crate::tx::{Job, Tx, failure};
use crate::{DatabaseUrl, OpenError, StoreError, migrate};

/// Transactions in one commit. Enough to share the cost of a sync among all who wait, few enough to keep the wait short.
const GROUP: usize = 512;
/// Read-only connections. More do not help on few cores.
const READERS: usize = 3;
/// Prepared statements kept for each connection; the program has about a hundred.
const STATEMENTS: usize = 256;
/// Pages in the write-ahead log before the writer moves them into the database: larger means fewer, longer pauses.
const CHECKPOINT_PAGES: i64 = 4000;

type Jobs = Sender<Box<dyn Job>>;

/// The threads end when the last clone is dropped, because then nobody can send to them any more.
#[derive(Debug, Clone)]
pub(crate) struct Sqlite {
    writer: Jobs,
    readers: Jobs,
    /// Held for as long as the database is open, so that no second server writes to it.
    _lock: Arc<Option<File>>,
}

impl Sqlite {
    pub(crate) fn open(url: &DatabaseUrl) -> Result<Self, OpenError> {
        let path = match url {
            DatabaseUrl::Sqlite(path) => path.clone(),
            DatabaseUrl::SqliteInMemory => PathBuf::from(":memory:"),
        };
        let failed = |reason: String| OpenError::Failed { path: path.clone(), reason };
        let in_memory = *url == DatabaseUrl::SqliteInMemory;
        let lock = if in_memory { None } else { Some(lock(&path)?) };

        let mut connection = Connection::open(&path).map_err(|e| failed(e.to_string()))?;
        prepare_writer(&connection).map_err(|e| failed(e.to_string()))?;
        let found = migrate::version(&connection).map_err(|e| failed(e.to_string()))?;
        if found > migrate::KNOWN {
            return Err(OpenError::NewerSchema { found, known: migrate::KNOWN });
        }
        migrate::run(&mut connection).map_err(|e| failed(e.to_string()))?;

        let writer = spawn("store-writer", move |jobs| write_groups(&connection, &jobs)).map_err(failed)?;
        // A database in memory belongs to one connection, so the writer reads as well.
        let readers = if in_memory { writer.clone() } else { spawn_readers(&path).map_err(failed)? };
        Ok(Self { writer, readers, _lock: Arc::new(lock) })
    }

    pub(crate) fn read(&self, job: Box<dyn Job>) {
        send(&self.readers, job);
    }

    pub(crate) fn write(&self, job: Box<dyn Job>) {
        send(&self.writer, job);
    }
}

fn send(jobs: &Jobs, job: Box<dyn Job>) {
    if let Err(unsent) = jobs.send(job) {
        unsent.0.answer(Err(StoreError::Failed("its thread has ended".to_owned())));
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = path.with_extension("lock");
    let file = File::create(&lock_path).map_err(|e| OpenError::Failed { path: lock_path, reason: e.to_string() })?;
    file.try_lock().map_err(|_| OpenError::InUse(path.to_owned()))?;
    Ok(file)
}

fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // NORMAL would lose acknowledged commits in a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn spawn(name: &str, run: impl FnOnce(Receiver<Box<dyn Job>>) + Send + 'static) -> Result<Jobs, String> {
    let (send, receive) = channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || run(receive)).map_err(|e| e.to_string())?;
    Ok(send)
}

/// Takes every job that waits, runs each in a savepoint of its own, commits once, and then answers all.
fn write_groups(connection: &Connection, jobs: &Receiver<Box<dyn Job>>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(GROUP - 1));
        let committed = write_group(connection, &mut group);
        for job in group {
            job.answer(committed.clone().map_err(StoreError::from));
        }
    }
}

fn write_group(connection: &Connection, group: &mut [Box<dyn Job>]) -> Result<(), CommitError> {
    connection.execute_batch("BEGIN IMMEDIATE").map_err(|e| CommitError::from(&e))?;
    let alone = group.len() == 1;
    let mut keep = false;
    for job in group {
        if alone {
            keep = job.run(Tx::new(connection));
            continue;
        }
        let result = in_savepoint(connection, job.as_mut());
        if let Err(error) = result {
            rollback(connection);
            return Err(CommitError::from(&error));
        }
        keep = true;
    }
    if !keep {
        rollback(connection);
        return Ok(());
    }
    connection.execute_batch("COMMIT").map_err(|error| {
        rollback(connection);
        CommitError::from(&error)
    })
}

fn in_savepoint(connection: &Connection, job: &mut dyn Job) -> rusqlite::Result<()> {
    connection.prepare_cached("SAVEPOINT job")?.raw_execute()?;
    if !job.run(Tx::new(connection)) {
        connection.prepare_cached("ROLLBACK TO job")?.raw_execute()?;
    }
    connection.prepare_cached("RELEASE job")?.raw_execute()?;
    Ok(())
}

fn rollback(connection: &Connection) {
    // SQLite has already rolled back by itself after some failures; then there is nothing to undo.
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::error!(%error, "a transaction could not be rolled back");
    }
}

/// A failed commit is told to everybody in the group.
#[derive(Debug, Clone)]
enum CommitError {
    Full,
    Failed(String),
}

impl From<&rusqlite::Error> for CommitError {
    fn from(error: &rusqlite::Error) -> Self {
        match failure(error) {
            StoreError::Full => Self::Full,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Full => Self::Full,
            CommitError::Failed(reason) => Self::Failed(reason),
        }
    }
}

fn spawn_readers(path: &Path) -> Result<Jobs, String> {
    let (send, receive) = channel();
    let jobs: Arc<Mutex<Receiver<Box<dyn Job>>>> = Arc::new(Mutex::new(receive));
    for _ in 0..READERS {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|e| e.to_string())?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let jobs = Arc::clone(&jobs);
        let run = move || {
            while let Ok(job) = next(&jobs) {
                read_one(&connection, job);
            }
        };
        thread::Builder::new().name("store-reader".to_owned()).spawn(run).map_err(|e| e.to_string())?;
    }
    Ok(send)
}

fn next(jobs: &Mutex<Receiver<Box<dyn Job>>>) -> Result<Box<dyn Job>, std::sync::mpsc::RecvError> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).recv()
}

fn read_one(connection: &Connection, mut job: Box<dyn Job>) {
    if let Err(error) = connection.execute_batch("BEGIN") {
        return job.answer(Err(failure(&error)));
    }
    job.run(Tx::new(connection));
    rollback(connection);
    job.answer(Ok(()));
}
