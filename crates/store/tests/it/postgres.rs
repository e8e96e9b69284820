use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::Timestamp;
use store::{DatabaseUrl, OpenError, Store, StoreError, Tx, Value, conversations};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::own_server::OwnServer;
use crate::postgres_server::{connect, fresh_database};
use crate::{new_conversation, read, write};

const KILL_OURSELVES: &str = "SELECT pg_terminate_backend(pg_backend_pid())";

fn in_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

fn open(url: &str) -> Result<Store, OpenError> {
    Store::open(&DatabaseUrl::parse(url)?)
}

async fn fresh_store() -> Store {
    open(&fresh_database().await).unwrap()
}

fn add(tx: &mut Tx, key: &str) -> Result<(), StoreError> {
    tx.later(
        "INSERT INTO request_key (account_id, key, fingerprint, answer, created_at) VALUES ($1, $2, $3, $3, $4)",
        &[domain::AccountId::OWNER.uuid().into(), key.into(), "x".into(), 1.into()],
    )
}

fn keys(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.query_one("SELECT count(*) FROM request_key", &[])?.map_or(Ok(0), |row| row.get(0))
}

#[test]
fn a_transaction_that_another_was_in_the_way_of_is_repeated() {
    in_runtime(async {
        let store = fresh_store().await;
        let id = new_conversation(&store, "t").await;
        let (runs, other) = (Arc::new(AtomicUsize::new(0)), store.clone());
        let (counted, runtime) = (Arc::clone(&runs), tokio::runtime::Handle::current());
        write(&store, move |tx| {
            let before = conversations::get(tx, id)?.unwrap();
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                let other = other.clone();
                std::thread::scope(|scope| {
                    let touching = || runtime.block_on(write(&other, move |tx| conversations::touch(tx, id, Timestamp(50))));
                    scope.spawn(touching).join().unwrap();
                });
            }
            conversations::touch(tx, id, Timestamp(before.updated_at.0 + 1))
        })
        .await;
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        let after = read(&store, move |tx| conversations::get(tx, id)).await.unwrap();
        assert_eq!(after.updated_at, Timestamp(51), "the second run has seen what the other one did");
    });
}

#[test]
fn two_that_lock_each_other_out_both_succeed() {
    in_runtime(async {
        let store = fresh_store().await;
        let (one, two) = (new_conversation(&store, "1").await, new_conversation(&store, "2").await);
        let both = [(one, two), (two, one)].map(|(first, second)| {
            let store = store.clone();
            tokio::spawn(async move {
                write(&store, move |tx| {
                    conversations::raise_epoch(tx, first)?;
                    std::thread::sleep(Duration::from_millis(50));
                    conversations::raise_epoch(tx, second)
                })
                .await
            })
        });
        for one in both {
            one.await.unwrap();
        }
        assert_eq!(read(&store, move |tx| conversations::head(tx, one)).await.unwrap().epoch, 3);
    });
}

#[test]
fn one_look_sees_one_state() {
    in_runtime(async {
        let store = fresh_store().await;
        let (other, runtime) = (store.clone(), tokio::runtime::Handle::current());
        let (before, after) = read(&store, move |tx| {
            let before = keys(tx)?;
            let other = other.clone();
            std::thread::scope(|scope| {
                scope.spawn(|| runtime.block_on(write(&other, |tx| add(tx, "a")))).join().unwrap();
            });
            Ok((before, keys(tx)?))
        })
        .await;
        assert_eq!((before, after), (0, 0));
        assert_eq!(read(&store, keys).await, 1);
    });
}

#[test]
fn what_is_sent_later_fails_the_transaction_all_the_same() {
    in_runtime(async {
        let store = fresh_store().await;
        let published = Arc::new(AtomicBool::new(false));
        let hook = Arc::clone(&published);
        let result: Result<(), StoreError> = store
            .write(move |tx| {
                let hook = Arc::clone(&hook);
                tx.after_commit(move || hook.store(true, Ordering::SeqCst));
                add(tx, "a")?;
                add(tx, "a")
            })
            .await;
        assert!(matches!(result, Err(StoreError::Duplicate)), "{result:?}");
        assert!(!published.load(Ordering::SeqCst));
        assert_eq!(read(&store, keys).await, 0);
        // More than travel together.
        write(&store, |tx| (0..200).try_for_each(|n| add(tx, &n.to_string()))).await;
        assert_eq!(read(&store, keys).await, 200);
    });
}

#[test]
fn types_are_checked_on_both_ways() {
    in_runtime(async {
        let store = fresh_store().await;
        for (sql, value) in [
            ("SELECT $1::integer", Value::Int(1)),
            ("SELECT 1 FROM conversation WHERE id = $1", Value::Text("x".to_owned())),
            ("SELECT 1 FROM conversation WHERE seq = $1", Value::Text("1".to_owned())),
            ("SELECT SUM(seq + $1) FROM conversation", Value::Int(1)),
        ] {
            let result: Result<_, StoreError> = store.read(move |tx| tx.query(sql, &[value])).await;
            let no_rows = result.as_ref().is_ok_and(|rows| sql.contains("SUM") && rows[0].get::<Option<i64>>(0).is_err());
            assert!(result.is_err() || no_rows, "{sql}: {result:?}");
        }
        let truth = read(&store, |tx| tx.query_one("SELECT 1 = 1, 1", &[])).await.unwrap();
        assert_eq!((truth.get::<i64>(0).unwrap(), truth.get::<i64>(1).unwrap()), (1, 1));
    });
}

#[test]
fn a_lost_connection_costs_nothing() {
    in_runtime(async {
        let store = fresh_store().await;
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        write(&store, move |tx| {
            add(tx, "a")?;
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                tx.query(KILL_OURSELVES, &[])?;
            }
            Ok(())
        })
        .await;
        assert_eq!((runs.load(Ordering::SeqCst), read(&store, keys).await), (2, 1));

        let always: Result<(), StoreError> = store
            .write(|tx| {
                add(tx, "b")?;
                tx.later(KILL_OURSELVES, &[])
            })
            .await;
        assert!(matches!(always, Err(StoreError::Unreachable(_))), "{always:?}");
        assert_eq!(read(&store, keys).await, 1, "the one before, and the store lives on");
    });
}

/// Hands on what both sides say; once `armed`, it breaks instead of handing on the server's word that it has committed.
async fn unreliable_way(to: String, armed: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, armed) = (TcpStream::connect(&to).await.unwrap(), Arc::clone(&armed));
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut bytes = vec![0; 65536];
                while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
                    let committed = bytes[..length].windows(7).any(|word| word == b"COMMIT\0");
                    if committed && armed.swap(false, Ordering::SeqCst) {
                        break;
                    }
                    to_client.write_all(&bytes[..length]).await.unwrap();
                }
                up.abort();
            });
        }
    });
    port
}

#[test]
fn a_commit_whose_answer_was_lost_is_looked_up() {
    in_runtime(async {
        let url = fresh_database().await;
        let server = url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
        let armed = Arc::new(AtomicBool::new(false));
        let port = unreliable_way(server.clone(), Arc::clone(&armed)).await;
        let store = open(&url.replace(&server, &format!("127.0.0.1:{port}"))).unwrap();
        let (runs, hooks) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, hooked) = (Arc::clone(&runs), Arc::clone(&hooks));
        armed.store(true, Ordering::SeqCst);
        write(&store, move |tx| {
            counted.fetch_add(1, Ordering::SeqCst);
            let hooked = Arc::clone(&hooked);
            tx.after_commit(move || {
                hooked.fetch_add(1, Ordering::SeqCst);
            });
            add(tx, "a")
        })
        .await;
        assert!(!armed.load(Ordering::SeqCst), "the way has broken");
        assert_eq!((runs.load(Ordering::SeqCst), hooks.load(Ordering::SeqCst), read(&store, keys).await), (1, 1, 1));
    });
}

#[test]
fn several_that_open_at_once_make_the_schema_once() {
    in_runtime(async {
        let url = fresh_database().await;
        let opened = [(); 4].map(|()| {
            let url = url.clone();
            tokio::task::spawn_blocking(move || open(&url).map(drop))
        });
        for one in opened {
            one.await.unwrap().unwrap();
        }
        let client = connect(&url).await;
        client.execute("INSERT INTO schema_version (version) VALUES (999)", &[]).await.unwrap();
        assert!(matches!(open(&url), Err(OpenError::NewerSchema { found: 999, .. })));
    });
}

#[test]
fn passwords_are_shown_nowhere() {
    let wrong = "postgres://colloquy:hunter2@127.0.0.1:1/db";
    let url = DatabaseUrl::parse(wrong).unwrap();
    let shown = format!("{url} {url:?} {}", open(wrong).unwrap_err());
    assert!(shown.contains("127.0.0.1:1/db") && !shown.contains("hunter2"), "{shown}");
    for wrong in [
        "postgres://u:hunter2@",
        "postgres://u:hunter2@h:port/db",
        "postgres://u:hunter2@h/db?sslmode=hunter2",
        "postgres://u:hunter2@h/db?nonsense=1",
        "postgress://u:hunter2@h/db",
        "postgres:u:hunter2@h",
    ] {
        let error = DatabaseUrl::parse(wrong).unwrap_err();
        assert!(matches!(error, OpenError::BadUrl(_)) && !error.to_string().contains("hunter2"), "{wrong}: {error}");
    }
}

#[test]
fn a_server_that_is_not_safe_is_refused() {
    let server = OwnServer::start(&["-c fsync=off", "-c synchronous_commit=off", "-c full_page_writes=off"]);
    let error = open(&server.url).unwrap_err().to_string();
    assert!(error.contains("fsync=off") && !error.contains('\n'), "{error}");
    drop(server);
    let server = OwnServer::start(&["-c synchronous_commit=off", "-c ssl=off"]);
    let warnings = open(&server.url).unwrap().warnings().join("\n");
    assert!(warnings.contains("synchronous_commit"), "{warnings}");
    let encrypted = open(&format!("{}?sslmode=require", server.url)).unwrap_err().to_string();
    assert!(encrypted.contains("TLS"), "{encrypted}");
    let password = server.url.split([':', '@']).nth(2).unwrap();
    let refused = open(&server.url.replace(password, "wrong")).unwrap_err().to_string();
    assert!(refused.contains("password authentication failed"), "{refused}");
}

#[test]
fn the_store_outlives_its_server() {
    in_runtime(async {
        let mut server = OwnServer::start(&[]);
        let store = open(&server.url).unwrap();
        let stops = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (store, stops) = (store.clone(), Arc::clone(&stops));
                tokio::spawn(async move {
                    let mut acknowledged = 0_i64;
                    for n in 0.. {
                        if stops.load(Ordering::SeqCst) {
                            break;
                        }
                        let done: Result<(), StoreError> = store.write(move |tx| add(tx, &format!("{writer}-{n}"))).await;
                        acknowledged += i64::from(done.is_ok());
                    }
                    acknowledged
                })
            })
            .collect();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            tokio::task::block_in_place(|| server.tell("restart"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        stops.store(true, Ordering::SeqCst);
        let mut acknowledged = 0;
        for writer in writers {
            acknowledged += writer.await.unwrap();
        }
        let stored = read(&store, keys).await;
        assert!(acknowledged > 0 && stored == acknowledged, "{acknowledged} were acknowledged, and {stored} are stored");

        tokio::task::block_in_place(|| server.tell("stop"));
        let begun = Instant::now();
        let away: Result<(), StoreError> = store.write(|tx| add(tx, "away")).await;
        assert!(matches!(away, Err(StoreError::Unreachable(_))), "{away:?}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        let begun = Instant::now();
        let away: Result<i64, StoreError> = store.read(keys).await;
        assert!(away.is_err() && begun.elapsed() < Duration::from_secs(2), "nobody waits for what has been away for long");
        tokio::task::block_in_place(|| server.tell("start"));
        write(&store, |tx| add(tx, "back")).await;
        assert_eq!(read(&store, keys).await, stored + 1);
    });
}
