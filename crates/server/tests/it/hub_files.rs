//! Files that contacts send, over a real server: fetched after the answer, kept, shown to those who may see the chat, and gone
//! with it; files that we send; and signs of typing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Setup;
use crate::harness_http::{Answer, Client, PATIENCE, Request};
use crate::harness_process::Process;
use crate::harness_ws::Socket;
use crate::hub_peer::{Call, Peer, Plan};
use crate::hub_world::{Hub, Line, Small, contact, fresh, patiently, text};

const PAGE: &str = "<!doctype html><script>alert(1)</script>";

/// A picture of more than one piece.
fn picture() -> Vec<u8> {
    let noise = (0..120_000_u32).map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
    b"\x89PNG\r\n\x1a\n".iter().copied().chain(noise).collect()
}

/// Where contacts' files lie, and platform and agent too.
fn plan(call: &Call, _before: usize) -> Plan {
    match call.path.as_str() {
        "/picture" => Plan::bytes(200, picture()),
        "/page" => Plan::bytes(200, PAGE),
        "/gone" => Plan::status(404, &json!({})),
        "/moved" => Plan::status(302, &json!({})),
        "/large" => Plan::bytes(200, vec![0; 20 * 1024 * 1024 + 1]),
        _ => Plan::ok(&json!({})),
    }
}

/// What a contact sends, with files at these addresses.
fn sent(line: &Line, from: &str, words: &str, files: &[(&str, &str)]) -> Request {
    let id = fresh("msg");
    let files: Vec<Value> = files.iter().map(|(url, name)| json!({"url": url, "mime_type": "image/png", "name": name})).collect();
    let message = json!({"id": id, "text": words, "attachments": files});
    line.signed(&id, &json!({"type": "message", "contact": contact(from), "message": message}))
}

async fn newest(client: &Client, chat: &str) -> Value {
    let request = Request::get(&format!("{chat}/messages?limit=1"));
    patiently(client, request).await.expect(200)["messages"][0].clone()
}

/// The newest message, once nothing of it is on its way any more.
async fn fetched(client: &Client, chat: &str) -> Value {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let message = newest(client, chat).await;
        if message["attachments"].as_array().into_iter().flatten().all(|file| file["state"] != "fetching") {
            return message;
        }
        assert!(std::time::Instant::now() < deadline, "{message}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Small {
    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.peer.url)
    }

    async fn send(&self, from: &str, words: &str, files: &[(&str, &str)]) -> Value {
        let answer = self.hub.nobody().send(sent(&self.line, from, words, files)).await;
        answer.expect(200)
    }

    async fn read(&self, client: &Client, file: &Value, range: Option<&str>) -> Answer {
        let request = Request::get(text(&file["url"]));
        let request = range.map_or(request.clone(), |range| request.header("range", range));
        patiently(client, request).await
    }

    fn rows(&self, table: &str) -> i64 {
        let database = rusqlite::Connection::open(self.server.place.data_dir().join("colloquy.db")).expect("the database opens");
        database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("a count")
    }
}

#[tokio::test]
async fn files_are_fetched_after_the_answer_shown_safely_and_go_with_their_chat() {
    let small = Small::begun(plan).await;
    let mut socket = Socket::open(&small.hub.admin, "/ws", &[]).await.expect("the socket opens");
    socket.frame_of("connection_established").await;
    let [picture_at, page, gone, moved, large] = ["/picture", "/page", "/gone", "/moved", "/large"].map(|path| small.at(path));
    let files = [
        (picture_at.as_str(), "cat.png"),
        (page.as_str(), "../evil\"\r\nx.png"),
        (gone.as_str(), "gone.png"),
        (moved.as_str(), "moved.png"),
        (large.as_str(), "large.png"),
        ("http://169.254.169.254/latest/", "inner.png"),
    ];
    let answer = small.send("ana", "look", &files).await;
    assert_eq!((text(&answer["status"]), text(&answer["message_type"])), ("success", "image"));
    let told = socket.frame_of("new_message").await;
    assert_eq!(told["attachments"][0]["state"], "fetching", "{told}");
    let chat = small.line.chat(text(&answer["chat_id"]));
    let message = fetched(&small.hub.admin, &chat).await;
    assert!(text(&message["content"]).starts_with(&format!("[IMAGE Message] {picture_at}\n")), "{message}");
    assert!(text(&message["content"]).ends_with("\nlook"));
    let state = |index: usize| {
        let file = &message["attachments"][index];
        (text(&file["state"]).to_owned(), text(&file["mime_type"]).to_owned(), file["error"].as_str().map(str::to_owned))
    };
    let stored = |mime_type: &str| ("stored".to_owned(), mime_type.to_owned(), None);
    let failed = |why: &str| ("failed".to_owned(), "image/png".to_owned(), Some(why.to_owned()));
    assert_eq!([state(0), state(1)], [stored("image/png"), stored("text/plain")]);
    let withheld = "The platform does not give the file out";
    assert_eq!([state(2), state(3)], [failed(withheld), failed(withheld)]);
    assert_eq!([state(4), state(5)], [failed("The file is larger than 20 MB"), failed("The file's address is not allowed")]);
    let mut last = socket.frame_of("message_updated").await;
    while last["attachments"].as_array().into_iter().flatten().any(|file| file["state"] == "fetching") {
        last = socket.frame_of("message_updated").await;
    }

    let whole = small.read(&small.hub.admin, &message["attachments"][0], None).await;
    assert!(whole.status() == 200 && whole.body == picture(), "{}", whole.status());
    assert_eq!(message["attachments"][0]["size"], picture().len());
    for (name, value) in [
        ("content-type", "image/png"),
        ("x-content-type-options", "nosniff"),
        ("content-disposition", "inline; filename*=UTF-8''cat.png"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "private, no-cache"),
    ] {
        assert_eq!(whole.header(name), Some(value), "{name}");
    }
    let part = small.read(&small.hub.admin, &message["attachments"][0], Some("bytes=49150-98310")).await;
    assert!(part.status() == 206 && part.body == picture()[49_150..=98_310], "{}", part.status());
    assert_eq!(part.header("content-range"), Some(format!("bytes 49150-98310/{}", picture().len()).as_str()));
    assert_eq!(small.read(&small.hub.admin, &message["attachments"][0], Some("bytes=200000-")).await.status(), 416);
    let tag = whole.header("etag").expect("a tag").to_owned();
    let known = Request::get(text(&message["attachments"][0]["url"])).header("if-none-match", &tag);
    let unchanged = patiently(&small.hub.admin, known.clone()).await;
    assert_eq!((unchanged.status(), unchanged.body.len()), (304, 0));
    let nobody = patiently(&small.server.client(), known).await;
    assert_eq!(nobody.status(), 422, "who may not see it is not told that it has not changed");
    let posing = small.read(&small.hub.admin, &message["attachments"][1], None).await;
    assert_eq!((posing.status(), posing.text().as_str()), (200, PAGE));
    assert_eq!(posing.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(posing.header("content-disposition"), Some("attachment; filename*=UTF-8''evil%22x.png"));
    assert_eq!(small.read(&small.hub.admin, &message["attachments"][2], None).await.status(), 404);

    small.hub.does(Request::delete(&chat)).await;
    assert_eq!((small.rows("chat_file"), small.rows("chat_file_piece")), (0, 0));
    assert_eq!(small.read(&small.hub.admin, &message["attachments"][0], None).await.status(), 404);
    small.server.stop().await;
}

#[tokio::test]
async fn a_file_is_for_those_who_may_see_its_chat_alone() {
    let small = Small::begun(plan).await;
    let at = small.at("/picture");
    let heard = small.send("ana", "", &[(&at, "cat.png")]).await;
    let other = small.send("eva", "hi", &[]).await;
    let chat = small.line.chat(text(&heard["chat_id"]));
    let file = fetched(&small.hub.admin, &chat).await["attachments"][0].clone();
    let granted = small.hub.user("granted", "MEMBER").await;
    small.hub.put(&format!("/channels/{}/permissions/{}", small.line.id, granted.id), &json!({})).await;
    let assigned = small.hub.user("assigned", "MEMBER").await;
    small.hub.post(&format!("{chat}/assign"), &json!({"user_id": assigned.id})).await;
    let stranger = small.hub.user("stranger", "MEMBER").await;
    let agent = |name: &str| json!({"name": name, "webhook_url": format!("{}/agent", small.peer.url)});
    let linked = small.hub.agent(&agent("linked")).await;
    small.hub.post(&format!("{chat}/agents"), &json!({"agent_id": linked.id})).await;
    let unlinked = small.hub.agent(&agent("unlinked")).await;
    let with = |token: &str| small.server.client().with_token(token);
    for (who, token, status) in [
        ("granted", &granted.token, 200),
        ("assigned", &assigned.token, 200),
        ("linked", &linked.token, 200),
        ("stranger", &stranger.token, 403),
        ("unlinked", &unlinked.token, 403),
    ] {
        let answer = small.read(&with(token), &file, None).await;
        assert_eq!(answer.status(), status, "{who}");
        assert_eq!(answer.body == picture(), status == 200, "{who}");
    }
    assert_eq!(small.read(&small.server.client(), &file, None).await.status(), 422, "nobody");
    // A member of one chat reaches nothing through another one's path.
    let elsewhere = text(&file["url"]).replace(text(&heard["chat_id"]), text(&other["chat_id"]));
    assert_eq!(patiently(&with(&granted.token), Request::get(&elsewhere)).await.status(), 404);
    assert_eq!(patiently(&with(&assigned.token), Request::get(&elsewhere)).await.status(), 403);
    small.hub.does(Request::delete(&format!("/channels/{}?hard=true", small.line.id))).await;
    assert_eq!((small.rows("chat_file"), small.rows("chat_file_piece")), (0, 0));
    small.server.stop().await;
}

#[tokio::test]
async fn a_file_is_fetched_though_the_program_died_after_the_answer() {
    // Until the program has been killed, nobody gets a file.
    let is_open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&is_open);
    let peer = Peer::start(move |_: &Call, _before: usize| match gate.load(Ordering::SeqCst) {
        true => Plan::bytes(200, picture()),
        false => Plan::silence().after(Duration::from_secs(60)),
    })
    .await;
    let data = tempfile::tempdir().expect("a directory");
    let setup = || {
        let setup = Setup::new().setting("COLLOQUY_EGRESS_ALLOW", &peer.host);
        setup.setting("COLLOQUY_DATA_DIR", data.path().to_str().expect("UTF-8"))
    };
    let process = Process::start(setup()).await;
    let hub = Hub::begun(&process.client()).await;
    let token = hub.log_in("root").await;
    let line = hub.line("Line", &format!("{}/platform", peer.url), &json!({})).await;
    let at = format!("{}/picture", peer.url);
    let heard = hub.nobody().send(sent(&line, "ana", "", &[(&at, "cat.png")])).await.expect(200);
    process.kill();
    is_open.store(true, Ordering::SeqCst);

    let process = Process::start(setup()).await;
    let client = process.client().with_token(&token);
    let file = fetched(&client, &line.chat(text(&heard["chat_id"]))).await["attachments"][0].clone();
    assert_eq!((text(&file["state"]), &file["size"]), ("stored", &json!(picture().len())));
    assert!(patiently(&client, Request::get(text(&file["url"]))).await.body == picture());
    process.kill();
}

#[tokio::test]
async fn files_of_ours_go_out_with_their_words() {
    let small = Small::begun(plan).await;
    let heard = small.send("ana", "hi", &[]).await;
    let messages = format!("{}/messages", small.line.chat(text(&heard["chat_id"])));
    let file = json!({"url": small.at("/picture"), "mime_type": "image/png", "name": "cat.png"});
    let said = small.hub.post(&messages, &json!({"content": "look", "attachments": [file]})).await;
    assert_eq!(said["content"], format!("[IMAGE Message] {}\nlook", small.at("/picture")));
    let shown = &said["attachments"][0];
    assert_eq!((&shown["state"], &shown["url"], &shown["name"]), (&json!("linked"), &file["url"], &file["name"]));
    let is_it = |call: &Call| call.path == "/platform" && call.body["data"]["text"] == "look";
    small.peer.until("a message", PATIENCE, |calls| calls.iter().any(is_it)).await;
    let call = small.peer.calls().into_iter().find(is_it).expect("it has come");
    assert_eq!(call.body["data"]["attachments"], json!([file]));
    let wordless = small.hub.post(&messages, &json!({"attachments": [file]})).await;
    assert_eq!(wordless["content"], format!("[IMAGE Message] {}", small.at("/picture")));

    let many = vec![file.clone(); 11];
    for (body, reason) in [
        (json!({"attachments": [{"url": "https://a.example/x"}]}), "each needs url and mime_type, as texts"),
        (json!({"attachments": "x"}), "each needs url and mime_type, as texts"),
        (json!({"attachments": many}), "at most 10 files go with one message"),
        (json!({"content": "x", "attachments": [{"url": "http://10.0.0.1/x", "mime_type": "image/png"}]}), "address not allowed"),
        (json!({"content": "x", "attachments": [file], "meta_data": {"template": {}}}), "a template is sent without files"),
    ] {
        let answer = patiently(&small.hub.admin, Request::post(&messages, &body)).await;
        let detail = answer.expect(422)["detail"].clone();
        assert!(detail.as_array().into_iter().flatten().any(|one| one["ctx"]["error"] == reason), "{body} {detail}");
    }
    assert_eq!(newest(&small.hub.admin, &small.line.chat(text(&heard["chat_id"]))).await["id"], wordless["id"]);
    small.server.stop().await;
}

/// A platform whose signs of typing never end, and an agent that takes its time.
#[tokio::test]
async fn typing_is_shown_while_an_agent_works_and_delays_nothing() {
    let peer = Peer::start(|call: &Call, _before: usize| match call.path.as_str() {
        "/agent" => Plan::ok(&json!({})),
        path if path.ends_with("/getUpdates") => Plan::ok(&json!({"ok": true, "result": []})).after(Duration::from_secs(1)),
        path if path.ends_with("/sendChatAction") => Plan::silence().after(Duration::from_secs(60)),
        _ => Plan::ok(&json!({"ok": true, "result": {"message_id": 1}})),
    })
    .await;
    let server = Setup::new().setting("COLLOQUY_EGRESS_ALLOW", &peer.host).start().await;
    let hub = Hub::begun(&server.client()).await;
    let more = json!({"credentials_to_send_message": {"token": "123:ABC"}, "platform": "TELEGRAM", "inbound_secret": "s-1"});
    let channel = hub.line("Bot", &peer.url, &more).await;
    let agent = json!({
        "name": "Bot", "webhook_url": format!("{}/agent", peer.url), "activate_for_new_conversation": true,
        "buffer_time_seconds": 0,
    });
    let agent = hub.agent(&agent).await;
    let update = json!({"update_id": 1, "message": {
        "message_id": 5, "date": 1, "chat": {"id": 42, "type": "private"}, "from": {"id": 42, "first_name": "Ana"}, "text": "hi",
    }});
    let path = format!("/webhooks/inbound/telegram/{}", channel.id);
    let request = Request::post(&path, &update).header("x-telegram-bot-api-secret-token", "s-1");
    let heard = hub.nobody().send(request).await.expect(200);
    let of = |calls: &[Call], end: &str| calls.iter().filter(|call| call.path.ends_with(end)).cloned().collect::<Vec<_>>();
    // It has accepted, and thinks.
    peer.until("a second sign", PATIENCE, |calls| of(calls, "/sendChatAction").len() >= 2).await;
    let say = Request::post(&format!("{}/messages", channel.chat(text(&heard["chat_id"]))), &json!({"content": "hola"}));
    patiently(&server.client().with_token(&agent.token), say).await.expect(200);
    peer.until("an answer", PATIENCE, |calls| !of(calls, "/sendMessage").is_empty()).await;
    let (signs, answer) = (of(&peer.calls(), "/sendChatAction"), of(&peer.calls(), "/sendMessage")[0].clone());
    assert!(signs[..2].iter().all(|sign| sign.at < answer.at && sign.body == json!({"chat_id": 42, "action": "typing"})));
    assert_eq!(answer.body["text"], "hola");
    assert_eq!(of(&peer.calls(), "/agent").len(), 1, "nothing has failed");
    server.stop().await;
}
