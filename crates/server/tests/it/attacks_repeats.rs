//! The same request again: at once, later, elsewhere, with another body (P4, S27, S28). It counts once.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Setup, TestServer, new_chat, new_session};
use crate::harness_http::{Answer, Client, PATIENCE, Request};
use crate::harness_sse::EventStream;
use crate::harness_ws::Socket;

const AT_ONCE: usize = 8;
const ROUNDS: usize = 25;
const POLL: std::time::Duration = std::time::Duration::from_millis(5);

/// A server whose model has something to say for a long time.
async fn server() -> TestServer {
    let steps: Vec<Value> = (0..4 * ROUNDS).map(|number| json!({"text": [format!("Answer {number}.")]})).collect();
    Setup::new().script(&steps).setting("COLLOQUY_SOCKET_RATE", "0").start().await
}

/// Sends the same request several times at the same moment.
async fn at_once(client: &Client, request: &Request) -> Vec<Answer> {
    let sent: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (client, request) = (client.clone(), request.clone());
            tokio::spawn(async move { client.send(request).await })
        })
        .collect();
    let mut answers = Vec::new();
    for answer in sent {
        answers.push(answer.await.expect("no panic"));
    }
    answers
}

/// The one value that all answers have in this place.
fn agreed(answers: &[Answer], status: u16, pointer: &str) -> Value {
    let values: BTreeSet<String> = answers
        .iter()
        .map(|answer| {
            assert_eq!(answer.status(), status, "{}", answer.text());
            answer.json().pointer(pointer).unwrap_or_else(|| panic!("{}", answer.text())).to_string()
        })
        .collect();
    assert_eq!(values.len(), 1, "{values:?}");
    serde_json::from_str(values.first().expect("one")).expect("JSON")
}

fn conflict(answer: &Answer) {
    assert_eq!((answer.status(), answer.json()["code"].clone()), (422, json!("conflict")), "{}", answer.text());
}

async fn contents(client: &Client, chat: &str) -> Vec<String> {
    let rows = client.send(Request::get(&format!("/api/chats/{chat}/messages"))).await.expect(200);
    let rows = rows.as_array().expect("rows").iter();
    rows.map(|row| row["content"].as_str().expect("a text").to_owned()).collect()
}

/// Waits until the chat has so many rows and nothing goes on in it; gives the rows.
async fn settled(client: &Client, chat: &str, rows: usize) -> Vec<String> {
    let waited = async {
        loop {
            let contents = contents(client, chat).await;
            let chat = client.send(Request::get(&format!("/api/chats/{chat}"))).await.expect(200);
            if contents.len() >= rows && chat["busy"] == false {
                return contents;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s28_the_same_message_sent_eight_times_at_once_is_one_message_and_one_turn() {
    let server = server().await;
    let client = server.client();
    for round in 0..ROUNDS {
        let chat = new_chat(&client).await;
        let path = format!("/api/chats/{chat}/messages");
        let body = json!({"content": "hi", "clientId": format!("m-{round}")});
        let answers = at_once(&client, &Request::post(&path, &body)).await;
        let id = agreed(&answers, 202, "/message/id");
        assert_eq!(settled(&client, &chat, 2).await.len(), 2, "one message and one answer");
        let later = client.send(Request::post(&path, &body)).await.expect(202);
        assert_eq!(later["message"]["id"], id);
        assert_eq!(contents(&client, &chat).await.len(), 2);
    }
    assert_eq!(server.model.requests().len(), ROUNDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s28_the_same_post_to_a_session_eight_times_at_once_streams_one_turn_to_all() {
    let server = server().await;
    let client = server.client();
    for round in 0..ROUNDS {
        let session = new_session(&client).await;
        let path = format!("/api/sessions/{session}/messages");
        let request = Request::post(&path, &json!({"content": "hi"})).header("Idempotency-Key", &format!("k-{round}"));
        let streams: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (client, request) = (client.clone(), request.clone());
                tokio::spawn(async move {
                    let (head, body) = client.open(request).await;
                    assert!(head.is_event_stream(), "{}", head.status);
                    let (mut stream, mut events) = (EventStream::new(body), Vec::new());
                    while let Some(event) = stream.next().await {
                        events.push(event);
                    }
                    let text: String = events.iter().filter_map(|event| event.data["text"].as_str()).collect();
                    let started: Vec<_> = events.iter().filter(|event| event.name == "message.start").collect();
                    let last = events.last().expect("events");
                    assert_eq!((started.len(), last.name.as_str()), (1, "message.done"), "{events:?}");
                    (started[0].data["messageId"].to_string(), last.data["messageId"].to_string(), text)
                })
            })
            .collect();
        let mut heard = BTreeSet::new();
        for stream in streams {
            heard.insert(stream.await.expect("no panic"));
        }
        assert_eq!(heard.len(), 1, "{heard:?}");
        let stored = client.send(Request::get(&path)).await.expect(200);
        assert_eq!(stored.as_array().map(Vec::len), Some(2), "{stored}");
    }
    assert_eq!(server.model.requests().len(), ROUNDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s28_the_same_frame_on_many_sockets_is_one_message() {
    let server = server().await;
    let chat = new_chat(&server.client()).await;
    let mut sockets = Vec::new();
    for _ in 0..AT_ONCE {
        sockets.push(Socket::greeted(&server.client()).await);
    }
    let frame = json!({"type": "chat", "chatId": chat, "content": "hi", "clientId": "m-1"});
    for socket in &mut sockets {
        socket.send(&frame).await;
    }
    let (mut ids, mut firsts) = (BTreeSet::new(), 0);
    for socket in &mut sockets {
        let accepted = socket.frame_of("accepted").await;
        ids.insert(accepted["messageId"].to_string());
        firsts += usize::from(accepted["duplicate"] == false);
    }
    assert_eq!((ids.len(), firsts), (1, 1), "{ids:?}");
    assert_eq!(settled(&server.client(), &chat, 2).await, ["hi", "Answer 0."]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_and_socket_and_both_faces_know_the_same_repeats() {
    let server = server().await;
    let client = server.client();
    let chat = new_chat(&client).await;
    let path = format!("/api/chats/{chat}/messages");
    let first = client.send(Request::post(&path, &json!({"content": "hi", "clientId": "m-1"}))).await.expect(202);
    let id = &first["message"]["id"];
    let mut socket = Socket::greeted(&client).await;
    for name in ["clientId", "client_id"] {
        socket.send(&json!({"type": "chat", "chatId": chat, "content": "hi", name: "m-1"})).await;
        let accepted = socket.frame_of("accepted").await;
        assert_eq!((&accepted["messageId"], &accepted["duplicate"]), (id, &json!(true)));
        socket.send(&json!({"type": "chat", "chatId": chat, "content": "other", name: "m-1"})).await;
        let error = socket.frame_of("error").await;
        assert_eq!((&error["code"], error.get("turnId")), (&json!("conflict"), None), "{error}");
    }
    // The header is the same name space as the field.
    let by_header = Request::post(&path, &json!({"content": "hi"})).header("Idempotency-Key", "m-1");
    assert_eq!(&client.send(by_header).await.expect(202)["message"]["id"], id);
    // The same conversation, spelled as a session.
    let session = spelled_as_session(&chat);
    let path = format!("/api/sessions/{session}/messages");
    let again = Request::post(&path, &json!({"content": "hi", "clientId": "m-1"}));
    let (head, body) = client.open(again).await;
    assert!(head.is_event_stream(), "{}", head.status);
    let mut stream = EventStream::new(body);
    while stream.next().await.is_some() {}
    conflict(&client.send(Request::post(&path, &json!({"content": "other", "clientId": "m-1"}))).await);
    assert_eq!(settled(&client, &chat, 2).await, ["hi", "Answer 0."]);
    assert_eq!(server.model.requests().len(), 1);
}

fn spelled_as_session(chat: &str) -> String {
    [&chat[..8], &chat[8..12], &chat[12..16], &chat[16..20], &chat[20..]].join("-")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_for_a_message_is_good_in_its_own_chat_only() {
    let server = server().await;
    let client = server.client();
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let chat = new_chat(&client).await;
        let path = format!("/api/chats/{chat}/messages");
        let answer = client.send(Request::post(&path, &json!({"content": chat, "clientId": "m-1"}))).await.expect(202);
        ids.insert(answer["message"]["id"].to_string());
    }
    assert_eq!(ids.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s28_a_conversation_is_made_once() {
    let server = server().await;
    let client = server.client();
    for (path, status) in [("/api/chats", 201), ("/api/sessions", 200)] {
        for round in 0..ROUNDS {
            let before = client.send(Request::get(path)).await.expect(200).as_array().map(Vec::len).expect("a list");
            let request = Request::post(path, &json!({"title": "T"})).header("Idempotency-Key", &format!("k-{round}"));
            let answers = at_once(&client, &request).await;
            let id = agreed(&answers, status, "/id");
            assert_eq!(client.send(request).await.expect(status)["id"], id, "later as well");
            let after = client.send(Request::get(path)).await.expect(200).as_array().map(Vec::len).expect("a list");
            assert_eq!(after, before + 1, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s28_an_import_is_made_once() {
    let server = server().await;
    let client = server.client();
    let file = json!({"version": 1, "session": {"title": "T"}, "messages": [
        {"role": "user", "parts": [{"type": "text", "content": {"text": "hi"}}]},
    ]});
    let request = Request::post("/api/sessions/import", &file).header("Idempotency-Key", "k");
    let id = agreed(&at_once(&client, &request).await, 200, "/id");
    assert_eq!(client.send(request).await.expect(200)["id"], id);
    assert_eq!(client.send(Request::get("/api/sessions")).await.expect(200).as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s27_another_body_under_the_same_key_is_refused() {
    let server = server().await;
    let client = server.client();
    let (chat, session) = (new_chat(&client).await, new_session(&client).await);
    let import = |text: &str| {
        let part = json!({"type": "text", "content": {"text": text}});
        json!({"version": 1, "session": {}, "messages": [{"role": "user", "parts": [part]}]})
    };
    let cases = [
        ("/api/chats".to_owned(), json!({"title": "A"}), json!({"title": "B"})),
        ("/api/sessions".to_owned(), json!({"title": "A"}), json!({})),
        ("/api/sessions/import".to_owned(), import("a"), import("b")),
        (format!("/api/chats/{chat}/messages"), json!({"content": "a"}), json!({"content": "b"})),
        (format!("/api/sessions/{session}/messages"), json!({"content": "a"}), json!({"content": "b"})),
    ];
    for (path, first, other) in cases {
        let keyed = |body: &Value, key: &str| Request::post(&path, body).header("Idempotency-Key", key);
        assert!(client.send(keyed(&first, "k")).await.status() < 300, "{path}");
        conflict(&client.send(keyed(&other, "k")).await);
        assert!(client.send(keyed(&other, "another")).await.status() < 300, "{path}");
        for key in ["", &"k".repeat(129)] {
            let answer = client.send(keyed(&first, key)).await;
            assert_eq!((answer.status(), answer.json()["code"].clone()), (422, json!("invalid_field")), "{path} {}", key.len());
        }
        assert!(client.send(keyed(&first, &"k".repeat(128))).await.status() < 300, "{path}");
    }
    // The same key means nothing on another path.
    let titles = client.send(Request::get("/api/chats?limit=500")).await.expect(200);
    assert!(titles.as_array().is_some_and(|chats| chats.len() > 5));
}
