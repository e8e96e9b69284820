//! Every suspicion about a race or a rule in the engine, as a story with the engine in this process.

use std::path::Path;
use std::time::Duration;

use domain::sockets::language_model::{ModelEvent, ModelRequest, PromptMessage, StopReason};
use domain::{EventKind, Outcome, PartBody, Usage};
use engine::{From, WhenBusy};
use tempfile::tempdir;

use crate::campaign_puppet::{OWNER, PATIENCE, Seen, Theatre, Watcher, pieces, post, results, stored_parts};
use crate::campaign_support::sized;

/// The end of a turn that never ran must not close the text of the one that does.
#[tokio::test]
async fn cancelling_a_waiting_turn_leaves_the_running_one_alone() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    let id = theatre.conversation().await;
    let watcher = Watcher::follow(&theatre, id).await;
    let first = theatre.post(id, "one", WhenBusy::Queue).await;
    let asked = theatre.asked().await;
    asked.text("before the cancel, ");
    watcher.until(|seen| !seen.texts.is_empty()).await;
    let before = theatre.engine.follow(OWNER, id, From::Now).await.expect("a follower");

    let waiting = theatre.post(id, "two", WhenBusy::Queue).await;
    assert!(theatre.engine.cancel(OWNER, id, Some(waiting.turn), None).await.expect("a cancel"));
    let halfway = theatre.engine.follow(OWNER, id, From::Now).await.expect("a follower");
    assert_eq!(halfway.open.as_ref().map(|open| open.text.as_str()), Some("before the cancel, "));
    assert_eq!(halfway.running.as_ref().map(|running| running.turn.id), Some(first.turn));

    asked.text("behind the cancel");
    asked.finish();
    assert_eq!(theatre.outcome(id, first.turn).await, Outcome::Completed);
    let log = theatre.log(id).await;
    let texts: Vec<_> = stored_parts(&log);
    assert_eq!(texts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["before the cancel, behind the cancel"]);
    watcher.until(|seen| seen.facts.last() == log.last()).await;
    assert_eq!(watcher.stop().texts, texts);

    // Resuming in the middle of the text, over the end of the other turn, gives exactly the rest of it.
    for (cursor, open) in [(before.cursor, before.open), (halfway.cursor, halfway.open)] {
        let mut seen = Seen { cursor, ..Seen::default() };
        let open = open.expect("a text is being written");
        seen.append(open.part, 0, &open.text);
        let resumed = theatre.engine.follow(OWNER, id, From::Cursor(cursor)).await.expect("the position is known");
        let watcher = Watcher::new(resumed.follow, seen);
        watcher.until(|seen| seen.facts.last() == log.last()).await;
        assert_eq!(watcher.stop().texts, texts);
    }
}

/// A position in the text of a turn stays good when a waiting turn ends, also between the two facts of that end.
#[tokio::test]
async fn positions_within_the_end_of_a_waiting_turn_are_good() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    let id = theatre.conversation().await;
    theatre.post(id, "one", WhenBusy::Queue).await;
    let asked = theatre.asked().await;
    let watcher = Watcher::follow(&theatre, id).await;
    asked.text("so far");
    watcher.until(|seen| !seen.texts.is_empty()).await;
    let waiting = theatre.post(id, "two", WhenBusy::Queue).await;
    assert!(theatre.engine.cancel(OWNER, id, Some(waiting.turn), None).await.expect("a cancel"));
    let started = theatre
        .log(id)
        .await
        .into_iter()
        .find(|fact| fact.turn == Some(waiting.turn) && matches!(fact.kind, EventKind::TurnStarted { .. }));
    let started = started.expect("the turn that never ran has a start");
    let between = domain::Cursor { epoch: started.epoch, seq: started.seq, offset: "so far".len() };
    let opened = theatre.engine.follow(OWNER, id, From::Cursor(between)).await.expect("the position is known");
    assert_eq!(opened.open.as_ref().map(|open| open.text.as_str()), Some("so far"));
}

/// Whoever posts may be gone before the answer: a request is dropped, a socket closes. What was stored is answered all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_sender_is_gone_is_answered() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    let mut dropped = 0;
    for round in 0..sized(80, 200_u64) {
        let id = theatre.conversation().await;
        let mut posting = Box::pin(theatre.engine.post_message(OWNER, post(id, "hello?", WhenBusy::Queue)));
        // Polled so many times, and a little later dropped: at every point where it can wait.
        for _ in 0..=round % 3 {
            let polled = tokio::time::timeout(Duration::from_micros(round % 7 * 50), &mut posting).await;
            if polled.is_ok() {
                break;
            }
        }
        drop(posting);
        tokio::time::sleep(Duration::from_millis(5)).await;
        let log = theatre.log(id).await;
        if log.iter().any(|fact| matches!(fact.kind, EventKind::MessageAdded { .. })) {
            dropped += 1;
            let asked = theatre.asked_within(Duration::from_secs(5)).await;
            let asked = asked.unwrap_or_else(|| panic!("round {round}: the message is stored and nobody answers it"));
            asked.text("yes");
            asked.finish();
            theatre.settle(id).await;
        }
    }
    assert!(dropped > 20, "only {dropped} messages were stored before their sender was gone");
}

/// A message that interrupts is answered next, whenever it comes: also in the instant in which a turn begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_is_never_lost() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    for round in 0..sized(100, 300_u64) {
        let id = theatre.conversation().await;
        let first = theatre.post(id, "one", WhenBusy::Queue).await;
        for _ in 0..round % 40 {
            tokio::task::yield_now().await;
        }
        let second = theatre.post(id, "two", WhenBusy::Interrupt).await;
        // The model stays silent to the first message and answers the second.
        let mut silent = Vec::new();
        loop {
            let asked = theatre.asked_within(Duration::from_secs(5)).await;
            let asked = asked.unwrap_or_else(|| panic!("round {round}: the interrupt was lost"));
            if !format!("{:?}", asked.request.messages.last()).contains("two") {
                silent.push(asked);
                continue;
            }
            asked.text("yes");
            asked.finish();
            break;
        }
        assert_eq!(theatre.outcome(id, second.turn).await, Outcome::Completed, "round {round}");
        let _ = theatre.engine.cancel(OWNER, id, Some(first.turn), None).await.expect("a cancel");
        theatre.settle(id).await;
    }
}

/// An interrupt ends the turn that ran when it was stored, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_hits_only_what_ran_when_it_came() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    for round in 0..sized(80, 200) {
        let id = theatre.conversation().await;
        theatre.post(id, "zero", WhenBusy::Queue).await;
        let silent = theatre.asked().await;
        let (one, two, three) = tokio::join!(
            theatre.post(id, "one", WhenBusy::Interrupt),
            theatre.post(id, "two", WhenBusy::Interrupt),
            theatre.post(id, "three", WhenBusy::Interrupt),
        );
        drop(silent);
        theatre.settle(id).await;
        let log = theatre.log(id).await;
        for turn in [one.turn, two.turn, three.turn] {
            let started = log.iter().position(|f| f.turn == Some(turn) && matches!(f.kind, EventKind::TurnStarted { .. }));
            let finished = log.iter().position(|f| f.turn == Some(turn) && matches!(f.kind, EventKind::TurnFinished { .. }));
            let (started, finished) = (started.expect("a start"), finished.expect("an end"));
            let EventKind::TurnFinished { outcome, .. } = &log[finished].kind else { continue };
            let interrupted = log[started..finished].iter().any(|fact| matches!(fact.kind, EventKind::MessageAdded { .. }));
            assert!(
                *outcome == Outcome::Completed || interrupted,
                "round {round}: a turn is {outcome:?} though nobody interrupted it"
            );
        }
    }
}

/// A cancel without a name is meant for the turn that runs; if that ends by itself, the next one is not hit instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_never_hits_the_next_turn() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    let mut missed = 0;
    for round in 0..sized(100, 300_u64) {
        let id = theatre.conversation().await;
        let first = theatre.post(id, "one", WhenBusy::Queue).await;
        let second = theatre.post(id, "two", WhenBusy::Queue).await;
        let asked = theatre.asked().await;
        asked.text("yes");
        asked.finish();
        tokio::time::sleep(Duration::from_micros(round % 30 * 20)).await;
        let log = theatre.log(id).await;
        let first_runs = !log.iter().any(|f| f.turn == Some(first.turn) && matches!(f.kind, EventKind::TurnFinished { .. }));
        let cancelled = theatre.engine.cancel(OWNER, id, None, None).await.expect("a cancel");
        theatre.settle(id).await;
        let first_outcome = theatre.outcome(id, first.turn).await;
        let second_outcome = theatre.outcome(id, second.turn).await;
        let hit = [first_outcome, second_outcome].iter().filter(|outcome| **outcome == Outcome::Cancelled).count();
        assert_eq!(hit, usize::from(cancelled), "round {round}: what the cancel says is not what it did");
        missed += usize::from(first_runs && !cancelled);
    }
    // It is not known from outside which of the two the cancel met; that it told the truth is what counts.
    println!("{missed} of 300 cancels came too late for the turn they were meant for");
}

/// A fault in one turn ends that turn, with all of the text that anybody has seen of it.
#[tokio::test]
async fn a_turn_that_breaks_down_keeps_what_was_seen() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    for round in 0..20_u64 {
        let id = theatre.conversation().await;
        let watcher = Watcher::follow(&theatre, id).await;
        let posted = theatre.post(id, "one", WhenBusy::Queue).await;
        let asked = theatre.asked().await;
        for piece in pieces("p", 5) {
            asked.text(&piece);
        }
        watcher.until(|seen| seen.texts.first().is_some_and(|(_, text)| text.contains("p4"))).await;
        // Around the moment in which the pieces are stored.
        tokio::time::sleep(Duration::from_millis(round * 5)).await;
        asked.text("last");
        watcher.until(|seen| seen.texts.first().is_some_and(|(_, text)| text.contains("last"))).await;
        asked.break_down();
        assert!(matches!(theatre.outcome(id, posted.turn).await, Outcome::Failed(_)));
        let log = theatre.log(id).await;
        watcher.until(|seen| seen.facts.last() == log.last()).await;
        assert_eq!(watcher.stop().texts, stored_parts(&log), "round {round}");
        // The conversation goes on.
        let next = theatre.post(id, "two", WhenBusy::Queue).await;
        let asked = theatre.asked().await;
        asked.text("yes");
        asked.finish();
        assert_eq!(theatre.outcome(id, next.turn).await, Outcome::Completed);
    }
}

/// A turn that has shown thoughts but no text goes on after a stop, like one that was killed.
#[tokio::test]
async fn a_turn_that_only_thought_goes_on_after_a_stop() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    let id = theatre.conversation().await;
    let watcher = Watcher::follow(&theatre, id).await;
    let posted = theatre.post(id, "one", WhenBusy::Queue).await;
    let asked = theatre.asked().await;
    asked.say(ModelEvent::Reasoning("hm".to_owned()));
    watcher.until(|seen| !seen.texts.is_empty()).await;
    let seen = watcher.stop();
    theatre.engine.drain(0).await;
    drop(theatre);
    let mut theatre = Theatre::open(directory.path()).await;
    let asked = theatre.asked().await;
    asked.text("yes");
    asked.finish();
    assert_eq!(theatre.outcome(id, posted.turn).await, Outcome::Completed);
    // The thought is void, and whoever has seen it is told.
    let resumed = theatre.engine.follow(OWNER, id, From::Cursor(seen.cursor)).await;
    assert!(matches!(resumed, Err(engine::Error::BadCursor)), "{resumed:?}");
}

/// A call has one result, whatever ends first: the tool, the turn, or the program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_has_one_result_whatever_ends_first() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    for round in 0..150_u64 {
        let id = theatre.conversation().await;
        let posted = theatre.post(id, "one", WhenBusy::Queue).await;
        let asked = theatre.asked().await;
        asked.text("let me see");
        for call in ["a", "b", "c"] {
            asked.call(call, "gate");
        }
        asked.say(ModelEvent::Finished(StopReason::ToolUse));
        let gate = theatre.gate.clone();
        let opening = tokio::spawn(async move {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_micros(round % 10 * 100)).await;
                gate.notify_one();
            }
        });
        tokio::time::sleep(Duration::from_micros(round % 40 * 50)).await;
        let cancelled = theatre.engine.cancel(OWNER, id, Some(posted.turn), None).await.expect("a cancel");
        opening.await.expect("no panic");
        if let Some(asked) = theatre.asked_within(Duration::from_millis(5)).await {
            asked.text("so");
            asked.finish();
        }
        let outcome = theatre.outcome(id, posted.turn).await;
        assert_eq!(outcome == Outcome::Cancelled, cancelled, "round {round}: {outcome:?}");
        let log = theatre.log(id).await;
        let calls = log.iter().filter(|fact| matches!(fact.kind, EventKind::ToolCalled { .. })).count();
        let mut answered = results(&log);
        answered.sort();
        answered.dedup();
        assert_eq!(answered.len(), calls, "round {round}");
        assert_eq!(results(&log).len(), calls, "round {round}: a call has two results");
        // A permit that nobody took would open the next round's gate.
        let _ = tokio::time::timeout(Duration::ZERO, theatre.gate.notified()).await;
    }
}

/// A provider that takes a break without having said anything is asked again.
#[tokio::test]
async fn a_break_without_a_word_is_no_failure() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    let id = theatre.conversation().await;
    let posted = theatre.post(id, "one", WhenBusy::Queue).await;
    for _ in 0..3 {
        theatre.asked().await.say(ModelEvent::Finished(StopReason::Paused));
    }
    let asked = theatre.asked().await;
    asked.text("yes");
    asked.finish();
    assert_eq!(theatre.outcome(id, posted.turn).await, Outcome::Completed);
}

/// Who is further behind than the live log goes back reads from the store, in the middle of a text and over its end.
#[tokio::test]
async fn a_follower_that_falls_behind_misses_nothing() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    // By the number of pieces, and by their size.
    for (count, bytes) in [(9000, 1), (300, 60_000)] {
        let id = theatre.conversation().await;
        let posted = theatre.post(id, "one", WhenBusy::Queue).await;
        let asked = theatre.asked().await;
        let watcher = Watcher::follow(&theatre, id).await;
        let mut follow = theatre.engine.follow(OWNER, id, From::Now).await.expect("a follower").follow;
        asked.text("begin ");
        let mut seen = Seen::default();
        while seen.texts.is_empty() {
            seen.take(&follow.next().await.expect("a log").expect("no end"));
        }
        for part in 0..3 {
            for piece in 0..count {
                asked.text(&format!("{part}.{piece}{} ", "x".repeat(bytes)));
                if piece % 500 == 0 {
                    let posted = theatre.post(id, "by the way", WhenBusy::Steer).await;
                    assert_eq!(posted.queued, 0);
                }
            }
            asked.say(ModelEvent::TextDone);
            watcher.until(|seen| seen.texts.iter().any(|(_, text)| text.contains(&format!("{part}.{}x", count - 1)))).await;
            if part == 1 {
                // It comes to once in the middle.
                seen.take(&follow.next().await.expect("a log").expect("no end"));
            }
        }
        asked.finish();
        theatre.settle(id).await;
        assert_eq!(theatre.outcome(id, posted.turn).await, Outcome::Completed);
        let log = theatre.log(id).await;
        while seen.facts.last() != log.last() {
            seen.take(&follow.next().await.expect("a log").expect("no end"));
        }
        watcher.until(|seen| seen.facts.last() == log.last()).await;
        let stored = stored_parts(&log);
        assert!(stored == watcher.stop().texts, "a follower that keeps up");
        assert!(stored == seen.texts, "a follower that falls behind");
    }
}

/// A model may go on to speak behind a call. The call is run all the same, and its result is shown to the model.
#[tokio::test]
async fn a_call_in_the_middle_of_an_answer_is_run() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    let id = theatre.conversation().await;
    let watcher = Watcher::follow(&theatre, id).await;
    let posted = theatre.post(id, "one", WhenBusy::Queue).await;
    let asked = theatre.asked().await;
    asked.text("before");
    asked.say(ModelEvent::TextDone);
    asked.call("a", "gate");
    asked.text("between");
    asked.say(ModelEvent::TextDone);
    asked.call("b", "gate");
    asked.say(ModelEvent::Reasoning("behind".to_owned()));
    asked.say(ModelEvent::Finished(StopReason::ToolUse));
    // The calls come to the gate whenever they do, and it remembers only one who may pass.
    let asked = loop {
        theatre.gate.notify_one();
        if let Some(asked) = theatre.asked_within(Duration::from_millis(20)).await {
            break asked;
        }
    };
    let said = format!("{:?}", asked.request.messages);
    let order: Vec<_> = ["\"before\"", "\"between\"", "id: \"a\"", "id: \"b\"", "call_id: \"a\"", "call_id: \"b\""]
        .map(|words| said.find(words))
        .into();
    assert!(order.is_sorted() && order[0].is_some(), "{order:?}: {said}");
    asked.text("so");
    asked.finish();
    assert_eq!(theatre.outcome(id, posted.turn).await, Outcome::Completed);
    let log = theatre.log(id).await;
    assert_eq!(results(&log), ["a", "b"]);
    watcher.until(|seen| seen.facts.last() == log.last()).await;
    assert_eq!(watcher.stop().texts, stored_parts(&log));
}

/// Models may say anything. What no database can store becomes a mark, and neither the turn nor anybody else's is harmed.
#[tokio::test]
async fn what_cannot_be_stored_harms_nobody() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    let other = theatre.conversation().await;
    theatre.post(other, "other", WhenBusy::Queue).await;
    let others = theatre.asked().await;
    let id = theatre.conversation().await;
    let watcher = Watcher::follow(&theatre, id).await;
    let posted = theatre.post(id, "one", WhenBusy::Queue).await;
    let asked = theatre.asked().await;
    asked.say(ModelEvent::Reasoning("h\0m".to_owned()));
    asked.text("be\0fore");
    others.text("safe");
    tokio::time::sleep(Duration::from_millis(100)).await;
    asked.call("a\0", "ga\0te");
    asked.say(ModelEvent::Finished(StopReason::ToolUse));
    let asked = theatre.asked().await;
    asked.text("so");
    asked.finish();
    assert_eq!(theatre.outcome(id, posted.turn).await, Outcome::Completed);
    let log = theatre.log(id).await;
    assert_eq!(stored_parts(&log).into_iter().map(|(_, text)| text).collect::<Vec<_>>(), ["h\u{fffd}m", "be\u{fffd}fore", "so"]);
    watcher.until(|seen| seen.facts.last() == log.last()).await;
    assert_eq!(watcher.stop().texts, stored_parts(&log));
    // What the other one had said is stored, as it would be found after a crash.
    let database = rusqlite::Connection::open(directory.path().join("test.db")).expect("the database opens");
    let text: String =
        database.query_row("SELECT text FROM delta WHERE text = 'safe'", [], |row| row.get(0)).expect("it is stored");
    assert_eq!(text, "safe");
}

/// A provider that counts nonsense makes a turn expensive on paper, and nothing else.
#[tokio::test]
async fn an_absurd_count_of_tokens_harms_nobody() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    let id = theatre.conversation().await;
    let posted = theatre.post(id, "one", WhenBusy::Queue).await;
    let absurd = Usage { input: u64::MAX, output: u64::MAX, cache_read: u64::MAX, cache_write: u64::MAX };
    for call in ["a", "b"] {
        let asked = theatre.asked().await;
        asked.say(ModelEvent::Usage(absurd));
        asked.call(call, "no such tool");
        asked.say(ModelEvent::Finished(StopReason::ToolUse));
    }
    // What is stored of it can be read: by whoever writes now, and by the next start.
    let asked = theatre.asked().await;
    let waiting = theatre.post(id, "two", WhenBusy::Queue).await;
    assert_eq!(waiting.queued, 1);
    drop(asked);
    theatre.engine.drain(0).await;
    drop(theatre);
    let mut theatre = Theatre::open(directory.path()).await;
    theatre.settle(id).await;
    assert_eq!(theatre.outcome(id, posted.turn).await, Outcome::Completed);
    assert_eq!(theatre.outcome(id, waiting.turn).await, Outcome::Completed);
}

/// Keeps everybody else from writing to the database, as a backup or a full disk does, for longer than anybody waits for it.
async fn refuse_writes(directory: &Path) {
    let path = directory.join("test.db");
    let held = tokio::task::spawn_blocking(move || {
        let connection = rusqlite::Connection::open(path).expect("the database opens");
        connection.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        std::thread::sleep(Duration::from_secs(7));
    });
    // It has the lock by then.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(held);
}

/// The end of a turn that broke down cannot be stored for a while: the conversation must not wait for it for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_whose_end_could_not_be_stored_blocks_nobody() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    let id = theatre.conversation().await;
    let watcher = Watcher::follow(&theatre, id).await;
    let posted = theatre.post(id, "one", WhenBusy::Queue).await;
    let asked = theatre.asked().await;
    asked.text("seen and stored");
    watcher.until(|seen| !seen.texts.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    refuse_writes(directory.path()).await;
    asked.break_down();
    tokio::time::sleep(Duration::from_secs(7)).await;
    let next = theatre.post(id, "two", WhenBusy::Queue).await;
    let asked = theatre.asked().await;
    asked.text("yes");
    asked.finish();
    assert_eq!(theatre.outcome(id, next.turn).await, Outcome::Completed);
    assert!(matches!(theatre.outcome(id, posted.turn).await, Outcome::Failed(_)));
    let log = theatre.log(id).await;
    watcher.until(|seen| seen.facts.last() == log.last()).await;
    assert_eq!(watcher.stop().texts, stored_parts(&log));
}

/// Text that could not be stored for a while is stored afterwards, so that a crash costs no more of it than usual.
#[test]
fn text_that_could_not_be_stored_is_stored_later() {
    let directory = tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (id, turn) = runtime.block_on(async {
        let mut theatre = Theatre::open(directory.path()).await;
        let id = theatre.conversation().await;
        let watcher = Watcher::follow(&theatre, id).await;
        let posted = theatre.post(id, "one", WhenBusy::Queue).await;
        let asked = theatre.asked().await;
        asked.text("one ");
        watcher.until(|seen| !seen.texts.is_empty()).await;
        tokio::time::sleep(Duration::from_millis(120)).await;
        refuse_writes(directory.path()).await;
        asked.text("two ");
        tokio::time::sleep(Duration::from_secs(8)).await;
        asked.text("three ");
        watcher.until(|seen| seen.texts[0].1.contains("three")).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        (id, posted.turn)
    });
    // As a crash ends it.
    runtime.shutdown_timeout(Duration::from_secs(5));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let theatre = Theatre::open(directory.path()).await;
        assert!(matches!(theatre.outcome(id, turn).await, Outcome::Failed(_)));
        let texts: Vec<_> = stored_parts(&theatre.log(id).await).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["one two three "]);
    });
}

/// A message that joins a turn is shown to the model, or the turn had ended before: never neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_joins_is_seen() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    for round in 0..sized(100, 300_u64) {
        let id = theatre.conversation().await;
        theatre.post(id, "one", WhenBusy::Queue).await;
        let asked = theatre.asked().await;
        asked.text("first answer");
        asked.finish();
        tokio::time::sleep(Duration::from_micros(round % 25 * 40)).await;
        theatre.post(id, "two", WhenBusy::Steer).await;
        let asked = theatre.asked_within(Duration::from_secs(5)).await;
        let asked = asked.unwrap_or_else(|| panic!("round {round}: nobody looks at the message that joined"));
        let said = format!("{:?}", asked.request.messages);
        assert_eq!(said.matches("two").count(), 1, "round {round}: {said}");
        asked.text("second answer");
        asked.finish();
        theatre.settle(id).await;
    }
}

/// What the model has seen stands before its answer: a message that joined after the step had got its place too. Otherwise the
/// next request would show it as if nobody had answered it yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_joins_before_the_model_is_asked_stands_before_the_answer() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    let id = theatre.conversation().await;
    theatre.post(id, "one", WhenBusy::Queue).await;
    theatre.asked().await.fail(200);
    theatre.post(id, "two", WhenBusy::Steer).await;
    let asked = theatre.asked().await;
    assert_eq!(dialog(&asked.request), ["User: one two"]);
    asked.text("answer to both");
    asked.call("a", "gate");
    asked.finish();
    theatre.gate.notify_one();
    let asked = theatre.asked().await;
    assert_eq!(dialog(&asked.request), ["User: one two", "Assistant: answer to both <call>", "User: <result>"]);
    asked.text("done");
    asked.finish();
    theatre.settle(id).await;
    theatre.post(id, "three", WhenBusy::Queue).await;
    let asked = theatre.asked().await;
    let all = ["User: one two", "Assistant: answer to both <call>", "User: <result>", "Assistant: done", "User: three"];
    assert_eq!(dialog(&asked.request), all);
}

/// Who says what, in the order of a request.
fn dialog(request: &ModelRequest) -> Vec<String> {
    let word = |part: &PartBody| match part {
        PartBody::Text { text } => text.clone(),
        PartBody::ToolCall(_) => "<call>".to_owned(),
        PartBody::ToolResult(_) => "<result>".to_owned(),
        PartBody::Reasoning { .. } | PartBody::Opaque(_) => "<thought>".to_owned(),
    };
    let line =
        |message: &PromptMessage| format!("{:?}: {}", message.role, message.parts.iter().map(word).collect::<Vec<_>>().join(" "));
    request.messages.iter().map(line).collect()
}

/// Deleting ends everything: whoever follows is told, nobody waits for ever, nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_while_busy_ends_everything() {
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    for round in 0..100_u64 {
        let id = theatre.conversation().await;
        let mut follow = theatre.engine.follow(OWNER, id, From::Now).await.expect("a follower").follow;
        let mut turns = Vec::new();
        for text in ["one", "two", "three"] {
            turns.push(theatre.post(id, text, WhenBusy::Queue).await.turn);
        }
        let asked = theatre.asked().await;
        asked.text("well");
        tokio::time::sleep(Duration::from_micros(round % 20 * 50)).await;
        theatre.engine.delete_conversation(OWNER, id).await.expect("it is deleted");
        let mut seen = Seen::default();
        let everything = async {
            while let Some(entries) = follow.next().await.expect("a log") {
                seen.take(&entries);
            }
        };
        tokio::time::timeout(PATIENCE, everything).await.expect("the follower is told");
        assert_eq!(seen.facts.last().map(|fact| &fact.kind), Some(&EventKind::ConversationDeleted), "round {round}");
        for turn in turns {
            let ends = seen.facts.iter().filter(|f| f.turn == Some(turn) && matches!(f.kind, EventKind::TurnFinished { .. }));
            assert_eq!(ends.count(), 1, "round {round}");
        }
        assert!(matches!(theatre.engine.conversation(OWNER, id).await, Err(engine::Error::NotFound)));
    }
}

/// A turn that was cancelled stays cancelled, also when the program stops in the same instant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_holds_through_a_stop() {
    for round in 0..40_u64 {
        let directory = tempdir().expect("a directory");
        let mut theatre = Theatre::open(directory.path()).await;
        let id = theatre.conversation().await;
        let posted = theatre.post(id, "one", WhenBusy::Queue).await;
        let silent = theatre.asked().await;
        let cancel = async {
            tokio::time::sleep(Duration::from_micros(round % 8 * 30)).await;
            tokio::time::timeout(Duration::from_secs(5), theatre.engine.cancel(OWNER, id, Some(posted.turn), None)).await
        };
        let (cancelled, ()) = tokio::join!(cancel, theatre.engine.drain(0));
        let cancelled = cancelled.expect("a cancel ends").expect("a cancel");
        drop(silent);
        drop(theatre);
        let mut theatre = Theatre::open(directory.path()).await;
        if cancelled {
            assert_eq!(theatre.outcome(id, posted.turn).await, Outcome::Cancelled, "round {round}");
        } else if let Some(asked) = theatre.asked_within(Duration::from_secs(5)).await {
            asked.text("yes");
            asked.finish();
            assert_eq!(theatre.outcome(id, posted.turn).await, Outcome::Completed, "round {round}");
        }
    }
}
