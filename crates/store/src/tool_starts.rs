//! Calls of tools that must never run twice by themselves: that they were begun, on disk before they are.

use domain::{ConversationId, QuestionId, Timestamp};
use uuid::Uuid;

use crate::{StoreError, Tx};

/// A call that was begun, and may have run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolStart {
    /// What a person was asked about it, if its last beginning was cut off.
    pub question: Option<QuestionId>,
}

/// Notes that the call begins, for the first time or once more.
///
/// # Errors
/// The database's.
pub fn begin(tx: &mut Tx, conversation: ConversationId, call_id: &str, at: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO tool_start (conversation_id, call_id, started_at) VALUES ($1, $2, $3) \
         ON CONFLICT (conversation_id, call_id) DO UPDATE SET started_at = excluded.started_at, question_id = NULL",
        &[conversation.uuid().into(), call_id.into(), at.0.into()],
    )?;
    Ok(())
}

/// `None`: the call was never begun.
///
/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, conversation: ConversationId, call_id: &str) -> Result<Option<ToolStart>, StoreError> {
    let sql = "SELECT question_id FROM tool_start WHERE conversation_id = $1 AND call_id = $2";
    let row = tx.query_one(sql, &[conversation.uuid().into(), call_id.into()])?;
    row.map(|row| Ok(ToolStart { question: row.get::<Option<Uuid>>(0)?.map(QuestionId::from_uuid) })).transpose()
}

/// Notes what was asked about a call whose last beginning was cut off.
///
/// # Errors
/// The database's.
pub fn ask(tx: &mut Tx, conversation: ConversationId, call_id: &str, question: QuestionId) -> Result<(), StoreError> {
    let sql = "UPDATE tool_start SET question_id = $3 WHERE conversation_id = $1 AND call_id = $2";
    tx.execute(sql, &[conversation.uuid().into(), call_id.into(), question.uuid().into()])?;
    Ok(())
}
