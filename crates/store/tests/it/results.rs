//! Results: loaded whole or not at all, shown under their names, and fast enough for a million rows.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use store::DatabaseUrl;
use store::dataset::{BATCHES, Batch, Cell, CellType, DataSet, Limits, ResultColumn, SqliteSet};
use store::results::{Order, Page, Results};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::postgres_server::fresh_database;

fn columns() -> Vec<ResultColumn> {
    let column = |name: &str, cell_type| ResultColumn { name: name.to_owned(), cell_type };
    vec![column("id", CellType::Integer), column("odd \"name\"", CellType::Text), column("flag", CellType::Boolean)]
}

fn rows(from: i64, to: i64) -> Vec<Vec<Cell>> {
    (from..to).map(|id| vec![Cell::Int(id), Cell::Text(format!("row {id}")), Cell::Bool(id % 2 == 0)]).collect()
}

async fn load(results: &Results, name: &str, batches: Vec<Batch>, whole: bool) -> Option<store::results::Loaded> {
    let (sender, mut receiver) = mpsc::channel(BATCHES);
    let (results, name) = (results.clone(), name.to_owned());
    let loading = tokio::task::spawn_blocking(move || results.load(&name, 7, 2, &mut receiver, || whole));
    for batch in batches {
        sender.send(batch).await.unwrap();
    }
    drop(sender);
    loading.await.unwrap().unwrap()
}

async fn all(results: &Results, name: &str, page: Page) -> Vec<Vec<Cell>> {
    let (sender, mut receiver) = mpsc::channel(BATCHES);
    let (results, name) = (results.clone(), name.to_owned());
    let sending = tokio::task::spawn_blocking(move || {
        let table = results.table(&name).unwrap().unwrap();
        results.send(&table, &page, &sender)
    });
    let mut all = Vec::new();
    while let Some(batch) = receiver.recv().await {
        if let Batch::Rows(rows) = batch {
            all.extend(rows);
        }
    }
    sending.await.unwrap().unwrap();
    all
}

/// Where results may be kept, with a way to ask the place itself.
struct Place {
    results: Results,
    _directory: tempfile::TempDir,
    asked: Asked,
}

enum Asked {
    File(std::path::PathBuf),
    Postgres(String),
}

impl Place {
    async fn each() -> [Self; 2] {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = here.path().join("results.db");
        let address = fresh_database().await;
        let DatabaseUrl::Postgres(url) = DatabaseUrl::parse(&address).unwrap() else { panic!("{address}") };
        let in_postgres = tokio::task::spawn_blocking(move || Results::in_postgres(&url).unwrap());
        [
            Self { results: Results::in_file(&path).unwrap(), _directory: here, asked: Asked::File(path) },
            Self { results: in_postgres.await.unwrap(), _directory: there, asked: Asked::Postgres(address) },
        ]
    }

    /// Does something that blocks.
    async fn with<T: Send + 'static>(&self, work: impl FnOnce(&Results) -> T + Send + 'static) -> T {
        let results = self.results.clone();
        tokio::task::spawn_blocking(move || work(&results)).await.unwrap()
    }

    /// The first value of what the place itself answers; `{}` stands for our schema and a dot, where there is one.
    async fn ask(&self, sql: &str) -> String {
        match &self.asked {
            Asked::File(path) => {
                let connection = Connection::open(path).unwrap();
                connection.query_row(&sql.replace("{}", ""), [], |row| row.get(0)).unwrap()
            }
            Asked::Postgres(address) => {
                let client = crate::postgres_server::connect(address).await;
                let schema: String = client.query_one("SELECT current_schema()::text", &[]).await.unwrap().get(0);
                client.query_one(&sql.replace("{}", &format!("{schema}_rules.")), &[]).await.unwrap().get(0)
            }
        }
    }
}

#[tokio::test]
async fn what_is_loaded_is_read_and_shown() {
    for place in Place::each().await {
        let results = &place.results;
        let loaded = load(results, "rule_a_1", vec![Batch::Columns(columns()), Batch::Rows(rows(0, 5))], true).await.unwrap();
        assert_eq!((loaded.table.rows, loaded.preview.len()), (5, 2));
        assert_eq!(all(results, "rule_a_1", Page::default()).await, rows(0, 5));
        let order = Some(Order { column: "id".to_owned(), descending: true });
        let page = Page { limit: Some(2), offset: 1, order };
        assert_eq!(all(results, "rule_a_1", page).await, rows(2, 4).into_iter().rev().collect::<Vec<_>>());
        place.with(|results| results.show("rule_a", "rule_a_1")).await.unwrap();
        assert_eq!(place.ask("SELECT \"odd \"\"name\"\"\" FROM {}rule_a WHERE id = 3").await, "row 3");
        load(results, "rule_a_2", vec![Batch::Columns(columns()), Batch::Rows(rows(3, 9))], true).await.unwrap();
        let compared = place.with(|results| {
            let (new, old) = (results.table("rule_a_2").unwrap().unwrap(), results.table("rule_a_1").unwrap().unwrap());
            ["id", "nothing"].map(|key| results.difference(&new, &old, &[key.to_owned()]).unwrap())
        });
        assert_eq!(compared.await, [Some((4, 3)), None]);
        place.with(|results| results.show("rule_a", "rule_a_2")).await.unwrap();
        // The view goes with the table, if it has to.
        place.with(|results| results.drop_table("rule_a_1")).await.unwrap();
        assert_eq!(place.ask("SELECT \"odd \"\"name\"\"\" FROM {}rule_a WHERE id = 8").await, "row 8");
        place.with(|results| results.hide("rule_a")).await.unwrap();
        let names = place.with(|results| results.tables().unwrap().into_iter().map(|table| table.name).collect::<Vec<_>>());
        assert_eq!(names.await, ["rule_a_2"]);
    }
}

#[tokio::test]
async fn every_value_comes_back_and_is_ordered_by_what_it_is() {
    let column = |name: &str, cell_type| ResultColumn { name: name.to_owned(), cell_type };
    let columns = vec![
        column("price", CellType::Decimal),
        column("any", CellType::Integer),
        column("bytes", CellType::Bytes),
        column("word", CellType::Text),
        column("share", CellType::Float),
    ];
    let text = |text: &str| Cell::Text(text.to_owned());
    let rows = vec![
        vec![text("9.50"), Cell::Int(1), Cell::Bytes(vec![0, 255]), text("Zoe"), Cell::Float(0.1)],
        // SQLite's columns hold what they like.
        vec![text("10.25"), text("not a number"), Cell::Null, text("ada"), Cell::Float(f64::MAX)],
        vec![Cell::Null, Cell::Null, Cell::Bytes(Vec::new()), text("\u{e4}"), Cell::Null],
        vec![text("-123456789012345678901234567890.5"), Cell::Int(-7), Cell::Null, Cell::Null, Cell::Float(-2.0)],
    ];
    for place in Place::each().await {
        let batches = vec![Batch::Columns(columns.clone()), Batch::Rows(rows[..1].to_vec()), Batch::Rows(rows[1..].to_vec())];
        load(&place.results, "rule_v_1", batches, true).await.unwrap();
        assert_eq!(all(&place.results, "rule_v_1", Page::default()).await, rows);
        for (column, descending, expected) in [
            ("price", false, [2, 3, 0, 1]),
            ("price", true, [1, 0, 3, 2]),
            ("word", false, [3, 0, 1, 2]),
            ("share", true, [1, 0, 3, 2]),
        ] {
            let order = Some(Order { column: column.to_owned(), descending });
            let ordered = all(&place.results, "rule_v_1", Page { order, ..Page::default() }).await;
            assert_eq!(ordered, expected.map(|at| rows[at].clone()), "{column} {descending}");
        }
    }
}

#[tokio::test]
async fn of_a_load_that_broke_off_nothing_is_left() {
    for place in Place::each().await {
        let batches = vec![Batch::Columns(columns()), Batch::Rows(rows(0, 5))];
        assert_eq!(load(&place.results, "rule_b_1", batches, false).await, None);
        assert_eq!(place.with(|results| results.tables().unwrap()).await, []);
        // The name is free again.
        assert!(load(&place.results, "rule_b_1", vec![Batch::Columns(columns())], true).await.is_some());
        if let Asked::File(path) = &place.asked {
            // What a crash left is removed at the next start.
            Connection::open(path).unwrap().execute_batch("CREATE TABLE rule_b_2 (c1)").unwrap();
            assert_eq!(tables(path), 2);
            Results::in_file(path).unwrap();
            assert_eq!(tables(path), 1);
        }
    }
}

fn tables(path: &Path) -> i64 {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'rule_*'";
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The batches on their way, and SQLite's pages; a million of these rows are some 60 MB, in cells some 200 MB.
const MOST_MEMORY_BYTES: u64 = 48 << 20;

/// The most memory that this process has held since.
struct Memory {
    before_bytes: u64,
}

impl Memory {
    fn now() -> Self {
        // Forgets the peak so far.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        Self { before_bytes: peak_bytes() }
    }

    fn growth_bytes(&self) -> u64 {
        peak_bytes().saturating_sub(self.before_bytes)
    }
}

fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Reads all rows and keeps none.
async fn streamed(results: &Results, name: &str) -> u64 {
    let (sender, mut receiver) = mpsc::channel(BATCHES);
    let (results, name) = (results.clone(), name.to_owned());
    let sending = tokio::task::spawn_blocking(move || {
        let table = results.table(&name).unwrap().unwrap();
        results.send(&table, &Page::default(), &sender)
    });
    let mut count = 0;
    while let Some(batch) = receiver.recv().await {
        if let Batch::Rows(rows) = batch {
            count += rows.len() as u64;
        }
    }
    sending.await.unwrap().unwrap();
    count
}

/// A million rows, beside a bare `CREATE TABLE AS` of the same rows in the same run. Small where nobody has the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_rows_are_stored_quickly() {
    let long = std::env::var_os("COLLOQUY_LONG").is_some();
    let count: u64 = if long { 1_000_000 } else { 20_000 };
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data.db");
    let connection = Connection::open(&data).unwrap();
    let fill = format!(
        "PRAGMA journal_mode = WAL; CREATE TABLE big (id INTEGER PRIMARY KEY, name TEXT, amount REAL, day DATE); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO big SELECT i, 'customer number ' || i, i * 1.5, '2025-01-14' FROM n;"
    );
    connection.execute_batch(&fill).unwrap();
    connection.execute_batch("PRAGMA synchronous = FULL").unwrap();
    let began = Instant::now();
    connection.execute_batch("CREATE TABLE copy AS SELECT id, name, amount, day FROM big").unwrap();
    let bare = began.elapsed();
    connection.close().unwrap();

    let results = Results::in_file(&directory.path().join("results.db")).unwrap();
    let set = SqliteSet::new(data);
    let mut schema = set.schema().unwrap();
    schema.allow_everything();
    let limits = Limits { rows: 10_000_000, bytes: 1 << 40, time_ms: 300_000, cost: 1e18 };
    let (sender, mut receiver) = mpsc::channel(BATCHES);
    let memory = Memory::now();
    let began = Instant::now();
    let loader = results.clone();
    let loading = tokio::task::spawn_blocking(move || loader.load("rule_big_1", 1, 20, &mut receiver, || true));
    let sql = "SELECT id, name, amount, day FROM \"big\"";
    let ran = DataSet::Sqlite(set).run(sql, &Arc::new(schema), limits, &CancellationToken::new(), sender).await.unwrap();
    let loaded = loading.await.unwrap().unwrap().unwrap();
    let ours = began.elapsed();
    assert_eq!((ran.rows, loaded.table.rows), (count, count));
    let began = Instant::now();
    let page = all(&results, "rule_big_1", Page { limit: Some(200), ..Page::default() }).await;
    let first_page = began.elapsed();
    assert_eq!(page.len(), 200);
    drop(page);
    // All of them, as a file of values is made: a batch at a time.
    let began = Instant::now();
    assert_eq!(streamed(&results, "rule_big_1").await, count);
    let whole = began.elapsed();
    let growth = memory.growth_bytes();
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    eprintln!(
        "{count} rows: bare {bare:?}, stored {ours:?} ({ratio:.2} x), first page {first_page:?}, all rows streamed {whole:?}, \
         memory grew by {} MiB",
        growth >> 20
    );
    assert!(growth <= MOST_MEMORY_BYTES, "memory grew by {growth} bytes");
    // Only an optimised build is a fair match for SQLite, which is one.
    if long && !cfg!(debug_assertions) {
        assert!(ratio <= 2.5, "{ratio:.2}");
        assert!(first_page < Duration::from_millis(200), "{first_page:?}");
    }
}
