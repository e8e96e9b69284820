//! Faults that the player must notice. A check that cannot fail is no check.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::Instant;

use super::inbox::{Fault, Got, Inbox, Item};
use super::player::{Failure, play_with};
use super::stage::{Stage, Voice};
use super::story::{Line, Step, Story};
use super::values::Bindings;

/// What is planted is there from the beginning, so nobody needs to wait for it.
const NO_PATIENCE: Duration = Duration::from_millis(20);

const CHAT: &str = "0190a1b2c3d47e5f8a9b0c1d2e3f4a5b";

/// A story of one socket.
const LINES: &str = r#"{"story":"one socket","model":[]}
{"expect":{"type":"user_message","content":"hi","chatId":"<hex32:chat>"}}
{"expect":{"type":"assistant_message","content":"Hel","chatId":"<hex32:chat>"}}
{"expect":{"type":"assistant_message","content":"lo","chatId":"<hex32:chat>","seq":"<cursor:last>"}}
{"expect":{"type":"agent_status","message":"Reading a file","chatId":"<hex32:chat>"}}
{"expect":{"type":"tool_use","toolName":"Read","toolId":"t1","toolInput":{"path":"a"},"chatId":"<hex32:chat>"}}
{"expect":{"type":"assistant_message","content":"<text>","chatId":"<hex32:chat>"}}
{"expect":{"type":"error","error":"<text>","turnId":"<absent>","code":"busy"}}
{"expect":{"type":"accepted","clientId":"m-1","duplicate":true}}
{"expect_any_order":[{"type":"pong","timestamp":1},{"type":"pong","timestamp":2}]}
{"expect":{"type":"result","success":true,"duration_ms":"<integer>","chatId":"<hex32:chat>"}}
{"expect_close":4401}"#;

/// Frames that tell this story.
fn told() -> Vec<Value> {
    let piece = |text: &str, seq: &str| json!({"type": "assistant_message", "content": text, "chatId": CHAT, "seq": seq});
    vec![
        json!({"type": "turn_started", "chatId": CHAT, "messageIds": []}),
        json!({"type": "user_message", "content": "hi", "chatId": CHAT}),
        piece("H", "1"),
        piece("el", "2"),
        piece("lo", "3"),
        json!({"type": "agent_status", "message": "Reading a file", "chatId": CHAT}),
        json!({"type": "tool_use", "toolName": "Read", "toolId": "t1", "toolInput": {"path": "a"}, "chatId": CHAT}),
        json!({"type": "tool_result", "toolId": "t1", "output": "", "chatId": CHAT}),
        piece("any", "4"),
        piece("thing", "5"),
        json!({"type": "error", "error": "The chat is busy", "code": "busy"}),
        json!({"type": "accepted", "clientId": "m-1", "duplicate": true}),
        json!({"type": "pong", "timestamp": 2}),
        json!({"type": "pong", "timestamp": 1}),
        json!({"type": "result", "success": true, "duration_ms": 5, "chatId": CHAT}),
        json!({"type": "turn_started", "chatId": CHAT, "messageIds": []}),
    ]
}

/// Compares frames with the lines; gives the number of the line that does not hold, 0 for what comes behind the last.
async fn faulty_line(frames: &[Value], close: Option<u16>) -> Option<usize> {
    let (tell, source) = unbounded_channel();
    for frame in frames {
        let kind = frame["type"].as_str().unwrap().to_owned();
        tell.send(Got::Item(Item { kind, body: frame.clone(), id: None })).unwrap();
    }
    tell.send(close.map_or(Got::CutOff, |code| Got::Closed(code, String::new()))).unwrap();
    let (mut inbox, mut bindings) = (Inbox::new(source, NO_PATIENCE), Bindings::default());
    for line in Story::parse("planted", LINES).lines {
        if check(&line, &mut inbox, &mut bindings).await.is_err() {
            return Some(line.number);
        }
    }
    inbox.quiet_until(Instant::now() + NO_PATIENCE).await.is_err().then_some(0)
}

async fn check(line: &Line, inbox: &mut Inbox, bindings: &mut Bindings) -> Result<(), Fault> {
    match &line.step {
        Step::Expect(expected) => inbox.expect(expected, bindings).await,
        Step::ExpectAnyOrder(expected) => inbox.expect_any_order(expected, bindings).await,
        Step::ExpectClose { code, reason } => inbox.expect_close(*code, reason.as_deref()).await,
        other => panic!("{other:?}"),
    }
}

fn place_of(kind: &str) -> usize {
    told().iter().position(|frame| frame["type"] == kind).unwrap()
}

/// The frames with one change.
fn changed(kind: &str, field: &str, value: Value) -> Vec<Value> {
    let mut frames = told();
    frames[place_of(kind)][field] = value;
    frames
}

#[tokio::test]
async fn the_story_itself_holds_however_its_text_is_cut() {
    assert_eq!(faulty_line(&told(), Some(4401)).await, None);
    let mut one_piece = told();
    one_piece.splice(2..5, [json!({"type": "assistant_message", "content": "Hello", "chatId": CHAT, "seq": "3"})]);
    assert_eq!(faulty_line(&one_piece, Some(4401)).await, None);
}

#[tokio::test]
async fn additions_may_stand_anywhere_and_seeds_nowhere() {
    for at in 0..told().len() {
        let mut frames = told();
        frames.insert(at, json!({"type": "chat_renamed", "chatId": CHAT, "title": "x"}));
        assert_eq!(faulty_line(&frames, Some(4401)).await, None, "an addition at {at}");
        for extra in ["user_message", "agent_status", "tool_use", "result", "history", "pong", "brand_new"] {
            let mut frames = told();
            frames.insert(at, json!({"type": extra, "chatId": CHAT, "content": "x"}));
            assert!(faulty_line(&frames, Some(4401)).await.is_some(), "{extra} at {at}");
        }
    }
}

#[tokio::test]
async fn nothing_may_be_missing_or_doubled_or_swapped() {
    let is_seed = |frame: &Value| !["turn_started", "tool_result"].contains(&frame["type"].as_str().unwrap());
    for (at, frame) in told().iter().enumerate().filter(|(_, frame)| is_seed(frame)) {
        // Any text will do where the line says so, and any piece of it may be missing or come twice.
        if at != 8 && at != 9 {
            let mut frames = told();
            frames.remove(at);
            assert!(faulty_line(&frames, Some(4401)).await.is_some(), "{frame} is missing");
            if frame["type"] != "accepted" {
                let mut frames = told();
                frames.insert(at, frame.clone());
                assert!(faulty_line(&frames, Some(4401)).await.is_some(), "{frame} comes twice");
            }
        }
        let next = (at + 1..told().len()).find(|next| is_seed(&told()[*next]));
        if let Some(next) = next.filter(|_| at != 8 && at != 12) {
            let mut frames = told();
            frames.swap(at, next);
            assert!(faulty_line(&frames, Some(4401)).await.is_some(), "{frame} comes too late");
        }
    }
}

#[tokio::test]
async fn every_field_counts() {
    for (kind, field, value, line) in [
        ("user_message", "content", json!("Hi"), 2),
        ("user_message", "chatId", json!("nope"), 2),
        ("user_message", "chatId", json!("1".repeat(32)), 3),
        ("assistant_message", "content", json!("h"), 3),
        ("assistant_message", "content", json!("He"), 3),
        ("agent_status", "message", json!("Reading"), 5),
        ("tool_use", "toolInput", json!({}), 6),
        ("tool_use", "toolName", json!("read_file"), 6),
        ("error", "turnId", json!(null), 8),
        ("error", "code", json!("conflict"), 8),
        ("accepted", "duplicate", json!(false), 9),
        ("pong", "timestamp", json!(3), 10),
        ("result", "duration_ms", json!(0.5), 11),
        ("result", "success", json!(false), 11),
    ] {
        assert_eq!(faulty_line(&changed(kind, field, value.clone()), Some(4401)).await, Some(line), "{kind} {field} {value}");
    }
    let mut last_piece = told();
    last_piece[4]["seq"] = json!("");
    assert_eq!(faulty_line(&last_piece, Some(4401)).await, Some(4));
    let mut other_chat = told();
    other_chat[3]["chatId"] = json!("1".repeat(32));
    assert_eq!(faulty_line(&other_chat, Some(4401)).await, Some(3), "a piece of another chat is not joined");
}

#[tokio::test]
async fn the_end_counts() {
    assert_eq!(faulty_line(&told(), Some(1000)).await, Some(12));
    assert_eq!(faulty_line(&told(), None).await, Some(12));
    let mut too_early = told();
    too_early.truncate(place_of("result"));
    assert_eq!(faulty_line(&too_early, Some(4401)).await, Some(11));
}

#[tokio::test]
async fn ids_and_ends_of_streams_count() {
    let lines = r#"{"story":"one stream","model":[]}
{"event":"message.delta","data":{"type":"message.delta","text":"ab"},"id":"<cursor:c>"}
{"end":true}"#;
    let story = Story::parse("planted", lines);
    let delta = |text: &str, id: Option<&str>| {
        let body = json!({"type": "message.delta", "text": text});
        Got::Item(Item { kind: "message.delta".to_owned(), body, id: id.map(str::to_owned) })
    };
    let runs = [
        (vec![delta("a", None), delta("b", Some("1")), Got::Ended], true),
        (vec![delta("ab", None), Got::Ended], false),
        (vec![delta("ab", Some(""))], false),
        (vec![delta("ab", Some("1")), Got::CutOff], false),
        (vec![delta("ab", Some("1"))], false),
        (vec![delta("abc", Some("1")), Got::Ended], false),
    ];
    for (got, holds) in runs {
        let shown = format!("{got:?}");
        let (tell, source) = unbounded_channel();
        got.into_iter().for_each(|got| tell.send(got).unwrap());
        let (mut inbox, mut bindings) = (Inbox::new(source, NO_PATIENCE), Bindings::default());
        let Step::Expect(expected) = &story.lines[0].step else { panic!("a line that expects") };
        let mut held = inbox.expect(expected, &mut bindings).await.is_ok();
        held = held && inbox.expect_end().await.is_ok();
        assert_eq!(held, holds, "{shown}");
    }
}

#[tokio::test]
async fn silence_is_kept_after_the_story() {
    for (got, is_quiet) in [
        (None, true),
        (Some(Got::Item(Item { kind: "chat_renamed".to_owned(), body: json!({}), id: None })), true),
        (Some(Got::Item(Item { kind: "result".to_owned(), body: json!({}), id: None })), false),
        (Some(Got::Item(Item { kind: "brand_new".to_owned(), body: json!({}), id: None })), false),
        (Some(Got::Closed(1011, String::new())), false),
        (Some(Got::Ended), false),
        (Some(Got::CutOff), false),
    ] {
        let (tell, source) = unbounded_channel();
        let shown = format!("{got:?}");
        got.into_iter().for_each(|got| tell.send(got).unwrap());
        let mut inbox = Inbox::new(source, NO_PATIENCE);
        assert_eq!(inbox.quiet_until(Instant::now() + NO_PATIENCE).await.is_ok(), is_quiet, "{shown}");
    }
}

/// The whole player against a real server: a story that is told wrongly at one line does not hold there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_story_told_wrongly_does_not_hold() {
    for (from, to, line) in [
        (r#""status":201"#, r#""status":200"#, 3),
        (r#""title":"New Chat""#, r#""title":"Old Chat""#, 3),
        (r#""content":"lo""#, r#""content":"lo!""#, 11),
        (r#""content":"Hel""#, r#""content":"Hello""#, 11),
        (r#""success":true"#, r#""success":"<absent>""#, 12),
        (r#""content":"Hello""#, r#""content":"hello""#, 14),
        ("momentum f...", "momentum", 16),
        (r#""roles":["user"]"#, r#""roles":["user","assistant"]"#, 17),
        (r#""request":1"#, r#""request":2"#, 17),
    ] {
        let change = |text: String| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        };
        assert_eq!(first_message_with(change).await, Some(line), "{from} -> {to}");
    }
    let drop_line = |number: usize| {
        move |text: String| {
            let lines: Vec<&str> =
                text.lines().enumerate().filter(|(index, _)| index + 1 != number).map(|(_, line)| line).collect();
            lines.join("\n")
        }
    };
    assert_eq!(first_message_with(drop_line(9)).await, Some(9), "the echo of the message is not expected");
    assert_eq!(first_message_with(drop_line(12)).await, Some(0), "the result is not expected");
    assert_eq!(first_message_with(|text| text).await, None, "nothing is changed");
}

async fn first_message_with(change: impl FnOnce(String) -> String) -> Option<usize> {
    let text = std::fs::read_to_string(Story::folder().join("chats/first-message.jsonl")).unwrap();
    let story = Story::parse("chats/first-message (changed)", &change(text));
    let stage = Stage::set(&story, Voice::Scripted).await;
    let played = play_with(&story, &stage, Duration::from_secs(2)).await;
    stage.strike().await;
    played.err().map(|Failure { line, .. }| line)
}
