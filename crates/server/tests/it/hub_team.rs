//! What people share and contacts and agents never see: notes in chats, canned replies, and the lists they
//! work through.

use serde_json::{Value, json};

use crate::harness::{Setup, TestServer};
use crate::harness_http::{Client, PATIENCE, Request};
use crate::harness_ws::Socket;
use crate::hub_peer::{Call, Peer, Plan};
use crate::hub_world::{Hub, Line, Somebody, contact, patiently, text};
use crate::postgres_server::fresh_database;

/// A hub with an agent behind a webhook, an operator, and a channel whose platform takes everything.
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
            _ => Plan::ok(&json!({})),
        };
        let peer = Peer::start(plan).await;
        let mut setup = Setup::new().setting("COLLOQUY_EGRESS_ALLOW", &peer.host);
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
    desk.server.stop().await;
}
