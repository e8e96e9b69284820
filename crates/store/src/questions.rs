//! Questions that wait for a person, and their answers.

use domain::{AccountId, Answered, ConversationId, Question, QuestionId, QuestionKind, Timestamp, TurnId};
use uuid::Uuid;

use crate::{Row, StoreError, Tx};

const COLUMNS: &str = "id, conversation_id, turn_id, body, asked_at, expires_at, answered_at, answered_by, answer";

/// Stores an open question.
///
/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, question: &Question) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO question (id, conversation_id, turn_id, body, asked_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            question.id.uuid().into(),
            question.conversation.uuid().into(),
            question.turn.uuid().into(),
            json(&question.kind)?.into(),
            question.asked_at.0.into(),
            question.expires_at.map(|at| at.0).into(),
        ],
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: QuestionId) -> Result<Option<Question>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM question WHERE id = $1");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| question(&row)).transpose()
}

/// The questions of a conversation that nobody has answered yet, the oldest first.
///
/// # Errors
/// The database's.
pub fn open(tx: &mut Tx, conversation: ConversationId) -> Result<Vec<Question>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM question WHERE conversation_id = $1 AND answered_at IS NULL ORDER BY asked_at, id");
    tx.query(&sql, &[conversation.uuid().into()])?.iter().map(question).collect()
}

/// Stores the answer, unless there is one. `false`: there is one, or no such question.
///
/// # Errors
/// The database's.
pub fn answer(tx: &mut Tx, id: QuestionId, answered: &Answered) -> Result<bool, StoreError> {
    let changed = tx.execute(
        "UPDATE question SET answered_at = $2, answered_by = $3, answer = $4 WHERE id = $1 AND answered_at IS NULL",
        &[id.uuid().into(), answered.at.0.into(), answered.by.map(AccountId::uuid).into(), json(&answered.answer)?.into()],
    )?;
    Ok(changed > 0)
}

fn question(row: &Row) -> Result<Question, StoreError> {
    let kind: QuestionKind = read(&row.get::<String>(3)?)?;
    let answered = match row.get::<Option<i64>>(6)? {
        Some(at) => Some(Answered {
            at: Timestamp(at),
            by: row.get::<Option<Uuid>>(7)?.map(AccountId::from_uuid),
            answer: read(&row.get::<String>(8)?)?,
        }),
        None => None,
    };
    Ok(Question {
        id: QuestionId::from_uuid(row.get::<Uuid>(0)?),
        conversation: ConversationId::from_uuid(row.get::<Uuid>(1)?),
        turn: TurnId::from_uuid(row.get::<Uuid>(2)?),
        kind,
        asked_at: Timestamp(row.get(4)?),
        expires_at: row.get::<Option<i64>>(5)?.map(Timestamp),
        answered,
    })
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Failed(e.to_string()))
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Failed(format!("stored question: {e}")))
}
