use std::io::Read;
use std::time::Duration;

use async_trait::async_trait;
use domain::sockets::tool::{Effect, Tool, ToolContext, ToolError, ToolReply, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::PathError;
use crate::input::{parse, schema_of};
use crate::work::Slots;
use crate::workdir::{Links, Workdir};

/// The contract's cap on what one call returns.
const READ_LIMIT_BYTES: usize = 2 * 1024 * 1024;

/// Reading 2 MiB takes milliseconds; only a dead network disk takes longer.
const TIME_LIMIT: Duration = Duration::from_secs(10);

const DESCRIPTION: &str = "Reads a text file and returns its text unchanged. `path` is relative to the working directory, or \
    absolute inside it; nothing outside can be read. Only regular text files (UTF-8) can be read: a directory or a binary file \
    is an error. A file longer than 2 MiB is cut off there.";

/// Reads one text file.
#[derive(Debug)]
pub struct ReadFile {
    spec: ToolSpec,
    slots: Slots,
}

/// What a model gives to `read_file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadFileInput {
    /// Path of the file, relative to the working directory or absolute inside it.
    pub path: String,
}

impl ReadFile {
    #[must_use]
    pub fn new() -> Self {
        let spec = ToolSpec {
            name: "read_file".to_owned(),
            description: DESCRIPTION.to_owned(),
            input_schema: schema_of::<ReadFileInput>(),
            effect: Effect::Pure,
            modes: domain::Mode::ALL.to_vec(),
        };
        Self { spec, slots: Slots::for_reads() }
    }
}

impl Default for ReadFile {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Tool for ReadFile {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, context: ToolContext, input: Map<String, Value>) -> Result<ToolReply, ToolError> {
        let ReadFileInput { path } = parse(input)?;
        self.slots.run(context, TIME_LIMIT, move |context, _| read(context, &path)).await
    }
}

fn read(context: &ToolContext, path: &str) -> Result<ToolReply, ToolError> {
    let workdir = Workdir::of(context).map_err(|error| failed(&error.to_string()))?;
    let relative = workdir.relative(path).map_err(|error| refused(path, &error))?;
    let file = workdir.open_file(&relative, Links::Follow).map_err(|error| refused(path, &error))?;
    // One byte more than the cap tells whether there is more, however the file's size changes meanwhile.
    let mut bytes = Vec::new();
    (&file).take(READ_LIMIT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(&error.to_string()))?;
    let size = file.metadata().map_or(bytes.len() as u64, |metadata| metadata.len());
    text_of(bytes).ok_or_else(|| failed(&format!("{path} is a binary file of {size} bytes")))
}

/// The text up to the cap, or nothing if it is no text.
fn text_of(mut bytes: Vec<u8>) -> Option<ToolReply> {
    let truncated = bytes.len() > READ_LIMIT_BYTES;
    bytes.truncate(READ_LIMIT_BYTES);
    if bytes.contains(&0) {
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(output) => Some(ToolReply { output, truncated }),
        Err(error) => {
            // The cap may have cut a character in two; that part of it goes as well.
            let whole = error.utf8_error();
            let cut_in_two = truncated && whole.error_len().is_none();
            let mut bytes = error.into_bytes();
            bytes.truncate(whole.valid_up_to());
            cut_in_two.then(|| String::from_utf8(bytes).ok()).flatten().map(|output| ToolReply { output, truncated })
        }
    }
}

fn refused(path: &str, error: &PathError) -> ToolError {
    match error {
        PathError::NotFound => ToolError(format!("File not found: {path}")),
        PathError::Directory => failed(&format!("{path} is a directory")),
        PathError::NotRegular => failed(&format!("{path} is not a regular file")),
        other => failed(&other.to_string()),
    }
}

fn failed(reason: &str) -> ToolError {
    ToolError(format!("Failed to read file: {reason}"))
}
