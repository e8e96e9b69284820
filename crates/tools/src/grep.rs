mod lines;

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use domain::sockets::tool::{Effect, Tool, ToolContext, ToolError, ToolReply, ToolSpec};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::PathError;
use crate::input::{invalid, parse, schema_of};
use crate::pattern::PathPattern;
use crate::report::note_missed;
use crate::walk::{Filter, Kind, Missed, walk};
use crate::work::{Slots, Stop};
use crate::workdir::{Links, Workdir};
use lines::{Lines, LinesOfFile};

/// The contract's cap on the time of one call.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Source files are far smaller; what is larger is data, and would use up the time of a search.
const FILE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// A line is searched as a whole and cannot be interrupted, so this bounds the time from a cancel to an idle core.
const LINE_LIMIT_BYTES: usize = 1024 * 1024;

/// Text is searched in pieces of this size, with a look at the clock between them.
const PIECE_BYTES: usize = 16 * 1024;

/// As much of a large file is looked at to tell data from text.
const SNIFF_BYTES: u64 = 8 * 1024;

/// The contract's cap: enough to see a function around a line.
const CONTEXT_LIMIT_LINES: usize = 10;

/// Longer than any pattern a person writes.
const PATTERN_LIMIT_BYTES: usize = 1000;

/// The compiled pattern. In the worst case each byte of text costs time proportional to it, so it stays small;
/// `\w{30}` takes about 0.5 MiB.
const REGEX_LIMIT_BYTES: usize = 2 * 1024 * 1024;

/// The cache of the lazily built automaton; when it is full the search goes on, slower.
const AUTOMATON_LIMIT_BYTES: usize = 8 * 1024 * 1024;

const DESCRIPTION: &str = "Searches the text files below the working directory for a regular expression, line by line. Each \
    match is a line `path:line:text`; with `context_lines`, the lines around it are `path-line-text` and `--` separates groups. \
    The syntax is that of ripgrep (no look-around, no back-references); begin with `(?i)` to ignore case. What `.gitignore` \
    files exclude, `.git`, binary files and files over 16 MiB are left out, and hidden files too unless `glob` asks for them \
    (`.github/**`). Symbolic links are not followed. Returns at most 10,000 matches and 1 MiB, with long lines cut, and stops \
    after 10 s.";

/// Finds lines in files.
#[derive(Debug)]
pub struct Grep {
    spec: ToolSpec,
    slots: Slots,
}

/// What a model gives to `grep`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrepInput {
    /// Regular expression to search for within a line.
    pub pattern: String,
    /// Glob pattern for the paths of the files to search, such as `*.rs` or `src/**/*.ts`. Default: all files.
    #[serde(default)]
    #[schemars(with = "String")]
    pub glob: Option<String>,
    /// How many lines to show before and after each match, from 0 to 10. Default: 0.
    #[serde(default)]
    #[schemars(with = "u64", range(min = 0, max = 10))]
    pub context_lines: Option<u64>,
}

impl Grep {
    pub(crate) fn new(slots: Slots) -> Self {
        let spec = ToolSpec {
            name: "grep".to_owned(),
            description: DESCRIPTION.to_owned(),
            input_schema: schema_of::<GrepInput>(),
            effect: Effect::Pure,
            modes: domain::Mode::ALL.to_vec(),
        };
        Self { spec, slots }
    }
}

#[async_trait]
impl Tool for Grep {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, context: ToolContext, input: Map<String, Value>) -> Result<ToolReply, ToolError> {
        let input: GrepInput = parse(input)?;
        self.slots.run(context, TIME_LIMIT, move |context, stop| search(context, &input, stop)).await
    }
}

fn search(context: &ToolContext, input: &GrepInput, stop: &Stop) -> Result<ToolReply, ToolError> {
    let workdir = Workdir::of(context).map_err(|error| ToolError(error.to_string()))?;
    let pattern = input.glob.as_deref().map(|glob| PathPattern::parse(&workdir, "glob", glob)).transpose()?;
    let context_lines = context_lines(input)?;
    let mut search = Search {
        workdir: &workdir,
        matcher: matcher(&input.pattern)?,
        searcher: searcher(context_lines),
        stop,
        lines: Lines::new(context_lines > 0),
        stopped: false,
        too_large: 0,
        unreadable: 0,
    };
    let enters = |directory: &[u8]| pattern.as_ref().is_none_or(|pattern| pattern.may_match_inside(directory));
    let wanted = |path: &Path| pattern.as_ref().is_none_or(|pattern| pattern.matches(path.as_os_str().as_encoded_bytes()));
    let filter = Filter { hidden: pattern.as_ref().is_some_and(PathPattern::mentions_hidden), enters: &enters };
    let mut missed = walk(&workdir, &filter, stop, &mut |entry| {
        if entry.kind == Kind::File && wanted(entry.path) { search.file(entry.path) } else { ControlFlow::Continue(()) }
    })
    .map_err(|error| ToolError(format!("Failed to search files: {error}")))?;

    missed.stopped |= search.stopped;
    missed.unreadable += search.unreadable;
    Ok(reply(search.lines, &missed, search.too_large))
}

/// The lines, then what the search did not see.
fn reply(lines: Lines, missed: &Missed, too_large: usize) -> ToolReply {
    let mut output = lines.text;
    if output.is_empty() {
        output.push_str("No matches.\n");
    }
    let mut truncated = note_missed(&mut output, missed, TIME_LIMIT);
    if too_large > 0 {
        let _ = writeln!(output, "[Files over 16 MiB, or with a line over 1 MiB, were not searched: {too_large}.]");
        truncated = true;
    }
    if let Some(limit) = lines.limit {
        let _ = writeln!(output, "[Stopped at the limit of {limit}: there are more. Use a narrower pattern or glob.]");
        truncated = true;
    }
    output.truncate(output.trim_end_matches('\n').len());
    ToolReply { output, truncated }
}

struct Search<'a> {
    workdir: &'a Workdir,
    matcher: RegexMatcher,
    searcher: Searcher,
    stop: &'a Stop,
    lines: Lines,
    stopped: bool,
    too_large: usize,
    unreadable: usize,
}

/// Why a file was not searched to its end.
enum Skipped {
    /// Data, not text.
    Binary,
    /// Gone, or swapped for something else, since its name was read.
    Changed,
    TooLarge,
    Unreadable,
    Stopped,
}

impl Search<'_> {
    fn file(&mut self, path: &Path) -> ControlFlow<()> {
        let before = self.lines.mark();
        let Err(skipped) = self.add_lines_of(path) else {
            return if self.lines.limit.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        };
        match skipped {
            // What was found so far is right, only not all.
            Skipped::Stopped => {
                self.stopped = true;
                return ControlFlow::Break(());
            }
            Skipped::Binary | Skipped::Changed => {}
            Skipped::TooLarge => self.too_large += 1,
            Skipped::Unreadable => self.unreadable += 1,
        }
        self.lines.back_to(&before);
        ControlFlow::Continue(())
    }

    fn add_lines_of(&mut self, path: &Path) -> Result<(), Skipped> {
        let file = self.workdir.open_file(path, Links::Refuse)?;
        if file.metadata()?.len() > FILE_LIMIT_BYTES {
            return Err(if starts_binary(&file)? { Skipped::Binary } else { Skipped::TooLarge });
        }
        let mut pieces = Pieces { file: file.take(FILE_LIMIT_BYTES), stop: self.stop, failure: None };
        let mut lines = LinesOfFile::new(&mut self.lines, path);
        let searched = self.searcher.search_reader(&self.matcher, &mut pieces, &mut lines);
        match searched {
            Ok(()) if lines.is_binary => Err(Skipped::Binary),
            Ok(()) => Ok(()),
            // An error that reading did not cause: the line is longer than the searcher's memory.
            Err(_) => Err(pieces.failure.unwrap_or(Skipped::TooLarge)),
        }
    }
}

impl From<PathError> for Skipped {
    fn from(error: PathError) -> Self {
        match error {
            PathError::Io(_) | PathError::TooLong => Self::Unreadable,
            _ => Self::Changed,
        }
    }
}

impl From<io::Error> for Skipped {
    fn from(_: io::Error) -> Self {
        Self::Unreadable
    }
}

/// A file read in small pieces, so that a search can be stopped between them.
struct Pieces<'a> {
    file: io::Take<File>,
    stop: &'a Stop,
    failure: Option<Skipped>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_due() {
            self.failure = Some(Skipped::Stopped);
            return Err(io::Error::other("stopped"));
        }
        let end = buffer.len().min(PIECE_BYTES);
        self.file.read(&mut buffer[..end]).inspect_err(|_| self.failure = Some(Skipped::Unreadable))
    }
}

fn starts_binary(file: &File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.take(SNIFF_BYTES).read_to_end(&mut start)?;
    Ok(start.contains(&0))
}

fn context_lines(input: &GrepInput) -> Result<usize, ToolError> {
    let lines = input.context_lines.unwrap_or(0);
    match usize::try_from(lines) {
        Ok(lines) if lines <= CONTEXT_LIMIT_LINES => Ok(lines),
        _ => Err(invalid(&format!("`context_lines` must be from 0 to {CONTEXT_LIMIT_LINES}"))),
    }
}

fn matcher(pattern: &str) -> Result<RegexMatcher, ToolError> {
    if pattern.is_empty() || pattern.len() > PATTERN_LIMIT_BYTES {
        return Err(invalid(&format!("`pattern` must have 1 to {PATTERN_LIMIT_BYTES} bytes")));
    }
    RegexMatcherBuilder::new()
        .line_terminator(Some(b'\n'))
        .size_limit(REGEX_LIMIT_BYTES)
        .dfa_size_limit(AUTOMATON_LIMIT_BYTES)
        .build(pattern)
        .map_err(|error| invalid(&format!("`pattern`: {}", one_line(&error.to_string()))))
}

fn searcher(context_lines: usize) -> Searcher {
    SearcherBuilder::new()
        .line_number(true)
        .before_context(context_lines)
        .after_context(context_lines)
        .heap_limit(Some(LINE_LIMIT_BYTES))
        .binary_detection(BinaryDetection::quit(0))
        .build()
}

/// The parser points at the mistake with several lines; the last one says what it is.
fn one_line(message: &str) -> &str {
    let last = message.trim_end().lines().last().unwrap_or(message);
    last.strip_prefix("error: ").unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn when_time_is_up_the_rest_is_said_to_be_missing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a"), "x").unwrap();
        let input = GrepInput { pattern: "x".to_owned(), glob: None, context_lines: None };
        let (workdir, cancel) = (directory.path().to_owned(), CancellationToken::new());
        let context = ToolContext { workdir, hidden: domain::sockets::tool::Hidden::default(), cancel: cancel.clone() };
        let reply = search(&context, &input, &Stop::new(cancel, Duration::ZERO)).unwrap();
        assert_eq!(reply.output, "No matches.\n[Stopped after 10 s, before everything was seen.]");
        assert!(reply.truncated);
    }
}
