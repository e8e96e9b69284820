//! P7, P9: eight clients write to one conversation, steer, interrupt, cancel and rename, all at once and in any order. Whatever
//! the order was, the log must tell one story, and what each client was answered must be true in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::campaign_support::{Api, Machine, PATIENCE, dashed, hex, luck, sized};
use crate::checker::{Evidence, check};
use crate::harness_http::Request;
use crate::harness_luck::Luck;
use crate::ledger::{Events, Face, Fact, Ledger, Manner, Reader, Seen, WholeLog, whole_log};
use crate::upstream::{Tale, Upstream};

const CLIENTS: u64 = 8;
/// The promise is 100 ms at p99, on a machine that has nothing else to do.
const LONGEST_CANCEL: Duration = Duration::from_secs(5);

/// What a client was told about a turn that it wanted to end.
#[derive(Debug)]
struct Cancelled {
    turn: String,
    /// What the server said.
    done: bool,
    took: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_order_the_log_tells_one_story() {
    let (rounds, operations) = sized((4, 40), (60, 100));
    let mut luck = luck("races");
    let upstream = Upstream::start().await;
    let machine = Machine::started(&upstream).await;
    machine.fill_heap(150);
    let api = machine.api();
    let cancels: Arc<Mutex<Vec<Cancelled>>> = Arc::default();
    let (mut turns, mut took) = (0, Vec::new());
    for round in 0..rounds {
        let conversation = api.conversation().await;
        let ledger = Ledger::default();
        let readers = [Face::Session, Face::Socket, Face::Session, Face::Socket]
            .map(|face| Reader::start(api, face, &conversation, format!("{face:?}")));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let client = Client {
                    api,
                    conversation: conversation.clone(),
                    ledger: ledger.clone(),
                    luck: Luck::new(luck.below(1 << 40) as u64),
                    tale: (round as u64 * CLIENTS + client) * 10_000,
                    watched: Arc::clone(&cancels),
                };
                tokio::spawn(client.go(operations))
            })
            .collect();
        for client in clients {
            client.await.expect("no panic");
        }
        let log = end_everything(api, &conversation).await;
        turns += log.outcomes.len();
        let last = log.outcomes.last().map(|(turn, _)| Fact::Finished(turn.clone())).expect("a turn");
        for reader in &readers {
            let ends = |seen: &[Seen]| seen.iter().any(|seen| matches!(seen, Seen::Fact { fact, .. } if *fact == last));
            assert!(reader.sees(&conversation, PATIENCE, ends).await, "round {round}: a reader does not come to the end");
        }
        let outcomes: HashMap<&String, &String> = log.outcomes.iter().map(|(turn, outcome)| (turn, outcome)).collect();
        for told in cancels.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let outcome = outcomes.get(&told.turn).map(|outcome| outcome.as_str());
            assert!(!told.done || outcome == Some("cancelled"), "round {round}: {told:?}, and it is {outcome:?}");
            took.push(told.took);
        }
        let readings = readers.into_iter().flat_map(Reader::stop).collect();
        check(&Evidence::gather(api, &conversation, ledger.of(&conversation), readings, false).await);
        assert_eq!(upstream.complaints(), Vec::<String>::new(), "round {round}");
    }
    took.sort_unstable();
    let (middle, late, last) = (took[took.len() / 2], took[took.len() * 99 / 100], took[took.len() - 1]);
    println!("{rounds} rounds of {} operations, {turns} turns", operations * usize::try_from(CLIENTS).expect("small"));
    println!("{} cancels: p50 {middle:?}, p99 {late:?}, the longest {last:?}", took.len());
    assert!(last < LONGEST_CANCEL, "a cancel took {last:?}");
    machine.end().await;
}

/// Cancels what hangs until nothing runs and nothing waits; gives the log.
async fn end_everything(api: Api, conversation: &str) -> WholeLog {
    let deadline = Instant::now() + PATIENCE;
    let mut quiet = 0;
    loop {
        let there_was = cancel(api, conversation, None).await;
        quiet = if there_was == Some(false) { quiet + 1 } else { 0 };
        // Once it may have missed a turn that ended by itself, with others behind it.
        if quiet > 2
            && let Some(log) = whole_log(api, conversation).await
            && log.answered.len() == log.outcomes.len()
            // On a slow disk a turn that waits may take its time to start.
            && turns_of_messages(api, conversation).await.iter().all(|turn| log.outcomes.iter().any(|(ended, _)| ended == turn))
        {
            return log;
        }
        assert!(Instant::now() < deadline, "a turn is stuck");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The turns that answer what was said, whether they have started or not.
async fn turns_of_messages(api: Api, conversation: &str) -> Vec<String> {
    let messages = api.get(&format!("/api/sessions/{}/messages", dashed(conversation))).await;
    let said = messages.as_array().into_iter().flatten().filter(|message| message["role"] == "user");
    said.map(|message| hex(&message["turnId"])).filter(|turn| !turn.is_empty()).collect()
}

struct Client {
    api: Api,
    conversation: String,
    ledger: Ledger,
    luck: Luck,
    tale: u64,
    watched: Arc<Mutex<Vec<Cancelled>>>,
}

impl Client {
    async fn go(mut self, operations: usize) {
        for _ in 0..operations {
            match self.luck.below(12) {
                0..5 => self.write().await,
                5..8 => self.cancel().await,
                8 => {
                    tokio::join!(cancel(self.api, &self.conversation, None), cancel(self.api, &self.conversation, None));
                }
                9 => self.rename().await,
                10 => self.look_in().await,
                _ => tokio::time::sleep(Duration::from_millis(self.luck.below(60) as u64)).await,
            }
            tokio::time::sleep(Duration::from_millis(self.luck.below(25) as u64)).await;
        }
    }

    async fn write(&mut self) {
        self.tale += 1;
        let story = Tale {
            id: self.tale,
            rounds: self.luck.below(3),
            calls: 1 + self.luck.below(3),
            pieces: 1 + self.luck.below(12),
            pace_us: self.luck.below(3000) as u64,
            silence_ms: if self.luck.one_in(3) { self.luck.below(40) as u64 } else { 0 },
            hang: self.luck.one_in(6).then_some(0),
            search: self.luck.one_in(3),
            ..Tale::default()
        };
        let when_busy = ["queue", "queue", "steer", "interrupt", "interrupt", "reject"][self.luck.below(6)];
        let manner = Manner { when_busy, insist: None };
        self.ledger.send(self.api, &self.conversation, &story.message(), manner).await;
    }

    /// The turn that runs, or one that waits, by its name.
    async fn cancel(&mut self) {
        let target = format!("/api/sessions/{}/messages?limit=20", dashed(&self.conversation));
        let Ok((200, messages)) = self.api.send(Request::get(&target)).await else { return };
        let turns: Vec<String> = messages
            .as_array()
            .into_iter()
            .flatten()
            .map(|message| hex(&message["turnId"]))
            .filter(|turn| !turn.is_empty())
            .collect();
        if let Some(turn) = turns.get(self.luck.below(turns.len())) {
            let began = Instant::now();
            if let Some(done) = cancel(self.api, &self.conversation, Some(turn)).await {
                let told = Cancelled { turn: turn.clone(), done, took: began.elapsed() };
                self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(told);
            }
        }
    }

    async fn rename(&mut self) {
        let body = json!({"title": format!("title {}", self.luck.below(1000))});
        let renamed = self.api.send(Request::new("PATCH", &format!("/api/chats/{}", self.conversation)).json(&body)).await;
        assert!(matches!(renamed, Ok((200, _))), "{renamed:?}");
    }

    /// Comes in the middle, and leaves in the middle.
    async fn look_in(&mut self) {
        let target = format!("/api/sessions/{}/events", dashed(&self.conversation));
        let mut events = Events::open(self.api, &target, None).await.expect("the server answers");
        for _ in 0..self.luck.below(10) {
            if tokio::time::timeout(Duration::from_millis(20), events.next()).await.is_err() {
                break;
            }
        }
    }
}

/// `None`: there was no answer.
async fn cancel(api: Api, conversation: &str, turn: Option<&String>) -> Option<bool> {
    let body = turn.map_or(Value::Null, |turn| json!({"turnId": turn}));
    let target = format!("/api/chats/{conversation}/cancel");
    let request = if body.is_null() { Request::new("POST", &target) } else { Request::post(&target, &body) };
    match api.send(request).await {
        Ok((200, answer)) => answer["cancelled"].as_bool(),
        other => panic!("{other:?}"),
    }
}

/// Who waits for an answer is told its end, also when everything is deleted in the middle; then nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_in_the_middle_leaves_nobody_waiting() {
    let trials = sized(20, 200);
    let mut luck = luck("delete");
    let upstream = Upstream::start().await;
    let machine = Machine::started(&upstream).await;
    machine.fill_heap(50);
    let api = machine.api();
    for trial in 0..trials {
        let conversation = api.conversation().await;
        let reader = Reader::start(api, Face::Session, &conversation, "watcher".to_owned());
        assert!(reader.sees(&conversation, PATIENCE, |seen| !seen.is_empty()).await);
        let mut waiting = Vec::new();
        for number in 0..3 {
            let story = Tale {
                id: trial as u64 * 3 + number,
                rounds: 2,
                search: luck.one_in(2),
                hang: luck.one_in(4).then_some(0),
                ..Tale::default()
            };
            let target = format!("/api/sessions/{}/messages", dashed(&conversation));
            let request = Request::post(&target, &json!({"content": story.message()}));
            let mut events = Events::send(api, request).await.expect("the server answers").expect("a stream");
            waiting.push(tokio::spawn(async move {
                let mut last = String::new();
                while let Some(event) = events.next().await {
                    last = event.name;
                }
                last
            }));
        }
        tokio::time::sleep(Duration::from_millis(luck.below(60) as u64)).await;
        let target = format!("/api/chats/{conversation}");
        let deleted = api.send(Request::delete(&target)).await;
        assert!(matches!(deleted, Ok((200, _))), "trial {trial}: {deleted:?}");
        for waiting in waiting {
            let last = tokio::time::timeout(PATIENCE, waiting).await.expect("nobody waits for ever").expect("no panic");
            assert_eq!(last, "message.done", "trial {trial}");
        }
        let deleted = Fact::Other("session.deleted".to_owned());
        let told = |seen: &[Seen]| seen.iter().any(|seen| matches!(seen, Seen::Fact { fact, .. } if *fact == deleted));
        assert!(reader.sees(&conversation, PATIENCE, told).await, "trial {trial}: a reader is not told");
        assert!(matches!(api.send(Request::get(&target)).await, Ok((404, _))), "trial {trial}");
        drop(reader);
    }
    assert_eq!(upstream.complaints(), Vec::<String>::new());
    machine.end().await;
}
