//! What a model may call.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::Mode;

/// Something a model may call.
#[async_trait]
pub trait Tool: Send + Sync + 'static {
    fn spec(&self) -> &ToolSpec;

    /// Runs the call. Input that does not fit the schema is an error, like any other failure of the tool; it never
    /// panics. It ends soon after `context.cancel` is cancelled.
    async fn run(&self, context: ToolContext, input: Map<String, Value>) -> Result<ToolReply, ToolError>;
}

/// What everybody may know of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// In the engine and towards models: `read_file`.
    pub name: String,
    /// For the model: what it does, and its limits.
    pub description: String,
    /// JSON Schema of the input, generated from its type.
    pub input_schema: Value,
    pub effect: Effect,
    /// The modes in which it is offered.
    pub modes: Vec<Mode>,
}

/// What running a call a second time would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Changes nothing.
    Pure,
    /// Changes something, to the same end however often.
    Idempotent,
    /// Must never run twice by itself.
    AtMostOnce,
}

impl Effect {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Idempotent => "idempotent",
            Self::AtMostOnce => "at_most_once",
        }
    }
}

/// Where and how long a call may work.
#[derive(Debug, Clone)]
pub struct ToolContext {
    /// Absolute path of the directory that the call never leaves.
    pub workdir: PathBuf,
    pub hidden: Hidden,
    pub cancel: CancellationToken,
}

/// What a call must not see, although it lies in its directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hidden {
    /// Absolute paths, with all that is below them: where this program keeps its own data.
    pub directories: Arc<[PathBuf]>,
    /// Files that by their name hold keys or passwords.
    pub secrets: bool,
}

impl Hidden {
    #[must_use]
    pub fn is_below(&self, path: &Path) -> bool {
        self.directories.iter().any(|directory| path.starts_with(directory))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolReply {
    pub output: String,
    /// There was more than the tool's limit allows.
    pub truncated: bool,
}

/// Why a call failed: a sentence that the model and people read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ToolError(pub String);
