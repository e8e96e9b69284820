//! What becomes of chats when people and agents go, and other corners of the hub's contract.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness_http::{PATIENCE, Request};
use crate::harness_ws::Socket;
use crate::hub_peer::Plan;
use crate::hub_world::{Small, Somebody, contact, patiently, text};

/// `agent` plans the calls of agents; the platform takes everything.
async fn with_agent(agent: impl Fn(usize) -> Plan + Send + Sync + 'static) -> Small {
    Small::begun(move |call, before| match call.path.as_str() {
        "/agent" => agent(before),
        "/gone" => Plan::status(410, &json!({})),
        path if path.starts_with("/locked/") => Plan::status(401, &json!({"ok": false})),
        _ => Plan::ok(&json!({})),
    })
    .await
}

impl Small {
    /// One that answers every new chat.
    async fn agent(&self, more: &Value) -> Somebody {
        let mut body = json!({
            "name": "Bot", "webhook_url": format!("{}/agent", self.peer.url), "activate_for_new_conversation": true,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.hub.agent(&body).await
    }

    async fn chat(&self, chat: &str) -> Value {
        self.hub.get(&self.line.chat(chat)).await
    }

    /// The chat, as soon as this is true of it.
    async fn chat_when(&self, chat: &str, what: &str, is_true: impl Fn(&Value) -> bool) -> Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let shown = self.chat(chat).await;
            if is_true(&shown) {
                return shown;
            }
            assert!(std::time::Instant::now() < deadline, "{what} does not come: {shown}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn the_chats_of_a_removed_user_are_nobodys_and_its_own_go_with_it() {
    let small = with_agent(|_| Plan::ok(&json!({}))).await;
    let user = small.hub.user("beto", "MEMBER").await;
    let heard = small.hub.hear(&small.line, &contact("c"), "hola").await;
    small.hub.post(&format!("{}/assign", small.line.chat(&heard.chat)), &json!({"user_id": user.id})).await;
    let proof = json!({"username": "beto", "password": crate::hub_world::PASSWORD});
    let cookie = crate::harness::sign_in(&small.server.client(), &proof).await;
    let browser = small.server.client().with("Origin", &small.server.client().origin()).with("Cookie", &cookie);
    let own = crate::harness::new_chat(&browser).await;
    let mut socket = Socket::open(&small.hub.admin, "/ws", &[]).await.expect("the socket opens");
    socket.frame_of("connection_established").await;

    small.hub.does(Request::delete(&format!("/auth/users/{}?hard=true", user.id))).await;
    let seen = socket.frame_of("chat_updated").await;
    assert_eq!((&seen["chat_id"], &seen["chat_data"]["assigned_user_id"]), (&json!(heard.chat), &Value::Null));
    assert_eq!(small.chat(&heard.chat).await["is_assigned"], false);
    let answer = small.server.client().with_token(&user.token).send(Request::get("/chats")).await;
    assert_eq!(answer.status(), 401);
    let path = small.server.place.data_dir().join("colloquy.db");
    let database = rusqlite::Connection::open(path).expect("the database opens");
    let deadline = std::time::Instant::now() + PATIENCE;
    let left = || database.query_row("SELECT count(*) FROM conversation", [], |row| row.get::<_, i64>(0)).expect("a count");
    while left() > 0 {
        assert!(std::time::Instant::now() < deadline, "{own} is still there, and nobody could ever remove it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    small.server.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_made_inactive_leaves_the_floor_and_nobody_waiting() {
    let small = with_agent(|_| Plan::ok(&json!({}))).await;
    let agent = small.agent(&json!({"buffer_time_seconds": 300})).await;
    let heard = small.hub.hear(&small.line, &contact("c"), "hola").await;
    assert_eq!(small.chat(&heard.chat).await["floor"]["holder"], "agent");
    small.hub.put(&format!("/auth/agents/{}", agent.id), &json!({"is_active": false})).await;
    let chat = small.chat_when(&heard.chat, "a free floor", |chat| chat["floor"]["holder"] == "none").await;
    assert_eq!(chat["needs_attention"], true, "the burst that grew is not answered by anybody");
    let lines = small.hub.get(&format!("{}/activity", small.line.chat(&heard.chat))).await;
    assert_eq!(lines["activity"][0]["kind"], "agent_inactive");
    small.hub.put(&format!("/auth/agents/{}", agent.id), &json!({"is_active": true})).await;
    small.chat_when(&heard.chat, "the agent's floor", |chat| chat["floor"]["holder"] == "agent").await;
    // The floor of a person stays theirs.
    small.hub.post(&format!("{}/take", small.line.chat(&heard.chat)), &json!({})).await;
    small.hub.does(Request::delete(&format!("/auth/agents/{}?hard=true", agent.id))).await;
    assert_eq!(small.chat(&heard.chat).await["floor"]["holder"], "user");
    small.hub.post(&format!("{}/release", small.line.chat(&heard.chat)), &json!({})).await;
    assert_eq!(small.chat(&heard.chat).await["floor"]["holder"], "none");
    assert_eq!(small.peer.calls().len(), 0);
    small.server.stop().await;
}

#[tokio::test]
async fn an_agent_that_says_gone_is_inactive_and_leaves_the_floor() {
    let small = with_agent(|_| Plan::status(410, &json!({}))).await;
    let agent = small.agent(&json!({"buffer_time_seconds": 0})).await;
    let heard = small.hub.hear(&small.line, &contact("c"), "hola").await;
    let chat = small.chat_when(&heard.chat, "a free floor", |chat| chat["floor"]["holder"] == "none").await;
    assert_eq!(chat["needs_attention"], true);
    assert_eq!(small.hub.get(&format!("/auth/agents/{}", agent.id)).await["is_active"], false);
    small.server.stop().await;
}

#[tokio::test]
async fn a_receiver_that_says_gone_gets_nothing_more() {
    let small = with_agent(|_| Plan::ok(&json!({}))).await;
    let line = small.hub.line("Gone", &format!("{}/gone", small.peer.url), &json!({})).await;
    let heard = small.hub.hear(&line, &contact("c"), "hola").await;
    let say = async || small.hub.post(&format!("{}/messages", line.chat(&heard.chat)), &json!({"content": "hi"})).await;
    let failed = async |message: &Value| {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let shown = small.hub.get(&format!("{}/messages", line.chat(&heard.chat))).await;
            let of_list = shown["messages"].as_array().into_iter().flatten();
            let now = of_list.clone().find(|shown| shown["id"] == message["id"]).expect("it is listed").clone();
            if now["delivery_status"] == "FAILED" {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{now}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    failed(&say().await).await;
    assert_eq!(small.hub.get(&format!("/channels/{}", line.id)).await["health"], "unreachable");
    small.server.stop().await;
}

#[tokio::test]
async fn credentials_that_are_given_again_are_tried_again() {
    let small = with_agent(|_| Plan::ok(&json!({}))).await;
    let given = json!({"token": "7000000001:AAabcdefghijklmnopqrstuvwxyz0123456"});
    let platform = format!("{}/locked", small.peer.url);
    let body = json!({
        "name": "Locked", "platform": "TELEGRAM", "credentials_to_send_message": given, "api_to_send_message": platform,
    });
    let channel = format!("/channels/{}", text(&small.hub.post("/channels", &body).await["id"]));
    let deadline = std::time::Instant::now() + PATIENCE;
    while small.hub.get(&channel).await["health"] != "auth" {
        assert!(std::time::Instant::now() < deadline, "the platform refuses the credentials");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Whoever saves what the server has shown says nothing about it.
    let shown = small.hub.get(&format!("{channel}/credentials")).await["credentials_to_send_message"].clone();
    assert_ne!(shown, given);
    let put = async |body: &Value| small.hub.put(&channel, body).await["health"].clone();
    let unchanged = json!({"name": "Still locked", "credentials_to_send_message": shown, "api_to_send_message": platform});
    assert_eq!(put(&unchanged).await, "auth");
    // The account may have been put in order at the platform, where nothing of it is seen here.
    assert_eq!(put(&json!({"credentials_to_send_message": given})).await, "ok");
    small.server.stop().await;
}

#[tokio::test]
async fn an_agent_that_writes_before_it_answers_has_answered() {
    let small = with_agent(|_| Plan::ok(&json!({})).after(Duration::from_millis(400))).await;
    let agent = small.agent(&json!({"buffer_time_seconds": 0, "reply_timeout_seconds": 1})).await;
    let heard = small.hub.hear(&small.line, &contact("c"), "hola").await;
    small.peer.until("a call", PATIENCE, |calls| calls.iter().any(|call| call.path == "/agent")).await;
    let say = Request::post(&format!("{}/messages", small.line.chat(&heard.chat)), &json!({"content": "buenas"}));
    small.server.client().with_token(&agent.token).send(say).await.expect(200);
    let of_agent = format!("/auth/agents/{}/deliveries?state=done", agent.id);
    while small.hub.get(&of_agent).await["total_count"] == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(small.chat(&heard.chat).await["needs_attention"], false, "nobody waits for an answer that has come");
    small.server.stop().await;
}

#[tokio::test]
async fn an_agent_does_not_send_again_what_a_person_has_stopped() {
    let small = with_agent(|_| Plan::ok(&json!({"no_reply": true}))).await;
    let agent = small.agent(&json!({"buffer_time_seconds": 300})).await;
    let line = small.hub.line("Busy", "https://platform.invalid/", &json!({})).await;
    let heard = small.hub.hear(&line, &contact("c"), "hola").await;
    let bot = small.server.client().with_token(&agent.token);
    let place = line.chat(&heard.chat);
    let said = patiently(&bot, Request::post(&format!("{place}/messages"), &json!({"content": "buenas"}))).await.expect(200);
    small.hub.post(&format!("{place}/take"), &json!({})).await;
    let shown = small.hub.get(&format!("{place}/messages?limit=1")).await["messages"][0].clone();
    assert_eq!((&shown["delivery_status"], &shown["meta_data"]["platform_error_type"]), (&json!("FAILED"), &json!("superseded")));
    let again = format!("{place}/messages/{}/resend", text(&said["id"]));
    let answer = patiently(&bot, Request::post(&again, &json!({}))).await;
    assert_eq!((answer.status(), text(&answer.json()["detail"])), (409, "A person has taken over this conversation"));
    assert_eq!(small.hub.post(&again, &json!({})).await["delivery_status"], "PENDING", "a person may");
    small.server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_no_json_is_told_where_it_stops_being_any() {
    let small = with_agent(|_| Plan::ok(&json!({}))).await;
    for (body, position, error) in [
        (r#"{"name":}"#, 8, "Expecting value"),
        ("{\n\"é\": 1,\n}", 10, "Expecting property name enclosed in double quotes"),
        (r#"{"name": "x"} y"#, 14, "Extra data"),
        (r#"{"name": "x"#, 9, "Unterminated string starting at"),
        ("{\"n\": \"\u{1}\"}", 7, "Invalid control character at"),
        ("[1, 2", 5, "Expecting ',' delimiter"),
    ] {
        let request = Request::new("POST", "/channels").bytes("application/json", body.as_bytes());
        let answer = patiently(&small.hub.admin, request).await.expect(422);
        let expected = json!([{
            "type": "json_invalid", "loc": ["body", position], "msg": "JSON decode error", "input": {}, "ctx": {"error": error},
        }]);
        assert_eq!(answer["detail"], expected, "{body}");
    }
    small.server.stop().await;
}
