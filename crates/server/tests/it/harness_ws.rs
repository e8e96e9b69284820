//! WebSockets: one that behaves, and one that sends the bytes it is told.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::harness_http::{Client, Connection, PATIENCE, Request};

/// What a socket has to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    Text(String),
    /// The peer has closed with this code (1005 if it named none).
    Closed(u16),
    /// The connection is gone without a closing frame.
    Gone,
}

impl Said {
    #[track_caller]
    pub fn json(self) -> Value {
        match self {
            Self::Text(text) => serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}")),
            other => panic!("a frame was expected, not {other:?}"),
        }
    }
}

/// A client that keeps to the protocol.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// Why the peer has closed; empty until then, or if it named no reason.
    pub close_reason: String,
}

impl Socket {
    /// Opens `target` with the client's headers and these; the error is the status of the refusal.
    pub async fn open(client: &Client, target: &str, headers: &[(String, String)]) -> Result<Self, u16> {
        let request = client.complete(Request { headers: headers.to_vec(), ..Request::get(target) });
        let uri = format!("ws://{}{target}", client.address).parse().expect("an address");
        let request = request
            .headers
            .into_iter()
            .fold(ClientRequestBuilder::new(uri), |request, (name, value)| request.with_header(name, value));
        let connection = TcpStream::connect(client.address).await.expect("a connection");
        connection.set_nodelay(true).expect("a socket");
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let opening = tokio_tungstenite::client_async_with_config(request, connection, Some(config));
        match timeout(PATIENCE, opening).await.expect("an answer to the upgrade") {
            Ok((stream, _)) => Ok(Self { stream, close_reason: String::new() }),
            Err(Error::Http(refusal)) => Err(refusal.status().as_u16()),
            Err(error) => panic!("{target}: {error}"),
        }
    }

    /// Opens `/ws`, and has read the greeting.
    pub async fn greeted(client: &Client) -> Self {
        let mut socket = Self::open(client, "/ws", &[]).await.expect("the socket opens");
        assert_eq!(socket.frame().await["type"], "connected");
        socket
    }

    pub async fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// A peer that has closed meanwhile is noticed when reading.
    pub async fn send_text(&mut self, text: &str) {
        let sent = timeout(PATIENCE, self.stream.send(Message::text(text))).await;
        let _ = sent.expect("the server reads");
    }

    /// Takes the frame without writing it yet.
    pub async fn feed(&mut self, frame: &Value) {
        let _ = self.stream.feed(Message::text(frame.to_string())).await;
    }

    pub async fn flush(&mut self) {
        let _ = self.stream.flush().await;
    }

    /// What comes next, however long it takes. May be dropped and called again.
    pub async fn next(&mut self) -> Said {
        loop {
            return match self.stream.next().await {
                Some(Ok(Message::Text(text))) => Said::Text(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    self.close_reason = frame.as_ref().map(|frame| frame.reason.to_string()).unwrap_or_default();
                    Said::Closed(frame.map_or(1005, |frame| frame.code.into()))
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(other)) => panic!("a frame that no server of ours sends: {other:?}"),
                Some(Err(_)) | None => Said::Gone,
            };
        }
    }

    pub async fn said_within(&mut self, patience: Duration) -> Option<Said> {
        timeout(patience, self.next()).await.ok()
    }

    /// The next frame, which must come.
    pub async fn frame(&mut self) -> Value {
        self.said_within(PATIENCE).await.expect("a frame in time").json()
    }

    /// The next frame of this type; others are passed over.
    pub async fn frame_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    pub async fn ask(&mut self, frame: &Value) -> Value {
        self.send(frame).await;
        self.frame().await
    }

    /// The code with which the server closes; frames before are passed over.
    pub async fn close_code(&mut self, patience: Duration) -> Option<u16> {
        let closed = async {
            loop {
                match self.next().await {
                    Said::Text(_) => {}
                    Said::Closed(code) => return Some(code),
                    Said::Gone => return None,
                }
            }
        };
        timeout(patience, closed).await.ok().flatten()
    }

    /// Whether the server still answers.
    pub async fn is_alive(&mut self) -> bool {
        let stamp = "are you there?";
        self.send(&serde_json::json!({"type": "ping", "timestamp": stamp})).await;
        let answered = async {
            loop {
                match self.next().await {
                    Said::Text(text) if text.contains(stamp) => return true,
                    Said::Text(_) => {}
                    Said::Closed(_) | Said::Gone => return false,
                }
            }
        };
        timeout(PATIENCE, answered).await.unwrap_or(false)
    }
}

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// The head of a client's frame: first byte, length, mask.
pub fn frame_head(first: u8, length: usize, masked: bool) -> Vec<u8> {
    let flag = if masked { MASKED } else { 0 };
    let mut head = vec![first];
    match length {
        0..=125 => head.push(flag | u8::try_from(length).expect("small")),
        126..=0xffff => {
            head.push(flag | 126);
            head.extend(u16::try_from(length).expect("fits").to_be_bytes());
        }
        _ => {
            head.push(flag | 127);
            head.extend((length as u64).to_be_bytes());
        }
    }
    if masked {
        head.extend(MASK);
    }
    head
}

/// A client's frame, masked as it must be.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame_head(first, payload.len(), true);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// An upgraded connection that sends any bytes.
#[derive(Debug)]
pub struct RawSocket {
    connection: Connection,
}

impl RawSocket {
    /// Opens `/ws` and has read the greeting.
    pub async fn greeted(client: &Client) -> Self {
        let mut connection = client.connect().await;
        connection.write(&client.complete(upgrade("/ws")).encode(&client.host())).await;
        let head = connection.head().await.expect("an answer to the upgrade");
        assert_eq!(head.status, 101);
        let mut socket = Self { connection };
        let greeting = socket.next().await.expect("the greeting");
        assert_eq!(greeting.0, TEXT);
        socket
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.connection.write(bytes).await;
    }

    /// The next frame's opcode and payload; `None` once the connection is closed.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.connection.exactly(2).await?;
        assert_eq!(head[0] & 0x70, 0, "reserved bits");
        assert_eq!(head[1] & MASKED, 0, "a server does not mask");
        let extended = match head[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let bytes = self.connection.exactly(extended).await?;
        let length = match extended {
            0 => u64::from(head[1]),
            _ => bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let payload = self.connection.exactly(usize::try_from(length).expect("fits")).await?;
        Some((head[0] & 0x0f, payload))
    }

    /// The code with which the server closes; frames before are passed over.
    pub async fn close_code(&mut self) -> Option<u16> {
        let closed = async {
            loop {
                let (opcode, payload) = self.next().await?;
                if opcode == CLOSE {
                    let code = payload.get(..2).and_then(|code| code.try_into().ok());
                    return Some(code.map_or(1005, u16::from_be_bytes));
                }
            }
        };
        timeout(PATIENCE, closed).await.expect("the server closes in time")
    }
}

/// A good request to open a socket.
pub fn upgrade(target: &str) -> Request {
    Request::get(target)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}
