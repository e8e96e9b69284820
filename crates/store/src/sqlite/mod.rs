//! SQLite: one writer thread that commits in groups, and a few readers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::tx::Trouble;
use crate::work::{Attempt, Job};
use crate::{OpenError, StoreError, Tx, migrate};

mod statement;

pub(crate) use statement::{execute, failure, query, read};

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
    /// `None`: in memory.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, OpenError> {
        let in_memory = path.is_none();
        let path = path.map_or_else(|| PathBuf::from(":memory:"), Path::to_owned);
        let failed = |reason: String| OpenError::Failed { path: path.clone(), reason };
        let (connection, lock) = if in_memory {
            (open_writer(&path)?, None)
        } else {
            let (connection, lock) = open_alone(&path)?;
            (connection, Some(lock))
        };
        let file = (!in_memory).then(|| path.clone());
        let mut writer = Writer { file, connection: Some(connection) };
        let writer = spawn("store-writer", move |jobs| write_groups(&mut writer, &jobs)).map_err(failed)?;
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

/// Opens a database for this process alone, for as long as the file is held, and brings its schema up to date.
///
/// # Errors
/// Another process has it, or it cannot be used.
pub(crate) fn open_alone(path: &Path) -> Result<(Connection, File), OpenError> {
    let lock = lock(path)?;
    Ok((open_writer(path)?, lock))
}

fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error: rusqlite::Error| OpenError::Failed { path: path.to_owned(), reason: error.to_string() };
    let mut connection = Connection::open(path).map_err(failed)?;
    prepare_writer(&connection).map_err(failed)?;
    let found = migrate::sqlite_version(&connection).map_err(failed)?;
    if found > migrate::KNOWN {
        return Err(OpenError::NewerSchema { found, known: migrate::KNOWN });
    }
    migrate::on_sqlite(&mut connection).map_err(failed)?;
    Ok(connection)
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
    keep_statements(connection)
}

/// A statement is prepared once. Without the guarantee of stable plans SQLite would look at the values of most of them and
/// prepare them anew for every other value, which took a seventh of the writer's time.
fn keep_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn spawn(name: &str, run: impl FnOnce(Receiver<Box<dyn Job>>) + Send + 'static) -> Result<Jobs, String> {
    let (send, receive) = channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || run(receive)).map_err(|e| e.to_string())?;
    Ok(send)
}

/// Takes every job that waits, runs each in a savepoint of its own, commits once, and then answers all.
fn write_groups(writer: &mut Writer, jobs: &Receiver<Box<dyn Job>>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(GROUP - 1));
        let committed = writer.write(&mut group);
        for job in group {
            job.answer(committed.clone().map_err(StoreError::from));
        }
    }
}

/// The one connection that writes. After a failure of the disk it is given up for a new one: what the old one has in memory
/// may not be what is on the disk, and a second sync of the same file may call written what the first one could not write.
struct Writer {
    /// `None`: in memory, where there is nothing to open anew.
    file: Option<PathBuf>,
    connection: Option<Connection>,
}

impl Writer {
    fn write(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), CommitError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.reopen()?,
        };
        let mut trouble = None;
        let committed = write_group(&connection, group, &mut trouble);
        match trouble {
            Some(Trouble::Io) if self.file.is_some() => {
                tracing::error!("the disk failed; the database is opened anew");
            }
            Some(Trouble::Io | Trouble::Full) | None => self.connection = Some(connection),
        }
        committed
    }

    fn reopen(&self) -> Result<Connection, CommitError> {
        let path = self.file.as_deref().unwrap_or(Path::new(":memory:"));
        let opened = Connection::open(path).and_then(|connection| prepare_writer(&connection).map(|()| connection));
        opened.map_err(|error| CommitError::from(&error))
    }
}

/// Says in `trouble` if the disk failed on the way, whoever was told.
fn write_group(connection: &Connection, group: &mut [Box<dyn Job>], trouble: &mut Option<Trouble>) -> Result<(), CommitError> {
    let failed = |error: &rusqlite::Error, trouble: &mut Option<Trouble>| {
        let error = CommitError::from(error);
        // A full disk may end the whole transaction in the middle of a job, and then the next statement fails for no reason
        // that would help anybody.
        let before = *trouble;
        *trouble = before.or(error.trouble());
        before.map_or(error, CommitError::from)
    };
    connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| failed(&error, trouble))?;
    let alone = group.len() == 1;
    let mut keep = false;
    for job in group {
        let mut tx = Tx::on_sqlite(connection);
        if alone {
            keep = job.run(&mut tx, Attempt::Only);
            *trouble = tx.trouble();
            continue;
        }
        let result = in_savepoint(connection, job.as_mut(), &mut tx);
        *trouble = trouble.or(tx.trouble());
        if let Err(error) = result {
            rollback(connection);
            return Err(failed(&error, trouble));
        }
        keep = true;
    }
    if !keep {
        rollback(connection);
        return Ok(());
    }
    connection.execute_batch("COMMIT").map_err(|error| {
        rollback(connection);
        failed(&error, trouble)
    })
}

fn in_savepoint(connection: &Connection, job: &mut dyn Job, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
    connection.prepare_cached("SAVEPOINT job")?.raw_execute()?;
    if !job.run(tx, Attempt::Only) {
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
    Io(String),
    Failed(String),
}

impl CommitError {
    const fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Full => Some(Trouble::Full),
            Self::Io(_) => Some(Trouble::Io),
            Self::Failed(_) => None,
        }
    }
}

impl From<Trouble> for CommitError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full => Self::Full,
            Trouble::Io => Self::Io("a transaction of the same group could not be stored".to_owned()),
        }
    }
}

impl From<&rusqlite::Error> for CommitError {
    fn from(error: &rusqlite::Error) -> Self {
        match failure(error) {
            StoreError::Full => Self::Full,
            StoreError::Io(reason) => Self::Io(reason),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Full => Self::Full,
            CommitError::Io(reason) => Self::Io(reason),
            CommitError::Failed(reason) => Self::Failed(reason),
        }
    }
}

fn spawn_readers(path: &Path) -> Result<Jobs, String> {
    let (send, receive) = channel();
    let jobs: Arc<Mutex<Receiver<Box<dyn Job>>>> = Arc::new(Mutex::new(receive));
    for _ in 0..READERS {
        let mut connection = Some(open_reader(path).map_err(|e| e.to_string())?);
        let (jobs, path) = (Arc::clone(&jobs), path.to_owned());
        let run = move || {
            while let Ok(job) = next(&jobs) {
                connection = read_one(connection.take(), &path, job);
            }
        };
        thread::Builder::new().name("store-reader".to_owned()).spawn(run).map_err(|e| e.to_string())?;
    }
    Ok(send)
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    keep_statements(&connection)?;
    Ok(connection)
}

fn next(jobs: &Mutex<Receiver<Box<dyn Job>>>) -> Result<Box<dyn Job>, std::sync::mpsc::RecvError> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).recv()
}

/// Gives the connection back unless the disk failed under it.
fn read_one(connection: Option<Connection>, path: &Path, mut job: Box<dyn Job>) -> Option<Connection> {
    let connection = match connection.map_or_else(|| open_reader(path), Ok) {
        Ok(connection) => connection,
        Err(error) => {
            job.answer(Err(failure(&error)));
            return None;
        }
    };
    if let Err(error) = connection.execute_batch("BEGIN") {
        let error = failure(&error);
        let is_sound = !matches!(error, StoreError::Io(_));
        job.answer(Err(error));
        return is_sound.then_some(connection);
    }
    let mut tx = Tx::on_sqlite(&connection);
    job.run(&mut tx, Attempt::Only);
    let is_sound = tx.trouble() != Some(Trouble::Io);
    rollback(&connection);
    job.answer(Ok(()));
    is_sound.then_some(connection)
}
