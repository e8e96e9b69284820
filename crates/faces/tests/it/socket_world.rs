//! A server on a port of its own, and clients that speak bytes to it.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use faces::{AuthMode, Peer};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::sessions_world;

/// Longer than anything here takes, shorter than anybody wants to wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// The name under which the server believes itself to be reached.
const HOST: &str = "localhost:8000";

pub struct World {
    inner: sessions_world::World,
    pub address: SocketAddr,
}

impl Deref for World {
    type Target = sessions_world::World;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl World {
    /// Sign-in is off.
    pub async fn saying(script: Value) -> Self {
        Self::with(AuthMode::Off, script).await
    }

    pub async fn with(auth: AuthMode, script: Value) -> Self {
        let inner = sessions_world::World::with(auth, script).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = inner.router.clone().layer(from_fn(name_peer)).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, address }
    }

    /// Status and body of a request.
    pub async fn http(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.http_with(method, path, &[], body).await
    }

    pub async fn http_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> (u16, Value) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        if !body.is_empty() {
            head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// A chat that is no longer called `New Chat`, so that its first message does not rename it.
    pub async fn chat(&self) -> String {
        let (status, chat) = self.http("POST", "/api/chats", Some(json!({"title": "T"}))).await;
        assert_eq!(status, 201, "{chat}");
        chat["id"].as_str().unwrap().to_owned()
    }

    /// A socket that has been greeted.
    pub async fn connect(&self) -> Client {
        let mut client = self.open("/ws", &[]).await.unwrap();
        client.expect(json!({"type": "connected", "message": "Connected to chat server"})).await;
        client
    }

    /// A socket, or the status with which it was refused.
    pub async fn open(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Client, u16> {
        let mut request = format!("ws://{HOST}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        // A fixed buffer: the system would let it grow until a whole answer fits in, and nobody ever waits for this client.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(Client { socket }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }
}

const RECEIVE_BUFFER: u32 = 256 * 1024;

pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
}

impl Client {
    pub async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next frame.
    pub async fn next(&mut self) -> Value {
        match self.message().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("expected a frame, got {other:?}"),
        }
    }

    /// The next frame, which must have these fields; returns all of it.
    pub async fn expect(&mut self, fields: Value) -> Value {
        let frame = self.next().await;
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(frame.get(name).unwrap_or(&Value::Null), value, "field {name} of {frame}");
        }
        frame
    }

    /// Skips frames until one of this type.
    pub async fn until(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Code and reason with which the server closes, whatever it still sends before that.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.message().await {
                let frame = frame.unwrap();
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }

    /// Nothing comes for a while.
    pub async fn quiet(&mut self) {
        let next = tokio::time::timeout(Duration::from_millis(150), self.socket.next()).await;
        assert!(next.is_err(), "{next:?}");
    }

    async fn message(&mut self) -> Message {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next.expect("nothing came").expect("the connection is gone").unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }
}

async fn name_peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Peer(peer));
    next.run(request).await
}
