//! The response of a request while it streams: bytes in, events out, and an eye on the clock.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use domain::sockets::language_model::{ModelError, ModelEvent};
use futures_util::Stream;
use reqwest::Response;
use tokio::time::{Instant, Sleep, sleep};

use crate::errors;

/// The end of the stream follows its stop reason at once; a server that leaves it out must not keep people waiting.
const TAIL_TIMEOUT: Duration = Duration::from_secs(2);

/// From the bytes of one family's stream to events. Pure: no clock, no connection.
pub(crate) trait Reader: Send + Unpin + 'static {
    /// Takes the next bytes of the response and gives what they complete.
    fn push(&mut self, bytes: &[u8], out: &mut VecDeque<ModelEvent>) -> Result<(), ModelError>;

    /// The stream ended in good order, which is an error if the answer is not whole.
    fn end(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), ModelError>;

    /// The connection failed with `error`, which stands unless the answer is whole.
    fn end_with(&mut self, error: ModelError, out: &mut VecDeque<ModelEvent>) -> Result<(), ModelError>;

    /// Nothing comes any more.
    fn is_complete(&self) -> bool;

    /// Only the end of the stream is missing.
    fn is_nearly_complete(&self) -> bool;
}

type Body = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

pub(crate) struct Answer<R> {
    /// `None` once the answer has ended, which closes the connection if it is not at its end.
    body: Option<Body>,
    reader: R,
    display_name: String,
    /// What the reader gave and nobody has taken yet.
    ready: VecDeque<ModelEvent>,
    /// Comes behind `ready`.
    failure: Option<ModelError>,
    idle_timeout: Duration,
    last_byte: Instant,
    /// Goes off too early, and is then set anew from `last_byte`: cheaper than setting it at every chunk.
    alarm: Pin<Box<Sleep>>,
}

impl<R: Reader> Answer<R> {
    pub fn new(response: Response, reader: R, display_name: String, idle_timeout: Duration) -> Self {
        Self {
            body: Some(Box::pin(response.bytes_stream())),
            reader,
            display_name,
            ready: VecDeque::new(),
            failure: None,
            idle_timeout,
            last_byte: Instant::now(),
            alarm: Box::pin(sleep(idle_timeout)),
        }
    }

    /// Takes in whatever the body has to say next.
    fn take(&mut self, said: Option<reqwest::Result<Bytes>>) {
        let taken = match said {
            Some(Ok(bytes)) => {
                // What comes behind the stop reason does not prolong the wait for the end.
                if !self.reader.is_nearly_complete() {
                    self.last_byte = Instant::now();
                }
                self.reader.push(&bytes, &mut self.ready)
            }
            Some(Err(_)) => self.reader.end_with(errors::broken(&self.display_name), &mut self.ready),
            None => self.reader.end(&mut self.ready),
        };
        self.after(taken);
        if self.reader.is_nearly_complete() && self.body.is_some() {
            let deadline = self.deadline();
            self.alarm.as_mut().reset(deadline);
        }
    }

    fn give_up(&mut self) {
        let error = errors::silent(&self.display_name, self.idle_timeout.as_secs());
        let ended = self.reader.end_with(error, &mut self.ready);
        self.after(ended);
    }

    fn after(&mut self, step: Result<(), ModelError>) {
        self.failure = step.err();
        if self.failure.is_some() || self.reader.is_complete() {
            self.body = None;
        }
    }

    fn deadline(&self) -> Instant {
        let patience = if self.reader.is_nearly_complete() { TAIL_TIMEOUT.min(self.idle_timeout) } else { self.idle_timeout };
        self.last_byte + patience
    }
}

impl<R: Reader> Stream for Answer<R> {
    type Item = Result<ModelEvent, ModelError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(event) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if let Some(error) = this.failure.take() {
                return Poll::Ready(Some(Err(error)));
            }
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            if let Poll::Ready(said) = body.as_mut().poll_next(context) {
                this.take(said);
                continue;
            }
            std::task::ready!(this.alarm.as_mut().poll(context));
            let deadline = this.deadline();
            if Instant::now() < deadline {
                this.alarm.as_mut().reset(deadline);
            } else {
                this.give_up();
            }
        }
    }
}
