use serde::{Deserialize, Serialize};

use super::{CannedReplyId, ChatId, ChatMessageId, ChatNoteId};
use crate::{AccountId, Timestamp};

/// What people on our side tell each other about a chat. It is never sent, and no agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatNote {
    pub id: ChatNoteId,
    pub chat: ChatId,
    /// The newest message when it was written: it stands behind that.
    pub after: Option<ChatMessageId>,
    pub content: String,
    pub author: NoteAuthor,
    pub author_name: Option<String>,
    pub created_at: Timestamp,
    pub edited_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteAuthor {
    /// Who has no account.
    Owner,
    Account(AccountId),
    /// Somebody whose account was removed.
    Removed,
}

/// A text that people send often, with words in braces that are filled in where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannedReply {
    pub id: CannedReplyId,
    pub title: String,
    /// What may be typed to find it; nothing else has the same.
    pub shortcut: Option<String>,
    pub content: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
