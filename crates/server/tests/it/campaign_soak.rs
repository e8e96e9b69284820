//! P5 in one process: readers come and go at any moment while deltas and facts flow, and each has everything from its point on.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::sockets::language_model::{ModelEvent, StopReason};
use domain::{ConversationId, Event, EventKind, PartId};
use engine::{Change, Engine, From, WhenBusy};
use tempfile::tempdir;

use crate::campaign_puppet::{Asked, OWNER, Seen, Theatre, post, stored_parts};
use crate::campaign_support::{luck, sized};
use crate::harness_luck::Luck;

const CONVERSATIONS: usize = 3;
/// Tasks that attach, read for a while, and leave.
const VISITORS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_and_goes_has_everything_from_its_point_on() {
    let attaches = sized(6_000, 200_000);
    let mut luck = luck("soak");
    let directory = tempdir().expect("a directory");
    let mut theatre = Theatre::open(directory.path()).await;
    let mut conversations = Vec::new();
    for _ in 0..CONVERSATIONS {
        conversations.push(theatre.conversation().await);
    }
    let (done, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let records: Arc<Mutex<Vec<Record>>> = Arc::default();
    let mut visitors = Vec::new();
    for visitor in 0..VISITORS {
        let luck = Luck::new(visitor as u64 + luck.below(1 << 30) as u64);
        let (engine, id) = (theatre.engine.clone(), conversations[visitor % CONVERSATIONS]);
        let (done, count, records) = (Arc::clone(&done), Arc::clone(&count), Arc::clone(&records));
        visitors.push(tokio::spawn(async move {
            let visits = Visits { engine, id, luck, left: Vec::new(), records };
            visits.go_on(&done, &count, attaches).await;
        }));
    }
    let people = people(&theatre.engine, &conversations, luck.clone(), Arc::clone(&done));
    let gate = Arc::clone(&theatre.gate);
    let opening = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(3)).await;
            gate.notify_one();
        }
    });
    // The model answers whatever it is asked, each answer in a task of its own.
    while !done.load(Ordering::Relaxed) {
        if let Some(asked) = theatre.asked_within(Duration::from_millis(20)).await {
            tokio::spawn(answer(asked, Luck::new(luck.below(1 << 30) as u64)));
        }
    }
    for visitor in visitors {
        visitor.await.expect("a visitor misses something");
    }
    people.await.expect("no panic");
    for id in &conversations {
        theatre.settle(*id).await;
    }
    opening.abort();
    let mut facts = 0;
    for id in conversations {
        let log = theatre.log(id).await;
        facts += log.len();
        let records = records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().filter(|record| record.id == id).for_each(|record| record.check(&log));
    }
    let records = records.lock().unwrap_or_else(PoisonError::into_inner).len();
    println!("{} attaches, {records} of them read texts, {facts} facts", count.load(Ordering::Relaxed));
}

/// One who comes again and again: afresh, or where an earlier visit has ended.
struct Visits {
    engine: Engine,
    id: ConversationId,
    luck: Luck,
    left: Vec<Seen>,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Visits {
    async fn go_on(mut self, done: &AtomicBool, count: &AtomicUsize, enough: usize) {
        while !done.load(Ordering::Relaxed) {
            let mut seen = self.one().await;
            self.records.lock().unwrap_or_else(PoisonError::into_inner).extend(Record::of(self.id, &seen));
            // What comes next is compared with the last of each.
            seen.facts.drain(..seen.facts.len().saturating_sub(1));
            seen.texts.drain(..seen.texts.len().saturating_sub(1));
            if self.left.len() == 4 {
                self.left.remove(0);
            }
            self.left.push(seen);
            if count.fetch_add(1, Ordering::Relaxed) + 1 >= enough {
                done.store(true, Ordering::Relaxed);
            }
        }
    }

    async fn one(&mut self) -> Seen {
        let (mut seen, from) = match self.left.len() {
            left @ 1.. if self.luck.one_in(2) => {
                let seen = self.left.swap_remove(self.luck.below(left));
                let cursor = seen.cursor;
                (seen, From::Cursor(cursor))
            }
            _ => (Seen::default(), From::Now),
        };
        let opened = self.engine.follow(OWNER, self.id, from).await.expect("a position that was given out is good");
        if from == From::Now {
            seen.cursor = opened.cursor;
            if let Some(open) = &opened.open {
                seen.append(open.part, 0, &open.text);
            }
        }
        let mut follow = opened.follow;
        if self.luck.one_in(200) {
            // So long that the live log moves on without it.
            tokio::time::sleep(Duration::from_millis(self.luck.below(1500) as u64)).await;
        }
        for _ in 0..self.luck.below(6) {
            // Some give up in the middle of waiting.
            let patience = Duration::from_micros(self.luck.below(4000) as u64);
            if let Ok(entries) = tokio::time::timeout(patience, follow.next()).await {
                seen.take(&entries.expect("a log").expect("no end"));
            }
        }
        seen
    }
}

/// A text as somebody saw it.
struct Record {
    id: ConversationId,
    part: PartId,
    length: usize,
    hash: u64,
    /// It saw the part become whole, or what came after it.
    is_whole: bool,
}

impl Record {
    fn of(id: ConversationId, seen: &Seen) -> Vec<Self> {
        let last = seen.texts.len().saturating_sub(1);
        let texts = seen.texts.iter().enumerate();
        texts
            .map(|(index, (part, text))| {
                let ended =
                    seen.facts.iter().any(|fact| matches!(&fact.kind, EventKind::PartCompleted { part: of } if of.id == *part));
                Self { id, part: *part, length: text.len(), hash: hash(text), is_whole: ended || index < last }
            })
            .collect()
    }

    fn check(&self, log: &[Event]) {
        thread_local! {
            static STORED: std::cell::RefCell<HashMap<PartId, String>> = std::cell::RefCell::default();
        }
        let stored = STORED.with_borrow_mut(|stored| {
            if !stored.contains_key(&self.part) {
                stored.extend(stored_parts(log));
            }
            stored.get(&self.part).cloned()
        });
        let stored = stored.unwrap_or_else(|| panic!("{} was seen and is not stored", self.part));
        assert!(stored.len() >= self.length, "more was seen of {} than is stored", self.part);
        assert_eq!(hash(&stored[..self.length]), self.hash, "of {} something else was seen than is stored", self.part);
        assert!(!self.is_whole || stored.len() == self.length, "the end of {} was not seen", self.part);
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Thoughts, texts and calls in any order, now slowly, now as fast as it goes.
async fn answer(asked: Asked, mut luck: Luck) {
    for _ in 0..1 + luck.below(2) {
        let fast = luck.one_in(4);
        let pieces = if fast { 200 + luck.below(400) } else { 1 + luck.below(40) };
        let thinks = luck.one_in(4);
        for number in 0..pieces {
            let piece = format!("{number}é漢😀{} ", "x".repeat(luck.below(20)));
            let is_heard = asked.say(if thinks { ModelEvent::Reasoning(piece) } else { ModelEvent::Text(piece) });
            if !is_heard {
                return;
            }
            match fast {
                true if number % 64 == 0 => tokio::task::yield_now().await,
                true => {}
                false => tokio::time::sleep(Duration::from_micros(luck.below(3000) as u64)).await,
            }
        }
        asked.say(if thinks { ModelEvent::ReasoningDone { verbatim: None } } else { ModelEvent::TextDone });
    }
    let results = asked.request.messages.iter().rev().take_while(|message| format!("{message:?}").contains("ToolResult")).count();
    if results == 0 && luck.one_in(3) {
        for call in 0..1 + luck.below(3) {
            asked.call(&format!("call {call}"), "gate");
        }
        asked.say(ModelEvent::Finished(StopReason::ToolUse));
    } else {
        asked.finish();
    }
}

/// They write, rename, interrupt and cancel, so that facts fall into the middle of texts.
fn people(
    engine: &Engine,
    conversations: &[ConversationId],
    mut luck: Luck,
    done: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<()> {
    let (engine, conversations) = (engine.clone(), conversations.to_vec());
    tokio::spawn(async move {
        let mut turns = Vec::new();
        for number in 0.. {
            if done.load(Ordering::Relaxed) {
                break;
            }
            let id = conversations[luck.below(conversations.len())];
            let when_busy = match luck.below(8) {
                0 => WhenBusy::Steer,
                1 => WhenBusy::Interrupt,
                _ => WhenBusy::Queue,
            };
            match luck.below(10) {
                0 => {
                    let change = Change { title: Some(format!("title {number}")), ..Change::default() };
                    engine.change_conversation(OWNER, id, change).await.expect("a rename");
                }
                // Mostly a turn that still waits.
                1 | 2 if !turns.is_empty() => {
                    let (id, turn) = turns.swap_remove(luck.below(turns.len()));
                    engine.cancel(OWNER, id, Some(turn), None).await.expect("a cancel");
                }
                _ => match engine.post_message(OWNER, post(id, &format!("message {number}"), when_busy)).await {
                    Ok(posted) => turns.push((id, posted.turn)),
                    Err(engine::Error::QueueFull) => {}
                    Err(error) => panic!("{error}"),
                },
            }
            if turns.len() > 8 {
                turns.remove(0);
            }
            tokio::time::sleep(Duration::from_millis(luck.below(60) as u64)).await;
        }
    })
}
