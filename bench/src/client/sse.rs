//! One turn over server-sent events.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;

use super::events::{Events, Said};
use super::listener::{Heard, Listener};
use crate::Result;
use crate::clock::now_ns;
use crate::plan::Plan;

/// A connection without a request.
pub type Line = SendRequest<Full<Bytes>>;

pub async fn connect(address: SocketAddr) -> Result<Line> {
    let (line, connection) = handshake(TokioIo::new(super::dial(address).await?)).await?;
    // Its failure is seen by whoever reads the answer.
    tokio::spawn(connection);
    Ok(line)
}

/// Asks for a stream; its head must say that it is well.
pub async fn ask(line: &mut Line, address: SocketAddr, method: Method, path: &str, body: String) -> Result<Response<Incoming>> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "text/event-stream")
        .body(Full::from(body))?;
    let response = line.send_request(request).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Err(format!("{path} was answered with {status}: {}", String::from_utf8_lossy(&body)).into())
}

pub async fn turn(mut line: Line, address: SocketAddr, path: &str, body: String, plan: Plan) -> Result<Heard> {
    let mut listener = Listener::new(plan.deltas);
    let mut stream = ask(&mut line, address, Method::POST, path, body).await?.into_body();
    let mut events = Events::default();
    while let Some(frame) = stream.frame().await {
        let came_ns = now_ns();
        let Ok(bytes) = frame?.into_data() else { continue };
        events.push(&bytes, |said| match said {
            Said::Text(text) => listener.text(text, came_ns),
            Said::Done => {
                listener.done(came_ns);
                Ok(())
            }
            Said::Connected => Ok(()),
        })?;
    }
    listener.finish(plan.deltas)
}
