//! Coming back to a chat: nothing is missed and nothing comes twice, wherever the connection broke.

use serde_json::{Value, json};

use crate::socket_world::{Client, World};

/// Reads to the end of the turn: each frame's type, text pieces joined, and every cursor with what had come until then.
async fn read_turn(client: &mut Client) -> Vec<Value> {
    let mut frames = Vec::new();
    loop {
        let frame = client.next().await;
        let over = frame["type"] == "result";
        frames.push(frame);
        if over {
            return frames;
        }
    }
}

/// What a client has seen, however the text was cut into pieces.
fn seen<'a>(frames: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    let mut text_of = Value::Null;
    for frame in frames {
        let kind = frame["type"].as_str().unwrap();
        if kind == "assistant_message" {
            let piece = frame["content"].as_str().unwrap();
            match seen.last_mut() {
                Some(last) if text_of == frame["messageId"] => last.push_str(piece),
                _ => seen.push(format!("text {piece}")),
            }
            text_of = frame["messageId"].clone();
        } else {
            seen.push(kind.to_owned());
            text_of = Value::Null;
        }
    }
    seen
}

#[tokio::test]
async fn resuming_from_any_frame_gives_exactly_the_rest() {
    let steps = json!([
        {"text": ["Let me", " löök", ". "]},
        {"tool": {"id": "t1", "name": "read_file", "input": {"path": "no.txt"}}},
        {"tool": {"id": "t2", "name": "launch", "input": {}}},
        {"text": ["It", " says ", "nothing."]},
    ]);
    let world = World::saying(steps).await;
    let chat = world.chat().await;
    let mut client = world.connect().await;
    client.send(json!({"type": "subscribe", "chatId": chat})).await;
    let mut frames = vec![client.expect(json!({"type": "history"})).await];
    client.send(json!({"type": "chat", "chatId": chat, "content": "go"})).await;
    frames.extend(read_turn(&mut client).await);
    let kinds = seen(&frames);
    let expected = [
        "history",
        "user_message",
        "turn_started",
        "text Let me löök. ",
        "agent_status",
        "tool_use",
        "agent_status",
        "tool_use",
        "tool_result",
        "tool_result",
        "text It says nothing.",
        "result",
    ];
    assert_eq!(kinds, expected);
    for (index, frame) in frames.iter().enumerate() {
        let Some(since) = frame["seq"].as_str() else { continue };
        let mut again = world.connect().await;
        again.send(json!({"type": "subscribe", "chatId": chat, "since": since})).await;
        again.expect(json!({"type": "subscribed", "resumed": true, "chatId": chat})).await;
        let rest = if index + 1 == frames.len() { Vec::new() } else { read_turn(&mut again).await };
        let joined = frames[..=index].iter().chain(&rest);
        assert_eq!(seen(joined), expected, "resumed behind frame {index}: {frame}");
        again.quiet().await;
    }
}

#[tokio::test]
async fn a_position_that_is_none_gives_an_error_and_the_history() {
    let world = World::saying(json!([])).await;
    let chat = world.chat().await;
    let mut client = world.connect().await;
    for since in ["no-such-place", "", "-1", "0.99999.0", "99.1.0", "1.1.5"] {
        client.send(json!({"type": "subscribe", "chatId": chat, "since": since})).await;
        let error =
            client.expect(json!({"type": "error", "code": "bad_cursor", "error": "Unknown position", "chatId": chat})).await;
        assert!(error.get("turnId").is_none());
        client.expect(json!({"type": "history", "chatId": chat})).await;
    }
}

#[tokio::test]
async fn reasoning_comes_only_to_whom_asks_for_it() {
    let world = World::saying(json!([{"reasoning": ["Hm", "m."]}, {"text": ["Yes."]}])).await;
    let chat = world.chat().await;
    let (mut plain, mut curious) = (world.connect().await, world.connect().await);
    plain.send(json!({"type": "subscribe", "chatId": chat})).await;
    plain.expect(json!({"type": "history"})).await;
    curious.send(json!({"type": "subscribe", "chatId": chat, "include": ["reasoning"]})).await;
    curious.expect(json!({"type": "history"})).await;
    plain.send(json!({"type": "chat", "chatId": chat, "content": "go"})).await;
    let of = |frames: &[Value]| frames.iter().filter(|frame| frame["type"] == "assistant_reasoning").count();
    assert_eq!(of(&read_turn(&mut plain).await), 0);
    assert!(of(&read_turn(&mut curious).await) > 0);
}

#[tokio::test]
async fn deleting_a_busy_chat_ends_its_turn_and_then_the_subscription() {
    let world = World::saying(json!([{"text": ["On", {"pause": "never"}]}])).await;
    let chat = world.chat().await;
    let mut client = world.connect().await;
    client.send(json!({"type": "chat", "chatId": chat, "content": "go"})).await;
    client.until("assistant_message").await;
    assert_eq!(world.http("DELETE", &format!("/api/chats/{chat}"), None).await.0, 200);
    client.expect(json!({"type": "result", "success": false, "outcome": "cancelled"})).await;
    client.expect(json!({"type": "chat_removed", "chatId": chat})).await;
    client.send(json!({"type": "chat", "chatId": chat, "content": "more"})).await;
    client.expect(json!({"type": "error", "code": "not_found"})).await;
}
