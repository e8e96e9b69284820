//! The executor alone, without the guard: hostile statements have no effect on the file, and end in time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use store::dataset::{Batch, Cell, DataSet, Engine, Limits, Ran, RunError, SAMPLE_SQL, Schema, SqliteSet};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::dataset_world::{Luck, hostile, mutated};
use crate::guard::GOOD_SQLITE;

pub const LIMITS: Limits = Limits { rows: 100_000, bytes: 64 << 20, time_ms: 2_000, cost: 1e8 };
/// The contract's 2.1 s, and what a machine with other work adds.
const IN_TIME: Duration = Duration::from_millis(4_000);

/// The sample with three relations that are not offered. The token must never be seen.
pub const FORBIDDEN_SQL: &str = "
    CREATE TABLE accounts (id INTEGER PRIMARY KEY, email TEXT, password_hash TEXT);
    INSERT INTO accounts VALUES (1, 'a@example.org', 'token-f00');
    CREATE TABLE secrets (token TEXT);
    INSERT INTO secrets VALUES ('token-f00');
    CREATE VIEW leak AS SELECT token FROM secrets;
    CREATE VIEW short_names AS SELECT substr(name, 1, 5) AS short FROM patterns;";

struct World {
    directory: tempfile::TempDir,
    set: DataSet,
    schema: Arc<Schema>,
    before: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(&format!("{SAMPLE_SQL}{FORBIDDEN_SQL}")).unwrap();
        drop(connection);
        let set = SqliteSet::new(path.clone());
        let mut schema = set.schema().unwrap();
        let open = schema.relations.iter().filter(|relation| !["accounts", "secrets", "leak"].contains(&relation.name.as_str()));
        let wanted = open.map(|relation| (relation.name.clone(), Vec::new())).collect();
        assert_eq!(schema.allow(&wanted), Vec::<String>::new());
        let before = std::fs::read(path).unwrap();
        Self { directory, set: DataSet::Sqlite(set), schema: Arc::new(schema), before }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("sample.db")
    }

    async fn run(&self, sql: &str, limits: Limits) -> (Result<Ran, RunError>, Vec<Vec<Cell>>) {
        run(&self.set, &self.schema, sql, limits).await
    }

    /// The whole file, and what lies beside it, is as it was.
    #[track_caller]
    fn is_untouched(&self, sql: &str) {
        assert!(std::fs::read(self.path()).unwrap() == self.before, "{sql} changed the file");
        let files: Vec<_> = std::fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, ["sample.db"], "{sql}");
        assert!(!Path::new("/tmp/colloquy-evil.db").exists(), "{sql}");
    }
}

pub async fn run(set: &DataSet, schema: &Arc<Schema>, sql: &str, limits: Limits) -> (Result<Ran, RunError>, Vec<Vec<Cell>>) {
    let (sender, mut receiver) = mpsc::channel(4);
    let cancel = CancellationToken::new();
    let taking = async {
        let mut all = Vec::new();
        while let Some(batch) = receiver.recv().await {
            if let Batch::Rows(rows) = batch {
                all.extend(rows);
            }
        }
        all
    };
    tokio::join!(set.run(sql, schema, limits, &cancel, sender), taking)
}

pub fn tells_the_token(rows: &[Vec<Cell>]) -> bool {
    rows.iter().flatten().any(|cell| matches!(cell, Cell::Text(text) if text.contains("token-f00")))
}

#[tokio::test]
async fn hostile_statements_have_no_effect_without_the_guard() {
    let world = World::new();
    for (statement, class) in hostile(Engine::Sqlite) {
        let began = Instant::now();
        let (result, rows) = world.run(&statement, LIMITS).await;
        assert!(began.elapsed() < IN_TIME, "{statement}: {:?}", began.elapsed());
        world.is_untouched(&statement);
        assert!(!tells_the_token(&rows), "{statement}");
        match class.as_str() {
            // A parameter that nobody binds is null.
            "parameter" => {}
            _ => assert!(result.is_err(), "{statement} ({class}) runs: {rows:?}"),
        }
    }
}

#[tokio::test]
async fn mutations_have_no_effect_without_the_guard() {
    let world = World::new();
    let mut statements: Vec<String> = hostile(Engine::Sqlite).into_iter().map(|(statement, _)| statement).collect();
    statements.extend(GOOD_SQLITE.iter().map(|sql| (*sql).to_owned()));
    let trials = if std::env::var_os("COLLOQUY_LONG").is_some() { 20_000 } else { 500 };
    let limits = Limits { time_ms: 100, rows: 1_000, ..LIMITS };
    let mut ran = 0;
    for seed in 0..trials {
        let sql = mutated(&statements, &mut Luck::new(seed + 77));
        let began = Instant::now();
        let (result, rows) = world.run(&sql, limits).await;
        ran += usize::from(result.is_ok());
        assert!(began.elapsed() < IN_TIME, "{sql}: {:?}", began.elapsed());
        assert!(!tells_the_token(&rows), "{sql}");
        world.is_untouched(&sql);
    }
    assert!(ran > 0, "no mutation runs, so nothing was looked at");
}

/// The planted fault: with the authorizer's list widened, the same look finds the token.
#[tokio::test]
async fn a_leak_is_noticed() {
    let mut world = World::new();
    let mut schema = Schema::clone(&world.schema);
    schema.allow_everything();
    world.schema = Arc::new(schema);
    let (_, rows) = world.run("select token from secrets", LIMITS).await;
    assert!(tells_the_token(&rows));
}

#[tokio::test]
async fn honest_statements_run() {
    let world = World::new();
    for sql in GOOD_SQLITE {
        let (result, rows) = world.run(sql, LIMITS).await;
        assert!(result.is_ok_and(|ran| ran.rows == rows.len() as u64 && ran.rows > 0), "{sql}");
    }
    let (_, rows) = world.run("select short from short_names order by 1 limit 1", LIMITS).await;
    assert_eq!(rows, [[Cell::Text("Desig".to_owned())]]);
    world.is_untouched("all of them");
}

#[tokio::test]
async fn limits_cut_and_stop() {
    let world = World::new();
    let many = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) select i from n";
    let (result, rows) = world.run(many, Limits { rows: 1_500, ..LIMITS }).await;
    assert_eq!((result.unwrap().truncated, rows.len()), (true, 1_500));
    let (result, rows) = world.run(many, Limits { bytes: 800, ..LIMITS }).await;
    assert_eq!((result.unwrap().truncated, rows.len()), (true, 100));
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
    let (result, _) = world.run(endless, Limits { time_ms: 100, ..LIMITS }).await;
    assert_eq!(result, Err(RunError::Timeout));
}

#[tokio::test]
async fn a_run_can_be_cancelled() {
    let world = World::new();
    let cancel = CancellationToken::new();
    let (sender, _receiver) = mpsc::channel(4);
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
    let limits = Limits { time_ms: 60_000, ..LIMITS };
    let running = world.set.run(endless, &world.schema, limits, &cancel, sender);
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(running, cancelling);
    assert_eq!(result, Err(RunError::Cancelled));
}
