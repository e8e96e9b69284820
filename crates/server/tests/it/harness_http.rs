//! HTTP/1.1 byte for byte: a client that sends what it is told, also what no library would send.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Nothing that works takes longer, not even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A head that is longer than this is none of ours.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A request, as it will be written.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query, unchanged.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn delete(target: &str) -> Self {
        Self::new("DELETE", target)
    }

    pub fn post(target: &str, body: &Value) -> Self {
        Self::new("POST", target).json(body)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.bytes("application/json", body.to_string().as_bytes())
    }

    pub fn bytes(self, content_type: &str, body: &[u8]) -> Self {
        let mut request = self.header("Content-Type", content_type);
        request.body = Some(body.to_vec());
        request
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    pub fn encode(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.has("host") {
            head += &format!("Host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let framed = self.has("content-length") || self.has("transfer-encoding");
        if let Some(body) = self.body.as_ref().filter(|_| !framed) {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend(self.body.iter().flatten());
        bytes
    }
}

/// Status and headers of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn is_event_stream(&self) -> bool {
        self.header("content-type").is_some_and(|value| value.starts_with("text/event-stream"))
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Null if the body is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status(), status, "{}", self.text());
        self.json()
    }
}

/// Where to send requests, and with which headers.
#[derive(Debug, Clone)]
pub struct Client {
    pub address: SocketAddr,
    /// The address of this machine that connections come from.
    pub source: Option<IpAddr>,
    /// Goes with every request that has no header of this name.
    pub headers: Vec<(String, String)>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, source: None, headers: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn with_token(self, token: &str) -> Self {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(self.address, self.source).await
    }

    /// The request with the headers that go with every one.
    pub fn complete(&self, mut request: Request) -> Request {
        for (name, value) in &self.headers {
            if !request.has(name) {
                request = request.header(name, value);
            }
        }
        request
    }

    /// Sends the request on a connection of its own and reads the head of the answer.
    pub async fn open(&self, request: Request) -> (Head, Body) {
        let request = self.complete(request);
        let mut connection = self.connect().await;
        connection.write(&request.encode(&self.host())).await;
        let head = connection.head().await.unwrap_or_else(|| panic!("{} {}: no answer", request.method, request.target));
        let body = connection.body(&head, &request.method);
        (head, body)
    }

    pub async fn send(&self, request: Request) -> Answer {
        let name = format!("{} {}", request.method, request.target);
        let exchange = async {
            let (head, mut body) = self.open(request).await;
            let bytes = body.rest().await;
            assert!(body.is_whole(), "{name}: the answer breaks off");
            Answer { head, body: bytes }
        };
        timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("{name}: no whole answer within {PATIENCE:?}"))
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Came, and is not read yet.
    ahead: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr, source: Option<IpAddr>) -> Self {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.expect("a socket");
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0)).expect("an address of this machine");
        }
        let stream = timeout(PATIENCE, socket.connect(address)).await.expect("connecting takes no time").expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, ahead: Vec::new() }
    }

    /// A peer that has closed meanwhile is noticed when reading.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server reads");
    }

    /// `None` if the peer has closed.
    pub async fn head(&mut self) -> Option<Head> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                let head: Vec<u8> = self.ahead.drain(..end + 4).collect();
                return Some(parse_head(&head));
            }
            assert!(self.ahead.len() < MAX_HEAD_BYTES, "a head without an end");
            if !self.more().await {
                return None;
            }
        }
    }

    pub fn body(self, head: &Head, method: &str) -> Body {
        let length = head.header("content-length").map(|length| length.parse().expect("a length"));
        let left = match head.status {
            _ if method == "HEAD" => Left::Bytes(0),
            100..200 | 204 | 304 => Left::Bytes(0),
            _ if head.is_chunked() => Left::Chunks,
            _ => length.map_or(Left::Everything, Left::Bytes),
        };
        Body { connection: self, left }
    }

    /// Exactly so many bytes; `None` if the peer closes before.
    pub async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(self.ahead.drain(..count).collect())
    }

    /// Waits until the peer closes, and says whether it does so in time.
    pub async fn closes_within(&mut self, patience: Duration) -> bool {
        let closed = async { while self.more().await {} };
        timeout(patience, closed).await.is_ok()
    }

    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n") {
                let line = self.ahead.drain(..end + 2).take(end).collect();
                return Some(line);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Reads what comes next; `false` at the end.
    async fn more(&mut self) -> bool {
        let before = self.ahead.len();
        let _ = self.stream.read_buf(&mut self.ahead).await;
        self.ahead.len() > before
    }
}

#[derive(Debug, Clone, Copy)]
enum Left {
    Bytes(usize),
    Chunks,
    Everything,
}

/// A body that is read as it comes. Dropping it breaks off without a word.
#[derive(Debug)]
pub struct Body {
    connection: Connection,
    left: Left,
}

impl Body {
    /// The next piece; `None` at the end, also at an early one.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        match self.left {
            Left::Bytes(0) => None,
            Left::Bytes(left) => {
                let piece = self.piece(left).await?;
                self.left = Left::Bytes(left - piece.len());
                Some(piece)
            }
            Left::Everything => self.piece(usize::MAX).await,
            Left::Chunks => self.chunk().await,
        }
    }

    /// Whether it has come to the end that it promised.
    pub const fn is_whole(&self) -> bool {
        !matches!(self.left, Left::Bytes(1..) | Left::Chunks)
    }

    pub async fn rest(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await {
            whole.extend(piece);
        }
        whole
    }

    async fn piece(&mut self, most: usize) -> Option<Vec<u8>> {
        if self.connection.ahead.is_empty() && !self.connection.more().await {
            return None;
        }
        let size = self.connection.ahead.len().min(most);
        Some(self.connection.ahead.drain(..size).collect())
    }

    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.connection.line().await?;
        let size = std::str::from_utf8(&line).ok().and_then(|size| usize::from_str_radix(size, 16).ok()).expect("a chunk's size");
        let chunk = self.connection.exactly(size).await?;
        self.connection.line().await?;
        if size == 0 {
            self.left = Left::Bytes(0);
            return None;
        }
        Some(chunk)
    }
}

fn parse_head(head: &[u8]) -> Head {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok()).expect("a status");
    let header = |line: &str| {
        let (name, value) = line.split_once(':').expect("a header");
        (name.to_owned(), value.trim().to_owned())
    };
    Head { status, headers: lines.map(header).collect() }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
