//! Pieces of parts that are still being written. After a crash they are all that is left of an open part.

use domain::{ConversationId, MessageId, PartId, PartKind, Place, Timestamp, TurnId};
use uuid::Uuid;

use crate::{Row, StoreError, Tx};

/// A stretch of an open part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDelta {
    pub conversation: ConversationId,
    /// In which it was written. In any other it means nothing.
    pub epoch: i64,
    pub turn: TurnId,
    pub message: MessageId,
    pub part: PartId,
    pub ordinal: u32,
    pub kind: PartKind,
    pub place: Place,
    /// When the part began.
    pub at: Timestamp,
    /// Bytes of the part before this stretch.
    pub start: usize,
    pub text: String,
}

/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, delta: &StoredDelta) -> Result<(), StoreError> {
    let kind = match delta.kind {
        PartKind::Text => "text",
        PartKind::Reasoning => "reasoning",
    };
    tx.later(
        "INSERT INTO delta (conversation_id, turn_id, message_id, part_id, ordinal, kind, place, at, start, text, epoch) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            delta.conversation.uuid().into(),
            delta.turn.uuid().into(),
            delta.message.uuid().into(),
            delta.part.uuid().into(),
            i64::from(delta.ordinal).into(),
            kind.into(),
            delta.place.0.into(),
            delta.at.0.into(),
            i64::try_from(delta.start).unwrap_or(i64::MAX).into(),
            delta.text.as_str().into(),
            delta.epoch.into(),
        ],
    )
}

/// Everything stored of the open parts of one turn in the present epoch, in order.
///
/// # Errors
/// The database's.
pub fn of_turn(tx: &mut Tx, turn: TurnId) -> Result<Vec<StoredDelta>, StoreError> {
    let rows = tx.query(
        "SELECT d.conversation_id, d.turn_id, d.message_id, d.part_id, d.ordinal, d.kind, d.place, d.at, d.start, d.text, d.epoch \
         FROM delta d JOIN conversation c ON c.id = d.conversation_id AND d.epoch IN (0, c.epoch) \
         WHERE d.turn_id = $1 AND NOT EXISTS (SELECT 1 FROM part p WHERE p.id = d.part_id) ORDER BY d.place, d.start",
        &[turn.uuid().into()],
    )?;
    rows.iter().map(delta).collect()
}

/// Forgets the pieces of every part of the turn.
///
/// # Errors
/// The database's.
pub fn forget(tx: &mut Tx, turn: TurnId) -> Result<(), StoreError> {
    tx.later("DELETE FROM delta WHERE turn_id = $1", &[turn.uuid().into()])
}

/// Forgets the pieces of parts that are complete, and of turns that no longer run.
///
/// # Errors
/// The database's.
pub fn sweep(tx: &mut Tx) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM delta WHERE part_id IN ( \
             SELECT d.part_id FROM (SELECT DISTINCT part_id, turn_id FROM delta) d \
             WHERE EXISTS (SELECT 1 FROM part p WHERE p.id = d.part_id) \
                OR NOT EXISTS (SELECT 1 FROM turn t WHERE t.id = d.turn_id AND t.state = 'running'))",
        &[],
    )?;
    Ok(())
}

fn delta(row: &Row) -> Result<StoredDelta, StoreError> {
    Ok(StoredDelta {
        conversation: ConversationId::from_uuid(row.get::<Uuid>(0)?),
        turn: TurnId::from_uuid(row.get::<Uuid>(1)?),
        message: MessageId::from_uuid(row.get::<Uuid>(2)?),
        part: PartId::from_uuid(row.get::<Uuid>(3)?),
        ordinal: u32::try_from(row.get::<i64>(4)?).unwrap_or(0),
        kind: if row.get::<String>(5)? == "reasoning" { PartKind::Reasoning } else { PartKind::Text },
        place: Place(row.get(6)?),
        at: Timestamp(row.get(7)?),
        start: usize::try_from(row.get::<i64>(8)?).unwrap_or(0),
        text: row.get(9)?,
        epoch: row.get(10)?,
    })
}
