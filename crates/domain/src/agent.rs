//! What an agent is in one turn.

use std::path::PathBuf;

use crate::sockets::tool::Hidden;
use crate::{Mode, ModelName};

/// Who answers in one turn, and with what: resolved when the turn starts, and used for all of its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentProfile {
    pub model: ModelName,
    pub mode: Mode,
    /// The whole system prompt.
    pub instructions: String,
    pub tools: ToolSet,
    /// Absolute path of the directory that its tools never leave.
    pub workdir: PathBuf,
    pub hidden: Hidden,
}

/// The tools that a profile may use. Whatever it names, a tool must also be offered in the turn's mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolSet {
    /// Every tool that the mode offers.
    OfMode,
    /// These alone.
    Only(Vec<String>),
}

impl ToolSet {
    #[must_use]
    pub fn has(&self, tool: &str) -> bool {
        match self {
            Self::OfMode => true,
            Self::Only(names) => names.iter().any(|name| name == tool),
        }
    }
}
