//! How the program calls addresses that somebody else chose: agents' webhooks, platforms, media, pages. One guarded client
//! serves them all; its rules are [`domain::egress`](crate::egress).

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::egress::{AddressNotAllowed, ChosenBy};

/// Enough for every answer that a program reads; media has a limit of its own.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// The longest that any call may take.
pub const MAX_CALL_TIME: Duration = Duration::from_secs(30);

/// Calls to one host that run at once: one that hangs must not take the places of all others.
pub const MAX_CALLS_PER_HOST: u32 = 8;

#[async_trait]
pub trait Egress: Send + Sync + 'static {
    /// Looks at an address before it is stored. It is looked at again at every call.
    async fn check(&self, url: &str, chosen_by: ChosenBy) -> Result<Resolution, AddressNotAllowed>;

    /// Calls once: no redirect is followed, no proxy is used, no call is repeated.
    async fn call(&self, call: Call) -> Result<Answer, CallError>;
}

/// The way of a program that calls nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEgress;

#[async_trait]
impl Egress for NoEgress {
    async fn check(&self, _url: &str, _chosen_by: ChosenBy) -> Result<Resolution, AddressNotAllowed> {
        Err(AddressNotAllowed)
    }

    async fn call(&self, _call: Call) -> Result<Answer, CallError> {
        Err(AddressNotAllowed.into())
    }
}

/// Whether the name of an allowed address stands for something now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    Resolved,
    /// Accepted, with a warning to whoever typed it.
    Unresolved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    Get,
    Post,
}

/// One request.
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    pub url: String,
    pub chosen_by: ChosenBy,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// From the first look at the address to the last byte of the answer; at most [`MAX_CALL_TIME`].
    pub timeout: Duration,
    /// Of the body, once it is decompressed.
    pub max_answer_bytes: usize,
}

impl Call {
    #[must_use]
    pub fn new(method: Method, url: impl Into<String>, chosen_by: ChosenBy, timeout: Duration) -> Self {
        let url = url.into();
        Self { method, url, chosen_by, headers: Vec::new(), body: Vec::new(), timeout, max_answer_bytes: MAX_ANSWER_BYTES }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }
}

/// The method alone: addresses, headers and bodies hold secrets.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What came back, of any status.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..300)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// Why there is no answer. The sentences hold nothing of the target's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    NotAllowed(#[from] AddressNotAllowed),
    /// Nothing was sent: no such name, no connection, no place among the calls to that host in time.
    #[error("the address could not be reached")]
    Unreachable,
    /// The request may have had its effect.
    #[error("there was no complete answer in time")]
    NoAnswer,
    /// The request may have had its effect.
    #[error("the answer was too large")]
    TooLarge,
}
