//! The log of a conversation: numbered facts, and the deltas of the part that is being written.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, Answered, ConversationId, MessageId, Outcome, Part, PartId, PartKind, Place, Question, QuestionId, Timestamp,
    TurnId, Usage,
};

/// The number of a fact in its conversation: 1, 2, 3… without gaps, assigned in the commit. 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub i64);

/// One fact in a conversation's log. It is on disk before anybody sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub conversation: ConversationId,
    pub seq: Seq,
    /// The epoch of the conversation when the fact was stored.
    pub epoch: i64,
    pub at: Timestamp,
    pub turn: Option<TurnId>,
    pub kind: EventKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    ConversationCreated,
    ConversationRenamed {
        title: String,
    },
    /// Model, mode or directory are others now.
    ConversationChanged,
    /// The last event a follower sees; nothing of the conversation is stored any more.
    ConversationDeleted,
    /// Somebody has left it for all clients of theirs, or is about to delete it. What runs is cancelled for that reason.
    ConversationClosed {
        why: Closing,
    },
    /// A person's message is stored.
    MessageAdded {
        /// The row's number, in conversations whose API numbers its rows.
        number: Option<i64>,
        part: Part,
        client_id: Option<String>,
        /// Turns that will be answered before this one.
        queued: u32,
        /// The running turn will see this message at its next step; no turn of its own answers it.
        steered: bool,
    },
    TurnStarted {
        /// The first assistant message of the turn.
        reply: MessageId,
        /// The messages it answers.
        answers: Vec<MessageId>,
    },
    /// After a crash the turn goes on with its current step asked again; text that was not stored is void.
    TurnResumed,
    /// A text or a thought is whole. Followers who saw all of its deltas learn nothing new.
    PartCompleted {
        part: Part,
    },
    ToolCalled {
        part: Part,
    },
    ToolReturned {
        part: Part,
    },
    /// A line about what the agent is doing, such as `Retrying`.
    StatusNoted {
        text: String,
    },
    /// Somebody is asked; what is asked about stays open until there is an answer.
    QuestionAsked {
        question: Box<Question>,
    },
    QuestionAnswered {
        question: QuestionId,
        answered: Answered,
    },
    TurnFinished {
        reply: MessageId,
        /// The last assistant message of the turn.
        last: MessageId,
        outcome: Outcome,
        usage: Usage,
        /// US dollars; `None` if the model's price is not known.
        cost: Option<f64>,
        duration_ms: u64,
    },
}

/// Why a conversation is closed for those who follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Closing {
    /// This account has ended its session.
    Session {
        account: AccountId,
    },
    Deletion,
}

/// The next piece of the part being written. Sent at once, stored within 50 ms, replaced by the whole part when it completes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    pub conversation: ConversationId,
    pub turn: TurnId,
    pub message: MessageId,
    pub part: PartId,
    pub ordinal: u32,
    pub kind: PartKind,
    pub place: Place,
    /// Bytes of the part before this piece.
    pub offset: usize,
    pub text: Arc<str>,
}

/// A position in a conversation's log: everything up to and including `seq`, and `offset` bytes of the part being written then.
///
/// Its text form is opaque to clients and shorter than 64 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Cursor {
    pub epoch: i64,
    pub seq: Seq,
    pub offset: usize,
}

impl Cursor {
    /// Before the first event.
    pub const START: Self = Self { epoch: 0, seq: Seq(0), offset: 0 };
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.seq.0, self.offset)
    }
}

/// The text is not a position in any log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct CursorError;

impl FromStr for Cursor {
    type Err = CursorError;

    /// Reads what [`Display`](fmt::Display) writes, and `0` for the beginning.
    fn from_str(text: &str) -> Result<Self, CursorError> {
        if text == "0" {
            return Ok(Self::START);
        }
        let mut numbers = text.split('.').map(|digits| match digits.as_bytes() {
            [] => Err(CursorError),
            bytes if bytes.len() > 18 || !bytes.iter().all(u8::is_ascii_digit) => Err(CursorError),
            _ => digits.parse::<i64>().map_err(|_| CursorError),
        });
        let mut next = || numbers.next().unwrap_or(Err(CursorError));
        let (epoch, seq, offset) = (next()?, next()?, next()?);
        if numbers.next().is_some() {
            return Err(CursorError);
        }
        Ok(Self { epoch, seq: Seq(seq), offset: usize::try_from(offset).map_err(|_| CursorError)? })
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, Seq};

    #[test]
    fn a_cursor_reads_back_what_it_writes() {
        let cursor = Cursor { epoch: 3, seq: Seq(41), offset: 1_000_000 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!("0".parse(), Ok(Cursor::START));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", ".", "1.2", "1.2.3.4", "1.-2.3", "a.b.c", "1.2.+3", "1..3", "9999999999999999999.1.1", "no-such-place"] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?} was taken for a cursor");
        }
    }
}
