//! A hub to try things on: an ADMIN, users, agents, channels whose platform is a double of ours, and contacts that write.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::golden::signing::standard_webhook;
use crate::harness::{Setup, TestServer};
use crate::harness_http::{Answer, Client, Request};
use crate::hub_peer::{Call, Peer, Plan};

pub const PASSWORD: &str = "correct horse battery";

/// A fresh hub, as its first ADMIN.
#[derive(Debug, Clone)]
pub struct Hub {
    pub admin: Client,
}

/// An account or an agent, and its token.
#[derive(Debug, Clone)]
pub struct Somebody {
    pub id: String,
    pub token: String,
}

/// A channel of platform WEBHOOK, and the secret that both sides sign with.
#[derive(Debug, Clone)]
pub struct Line {
    pub id: String,
    secret: String,
}

/// What a contact's message became.
#[derive(Debug, Clone)]
pub struct Heard {
    pub chat: String,
    pub message: String,
}

/// A hub with one channel, and whoever answers for the platform and for agents.
pub struct Small {
    pub server: TestServer,
    pub hub: Hub,
    pub line: Line,
    pub peer: Peer,
}

impl Small {
    /// `plan` is what platform and agents do.
    pub async fn begun(plan: impl Fn(&Call, usize) -> Plan + Send + Sync + 'static) -> Self {
        let peer = Peer::start(plan).await;
        let server = Setup::new().setting("COLLOQUY_EGRESS_ALLOW", &peer.host).start().await;
        let hub = Hub::begun(&server.client()).await;
        let line = hub.line("Line", &format!("{}/platform", peer.url), &json!({})).await;
        Self { server, hub, line, peer }
    }
}

impl Hub {
    /// Signs up as whoever `client` is: the owner, or anybody on this machine while sign-in is off.
    pub async fn begun(client: &Client) -> Self {
        let body = json!({"username": "root", "password": PASSWORD, "email": "root@example.org"});
        let session = client.send(Request::post("/auth/signup", &body)).await.expect(200);
        Self { admin: Client::new(client.address).with_token(text(&session["access_token"])) }
    }

    pub fn address(&self) -> SocketAddr {
        self.admin.address
    }

    pub fn nobody(&self) -> Client {
        Client::new(self.address())
    }

    /// Something that an ADMIN may do, and that works.
    pub async fn get(&self, target: &str) -> Value {
        self.does(Request::get(target)).await
    }

    pub async fn post(&self, target: &str, body: &Value) -> Value {
        self.does(Request::post(target, body)).await
    }

    pub async fn put(&self, target: &str, body: &Value) -> Value {
        self.does(Request::new("PUT", target).json(body)).await
    }

    pub async fn does(&self, request: Request) -> Value {
        let name = format!("{} {}", request.method, request.target);
        let answer = patiently(&self.admin, request).await;
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        answer.json()
    }

    pub async fn user(&self, name: &str, role: &str) -> Somebody {
        let made = self.post("/auth/users", &json!({"username": name, "password": PASSWORD, "role": role})).await;
        Somebody { id: text(&made["id"]).to_owned(), token: self.log_in(name).await }
    }

    pub async fn log_in(&self, name: &str) -> String {
        let body = json!({"username": name, "password": PASSWORD});
        let session = self.nobody().send(Request::post("/auth/token", &body)).await.expect(200);
        text(&session["access_token"]).to_owned()
    }

    /// The token is empty for an agent of ours.
    pub async fn agent(&self, body: &Value) -> Somebody {
        let made = self.post("/auth/agents", body).await;
        Somebody { id: text(&made["id"]).to_owned(), token: made["access_token"].as_str().unwrap_or_default().to_owned() }
    }

    /// A channel that sends to `platform_url`.
    pub async fn line(&self, name: &str, platform_url: &str, more: &Value) -> Line {
        let mut body = json!({"name": name, "platform": "WEBHOOK", "api_to_send_message": platform_url});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let id = text(&self.post("/channels", &body).await["id"]).to_owned();
        let secret = text(&self.get(&format!("/channels/{id}/credentials")).await["inbound_secret"]).to_owned();
        Line { id, secret }
    }

    /// A contact writes, under a fresh id.
    pub async fn hear(&self, line: &Line, contact: &Value, words: &str) -> Heard {
        let answer = self.nobody().send(line.message(contact, &fresh("msg"), words)).await;
        let body = answer.expect(200);
        Heard { chat: text(&body["chat_id"]).to_owned(), message: text(&body["message_id"]).to_owned() }
    }
}

impl Line {
    pub fn path(&self) -> String {
        format!("/webhooks/inbound/webhook/{}", self.id)
    }

    pub fn chat(&self, chat: &str) -> String {
        format!("/channels/{}/chats/{chat}", self.id)
    }

    /// What the platform sends when a contact writes.
    pub fn message(&self, contact: &Value, id: &str, words: &str) -> Request {
        self.signed(id, &json!({"type": "message", "contact": contact, "message": {"id": id, "text": words}}))
    }

    pub fn signed(&self, id: &str, body: &Value) -> Request {
        let seconds = (SystemClock.now().0 / 1000).to_string();
        let signature = standard_webhook(&self.secret, id, &seconds, body.to_string().as_bytes());
        Request::post(&self.path(), body)
            .header("webhook-id", id)
            .header("webhook-timestamp", &seconds)
            .header("webhook-signature", &signature)
    }
}

/// A contact of this id.
pub fn contact(id: &str) -> Value {
    json!({"id": id, "name": format!("Person {id}")})
}

/// A name that nothing else has.
pub fn fresh(what: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Sends the request as often as the hub says that it was asked too often.
pub async fn patiently(client: &Client, request: Request) -> Answer {
    loop {
        let answer = client.send(request.clone()).await;
        if answer.status() != 429 {
            return answer;
        }
        assert!(answer.header("retry-after").is_some(), "429 says when to come back");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[track_caller]
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text was expected, not {value}"))
}
