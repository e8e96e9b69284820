//! The nouns of Colloquy, the events of its log, and the sockets that models and tools plug into. No I/O happens here.
//!
//! | noun | meaning |
//! |---|---|
//! | [`Conversation`] | one long-lived exchange; owns an ordered log of events. Faces call it chat or session |
//! | [`Message`], [`Part`] | one utterance, immutable once complete; made of ordered parts |
//! | [`Author`] | who wrote a message |
//! | [`Turn`] | one agent's answer to what was said, from start to [`Outcome`]; at most one is active in a conversation |
//! | Step | one model request within a turn, and the tool calls it asked for |
//! | [`ToolCall`] | one wish of the model; its tool declares an [`Effect`] |
//! | [`Question`] | something that waits for a person's [`Answer`]; durable, answered once |
//! | [`AgentProfile`] | who answers in one turn: model, instructions, tools |
//! | [`Home`] | which API a conversation belongs to |
//! | [`Mode`] | Ask, Plan or Build: which tools a turn may use |
//! | [`Event`] | one fact in a conversation's log, numbered without gaps |
//! | [`Delta`] | a piece of a part that is still being written; has an offset instead of a number |
//! | [`Cursor`] | a position in a log: epoch, seq, and the offset in the part being written |
//! | [`Rule`], [`RuleVersion`], [`RuleRun`] | a question in plain language about a data set; one query for it; one execution |
//! | [`Job`] | durable background work, enqueued in the transaction that caused it |
//! | [`Principal`], [`Account`], [`Role`] | who asks for something; a person who may sign in, and what they may do |
//! | [`LanguageModel`], [`Provider`] | one callable model; the vendor or server that offers several |
//! | [`Project`] | a named directory that agents may look at |
//! | [`Tool`] | something a model may call |
//! | [`Platform`], [`Channel`](sockets::channel::Channel) | a messaging service; how it speaks |
//! | [`DeliveryStatus`] | how far a message to a contact has come |
//! | [`Egress`](sockets::egress::Egress), [`egress`] | the guarded way to addresses that others chose; its rules |
//! | [`hub`] | agents, channels, contacts, chats: people and agents who answer others on connected platforms |
//! | [`NodeId`], [`Carrier`] | one run of the program beside others on one database; what carries news between them |

mod account;
mod agent;
mod clock;
mod conversation;
mod delivery;
pub mod egress;
mod event;
pub mod hub;
mod ids;
mod job;
mod message;
mod mode;
mod platform;
mod project;
mod question;
mod rule;
pub mod sockets;
mod turn;

pub use account::{Account, Principal, Role};
pub use agent::{AgentProfile, ToolSet};
pub use clock::{Clock, SystemClock, Timestamp};
pub use conversation::{Conversation, Home};
pub use delivery::DeliveryStatus;
pub use event::{Closing, Cursor, CursorError, Delta, Event, EventKind, Seq};
pub use ids::{AccountId, ConversationId, JobId, MessageId, NodeId, PartId, QuestionId, RuleId, RunId, TurnId};
pub use job::{Job, JobState};
pub use message::{Author, Message, Part, PartBody, PartKind, Place, ToolCall, ToolOutcome, ToolResult};
pub use mode::Mode;
pub use platform::Platform;
pub use project::{Project, ProjectName, ProjectSource};
pub use question::{Answer, Answered, Choice, ChoiceCall, ChoiceOption, Question, QuestionKind};
pub use rule::{
    Chart, MadeFor, Mark, Rule, RulePolicy, RuleRun, RuleVersion, RunState, StoredRows, VersionBody, VersionSource, VersionState,
};
pub use sockets::carrier::{Carrier, CarrierError, Heard, Subject};
pub use sockets::language_model::{LanguageModel, ModelName, Provider};
pub use sockets::surveyor::Surveyor;
pub use sockets::tool::{Effect, Tool};
pub use turn::{Failure, FailureCode, Outcome, Turn, TurnState, Usage};
