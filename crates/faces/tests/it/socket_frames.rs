//! What the socket does with frames: whose they are, what makes no sense, and in which order they are answered.

use serde_json::json;

use crate::socket_world::World;

#[tokio::test]
async fn nothing_sent_as_text_closes_the_socket() {
    let world = World::saying(json!([])).await;
    let chat = world.chat().await;
    let mut client = world.connect().await;
    let nested = format!(r#"{{"type":"ping","x":{}{}}}"#, "[".repeat(101), "]".repeat(101));
    let twice = [r#"{"type":"chat","type":"ping"}"#, r#"{"type":"ping","timestamp":1,"timestamp":2}"#];
    let both = r#"{"type":"ping"}{"type":"ping"}"#;
    for text in ["{", "nonsense", "[1]", "\"x\"", "5", "", both, &nested, twice[0], twice[1]] {
        client.send_text(text).await;
        let error =
            json!({"type": "error", "error": "Invalid message format", "message": "Invalid message format", "code": "bad_json"});
        client.expect(error).await;
    }
    client.send(json!({"type": "launch", "secret": "s3", "chatId": chat, "clientId": "c", "client_id": "d"})).await;
    let keys = ["type", "secret", "chatId", "clientId", "client_id"];
    client.expect(json!({"code": "unknown_type", "keys": keys, "chatId": chat, "clientId": "c", "client_id": "d"})).await;
    for frame in [json!({"type": 5}), json!({"chatId": chat}), json!({"type": null}), json!({"type": "run_rules"})] {
        client.send(frame).await;
        client.expect(json!({"code": "unknown_type"})).await;
    }
    for (frame, field) in [
        (json!({"type": "subscribe"}), "chatId"),
        (json!({"type": "subscribe", "channels": "all"}), "channels"),
        (json!({"type": "subscribe", "chatId": 5}), "chatId"),
        (json!({"type": "subscribe", "chatId": chat, "limit": "5"}), "limit"),
        (json!({"type": "chat", "chatId": chat, "content": ["x"]}), "content"),
        (json!({"type": "chat", "chatId": chat, "content": "x", "mode": "fly"}), "mode"),
        (json!({"type": "chat", "chatId": chat, "content": "x", "clientId": ""}), "clientId"),
    ] {
        client.send(frame).await;
        client.expect(json!({"code": "invalid_field", "field": field, "error": "Invalid message format"})).await;
    }
    client.send(json!({"type": "chat", "chatId": chat, "content": "a\u{0}b"})).await;
    client.expect(json!({"code": "invalid_text", "chatId": chat})).await;
    for content in [json!(null), json!(""), json!(" \n")] {
        client.send(json!({"type": "chat", "chatId": chat, "content": content})).await;
        client.expect(json!({"code": "empty_message", "error": "Empty message", "chatId": chat})).await;
    }
    client.send(json!({"type": "pong"})).await;
    client.send(json!({"type": "ping", "timestamp": {"any": 1}})).await;
    client.expect(json!({"type": "pong", "timestamp": {"any": 1}})).await;
}

#[tokio::test]
async fn a_chat_that_is_not_there_is_answered_the_same_for_every_frame() {
    let world = World::saying(json!([])).await;
    let mut client = world.connect().await;
    for id in ["nope", "00000000000000000000000000000000"] {
        for kind in ["subscribe", "chat", "cancel", "unsubscribe"] {
            client.send(json!({"type": kind, "chatId": id, "content": "x"})).await;
            client.expect(json!({"type": "error", "error": "Chat not found", "code": "not_found", "chatId": id})).await;
        }
    }
}

#[tokio::test]
async fn subscribing_and_writing_at_once_gives_the_history_without_the_message() {
    let world = World::saying(json!([{"text": ["Hi."]}])).await;
    let chat = world.chat().await;
    let mut client = world.connect().await;
    client.send(json!({"type": " SubScribe ", "chatId": chat})).await;
    client.send(json!({"type": "chat", "chatId": chat, "content": "one", "clientId": "c"})).await;
    client.send(json!({"type": "chat", "chatId": chat, "content": "", "clientId": "d"})).await;
    client.expect(json!({"type": "history", "messages": [], "truncated": false, "turn": null, "chatId": chat})).await;
    client.expect(json!({"type": "accepted", "clientId": "c", "duplicate": false})).await;
    client.expect(json!({"type": "user_message", "content": "one", "queued": 0, "clientId": "c"})).await;
    client.until("result").await;
}

#[tokio::test]
async fn a_refusal_does_not_overtake_what_came_before_it() {
    let world = World::saying(json!([{"text": ["One", {"pause": "g"}]}])).await;
    let chat = world.chat().await;
    let mut client = world.connect().await;
    for round in 0..20 {
        client.send(json!({"type": "chat", "chatId": chat, "content": format!("m{round}")})).await;
        client.send(json!({"type": "chat", "chatId": chat, "content": ""})).await;
        client.send(json!({"type": "chat", "chatId": chat, "content": "x", "whenBusy": "reject"})).await;
        assert_eq!(client.until("user_message").await["content"], format!("m{round}"));
        assert_eq!(client.until("error").await["code"], "empty_message");
        assert_eq!(client.until("error").await["code"], "busy");
    }
}

#[tokio::test]
async fn one_socket_follows_several_chats_and_nothing_comes_twice() {
    let world = World::saying(json!([{"text": ["A1", {"pause": "g"}, "A2"]}, {"text": ["B."]}])).await;
    let (first, other) = (world.chat().await, world.chat().await);
    let mut client = world.connect().await;
    client.send(json!({"type": "chat", "chatId": first, "content": "a"})).await;
    client.until("assistant_message").await;
    client.send(json!({"type": "chat", "chatId": other, "content": "b"})).await;
    assert_eq!(client.until("result").await["chatId"], other.as_str());
    client.send(json!({"type": "ping"})).await;
    client.expect(json!({"type": "pong", "timestamp": null})).await;
    client.send(json!({"type": "unsubscribe", "chatId": other})).await;
    client.expect(json!({"type": "unsubscribed", "chatId": other})).await;
    client.send(json!({"type": "subscribe", "chatId": first})).await;
    let history = client.expect(json!({"type": "history"})).await;
    assert_eq!(history["messages"][1]["content"], "A1");
    assert_eq!(history["messages"][1]["streaming"], true);
    assert!(history["turn"]["turnId"].is_string(), "{history}");
    world.model.release("g");
    client.expect(json!({"type": "assistant_message", "content": "A2"})).await;
    client.expect(json!({"type": "result", "success": true, "outcome": "completed"})).await;
    world.http("DELETE", &format!("/api/chats/{first}"), None).await;
    client.expect(json!({"type": "chat_removed", "chatId": first})).await;
    client.quiet().await;
}

#[tokio::test]
async fn a_hundred_chats_fit_and_one_more_does_not() {
    let world = World::saying(json!([])).await;
    let mut client = world.connect().await;
    let mut last = String::new();
    for _ in 0..100 {
        last = world.chat().await;
        client.send(json!({"type": "subscribe", "chatId": last})).await;
        client.expect(json!({"type": "history"})).await;
    }
    let one_more = world.chat().await;
    client.send(json!({"type": "subscribe", "chatId": one_more})).await;
    client.expect(json!({"code": "too_many_subscriptions", "error": "Too many subscriptions", "chatId": one_more})).await;
    client.send(json!({"type": "subscribe", "chatId": last})).await;
    client.expect(json!({"type": "history", "chatId": last})).await;
    client.send(json!({"type": "unsubscribe", "chatId": last})).await;
    client.expect(json!({"type": "unsubscribed"})).await;
    client.send(json!({"type": "subscribe", "chatId": one_more})).await;
    client.expect(json!({"type": "history", "chatId": one_more})).await;
}
