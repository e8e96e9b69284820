//! The few requests of the product's REST interface that a run needs beside what it measures.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::Result;
use crate::client::Turn;
use crate::plan::Plan;

/// A server, as a client sees it.
#[derive(Debug, Clone)]
pub struct Api {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Api {
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { address, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    pub async fn get(&self, path: &str) -> Result<Bytes> {
        self.request(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(serde_json::from_slice(&self.request(Method::POST, path, Some(body)).await?)?)
    }

    /// A new session's id.
    pub async fn session(&self) -> Result<String> {
        id_of(&self.post("/api/sessions", &json!({})).await?)
    }

    pub async fn sessions(&self, count: usize) -> Result<Vec<String>> {
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            ids.push(self.session().await?);
        }
        Ok(ids)
    }

    /// Sends a message without waiting for its answer.
    pub async fn say(&self, session: &str, plan: Plan) -> Result<()> {
        let chat = session.replace('-', "");
        self.post(&format!("/api/chats/{chat}/messages"), &json!({"content": plan.message()})).await.map(drop)
    }

    /// A session with so many messages, half of them answers; their words are as short as the limit on imports wants it.
    pub async fn import(&self, messages: usize) -> Result<String> {
        let message = |index: usize| {
            let (role, text) = if index.is_multiple_of(2) { ("user", "And then?") } else { ("assistant", "Then it went on.") };
            json!({"role": role, "parts": [{"type": "text", "content": {"text": text}}]})
        };
        let messages: Vec<Value> = (0..messages).map(message).collect();
        let file = json!({"version": 1, "session": {"title": "Long"}, "messages": messages});
        id_of(&self.post("/api/sessions/import", &file).await?)
    }

    async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Bytes> {
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(bytes))?;
        let response = self.client.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(format!("{path} was answered with {status}: {}", String::from_utf8_lossy(&body)).into())
    }
}

/// The turn that this message begins in the session, over server-sent events.
#[must_use]
pub fn turn(session: &str, plan: Plan) -> Turn {
    let body = json!({"content": plan.message()}).to_string();
    Turn::Sse { path: format!("/api/sessions/{session}/messages"), body }
}

/// The same over a WebSocket.
#[must_use]
pub fn socket_turn(session: &str) -> Turn {
    Turn::Socket { chat: session.replace('-', "") }
}

/// The request that goes to the provider itself, through the floor or directly.
#[must_use]
pub fn provider_turn(plan: Plan) -> Turn {
    let body = json!({
        "model": "bench",
        "max_tokens": 8192,
        "stream": true,
        "messages": [{"role": "user", "content": [{"type": "text", "text": plan.message()}]}],
    });
    Turn::Sse { path: "/v1/messages".to_owned(), body: body.to_string() }
}

fn id_of(session: &Value) -> Result<String> {
    Ok(session["id"].as_str().ok_or("a session has no id")?.to_owned())
}
