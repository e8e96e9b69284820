//! One turn over a WebSocket.

use std::borrow::Cow;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::events::Said;
use super::listener::{Heard, Listener};
use crate::Result;
use crate::clock::now_ns;
use crate::plan::Plan;

/// An open socket.
pub type Line = WebSocketStream<TcpStream>;

/// Thousands of sockets are held at once, and the default is 128 KiB.
const READ_BUFFER: usize = 2 * 1024;

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    outcome: Option<Cow<'a, str>>,
    error: Option<Cow<'a, str>>,
}

/// Opens a socket and waits for its greeting.
pub async fn connect(address: SocketAddr) -> Result<Line> {
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let socket = super::dial(address).await?;
    let (mut line, _) = tokio_tungstenite::client_async_with_config(format!("ws://{address}/ws"), socket, Some(config)).await?;
    match line.next().await {
        Some(Ok(Message::Text(_))) => Ok(line),
        other => Err(format!("the socket greeted with {other:?}").into()),
    }
}

pub async fn turn(mut line: Line, chat: &str, plan: Plan) -> Result<Heard> {
    let mut listener = Listener::new(plan.deltas);
    let frame = serde_json::json!({"type": "chat", "chatId": chat, "content": plan.message()});
    line.send(Message::text(frame.to_string())).await?;
    listen(&mut line, &mut listener).await?;
    let heard = listener.finish(plan.deltas)?;
    line.close(None).await?;
    Ok(heard)
}

/// Subscribes to a chat and waits until that is answered.
pub async fn subscribe(line: &mut Line, chat: &str) -> Result<()> {
    let frame = serde_json::json!({"type": "subscribe", "chatId": chat});
    line.send(Message::text(frame.to_string())).await?;
    while let Some(message) = line.next().await {
        if let Message::Text(text) = message?
            && read(&text)? == Some(Said::Connected)
        {
            return Ok(());
        }
    }
    Err("the socket was closed".into())
}

/// Listens to one answer, to its end.
pub async fn listen(line: &mut Line, listener: &mut Listener) -> Result<()> {
    while !listener.is_done() {
        let message = line.next().await.ok_or("the socket was closed in mid-answer")??;
        let came_ns = now_ns();
        let Message::Text(text) = message else { continue };
        let frame: Frame<'_> = serde_json::from_str(&text)?;
        match said(&frame)? {
            Some(Said::Text(text)) => listener.text(text, came_ns)?,
            Some(Said::Done) => listener.done(came_ns),
            Some(Said::Connected) | None => {}
        }
    }
    Ok(())
}

fn read(text: &str) -> Result<Option<Said<'static>>> {
    let frame: Frame<'_> = serde_json::from_str(text)?;
    Ok(match said(&frame)? {
        Some(Said::Connected) => Some(Said::Connected),
        Some(Said::Done) => Some(Said::Done),
        Some(Said::Text(_)) | None => None,
    })
}

fn said<'a>(frame: &'a Frame<'_>) -> Result<Option<Said<'a>>> {
    match &*frame.kind {
        "assistant_message" => Ok(frame.content.as_deref().map(Said::Text)),
        "history" => Ok(Some(Said::Connected)),
        "result" if frame.outcome.as_deref() == Some("completed") => Ok(Some(Said::Done)),
        "result" => Err(format!("the answer ended as {:?}", frame.outcome).into()),
        "error" => Err(format!("the answer failed: {:?}", frame.error).into()),
        _ => Ok(None),
    }
}
