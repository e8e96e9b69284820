//! Projects, and the conversations about them. The verbs of a conversation itself (post, cancel, follow, delete) are those of
//! every other; here is what only this API has: numbers, sessions, and a transcript with one row for each turn.

mod create;
mod detail;
mod files;
mod read;
mod registry;
mod sessions;

use domain::{Choice, Conversation, Outcome, ProjectName, Question, Timestamp, ToolCall, TurnId};

pub(crate) use create::create;
pub(crate) use detail::detail;
pub(crate) use files::file;
pub(crate) use read::{by_number, by_session, list, number_of};
pub(crate) use registry::{add, all, find, remove};
pub(crate) use sessions::{close, names, start};

/// A conversation to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewProjectConversation {
    /// Empty: none yet.
    pub title: String,
    /// What the agent says first, stored together with the conversation. No model ever reads it.
    pub greeting: Option<String>,
}

/// A conversation as its API lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectConversation {
    /// Positive, unique on the server, never used again.
    pub number: i64,
    pub project: ProjectName,
    pub conversation: Conversation,
    /// Rows of its transcript.
    pub rows: u64,
}

impl From<store::projects::Numbered> for ProjectConversation {
    fn from(found: store::projects::Numbered) -> Self {
        let store::projects::Numbered { number, project, conversation, rows } = found;
        Self { number, project, conversation, rows: u64::try_from(rows).unwrap_or(0) }
    }
}

/// A stretch of the list of a project's conversations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProjectPaging {
    /// Only those in whose title or transcript these words occur.
    pub words: Option<String>,
    /// Only those behind the one of this number.
    pub before: Option<i64>,
    pub limit: Option<u32>,
}

/// A conversation with its transcript, as of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectDetail {
    pub summary: ProjectConversation,
    /// What is finished, in the order in which it began.
    pub rows: Vec<ProjectRow>,
    /// The choice for whose answer the conversation waits.
    pub question: Option<Question>,
}

/// A person's message, or all that was said in one turn.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectRow {
    /// As [`ProjectConversation::number`], in a series of its own.
    pub number: i64,
    pub at: Timestamp,
    pub turn: TurnId,
    pub body: RowBody,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RowBody {
    Person { text: String, client_id: Option<String> },
    Agent { said: Vec<Said>, outcome: Outcome },
}

/// A piece of a turn, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    Text(String),
    /// A call that asks people is not among them.
    Call {
        call: ToolCall,
        is_error: bool,
    },
    /// What the turn ended with.
    Asked(Vec<Choice>),
}
