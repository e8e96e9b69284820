//! Posting messages, and reading what was said.

mod post;
mod read;

use std::path::PathBuf;

use domain::{ConversationId, Cursor, Message, MessageId, Mode, Outcome, PartId, Timestamp, TurnId};

pub(crate) use post::{answer, post, post_and_follow};
pub(crate) use read::{rows, rows_at, transcript};

/// A message to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    pub conversation: ConversationId,
    pub text: String,
    /// A name of the sender's own choice, 1-128 characters: a repeat under the same name is the same message.
    pub client_id: Option<String>,
    /// For this turn only.
    pub mode: Option<Mode>,
    /// For this turn only.
    pub workdir: Option<PathBuf>,
    pub when_busy: WhenBusy,
    pub title_rule: TitleRule,
}

/// An answer to the open choice of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answering {
    pub conversation: ConversationId,
    pub reply: crate::Reply,
    /// As in [`Post`].
    pub client_id: Option<String>,
    pub title_rule: TitleRule,
}

/// What becomes of a message that comes while a turn is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WhenBusy {
    /// It is answered afterwards, in order.
    #[default]
    Queue,
    /// The running turn sees it at its next step.
    Steer,
    /// The running turn is cancelled; this message is answered next.
    Interrupt,
    /// Nothing is stored; the answer is [`Error::Busy`](crate::Error::Busy).
    Reject,
}

/// How the first message names a conversation whose title nobody chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TitleRule {
    /// The first 50 characters, and `...` if there are more.
    FirstFiftyCharacters,
    /// The first line, at most 60 characters.
    FirstLine,
}

/// A message that is on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Posted {
    pub message: Message,
    /// The row's number, in conversations whose API numbers its rows.
    pub number: Option<i64>,
    /// The turn that answers it.
    pub turn: TurnId,
    /// Turns that will be answered before this one.
    pub queued: u32,
    /// It was there already.
    pub duplicate: bool,
    /// The position right before the message.
    pub before: Cursor,
}

/// A text block, as a list of rows shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// A person's text has the id of its message.
    pub id: PartId,
    pub message: MessageId,
    /// `false`: the agent's.
    pub from_person: bool,
    pub text: String,
    pub at: Timestamp,
    pub turn: TurnId,
    pub client_id: Option<String>,
    /// It is still being written.
    pub streaming: bool,
    /// On the last row of a turn that ended in another way than complete.
    pub outcome: Option<Outcome>,
}

/// Messages, and the position in the log that they stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    pub messages: Vec<TranscriptMessage>,
    pub cursor: Cursor,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TranscriptMessage {
    /// The part that is still being written is its last one.
    pub message: Message,
    /// It is still being written.
    pub streaming: bool,
    /// On the last assistant message of a finished turn.
    pub outcome: Option<Outcome>,
}
