//! The lines found, written as the model sees them.

use std::fmt::Write;
use std::io;
use std::path::Path;

use grep_searcher::{Searcher, Sink, SinkContext, SinkMatch};

use crate::report::display;

/// The contract's cap on what one call returns.
const MATCH_LIMIT: usize = 10_000;

/// What a model can take in at most; the limit of a command's output too. 1 KiB of it is left for notes at the end.
const OUTPUT_LIMIT_BYTES: usize = 1024 * 1024 - 1024;

/// Longer lines are data or generated; their beginning tells.
const LINE_LIMIT_CHARS: usize = 500;

/// The text of a search so far.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) text: String,
    /// The limit that the next line would have broken, in words.
    pub(super) limit: Option<&'static str>,
    matches: usize,
    with_context: bool,
}

/// A state of [`Lines`] to which they can go back.
pub(super) struct Mark {
    length: usize,
    matches: usize,
}

impl Lines {
    pub(super) fn new(with_context: bool) -> Self {
        Self { text: String::new(), limit: None, matches: 0, with_context }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { length: self.text.len(), matches: self.matches }
    }

    /// Forgets what came after the mark.
    pub(super) fn back_to(&mut self, mark: &Mark) {
        self.text.truncate(mark.length);
        self.matches = mark.matches;
        self.limit = None;
    }

    fn push(&mut self, path: &Path, separator: char, number: Option<u64>, line: &[u8]) -> bool {
        let before = self.text.len();
        let (path, number) = (display(path), number.unwrap_or_default());
        // Writing to a String does not fail.
        let _ = write!(self.text, "{path}{separator}{number}{separator}");
        push_shortened(&mut self.text, line);
        self.text.push('\n');
        if self.text.len() > OUTPUT_LIMIT_BYTES {
            self.text.truncate(before);
            self.limit = Some("1 MiB of output");
        }
        self.limit.is_none()
    }
}

/// Takes in the lines that the searcher finds in one file.
pub(super) struct LinesOfFile<'a> {
    lines: &'a mut Lines,
    path: &'a Path,
    started: bool,
    /// The file turned out to hold a NUL byte.
    pub(super) is_binary: bool,
}

impl<'a> LinesOfFile<'a> {
    pub(super) fn new(lines: &'a mut Lines, path: &'a Path) -> Self {
        Self { lines, path, started: false, is_binary: false }
    }

    /// Groups of lines are separated from file to file too.
    fn start(&mut self) {
        if !self.started && self.lines.with_context && !self.lines.text.is_empty() {
            self.lines.text.push_str("--\n");
        }
        self.started = true;
    }
}

impl Sink for LinesOfFile<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        if self.lines.matches == MATCH_LIMIT {
            self.lines.limit = Some("10,000 matches");
            return Ok(false);
        }
        self.start();
        self.lines.matches += 1;
        Ok(self.lines.push(self.path, ':', found.line_number(), found.bytes()))
    }

    fn context(&mut self, _: &Searcher, found: &SinkContext<'_>) -> io::Result<bool> {
        self.start();
        Ok(self.lines.push(self.path, '-', found.line_number(), found.bytes()))
    }

    fn context_break(&mut self, _: &Searcher) -> io::Result<bool> {
        self.lines.text.push_str("--\n");
        Ok(true)
    }

    fn binary_data(&mut self, _: &Searcher, _: u64) -> io::Result<bool> {
        self.is_binary = true;
        Ok(false)
    }
}

fn push_shortened(text: &mut String, line: &[u8]) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // No character has more than 4 bytes, so this is enough to find the cut.
    let start = String::from_utf8_lossy(&line[..line.len().min(LINE_LIMIT_CHARS * 4 + 4)]);
    match start.char_indices().nth(LINE_LIMIT_CHARS) {
        Some((end, _)) => {
            text.push_str(&start[..end]);
            text.push_str(" [line cut]");
        }
        None => text.push_str(&start),
    }
}
