//! The doubles of the hub's stories: an agent's webhook, and a platform's API. They answer what the story says, in order, and
//! remember what they were sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Agent,
    Platform,
}

/// One request that a double got.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Map<String, Value>,
    /// JSON as it is, a form as an object.
    pub body: Value,
    pub raw: Vec<u8>,
}

#[derive(Debug)]
pub struct Double {
    pub url: String,
    /// `127.0.0.1:PORT`
    pub host: String,
    received: UnboundedReceiver<Received>,
    /// Taken early by a line that waited for something else.
    ahead: VecDeque<Received>,
    serving: JoinHandle<()>,
}

impl Double {
    pub async fn start(kind: Kind, answers: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let (tell, received) = unbounded_channel();
        let script = Arc::new(Mutex::new(Script { answers: answers.iter().cloned().collect(), given: 0 }));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, kind, Arc::clone(&script), tell.clone()));
            }
        });
        Self { url: format!("http://{host}"), host, received, ahead: VecDeque::new(), serving }
    }

    /// The next request, within so long.
    pub async fn next(&mut self, patience: Duration) -> Option<Received> {
        if let Some(ahead) = self.ahead.pop_front() {
            return Some(ahead);
        }
        tokio::time::timeout(patience, self.received.recv()).await.ok().flatten()
    }

    /// Looks at the next request without taking it.
    pub async fn peek(&mut self, patience: Duration) -> Option<Received> {
        let next = self.next(patience).await?;
        self.ahead.push_front(next.clone());
        Some(next)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Debug)]
struct Script {
    answers: VecDeque<Value>,
    given: u32,
}

impl Script {
    /// The story's next answer; when there is none left, a platform takes everything and an agent says nothing.
    fn next(&mut self, kind: Kind) -> Value {
        self.given += 1;
        self.answers.pop_front().unwrap_or_else(|| match kind {
            Kind::Agent => json!({"status": 200, "body": {}}),
            Kind::Platform => json!({"status": 201, "body": {"sid": format!("SM{:032}", self.given), "status": "queued"}}),
        })
    }
}

async fn serve(mut stream: TcpStream, kind: Kind, script: Arc<Mutex<Script>>, tell: UnboundedSender<Received>) {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await {
        let answer = match answered_by_itself(kind, &request) {
            Some(answer) => answer,
            None => {
                let answer = script.lock().expect("no panic").next(kind);
                if tell.send(request).is_err() {
                    return;
                }
                answer
            }
        };
        tokio::time::sleep(Duration::from_millis(answer["delay_ms"].as_u64().unwrap_or(0))).await;
        let body = answer["body"].to_string();
        let head = format!(
            "HTTP/1.1 {} OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer["status"],
            body.len()
        );
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Telegram's methods but `sendMessage`, and everything that is fetched.
fn answered_by_itself(kind: Kind, request: &Received) -> Option<Value> {
    if kind == Kind::Agent {
        return None;
    }
    let method = request.path.rsplit('/').next().unwrap_or_default();
    let is_telegram = request.path.starts_with("/bot");
    match method {
        "sendMessage" if is_telegram => None,
        "getUpdates" if is_telegram => Some(json!({"status": 200, "body": {"ok": true, "result": []}, "delay_ms": 1000})),
        _ if is_telegram => Some(json!({"status": 200, "body": {"ok": true, "result": true}})),
        _ if request.method == "GET" => Some(json!({"status": 200, "body": {}})),
        _ => None,
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut request_line = lines.next()?.split(' ');
    let (method, path) = (request_line.next()?.to_owned(), request_line.next()?.to_owned());
    let headers: Map<String, Value> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), Value::from(value.trim())))
        .collect();
    let length: usize = headers.get("content-length").and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or(0);
    while buffer.len() < head_end + 4 + length {
        more(stream, buffer).await?;
    }
    let raw = buffer[head_end + 4..head_end + 4 + length].to_vec();
    buffer.drain(..head_end + 4 + length);
    let is_form = headers.get("content-type").and_then(Value::as_str).is_some_and(|kind| kind.contains("form-urlencoded"));
    let body = if is_form { form(&raw) } else { serde_json::from_slice(&raw).unwrap_or(Value::Null) };
    Some(Received { method, path, headers, body, raw })
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 4096];
    let read = stream.read(&mut piece).await.ok()?;
    buffer.extend_from_slice(&piece[..read]);
    (read > 0).then_some(())
}

fn form(raw: &[u8]) -> Value {
    let text = String::from_utf8_lossy(raw).into_owned();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    Value::Object(pairs.map(|(name, value)| (decoded(name), Value::from(decoded(value)))).collect())
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: String = [rest.next(), rest.next()].into_iter().flatten().map(char::from).collect();
                bytes.push(u8::from_str_radix(&digits, 16).expect("two hex digits"));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// `application/x-www-form-urlencoded`, blanks kept, in the order of the story.
pub fn encoded(fields: &Value) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b' ' => "+".to_owned(),
                byte if plain(byte) => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect()
    };
    let pairs = fields.as_object().into_iter().flatten();
    let pairs = pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value.as_str().expect("a text"))));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{encoded, form};

    #[test]
    fn a_form_comes_back_as_it_was_sent() {
        let fields = json!({"Body": "¿abren hoy? 👋 a+b=c&d", "From": "whatsapp:+521", "Empty": ""});
        assert_eq!(form(encoded(&fields).as_bytes()), fields);
    }
}
