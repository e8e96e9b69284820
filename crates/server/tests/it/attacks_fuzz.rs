//! Thousands of requests and frames that are nearly right (P14): no crash, no failure of ours, nobody waits, and what the
//! contracts keep open stays open. The same ones in every run.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::attacks_routes::{OPEN_ROUTES, ROUTES};
use crate::harness::{Setup, new_chat, new_session};
use crate::harness_http::{Client, Request};
use crate::harness_luck::{Luck, rounds};
use crate::harness_mutation::mutated;
use crate::harness_sse::EventStream;
use crate::harness_ws::{CONTINUATION, FINAL, RawSocket, Said, Socket, TEXT, frame};

/// No answer may take longer.
const SLOWEST: Duration = Duration::from_secs(1);
const BODIES_PER_ROUTE: usize = 200;
const FRAMES: usize = 4000;
/// Frames that are sent before somebody looks what came of them.
const AT_ONCE: usize = 20;

fn setup() -> Setup {
    Setup::new().setting("COLLOQUY_SOCKET_RATE", "0")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_nearly_right_never_fail_on_our_side() {
    let server = setup().start().await;
    let client = server.client();
    let (chat, session) = (new_chat(&client).await, new_session(&client).await);
    let mut luck = Luck::new(14);
    let mut good = 0;
    for route in ROUTES.iter().chain(OPEN_ROUTES).filter(|route| !route.body.is_empty()) {
        for round in 0..rounds(BODIES_PER_ROUTE) {
            let body = mutated(&route.json(), &mut luck);
            let mut request =
                Request::new(route.method, &route.target(&chat, &session)).bytes("application/json", body.as_bytes());
            if luck.one_in(4) {
                request = request.header("Idempotency-Key", luck.of(&["a", "b", "", "é", "\u{1}"]));
            }
            let status = answered(&client, request, &format!("{} {} round {round}: {body}", route.method, route.path)).await;
            good += usize::from(status < 300);
        }
    }
    assert!(good > 100, "only {good} were right after all: chance has gone too far");
    client.send(Request::get(&format!("/api/chats/{chat}"))).await.expect(200);
}

/// The status of an answer that comes in time, and is JSON or a stream.
async fn answered(client: &Client, request: Request, name: &str) -> u16 {
    let answering = async {
        let (head, mut body) = client.open(request).await;
        assert!(head.status < 500, "{name}: {}", head.status);
        if head.is_event_stream() {
            assert!(EventStream::new(body).next().await.is_some(), "{name}: a stream without an event");
        } else {
            let bytes = body.rest().await;
            let is_json = serde_json::from_slice::<Value>(&bytes).is_ok() || head.status == 204 || head.status == 400;
            assert!(is_json, "{name}: {}", String::from_utf8_lossy(&bytes));
        }
        head.status
    };
    timeout(SLOWEST, answering).await.unwrap_or_else(|_| panic!("{name}: no answer within {SLOWEST:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_nearly_right_never_close_the_socket() {
    let server = setup().start().await;
    let mut chats = Vec::new();
    for _ in 0..6 {
        chats.push(new_chat(&server.client()).await);
    }
    let mut luck = Luck::new(9);
    let mut socket = Socket::greeted(&server.client()).await;
    let mut answers = 0;
    for batch in 0..rounds(FRAMES) / AT_ONCE {
        let mut sent = Vec::new();
        for _ in 0..AT_ONCE {
            let chat = luck.below(chats.len());
            let text = mutated(&good_frame(&chats[chat], &mut luck), &mut luck);
            socket.send_text(&text).await;
            sent.push(text);
        }
        // An answer to a frame that is handled in its turn: so all others have been, too.
        let mark = format!("mark {batch}");
        socket.send(&json!({"type": "no such type", "clientId": mark})).await;
        let began = Instant::now();
        loop {
            match socket.said_within(SLOWEST).await {
                Some(Said::Text(text)) => {
                    let frame: Value = serde_json::from_str(&text).expect("JSON");
                    assert_ne!(frame["code"], "internal", "{text} after {sent:#?}");
                    answers += 1;
                    if frame["clientId"] == *mark {
                        break;
                    }
                }
                other => panic!("{other:?} after {sent:#?}"),
            }
        }
        assert!(began.elapsed() < SLOWEST, "{:?} for {sent:#?}", began.elapsed());
    }
    assert!(answers > FRAMES / 2, "{answers} answers");
    assert!(socket.is_alive().await);
}

fn good_frame(chat: &str, luck: &mut Luck) -> Value {
    match luck.below(12) {
        0 => json!({"type": "subscribe", "chatId": chat, "limit": 10, "include": ["reasoning"]}),
        1 => json!({"type": "subscribe", "chatId": chat, "since": "1.1.0", "limit": 5}),
        2..5 => {
            json!({"type": "chat", "chatId": chat, "content": "hi", "clientId": format!("c{}", luck.below(50)), "whenBusy": "queue"})
        }
        5 => json!({"type": "chat", "chatId": chat, "content": "hi", "mode": "ask", "whenBusy": "interrupt"}),
        6 => json!({"type": "cancel", "chatId": chat, "turnId": "0190a1b2c3d47e5f8a9b0c1d2e3f4a5b"}),
        7 => json!({"type": "unsubscribe", "chatId": chat}),
        8 => json!({"type": "ping", "timestamp": {"a": [1, "b"]}}),
        9 => json!({"type": "research", "chatId": chat, "topic": "x", "repo_name": "r"}),
        10 => json!({"type": "approve", "chatId": chat, "approvalId": "x", "approved": true}),
        _ => json!({"type": "subscribe", "chatId": chat, "channels": ["a"]}),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_nearly_frames_close_in_good_order_or_not_at_all() {
    let server = setup().start().await;
    let mut luck = Luck::new(17);
    let mut codes = std::collections::BTreeSet::new();
    for round in 0..rounds(400) {
        let mut bytes = Vec::new();
        for _ in 0..=luck.below(3) {
            let first = luck.of(&[&(FINAL | TEXT), &TEXT, &(FINAL | CONTINUATION), &(FINAL | 9), &(FINAL | 10), &(FINAL | 2)]);
            bytes.extend(frame(*first, &vec![b'{'; luck.below(200)]));
        }
        for _ in 0..=luck.below(3) {
            let at = luck.below(bytes.len());
            bytes[at] = luck.byte();
        }
        let mut socket = RawSocket::greeted(&server.client()).await;
        socket.write(&bytes).await;
        // A closing frame of ours ends it in any case, unless it has become a part of what was sent before.
        socket.write(&frame(FINAL | 8, &1000_u16.to_be_bytes())).await;
        let closed = timeout(SLOWEST, socket.close_code()).await;
        if let Ok(code) = closed {
            codes.insert(code.unwrap_or_else(|| panic!("round {round}: closed without a word after {bytes:x?}")));
        }
    }
    let allowed = [1000, 1002, 1003, 1005, 1007, 1009];
    assert!(codes.iter().all(|code| allowed.contains(code)), "{codes:?}");
    assert!(codes.len() >= 4, "{codes:?}");
    assert!(Socket::greeted(&server.client()).await.is_alive().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_that_are_nearly_right_always_get_a_stream() {
    let server = setup().script(&[json!({"text": ["Hello."]})]).start().await;
    let client = server.client();
    let session = new_session(&client).await;
    let post = Request::post(&format!("/api/sessions/{session}/messages"), &json!({"content": "hi"}));
    let mut stream = EventStream::new(client.open(post).await.1);
    let mut last = String::new();
    while let Some(event) = stream.next().await {
        last = event.id.unwrap_or(last);
    }
    let mut luck = Luck::new(5);
    for round in 0..rounds(300) {
        let mut position = last.clone().into_bytes();
        for _ in 0..luck.below(4) {
            let at = luck.below(position.len() + 1);
            position.splice(at..at, luck.of(&["0", "9", ".", "-", "1", "a", " "]).bytes());
            if luck.one_in(3) {
                position.truncate(luck.below(position.len()));
            }
        }
        let position = String::from_utf8(position).expect("ASCII");
        let path = if luck.one_in(4) { "/api/events".to_owned() } else { format!("/api/sessions/{session}/events") };
        let request = match luck.one_in(2) {
            true => Request::get(&format!("{path}?since={}", position.replace(' ', "%20"))),
            false => Request::get(&path).header("Last-Event-ID", &position),
        };
        let name = format!("round {round}: {path} from {position:?}");
        let opening = async {
            let (head, body) = client.open(request).await;
            assert!(head.status == 200 && head.is_event_stream(), "{name}: {}", head.status);
            assert_eq!(EventStream::new(body).next().await.map(|event| event.name).as_deref(), Some("connected"), "{name}");
        };
        timeout(SLOWEST, opening).await.unwrap_or_else(|_| panic!("{name}: nothing within {SLOWEST:?}"));
    }
}
