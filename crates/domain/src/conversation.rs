use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{AccountId, ConversationId, Mode, ModelName, Timestamp};

/// One long-lived exchange between people and an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    pub id: ConversationId,
    pub owner: AccountId,
    pub title: String,
    pub model: ModelName,
    pub mode: Mode,
    /// Absolute path of the directory that the conversation's tools work in.
    pub workdir: PathBuf,
    pub created_at: Timestamp,
    /// Changes with every new row of the transcript, at the end of a turn and with a rename.
    pub updated_at: Timestamp,
    /// A turn is running now. Derived from the turn's live claim, never stored.
    pub busy: bool,
}
