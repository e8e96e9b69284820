//! P15, on sockets: every event of the hub for everybody, live and replayed, and every frame that a hub's token may not send.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::hub::HubEventKind;
use serde_json::{Value, json};

use crate::attacks_routes::ROUTES;
use crate::harness_http::{PATIENCE, Request};
use crate::harness_ws::{Said, Socket};
use crate::hub_roles::{Kind, Place, ROLES, Role, World};
use crate::hub_world::{Line, contact, fresh, patiently, text};

/// Where the socket's frames are written.
const SOURCE: &str = include_str!("../../../faces/src/socket/mod.rs");

/// How long nothing more may come to somebody who has got everything.
const QUIET: Duration = Duration::from_millis(300);

/// Frames that a client may send, and how those that are not the hub's are refused.
const FRAMES: &[(&str, Option<&str>)] = &[
    ("ping", None),
    ("pong", None),
    ("subscribe", None),
    ("chat", Some("forbidden")),
    ("cancel", Some("forbidden")),
    ("unsubscribe", Some("forbidden")),
    ("run_rule", Some("forbidden")),
    ("cancel_rule", Some("forbidden")),
    // Nobody speaks it here.
    ("request", Some("unknown_type")),
];

/// A kind of event that is not here does not compile.
const fn name(kind: &HubEventKind) -> &'static str {
    match kind {
        HubEventKind::NewMessage { .. } => "new_message",
        HubEventKind::MessageUpdated { .. } => "message_updated",
        HubEventKind::ChatUpdated { .. } => "chat_updated",
        HubEventKind::ChatDeleted => "chat_deleted",
        HubEventKind::NewNote { .. } => "new_note",
        HubEventKind::NoteUpdated { .. } => "note_updated",
        HubEventKind::NoteDeleted { .. } => "note_deleted",
    }
}

const EVENTS: [&str; 7] = [
    "new_message",
    "message_updated",
    "chat_updated",
    name(&HubEventKind::ChatDeleted),
    "new_note",
    "note_updated",
    "note_deleted",
];
/// What is for people alone.
const NOTES: [&str; 3] = ["new_note", "note_updated", "note_deleted"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_goes_to_those_who_may_see_it_and_to_nobody_else() {
    let world = World::begun().await;
    let mut sockets = Vec::new();
    for role in ROLES {
        let opened = Socket::open(world.client(role), "/ws", &[]).await;
        if let Kind::Out(..) = role.kind() {
            assert!(matches!(opened, Err(401 | 403)), "{role:?} opens no socket");
            continue;
        }
        let mut socket = opened.expect("the socket opens");
        subscribe(&mut socket, &json!({"channels": [], "notes": true})).await;
        sockets.push((role, socket));
    }
    let marker = things_happen(&world).await;

    let admin = sockets.iter_mut().find(|(role, _)| *role == Role::Admin).expect("there is one");
    let all = until_marker(&mut admin.1, &marker).await;
    let kinds: BTreeSet<&str> = all.iter().map(|event| text(&event["type"])).collect();
    assert_eq!(kinds, EVENTS.into(), "all kinds of events have come");

    let mut checked = 0;
    for (role, socket) in &mut sockets {
        let expected = seen_by(&world, role.kind(), &all);
        if *role != Role::Admin {
            let got = exactly(socket, expected.len(), &format!("{role:?}, live")).await;
            assert_eq!(got, expected, "{role:?}, live");
        }
        checked += expected.len();
        assert_eq!(world.leaks(role.kind(), &json!(expected).to_string()), Vec::<String>::new(), "{role:?}");
        // Again from before the first of them, and only channel B.
        let first = all[0]["seq"].as_i64().expect("a number") - 1;
        subscribe(socket, &json!({"channels": [], "after": first, "notes": true})).await;
        let replayed = exactly(socket, expected.len(), &format!("{role:?}, replayed")).await;
        assert_eq!(replayed, expected, "{role:?}, replayed");
        let of_b: Vec<Value> = expected.iter().filter(|event| event["channel_id"] == world.b.id.as_str()).cloned().collect();
        subscribe(socket, &json!({"channels": [world.b.id, "channel_2222222222"], "after": first, "notes": true})).await;
        let replayed = exactly(socket, of_b.len(), &format!("{role:?}, channel B")).await;
        assert_eq!(replayed, of_b, "{role:?}, channel B");
        // Who does not ask for notes gets what the contract knows, and nothing else.
        let known: Vec<Value> = expected.iter().filter(|event| !NOTES.contains(&text(&event["type"]))).cloned().collect();
        subscribe(socket, &json!({"channels": [], "after": first})).await;
        assert_eq!(exactly(socket, known.len(), &format!("{role:?}, without notes")).await, known, "{role:?}, without notes");
    }
    println!("{} events, {} sockets: {checked} frames as they must be", all.len(), sockets.len());
    drop(sockets);
    world.server.stop().await;
}

/// Everything that there is an event for, in all places. Gives the chat whose deletion is the last.
async fn things_happen(world: &World) -> String {
    let hub = &world.hub;
    let mut last = String::new();
    for (line, place) in [(&world.a, Place::Mine), (&world.a, Place::Beside), (&world.b, Place::Foreign)] {
        let ids = world.ids(place);
        let chat = line.chat(&ids.chat);
        let who = if place == Place::Beside { contact("a2") } else { contact(if place == Place::Mine { "a1" } else { "b1" }) };
        hub.hear(line, &who, &format!("{} is shown live", canary(place))).await;
        let said = hub.post(&format!("{chat}/messages"), &json!({"content": "an operator writes"})).await;
        hub.post(&format!("{chat}/release"), &json!({})).await;
        let agent = Request::post(&format!("{chat}/messages"), &json!({"content": "an agent writes"}));
        let answer = patiently(world.client(Role::AgentOfAll), agent).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        status(world, line, text(&said["id"]), "delivered").await;
        hub.post(&format!("{chat}/read"), &json!({})).await;
        let note = hub.post(&format!("{chat}/notes"), &json!({"content": format!("{} are noted", canary(place))})).await;
        let note = format!("{chat}/notes/{}", text(&note["id"]));
        hub.put(&note, &json!({"content": "noted otherwise"})).await;
        hub.does(Request::delete(&note)).await;
        last = world.spare(place).await.chat;
        let gone = Request::delete(&line.chat(&last));
        hub.does(gone).await;
    }
    last
}

const fn canary(place: Place) -> &'static str {
    match place {
        Place::Mine => "canary-words-A1",
        Place::Beside => "canary-words-A2",
        _ => "canary-words-B1",
    }
}

/// The platform tells how far a message has come.
async fn status(world: &World, line: &Line, message: &str, status: &str) {
    let news = json!({"type": "status", "message_id": message, "status": status});
    world.hub.nobody().send(line.signed(&fresh("status"), &news)).await.expect(200);
}

/// Frames up to the deletion of this chat.
async fn until_marker(socket: &mut Socket, marker: &str) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let event = socket.frame().await;
        let is_last = event["type"] == "chat_deleted" && event["chat_id"] == marker;
        events.push(event);
        if is_last {
            // Messages are still on their way to the platform, which is told as well.
            while let Some(said) = socket.said_within(Duration::from_secs(1)).await {
                events.push(said.json());
            }
            return events;
        }
    }
}

fn seen_by(world: &World, kind: Kind, all: &[Value]) -> Vec<Value> {
    let is_person = matches!(kind, Kind::Admin) || kind.is_member();
    let is_seen = |event: &&Value| {
        if !is_person && NOTES.contains(&text(&event["type"])) {
            return false;
        }
        let place = if event["channel_id"] == world.b.id.as_str() {
            Place::Foreign
        } else if event["chat_id"] == world.a1.chat.as_str() {
            Place::Mine
        } else {
            Place::Beside
        };
        kind.sees_chat(place)
    };
    all.iter().filter(is_seen).cloned().collect()
}

/// So many events, and then none.
async fn exactly(socket: &mut Socket, count: usize, who: &str) -> Vec<Value> {
    let mut events = Vec::new();
    while events.len() < count {
        let said = socket.said_within(PATIENCE).await;
        events.push(said.unwrap_or_else(|| panic!("{who}: only {} of {count} events come", events.len())).json());
    }
    let more = socket.said_within(QUIET).await;
    assert_eq!(more, None, "{who}: more than {count} events come");
    events
}

async fn subscribe(socket: &mut Socket, what: &Value) {
    let mut frame = what.clone();
    frame["type"] = "subscribe".into();
    socket.send(&frame).await;
    // What the socket sends without being asked comes before.
    socket.frame_of("subscription_ack").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_the_hub_opens_nothing_but_the_hub() {
    let world = World::begun().await;
    for role in [Role::Admin, Role::Granted, Role::Stranger, Role::AgentOfAll, Role::AgentOfChat, Role::AgentOfNothing] {
        let mut socket = Socket::open(world.client(role), "/ws", &[]).await.expect("the socket opens");
        assert_eq!(socket.frame().await["type"], "connection_established", "{role:?}");
        for (kind, code) in FRAMES.iter().filter_map(|(kind, code)| Some((kind, (*code)?))) {
            let frame = json!({
                "type": kind, "chatId": "0190a1b2c3d47e5f8a9b0c1d2e3f4a5b", "content": "hi", "rule_code": "r", "run_id": "r", "id": "1",
                "method": "run_rule", "payload": {"rule_code": "r"}, "params": {},
            });
            let answer = socket.ask(&frame).await;
            assert_eq!((text(&answer["type"]), text(&answer["code"])), ("error", code), "{role:?} {kind}: {answer}");
            assert_eq!(world.leaks(role.kind(), &answer.to_string()), Vec::<String>::new());
        }
        socket.send(&json!({"type": "pong"})).await;
        assert_eq!(socket.ask(&json!({"type": "ping", "timestamp": 5})).await["timestamp"], 5, "{role:?}");
        assert_eq!(socket.said_within(QUIET).await, None::<Said>);
        for route in ROUTES {
            let request = route.request("0190a1b2c3d47e5f8a9b0c1d2e3f4a5b", "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b");
            let answer = world.client(role).send(request).await;
            assert!(matches!(answer.status(), 401 | 403), "{role:?} {} {}: {}", route.method, route.path, answer.status());
        }
    }
    world.server.stop().await;
}

/// The table of frames is as long as the socket's.
#[test]
fn every_frame_is_in_the_table() {
    let body = SOURCE.split_once("fn owner_of").expect("the list").1.split_once("_ => None").expect("its end").0;
    let known: BTreeSet<&str> = body.lines().filter_map(|line| line.trim().strip_prefix('"')?.split('"').next()).collect();
    assert_eq!(known, FRAMES.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>());
    assert!(known.len() > 5, "the source is read");
}
