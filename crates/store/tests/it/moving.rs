use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use domain::{AccountId, Author, ConversationId, Event, EventKind, Home, Seq, Timestamp, TurnId};
use store::events::{self, Fence};
use store::moving::{self, Counts, MoveError};
use store::{DatabaseUrl, Store, conversations, messages, search};

use crate::postgres_server::fresh_database;
use crate::{message, new_conversation, read, text, write};

static RESTORED: AtomicU32 = AtomicU32::new(0);

/// Moves are not run by a runtime, so it is waited for in between.
struct World {
    runtime: tokio::runtime::Runtime,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime, directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str) -> DatabaseUrl {
        DatabaseUrl::Sqlite(self.path(name))
    }

    fn server(&self) -> DatabaseUrl {
        DatabaseUrl::parse(&self.runtime.block_on(fresh_database())).unwrap()
    }

    fn with<T>(&self, url: &DatabaseUrl, work: impl AsyncFnOnce(&Store) -> T) -> T {
        let store = Store::open(url).unwrap();
        self.runtime.block_on(work(&store))
    }

    /// More than one batch of it, with everything that a text can hold.
    fn fill(&self, url: &DatabaseUrl) -> ConversationId {
        self.with(url, async |store| {
            let id = new_conversation(store, "Größe ☃ 'quoted' \\ \" \n\t").await;
            for n in 0..520 {
                say(store, id, &format!("heron {n} Möwe 😀")).await;
            }
            id
        })
    }

    fn hits(&self, url: &DatabaseUrl, words: &'static str) -> usize {
        self.with(url, async |store| {
            read(store, move |tx| search::find(tx, AccountId::OWNER, Home::Direct, words, 9999)).await.len()
        })
    }

    fn backup(&self, from: &DatabaseUrl, name: &str) -> Result<Counts, MoveError> {
        moving::backup(from, &self.path(name), &mut |_, _| {})
    }

    fn restore(&self, name: &str, to: &DatabaseUrl, replace: bool) -> Result<moving::Restored, MoveError> {
        // Each later than the one before.
        let now = Timestamp(1_800_000_000_000 + i64::from(RESTORED.fetch_add(1, Ordering::SeqCst)));
        let place = moving::Place { database: to, directory: self.directory.path(), replace, now };
        moving::restore(&self.path(name), place, &mut |_, _| {})
    }
}

async fn say(store: &Store, id: ConversationId, words: &str) {
    let words = words.to_owned();
    write(store, move |tx| {
        let head = events::next(tx, id, Fence::Open)?.unwrap();
        let said = message(id, head.seq, Author::Person(AccountId::OWNER), TurnId::new());
        let part = text(&said, &words);
        messages::insert(tx, &said, None)?;
        let kind = EventKind::PartCompleted { part };
        events::insert(tx, &Event { conversation: id, seq: head.seq, epoch: head.epoch, at: Timestamp(1), turn: None, kind })
    })
    .await;
}

fn copy(from: &DatabaseUrl, to: &DatabaseUrl) -> Result<Counts, MoveError> {
    moving::copy(from, to, &mut |_, _| {})
}

fn rows(counts: &Counts, table: &str) -> u64 {
    counts.iter().find(|(name, _)| name == table).unwrap().1
}

async fn title(store: &Store, id: ConversationId) -> Option<String> {
    read(store, move |tx| conversations::get(tx, id)).await.map(|conversation| conversation.title)
}

fn leftovers(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".part") || name.starts_with(".restore")).collect()
}

#[test]
fn everything_goes_to_postgres_and_back() {
    let world = World::new();
    let (start, server, end) = (world.file("start.db"), world.server(), world.file("end.db"));
    let id = world.fill(&start);
    let there = copy(&start, &server).unwrap();
    assert_eq!((rows(&there, "conversation"), rows(&there, "message"), rows(&there, "part")), (1, 520, 520));
    assert_eq!((world.hits(&server, "mowe"), world.hits(&server, "heron 51")), (520, 11));
    assert_eq!(copy(&server, &end).unwrap(), there);
    assert_eq!(world.hits(&end, "heron 51"), 11);
    let titles = [&start, &server, &end].map(|url| world.with(url, async |store| title(store, id).await));
    assert!(titles[0].is_some() && titles.iter().all(|title| *title == titles[0]), "{titles:?}");
    // What was copied goes on.
    for url in [&server, &end] {
        world.with(url, async |store| say(store, id, "and then").await);
        assert_eq!(world.hits(url, "then"), 1);
    }
}

#[test]
fn nothing_is_poured_into_what_is_there_or_runs() {
    let world = World::new();
    let (full, server) = (world.file("full.db"), world.server());
    let id = world.fill(&full);
    world.fill(&server);
    assert!(matches!(copy(&full, &server), Err(MoveError::NotEmpty(_))));
    assert!(matches!(copy(&server, &full), Err(MoveError::NotEmpty(_))));
    assert!(matches!(copy(&full, &DatabaseUrl::SqliteInMemory), Err(MoveError::InMemory)));
    let empty = world.server();
    world.with(&empty, async |store| {
        read(store, move |tx| conversations::get(tx, id)).await;
        let refused = tokio::task::block_in_place(|| copy(&full, &empty));
        assert!(matches!(refused, Err(MoveError::InUse(_))), "{refused:?}");
    });
    world.with(&full, async |_| {
        let refused = tokio::task::block_in_place(|| copy(&full, &empty));
        assert!(matches!(refused, Err(MoveError::Open(store::OpenError::InUse(_)))), "{refused:?}");
    });
    world.backup(&full, "backup.db").unwrap();
    for url in [&full, &server] {
        assert!(matches!(world.restore("backup.db", url, false), Err(MoveError::NotEmpty(_))));
        assert_eq!(world.hits(url, "heron"), 520);
    }
    assert!(matches!(world.backup(&full, "backup.db"), Err(MoveError::FileExists(_))));
}

#[test]
fn a_backup_is_taken_under_a_running_server_and_brings_everything_back() {
    let world = World::new();
    for url in [world.file("first.db"), world.server()] {
        let id = world.fill(&url);
        let name = if matches!(url, DatabaseUrl::Sqlite(_)) { "of-file.db" } else { "of-server.db" };
        world.with(&url, async |store| {
            let kept = tokio::task::block_in_place(|| world.backup(&url, name).unwrap());
            assert_eq!(rows(&kept, "part"), 520);
            say(store, id, "the lost future").await;
        });
        for (n, target) in [world.file(&format!("fresh-{name}")), world.server(), url.clone()].into_iter().enumerate() {
            let restored = world.restore(name, &target, n == 2).unwrap();
            assert_eq!((rows(&restored.counts, "part"), restored.replaced.is_some()), (520, n == 2));
            assert_eq!((world.hits(&target, "heron"), world.hits(&target, "future")), (520, 0));
            let head = world.with(&target, async |store| read(store, move |tx| conversations::head(tx, id)).await.unwrap());
            assert_eq!(head.seq, Seq(520));
            // Nothing of the lost future had this epoch, whatever its number.
            assert!(head.epoch > 1_000_000, "{head:?}");
            if let Some(replaced) = restored.replaced {
                let kept = DatabaseUrl::Sqlite(replaced);
                assert_eq!(world.hits(&kept, "future"), 1, "what was replaced is kept");
            }
        }
    }
    assert_eq!(leftovers(world.directory.path()), Vec::<String>::new());
}

#[test]
fn what_is_no_backup_or_is_damaged_is_refused() {
    let world = World::new();
    let target = world.file("target.db");
    std::fs::write(world.path("text.db"), "not a database at all, but long enough to be read as one").unwrap();
    rusqlite::Connection::open(world.path("other.db")).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    world.fill(&world.file("full.db"));
    world.backup(&world.file("full.db"), "good.db").unwrap();
    let mut bytes = std::fs::read(world.path("good.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0x5a);
    std::fs::write(world.path("damaged.db"), bytes).unwrap();
    std::fs::copy(world.path("good.db"), world.path("newer.db")).unwrap();
    rusqlite::Connection::open(world.path("newer.db")).unwrap().pragma_update(None, "user_version", 999).unwrap();
    for name in ["text.db", "other.db", "damaged.db", "newer.db", "missing.db"] {
        let refused = world.restore(name, &target, false);
        assert!(refused.is_err(), "{name}");
    }
    assert!(!world.path("target.db").exists() || world.hits(&target, "heron") == 0);
    assert_eq!(rows(&world.restore("good.db", &target, false).unwrap().counts, "message"), 520);
}
