use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use store::{DatabaseUrl, OpenError, Store, StoreError, Value};

use crate::{Where, new_conversation, on, on_every_database, read, write};

async fn count(store: &Store) -> i64 {
    read(store, |tx| tx.query_one("SELECT count(*) FROM request_key", &[])?.unwrap().get(0)).await
}

fn add(tx: &mut store::Tx, key: &str) -> Result<usize, StoreError> {
    let account = domain::AccountId::OWNER.uuid();
    tx.execute(
        "INSERT INTO request_key (account_id, key, fingerprint, answer, created_at) VALUES ($1, $2, $3, $3, $4)",
        &[account.into(), key.into(), "x".into(), 1.into()],
    )
}

#[test]
fn one_failure_costs_its_own_transaction_only() {
    on_every_database(async |store| {
        let jobs: Vec<_> = (0..50)
            .map(|n: i32| {
                let store = store.clone();
                tokio::spawn(async move {
                    store
                        .write(move |tx| {
                            add(tx, &n.to_string())?;
                            if n % 2 == 0 { Err(StoreError::Duplicate) } else { Ok(()) }
                        })
                        .await
                        .is_ok()
                })
            })
            .collect();
        let mut kept = 0;
        for job in jobs {
            kept += i64::from(job.await.unwrap());
        }
        assert_eq!((kept, count(&store).await), (25, 25));
    });
}

#[test]
fn an_error_that_was_swallowed_still_fails_the_transaction() {
    on_every_database(async |store| {
        let result: Result<(), StoreError> = store
            .write(|tx| {
                add(tx, "a")?;
                let _ = add(tx, "a");
                assert!(matches!(add(tx, "b"), Err(StoreError::Poisoned)));
                Ok(())
            })
            .await;
        assert!(matches!(result, Err(StoreError::Poisoned)), "{result:?}");
        assert_eq!(count(&store).await, 0);
    });
}

#[test]
fn a_panic_in_a_transaction_is_an_error_and_the_store_lives_on() {
    on_every_database(async |store| {
        let result: Result<(), StoreError> = store
            .write(|tx| {
                add(tx, "a")?;
                panic!("planted")
            })
            .await;
        assert!(result.unwrap_err().to_string().contains("planted"));
        write(&store, |tx| add(tx, "a")).await;
        assert_eq!(count(&store).await, 1);
    });
}

#[test]
fn values_are_checked_before_the_database_sees_them() {
    on_every_database(async |store| {
        let attempts: [&'static [Value]; 2] = [&[], &[Value::Int(1), Value::Int(2)]];
        for values in attempts {
            let result: Result<_, StoreError> = store.read(move |tx| tx.query("SELECT $1", values)).await;
            assert!(result.is_err(), "{values:?}");
        }
        let nul: Result<_, StoreError> = store.write(|tx| add(tx, "a\0b")).await;
        assert!(matches!(nul, Err(StoreError::NulInText)), "{nul:?}");
        let wrong_type: Result<i64, StoreError> = store.read(|tx| tx.query_one("SELECT 'x'", &[])?.unwrap().get(0)).await;
        assert!(wrong_type.is_err());
    });
}

#[test]
fn parameters_are_bound_by_name_whatever_their_order() {
    on_every_database(async |store| {
        let row = read(&store, |tx| Ok(tx.query_one("SELECT $2, $1, $2", &["a".into(), "b".into()])?.unwrap())).await;
        let texts: Vec<String> = (0..3).map(|index| row.get(index).unwrap()).collect();
        assert_eq!(texts, ["b", "a", "b"]);
    });
}

#[test]
fn hooks_run_after_the_commit_and_only_then() {
    on_every_database(async |store| {
        let ran = Arc::new(AtomicUsize::new(0));
        for fails in [true, false] {
            let ran = Arc::clone(&ran);
            let _: Result<(), StoreError> = store
                .write(move |tx| {
                    tx.after_commit(move || {
                        ran.fetch_add(1, Ordering::SeqCst);
                    });
                    if fails { Err(StoreError::Duplicate) } else { Ok(()) }
                })
                .await;
        }
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_dropped_write_commits_all_the_same() {
    on_every_database(async |store| {
        let mut dropped = Box::pin(store.write(|tx| add(tx, "a")));
        // Polled once, so that it is on its way, and then dropped.
        let _ = std::future::poll_fn(|cx| std::task::Poll::Ready(dropped.as_mut().poll(cx).is_ready())).await;
        drop(dropped);
        // With several connections nothing says which of two is first.
        for _ in 0..1000 {
            if count(&store).await == 1 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("it was not committed");
    });
}

#[test]
fn a_reader_cannot_write() {
    // A database in memory has one connection for everything.
    on(&[Where::File, Where::Postgres], async |store| {
        let result: Result<_, StoreError> = store.read(|tx| add(tx, "a")).await;
        assert!(result.is_err());
        assert_eq!(count(&store).await, 0);
    });
}

#[test]
fn a_database_is_opened_once_and_never_by_an_older_version() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let url = DatabaseUrl::Sqlite(path.clone());
    let store = Store::open(&url).unwrap();
    assert!(matches!(Store::open(&url), Err(OpenError::InUse(_))));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(new_conversation(&store, "kept"));
    drop(store);
    // The writer's thread ends on its own time; only the lock is released at once.
    let again = Store::open(&url).unwrap();
    let kept: i64 = runtime.block_on(read(&again, |tx| tx.query_one("SELECT count(*) FROM conversation", &[])?.unwrap().get(0)));
    assert_eq!(kept, 1);
    drop(again);
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 999).unwrap();
    drop(newer);
    assert!(matches!(Store::open(&url), Err(OpenError::NewerSchema { found: 999, .. })));
}

#[test]
fn addresses_of_databases() {
    assert_eq!(DatabaseUrl::parse("sqlite::memory:").unwrap(), DatabaseUrl::SqliteInMemory);
    assert_eq!(DatabaseUrl::parse("sqlite:/a/b.db").unwrap(), DatabaseUrl::Sqlite("/a/b.db".into()));
    assert_eq!(DatabaseUrl::parse("sqlite:///a/b.db").unwrap(), DatabaseUrl::Sqlite("/a/b.db".into()));
    for right in ["postgres://u@h/db", "postgresql://u:p@h:5433,g:5434/db?sslmode=verify-full&sslrootcert=/ca.pem"] {
        assert!(matches!(DatabaseUrl::parse(right), Ok(DatabaseUrl::Postgres(_))), "{right:?}");
    }
    for wrong in ["", "sqlite:", "mysql://x", "colloquy.db", "postgres:", "postgres://u@h/db?sslmode=verify-ca"] {
        assert!(matches!(DatabaseUrl::parse(wrong), Err(OpenError::BadUrl(_))), "{wrong:?}");
    }
}
