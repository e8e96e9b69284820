//! P5: every position there can be, after two crashes. A position that is taken gives exactly what comes behind it; one that is
//! not taken is refused; and each that was ever given out is taken if what was seen up to it has survived.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::sockets::language_model::{ModelEvent, StopReason};
use domain::{ConversationId, Cursor, Event, EventKind, Outcome, PartId, Seq};
use engine::{From, What, WhenBusy};
use tempfile::tempdir;

use crate::campaign_puppet::{OWNER, PATIENCE, Theatre, stored_parts};

/// A position that somebody was given, and the text it had seen of the part that was open there.
#[derive(Debug, Clone)]
struct Given {
    cursor: Cursor,
    open: Option<(PartId, String)>,
}

type AllGiven = Arc<Mutex<Vec<Given>>>;

#[test]
fn every_position_is_exact_or_refused() {
    let directory = tempdir().expect("a directory");
    let given = AllGiven::default();
    let id = live(directory.path(), |path| first_life(path, Arc::clone(&given)));
    live(directory.path(), |path| second_life(path, id, Arc::clone(&given)));
    let checked = live(directory.path(), |path| last_life(path, id, Arc::clone(&given)));
    println!("{checked:?} positions were taken and refused; {} were given out", given.lock().expect("no panic").len());
}

/// Runs one life of the engine, and ends it as a crash does: nothing is told, nothing is stored any more.
fn live<T, F: Future<Output = T>>(path: &Path, life: impl FnOnce(&'static Path) -> F) -> T {
    let path: &'static Path = Box::leak(path.to_owned().into_boxed_path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let result = runtime.block_on(life(path));
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

/// A turn with everything in it, another that is ended while it waits, and a third that is cut off in the middle of its text.
async fn first_life(path: &Path, given: AllGiven) -> ConversationId {
    let mut theatre = Theatre::open(path).await;
    let id = theatre.conversation().await;
    let seen = note_positions(&theatre, id, given).await;
    let first = theatre.post(id, "one", WhenBusy::Queue).await;
    let asked = theatre.asked().await;
    asked.say(ModelEvent::Reasoning("é1 ".to_owned()));
    asked.say(ModelEvent::Reasoning("é2".to_owned()));
    asked.say(ModelEvent::ReasoningDone { verbatim: None });
    asked.text("é3 ");
    seen.until("é3 ").await;
    let waiting = theatre.post(id, "two", WhenBusy::Queue).await;
    theatre.engine.cancel(OWNER, id, Some(waiting.turn), None).await.expect("a cancel");
    asked.text("é4 ");
    seen.until("é4 ").await;
    theatre.post(id, "three", WhenBusy::Steer).await;
    asked.text("é5");
    asked.call("a", "gate");
    asked.say(ModelEvent::Finished(StopReason::ToolUse));
    seen.until("é5").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    theatre.gate.notify_one();
    let asked = theatre.asked().await;
    asked.text("é6");
    asked.finish();
    assert_eq!(theatre.outcome(id, first.turn).await, Outcome::Completed);
    theatre.post(id, "four", WhenBusy::Queue).await;
    let asked = theatre.asked().await;
    asked.text("é7 stored, ");
    seen.until("é7").await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    asked.text("é8 lost");
    seen.until("é8").await;
    id
}

/// The turn that was cut off has ended; the next one is cut off when it has only thought.
async fn second_life(path: &Path, id: ConversationId, given: AllGiven) {
    let mut theatre = Theatre::open(path).await;
    let seen = note_positions(&theatre, id, given).await;
    theatre.post(id, "five", WhenBusy::Queue).await;
    let asked = theatre.asked().await;
    asked.say(ModelEvent::Reasoning("é9 void".to_owned()));
    seen.until("é9").await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    asked.say(ModelEvent::Reasoning(" é10 void".to_owned()));
    seen.until("é10").await;
}

/// That one goes on; then every position is tried, the last text being still open.
async fn last_life(path: &Path, id: ConversationId, given: AllGiven) -> (usize, usize) {
    let mut theatre = Theatre::open(path).await;
    let seen = note_positions(&theatre, id, Arc::clone(&given)).await;
    let asked = theatre.asked().await;
    asked.text("é11");
    asked.finish();
    seen.until("é11").await;
    theatre.post(id, "six", WhenBusy::Queue).await;
    let asked = theatre.asked().await;
    asked.text("é12 open");
    seen.until("é12").await;

    let end = theatre.engine.follow(OWNER, id, From::Now).await.expect("a follower");
    let open = end.open.clone().expect("a text is open");
    let log = theatre.log(id).await;
    let mut texts = stored_parts(&log);
    texts.push((open.part, open.text.clone()));
    let longest = texts.iter().map(|(_, text)| text.len()).max().unwrap_or(0);
    let (mut taken, mut refused) = (0, 0);
    for epoch in 0..=end.cursor.epoch + 1 {
        for seq in 0..=end.cursor.seq.0 + 1 {
            for offset in 0..=longest + 1 {
                let cursor = Cursor { epoch, seq: Seq(seq), offset };
                match theatre.engine.follow(OWNER, id, From::Cursor(cursor)).await {
                    Ok(opened) => {
                        taken += 1;
                        let what = rest(opened.follow, end.cursor).await;
                        assert_exact(cursor, &what, &log, &texts);
                    }
                    Err(engine::Error::BadCursor) => refused += 1,
                    Err(error) => panic!("{cursor}: {error}"),
                }
            }
        }
    }
    let given = given.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for Given { cursor, open } in given {
        let survives = open
            .as_ref()
            .is_none_or(|(part, seen)| texts.iter().any(|(stored, text)| stored == part && text.starts_with(seen.as_str())));
        let is_taken = theatre.engine.follow(OWNER, id, From::Cursor(cursor)).await.is_ok();
        assert_eq!(is_taken, survives, "{cursor}, where {open:?} was seen");
    }
    drop(asked);
    (taken, refused)
}

/// Everything behind a position, to the end of the log and of the open text.
async fn rest(mut follow: engine::Follow, end: Cursor) -> Vec<What> {
    let mut all = Vec::new();
    let mut at = None;
    let reading = async {
        while at != Some(end) {
            // A position at the very end has nothing behind it.
            let Ok(entries) = tokio::time::timeout(Duration::from_millis(30), follow.next()).await else { break };
            for entry in entries.expect("a log").expect("no end") {
                at = Some(entry.cursor);
                all.push(entry.what.clone());
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("in time");
    all
}

fn assert_exact(cursor: Cursor, what: &[What], log: &[Event], texts: &[(PartId, String)]) {
    let facts: Vec<&Event> = what.iter().filter_map(|what| if let What::Fact(fact) = what { Some(fact) } else { None }).collect();
    let expected: Vec<&Event> = log.iter().filter(|fact| fact.seq > cursor.seq).collect();
    assert_eq!(facts, expected, "{cursor}");
    // The first text goes on at the offset, all others begin at their beginning; each is put together as it is stored.
    let mut first = true;
    let mut parts: Vec<(PartId, usize, String)> = Vec::new();
    for what in what {
        match what {
            What::Fact(_) => {}
            What::Delta(delta) => {
                if parts.last().is_none_or(|(part, ..)| *part != delta.part) {
                    let start = if first { cursor.offset } else { 0 };
                    assert_eq!(delta.offset, start, "{cursor}: a text begins in its middle");
                    parts.push((delta.part, start, String::new()));
                }
                first = false;
                let (_, start, text) = parts.last_mut().expect("one");
                assert_eq!(delta.offset, *start + text.len(), "{cursor}: a gap or a repeat");
                text.push_str(&delta.text);
            }
        }
        // Behind the part that was open, everything begins anew.
        first &= !matches!(what, What::Fact(Event { kind: EventKind::PartCompleted { .. } | EventKind::TurnResumed, .. }));
    }
    for (part, start, text) in parts {
        let stored = texts.iter().find(|(stored, _)| *stored == part).map(|(_, text)| &text[start..]);
        assert_eq!(Some(text.as_str()), stored, "{cursor}");
    }
}

/// What a follower in the background was given.
struct Noted(AllGiven);

async fn note_positions(theatre: &Theatre, id: ConversationId, given: AllGiven) -> Noted {
    let opened = theatre.engine.follow(OWNER, id, From::Now).await.expect("a follower");
    let mut follow = opened.follow;
    let shared = Arc::clone(&given);
    let mut open = opened.open.map(|open| (open.part, open.text));
    shared.lock().unwrap_or_else(PoisonError::into_inner).push(Given { cursor: opened.cursor, open: open.clone() });
    tokio::spawn(async move {
        while let Ok(Some(entries)) = follow.next().await {
            for entry in entries {
                match &entry.what {
                    What::Delta(delta) => match &mut open {
                        Some((part, text)) if *part == delta.part => text.push_str(&delta.text),
                        _ => open = Some((delta.part, delta.text.to_string())),
                    },
                    What::Fact(fact) => {
                        let closes = matches!(&fact.kind, EventKind::PartCompleted { part } if open.as_ref().is_some_and(|(id, _)| *id == part.id));
                        if closes || matches!(fact.kind, EventKind::TurnResumed) {
                            open = None;
                        }
                    }
                }
                shared.lock().unwrap_or_else(PoisonError::into_inner).push(Given { cursor: entry.cursor, open: open.clone() });
            }
        }
    });
    Noted(given)
}

impl Noted {
    /// Waits until this is the end of a text that was seen.
    async fn until(&self, words: &str) {
        let words = words.trim();
        let waiting = async {
            loop {
                let seen = |given: &Given| given.open.as_ref().is_some_and(|(_, text)| text.contains(words));
                if self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(seen) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{words} is not seen"));
    }
}
