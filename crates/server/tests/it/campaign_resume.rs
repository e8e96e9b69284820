//! P5: whoever is cut off, at whatever byte, comes back and has seen everything once. No trial kills the server, so no position
//! may ever be refused.

use std::time::Duration;

use serde_json::json;

use crate::campaign_support::{Api, Broken, Machine, PATIENCE, dashed, luck, sized};
use crate::checker::{Evidence, check};
use crate::harness_http::Request;
use crate::harness_luck::Luck;
use crate::ledger::{Events, Face, Fate, Ledger, PLAIN, Reader, Seen};
use crate::proxy::{End, Fault, Proxy};
use crate::upstream::{Tale, Upstream};

const CONVERSATIONS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_cut_off_comes_back_and_misses_nothing() {
    let trials = sized(100, 10_000);
    let mut luck = luck("cut and resume");
    let upstream = Upstream::start().await;
    let machine = Machine::started(&upstream).await;
    let mut planner = luck.clone();
    let proxy = Proxy::start(machine.address, move || fault(&mut planner)).await;
    let api = machine.api();
    let cut = Api { via: proxy.address, ..api };
    let ledger = Ledger::default();
    let (mut resumes, mut tale) = (0, 0);
    while resumes < trials {
        let everything = Reader::start(cut, Face::Everything, "", "everything".to_owned());
        // Who follows everything from now on must have begun before anything happens.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut followed = Vec::new();
        for _ in 0..CONVERSATIONS {
            let conversation = api.conversation().await;
            let readers: Vec<Reader> = [Face::Session, Face::Socket, Face::Session, Face::Socket]
                .into_iter()
                .enumerate()
                .map(|(number, face)| Reader::start(cut, face, &conversation, format!("{face:?} {number}")))
                .collect();
            followed.push((conversation, readers));
        }
        for turn in 0..2 {
            for (conversation, _) in &followed {
                tale += 1;
                let story =
                    Tale { id: tale, rounds: 1 + turn, calls: 2, pieces: 40 + luck.below(30), pace_us: 2000, ..Tale::default() };
                let fate = ledger.send(api, conversation, &story.message(), PLAIN).await;
                assert!(matches!(fate, Fate::Acknowledged(_)), "{fate:?}");
            }
        }
        for (conversation, readers) in &followed {
            for reader in readers.iter().chain([&everything]) {
                let seen = reader.sees_ends(conversation, 2, PATIENCE).await;
                assert!(seen, "a reader does not come to the end: {:#?}", reader.look(conversation, <[Seen]>::to_vec));
            }
        }
        let all = everything.resumes();
        let everything = everything.stop();
        for (conversation, readers) in followed {
            resumes += readers.iter().map(Reader::resumes).sum::<usize>();
            let mut readings: Vec<_> = readers.into_iter().flat_map(Reader::stop).collect();
            readings.extend(everything.iter().filter(|reading| reading.conversation == conversation).cloned());
            assert_eq!(readings.len(), 5);
            check(&Evidence::gather(api, &conversation, ledger.of(&conversation), readings, false).await);
        }
        resumes += all;
    }
    assert_eq!(upstream.complaints(), Vec::<String>::new());
    println!("{resumes} resumes after {} cuts, {tale} turns", proxy.broken());
    machine.end().await;
}

/// Who asks again for the answer to its own message, under the same name, gets the whole answer from its start, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_again_gets_the_whole_answer() {
    let trials = sized(30, 500);
    let mut luck = luck("ask again");
    let upstream = Upstream::start().await;
    let machine = Machine::started(&upstream).await;
    let mut planner = luck.clone();
    let proxy = Proxy::start(machine.address, move || fault(&mut planner)).await;
    let api = machine.api();
    let cut = Api { via: proxy.address, ..api };
    let (mut broken, mut asking) = (0, Vec::new());
    for trial in 0..trials {
        let conversation = api.conversation().await;
        let story = Tale { id: trial, rounds: luck.below(3), calls: 2, pieces: 10 + luck.below(60), ..Tale::default() };
        asking.push(tokio::spawn(async move {
            let mut broken = 0;
            let answer = loop {
                match whole_answer(cut, &conversation, &story).await {
                    Ok(answer) => break answer,
                    Err(Broken) => broken += 1,
                }
                assert!(broken < 300, "it never comes to the end");
            };
            (conversation, story, answer, broken)
        }));
        // So many at once.
        if asking.len() < 10 && trial + 1 < trials {
            continue;
        }
        for asking in asking.drain(..) {
            let (conversation, story, answer, times) = asking.await.expect("no panic");
            broken += times;
            assert_eq!(answer.first().map(String::as_str), Some("message.start"), "story {}", story.id);
            assert_eq!(answer.iter().filter(|name| *name == "message.done").count(), 1, "story {}", story.id);
            for name in ["tool.start", "tool.result"] {
                let count = answer.iter().filter(|event| *event == name).count();
                assert_eq!(count, story.rounds * story.calls, "story {}: {name}", story.id);
            }
            let rows = api.get(&format!("/api/chats/{conversation}/messages")).await;
            let stored: Vec<&str> = rows
                .as_array()
                .into_iter()
                .flatten()
                .filter(|row| row["role"] == "assistant")
                .filter_map(|row| row["content"].as_str())
                .collect();
            let seen: String = answer.iter().filter_map(|event| event.strip_prefix("text ")).collect();
            assert_eq!(seen, stored.concat(), "story {}", story.id);
            assert!(seen.ends_with(&story.end()), "story {}", story.id);
        }
    }
    assert_eq!(upstream.complaints(), Vec::<String>::new());
    println!("{trials} answers, asked for {broken} times more than once");
    machine.end().await;
}

/// The names of the events of an answer, with the words of its pieces; an error if it breaks off.
async fn whole_answer(api: Api, conversation: &str, story: &Tale) -> Result<Vec<String>, Broken> {
    let target = format!("/api/sessions/{}/messages", dashed(conversation));
    let request = Request::post(&target, &json!({"content": story.message()})).header("Idempotency-Key", "once");
    let mut events = Events::send(api, request).await?.unwrap_or_else(|(status, answer)| panic!("{status} {answer}"));
    let mut answer = Vec::new();
    while let Some(event) = tokio::time::timeout(PATIENCE, events.next()).await.map_err(|_| Broken)? {
        answer.push(match event.data["text"].as_str() {
            Some(text) => format!("text {text}"),
            None => event.name,
        });
    }
    if events.has_ended_well() { Ok(answer) } else { Err(Broken) }
}

/// Mostly a cut at any byte of what a turn takes; sometimes the connection is only slow.
fn fault(luck: &mut Luck) -> Fault {
    match luck.below(20) {
        0 => Fault::Delay(Duration::from_millis(30)),
        1 => Fault::Drip { bytes: 700, pause: Duration::from_millis(5) },
        _ => Fault::Cut { after: 1 + luck.below(8000), end: if luck.one_in(2) { End::Fin } else { End::Rst } },
    }
}
