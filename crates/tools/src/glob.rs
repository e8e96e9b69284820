use std::fmt::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use async_trait::async_trait;
use domain::sockets::tool::{Effect, Tool, ToolContext, ToolError, ToolReply, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::input::{parse, schema_of};
use crate::pattern::PathPattern;
use crate::report::{display, note_missed};
use crate::walk::{Filter, Kind, walk};
use crate::work::{Slots, Stop};
use crate::workdir::Workdir;

/// The contract's cap on what one call returns.
const PATH_LIMIT: usize = 10_000;

/// Beside the cap on paths, because one path may have 4 KiB: as much as `read_file` returns.
const OUTPUT_LIMIT_BYTES: usize = 2 * 1024 * 1024;

/// As long as people wait for a search; half a million files take about 1 s.
const TIME_LIMIT: Duration = Duration::from_secs(10);

const DESCRIPTION: &str = "Lists the files below the working directory whose paths match a glob pattern, sorted, one per line. \
    `*` and `?` match within a name, `**` crosses directories, `{a,b}` and `[a-z]` choose; a pattern without `/` matches names \
    at any depth (`*.rs`), `./*.rs` only at the top. What `.gitignore` files exclude and `.git` are left out, and hidden files \
    too unless the pattern asks for them (`.github/**`). Symbolic links are listed but not followed. Returns at most 10,000 \
    paths.";

/// Finds files by their paths.
#[derive(Debug)]
pub struct Glob {
    spec: ToolSpec,
    slots: Slots,
}

/// What a model gives to `glob`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GlobInput {
    /// Glob pattern, relative to the working directory, such as `src/**/*.rs`.
    pub pattern: String,
    /// Whether matching directories are listed too, with a `/` at the end. Default: false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub include_directories: Option<bool>,
}

impl Glob {
    pub(crate) fn new(slots: Slots) -> Self {
        let spec = ToolSpec {
            name: "glob".to_owned(),
            description: DESCRIPTION.to_owned(),
            input_schema: schema_of::<GlobInput>(),
            effect: Effect::Pure,
            modes: domain::Mode::ALL.to_vec(),
        };
        Self { spec, slots }
    }
}

#[async_trait]
impl Tool for Glob {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, context: ToolContext, input: Map<String, Value>) -> Result<ToolReply, ToolError> {
        let input: GlobInput = parse(input)?;
        self.slots.run(context, TIME_LIMIT, move |context, stop| list(context, &input, stop)).await
    }
}

fn list(context: &ToolContext, input: &GlobInput, stop: &Stop) -> Result<ToolReply, ToolError> {
    let workdir = Workdir::of(context).map_err(|error| ToolError(error.to_string()))?;
    let pattern = PathPattern::parse(&workdir, "pattern", &input.pattern)?;
    let with_directories = input.include_directories.unwrap_or(false);
    let filter = Filter { hidden: pattern.mentions_hidden(), enters: &|directory| pattern.may_match_inside(directory) };
    let mut paths = Paths::default();
    let missed = walk(&workdir, &filter, stop, &mut |entry| {
        let wanted = with_directories || entry.kind != Kind::Directory;
        if wanted && pattern.matches(entry.path.as_os_str().as_encoded_bytes()) {
            paths.add(&display(entry.path), entry.kind)
        } else {
            ControlFlow::Continue(())
        }
    })
    .map_err(|error| ToolError(format!("Failed to list files: {error}")))?;

    let mut output = paths.text;
    if output.is_empty() {
        output.push_str("No files match.\n");
    }
    let mut truncated = note_missed(&mut output, &missed, TIME_LIMIT);
    if let Some(limit) = paths.limit {
        let _ = writeln!(output, "[Stopped at the limit of {limit}: there are more. Use a narrower pattern.]");
        truncated = true;
    }
    output.truncate(output.trim_end_matches('\n').len());
    Ok(ToolReply { output, truncated })
}

#[derive(Default)]
struct Paths {
    text: String,
    count: usize,
    limit: Option<&'static str>,
}

impl Paths {
    fn add(&mut self, path: &str, kind: Kind) -> ControlFlow<()> {
        if self.count == PATH_LIMIT {
            self.limit = Some("10,000 paths");
            return ControlFlow::Break(());
        }
        if self.text.len() + path.len() > OUTPUT_LIMIT_BYTES {
            self.limit = Some("2 MiB of output");
            return ControlFlow::Break(());
        }
        self.count += 1;
        self.text.push_str(path);
        self.text.push_str(if kind == Kind::Directory { "/\n" } else { "\n" });
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn when_time_is_up_the_rest_is_said_to_be_missing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a"), "").unwrap();
        let input = GlobInput { pattern: "*".to_owned(), include_directories: None };
        let (workdir, cancel) = (directory.path().to_owned(), CancellationToken::new());
        let context = ToolContext { workdir, hidden: domain::sockets::tool::Hidden::default(), cancel: cancel.clone() };
        let reply = list(&context, &input, &Stop::new(cancel, Duration::ZERO)).unwrap();
        assert_eq!(reply.output, "No files match.\n[Stopped after 10 s, before everything was seen.]");
        assert!(reply.truncated);
    }
}
