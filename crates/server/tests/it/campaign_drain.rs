//! P10: the program is asked to stop while it works. It ends in time and in good order, tells every socket when to come back,
//! loses nothing, and goes on where it was.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::campaign_kill::settle;
use crate::campaign_support::{Api, Machine, PATIENCE, luck, sized};
use crate::checker::{Evidence, check};
use crate::harness_luck::Luck;
use crate::ledger::{Events, Face, Fact, Fate, Ledger, Manner, PLAIN, Reader, Seen, open_socket, whole_log};
use crate::upstream::{Tale, Upstream};

/// By the promise.
const ENDS_WITHIN: Duration = Duration::from_secs(31);
const CONVERSATIONS: usize = 8;
const SOCKETS: usize = 20;

/// Turns that end soon are waited for; so it is over soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_turns_that_end_soon() {
    let mut luck = luck("drain");
    let upstream = Upstream::start().await;
    let mut machine = Machine::started(&upstream).await;
    let mut tale = 0;
    for _ in 0..sized(3, 50) {
        let took = one_stop(&mut machine, &mut luck, &mut tale, 2, |id, luck| Tale {
            id,
            rounds: luck.below(3),
            pieces: 10 + luck.below(60),
            pace_us: 3000,
            silence_ms: luck.below(100) as u64,
            ..Tale::default()
        })
        .await;
        assert!(took < Duration::from_secs(10), "it took {took:?}");
        assert_eq!(upstream.complaints(), Vec::<String>::new());
    }
    machine.end().await;
}

/// Turns that go on for ever are not: those that have said something end as interrupted, the others go on after the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_ever() {
    let mut luck = luck("long drain");
    let upstream = Upstream::start().await;
    let mut machine = Machine::started(&upstream).await;
    let mut tale = 0;
    for _ in 0..sized(1, 5) {
        one_stop(&mut machine, &mut luck, &mut tale, 1, |id, _| match id % 3 {
            // Talks for longer than anybody waits.
            0 => Tale { id, rounds: 0, pieces: 500, pace_us: 50_000, ..Tale::default() },
            // Says nothing for as long.
            1 => Tale { id, rounds: 0, silence_ms: 40_000, silent_once: true, pieces: 5, ..Tale::default() },
            _ => Tale { id, rounds: 1, pieces: 40, ..Tale::default() },
        })
        .await;
        assert_eq!(upstream.complaints(), Vec::<String>::new());
    }
    machine.end().await;
}

/// Each conversation is sent up to so many messages, each with such a story.
async fn one_stop(
    machine: &mut Machine,
    luck: &mut Luck,
    tale: &mut u64,
    messages: usize,
    story: fn(u64, &mut Luck) -> Tale,
) -> Duration {
    let (api, ledger) = (machine.api(), Ledger::default());
    let mut followed = Vec::new();
    for number in 0..CONVERSATIONS {
        let conversation = api.conversation().await;
        let readers =
            [Face::Session, Face::Socket].map(|face| Reader::start(api, face, &conversation, format!("{face:?} {number}")));
        for reader in &readers {
            assert!(reader.sees(&conversation, PATIENCE, |seen| !seen.is_empty()).await, "a reader begins");
        }
        followed.push((conversation, readers));
    }
    let mut sockets = Vec::new();
    for number in 0..SOCKETS {
        sockets.push(tokio::spawn(last_word(api, followed[number % CONVERSATIONS].0.clone())));
    }
    let stream = Events::open(api, "/api/events", None).await.expect("the server answers");
    let streaming = tokio::spawn(ends_well(stream));
    let mut sending = Vec::new();
    for (conversation, _) in &followed {
        for _ in 0..1 + luck.below(messages) {
            *tale += 1;
            let (ledger, conversation, text) = (ledger.clone(), conversation.clone(), story(*tale, luck).message());
            let manner = Manner { insist: Some(2 * ENDS_WITHIN), ..PLAIN };
            // Some may come when it has stopped listening, and are sent again after the start.
            let later = Duration::from_millis(luck.below(300 * (messages - 1)) as u64);
            sending.push(tokio::spawn(async move {
                tokio::time::sleep(later).await;
                ledger.send(api, &conversation, &text, manner).await
            }));
        }
    }
    tokio::time::sleep(Duration::from_millis(100 + luck.below(300) as u64)).await;

    let began = Instant::now();
    machine.terminate();
    let mut waits = Vec::new();
    for socket in sockets {
        let said =
            tokio::time::timeout(Duration::from_secs(5), socket).await.expect("sockets are closed at once").expect("no panic");
        let (code, reason) = said.expect("a socket is told why it is closed");
        assert_eq!(code, 1012, "{reason}");
        let wait: u64 = reason.strip_prefix("retry in ").and_then(|wait| wait.parse().ok()).expect("when to come back");
        waits.push(wait);
    }
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > SOCKETS / 2, "all are to come back at the same time: {waits:?}");
    let well = tokio::time::timeout(Duration::from_secs(5), streaming).await.expect("streams end at once").expect("no panic");
    assert!(well, "a stream breaks off");
    let status = machine.ended(ENDS_WITHIN).await.expect("it ends in time");
    let took = began.elapsed();
    assert_eq!(status.code(), Some(0), "{}", machine.errors());
    machine.start().await;
    for sending in sending {
        assert!(matches!(sending.await.expect("no panic"), Fate::Acknowledged(_)));
    }
    for (conversation, readers) in followed {
        let last = settle(api, &conversation).await.pop();
        let last = Fact::Finished(last.expect("a turn"));
        let ends = |seen: &[Seen]| seen.iter().any(|seen| matches!(seen, Seen::Fact { fact, .. } if *fact == last));
        for reader in &readers {
            assert!(reader.sees(&conversation, PATIENCE, ends).await, "a reader does not come to the end");
        }
        let log = whole_log(api, &conversation).await.expect("nothing happens any more");
        let ended = log.outcomes.iter().filter(|(_, outcome)| outcome == "completed" || outcome == "failed").count();
        assert_eq!(ended, log.outcomes.len(), "{:?}", log.outcomes);
        let readings = readers.into_iter().flat_map(Reader::stop).collect();
        // What had been shown was stored before the end, so every position is still good.
        check(&Evidence::gather(api, &conversation, ledger.of(&conversation), readings, false).await);
    }
    println!("stopped after {took:?}");
    took
}

/// Code and reason with which the server closes a socket that follows a chat.
async fn last_word(api: Api, conversation: String) -> Option<(u16, String)> {
    let mut socket = open_socket(api).await.ok()?;
    let subscribe = json!({"type": "subscribe", "chatId": conversation});
    socket.send(Message::text(subscribe.to_string())).await.ok()?;
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Close(Some(frame)) = message {
            return Some((frame.code.into(), frame.reason.to_string()));
        }
    }
    None
}

/// Whether the stream comes to a formal end.
async fn ends_well(mut stream: Events) -> bool {
    while stream.next().await.is_some() {}
    stream.has_ended_well()
}
