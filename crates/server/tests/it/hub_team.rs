//! What people share and contacts and agents never see: notes in chats, canned replies, the lists they work through, and what
//! they look at and try while they set something up.

use serde_json::{Value, json};

use crate::harness::{Setup, TestServer};
use crate::harness_http::{Client, PATIENCE, Request};
use crate::harness_ws::Socket;
use crate::hub_peer::{Call, Peer, Plan};
use crate::hub_world::{Hub, Line, Somebody, contact, patiently, text};
use crate::postgres_server::fresh_database;

/// A hub with an agent behind a webhook, an operator, and a channel whose platform takes everything but `refused`.
struct Desk {
    server: TestServer,
    hub: Hub,
    line: Line,
    peer: Peer,
    bea: Somebody,
}

impl Desk {
    async fn begun(database: Option<String>) -> Self {
        let plan = |call: &Call, _: usize| match call.path.as_str() {
            "/agent" => Plan::ok(&json!({"replies": [{"content": "tested"}]})),
            _ if String::from_utf8_lossy(&call.raw).contains("refused") => Plan::status(400, &json!({})),
            _ => Plan::ok(&json!({})),
        };
        let peer = Peer::start(plan).await;
        let script = [json!({"text": ["I am here."]})];
        let mut setup = Setup::new().setting("COLLOQUY_EGRESS_ALLOW", &peer.host).script(&script);
        if let Some(url) = &database {
            setup = setup.setting("DATABASE_URL", url);
        }
        let server = setup.start().await;
        let hub = Hub::begun(&server.client()).await;
        let line = hub.line("Line", &format!("{}/platform", peer.url), &json!({})).await;
        let bea = hub.user("bea", "MEMBER").await;
        hub.put(&format!("/channels/{}/permissions/{}", line.id, bea.id), &json!({})).await;
        Self { server, hub, line, peer, bea }
    }

    fn as_bea(&self) -> Client {
        self.hub.nobody().with_token(&self.bea.token)
    }
}

async fn answer(client: &Client, request: Request) -> (u16, Value) {
    let answer = patiently(client, request).await;
    (answer.status(), answer.json())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_stays_inside() {
    notes_stay_inside(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_stays_inside_on_postgres() {
    notes_stay_inside(Some(fresh_database().await)).await;
}

async fn notes_stay_inside(database: Option<String>) {
    let desk = Desk::begun(database).await;
    let (hub, bea) = (&desk.hub, desk.as_bea());
    let url = format!("{}/agent", desk.peer.url);
    hub.agent(&json!({"name": "Bot", "webhook_url": url, "activate_for_new_conversation": true, "buffer_time_seconds": 0})).await;
    let mut known = Socket::open(&hub.admin, "/ws", &[]).await.expect("the socket opens");
    let mut noted = Socket::open(&bea, "/ws", &[]).await.expect("the socket opens");
    for (socket, notes) in [(&mut known, false), (&mut noted, true)] {
        socket.send(&json!({"type": "subscribe", "channels": [], "notes": notes})).await;
        socket.frame_of("subscription_ack").await;
    }
    let heard = hub.hear(&desk.line, &contact("c"), "hola").await;
    let chat = desk.line.chat(&heard.chat);
    let messages = format!("{chat}/messages");
    let said = async || hub.get(&messages).await["messages"].as_array().expect("a list").len();
    while said().await < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let before = hub.get(&chat).await;
    let newest = hub.get(&messages).await["messages"][0]["id"].clone();

    // Stored once, whoever's client repeats it, and behind the newest message.
    let notes = format!("{chat}/notes");
    let add = |words: &str| Request::post(&notes, &json!({"content": words})).header("Idempotency-Key", "n1");
    let (status, note) = answer(&bea, add("secret: wants a refund")).await;
    assert_eq!((status, &note["username"], &note["by_owner"]), (200, &json!("bea"), &json!(false)));
    assert_eq!((&note["after_message_id"], &note["edited_at"]), (&newest, &Value::Null));
    assert_eq!(answer(&bea, add("secret: wants a refund")).await, (200, note.clone()));
    let (status, refused) = answer(&bea, add("something else")).await;
    assert_eq!((status, text(&refused["detail"])), (422, "Idempotency-Key was used with another body"));
    let (_, of_another) = answer(&hub.admin, add("of another person")).await;
    assert_ne!(of_another["id"], note["id"], "each names requests for themselves");
    assert_eq!(hub.get(&chat).await, before, "the chat is as it was");
    assert_eq!(said().await, 2, "a note is no message");

    // Edited by who wrote it, removed by them or an administrator.
    let one = format!("{notes}/{}", text(&note["id"]));
    let put = |words: &str| Request::new("PUT", &one).json(&json!({"content": words}));
    let (status, refused) = answer(&hub.admin, put("mine now")).await;
    assert_eq!((status, text(&refused["detail"])), (403, "Only who wrote a note may change it"));
    let (status, edited) = answer(&bea, put("wants a refund")).await;
    assert_eq!((status, text(&edited["content"]), edited["edited_at"].is_string()), (200, "wants a refund", true));
    let other = format!("{notes}/{}", text(&of_another["id"]));
    assert_eq!(answer(&bea, Request::delete(&other)).await.0, 403);
    for (words, kind) in [("", "string_too_short"), (" \n", "value_error"), (&*"x".repeat(10_001), "string_too_long")] {
        let (status, refused) = answer(&bea, Request::post(&notes, &json!({"content": words}))).await;
        assert_eq!((status, text(&refused["detail"][0]["type"])), (422, kind));
    }

    // Pages are cut by messages.
    let again = hub.hear(&desk.line, &contact("c"), "and?").await;
    let (_, later) = answer(&bea, Request::post(&notes, &json!({"content": "later"}))).await;
    let listed = async |query: &str| {
        let page = hub.get(&format!("{notes}?{query}")).await;
        page["notes"].as_array().expect("a list").iter().map(|note| text(&note["content"]).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed("").await, ["later", "of another person", "wants a refund"]);
    assert_eq!(listed(&format!("after={}", again.message)).await, ["later"]);
    assert_eq!(listed(&format!("before={}&limit=1", again.message)).await, ["of another person"]);
    assert_eq!(listed(&format!("after={}", text(&newest))).await.len(), 3, "those behind the message itself are among them");

    // The agent was called with everything that was said, and nothing that was noted.
    let calls = |calls: &[Call]| calls.iter().filter(|call| call.path == "/agent").count() == 2;
    desk.peer.until("the second call", PATIENCE, calls).await;
    let told: String = desk.peer.calls().iter().map(|call| String::from_utf8_lossy(&call.raw).into_owned()).collect();
    assert!(told.contains("and?") && !told.contains("refund") && !told.contains("another person"), "{told}");

    // Gone is gone: also for who comes back later, and for a late repeat.
    hub.does(Request::delete(&one)).await;
    assert_eq!(answer(&bea, add("secret: wants a refund")).await, (404, json!({"detail": "Note not found"})));
    assert_eq!(answer(&bea, put("x")).await, (404, json!({"detail": "Note not found"})));
    let mut told = Vec::new();
    while told.len() < 5 {
        let frame = noted.frame().await;
        if text(&frame["type"]).contains("note") {
            told.push(frame);
        }
    }
    let kinds: Vec<&str> = told.iter().map(|frame| text(&frame["type"])).collect();
    assert_eq!(kinds, ["new_note", "new_note", "note_updated", "new_note", "note_deleted"]);
    assert_eq!((&told[0]["note"], &told[2]["note"], &told[3]["note"]), (&note, &edited, &later));
    assert_eq!((&told[4]["note_id"], &told[4]["chat_id"]), (&note["id"], &json!(heard.chat)));
    known.send(&json!({"type": "ping", "timestamp": 1})).await;
    loop {
        let frame = known.frame().await;
        assert!(!text(&frame["type"]).contains("note"), "{frame}");
        if frame["type"] == "pong" {
            break;
        }
    }
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canned_replies_and_the_lists_people_work_through() {
    people_find_what_they_need(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canned_replies_and_the_lists_people_work_through_on_postgres() {
    people_find_what_they_need(Some(fresh_database().await)).await;
}

async fn people_find_what_they_need(database: Option<String>) {
    let desk = Desk::begun(database).await;
    let (hub, bea) = (&desk.hub, desk.as_bea());
    let new = json!({"title": "Opening hours", "content": "Hello {contact}", "shortcut": "hours"});
    let create = Request::post("/canned-replies", &new).header("Idempotency-Key", "r1");
    let made = hub.does(create.clone()).await;
    assert_eq!((&made["title"], &made["shortcut"]), (&new["title"], &new["shortcut"]));
    assert_eq!(hub.does(create).await, made, "a repeat makes no second one");
    let (status, refused) = answer(&hub.admin, Request::post("/canned-replies", &new)).await;
    assert_eq!((status, text(&refused["detail"])), (409, "Shortcut already exists"));
    for (name, wrong) in [("shortcut", "Two words"), ("title", "  "), ("content", "")] {
        let mut body = json!({"title": "t", "content": "c"});
        body[name] = wrong.into();
        let (status, refused) = answer(&hub.admin, Request::post("/canned-replies", &body)).await;
        assert_eq!((status, &refused["detail"][0]["loc"]), (422, &json!(["body", name])), "{refused}");
    }
    hub.post("/canned-replies", &json!({"title": "goodbye", "content": "Bye"})).await;
    let one = format!("/canned-replies/{}", text(&made["id"]));
    let changed = hub.put(&one, &json!({"shortcut": null, "content": "Hi"})).await;
    assert_eq!((&changed["shortcut"], &changed["title"], text(&changed["content"])), (&Value::Null, &new["title"], "Hi"));
    let (_, listed) = answer(&bea, Request::get("/canned-replies")).await;
    let titles: Vec<&str> = listed["canned_replies"].as_array().into_iter().flatten().map(|one| text(&one["title"])).collect();
    assert_eq!(titles, ["goodbye", "Opening hours"]);
    hub.does(Request::delete(&one)).await;
    assert_eq!(answer(&hub.admin, Request::delete(&one)).await, (404, json!({"detail": "Canned reply not found"})));

    // Who has to be answered, what is unread, and whom a number or name belongs to.
    let by_phone = hub.hear(&desk.line, &json!({"id": "p", "name": "Pia", "phone": "+5215550000077"}), "hola").await;
    let other = hub.hear(&desk.line, &contact("q"), "hi").await;
    let found = async |query: &str| {
        let page = hub.get(&format!("/chats?{query}")).await;
        let mut ids: Vec<String> =
            page["chats"].as_array().into_iter().flatten().map(|chat| text(&chat["id"]).to_owned()).collect();
        ids.sort();
        ids
    };
    let both = {
        let mut both = vec![by_phone.chat.clone(), other.chat.clone()];
        both.sort();
        both
    };
    assert_eq!(found("q=550000077").await, [by_phone.chat.as_str()], "by a number that only the contact has");
    assert_eq!((found("waiting=true").await, found("unread=true").await), (both.clone(), both));
    hub.post(&format!("{}/read", desk.line.chat(&other.chat)), &json!({})).await;
    assert_eq!(
        (found("unread=true").await, found("unread=false").await),
        (vec![by_phone.chat.clone()], vec![other.chat.clone()])
    );
    hub.post(&format!("{}/messages", desk.line.chat(&other.chat)), &json!({"content": "hello"})).await;
    assert_eq!((found("waiting=true").await, found("waiting=false").await), (vec![by_phone.chat.clone()], vec![other.chat]));
    what_is_set_up_can_be_tried(&desk, &by_phone.chat).await;
    desk.server.stop().await;
}

/// `chat` is one of Pia's, to whom the platform can send.
async fn what_is_set_up_can_be_tried(desk: &Desk, chat: &str) {
    let hub = &desk.hub;
    // A message that is sent to see whether it works is in no chat.
    let test = format!("/channels/{}/test", desk.line.id);
    let before = hub.get(&desk.line.chat(chat)).await;
    let tried = hub.post(&test, &json!({"to": "p", "text": "anybody there?"})).await;
    assert_eq!((&tried["ok"], &tried["error"]), (&json!(true), &Value::Null), "{tried}");
    let got = |calls: &[Call]| calls.iter().any(|call| String::from_utf8_lossy(&call.raw).contains("anybody there?"));
    desk.peer.until("the test message", PATIENCE, got).await;
    assert_eq!(hub.get(&desk.line.chat(chat)).await, before);
    let refused = hub.post(&test, &json!({"to": "p", "text": "refused"})).await;
    assert_eq!((&refused["ok"], refused["error"].is_string()), (&json!(false), true), "{refused}");
    let (status, refused) = answer(&hub.admin, Request::post(&test, &json!({"to": "", "text": ""}))).await;
    assert_eq!((status, refused["detail"].as_array().map(Vec::len)), (422, Some(2)));

    // What came and went last, and what was turned away.
    let said = hub.post(&format!("{}/messages", desk.line.chat(chat)), &json!({"content": "refused"})).await;
    let path = desk.line.path();
    assert_eq!(answer(&hub.nobody(), Request::post(&path, &json!({"type": "message"}))).await.0, 403);
    let traffic = format!("/channels/{}/traffic", desk.line.id);
    let deadline = std::time::Instant::now() + PATIENCE;
    let shown = loop {
        let shown = hub.get(&traffic).await;
        if shown["messages"][0]["error"].is_string() {
            break shown;
        }
        assert!(std::time::Instant::now() < deadline, "{shown}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let newest = &shown["messages"][0];
    assert_eq!((&newest["message_id"], text(&newest["direction"])), (&said["id"], "out"));
    assert!(newest["attempts"].as_i64() >= Some(1) && newest["next_at"].is_string(), "it is tried again: {newest}");
    let directions: Vec<&str> = shown["messages"].as_array().into_iter().flatten().map(|one| text(&one["direction"])).collect();
    assert_eq!(directions, ["out", "out", "in", "in"]);
    assert_eq!(text(&shown["refused"][0]["error"]), "Invalid signature");
    let one = hub.get(&format!("{traffic}?limit=1")).await;
    assert_eq!((one["messages"].as_array().map(Vec::len), &one["messages"][0]["message_id"]), (Some(1), &said["id"]));

    // Agents say what they would say, to nobody.
    let webhook = hub.agent(&json!({"name": "Hook", "webhook_url": format!("{}/agent", desk.peer.url)})).await;
    let tried = hub.post(&format!("/auth/agents/{}/test", webhook.id), &json!({})).await;
    assert_eq!((&tried["ok"], &tried["status"], &tried["replies"]), (&json!(true), &json!(200), &json!(["tested"])));
    let ours = hub.agent(&json!({"name": "Ours", "kind": "builtin", "instructions": "Be brief."})).await;
    let tried = hub.post(&format!("/auth/agents/{}/test", ours.id), &json!({"text": "Are you there?"})).await;
    assert_eq!((&tried["ok"], &tried["replies"]), (&json!(true), &json!(["I am here."])), "{tried}");
    assert_eq!(hub.get(&format!("/auth/agents/{}/deliveries", ours.id)).await["total_count"], 0, "nothing is kept of a trial");
}
