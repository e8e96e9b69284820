use domain::{AccountId, Author, ConversationId, Event, EventKind, Place, Seq, Timestamp, TurnId};
use store::conversations::Page as List;
use store::events::{self, Fence};
use store::messages::Page;
use store::{Store, conversations, messages, search, turns};

use crate::{conversation, message, new_conversation, on_every_database, read, text, write};

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

async fn words(store: &Store, id: ConversationId, page: Page) -> Vec<String> {
    let rows = read(store, move |tx| messages::text_rows(tx, id, page)).await;
    rows.iter().map(|row| row.part.body.text().unwrap().to_owned()).collect()
}

#[test]
fn rows_and_messages_are_paged_from_the_end() {
    on_every_database(async |store| {
        let id = new_conversation(&store, "t").await;
        for n in 1..=5 {
            say(&store, id, &n.to_string()).await;
        }
        let page =
            |before: Option<i64>, as_of: Option<i64>, limit| Page { before: before.map(Place), as_of: as_of.map(Seq), limit };
        assert_eq!(words(&store, id, Page::ALL).await, ["1", "2", "3", "4", "5"]);
        assert_eq!(words(&store, id, page(None, None, Some(2))).await, ["4", "5"]);
        assert_eq!(words(&store, id, page(Some(8), None, Some(2))).await, ["2", "3"]);
        assert_eq!(words(&store, id, page(None, Some(3), Some(2))).await, ["2", "3"]);
        assert_eq!(words(&store, id, page(Some(2), None, Some(2))).await, Vec::<String>::new());
        let whole = read(&store, move |tx| messages::page(tx, id, page(None, Some(4), Some(2)))).await;
        assert_eq!(whole.iter().map(|message| message.parts.len()).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(whole.last().unwrap().place, Place::at(Seq(4)));
    });
}

#[test]
fn a_list_of_conversations_is_paged_and_filtered() {
    on_every_database(async |store| {
        let all: Vec<_> = [("b", 1), ("a_c", 1), ("100%", 2)].map(|(title, at)| conversation(title, at)).into();
        for conversation in all.clone() {
            write(&store, move |tx| conversations::insert(tx, &conversation)).await;
        }
        say(&store, all[0].id, "The grey heron").await;
        let titles = async |page: List| -> Vec<String> {
            let found = read(&store, move |tx| conversations::list(tx, AccountId::OWNER, &page)).await;
            found.into_iter().map(|conversation| conversation.title).collect()
        };
        assert_eq!(titles(List::default()).await, ["100%", "a_c", "b"], "equal times: the one made last comes first");
        assert_eq!(titles(List { limit: Some(1), ..List::default() }).await, ["100%"]);
        assert_eq!(titles(List { before: Some(all[2].id), ..List::default() }).await, ["a_c", "b"]);
        let search = |words: &str| List { words: Some(words.to_owned()), ..List::default() };
        assert_eq!(titles(search("HER")).await, ["b"]);
        assert_eq!(titles(search("a_c")).await, ["a_c"]);
        assert_eq!(titles(search("0%")).await, ["100%"]);
        assert_eq!(titles(search("\" OR *")).await, Vec::<String>::new());
    });
}

#[test]
fn search_finds_what_was_said_in_the_same_transaction() {
    on_every_database(async |store| {
        let id = new_conversation(&store, "t").await;
        say(&store, id, "A Möwe is a gull").await;
        for (words, hits) in [("mowe", 1), ("gul", 1), ("gull möwe", 1), ("heron", 0), ("", 0), ("NEAR(", 0)] {
            let found = read(&store, move |tx| search::find(tx, AccountId::OWNER, domain::Home::Direct, words, 10)).await;
            assert_eq!(found.len(), hits, "{words:?}");
        }
    });
}

#[test]
fn a_client_id_is_used_once() {
    on_every_database(async |store| {
        let id = new_conversation(&store, "t").await;
        let named = move |seq: i64| {
            let mut named = message(id, Seq(seq), Author::Person(AccountId::OWNER), TurnId::new());
            named.client_id = Some("m-1".to_owned());
            named
        };
        write(&store, move |tx| messages::insert(tx, &named(1), Some("print"))).await;
        let again: Result<(), store::StoreError> = store.write(move |tx| messages::insert(tx, &named(2), Some("print"))).await;
        assert!(matches!(again, Err(store::StoreError::Duplicate)), "{again:?}");
        let found = read(&store, move |tx| messages::by_client_id(tx, id, AccountId::OWNER, "m-1")).await;
        assert_eq!(found.map(|(_, print)| print), Some("print".to_owned()));
    });
}

#[test]
fn the_window_of_turns_moves_in_steps() {
    on_every_database(async |store| {
        let id = new_conversation(&store, "t").await;
        let mut started = Vec::new();
        for n in 0..30 {
            let turn = domain::Turn {
                id: TurnId::new(),
                conversation: id,
                state: domain::TurnState::Queued,
                mode: domain::Mode::Ask,
                workdir: None,
                reply: domain::MessageId::new(),
                created_at: Timestamp(n),
                started_at: None,
                steps: 0,
                usage: domain::Usage::default(),
            };
            started.insert(0, turn.id);
            write(&store, move |tx| {
                turns::insert(tx, &turn, turns::Position::Last)?;
                turns::start(tx, turn.id, Seq(n + 1), Timestamp(n), None)?;
                turns::finish(tx, turn.id, Seq(n + 1), &domain::Outcome::Completed)
            })
            .await;
        }
        for newest in [0, 1, 5, 9, 10, 20, 29] {
            let (turn, expected) = (started[newest], &started[newest..]);
            let window = read(&store, move |tx| turns::window(tx, id, turn, 10, 10)).await;
            assert_eq!(window, expected[..window.len()], "newest {newest}");
            assert!(window.len() >= 10.min(30 - newest) && window.len() < 20, "newest {newest}: {} turns", window.len());
        }
        let oldest = async |newest: usize| {
            let turn = started[newest];
            read(&store, move |tx| turns::window(tx, id, turn, 10, 10)).await.last().copied()
        };
        assert_eq!(oldest(1).await, oldest(5).await, "the oldest one stays for a while");
    });
}
