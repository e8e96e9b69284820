//! Server-sent events, read as strictly as the seed's client writes them: line by line.

use serde_json::Value;

use crate::harness_http::Body;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

/// Splits a body into events. Panics on what the contract's form does not allow.
#[derive(Debug)]
pub struct EventStream {
    body: Body,
    /// Came, and holds no whole block yet.
    ahead: Vec<u8>,
}

impl EventStream {
    pub fn new(body: Body) -> Self {
        Self { body, ahead: Vec::new() }
    }

    /// The next event; `None` at the end. Comments and `retry:` are read and passed over.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.ahead.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.ahead.drain(..end + 2).take(end).collect();
                if let Some(event) = parse(std::str::from_utf8(&block).expect("UTF-8")) {
                    return Some(event);
                }
            }
            let Some(piece) = self.body.next().await else {
                assert!(self.ahead.is_empty(), "the stream breaks off in an event");
                return None;
            };
            self.ahead.extend(piece);
        }
    }

    /// Whether the server has ended the stream in good order, rather than just gone away.
    pub const fn has_ended_well(&self) -> bool {
        self.body.is_whole()
    }
}

/// One block: a comment, a `retry:`, or an event with its data on a single line.
fn parse(block: &str) -> Option<Event> {
    let (mut name, mut id, mut data) = (None, None, None);
    for line in block.split('\n') {
        assert!(!line.contains('\r'), "a carriage return in {block:?}");
        let slot = match line.split_once(": ") {
            Some(("event", value)) => (&mut name, value),
            Some(("id", value)) => (&mut id, value),
            Some(("data", value)) => (&mut data, value),
            Some(("retry", value)) if value.parse::<u32>().is_ok() => continue,
            _ if line.starts_with(':') => continue,
            _ => panic!("no line of an event stream: {line:?}"),
        };
        assert!(slot.0.replace(slot.1.to_owned()).is_none(), "a field that comes twice in {block:?}");
    }
    let Some(name) = name else {
        assert!(data.is_none() && id.is_none(), "an event without a name: {block:?}");
        return None;
    };
    let data = data.unwrap_or_else(|| panic!("an event without data: {block:?}"));
    let data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error} in {data}"));
    Some(Event { name, id, data })
}
