//! How an agent gets an idea of a project before it has looked at a single file.

use std::path::Path;

use async_trait::async_trait;

use crate::sockets::tool::{Hidden, ToolError};

#[async_trait]
pub trait Surveyor: Send + Sync + 'static {
    /// Looks over the directory, or remembers what it looked like if it has hardly changed. Bounded in time and size, however
    /// large the project is.
    async fn survey(&self, directory: &Path, hidden: &Hidden) -> Result<Survey, ToolError>;

    /// Only what the directory itself tells agents, if it does.
    async fn guidance(&self, directory: &Path, hidden: &Hidden) -> Result<Option<Document>, ToolError>;
}

/// A directory at a glance. Equal content makes an equal survey, so that a prompt made of it stays the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    pub files: u64,
    /// There was more than the limits allow.
    pub truncated: bool,
    /// Names of languages with their files, the most frequent first.
    pub languages: Vec<(String, u64)>,
    /// Directories near the root with the files below them, `src/ (12)`, and the files of the root, one on a line.
    pub tree: String,
    pub readme: Option<Document>,
    /// What the project itself tells agents: its `AGENTS.md` or `CLAUDE.md`.
    pub guidance: Option<Document>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name in the project.
    pub name: String,
    pub text: String,
    /// It goes on.
    pub truncated: bool,
}
