//! One reader's ear: every delta is checked and timed.

use crate::Result;
use crate::clock::now_ns;
use crate::record::Reader;

/// What was heard of one answer.
#[derive(Debug, Default)]
pub struct Heard {
    /// When the message was about to be sent.
    pub begun_ns: u64,
    /// When the first delta came.
    pub first_ns: u64,
    /// When the end of the answer came.
    pub done_ns: u64,
    pub deltas: u32,
    /// Reads that the deltas came in: fewer than deltas if some came together.
    pub reads: u32,
    /// Of each delta, when it was sent and when it came.
    pub deltas_ns: Vec<(u64, u64)>,
}

/// Listens to one answer.
#[derive(Debug)]
pub struct Listener {
    reader: Reader,
    heard: Heard,
    last_read_ns: u64,
}

impl Listener {
    /// The message is about to be sent.
    #[must_use]
    pub fn new(deltas: u32) -> Self {
        let heard = Heard { begun_ns: now_ns(), deltas_ns: Vec::with_capacity(deltas as usize), ..Heard::default() };
        Self { reader: Reader::default(), heard, last_read_ns: 0 }
    }

    /// Takes the next piece of the answer's text, which came at `came_ns`.
    pub fn text(&mut self, text: &str, came_ns: u64) -> Result<()> {
        if self.is_done() {
            return Err("the stream is broken: a delta came behind the end".into());
        }
        let heard = &mut self.heard;
        if heard.reads == 0 {
            heard.first_ns = came_ns;
        }
        heard.reads += u32::from(came_ns != self.last_read_ns);
        self.last_read_ns = came_ns;
        self.reader.push(text, |_, sent_ns| heard.deltas_ns.push((sent_ns, came_ns)))
    }

    pub const fn done(&mut self, came_ns: u64) {
        self.heard.done_ns = came_ns;
    }

    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.heard.done_ns > 0
    }

    /// The stream is over: was it whole?
    pub fn finish(mut self, expected: u32) -> Result<Heard> {
        if !self.is_done() {
            return Err(format!("the stream is broken: it ended after {} deltas without its end", self.reader.count()).into());
        }
        self.reader.finish(expected)?;
        self.heard.deltas = self.reader.count();
        Ok(self.heard)
    }
}
