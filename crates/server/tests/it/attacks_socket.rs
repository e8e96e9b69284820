//! Hostile peers of the socket (G2).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::attacks_routes::ROUTES;
use crate::harness::{Setup, TestServer, new_chat, new_session};
use crate::harness_http::Request;
use crate::harness_process::Process;
use crate::harness_ws::{BINARY, CONTINUATION, FINAL, RawSocket, Said, Socket, TEXT, frame, frame_head};

const MIB: usize = 1024 * 1024;
/// After this a socket that was closed in mid-message is gone altogether.
const CLOSING: Duration = Duration::from_millis(2500);

async fn open() -> (TestServer, Socket) {
    let server = Setup::new().start().await;
    let socket = Socket::greeted(&server.client()).await;
    (server, socket)
}

/// Sends a text and checks that it is refused with this code, and that the socket lives on.
async fn refused(socket: &mut Socket, text: &str, code: &str) -> Value {
    socket.send_text(text).await;
    let error = socket.frame().await;
    let shown: String = text.chars().take(80).collect();
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{shown}: {error}");
    assert_eq!(error["error"], error["message"], "{shown}");
    assert!(socket.is_alive().await, "{shown}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s09_half_an_object_is_bad_json() {
    let (_server, mut socket) = open().await;
    let broken = [
        "{",
        "",
        " ",
        "null",
        "true",
        "[]",
        "[{\"type\":\"ping\"}]",
        "{\"type\":\"ping\"",
        "{'type':'ping'}",
        "{type:\"ping\"}",
        "{\"type\":\"ping\",}",
        "{\"type\":\"ping\"}x",
        "\u{feff}{\"type\":\"ping\"}",
        "NaN",
        "{\"type\":\"\\ud800\"}",
        "{\"a\":1e999}",
        "{\"type\":\"ping\",\"type\":\"ping\"}",
        "\0",
    ];
    for text in broken {
        refused(&mut socket, text, "bad_json").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s10_two_objects_in_one_frame_are_bad_json() {
    let (_server, mut socket) = open().await;
    for between in ["", " ", "\n", ","] {
        refused(&mut socket, &format!("{{\"type\":\"pong\"}}{between}{{\"type\":\"pong\"}}"), "bad_json").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s11_an_unknown_type_is_told_its_keys_and_never_its_values() {
    let (_server, mut socket) = open().await;
    for kind in [json!("launch"), json!(5), json!(null), json!(["ping"]), json!(""), json!("pin\u{0}g"), json!("ｐing")] {
        let text = json!({"type": kind, "secret": "s3cr3t", "nested": {"inner": "s3cr3t"}}).to_string();
        let error = refused(&mut socket, &text, "unknown_type").await;
        assert_eq!(error["keys"], json!(["type", "secret", "nested"]), "{kind}");
        assert!(!error.to_string().contains("s3cr3t") && !error.to_string().contains("inner"), "{error}");
    }
    let error = refused(&mut socket, r#"{"secret":"s3cr3t"}"#, "unknown_type").await;
    assert_eq!(error["keys"], json!(["secret"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s12_a_type_may_have_spaces_and_capitals() {
    let (server, mut socket) = open().await;
    let chat = new_chat(&server.client()).await;
    for kind in [" SubScribe ", "SUBSCRIBE", "\tsubscribe\n", "\u{a0}subscribe"] {
        let history = socket.ask(&json!({"type": kind, "chatId": chat})).await;
        assert_eq!(history["type"], "history", "{kind:?}");
    }
    assert_eq!(socket.ask(&json!({"type": " PING "})).await["type"], "pong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s13_a_binary_frame_closes_with_1003() {
    let server = Setup::new().start().await;
    for payload in [&b"{\"type\":\"ping\"}"[..], b"", &[0xff; 200]] {
        let mut socket = RawSocket::greeted(&server.client()).await;
        socket.write(&frame(FINAL | BINARY, payload)).await;
        assert_eq!(socket.close_code().await, Some(1003));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s14_invalid_utf8_closes_with_1007() {
    let server = Setup::new().start().await;
    for bytes in [&b"\xff"[..], b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"{\"type\":\"ping\"}\xc3"] {
        let mut socket = RawSocket::greeted(&server.client()).await;
        socket.write(&frame(FINAL | TEXT, bytes)).await;
        assert_eq!(socket.close_code().await, Some(1007), "{bytes:x?}");
    }
    // A character that fragments cut in two is whole again.
    let mut socket = RawSocket::greeted(&server.client()).await;
    let text = "{\"type\":\"ping\",\"timestamp\":\"ä\"}".as_bytes();
    let middle = text.iter().position(|byte| *byte > 0x7f).expect("the ä") + 1;
    socket.write(&frame(TEXT, &text[..middle])).await;
    socket.write(&frame(FINAL | CONTINUATION, &text[middle..])).await;
    let (_, pong) = socket.next().await.expect("a pong");
    assert!(String::from_utf8(pong).expect("UTF-8").contains('ä'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s15_a_message_over_1_mib_closes_with_1009_and_is_not_kept() {
    let server = Process::start(Setup::new()).await;
    let whole = |size: usize| frame(FINAL | TEXT, &vec![b' '; size]);
    let fragments = |size: usize| {
        let mut bytes = frame(TEXT, &vec![b' '; size / 2]);
        bytes.extend(frame(FINAL | CONTINUATION, &vec![b' '; size - size / 2]));
        bytes
    };
    let too_much = [
        ("whole", whole(MIB + 1)),
        ("in fragments", fragments(MIB + 1)),
        // An announcement is enough: nothing of the message needs to be there.
        ("announced", frame_head(FINAL | TEXT, MIB + 1, true)),
        ("announced, a terabyte", frame_head(FINAL | TEXT, 1 << 40, true)),
    ];
    // The first ones warm up what stays: threads, buffers, the allocator's own.
    for (_, bytes) in too_much.iter().cycle().take(8) {
        send_too_much(&server, bytes).await;
    }
    for (name, bytes) in &too_much {
        sleep(CLOSING).await;
        server.forget_peak();
        let before = server.memory_kib("VmRSS");
        send_too_much(&server, bytes).await;
        let grown = server.memory_kib("VmHWM").saturating_sub(before);
        assert!(grown < 2048, "{name}: grown by {grown} KiB");
    }

    let mut socket = Socket::greeted(&server.client()).await;
    let frame = json!({"type": "ping", "timestamp": "x"}).to_string();
    socket.send_text(&format!("{frame}{}", " ".repeat(MIB - frame.len()))).await;
    assert_eq!(socket.frame().await["type"], "pong", "exactly 1 MiB is allowed");
}

async fn send_too_much(server: &Process, bytes: &[u8]) {
    let mut socket = RawSocket::greeted(&server.client()).await;
    socket.write(bytes).await;
    assert_eq!(socket.close_code().await, Some(1009));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s16_nesting_is_bounded() {
    let (_server, mut socket) = open().await;
    let nested = |depth: usize, open: &str, close: &str| {
        format!("{{\"type\":\"ping\",\"x\":{}1{}}}", open.repeat(depth - 1), close.repeat(depth - 1))
    };
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        socket.send_text(&nested(100, open, close)).await;
        assert_eq!(socket.frame().await["type"], "pong", "100 levels");
        for depth in [102, 128, 129, 1000, 100_000] {
            refused(&mut socket, &nested(depth, open, close), "bad_json").await;
        }
    }
    refused(&mut socket, &"[".repeat(MIB), "bad_json").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s17_an_unmasked_frame_closes_with_1002() {
    let server = Setup::new().start().await;
    let mut unmasked = frame_head(FINAL | TEXT, 15, false);
    unmasked.extend(b"{\"type\":\"ping\"}");
    let ping = frame(FINAL | TEXT, b"{\"type\":\"ping\"}");
    let long_ping = frame(FINAL | 9, &[b'x'; 126]);
    for (name, bytes) in [
        ("unmasked", unmasked),
        ("a reserved bit", frame(FINAL | 0x40 | TEXT, b"{}")),
        ("an unknown opcode", frame(FINAL | 3, b"{}")),
        ("an unknown control frame", frame(FINAL | 11, b"")),
        ("a continuation of nothing", frame(FINAL | CONTINUATION, b"{}")),
        ("a control frame in fragments", frame(9, b"")),
        ("a control frame that is too long", long_ping),
        ("a new message within another", [frame(TEXT, b"{"), ping].concat()),
    ] {
        let mut socket = RawSocket::greeted(&server.client()).await;
        socket.write(&bytes).await;
        assert_eq!(socket.close_code().await, Some(1002), "{name}");
    }
    assert!(Socket::greeted(&server.client()).await.is_alive().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s18_what_is_not_there_and_what_was_there_look_the_same() {
    let (server, mut socket) = open().await;
    let gone = new_chat(&server.client()).await;
    server.client().send(Request::delete(&format!("/api/chats/{gone}"))).await.expect(200);
    let never = "0190a1b2c3d47e5f8a9b0c1d2e3f4a5b";
    let frames = [
        json!({"type": "subscribe", "chatId": "?"}),
        json!({"type": "subscribe", "chatId": "?", "since": "1.1.0"}),
        json!({"type": "chat", "chatId": "?", "content": "x", "clientId": "c"}),
        json!({"type": "cancel", "chatId": "?"}),
        json!({"type": "unsubscribe", "chatId": "?"}),
    ];
    for frame in frames {
        let mut answers = Vec::new();
        for id in [never, &gone, "nope", "", "0190A1B2C3D47E5F8A9B0C1D2E3F4A5C", "../../etc/passwd"] {
            socket.send_text(&frame.to_string().replace('?', id)).await;
            let Some(Said::Text(answer)) = socket.said_within(Duration::from_secs(5)).await else { panic!("an answer") };
            answers.push(answer.replace(&json!(id).to_string(), "\"?\""));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{frame}: {answers:#?}");
        assert!(answers[0].contains("\"not_found\""), "{frame}: {}", answers[0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s18_over_rest_as_well() {
    let server = Setup::new().start().await;
    let client = server.client();
    let (chat, session) = (new_chat(&client).await, new_session(&client).await);
    client.send(Request::delete(&format!("/api/chats/{chat}"))).await.expect(200);
    client.send(Request::delete(&format!("/api/sessions/{session}"))).await.expect(200);
    let (no_chat, no_session) = ("0190a1b2c3d47e5f8a9b0c1d2e3f4a5b", "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b");
    for route in ROUTES.iter().filter(|route| route.path.contains('{')) {
        let gone = client.send(route.request(&chat, &session)).await;
        let never = client.send(route.request(no_chat, no_session)).await;
        assert_eq!((gone.status(), gone.text()), (404, never.text()), "{route:?}");
        let (gone, never) = (gone.head.headers, never.head.headers);
        let without_date =
            |headers: Vec<(String, String)>| -> Vec<_> { headers.into_iter().filter(|(name, _)| name != "date").collect() };
        assert_eq!(without_date(gone), without_date(never), "{route:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s19_a_wrong_cursor_gets_the_history() {
    let server = Setup::new().script(&[json!({"text": ["Hello."]})]).start().await;
    let mut socket = Socket::greeted(&server.client()).await;
    let chat = new_chat(&server.client()).await;
    socket.send(&json!({"type": "chat", "chatId": chat, "content": "hi"})).await;
    let last = socket.frame_of("result").await["seq"].as_str().expect("a cursor").to_owned();
    let parts: Vec<u64> = last.split('.').map(|part| part.parse().expect("a number")).collect();
    let future = format!("{}.{}.{}", parts[0], parts[1] + 1, 0);
    let other_epoch = format!("{}.{}.{}", parts[0] + 1, parts[1], 0);
    let garbage = [
        future.as_str(),
        &other_epoch,
        "-1.-1.-1",
        "1.-1.0",
        "garbage",
        "1",
        "1.1",
        "1.1.1.1",
        "1e3.1.0",
        " 1.1.0",
        "１.1.0",
        "999999999999999999.999999999999999999.999999999999999999",
        "9999999999999999999999.1.0",
        "0.0.18446744073709551615",
        "\u{1}",
    ];
    let long = "9".repeat(100_000);
    for cursor in garbage.into_iter().chain([long.as_str()]) {
        let error = socket.ask(&json!({"type": "subscribe", "chatId": chat, "since": cursor})).await;
        let shown: String = cursor.chars().take(60).collect();
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("bad_cursor")), "{shown}: {error}");
        assert!(error.get("turnId").is_none(), "{error}");
        let history = socket.frame().await;
        assert_eq!(history["messages"].as_array().map(Vec::len), Some(2), "{shown}: {history}");
        assert!(socket.is_alive().await, "{shown}");
    }
    let resumed = socket.ask(&json!({"type": "subscribe", "chatId": chat, "since": last})).await;
    assert_eq!(resumed["type"], "subscribed", "the right one is good");
}

/// In real time, as the contract's seconds are real ones, but in a rate of its own so that few frames are enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s20_a_flood_is_refused_and_then_cut_off() {
    let server = Setup::new().setting("COLLOQUY_SOCKET_RATE", "10").start().await;
    let mut socket = Socket::greeted(&server.client()).await;
    let mut honest = Socket::greeted(&server.client()).await;
    let began = Instant::now();
    let (mut pongs, mut refusals) = (0, 0);
    let code = loop {
        socket.send(&json!({"type": "ping"})).await;
        match socket.said_within(Duration::from_millis(40)).await {
            Some(Said::Closed(code)) => break Some(code),
            Some(Said::Gone) => break None,
            Some(Said::Text(text)) if text.contains("pong") => {
                pongs += 1;
                sleep(Duration::from_millis(20)).await;
            }
            Some(Said::Text(text)) => {
                let error: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!((&error["code"], &error["error"]), (&json!("rate_limited"), &json!("Too many requests")), "{error}");
                assert!(error["retryAfterMs"].as_u64().is_some_and(|wait| (1..=1000).contains(&wait)), "{error}");
                refusals += 1;
                sleep(Duration::from_millis(20)).await;
            }
            None => {}
        }
        assert!(began.elapsed() < Duration::from_secs(15), "a flood for {:?}", began.elapsed());
    };
    assert_eq!(code, Some(4429));
    assert!(began.elapsed() > Duration::from_secs(7), "cut off after {:?} already", began.elapsed());
    assert!(pongs >= 20 && refusals > 0, "{pongs} pongs, {refusals} refusals");
    assert!(honest.is_alive().await, "others do not notice");
    assert!(Socket::greeted(&server.client()).await.is_alive().await, "and the flooder may come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s20_who_asks_a_little_too_much_is_only_slowed_down() {
    let server = Setup::new().setting("COLLOQUY_SOCKET_RATE", "10").start().await;
    let mut socket = Socket::greeted(&server.client()).await;
    for _ in 0..25 {
        socket.feed(&json!({"type": "ping"})).await;
    }
    socket.flush().await;
    let mut kinds = Vec::new();
    for _ in 0..25 {
        kinds.push(socket.frame().await["type"].as_str().unwrap_or_default().to_owned());
    }
    let pongs = kinds.iter().filter(|kind| *kind == "pong").count();
    assert!((20..=22).contains(&pongs), "{pongs} pongs of 25");
    sleep(Duration::from_millis(500)).await;
    assert!(socket.is_alive().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_in_the_query_closes_with_4401_even_without_sign_in() {
    for server in [Setup::new().start().await, Setup::with_sign_in().start().await] {
        for token in ["tkn_wrong", "clq_", "%00", &"a".repeat(5000)] {
            let mut socket = Socket::open(&server.client(), &format!("/ws?token={token}"), &[]).await.expect("it opens");
            assert_eq!(socket.said_within(Duration::from_secs(5)).await, Some(Said::Closed(4401)), "no frame, and closed");
        }
        let good = format!("/ws?token={}", server.token);
        assert!(Socket::open(&server.client(), &good, &[]).await.expect("it opens").is_alive().await);
    }
}

/// A socket that follows more chats than it may is told so; those it has are not touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_follows_a_hundred_chats_and_no_more() {
    let server = Setup::new().setting("COLLOQUY_SOCKET_RATE", "0").start().await;
    let mut socket = Socket::greeted(&server.client()).await;
    let mut first = None;
    for _ in 0..100 {
        let chat = new_chat(&server.client()).await;
        assert_eq!(socket.ask(&json!({"type": "subscribe", "chatId": chat})).await["type"], "history");
        first.get_or_insert(chat);
    }
    let chat = new_chat(&server.client()).await;
    let error = socket.ask(&json!({"type": "subscribe", "chatId": chat})).await;
    assert_eq!((&error["code"], &error["error"]), (&json!("too_many_subscriptions"), &json!("Too many subscriptions")));
    let first = first.expect("a chat");
    assert_eq!(socket.ask(&json!({"type": "subscribe", "chatId": first})).await["type"], "history", "again is not more");
    assert_eq!(socket.ask(&json!({"type": "unsubscribe", "chatId": first})).await["type"], "unsubscribed");
    assert_eq!(socket.ask(&json!({"type": "subscribe", "chatId": chat})).await["type"], "history");
}
