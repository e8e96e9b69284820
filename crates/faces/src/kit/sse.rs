//! Server-sent events: their form, and what every stream of them does besides: comments while it is silent, an end when
//! the server drains or the caller signs out.
//!
//! A reader that has stalled is not noticed here, because then nobody asks this stream for more. Whoever accepted the
//! connection limits how long it may stand still.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use domain::Cursor;
use engine::Engine;
use futures_util::stream;
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::auth::{Proof, RECHECK, still_valid};
use crate::App;

/// A silent stream shows that it is alive this often, before proxies lose patience.
const PING: Duration = Duration::from_secs(15);

/// What one chunk may hold before the rest waits for the next one, so that a long replay is never in memory as a whole.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// The start of every stream: how long a browser waits before it comes back.
const OPENING: &[u8] = b"retry: 1000\n\n";

/// Where a stream's events come from.
pub trait Source: Send + 'static {
    /// The next events, encoded by [`push_event`], as many as there are now; `None` ends the stream. The future may be
    /// dropped at any time and asked for anew, and nothing may be lost by that.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// The answer that streams `source` for as long as `proof` holds.
pub fn answer<S: Source>(app: &App, proof: Proof, source: S) -> Response {
    let watched = Watched {
        source,
        engine: app.engine.clone(),
        proof,
        drain: app.drain.clone(),
        pings: every(PING),
        checks: every(RECHECK),
    };
    let chunks = stream::unfold((watched, false), |(mut watched, begun)| async move {
        let chunk = if begun { watched.next().await? } else { Bytes::from_static(OPENING) };
        Some((Ok::<_, Infallible>(chunk), (watched, true)))
    });
    let mut response = Body::from_stream(chunks).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Appends one event. JSON has no line breaks of its own, so the data is one line.
pub fn push_event(out: &mut Vec<u8>, name: &str, id: Option<&Cursor>, data: &impl Serialize) {
    // Our own structs can always be written as JSON; an event that could not be is better left out than sent broken.
    let Ok(data) = serde_json::to_string(data) else { return };
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    out.extend_from_slice(format!("{id}event: {name}\ndata: {data}\n\n").as_bytes());
}

/// Gives the last of the events in `chunk` an id, if it holds any.
pub fn set_last_id(chunk: &mut Vec<u8>, id: &str) {
    let Some(body) = chunk.strip_suffix(b"\n\n") else { return };
    let start = body.windows(2).rposition(|pair| pair == b"\n\n").map_or(0, |gap| gap + 2);
    let line = format!("id: {id}\n");
    chunk.splice(start..start, line.into_bytes());
}

struct Watched<S> {
    source: S,
    engine: Engine,
    proof: Proof,
    drain: CancellationToken,
    pings: Interval,
    checks: Interval,
}

impl<S: Source> Watched<S> {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                biased;
                () = self.drain.cancelled() => return None,
                _ = self.checks.tick() => {
                    still_valid(&self.engine, &self.proof).await?;
                }
                _ = self.pings.tick() => return Some(Bytes::from_static(b":ping\n\n")),
                chunk = self.source.next() => return chunk,
            }
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
