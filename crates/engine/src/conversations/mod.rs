//! What can be done with a conversation as a whole.

mod change;
mod create;
mod delete;
mod import;
mod list;
mod search;

use std::path::PathBuf;

use domain::{ConversationId, Mode, ModelName, Timestamp};

pub(crate) use change::change;
pub(crate) use create::{create, prepare};
pub(crate) use delete::delete;
pub(crate) use import::{import, import_turn};
pub(crate) use list::{get, list};
pub(crate) use search::search;

pub use import::ImportedMessage;
pub use search::SearchHit;

/// A title that is still one of these was never chosen, so the first message replaces it.
pub const TITLES_TO_REPLACE: [&str; 2] = ["New Chat", "New Conversation"];

/// A conversation to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConversation {
    pub title: String,
    /// The default model, if none is named.
    pub model: Option<ModelName>,
    pub mode: Mode,
    /// The default directory, if none is named.
    pub workdir: Option<PathBuf>,
}

/// What is to be another than before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    pub title: Option<String>,
    pub model: Option<ModelName>,
    pub mode: Option<Mode>,
    pub workdir: Option<PathBuf>,
}

/// A stretch of the list of conversations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Paging {
    /// Only those in whose title or transcript these words occur.
    pub words: Option<String>,
    /// Only those behind this one.
    pub before: Option<ConversationId>,
    /// All, if there is no limit.
    pub limit: Option<u32>,
}

/// What a conversation's `updated_at` must become for a change made `now`: time never runs backwards in it.
pub(crate) fn later(before: Timestamp, now: Timestamp) -> Timestamp {
    before.max(now)
}
