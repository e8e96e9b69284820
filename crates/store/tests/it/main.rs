//! The store, on every database it has: each test is a function over an open store, run on all of them.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod dataset_world;
mod executor_postgres;
mod executor_sqlite;
mod files;
mod guard;
mod jobs;
mod log;
mod moving;
mod own_server;
mod paging;
mod postgres;
mod postgres_server;
mod questions;
mod results;
mod transactions;

use domain::{
    AccountId, Author, Conversation, ConversationId, Message, MessageId, Mode, ModelName, Part, PartBody, PartId, Place, Seq,
};
use domain::{Timestamp, TurnId};
use store::{DatabaseUrl, Store, StoreError, Tx, conversations};

#[derive(Debug, Clone, Copy)]
enum Where {
    File,
    Memory,
    Postgres,
}

/// Runs the test on SQLite in a file and in memory, and on PostgreSQL.
fn on_every_database(test: impl AsyncFn(Store)) {
    on(&[Where::File, Where::Memory, Where::Postgres], test);
}

fn on(places: &[Where], test: impl AsyncFn(Store)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    for place in places {
        println!("on {place:?}");
        runtime.block_on(async {
            let url = match place {
                Where::File => DatabaseUrl::Sqlite(directory.path().join("test.db")),
                Where::Memory => DatabaseUrl::SqliteInMemory,
                Where::Postgres => DatabaseUrl::parse(&postgres_server::fresh_database().await).unwrap(),
            };
            test(Store::open(&url).unwrap()).await;
        });
    }
}

async fn write<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Tx) -> Result<T, StoreError> + Clone + Send + 'static,
) -> T {
    store.write(work).await.unwrap()
}

async fn read<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Tx) -> Result<T, StoreError> + Clone + Send + 'static,
) -> T {
    store.read(work).await.unwrap()
}

async fn new_conversation(store: &Store, title: &str) -> ConversationId {
    let conversation = conversation(title, 1);
    let id = conversation.id;
    write(store, move |tx| conversations::insert(tx, &conversation)).await;
    id
}

fn conversation(title: &str, at: i64) -> Conversation {
    Conversation {
        id: ConversationId::new(),
        owner: AccountId::OWNER,
        title: title.to_owned(),
        model: ModelName::new("demo", "demo"),
        mode: Mode::Build,
        home: domain::Home::Direct,
        workdir: "/srv".into(),
        created_at: Timestamp(at),
        updated_at: Timestamp(at),
        busy: false,
    }
}

fn message(conversation: ConversationId, seq: Seq, author: Author, turn: TurnId) -> Message {
    Message {
        id: MessageId::new(),
        conversation,
        place: Place::at(seq),
        author,
        turn,
        client_id: None,
        created_at: Timestamp(seq.0),
        parts: Vec::new(),
    }
}

fn text(message: &Message, text: &str) -> Part {
    Part {
        id: PartId::new(),
        message: message.id,
        ordinal: 0,
        place: message.place,
        body: PartBody::Text { text: text.to_owned() },
        created_at: message.created_at,
    }
}
