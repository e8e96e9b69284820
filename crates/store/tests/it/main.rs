//! The store, on every database it has: each test is a function over an open store, run on all of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod jobs;
mod log;
mod paging;
mod questions;
mod transactions;

use domain::{
    AccountId, Author, Conversation, ConversationId, Message, MessageId, Mode, ModelName, Part, PartBody, PartId, Place, Seq,
};
use domain::{Timestamp, TurnId};
use store::{DatabaseUrl, Store, StoreError, Tx, conversations};

/// Runs the test on a database in a file, and on one in memory.
fn on_every_database(test: impl AsyncFn(Store)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = DatabaseUrl::Sqlite(directory.path().join("test.db"));
    for url in [file, DatabaseUrl::SqliteInMemory] {
        runtime.block_on(test(Store::open(&url).unwrap()));
    }
}

async fn write<T: Send + 'static>(store: &Store, work: impl FnOnce(&mut Tx) -> Result<T, StoreError> + Send + 'static) -> T {
    store.write(work).await.unwrap()
}

async fn read<T: Send + 'static>(store: &Store, work: impl FnOnce(&mut Tx) -> Result<T, StoreError> + Send + 'static) -> T {
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
