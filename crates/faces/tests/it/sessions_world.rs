//! A whole server without its sockets: requests go straight into the router.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use domain::{ModelName, SystemClock};
use engine::{Catalogue, Engine, HubSettings, Parts, RulesSetup, Settings};
use faces::{App, AuthMode, Boundary, Peer};
use futures_util::StreamExt;
use models::{Script, Scripted};
use serde_json::{Value, json};
use store::{DatabaseUrl, Store};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub const TOKEN: &str = "owner-token";
/// SHA-256 of [`TOKEN`].
const TOKEN_HASH: &str = "c32c7bb97d785c65916c05538cfc0f9d94768cb167eb73615071783ccc4bef77";
/// Nothing in these tests may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct World {
    pub router: Router,
    pub model: Scripted,
    pub drain: CancellationToken,
    pub workdir: TempDir,
}

impl World {
    /// Sign-in is off, so every request is the owner's.
    pub async fn new(script: Value) -> Self {
        Self::with(AuthMode::Off, script).await
    }

    pub async fn with(auth: AuthMode, script: Value) -> Self {
        let boundary = Boundary::new(auth, Some("https://chat.example/prefix"), &["http://localhost:3000".to_owned()]).unwrap();
        boundary.set_listening(&["127.0.0.1:8000".parse().unwrap()]);
        Self::within(boundary, script).await
    }

    pub async fn within(boundary: Boundary, script: Value) -> Self {
        let workdir = tempfile::tempdir().unwrap();
        let model = Scripted::new(Script::from_json(script.as_array().unwrap()).unwrap());
        let default_model = ModelName::new("scripted", "scripted");
        let settings = Settings {
            workdir: workdir.path().canonicalize().unwrap(),
            data_dir: None,
            projects: Vec::new(),
            owner_token_hash: TOKEN_HASH.to_owned(),
            hub: HubSettings::new([0; 32]),
            rules: RulesSetup::sample(workdir.path()),
        };
        let parts = Parts {
            store: Store::open(&DatabaseUrl::SqliteInMemory).unwrap(),
            clock: Arc::new(SystemClock),
            catalogue: Catalogue::new(vec![Arc::new(model.clone())], tools::read_tools(), default_model),
            settings,
        };
        let engine = Engine::start(parts).await.unwrap();
        let drain = CancellationToken::new();
        let web = Router::new().fallback(|| async { "the web app" });
        let app = App {
            engine,
            boundary,
            drain: drain.clone(),
            socket_rate: 50,
            hub: faces::hub::Hub::default(),
            assistant: faces::assistant::Assistant::default(),
            web,
        };
        Self { router: faces::router(app), model, drain, workdir }
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        let mut request = request;
        request.extensions_mut().insert(Peer("127.0.0.1:50000".parse().unwrap()));
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Status and JSON of the answer.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let (status, _, body) = read(self.send(request(method, path, &[], body)).await).await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub async fn new_session(&self) -> String {
        let (status, body) = self.ask(Method::POST, "/api/sessions", None).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["id"].as_str().unwrap().to_owned()
    }

    pub async fn open(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Events {
        let response = self.send(request(method, path, headers, body)).await;
        if response.status() != StatusCode::OK {
            let (status, _, body) = read(response).await;
            panic!("{path}: {status} {}", String::from_utf8_lossy(&body));
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { body: response.into_body().into_data_stream(), text: String::new() }
    }

    pub async fn say(&self, session: &str, content: &str) -> Events {
        self.open(Method::POST, &format!("/api/sessions/{session}/messages"), &[], Some(json!({"content": content}))).await
    }

    pub async fn follow(&self, session: &str, since: &str) -> Events {
        let position = if since.is_empty() { String::new() } else { format!("?since={since}") };
        self.open(Method::GET, &format!("/api/sessions/{session}/events{position}"), &[], None).await
    }
}

pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost:8000");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    match body {
        Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap(),
        None => request.body(Body::empty()).unwrap(),
    }
}

pub async fn read(response: Response<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (parts.status, parts.headers, body.to_vec())
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    pub name: String,
    pub data: Value,
}

pub struct Events {
    body: axum::body::BodyDataStream,
    text: String,
}

impl Events {
    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let Some(data) = field("data: ") {
                    let data = serde_json::from_str(&data).unwrap();
                    return Some(Event { id: field("id: "), name: field("event: ").unwrap(), data });
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("an event in time");
            self.text.push_str(std::str::from_utf8(&chunk?.unwrap()).unwrap());
        }
    }

    /// The next event, which must have this name.
    pub async fn expect(&mut self, name: &str) -> Event {
        let event = self.next().await.unwrap_or_else(|| panic!("{name} expected, but the stream ended"));
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// Everything up to and including the first event of this name.
    pub async fn until(&mut self, name: &str) -> Vec<Event> {
        let mut seen = Vec::new();
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("{name} expected, but the stream ended after {seen:?}"));
            let found = event.name == name;
            seen.push(event);
            if found {
                return seen;
            }
        }
    }

    pub async fn end(&mut self) {
        assert_eq!(self.next().await, None, "the stream goes on");
    }
}

pub fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

/// The joined text of all deltas.
pub fn text(events: &[Event]) -> String {
    events.iter().filter(|event| event.name == "message.delta").filter_map(|event| event.data["text"].as_str()).collect()
}
