use domain::{Author, ConversationId, Event, EventKind, Part, Seq, Timestamp, TurnId};
use store::events::{self, Fence};
use store::{Store, StoreError, Tx, conversations, deltas, messages, turns};

use crate::{message, new_conversation, on_every_database, read, text, write};

fn append(tx: &mut Tx, id: ConversationId, fence: Fence, kind: EventKind) -> Result<Option<Event>, StoreError> {
    let Some(head) = events::next(tx, id, fence)? else { return Ok(None) };
    let event = Event { conversation: id, seq: head.seq, epoch: head.epoch, at: Timestamp(7), turn: None, kind };
    events::insert(tx, &event)?;
    Ok(Some(event))
}

async fn append_one(store: &Store, id: ConversationId, fence: Fence) -> Option<Event> {
    write(store, move |tx| append(tx, id, fence, EventKind::ConversationChanged)).await
}

#[test]
fn events_are_numbered_without_gaps_by_many_writers() {
    on_every_database(async |store| {
        let id = new_conversation(&store, "t").await;
        let writers: Vec<_> = (0..64)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { append_one(&store, id, Fence::Open).await.unwrap().seq })
            })
            .collect();
        let mut numbers = Vec::new();
        for writer in writers {
            numbers.push(writer.await.unwrap());
        }
        numbers.sort();
        assert_eq!(numbers, (1..=64).map(Seq).collect::<Vec<_>>());
    });
}

#[test]
fn a_failed_transaction_takes_no_number() {
    on_every_database(async |store| {
        let id = new_conversation(&store, "t").await;
        let failed: Result<(), StoreError> = store
            .write(move |tx| {
                append(tx, id, Fence::Open, EventKind::ConversationChanged)?;
                Err(StoreError::Duplicate)
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(append_one(&store, id, Fence::Open).await.unwrap().seq, Seq(1));
    });
}

#[test]
fn who_lost_the_epoch_writes_nothing() {
    on_every_database(async |store| {
        let id = new_conversation(&store, "t").await;
        assert!(append_one(&store, id, Fence::Epoch(1)).await.is_some());
        write(&store, move |tx| conversations::raise_epoch(tx, id)).await;
        assert!(append_one(&store, id, Fence::Epoch(1)).await.is_none());
        let event = append_one(&store, id, Fence::Open).await.unwrap();
        assert_eq!((event.seq, event.epoch), (Seq(2), 2));
        assert_eq!(read(&store, move |tx| events::epoch_of(tx, id, Seq(1))).await, Some(1));
    });
}

#[test]
fn an_event_comes_back_with_its_part() {
    on_every_database(async |store| {
        let id = new_conversation(&store, "t").await;
        let turn = TurnId::new();
        let said = message(id, Seq(1), Author::Agent, turn);
        let part = text(&said, "words");
        let stored: Part = part.clone();
        write(&store, move |tx| {
            messages::insert(tx, &said, None)?;
            append(tx, id, Fence::Open, EventKind::PartCompleted { part: stored })
        })
        .await;
        let found = read(&store, move |tx| events::range(tx, id, Seq(0), Seq(9), 10)).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, EventKind::PartCompleted { part });
    });
}

#[test]
fn a_deleted_conversation_leaves_nothing() {
    on_every_database(async |store| {
        let (gone, stays) = (new_conversation(&store, "gone").await, new_conversation(&store, "stays").await);
        for id in [gone, stays] {
            let said = message(id, Seq(1), Author::Agent, TurnId::new());
            let part = text(&said, "heron");
            write(&store, move |tx| {
                messages::insert(tx, &said, None)?;
                append(tx, id, Fence::Open, EventKind::PartCompleted { part })
            })
            .await;
        }
        assert!(write(&store, move |tx| conversations::delete(tx, gone)).await);
        assert!(!write(&store, move |tx| conversations::delete(tx, gone)).await);
        for table in ["event", "part", "message", "conversation"] {
            let sql = format!("SELECT count(*) FROM {table}");
            let left: i64 = read(&store, move |tx| tx.query_one(&sql, &[])?.unwrap().get(0)).await;
            assert_eq!(left, 1, "{table}");
        }
        let hits = read(&store, |tx| store::search::find(tx, domain::AccountId::OWNER, domain::Home::Direct, "heron", 10)).await;
        assert_eq!(hits.iter().map(|hit| hit.conversation).collect::<Vec<_>>(), [stays]);
    });
}

#[test]
fn pieces_of_finished_turns_are_swept() {
    on_every_database(async |store| {
        let id = new_conversation(&store, "t").await;
        let turn = TurnId::new();
        let piece = deltas::StoredDelta {
            conversation: id,
            epoch: 1,
            turn,
            message: domain::MessageId::new(),
            part: domain::PartId::new(),
            ordinal: 0,
            kind: domain::PartKind::Text,
            place: domain::Place(3),
            at: Timestamp(1),
            start: 0,
            text: "half".to_owned(),
        };
        let expected = vec![piece.clone()];
        write(&store, move |tx| deltas::insert(tx, &piece)).await;
        assert_eq!(read(&store, move |tx| deltas::of_turn(tx, turn)).await, expected);
        write(&store, deltas::sweep).await;
        assert_eq!(read(&store, move |tx| deltas::of_turn(tx, turn)).await, []);
        assert_eq!(read(&store, |tx| turns::conversations_left_alone(tx, 9)).await, []);
    });
}
