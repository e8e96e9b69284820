//! P21: a backup that is taken while people write has one state of everything, and can be gone on with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use crate::campaign_support::faults_of_database;
use crate::harness::{Place, Setup, new_session};
use crate::harness_http::{Client, Request};
use crate::harness_process::{Process, run, show};
use crate::postgres_server::fresh_database;

/// People who write at the same time, each in a conversation of their own.
const PEOPLE: usize = 6;

fn rounds() -> usize {
    if std::env::var_os("COLLOQUY_LONG").is_some() { 50 } else { 4 }
}

/// Says one numbered sentence after the other, and counts those that were acknowledged.
async fn talk(client: Client, acknowledged: Arc<AtomicUsize>, stops: Arc<AtomicBool>) {
    let session = new_session(&client).await;
    let mut n = 0;
    while !stops.load(Ordering::SeqCst) {
        let content = format!("sentence {n} of {session}");
        let sent = client.send(Request::post(&format!("/api/sessions/{session}/messages"), &json!({ "content": content }))).await;
        assert_eq!(sent.status(), 200, "{}", sent.text());
        n += 1;
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

/// What people have said, and what of it does not follow on what they said before.
fn said(database: &Connection) -> (usize, Vec<String>) {
    let sql = "SELECT p.text FROM part p JOIN message m ON m.id = p.message_id WHERE m.author = 'person' ORDER BY p.conversation_id, p.place";
    let mut statement = database.prepare(sql).expect("our tables");
    let texts: Vec<String> = statement.query_map([], |row| row.get(0)).expect("rows").map(|text| text.expect("a text")).collect();
    let mut next = std::collections::HashMap::new();
    let mut gaps = Vec::new();
    for text in &texts {
        let mut words = text.split(' ');
        let (number, session) = (words.nth(1).and_then(|n| n.parse().ok()), words.nth(1));
        let expected = next.entry(session).or_insert(0_usize);
        if number != Some(*expected) {
            gaps.push(text.clone());
        }
        *expected += 1;
    }
    (texts.len(), gaps)
}

async fn backups_hold(setup: impl Fn() -> Setup) {
    let mut process = Process::start(setup()).await;
    let (acknowledged, stops) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let people: Vec<_> =
        (0..PEOPLE).map(|_| tokio::spawn(talk(process.owner(), Arc::clone(&acknowledged), Arc::clone(&stops)))).collect();
    let mut last = None;
    for round in 0..rounds() {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let (setup, file) = (setup(), process.place.root().join(format!("backup-{round}.db")));
        let name = file.to_str().expect("a path").to_owned();
        let before = acknowledged.load(Ordering::SeqCst);
        let done = tokio::task::block_in_place(|| run(&setup, &process.place, &["backup", &name]));
        assert!(done.status.success(), "{}", show(&done.stderr));
        // Into a place where there is nothing.
        let elsewhere = Setup::new();
        let place = Place::new(&elsewhere);
        let done = tokio::task::block_in_place(|| run(&elsewhere, &place, &["restore", &name]));
        assert!(done.status.success(), "{}", show(&done.stderr));
        let database = place.data_dir().join("colloquy.db");
        assert_eq!(faults_of_database(&database), Vec::<String>::new(), "round {round}");
        let (count, gaps) = said(&Connection::open(&database).expect("a database"));
        assert_eq!(gaps, Vec::<String>::new(), "round {round}");
        assert!(count >= before, "round {round}: {before} were acknowledged before, and {count} are there");
        last = Some((place, count));
    }
    stops.store(true, Ordering::SeqCst);
    for person in people {
        person.await.expect("nobody was refused");
    }
    process.stop().await;
    // The last one is gone on with.
    let (place, count) = last.expect("a round");
    let mut restored = Process::start_in(Setup::new(), place).await;
    let found = restored.owner().send(Request::get("/api/sessions?limit=100")).await;
    assert_eq!(found.status(), 200, "{}", found.text());
    let one = new_session(&restored.owner()).await;
    let path = format!("/api/sessions/{one}/messages");
    let answer = restored.owner().send(Request::post(&path, &json!({"content": "and on it goes"}))).await;
    assert_eq!(answer.status(), 200);
    restored.stop().await;
    let (after, _) = said(&Connection::open(restored.place.data_dir().join("colloquy.db")).expect("a database"));
    assert_eq!(after, count + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_of_a_busy_sqlite_hold() {
    backups_hold(Setup::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_of_a_busy_postgres_hold() {
    let url = fresh_database().await;
    backups_hold(move || Setup::new().setting("DATABASE_URL", &url)).await;
}

#[test]
fn the_check_sees_a_gap() {
    let database = Connection::open_in_memory().expect("a database");
    let tables = "CREATE TABLE message (id, author); CREATE TABLE part (message_id, conversation_id, place, text);
        INSERT INTO message VALUES (1, 'person');
        INSERT INTO part VALUES (1, 1, 1, 'sentence 0 of a'), (1, 1, 2, 'sentence 2 of a')";
    database.execute_batch(tables).expect("tables");
    assert_eq!(said(&database), (2, vec!["sentence 2 of a".to_owned()]));
}
