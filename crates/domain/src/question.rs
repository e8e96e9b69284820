//! Something that waits for a person's answer. It is on disk before it is shown, and answered once.

use serde::{Deserialize, Serialize};

use crate::{AccountId, ConversationId, QuestionId, Timestamp, ToolCall, TurnId};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    pub id: QuestionId,
    pub conversation: ConversationId,
    /// The turn that asked.
    pub turn: TurnId,
    pub kind: QuestionKind,
    pub asked_at: Timestamp,
    /// From then on it counts as answered with [`Answer::Expired`]; `None`: it waits as long as it takes.
    pub expires_at: Option<Timestamp>,
    /// `None` while it is open.
    pub answered: Option<Answered>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum QuestionKind {
    /// The model wants to know something: the calls of `ask_user` of one step. The turn ends with it, and the answer starts
    /// the next one.
    Choice { calls: Vec<ChoiceCall> },
    /// A tool call runs only if a person says so. The turn stays open meanwhile.
    Approval {
        call: ToolCall,
        reasons: Vec<String>,
        /// What would be done, made from the exact call by this program, never by the model.
        preview: String,
        /// SHA-256 of the call in lower-case hex: an answer is to this call and no other.
        hash: String,
    },
    /// A call with side effects was cut off by a crash and may have run. The turn stays open meanwhile.
    Unknown { call: ToolCall },
}

impl QuestionKind {
    /// Whether its turn ends with it, so that the answer is a message of its own.
    #[must_use]
    pub const fn ends_turn(&self) -> bool {
        match self {
            Self::Choice { .. } => true,
            Self::Approval { .. } | Self::Unknown { .. } => false,
        }
    }
}

/// One call of `ask_user`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoiceCall {
    pub call_id: String,
    pub choices: Vec<Choice>,
}

/// A question with the answers that the model thinks of. A person may always answer in own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub question: String,
    /// A word or two over it.
    pub header: String,
    pub options: Vec<ChoiceOption>,
    pub multi_select: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoiceOption {
    pub label: String,
    pub description: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub at: Timestamp,
    /// `None`: nobody; it expired, or its turn was cancelled.
    pub by: Option<AccountId>,
    pub answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To a [`QuestionKind::Choice`]: labels or own words for each question, in their order.
    Chosen {
        values: Vec<Vec<String>>,
    },
    /// To a [`QuestionKind::Choice`]: free text in place of all values.
    Said {
        text: String,
    },
    /// To a [`QuestionKind::Approval`].
    Approved,
    /// To a [`QuestionKind::Approval`].
    Denied {
        feedback: Option<String>,
    },
    /// To a [`QuestionKind::Unknown`]: run the call again.
    Rerun,
    /// To a [`QuestionKind::Unknown`]: it has run.
    MarkDone,
    /// To a [`QuestionKind::Unknown`]: go on without knowing.
    Skip,
    Expired,
    Cancelled,
}
