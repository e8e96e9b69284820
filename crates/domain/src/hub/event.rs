use serde::{Deserialize, Serialize};

use super::{AgentId, ChannelId, ChatId, ChatMessage, ChatNote, ChatNoteId, ChatView};
use crate::{AccountId, Timestamp};

/// Something that operators see happen. Numbered over the whole hub, rising, with gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct HubEvent {
    pub seq: i64,
    pub at: Timestamp,
    pub channel: ChannelId,
    pub chat: ChatId,
    /// Who may see it without the channel's permission: the person it is assigned to, and the agents linked to it.
    pub seen_by: SeenBy,
    pub what: HubEventKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SeenBy {
    pub assigned: Option<AccountId>,
    pub agents: Vec<AgentId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HubEventKind {
    NewMessage {
        message: ChatMessage,
        chat: Box<ChatView>,
    },
    /// Its delivery, or what it says.
    MessageUpdated {
        message: ChatMessage,
    },
    ChatUpdated {
        chat: Box<ChatView>,
    },
    ChatDeleted,
    NewNote {
        note: ChatNote,
    },
    NoteUpdated {
        note: ChatNote,
    },
    NoteDeleted {
        note: ChatNoteId,
    },
}

impl HubEventKind {
    /// Whether it is for people alone, and among those for who asks for it.
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        match self {
            Self::NewNote { .. } | Self::NoteUpdated { .. } | Self::NoteDeleted { .. } => true,
            Self::NewMessage { .. } | Self::MessageUpdated { .. } | Self::ChatUpdated { .. } | Self::ChatDeleted => false,
        }
    }
}
