//! A server that speaks Anthropic's Messages API from a script, and looks closely at what it is asked.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::harness_etiquette::complaints_about;

/// The key that the server under test is given, unless a test brings its own.
const KEY: &str = "sk-ant-of-the-golden-transcripts";
/// Long texts and inputs are cut into pieces of this size, between characters.
const INPUT_PIECE_CHARACTERS: usize = 7;

/// Runs until it is dropped.
#[derive(Debug)]
pub struct Upstream {
    /// For `ANTHROPIC_BASE_URL`.
    pub url: String,
    pub key: String,
    state: Arc<State>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct State {
    key: String,
    steps: Mutex<VecDeque<Value>>,
    /// The bodies, in order.
    requests: Mutex<Vec<Value>>,
    complaints: Mutex<Vec<String>>,
    released: watch::Sender<HashSet<String>>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `POST /v1/messages`
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Upstream {
    pub async fn start(script: &[Value]) -> Self {
        Self::start_with_key(script, KEY).await
    }

    pub async fn start_with_key(script: &[Value], key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State {
            key: key.to_owned(),
            steps: Mutex::new(script.iter().cloned().collect()),
            requests: Mutex::default(),
            complaints: Mutex::default(),
            released: watch::Sender::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state))).abort_handle();
        Self { url, key: key.to_owned(), state, accepting }
    }

    /// Lets everything go on that waits at this pause, now or later.
    pub fn release(&self, pause: &str) {
        self.state.released.send_modify(|released| {
            released.insert(pause.to_owned());
        });
    }

    /// The bodies of all requests so far.
    pub fn requests(&self) -> Vec<Value> {
        lock(&self.state.requests).clone()
    }

    /// What was wrong with them.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.state.complaints).clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let state = Arc::clone(&state);
        // A client that leaves in mid-answer is none of our business.
        tokio::spawn(async move { answer(stream, &state).await.ok() });
    }
}

async fn answer(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    let Some(asked) = read(&mut stream).await? else { return Ok(()) };
    if asked.line == "GET /v1/models?limit=1000" {
        return refuse_or_give(&mut stream, 200, &json!({"data": [{"type": "model", "id": "scripted"}]})).await;
    }
    let complaints = complaints_about(&asked, &state.key);
    let forces_a_tool = asked.body["tool_choice"]["type"] == "tool";
    lock(&state.requests).push(asked.body);
    if let Some(complaint) = complaints.first().cloned() {
        lock(&state.complaints).extend(complaints);
        return refuse_or_give(&mut stream, 400, &error_body(400, &complaint)).await;
    }
    let steps = next_request(&mut lock(&state.steps), forces_a_tool);
    match steps.first() {
        None => {
            lock(&state.complaints).push("the script has no step left".to_owned());
            refuse_or_give(&mut stream, 400, &error_body(400, "no step left")).await
        }
        Some(step) if step["error"]["after"].is_null() && step["error"].is_object() => {
            let status = status_of(&step["error"]);
            let message = step["error"]["message"].as_str().unwrap_or_default();
            refuse_or_give(&mut stream, status, &error_body(status, message)).await
        }
        Some(_) => Answer::begin(stream).await?.say(&steps, state).await,
    }
}

/// Takes the steps of one request off: a text, then all tools that follow directly, or one if one is forced; or an error.
fn next_request(steps: &mut VecDeque<Value>, forces_a_tool: bool) -> Vec<Value> {
    let mut taken: Vec<Value> = steps.pop_front().into_iter().collect();
    let is_error = taken.first().is_some_and(|step| step["error"].is_object());
    let has_enough = |taken: &[Value]| forces_a_tool && taken.iter().any(|step| step["tool"].is_object());
    while !is_error && !has_enough(&taken) && steps.front().is_some_and(|step| step["tool"].is_object()) {
        taken.extend(steps.pop_front());
    }
    taken
}

/// An answer that streams.
struct Answer {
    stream: TcpStream,
    blocks: usize,
}

impl Answer {
    async fn begin(mut stream: TcpStream) -> std::io::Result<Self> {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\
                    connection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Self { stream, blocks: 0 };
        let usage =
            json!({"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0});
        let message = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "scripted", "content": [], "stop_reason": null,
            "stop_sequence": null, "usage": usage,
        });
        answer.event(&json!({"type": "message_start", "message": message})).await?;
        answer.event(&json!({"type": "ping"})).await?;
        Ok(answer)
    }

    async fn say(mut self, steps: &[Value], state: &State) -> std::io::Result<()> {
        let mut stop = "end_turn";
        for step in steps {
            if let Some(pieces) = step["text"].as_array() {
                self.text(pieces, state).await?;
                self.close_block().await?;
            } else if step["tool"].is_object() {
                stop = "tool_use";
                self.tool(&step["tool"]).await?;
            } else if step["error"].is_object() {
                let pieces = step["error"]["after"].as_array().cloned().unwrap_or_default();
                self.text(&pieces, state).await?;
                let message = step["error"]["message"].as_str().unwrap_or_default();
                self.event(&error_body(status_of(&step["error"]), message)).await?;
                return self.end().await;
            } else {
                lock(&state.complaints).push(format!("a step that nobody knows: {step}"));
            }
        }
        let delta = json!({"stop_reason": stop, "stop_sequence": null});
        self.event(&json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}})).await?;
        self.event(&json!({"type": "message_stop"})).await?;
        self.end().await
    }

    async fn text(&mut self, pieces: &[Value], state: &State) -> std::io::Result<()> {
        self.open_block(json!({"type": "text", "text": ""})).await?;
        for piece in pieces {
            match piece.as_str() {
                Some(text) => self.delta(json!({"type": "text_delta", "text": text})).await?,
                None => wait_for(state, piece["pause"].as_str().expect("a piece is a text or a pause")).await,
            }
        }
        Ok(())
    }

    async fn tool(&mut self, tool: &Value) -> std::io::Result<()> {
        self.open_block(json!({"type": "tool_use", "id": tool["id"], "name": tool["name"], "input": {}})).await?;
        let input: Vec<char> = tool["input"].to_string().chars().collect();
        self.delta(json!({"type": "input_json_delta", "partial_json": ""})).await?;
        for piece in input.chunks(INPUT_PIECE_CHARACTERS) {
            self.delta(json!({"type": "input_json_delta", "partial_json": piece.iter().collect::<String>()})).await?;
        }
        self.close_block().await
    }

    async fn open_block(&mut self, block: Value) -> std::io::Result<()> {
        self.event(&json!({"type": "content_block_start", "index": self.blocks, "content_block": block})).await
    }

    async fn delta(&mut self, delta: Value) -> std::io::Result<()> {
        self.event(&json!({"type": "content_block_delta", "index": self.blocks, "delta": delta})).await
    }

    async fn close_block(&mut self) -> std::io::Result<()> {
        self.event(&json!({"type": "content_block_stop", "index": self.blocks})).await?;
        self.blocks += 1;
        Ok(())
    }

    async fn event(&mut self, data: &Value) -> std::io::Result<()> {
        let event = format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default());
        self.stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await
    }

    async fn end(mut self) -> std::io::Result<()> {
        self.stream.write_all(b"0\r\n\r\n").await?;
        self.stream.shutdown().await
    }
}

async fn wait_for(state: &State, pause: &str) {
    let mut released = state.released.subscribe();
    // The sender lives as long as the state.
    let _ = released.wait_for(|released| released.contains(pause)).await;
}

/// `None`: the client has left.
async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Asked { line, headers, body: serde_json::from_slice(&body).unwrap_or_default() }))
}

async fn refuse_or_give(stream: &mut TcpStream, status: u16, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}

fn status_of(error: &Value) -> u16 {
    error["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status")
}

/// The body of a refused request, and the data of an `error` event as well.
fn error_body(status: u16, message: &str) -> Value {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Upstream;
    use crate::harness_http::{Client, Request};

    #[tokio::test]
    async fn a_request_without_manners_is_refused_and_remembered() {
        let upstream = Upstream::start(&[json!({"text": ["never said"]})]).await;
        let client = Client::new(upstream.url.trim_start_matches("http://").parse().expect("an address"));
        let answer =
            client.send(Request::post("/v1/messages", &json!({"messages": []})).header("x-api-key", &upstream.key)).await;
        assert_eq!((answer.status(), answer.json()["error"]["type"].clone()), (400, json!("invalid_request_error")));
        assert!(upstream.complaints().iter().any(|complaint| complaint == "no messages"), "{:?}", upstream.complaints());
        assert_eq!(upstream.requests().len(), 1);
    }
}
