//! Whoever the hub calls: an agent's service, or a platform. It answers as a test plans, and remembers what came and in which
//! order, on one count with whatever else the test notes.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The order of things in a test, whoever notes them.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The next number.
pub fn now() -> usize {
    NEXT.fetch_add(1, Ordering::SeqCst)
}

/// A request that came whole.
#[derive(Debug, Clone)]
pub struct Call {
    /// When, in the order of things.
    pub at: usize,
    pub path: String,
    /// The `webhook-id`.
    pub id: String,
    pub attempt: usize,
    pub body: Value,
    pub raw: Vec<u8>,
    /// When the answer had been written, in the order of things; `None` if the caller was gone.
    pub answered: Option<usize>,
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub struct Plan {
    pub wait: Duration,
    /// Status and body; `None`: the connection is closed without a word.
    pub answer: Option<(u16, Vec<u8>)>,
}

impl Plan {
    pub fn ok(body: &Value) -> Self {
        Self::status(200, body)
    }

    pub fn status(status: u16, body: &Value) -> Self {
        Self::bytes(status, body.to_string())
    }

    pub fn bytes(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { wait: Duration::ZERO, answer: Some((status, body.into())) }
    }

    pub const fn silence() -> Self {
        Self { wait: Duration::ZERO, answer: None }
    }

    pub const fn after(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

type Answerer = dyn Fn(&Call, usize) -> Plan + Send + Sync;

struct Shared {
    calls: Mutex<Vec<Call>>,
    plan: Box<Answerer>,
}

pub struct Peer {
    pub url: String,
    pub host: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Peer {
    /// `plan` is told the request, and how many of the same `webhook-id` came before.
    pub async fn start(plan: impl Fn(&Call, usize) -> Plan + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let shared = Arc::new(Shared { calls: Mutex::default(), plan: Box::new(plan) });
        let serve = Arc::clone(&shared);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&serve)));
            }
        });
        Self { url: format!("http://{host}"), host, shared, serving }
    }

    /// Everything that has come so far, in its order.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().clone()
    }

    /// Waits until this is true of what has come.
    pub async fn until(&self, what: &str, patience: Duration, is_true: impl Fn(&[Call]) -> bool) {
        let deadline = Instant::now() + patience;
        while !is_true(&self.shared.lock()) {
            assert!(Instant::now() < deadline, "{what} does not happen within {patience:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = Vec::new();
    while let Some(call) = read(&mut stream, &mut buffer).await {
        let (index, before) = {
            let mut calls = shared.lock();
            let before = calls.iter().filter(|known| known.id == call.id && !call.id.is_empty()).count();
            // The number is taken under the lock, so that the list is in order.
            calls.push(Call { at: now(), ..call.clone() });
            (calls.len() - 1, before)
        };
        let plan = (shared.plan)(&call, before);
        tokio::time::sleep(plan.wait).await;
        let Some((status, body)) = plan.answer else { return };
        let head = format!("HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
            return;
        }
        shared.lock()[index].answered = Some(now());
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Call> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let header = |wanted: &str| {
        let pairs = head.split("\r\n").filter_map(|line| line.split_once(':'));
        pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_owned())
    };
    let path = head.split(' ').nth(1)?.to_owned();
    let length: usize = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while buffer.len() < head_end + 4 + length {
        more(stream, buffer).await?;
    }
    let raw = buffer[head_end + 4..head_end + 4 + length].to_vec();
    buffer.drain(..head_end + 4 + length);
    Some(Call {
        at: 0,
        path,
        id: header("webhook-id").unwrap_or_default(),
        attempt: header("colloquy-attempt").and_then(|text| text.parse().ok()).unwrap_or(0),
        body: serde_json::from_slice(&raw).unwrap_or_default(),
        raw,
        answered: None,
    })
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 16 * 1024];
    let read = stream.read(&mut piece).await.ok()?;
    buffer.extend_from_slice(&piece[..read]);
    (read > 0).then_some(())
}
