//! Server-sent events, as far as the two streams that are measured use them: one `event:` and one `data:` line each.

use serde::Deserialize;

use crate::Result;

/// What an event means for the answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<'a> {
    Text(&'a str),
    /// The answer is complete.
    Done,
    /// The first event of an events stream: it stands.
    Connected,
}

/// Finds events in bytes that are cut anywhere.
#[derive(Debug, Default)]
pub struct Events {
    partial: Vec<u8>,
    name: Name,
}

#[derive(Debug, Default, Clone, Copy)]
enum Name {
    Delta,
    MessageStop,
    MessageDone,
    Connected,
    Failure,
    #[default]
    Other,
}

/// `message.delta` of the sessions API has `text`, the provider's `content_block_delta` has it in `delta`.
#[derive(Deserialize)]
struct Delta<'a> {
    text: Option<&'a str>,
    #[serde(borrow)]
    delta: Option<Inner<'a>>,
}

#[derive(Deserialize)]
struct Inner<'a> {
    text: &'a str,
}

#[derive(Deserialize)]
struct Done<'a> {
    status: &'a str,
}

impl Events {
    /// Takes the next bytes, and gives what they say.
    pub fn push(&mut self, bytes: &[u8], mut on_event: impl FnMut(Said<'_>) -> Result<()>) -> Result<()> {
        let kept;
        let mut rest = if self.partial.is_empty() {
            bytes
        } else {
            self.partial.extend_from_slice(bytes);
            kept = std::mem::take(&mut self.partial);
            &kept
        };
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if let Some(said) = self.line(&rest[..end])? {
                on_event(said)?;
            }
            rest = &rest[end + 1..];
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    fn line<'a>(&mut self, line: &'a [u8]) -> Result<Option<Said<'a>>> {
        if let Some(name) = line.strip_prefix(b"event: ") {
            self.name = match name {
                b"message.delta" | b"content_block_delta" => Name::Delta,
                b"message_stop" => Name::MessageStop,
                b"message.done" => Name::MessageDone,
                b"connected" => Name::Connected,
                b"message.error" | b"error" => Name::Failure,
                _ => Name::Other,
            };
        }
        let Some(data) = line.strip_prefix(b"data: ") else { return Ok(None) };
        match self.name {
            Name::Other => Ok(None),
            Name::Connected => Ok(Some(Said::Connected)),
            Name::MessageStop => Ok(Some(Said::Done)),
            Name::Delta => {
                let delta: Delta<'_> = serde_json::from_slice(data)?;
                Ok(delta.text.or(delta.delta.map(|inner| inner.text)).map(Said::Text))
            }
            Name::MessageDone => match serde_json::from_slice::<Done<'_>>(data)?.status {
                "completed" => Ok(Some(Said::Done)),
                status => Err(format!("the answer ended as {status}").into()),
            },
            Name::Failure => Err(format!("the answer failed: {}", String::from_utf8_lossy(data)).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Events, Said};

    fn said(stream: &str, size: usize) -> crate::Result<Vec<String>> {
        let mut events = Events::default();
        let mut all = Vec::new();
        for bytes in stream.as_bytes().chunks(size) {
            events.push(bytes, |said| {
                all.push(format!("{said:?}"));
                Ok(())
            })?;
        }
        Ok(all)
    }

    #[test]
    fn both_wires_are_understood_however_they_are_cut() {
        let ours = "retry: 1000\n\nid: 1\nevent: message.delta\ndata: {\"type\":\"message.delta\",\"text\":\"a\",\"sessionId\":\"s\"}\n\n\
                    :ping\n\nevent: message.done\ndata: {\"type\":\"message.done\",\"status\":\"completed\"}\n\n";
        let theirs = "event: ping\ndata: {\"type\":\"ping\"}\n\nevent: content_block_delta\n\
                      data: {\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n\
                      event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        let expected = [Said::Text("a"), Said::Done].map(|said| format!("{said:?}"));
        for stream in [ours, theirs] {
            for size in [1, 3, 50, 1000] {
                assert_eq!(said(stream, size).expect("a good stream"), expected, "{size}");
            }
        }
    }

    #[test]
    fn a_failed_answer_is_an_error() {
        for stream in [
            "event: message.done\ndata: {\"status\":\"failed\"}\n\n",
            "event: message.error\ndata: {\"error\":\"x\"}\n\n",
            "event: error\ndata: {}\n\n",
        ] {
            assert!(said(stream, 1000).is_err(), "{stream}");
        }
    }
}
