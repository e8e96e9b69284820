//! One WebSocket as the faces see it: frames in, frames out, and everything that keeps either side from waiting for ever.
//!
//! A [`Line`] lives in the task of its connection, which polls it for what comes in; sending only puts a frame into the
//! line, and polling moves it on. So nothing is shared, a peer that does not read holds up its own task only, and a line
//! that has nothing to do owns two small buffers and a timer.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use bytes::Bytes;
use futures_util::{Sink as _, SinkExt as _, StreamExt as _};
use tokio::time::{Instant, Sleep};

use super::json::MAX_BODY_BYTES;

/// Bytes read at once. Ten thousand idle connections hold ten thousand of these buffers; a longer frame gets room of its own.
const READ_BUFFER: usize = 1024;

/// Bytes that are joined into one write. The buffer grows only when it is used.
const WRITE_BUFFER: usize = 4 * 1024;

/// Up to here a line takes frames that can as well stay where they are: in the log, or in a client's next request.
const ROOM_BYTES: usize = 64 * 1024;

/// What may wait for a peer behind the frame being written, by the contracts.
const WAITING_BYTES: usize = 1024 * 1024;

/// How old the oldest waiting part may become, by the contracts.
const STALLED_FOR: Duration = Duration::from_secs(10);

/// A single frame of a long history may be larger than all that may wait. A peer that takes it at this rate is not stalled.
const SLOWEST_PEER_BYTES_PER_S: usize = 128 * 1024;

/// By the contracts: often enough that no proxy forgets the connection.
const PING_EVERY: Duration = Duration::from_secs(20);

/// By the contracts: three pings without an answer.
const SILENT_FOR: Duration = Duration::from_secs(60);

/// How long a peer has to take and answer the closing frame.
const CLOSING_FOR: Duration = Duration::from_secs(2);

/// The earliest and the latest time after a restart at which a client is asked to come back. All clients are told different
/// times, so that they do not all come at once.
const RETRY_MS: (u32, u32) = (200, 3000);

/// Why the server ends a connection. Codes and their meaning are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The peer was silent for too long.
    Silent,
    ProtocolError,
    Binary,
    NotUtf8,
    TooBig,
    /// The server restarts; the peer should come back after so many milliseconds.
    Restart {
        retry_in_ms: u64,
    },
    SignedOut,
    TooSlow,
    TooManyFrames,
    /// What the connection is for is not there; the API's own code and word for it.
    Refused {
        code: u16,
        reason: &'static str,
    },
}

/// What a line has to tell.
#[derive(Debug)]
pub enum Incoming {
    Text(Utf8Bytes),
    /// The line was full and has [room](Line::has_room) again.
    Room,
    /// The connection should be closed with this.
    Close(Close),
    /// The peer has left.
    Gone,
}

/// Sets the limits of a connection that is about to be upgraded.
pub fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(MAX_BODY_BYTES)
        .max_frame_size(MAX_BODY_BYTES)
}

/// One connection.
#[derive(Debug)]
pub struct Line {
    socket: WebSocket,
    /// Frames the socket has not taken yet.
    waiting: VecDeque<Utf8Bytes>,
    waiting_bytes: usize,
    /// Bytes the socket has taken since it was last empty.
    unflushed_bytes: usize,
    /// Since when the socket has not been able to get rid of what it took.
    stalled_since: Option<Instant>,
    overflowed: bool,
    reading: bool,
    heard_at: Instant,
    ping_at: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Line {
    #[must_use]
    pub fn new(socket: WebSocket) -> Self {
        let now = Instant::now();
        Self {
            socket,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            unflushed_bytes: 0,
            stalled_since: None,
            overflowed: false,
            reading: true,
            heard_at: now,
            ping_at: now + PING_EVERY,
            alarm: Box::pin(tokio::time::sleep_until(now + PING_EVERY)),
        }
    }

    /// Puts a frame behind those that wait. [`Self::next`] sends it.
    pub fn send(&mut self, frame: Utf8Bytes) {
        if self.waiting_bytes > WAITING_BYTES {
            self.overflowed = true;
            return;
        }
        self.waiting_bytes += frame.len();
        self.waiting.push_back(frame);
    }

    /// Whether the peer takes what it is sent. While it does not, leave everything that can wait where it is.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.waiting_bytes + self.unflushed_bytes < ROOM_BYTES
    }

    /// Whether to take frames from the peer. One that sends faster than it is served has to wait.
    pub const fn set_reading(&mut self, reading: bool) {
        self.reading = reading;
    }

    /// Sends what waits, keeps the connection alive, and returns what comes. May be dropped and called again without losing
    /// anything; after [`Incoming::Close`] or [`Incoming::Gone`] it must not be called again.
    pub async fn next(&mut self) -> Incoming {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Says why, and gives the peer a moment to hear it.
    pub async fn close(mut self, close: Close) {
        // A peer that does not read will not read this either; it only gets the moment in which it may still come round.
        let _ = tokio::time::timeout(CLOSING_FOR, self.say_goodbye(close)).await;
    }

    async fn say_goodbye(&mut self, close: Close) {
        if close != Close::TooSlow {
            for frame in self.waiting.drain(..) {
                if self.socket.feed(Message::Text(frame)).await.is_err() {
                    return;
                }
            }
        }
        let frame = CloseFrame { code: close.code(), reason: close.reason().into() };
        if self.socket.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        if close.leaves_unread_bytes() {
            // Nothing can be read any more. Leaving at once would reset the connection and could take the code with it.
            std::future::pending().await
        }
        while let Some(Ok(_)) = self.socket.recv().await {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let was_full = !self.has_room();
        if let Poll::Ready(over) = self.poll_alarm(cx) {
            return Poll::Ready(over);
        }
        if self.poll_sending(cx).is_err() {
            return Poll::Ready(Incoming::Gone);
        }
        if self.overflowed {
            return Poll::Ready(Incoming::Close(Close::TooSlow));
        }
        if was_full && self.has_room() {
            return Poll::Ready(Incoming::Room);
        }
        if self.reading { self.poll_reading(cx) } else { Poll::Pending }
    }

    /// Moves on what waits, as far as the peer takes it: all that is there, and then one flush.
    fn poll_sending(&mut self, cx: &mut Context<'_>) -> Result<(), axum::Error> {
        while !self.waiting.is_empty() {
            let Poll::Ready(ready) = Pin::new(&mut self.socket).poll_ready(cx) else { return self.watch_stall(cx) };
            ready?;
            if let Some(frame) = self.waiting.pop_front() {
                self.waiting_bytes -= frame.len();
                self.unflushed_bytes += frame.len();
                self.feed(Message::Text(frame))?;
            }
        }
        if self.stalled_since.is_some() {
            let Poll::Ready(flushed) = Pin::new(&mut self.socket).poll_flush(cx) else { return self.watch_stall(cx) };
            flushed?;
            self.unflushed_bytes = 0;
            self.stalled_since = None;
        }
        Ok(())
    }

    fn feed(&mut self, message: Message) -> Result<(), axum::Error> {
        self.stalled_since.get_or_insert_with(Instant::now);
        Pin::new(&mut self.socket).start_send(message)
    }

    /// Sees to it that the alarm goes off when the peer's time is over. Only a peer that is not ready costs a timer.
    fn watch_stall(&mut self, cx: &mut Context<'_>) -> Result<(), axum::Error> {
        let due = self.due();
        if due < self.alarm.deadline() {
            self.alarm.as_mut().reset(due);
            // A timer that was reset wakes only whom it is polled by; that it is over already is seen in the next round.
            if self.alarm.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Ok(())
    }

    fn due(&self) -> Instant {
        let regular = self.ping_at.min(self.heard_at + SILENT_FOR);
        self.stalled_until().map_or(regular, |stalled| stalled.min(regular))
    }

    fn stalled_until(&self) -> Option<Instant> {
        let extra = Duration::from_secs((self.unflushed_bytes / SLOWEST_PEER_BYTES_PER_S) as u64);
        self.stalled_since.map(|since| since + STALLED_FOR + extra)
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let now = Instant::now();
            if self.stalled_until().is_some_and(|until| until <= now) {
                return Poll::Ready(Incoming::Close(Close::TooSlow));
            }
            if self.heard_at + SILENT_FOR <= now {
                return Poll::Ready(Incoming::Close(Close::Silent));
            }
            if self.ping_at <= now {
                self.ping_at = now + PING_EVERY;
                if self.ping(cx).is_err() {
                    return Poll::Ready(Incoming::Gone);
                }
            }
            let due = self.due();
            self.alarm.as_mut().reset(due);
        }
    }

    /// A peer that still has to take other frames needs no ping to prove that it is there.
    fn ping(&mut self, cx: &mut Context<'_>) -> Result<(), axum::Error> {
        match Pin::new(&mut self.socket).poll_ready(cx) {
            Poll::Ready(ready) => ready.and_then(|()| self.feed(Message::Ping(Bytes::new()))),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        loop {
            let message = ready!(self.socket.poll_next_unpin(cx));
            self.heard_at = Instant::now();
            match message {
                Some(Ok(Message::Text(text))) => return Poll::Ready(Incoming::Text(text)),
                Some(Ok(Message::Binary(_))) => return Poll::Ready(Incoming::Close(Close::Binary)),
                // The socket answers pings and the peer's closing frame by itself; after the latter it ends.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => {}
                Some(Err(error)) => return Poll::Ready(fault(&error).map_or(Incoming::Gone, Incoming::Close)),
                None => return Poll::Ready(Incoming::Gone),
            }
        }
    }
}

/// What the peer did wrong; `None` if the connection is simply broken.
fn fault(error: &axum::Error) -> Option<Close> {
    // The library that reads frames is not part of axum's interface, so its error is known by its words only.
    let words = error.to_string();
    if words.starts_with("Space limit exceeded") {
        Some(Close::TooBig)
    } else if words.starts_with("UTF-8 encoding error") {
        Some(Close::NotUtf8)
    } else if words.starts_with("WebSocket protocol error") && !words.contains("without closing handshake") {
        Some(Close::ProtocolError)
    } else {
        None
    }
}

impl Close {
    const fn code(self) -> u16 {
        match self {
            Self::Refused { code, .. } => code,
            Self::Silent => 1001,
            Self::ProtocolError => 1002,
            Self::Binary => 1003,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
            Self::Restart { .. } => 1012,
            Self::SignedOut => 4401,
            Self::TooSlow => 4408,
            Self::TooManyFrames => 4429,
        }
    }

    pub(crate) fn reason(self) -> String {
        match self {
            Self::Refused { reason, .. } => reason.to_owned(),
            Self::Silent => "no sign of life".to_owned(),
            Self::ProtocolError => "protocol error".to_owned(),
            Self::Binary => "text frames only".to_owned(),
            Self::NotUtf8 => "not UTF-8".to_owned(),
            Self::TooBig => "frame too big".to_owned(),
            Self::Restart { retry_in_ms } => format!("retry in {retry_in_ms}"),
            Self::SignedOut => "not authenticated".to_owned(),
            Self::TooSlow => "too slow".to_owned(),
            Self::TooManyFrames => "too many requests".to_owned(),
        }
    }

    /// Whether it was said in the middle of something that can no longer be read to its end.
    const fn leaves_unread_bytes(self) -> bool {
        match self {
            Self::ProtocolError | Self::NotUtf8 | Self::TooBig => true,
            Self::Silent
            | Self::Binary
            | Self::Restart { .. }
            | Self::SignedOut
            | Self::TooSlow
            | Self::TooManyFrames
            | Self::Refused { .. } => false,
        }
    }
}

/// When a client is to come back after a restart.
pub(crate) fn retry_in_ms() -> u64 {
    static SOCKETS: AtomicU32 = AtomicU32::new(0);
    // Steps of the golden ratio fall evenly into any range, however many there are.
    let step = SOCKETS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9);
    let (first, last) = RETRY_MS;
    u64::from(first) + ((u64::from(step) * u64::from(last - first)) >> 32)
}
