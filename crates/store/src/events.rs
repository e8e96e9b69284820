//! The log. An event is numbered by the statement that also checks the fence, and its words live in `part` only.

use domain::{
    Answered, Closing, ConversationId, Event, EventKind, MessageId, Outcome, Part, PartId, Question, QuestionId, Seq, Timestamp,
};
use domain::{TurnId, Usage};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::conversations::Head;
use crate::{Row, StoreError, Tx, Value, messages};

/// Who may append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// Whoever holds the turn of this epoch.
    Epoch(i64),
    /// Everybody: what people do is not part of a turn.
    Open,
}

/// Takes the next number of the log; `None` if the conversation is gone, or the epoch is over.
///
/// Should be the first statement of its transaction: it locks the conversation against every other writer.
///
/// # Errors
/// The database's.
pub fn next(tx: &mut Tx, conversation: ConversationId, fence: Fence) -> Result<Option<Head>, StoreError> {
    let row = match fence {
        Fence::Epoch(epoch) => tx.query_one(
            "UPDATE conversation SET seq = seq + 1 WHERE id = $1 AND epoch = $2 RETURNING epoch, seq",
            &[conversation.uuid().into(), epoch.into()],
        )?,
        Fence::Open => tx.query_one(
            "UPDATE conversation SET seq = seq + 1 WHERE id = $1 RETURNING epoch, seq",
            &[conversation.uuid().into()],
        )?,
    };
    row.map(|row| Ok(Head { epoch: row.get(0)?, seq: Seq(row.get(1)?) })).transpose()
}

/// Keeps every other writer off the log until the transaction ends. `false`: the conversation is gone, or the epoch is over.
///
/// # Errors
/// The database's.
pub fn lock(tx: &mut Tx, conversation: ConversationId, fence: Fence) -> Result<bool, StoreError> {
    let id = conversation.uuid().into();
    let changed = match fence {
        Fence::Epoch(epoch) => {
            tx.execute("UPDATE conversation SET seq = seq WHERE id = $1 AND epoch = $2", &[id, epoch.into()])?
        }
        Fence::Open => tx.execute("UPDATE conversation SET seq = seq WHERE id = $1", &[id])?,
    };
    Ok(changed > 0)
}

/// Stores an event under the number it carries, and the part it brings.
///
/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, event: &Event) -> Result<(), StoreError> {
    let stored = StoredKind::from(&event.kind);
    if let Some(part) = part_of(&event.kind) {
        messages::insert_part(tx, event.conversation, part, event.seq)?;
    }
    let body = serde_json::to_string(&stored).map_err(|e| StoreError::Failed(e.to_string()))?;
    tx.later(
        "INSERT INTO event (conversation_id, seq, epoch, at, turn_id, kind, part_id, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            event.conversation.uuid().into(),
            event.seq.0.into(),
            event.epoch.into(),
            event.at.0.into(),
            event.turn.map(TurnId::uuid).into(),
            stored.name().into(),
            part_of(&event.kind).map(|part| part.id.uuid()).into(),
            body.into(),
        ],
    )
}

/// At most `limit` events with `after` < seq <= `until`, in order.
///
/// # Errors
/// The database's.
pub fn range(tx: &mut Tx, conversation: ConversationId, after: Seq, until: Seq, limit: u32) -> Result<Vec<Event>, StoreError> {
    let values: [Value; 4] = [conversation.uuid().into(), after.0.into(), until.0.into(), i64::from(limit).into()];
    let rows = tx.query(
        "SELECT p.id, p.message_id, p.ordinal, p.place, p.kind, p.text, p.body, p.created_at, \
             e.seq, e.epoch, e.at, e.turn_id, e.body \
         FROM event e LEFT JOIN part p ON p.id = e.part_id \
         WHERE e.conversation_id = $1 AND e.seq > $2 AND e.seq <= $3 ORDER BY e.seq LIMIT $4",
        &values,
    )?;
    rows.iter().map(|row| event(conversation, row)).collect()
}

/// The epoch in which event `seq` was stored; `None` if there is no such event.
///
/// # Errors
/// The database's.
pub fn epoch_of(tx: &mut Tx, conversation: ConversationId, seq: Seq) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT epoch FROM event WHERE conversation_id = $1 AND seq = $2";
    tx.query_one(sql, &[conversation.uuid().into(), seq.0.into()])?.map(|row| row.get(0)).transpose()
}

/// The event that brought a part.
///
/// # Errors
/// The database's.
pub fn seq_of_part(tx: &mut Tx, id: PartId) -> Result<Option<Seq>, StoreError> {
    tx.query_one("SELECT seq FROM part WHERE id = $1", &[id.uuid().into()])?.map(|row| Ok(Seq(row.get(0)?))).transpose()
}

/// An event as it is stored: without the part, which has its own row.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum StoredKind {
    ConversationCreated,
    ConversationRenamed {
        title: String,
    },
    ConversationChanged,
    ConversationDeleted,
    ConversationClosed {
        closing: Closing,
    },
    MessageAdded {
        client_id: Option<String>,
        queued: u32,
        steered: bool,
        #[serde(default)]
        number: Option<i64>,
    },
    TurnStarted {
        reply: MessageId,
        answers: Vec<MessageId>,
    },
    TurnResumed,
    PartCompleted,
    ToolCalled,
    ToolReturned,
    StatusNoted {
        text: String,
    },
    QuestionAsked {
        question: Box<Question>,
    },
    QuestionAnswered {
        question: QuestionId,
        answered: Answered,
    },
    TurnFinished {
        reply: MessageId,
        last: MessageId,
        result: Outcome,
        usage: Usage,
        cost: Option<f64>,
        duration_ms: u64,
    },
}

impl StoredKind {
    const fn name(&self) -> &'static str {
        match self {
            Self::ConversationCreated => "conversation_created",
            Self::ConversationRenamed { .. } => "conversation_renamed",
            Self::ConversationChanged => "conversation_changed",
            Self::ConversationDeleted => "conversation_deleted",
            Self::ConversationClosed { .. } => "conversation_closed",
            Self::MessageAdded { .. } => "message_added",
            Self::TurnStarted { .. } => "turn_started",
            Self::TurnResumed => "turn_resumed",
            Self::PartCompleted => "part_completed",
            Self::ToolCalled => "tool_called",
            Self::ToolReturned => "tool_returned",
            Self::StatusNoted { .. } => "status_noted",
            Self::QuestionAsked { .. } => "question_asked",
            Self::QuestionAnswered { .. } => "question_answered",
            Self::TurnFinished { .. } => "turn_finished",
        }
    }

    fn with_part(self, part: Option<Part>) -> Result<EventKind, StoreError> {
        let part = || part.ok_or_else(|| StoreError::Failed("an event without its part".to_owned()));
        Ok(match self {
            Self::ConversationCreated => EventKind::ConversationCreated,
            Self::ConversationRenamed { title } => EventKind::ConversationRenamed { title },
            Self::ConversationChanged => EventKind::ConversationChanged,
            Self::ConversationDeleted => EventKind::ConversationDeleted,
            Self::ConversationClosed { closing } => EventKind::ConversationClosed { why: closing },
            Self::MessageAdded { client_id, queued, steered, number } => {
                EventKind::MessageAdded { number, part: part()?, client_id, queued, steered }
            }
            Self::TurnStarted { reply, answers } => EventKind::TurnStarted { reply, answers },
            Self::TurnResumed => EventKind::TurnResumed,
            Self::PartCompleted => EventKind::PartCompleted { part: part()? },
            Self::ToolCalled => EventKind::ToolCalled { part: part()? },
            Self::ToolReturned => EventKind::ToolReturned { part: part()? },
            Self::StatusNoted { text } => EventKind::StatusNoted { text },
            Self::QuestionAsked { question } => EventKind::QuestionAsked { question },
            Self::QuestionAnswered { question, answered } => EventKind::QuestionAnswered { question, answered },
            Self::TurnFinished { reply, last, result, usage, cost, duration_ms } => {
                EventKind::TurnFinished { reply, last, outcome: result, usage, cost, duration_ms }
            }
        })
    }
}

impl From<&EventKind> for StoredKind {
    fn from(kind: &EventKind) -> Self {
        match kind {
            EventKind::ConversationCreated => Self::ConversationCreated,
            EventKind::ConversationRenamed { title } => Self::ConversationRenamed { title: title.clone() },
            EventKind::ConversationChanged => Self::ConversationChanged,
            EventKind::ConversationDeleted => Self::ConversationDeleted,
            EventKind::ConversationClosed { why } => Self::ConversationClosed { closing: *why },
            EventKind::MessageAdded { number, client_id, queued, steered, part: _ } => {
                Self::MessageAdded { client_id: client_id.clone(), queued: *queued, steered: *steered, number: *number }
            }
            EventKind::TurnStarted { reply, answers } => Self::TurnStarted { reply: *reply, answers: answers.clone() },
            EventKind::TurnResumed => Self::TurnResumed,
            EventKind::PartCompleted { .. } => Self::PartCompleted,
            EventKind::ToolCalled { .. } => Self::ToolCalled,
            EventKind::ToolReturned { .. } => Self::ToolReturned,
            EventKind::StatusNoted { text } => Self::StatusNoted { text: text.clone() },
            EventKind::QuestionAsked { question } => Self::QuestionAsked { question: question.clone() },
            EventKind::QuestionAnswered { question, answered } => {
                Self::QuestionAnswered { question: *question, answered: answered.clone() }
            }
            EventKind::TurnFinished { reply, last, outcome, usage, cost, duration_ms } => Self::TurnFinished {
                reply: *reply,
                last: *last,
                result: outcome.clone(),
                usage: *usage,
                cost: *cost,
                duration_ms: *duration_ms,
            },
        }
    }
}

fn part_of(kind: &EventKind) -> Option<&Part> {
    match kind {
        EventKind::MessageAdded { part, .. }
        | EventKind::PartCompleted { part }
        | EventKind::ToolCalled { part }
        | EventKind::ToolReturned { part } => Some(part),
        EventKind::ConversationCreated
        | EventKind::ConversationRenamed { .. }
        | EventKind::ConversationChanged
        | EventKind::ConversationDeleted
        | EventKind::ConversationClosed { .. }
        | EventKind::TurnStarted { .. }
        | EventKind::TurnResumed
        | EventKind::StatusNoted { .. }
        | EventKind::QuestionAsked { .. }
        | EventKind::QuestionAnswered { .. }
        | EventKind::TurnFinished { .. } => None,
    }
}

fn event(conversation: ConversationId, row: &Row) -> Result<Event, StoreError> {
    let part = row.get::<Option<Uuid>>(0)?.map(|_| messages::part(row)).transpose()?;
    let stored: StoredKind =
        serde_json::from_str(&row.get::<String>(12)?).map_err(|e| StoreError::Failed(format!("stored event: {e}")))?;
    Ok(Event {
        conversation,
        seq: Seq(row.get(8)?),
        epoch: row.get(9)?,
        at: Timestamp(row.get(10)?),
        turn: row.get::<Option<Uuid>>(11)?.map(TurnId::from_uuid),
        kind: stored.with_part(part)?,
    })
}
