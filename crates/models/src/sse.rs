//! An incremental reader of `text/event-stream`, in linear time however the bytes are cut.

use std::mem;

use memchr::memchr2;

/// Bytes that one event may have: a search result with its encrypted content comes as one event of some hundred KiB, and
/// a peer that never ends an event must not fill the memory.
pub const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event: its `event:` name, empty if it has none, and its `data:` lines, joined with LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SseEvent<'a> {
    pub name: &'a str,
    pub data: &'a str,
}

/// A line or an event is longer than [`MAX_EVENT_BYTES`]. What the reader gives after that has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {MAX_EVENT_BYTES} bytes")]
pub struct EventTooLarge;

/// Takes bytes as they come and gives events as they end. `id:` and `retry:` are ignored, as are comments; bytes that
/// are not UTF-8 become U+FFFD; an event that the end of the stream cuts off is never given.
#[derive(Debug, Default)]
pub struct SseReader {
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    name: Vec<u8>,
    /// The data lines so far, each with an LF behind it.
    data: Vec<u8>,
    /// The last line ended with CR: an LF right behind it belongs to that end.
    after_cr: bool,
    past_first_line: bool,
    /// A line of it was one that such a stream has.
    recognised: bool,
}

impl SseReader {
    /// Gives every event that ends within `bytes` to `on_event`, and stops at its first error.
    pub fn push<E: From<EventTooLarge>>(
        &mut self,
        mut bytes: &[u8],
        mut on_event: impl FnMut(SseEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(&first) = bytes.first() {
            if mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                self.keep(bytes)?;
                break;
            };
            self.after_cr = bytes[end] == b'\r';
            self.end_line(&bytes[..end], &mut on_event)?;
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }

    /// Something came, and it was no event stream at all: a page, for instance.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        !self.recognised && (self.past_first_line || !self.line.is_empty())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), EventTooLarge> {
        if self.line.len() + bytes.len() > MAX_EVENT_BYTES {
            return Err(EventTooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line<E: From<EventTooLarge>>(
        &mut self,
        tail: &[u8],
        on_event: &mut impl FnMut(SseEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.line.is_empty() {
            return self.take_line(tail, on_event);
        }
        self.keep(tail)?;
        let mut line = mem::take(&mut self.line);
        let taken = self.take_line(&line, on_event);
        line.clear();
        self.line = line;
        taken
    }

    fn take_line<E: From<EventTooLarge>>(
        &mut self,
        line: &[u8],
        on_event: &mut impl FnMut(SseEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let is_first = !mem::replace(&mut self.past_first_line, true);
        let line = if is_first { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        if line.is_empty() {
            return self.end_event(on_event);
        }
        let (name, value) = field(line);
        self.recognised |= matches!(name, b"" | b"data" | b"event" | b"id" | b"retry");
        match (name, value) {
            (b"data", value) => Ok(self.add_data(value)?),
            (b"event", value) => {
                self.name.clear();
                self.name.extend_from_slice(value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add_data(&mut self, value: &[u8]) -> Result<(), EventTooLarge> {
        if self.data.len() + value.len() > MAX_EVENT_BYTES {
            return Err(EventTooLarge);
        }
        self.data.extend_from_slice(value);
        self.data.push(b'\n');
        Ok(())
    }

    fn end_event<E>(&mut self, on_event: &mut impl FnMut(SseEvent<'_>) -> Result<(), E>) -> Result<(), E> {
        let given = match self.data.split_last() {
            None => Ok(()),
            Some((_, data)) => {
                on_event(SseEvent { name: &String::from_utf8_lossy(&self.name), data: &String::from_utf8_lossy(data) })
            }
        };
        self.name.clear();
        self.data.clear();
        given
    }
}

/// Splits a line into field and value; a comment has an empty field.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    // The colon is found within the first bytes, so looking for it costs nothing on a long line.
    let Some(colon) = line.iter().position(|&byte| byte == b':') else { return (line, b"") };
    let value = &line[colon + 1..];
    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::{EventTooLarge, MAX_EVENT_BYTES, SseReader};

    fn events(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut reader = SseReader::default();
        let mut events = Vec::new();
        for chunk in chunks {
            reader
                .push(chunk, |event| {
                    events.push((event.name.to_owned(), event.data.to_owned()));
                    Ok::<(), EventTooLarge>(())
                })
                .expect("the event is small");
        }
        events
    }

    #[track_caller]
    fn check(stream: &[u8], expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect();
        assert_eq!(events(&[stream]), expected, "whole");
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(events(&bytes), expected, "byte by byte");
        for at in 0..=stream.len() {
            assert_eq!(events(&[&stream[..at], &stream[at..]]), expected, "cut at {at}");
        }
    }

    #[test]
    fn all_three_line_ends_count() {
        check(b"event: a\ndata: 1\n\nevent: b\r\ndata: 2\r\n\r\nevent: c\rdata: 3\r\r", &[("a", "1"), ("b", "2"), ("c", "3")]);
    }

    #[test]
    fn a_carriage_return_ends_the_event_at_once() {
        let mut seen = 0;
        SseReader::default()
            .push(b"data: x\r\r", |_| {
                seen += 1;
                Ok::<(), EventTooLarge>(())
            })
            .expect("small");
        assert_eq!(seen, 1);
    }

    #[test]
    fn byte_order_mark_comments_and_other_fields_are_passed_over() {
        check("\u{feff}data: ä€😀\n: ping\nid: 7\nretry: 5\nnoise\n\n".as_bytes(), &[("", "ä€😀")]);
    }

    #[test]
    fn data_lines_are_joined() {
        check(b"data: a\ndata:  b\ndata\ndata:c\n\n", &[("", "a\n b\n\nc")]);
        check(b"data:\n\n", &[("", "")]);
    }

    #[test]
    fn an_event_without_data_or_without_end_is_not_given() {
        check(b"event: a\n\ndata: x\n\nevent: b\ndata: cut", &[("", "x")]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        check(b"data: a\xffb\n\n", &[("", "a\u{fffd}b")]);
    }

    #[test]
    fn what_is_no_event_stream_is_told_from_one_that_says_nothing() {
        let is_foreign = |stream: &[u8]| {
            let mut reader = SseReader::default();
            reader.push(stream, |_| Ok::<(), EventTooLarge>(())).expect("small");
            reader.is_foreign()
        };
        for stream in ["<html>", "<!doctype html>\n\n<p>Please sign in</p>\n", "{\"error\": 1}", "\n\n404"] {
            assert!(is_foreign(stream.as_bytes()), "{stream:?}");
        }
        for stream in ["", ": ping\n\n", "event: a\n", "data: x\n\n", "retry: 5\n<html>\n"] {
            assert!(!is_foreign(stream.as_bytes()), "{stream:?}");
        }
    }

    #[test]
    fn an_event_that_never_ends_is_an_error() {
        let ignore = |_: super::SseEvent<'_>| Ok::<(), EventTooLarge>(());
        let block = vec![b'x'; 1024 * 1024];
        let blocks = MAX_EVENT_BYTES / block.len();
        let mut one_line = SseReader::default();
        let pushed = (0..=blocks).try_for_each(|_| one_line.push(&block, ignore));
        assert_eq!(pushed, Err(EventTooLarge));
        let mut many_lines = SseReader::default();
        let line = [b"data: ".as_slice(), &block, b"\n"].concat();
        let pushed = (0..=blocks).try_for_each(|_| many_lines.push(&line, ignore));
        assert_eq!(pushed, Err(EventTooLarge));
    }
}
