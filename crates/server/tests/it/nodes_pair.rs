//! Two nodes on one database: whatever is said on one is seen on the other, once and in order; what one leaves, the other
//! takes up; and who has lost a turn writes nothing.

use std::time::{Duration, Instant};

use domain::{ConversationId, EventKind, Outcome};
use engine::{Posted, WhenBusy};
use store::{DatabaseUrl, Store};
use tempfile::{TempDir, tempdir};

use crate::campaign_puppet::{OWNER, PATIENCE, Watcher, pieces, post, stored_parts};
use crate::campaign_support::{luck, sized};
use crate::harness_luck::Luck;
use crate::nodes_town::{Node, Post, Town};

/// By the promise: two lease lengths, and what it takes to see it.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(10);
/// Longer than a lease, and than what it takes to be declared dead.
const LOST_AFTER: Duration = Duration::from_secs(9);

struct Pair {
    one: Node,
    other: Node,
    _directory: TempDir,
}

impl Pair {
    async fn start(treated: Post) -> Self {
        Self::with(treated, luck("two nodes")).await
    }

    async fn with(treated: Post, luck: Luck) -> Self {
        let directory = tempdir().expect("a directory");
        let store = Store::open(&DatabaseUrl::Sqlite(directory.path().join("test.db"))).expect("a database");
        let town = Town::new(treated, luck);
        let one = Node::start(&town, store.clone(), directory.path()).await;
        let other = Node::start(&town, store, directory.path()).await;
        Self { one, other, _directory: directory }
    }
}

async fn say(node: &Node, id: ConversationId, text: &str, when_busy: WhenBusy) -> Posted {
    let (engine, post) = (node.theatre.engine.clone(), post(id, text, when_busy));
    node.run(async move { engine.post_message(OWNER, post).await }).await.expect("the message is stored")
}

/// Everything that was shown is what is stored, and the last fact is seen.
async fn sees_all(watcher: Watcher, node: &Node, id: ConversationId) {
    let log = node.theatre.log(id).await;
    watcher.until(|seen| seen.facts.last() == log.last()).await;
    assert_eq!(watcher.stop().texts, stored_parts(&log));
}

async fn what_is_said_here_is_seen_there(treated: Post, luck: Luck) {
    let Pair { mut one, other, _directory } = Pair::with(treated, luck).await;
    let id = one.theatre.conversation().await;
    let watchers = [Watcher::follow(&one.theatre, id).await, Watcher::follow(&other.theatre, id).await];
    for round in 0..5 {
        say(&one, id, "go on", WhenBusy::Queue).await;
        let asked = one.theatre.asked().await;
        let mut late = None;
        for (number, piece) in pieces(&format!("round {round}"), 60).into_iter().enumerate() {
            asked.text(&piece);
            tokio::time::sleep(Duration::from_millis(2)).await;
            match number {
                // Somebody comes in mid-text, and somebody says something meanwhile.
                20 => late = Some(Watcher::follow(&other.theatre, id).await),
                40 => drop(say(&other, id, "and then?", WhenBusy::Steer).await),
                _ => {}
            }
        }
        asked.finish();
        let asked = one.theatre.asked().await;
        asked.text("that was all");
        asked.finish();
        one.theatre.settle(id).await;
        let late = late.expect("it came").stop();
        let log = one.theatre.log(id).await;
        for (part, text) in late.texts {
            let stored = stored_parts(&log).into_iter().find(|(stored, _)| *stored == part).expect("such a part").1;
            assert!(stored.starts_with(&text));
        }
    }
    for watcher in watchers {
        sees_all(watcher, &one, id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_on_one_node_is_seen_on_the_other() {
    what_is_said_here_is_seen_there(Post::Good, luck("good post")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_seen_also_when_letters_are_lost_doubled_and_late() {
    for seed in 0..sized(2, 200) {
        println!("seed {seed}");
        what_is_said_here_is_seen_there(Post::Bad, Luck::new(seed)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_seen_also_without_letters() {
    what_is_said_here_is_seen_there(Post::Nowhere, luck("no post")).await;
}

/// The check above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_noticed_if_another_text_is_seen() {
    let lying = tokio::spawn(what_is_said_here_is_seen_there(Post::Lying, luck("lies")));
    assert!(lying.await.is_err_and(|error| error.is_panic()), "nobody notices that the words are others");
}

/// A node dies while its model thinks; the other one asks again. It dies in its text; the text that was stored is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_leaves_is_taken_over() {
    let Pair { mut one, mut other, _directory } = Pair::start(Post::Good).await;
    let silent = one.theatre.conversation().await;
    let talking = one.theatre.conversation().await;
    let [thought, text] = [say(&one, silent, "think", WhenBusy::Queue).await, say(&one, talking, "talk", WhenBusy::Queue).await];
    let watcher = Watcher::follow(&other.theatre, talking).await;
    let asked = [one.theatre.asked().await, one.theatre.asked().await];
    let talk = asked.iter().find(|asked| format!("{:?}", asked.request.messages).contains("talk")).expect("both are asked");
    talk.text("so far, ");
    watcher.until(|seen| !seen.texts.is_empty()).await;
    // So that it is stored.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    one.kill();
    let again = other.theatre.asked_within(TAKEN_OVER_WITHIN + Duration::from_secs(5)).await.expect("it is asked again");
    assert!(began.elapsed() < TAKEN_OVER_WITHIN, "taken over after {:?}", began.elapsed());
    again.text("an answer");
    again.finish();
    assert_eq!(other.theatre.outcome(silent, thought.turn).await, Outcome::Completed);
    assert!(matches!(other.theatre.outcome(talking, text.turn).await, Outcome::Failed(_)));
    assert_eq!(stored_parts(&other.theatre.log(talking).await)[0].1, "so far, ");
    sees_all(watcher, &other, talking).await;
}

/// A node that was away for longer than its lease notices, says nothing more, and works on under a new name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_lost_its_lease_writes_nothing() {
    let Pair { mut one, mut other, _directory } = Pair::start(Post::Good).await;
    let id = one.theatre.conversation().await;
    let posted = say(&one, id, "think", WhenBusy::Queue).await;
    let asked = one.theatre.asked().await;
    let watcher = Watcher::follow(&other.theatre, id).await;
    one.freeze(LOST_AFTER);
    let again = other.theatre.asked_within(TAKEN_OVER_WITHIN).await.expect("it is taken over");
    again.text("the one answer");
    // It comes to itself with words in its ears that it must not repeat.
    for piece in pieces("a ghost speaks ", 50) {
        asked.text(&piece);
    }
    tokio::time::sleep(LOST_AFTER).await;
    asked.text("boo");
    again.finish();
    asked.finish();
    assert_eq!(other.theatre.outcome(id, posted.turn).await, Outcome::Completed);
    sees_all(watcher, &one, id).await;
    let log = one.theatre.log(id).await;
    assert_eq!(stored_parts(&log).iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["the one answer"]);
    assert_eq!(log.iter().filter(|fact| matches!(fact.kind, EventKind::TurnResumed)).count(), 1);
    // And it works again.
    let posted = say(&one, id, "are you there?", WhenBusy::Queue).await;
    let asked = one.theatre.asked().await;
    asked.text("yes");
    asked.finish();
    assert_eq!(one.theatre.outcome(id, posted.turn).await, Outcome::Completed);
}

/// Whoever wants a turn to stop need not know where it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_are_stopped_from_any_node() {
    for treated in [Post::Good, Post::Nowhere] {
        let Pair { mut one, mut other, _directory } = Pair::start(treated).await;
        let (here, there) = (one.theatre.engine.clone(), other.theatre.engine.clone());
        let id = one.theatre.conversation().await;
        let first = say(&one, id, "one", WhenBusy::Queue).await;
        let asked = one.theatre.asked().await;
        asked.text("well, ");
        let began = Instant::now();
        let cancelling = there.clone();
        assert!(other.run(async move { cancelling.cancel(OWNER, id, None, None).await }).await.expect("a cancel"));
        println!("{treated:?}: cancelled from the other node after {:?}", began.elapsed());
        assert_eq!(here.follow(OWNER, id, engine::From::Now).await.expect("it is there").running, None);
        assert_eq!(one.theatre.outcome(id, first.turn).await, Outcome::Cancelled);

        let second = say(&one, id, "two", WhenBusy::Queue).await;
        let silent = one.theatre.asked().await;
        let third = say(&other, id, "three", WhenBusy::Interrupt).await;
        assert_eq!(other.theatre.outcome(id, second.turn).await, Outcome::Cancelled);
        drop(silent);
        let asked = tokio::select! {
            asked = one.theatre.asked() => asked,
            asked = other.theatre.asked() => asked,
        };
        asked.text("an answer");
        let engine = there.clone();
        other.run(async move { engine.delete_conversation(OWNER, id).await }).await.expect("it is deleted");
        let gone = async {
            while !matches!(here.conversation(OWNER, id).await, Err(engine::Error::NotFound)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("it is gone for both");
        let _ = third;
    }
}

/// A node that stops lets go of what has shown nothing; what waits on it is answered elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_hands_over() {
    let Pair { mut one, mut other, _directory } = Pair::start(Post::Good).await;
    let id = one.theatre.conversation().await;
    let posted = say(&one, id, "think", WhenBusy::Queue).await;
    let waiting = say(&one, id, "and more", WhenBusy::Queue).await;
    let watcher = Watcher::follow(&other.theatre, id).await;
    let _silent = one.theatre.asked().await;
    let began = Instant::now();
    let engine = one.theatre.engine.clone();
    one.run(async move { engine.drain(20_000).await }).await;
    println!("drained after {:?}", began.elapsed());
    for turn in [posted.turn, waiting.turn] {
        let asked = other.theatre.asked().await;
        println!("asked elsewhere after {:?}", began.elapsed());
        asked.text("here you are");
        asked.finish();
        assert_eq!(other.theatre.outcome(id, turn).await, Outcome::Completed);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    sees_all(watcher, &other, id).await;
}
