//! P4: a message that is sent under one name is one message and one turn, however often it is sent, over whatever wire, and
//! whatever breaks meanwhile.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::campaign_kill::settle;
use crate::campaign_support::{Api, Broken, Machine, PATIENCE, dashed, hex, luck, sized};
use crate::checker::{Evidence, check};
use crate::harness_http::Request;
use crate::harness_luck::Luck;
use crate::ledger::{Events, Fate, Ledger, PLAIN, open_socket};
use crate::proxy::{End, Fault, Proxy};
use crate::upstream::{Tale, Upstream};

/// Clients that send the same at the same time.
const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_name_is_one_message() {
    let trials = sized(30, 1000);
    let mut luck = luck("submit");
    let upstream = Upstream::start().await;
    let mut machine = Machine::started(&upstream).await;
    let mut planner = luck.clone();
    let proxy = Proxy::start(machine.address, move || fault(&mut planner)).await;
    let (api, mut kills, mut tries, mut broken) = (machine.api(), 0, 0, 0);
    let bad = Api { via: proxy.address, ..api };
    for trial in 0..trials {
        let conversation = api.conversation().await;
        let ledger = Ledger::default();
        let tale = Tale { id: trial as u64, rounds: luck.below(2), pieces: 5, ..Tale::default() };
        let (text, name) = (tale.message(), format!("name {trial}"));
        let invoked = ledger.now();
        let sending: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let wire = Wire::of(client + trial);
                let (conversation, text, name) = (conversation.clone(), text.clone(), name.clone());
                // Each tries over the bad line first, and then until it has an answer.
                tokio::spawn(async move {
                    let mut tries = 1;
                    let mut answer = wire.send(bad, &conversation, &text, &name).await;
                    while answer.is_err() && tries < 200 {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        tries += 1;
                        answer = wire.send(if tries < 4 { bad } else { api }, &conversation, &text, &name).await;
                    }
                    (answer, tries)
                })
            })
            .collect();
        let mut died = 0;
        if luck.one_in(4) {
            tokio::time::sleep(Duration::from_millis(luck.below(25) as u64)).await;
            machine.kill().await;
            machine.start().await;
            died = 1;
        }
        let mut ids = Vec::new();
        for sending in sending {
            let (answer, tried) = sending.await.expect("no panic");
            ids.push(answer.expect("an answer in the end"));
            tries += tried;
            broken += tried - 1;
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 1, "trial {trial}: one message has several ids");
        // Another message under the same name is refused, over each wire.
        for client in 0..3 {
            let refused = Wire::of(client).send(api, &conversation, "something else", &name).await;
            assert_eq!(refused, Ok("conflict".to_owned()), "trial {trial}: {:?}", Wire::of(client));
        }
        ledger.note(&conversation, &text, PLAIN, invoked, Fate::Acknowledged(ids.remove(0)));
        assert_eq!(settle(api, &conversation).await.len(), 1, "trial {trial}: one message has several turns");
        let asked = upstream.asked(tale.id, 0);
        assert!((1..=1 + died).contains(&asked), "trial {trial}: the model was asked {asked} times");
        kills += died;
        check(&Evidence::gather(api, &conversation, ledger.of(&conversation), Vec::new(), true).await);
    }
    assert_eq!(upstream.complaints(), Vec::<String>::new());
    println!("{trials} messages, sent {tries} times by {CLIENTS} clients each; {broken} tries broke, {kills} kills");
    machine.end().await;
}

/// The same for what is made: one key is one conversation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_is_one_conversation() {
    let trials = sized(10, 200);
    let mut luck = luck("create");
    let upstream = Upstream::start().await;
    let mut machine = Machine::started(&upstream).await;
    let mut planner = luck.clone();
    let proxy = Proxy::start(machine.address, move || fault(&mut planner)).await;
    let api = machine.api();
    let bad = Api { via: proxy.address, ..api };
    let mut made = Vec::new();
    for trial in 0..trials {
        let creating: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let target = if trial % 2 == 0 { "/api/chats" } else { "/api/sessions" };
                let request =
                    Request::post(target, &json!({"title": "made once"})).header("Idempotency-Key", &format!("key {trial}"));
                tokio::spawn(async move {
                    let mut answer = bad.send(request.clone()).await;
                    for _ in 0..200 {
                        if answer.is_ok() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(5 + client as u64)).await;
                        answer = api.send(request.clone()).await;
                    }
                    let (status, body) = answer.expect("an answer in the end");
                    assert!(matches!(status, 200 | 201), "{status} {body}");
                    hex(&body["id"])
                })
            })
            .collect();
        if luck.one_in(3) {
            tokio::time::sleep(Duration::from_millis(luck.below(15) as u64)).await;
            machine.kill().await;
            machine.start().await;
        }
        let mut ids = Vec::new();
        for creating in creating {
            ids.push(creating.await.expect("no panic"));
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 1, "trial {trial}");
        made.append(&mut ids);
    }
    made.sort();
    let mut all: Vec<String> =
        api.get("/api/chats").await.as_array().into_iter().flatten().map(|chat| hex(&chat["id"])).collect();
    all.sort();
    assert_eq!(all, made);
    machine.end().await;
}

/// Mostly the line breaks when the request is served and before the answer is back; sometimes in the request, or never.
fn fault(luck: &mut Luck) -> Fault {
    let end = if luck.one_in(2) { End::Fin } else { End::Rst };
    match luck.below(4) {
        0 => Fault::None,
        1 => Fault::CutRequest { after: luck.below(400), end },
        2 => Fault::Cut { after: luck.below(300), end },
        _ => Fault::Cut { after: 0, end },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Chats,
    Sessions,
    Socket,
}

impl Wire {
    fn of(number: usize) -> Self {
        [Self::Chats, Self::Sessions, Self::Socket][number % 3]
    }

    /// Sends the message; gives its id, or `conflict`.
    async fn send(self, api: Api, conversation: &str, text: &str, name: &str) -> Result<String, Broken> {
        let sending = async {
            match self {
                Self::Chats => by_chats(api, conversation, text, name).await,
                Self::Sessions => by_sessions(api, conversation, text, name).await,
                Self::Socket => by_socket(api, conversation, text, name).await,
            }
        };
        timeout(PATIENCE, sending).await.unwrap_or(Err(Broken))
    }
}

async fn by_chats(api: Api, conversation: &str, text: &str, name: &str) -> Result<String, Broken> {
    let target = format!("/api/chats/{conversation}/messages");
    let request = Request::post(&target, &json!({"content": text})).header("Idempotency-Key", name);
    match api.send(request).await? {
        (202, answer) => Ok(hex(&answer["message"]["id"])),
        (422, answer) => Ok(answer["code"].as_str().unwrap_or_default().to_owned()),
        (status, answer) => panic!("{status} {answer}"),
    }
}

/// The answer is a stream that names the message at its beginning.
async fn by_sessions(api: Api, conversation: &str, text: &str, name: &str) -> Result<String, Broken> {
    let target = format!("/api/sessions/{}/messages", dashed(conversation));
    let request = Request::post(&target, &json!({"content": text, "clientId": name}));
    let mut events = match Events::send(api, request).await? {
        Ok(events) => events,
        Err((422, answer)) => return Ok(answer["code"].as_str().unwrap_or_default().to_owned()),
        Err((status, answer)) => panic!("{status} {answer}"),
    };
    loop {
        let event = events.next().await.ok_or(Broken)?;
        if event.data["userMessageId"].is_string() {
            return Ok(hex(&event.data["userMessageId"]));
        }
    }
}

async fn by_socket(api: Api, conversation: &str, text: &str, name: &str) -> Result<String, Broken> {
    let mut socket = open_socket(api).await?;
    let frame = json!({"type": "chat", "chatId": conversation, "content": text, "clientId": name});
    socket.send(Message::text(frame.to_string())).await.map_err(|_| Broken)?;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let frame: Value = serde_json::from_str(&text).map_err(|_| Broken)?;
        match frame["type"].as_str() {
            Some("accepted") => return Ok(hex(&frame["messageId"])),
            Some("error") if frame["clientId"] == name => return Ok(frame["code"].as_str().unwrap_or_default().to_owned()),
            _ => {}
        }
    }
    Err(Broken)
}
