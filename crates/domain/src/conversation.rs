use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{AccountId, ConversationId, Mode, ModelName, Timestamp};

/// One long-lived exchange between people and an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    pub id: ConversationId,
    pub owner: AccountId,
    pub home: Home,
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

/// Which API a conversation belongs to. It is listed and seen there and nowhere else, and answered by that API's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Home {
    /// A person's own: chats and sessions are two spellings of the same conversations.
    #[default]
    Direct,
    /// About a project's files: the assistant.
    Project,
    /// With the contacts of a channel: the hub.
    Hub,
}

impl Home {
    pub const ALL: [Self; 3] = [Self::Direct, Self::Project, Self::Hub];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Project => "project",
            Self::Hub => "hub",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|home| home.as_str() == text)
    }
}
