//! The chats API over REST.

use serde_json::{Value, json};

use crate::socket_world::World;

#[tokio::test]
async fn chats_are_made_listed_changed_and_removed() {
    let world = World::saying(json!([])).await;
    let (status, first) = world.http("POST", "/api/chats", None).await;
    assert_eq!(
        (status, &first["title"], &first["mode"], &first["busy"]),
        (201, &json!("New Chat"), &json!("build"), &json!(false))
    );
    assert_eq!(first["model"], "scripted/scripted");
    let path = format!("/api/chats/{}", first["id"].as_str().unwrap());
    let (status, second) = world.http("POST", "/api/chats/", Some(json!({"title": "Signals", "mode": "ask"}))).await;
    assert_eq!((status, &second["title"], &second["mode"]), (201, &json!("Signals"), &json!("ask")));
    let (_, list) = world.http("GET", "/api/chats/?limit=1", None).await;
    assert_eq!(list, json!([second]));
    let (_, list) = world.http("GET", &format!("/api/chats?before={}", second["id"].as_str().unwrap()), None).await;
    assert_eq!(list, json!([first]));
    let (status, changed) = world.http("PATCH", &path, Some(json!({"title": "Renamed", "mode": null}))).await;
    assert_eq!((status, &changed["title"], &changed["mode"]), (200, &json!("Renamed"), &json!("build")));
    assert_eq!(world.http("GET", &path, None).await, (200, changed));
    assert_eq!(world.http("DELETE", &path, None).await, (200, json!({"success": true})));
    for (method, path) in
        [("GET", path.as_str()), ("DELETE", &path), ("GET", "/api/chats/nope"), ("GET", "/api/chats/nope/messages")]
    {
        assert_eq!(world.http(method, path, None).await, (404, json!({"detail": "Chat not found", "code": "not_found"})));
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_in_the_contracts_form() {
    let world = World::saying(json!([])).await;
    let chat = world.chat().await;
    let path = format!("/api/chats/{chat}");
    let field = |kind: &str, name: &str, message: &str, input: Value| json!({"detail": [{"type": kind, "loc": ["body", name], "msg": message, "input": input}], "code": "invalid_field"});
    let (status, body) = world.http("PATCH", &path, Some(json!({"title": ""}))).await;
    assert_eq!((status, &body["detail"][0]["msg"]), (422, &json!("String should have at least 1 character")));
    let wrong_title = field("string_type", "title", "Input should be a valid string", json!(5));
    assert_eq!(world.http("POST", "/api/chats", Some(json!({"title": 5}))).await, (422, wrong_title.clone()));
    assert_eq!(world.http("PATCH", &path, Some(json!({"title": 5}))).await, (422, wrong_title));
    let (status, body) = world.http("PATCH", &path, Some(json!({"mode": "fly"}))).await;
    assert_eq!((status, &body["detail"][0]["type"]), (422, &json!("enum")));
    let (status, body) = world.http("GET", "/api/chats?limit=501", None).await;
    assert_eq!((status, &body["detail"][0]["loc"]), (422, &json!(["query", "limit"])));
    let empty = json!({"detail": "Empty message", "code": "empty_message"});
    for body in [json!({}), json!({"content": null}), json!({"content": " "})] {
        assert_eq!(world.http("POST", &format!("{path}/messages"), Some(body)).await, (422, empty.clone()));
    }
    let (status, body) = world.http("POST", &format!("{path}/messages"), Some(json!({"content": "a\u{0}"}))).await;
    assert_eq!((status, &body["code"]), (422, &json!("invalid_text")));
    assert_eq!(world.http("GET", "/api/chats/x/y/z", None).await, (404, json!({"detail": "Not Found", "code": "not_found"})));
    let not_allowed = json!({"detail": "Method Not Allowed", "code": "method_not_allowed"});
    assert_eq!(world.http("PUT", "/api/chats", None).await, (405, not_allowed));
    assert_eq!(world.http("POST", &format!("{path}/cancel"), None).await, (200, json!({"cancelled": false})));
    assert_eq!(
        world.http("POST", &format!("{path}/cancel"), Some(json!({"turnId": "x"}))).await,
        (200, json!({"cancelled": false}))
    );
}

#[tokio::test]
async fn a_repeat_gives_the_first_answer() {
    let world = World::saying(json!([{"text": ["Hello."]}])).await;
    let key = [("Idempotency-Key", "k-1")];
    let body = || Some(json!({"title": "T"}));
    let (_, first) = world.http_with("POST", "/api/chats", &key, body()).await;
    assert_eq!(world.http_with("POST", "/api/chats", &key, body()).await, (201, first.clone()));
    let (status, conflict) = world.http_with("POST", "/api/chats", &key, Some(json!({"title": "U"}))).await;
    assert_eq!((status, &conflict["code"]), (422, &json!("conflict")));
    let path = format!("/api/chats/{}/messages", first["id"].as_str().unwrap());
    let (status, sent) = world.http_with("POST", &path, &key, Some(json!({"content": "hi"}))).await;
    assert_eq!((status, &sent["queued"], &sent["message"]["content"]), (202, &json!(0), &json!("hi")));
    // A key is the same name as a client id.
    let (status, again) = world.http("POST", &path, Some(json!({"content": "hi", "clientId": "k-1"}))).await;
    assert_eq!((status, &again["message"]["id"]), (202, &sent["message"]["id"]));
    let (status, other) = world.http_with("POST", &path, &key, Some(json!({"content": "ho"}))).await;
    assert_eq!((status, &other["code"]), (422, &json!("conflict")));
    let (status, _) =
        world.http_with("POST", &path, &[("Idempotency-Key", &"k".repeat(129))], Some(json!({"content": "hi"}))).await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn a_repeat_says_how_many_waited_at_first() {
    let world = World::saying(json!([{"text": ["One", {"pause": "g"}]}, {"text": ["Two."]}])).await;
    let chat = world.chat().await;
    let mut client = world.connect().await;
    client.send(json!({"type": "chat", "chatId": chat, "content": "first"})).await;
    client.until("assistant_message").await;
    let (path, second) = (format!("/api/chats/{chat}/messages"), json!({"content": "second", "clientId": "c"}));
    let first_answer = world.http("POST", &path, Some(second.clone())).await;
    assert_eq!((first_answer.0, &first_answer.1["queued"]), (202, &json!(1)));
    world.model.release("g");
    for _ in 0..2 {
        client.until("result").await;
    }
    assert_eq!(world.http("POST", &path, Some(second)).await, first_answer);
}

#[tokio::test]
async fn rows_are_paged_from_their_end() {
    let world = World::saying(json!([{"text": ["One."]}, {"text": ["Two."]}])).await;
    let chat = world.chat().await;
    let mut client = world.connect().await;
    for text in ["first", "second"] {
        client.send(json!({"type": "chat", "chatId": chat, "content": text})).await;
        client.until("result").await;
    }
    let path = format!("/api/chats/{chat}/messages");
    let contents = |rows: &Value| rows.as_array().unwrap().iter().map(|row| row["content"].clone()).collect::<Vec<_>>();
    let (_, all) = world.http("GET", &path, None).await;
    assert_eq!(contents(&all), ["first", "One.", "second", "Two."]);
    let (_, newest) = world.http("GET", &format!("{path}?limit=2"), None).await;
    assert_eq!(contents(&newest), ["second", "Two."]);
    let before = newest[0]["id"].as_str().unwrap();
    let (_, older) = world.http("GET", &format!("{path}?before={before}&limit=1"), None).await;
    assert_eq!(contents(&older), ["One."]);
    client.send(json!({"type": "subscribe", "chatId": chat, "limit": 1})).await;
    let history = client.expect(json!({"type": "history", "truncated": true})).await;
    assert_eq!(contents(&history["messages"]), ["Two."]);
}
