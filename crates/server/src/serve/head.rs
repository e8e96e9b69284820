//! Looks at the requests of a connection before hyper does, for the one thing that hyper hides.
//!
//! A request with both `Content-Length` and `Transfer-Encoding` is how attackers make a proxy and a server disagree about
//! where a request ends. hyper obeys `Transfer-Encoding` and drops the other header, so that nobody behind it can tell.
//! The scanner reads the same bytes and tells. It gives up at the first request that it need not or cannot see through, and
//! everything with `Transfer-Encoding` that it has not called harmless is refused; so it can err only on the safe side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longer than any header name or number that matters here; what is longer is cut, which makes it none of them.
const LINE_START: usize = 40;

/// Says whether the request with `Transfer-Encoding` on this connection is harmless. There is at most one such request,
/// because the connection is closed after it.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict(Arc<AtomicBool>);

impl Verdict {
    pub fn is_harmless(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Where in the stream of requests the scanner is.
#[derive(Debug)]
pub(super) struct HeadScanner {
    verdict: Verdict,
    state: State,
    line: Line,
    content_length: Option<u64>,
    is_chunked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first line, where empty lines mean nothing.
    Waiting,
    Head,
    /// This many bytes of a body are to come.
    Body(u64),
    /// Nothing more is looked at.
    Done,
}

impl HeadScanner {
    pub fn new(verdict: Verdict) -> Self {
        Self { verdict, state: State::Waiting, line: Line::default(), content_length: None, is_chunked: false }
    }

    /// Takes the next bytes of the connection.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.state != State::Done {
            if let State::Body(left) = self.state {
                let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                bytes = &bytes[skipped..];
                self.after(left - skipped as u64);
                continue;
            }
            let (line, ended) = match bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => (&bytes[..end], true),
                None => (bytes, false),
            };
            self.line.push(line);
            bytes = &bytes[(line.len() + usize::from(ended))..];
            if ended {
                let line = std::mem::take(&mut self.line);
                self.take_line(line.text());
            }
        }
    }

    fn take_line(&mut self, line: &[u8]) {
        match (self.state, line.is_empty()) {
            (State::Waiting, true) => {}
            (State::Waiting, false) => self.state = State::Head,
            (State::Head, true) => self.end_head(),
            _ => self.take_header(line),
        }
    }

    fn take_header(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let number = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            // hyper refuses what is no number.
            self.content_length = Some(number.unwrap_or(u64::MAX));
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            // What follows is no HTTP any more, and may be long.
            self.state = State::Done;
        }
    }

    fn end_head(&mut self) {
        let length = self.content_length.take();
        if self.is_chunked {
            self.verdict.0.store(length.is_none(), Ordering::Release);
            self.state = State::Done;
        } else {
            self.after(length.unwrap_or(0));
        }
    }

    fn after(&mut self, body: u64) {
        self.state = if body == 0 { State::Waiting } else { State::Body(body) };
    }
}

/// The beginning of a line.
#[derive(Debug)]
struct Line {
    start: [u8; LINE_START],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { start: [0; LINE_START], length: 0 }
    }
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(LINE_START - self.length);
        self.start[self.length..self.length + taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
    }

    /// Without the carriage return at its end.
    fn text(&self) -> &[u8] {
        let line = &self.start[..self.length];
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

#[cfg(test)]
mod tests {
    use super::{HeadScanner, Verdict};

    const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";

    /// The verdict is the same however the bytes arrive.
    fn is_harmless(requests: &str) -> bool {
        let verdicts = [1, 2, 7, requests.len()].map(|size| {
            let verdict = Verdict::default();
            let mut scanner = HeadScanner::new(verdict.clone());
            requests.as_bytes().chunks(size).for_each(|bytes| scanner.push(bytes));
            verdict.is_harmless()
        });
        assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{requests:?}: {verdicts:?}");
        verdicts[0]
    }

    #[test]
    fn a_chunked_request_is_harmless_if_it_has_no_length() {
        assert!(is_harmless(CHUNKED));
        assert!(is_harmless(&CHUNKED.replace("\r\n", "\n")));
        assert!(is_harmless(&format!("\r\n\r\n{CHUNKED}")));
        assert!(is_harmless(&format!("GET / HTTP/1.1\r\n\r\n{CHUNKED}")));
        assert!(is_harmless(&format!("POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab\r\nc{CHUNKED}")));
        assert!(is_harmless(&format!("GET /{} HTTP/1.1\r\nX: {}\r\n\r\n{CHUNKED}", "a".repeat(99), "b".repeat(99))));
    }

    #[test]
    fn with_a_length_anywhere_in_its_head_it_is_not() {
        for length in ["Content-Length: 5", "content-length:0", "CONTENT-LENGTH:  nonsense", "Content-Length: 5\r\nX: y"] {
            assert!(!is_harmless(&CHUNKED.replace("Host: h", length)));
            assert!(!is_harmless(&CHUNKED.replace("chunked", &format!("chunked\r\n{length}"))));
            assert!(!is_harmless(&CHUNKED.replace("chunked", &format!("chunked\n{length}"))));
        }
    }

    #[test]
    fn what_was_not_seen_is_not_harmless() {
        assert!(!is_harmless("GET / HTTP/1.1\r\n\r\n"));
        assert!(!is_harmless(&format!("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n{CHUNKED}")));
        assert!(!is_harmless(&format!("POST / HTTP/1.1\r\nContent-Length: 999\r\n\r\n{CHUNKED}")));
    }
}
