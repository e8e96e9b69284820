//! How a connection begins and ends: proofs, close codes, rates, and peers that do not read.

use std::time::{Duration, Instant};

use faces::AuthMode;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use crate::socket_world::World;

#[tokio::test]
async fn a_proof_opens_the_socket_and_a_wrong_one_does_not() {
    let world = World::with(AuthMode::Token, json!([])).await;
    assert!(world.open("/ws", &[("authorization", "Bearer owner-token")]).await.is_ok());
    assert!(world.open("/ws/?token=owner-token", &[]).await.is_ok());
    assert_eq!(world.open("/ws", &[]).await.err(), Some(401));
    assert_eq!(world.open("/ws?token=owner-token", &[("authorization", "Bearer x")]).await.err(), Some(401));
    assert_eq!(world.open("/ws", &[("origin", "http://evil.example")]).await.err(), Some(403));
    assert_eq!(world.http("GET", "/ws", None).await, (401, json!({"detail": "Not authenticated", "code": "unauthenticated"})));
    let mut wrong = world.open("/ws?token=tkn_wrong", &[]).await.unwrap();
    assert!(matches!(wrong.socket.next().await, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 4401));
}

#[tokio::test]
async fn with_sign_in_off_a_wrong_token_is_still_wrong() {
    let world = World::saying(json!([])).await;
    assert_eq!(world.open("/ws?token=x", &[]).await.unwrap().closed().await.0, 4401);
    let (status, body) = world.http("GET", "/ws", None).await;
    assert_eq!((status, &body["code"]), (426, &json!("upgrade_required")));
}

#[tokio::test]
async fn frames_that_cannot_be_read_close_with_their_code() {
    let world = World::saying(json!([])).await;
    let mut client = world.connect().await;
    client.socket.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(client.closed().await.0, 1003);

    let mut client = world.connect().await;
    client.send_text(&" ".repeat(1024 * 1024)).await;
    client.expect(json!({"code": "bad_json"})).await;
    client.send_text(&" ".repeat(1024 * 1024 + 1)).await;
    assert_eq!(client.closed().await.0, 1009);

    let mut client = world.connect().await;
    // Text of one byte, masked with zeros: 0xff is no UTF-8.
    client.socket.get_mut().write_all(&[0x81, 0x81, 0, 0, 0, 0, 0xff]).await.unwrap();
    assert_eq!(client.closed().await.0, 1007);

    let mut client = world.connect().await;
    // Clients must mask.
    client.socket.get_mut().write_all(&[0x81, 0x01, b'x']).await.unwrap();
    assert_eq!(client.closed().await.0, 1002);

    let mut client = world.connect().await;
    client.socket.close(None).await.unwrap();
    while let Some(message) = client.socket.next().await {
        message.unwrap();
    }
}

#[tokio::test]
async fn a_message_counts_although_its_sender_leaves_right_behind_it() {
    let world = World::saying(json!([])).await;
    let chat = world.chat().await;
    for round in 0..20 {
        let mut client = world.connect().await;
        let frame = json!({"type": "chat", "chatId": chat, "content": format!("m{round}")});
        client.socket.feed(Message::text(frame.to_string())).await.unwrap();
        client.socket.feed(Message::text(frame.to_string().replace("\"m", "\"n"))).await.unwrap();
        client.socket.close(None).await.unwrap();
        while client.socket.next().await.is_some() {}
    }
    let (_, rows) = world.http("GET", &format!("/api/chats/{chat}/messages"), None).await;
    assert_eq!(rows.as_array().unwrap().len(), 40);
}

#[tokio::test]
async fn a_draining_server_asks_each_client_to_come_back_at_another_time() {
    let world = World::saying(json!([])).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(world.connect().await);
    }
    world.drain.cancel();
    let mut waits = std::collections::HashSet::new();
    for client in &mut clients {
        let (code, reason) = client.closed().await;
        assert_eq!(code, 1012);
        let wait: u64 = reason.strip_prefix("retry in ").unwrap().parse().unwrap();
        assert!(wait < 5000);
        waits.insert(wait);
    }
    assert_eq!(waits.len(), clients.len());
}

#[tokio::test]
async fn too_many_frames_are_refused_and_then_close_the_socket() {
    let world = World::saying(json!([])).await;
    let client = world.connect().await;
    let (mut sender, mut receiver) = client.socket.split();
    let start = Instant::now();
    let sending = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while sender.send(Message::text(r#"{"type":"ping"}"#)).await.is_ok() {
            tick.tick().await;
        }
    });
    let mut refused = None;
    let code = loop {
        match receiver.next().await.unwrap().unwrap() {
            Message::Text(text) if text.contains("rate_limited") => {
                assert!(text.contains("retryAfterMs"), "{text}");
                refused.get_or_insert(start.elapsed());
            }
            Message::Close(frame) => break u16::from(frame.unwrap().code),
            _ => {}
        }
    };
    assert_eq!(code, 4429);
    assert!(refused.unwrap() < Duration::from_secs(2), "{refused:?}");
    assert!((8.0..11.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    sending.abort();
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off_and_holds_up_nobody() {
    let text = "x".repeat(16 * 1024);
    let pieces: Vec<_> = (0..2000).map(|_| json!(text)).collect();
    let world = World::saying(json!([{"text": pieces}])).await;
    let chat = world.chat().await;
    let mut stalled = world.connect().await;
    stalled.send(json!({"type": "subscribe", "chatId": chat})).await;
    let mut reader = world.connect().await;
    reader.send(json!({"type": "chat", "chatId": chat, "content": "go"})).await;
    let start = Instant::now();
    let mut bytes = 0;
    loop {
        let frame = reader.next().await;
        match frame["type"].as_str() {
            Some("assistant_message") => bytes += frame["content"].as_str().unwrap().len(),
            Some("result") => break,
            _ => {}
        }
    }
    assert_eq!(bytes, 2000 * 16 * 1024);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    // Everything was said before now, so the stalled peer's time is over before it begins to read.
    tokio::time::sleep(Duration::from_secs(12)).await;
    // What the network still held comes, then the code or the end: not the whole answer.
    let mut got = 0;
    while let Some(Ok(message)) = stalled.socket.next().await {
        match message {
            Message::Text(text) => {
                assert!(!text.contains(r#""type":"result""#), "the stalled peer was not cut off");
                got += text.len();
            }
            Message::Close(frame) => assert_eq!(u16::from(frame.unwrap().code), 4408),
            _ => {}
        }
    }
    assert!(got < bytes, "{got} of {bytes}");
}
