//! Turns and their queue. A conversation has at most one running turn; "busy" is that the node that has claimed it is alive.

use domain::{ConversationId, MessageId, Mode, NodeId, Outcome, Seq, Timestamp, Turn, TurnId, TurnState, Usage};
use uuid::Uuid;

use crate::{Row, StoreError, Tx, Value};

const COLUMNS: &str = "id, conversation_id, state, mode, workdir, reply_id, created_at, started_at, steps, \
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, outcome";

/// Where in the queue a turn is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    Last,
    /// Before all that wait.
    First,
}

/// Queues a turn.
///
/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, turn: &Turn, position: Position) -> Result<(), StoreError> {
    let position = match position {
        Position::Last => "(SELECT COALESCE(MAX(position), 0) + 1 FROM turn WHERE conversation_id = $2 AND state <> 'finished')",
        Position::First => "(SELECT COALESCE(MIN(position), 0) - 1 FROM turn WHERE conversation_id = $2 AND state <> 'finished')",
    };
    let sql = format!(
        "INSERT INTO turn (id, conversation_id, state, position, mode, workdir, reply_id, created_at, steps, \
             input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, resumes) \
         VALUES ($1, $2, 'queued', {position}, $3, $4, $5, $6, 0, 0, 0, 0, 0, 0)"
    );
    let workdir = turn.workdir.as_ref().map(|path| path.to_string_lossy().into_owned());
    tx.later(
        &sql,
        &[
            turn.id.uuid().into(),
            turn.conversation.uuid().into(),
            turn.mode.as_str().into(),
            workdir.into(),
            turn.reply.uuid().into(),
            turn.created_at.0.into(),
        ],
    )
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: TurnId) -> Result<Option<Turn>, StoreError> {
    tx.query_one(&format!("SELECT {COLUMNS} FROM turn WHERE id = $1"), &[id.uuid().into()])?.map(|row| turn(&row)).transpose()
}

/// The turn that runs in this conversation, then those that wait, in the order in which they will be answered.
///
/// # Errors
/// The database's.
pub fn open(tx: &mut Tx, conversation: ConversationId) -> Result<Vec<Turn>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM turn WHERE conversation_id = $1 AND state <> 'finished' ORDER BY state = 'queued', position"
    );
    tx.query(&sql, &[conversation.uuid().into()])?.iter().map(turn).collect()
}

/// Marks the turn as running since event `seq`, on this node. Returns the how-manieth it is to start in its conversation.
///
/// # Errors
/// The database's.
pub fn start(tx: &mut Tx, id: TurnId, seq: Seq, at: Timestamp, node: Option<NodeId>) -> Result<i64, StoreError> {
    let sql = "UPDATE turn SET state = 'running', started_at = $2, started_seq = $3, node_id = $4, ordinal = \
         (SELECT COALESCE(MAX(o.ordinal), 0) + 1 FROM turn o WHERE o.conversation_id = turn.conversation_id) WHERE id = $1 \
         RETURNING ordinal";
    let row = tx.query_one(sql, &[id.uuid().into(), at.0.into(), seq.0.into(), node.map(NodeId::uuid).into()])?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// Who has claimed a running turn, and whether it is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// `None`: nobody who is alive.
    pub node: Option<NodeId>,
    pub stop: bool,
}

/// Who has claimed this turn.
///
/// # Errors
/// The database's.
pub fn claim(tx: &mut Tx, id: TurnId) -> Result<Claim, StoreError> {
    let row = tx
        .query_one("SELECT n.id, t.stop FROM turn t LEFT JOIN node n ON n.id = t.node_id WHERE t.id = $1", &[id.uuid().into()])?;
    let Some(row) = row else { return Ok(Claim { node: None, stop: false }) };
    Ok(Claim { node: row.get::<Option<Uuid>>(0)?.map(NodeId::from_uuid), stop: row.get::<i64>(1)? != 0 })
}

/// Gives a running turn to this node, or to nobody. Must be fenced by whoever calls it.
///
/// # Errors
/// The database's.
pub fn set_node(tx: &mut Tx, id: TurnId, node: Option<NodeId>) -> Result<(), StoreError> {
    tx.execute("UPDATE turn SET node_id = $2 WHERE id = $1", &[id.uuid().into(), node.map(NodeId::uuid).into()])?;
    Ok(())
}

/// Says that a running turn is to stop. Whoever runs it learns of it at the latest when it next renews its lease.
///
/// # Errors
/// The database's.
pub fn ask_to_stop(tx: &mut Tx, id: TurnId) -> Result<(), StoreError> {
    tx.execute("UPDATE turn SET stop = 1 WHERE id = $1 AND state = 'running'", &[id.uuid().into()])?;
    Ok(())
}

/// The turns of this node that are to stop.
///
/// # Errors
/// The database's.
pub fn to_stop(tx: &mut Tx, node: NodeId) -> Result<Vec<(ConversationId, TurnId)>, StoreError> {
    let sql = "SELECT conversation_id, id FROM turn WHERE node_id = $1 AND state = 'running' AND stop = 1";
    let rows = tx.query(sql, &[node.uuid().into()])?;
    rows.iter().map(|row| Ok((ConversationId::from_uuid(row.get::<Uuid>(0)?), TurnId::from_uuid(row.get::<Uuid>(1)?)))).collect()
}

/// At most `limit` conversations in which something is to be done and nobody does it: a turn runs whose node is not alive,
/// or turns wait and none runs.
///
/// # Errors
/// The database's.
pub fn conversations_left_alone(tx: &mut Tx, limit: u32) -> Result<Vec<ConversationId>, StoreError> {
    let rows = tx.query(
        "SELECT t.conversation_id FROM turn t \
             WHERE t.state = 'running' AND NOT EXISTS (SELECT 1 FROM node n WHERE n.id = t.node_id) \
         UNION SELECT q.conversation_id FROM turn q WHERE q.state = 'queued' AND NOT EXISTS \
             (SELECT 1 FROM turn r WHERE r.conversation_id = q.conversation_id AND r.state = 'running') \
         LIMIT $1",
        &[i64::from(limit).into()],
    )?;
    rows.iter().map(|row| Ok(ConversationId::from_uuid(row.get::<Uuid>(0)?))).collect()
}

/// Counts that the turn is taken up again after a crash; returns how often that has happened, this time included.
///
/// # Errors
/// The database's.
pub fn count_resume(tx: &mut Tx, id: TurnId) -> Result<i64, StoreError> {
    let row = tx.query_one("UPDATE turn SET resumes = resumes + 1 WHERE id = $1 RETURNING resumes", &[id.uuid().into()])?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// Adds one finished model request and what it used.
///
/// # Errors
/// The database's.
pub fn add_step(tx: &mut Tx, id: TurnId, usage: &Usage) -> Result<(), StoreError> {
    let count = |tokens: u64| Value::Int(i64::try_from(tokens).unwrap_or(i64::MAX));
    tx.later(
        "UPDATE turn SET steps = steps + 1, input_tokens = input_tokens + $2, output_tokens = output_tokens + $3, \
             cache_read_tokens = cache_read_tokens + $4, cache_write_tokens = cache_write_tokens + $5 WHERE id = $1",
        &[id.uuid().into(), count(usage.input), count(usage.output), count(usage.cache_read), count(usage.cache_write)],
    )
}

/// Ends the turn.
///
/// # Errors
/// The database's.
pub fn finish(tx: &mut Tx, id: TurnId, seq: Seq, outcome: &Outcome) -> Result<(), StoreError> {
    let outcome = serde_json::to_string(outcome).map_err(|e| StoreError::Failed(e.to_string()))?;
    let sql = "UPDATE turn SET state = 'finished', finished_seq = $2, outcome = $3 WHERE id = $1";
    tx.later(sql, &[id.uuid().into(), seq.0.into(), outcome.into()])
}

/// How each of these turns ended, for those that had ended with event `as_of` (or by now).
///
/// # Errors
/// The database's.
pub fn outcomes(tx: &mut Tx, turns: &[TurnId], as_of: Option<Seq>) -> Result<Vec<(TurnId, Outcome)>, StoreError> {
    let ids: Vec<Uuid> = turns.iter().map(|turn| turn.uuid()).collect();
    let rows = tx.query(
        "SELECT id, outcome FROM turn WHERE id = ANY($1) AND state = 'finished' AND finished_seq <= $2",
        &[ids.into(), as_of.map_or(i64::MAX, |seq| seq.0).into()],
    )?;
    rows.iter().map(|row| Ok((TurnId::from_uuid(row.get::<Uuid>(0)?), outcome(&row.get::<String>(1)?)?))).collect()
}

/// The first assistant message of each of these turns.
///
/// # Errors
/// The database's.
pub fn replies(tx: &mut Tx, turns: &[TurnId]) -> Result<Vec<MessageId>, StoreError> {
    let ids: Vec<Uuid> = turns.iter().map(|turn| turn.uuid()).collect();
    let rows = tx.query("SELECT reply_id FROM turn WHERE id = ANY($1)", &[ids.into()])?;
    rows.iter().map(|row| Ok(MessageId::from_uuid(row.get::<Uuid>(0)?))).collect()
}

/// The turn that was running right after event `seq`. One that is ended while it waits has its start and its end in the
/// log at that moment, so of two the one that started first is the one that runs.
///
/// # Errors
/// The database's.
pub fn running_at(tx: &mut Tx, conversation: ConversationId, seq: Seq) -> Result<Option<Turn>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM turn WHERE conversation_id = $1 AND started_seq <= $2 \
         AND (finished_seq IS NULL OR finished_seq > $2) ORDER BY started_seq LIMIT 1"
    );
    tx.query_one(&sql, &[conversation.uuid().into(), seq.0.into()])?.map(|row| turn(&row)).transpose()
}

/// The event with which the turn started; `None` if it waits, or there is none.
///
/// # Errors
/// The database's.
pub fn started_seq(tx: &mut Tx, id: TurnId) -> Result<Option<Seq>, StoreError> {
    let row = tx.query_one("SELECT started_seq FROM turn WHERE id = $1", &[id.uuid().into()])?;
    Ok(row.map_or(Ok(None), |row| row.get::<Option<i64>>(0))?.map(Seq))
}

/// The turn and those that started before it, newest first: at least `least` of them if there are as many, and at most
/// `least + step`. The oldest one changes only every `step` turns.
///
/// # Errors
/// The database's.
pub fn window(tx: &mut Tx, conversation: ConversationId, turn: TurnId, least: u32, step: u32) -> Result<Vec<TurnId>, StoreError> {
    let row = tx.query_one("SELECT ordinal FROM turn WHERE id = $1", &[turn.uuid().into()])?;
    let last: i64 = row.map_or(Ok(None), |row| row.get(0))?.unwrap_or(0);
    let (least, step) = (i64::from(least), i64::from(step.max(1)));
    let before = (last - least).max(0) / step * step;
    let rows = tx.query(
        "SELECT id FROM turn WHERE conversation_id = $1 AND ordinal > $2 AND ordinal <= $3 ORDER BY ordinal DESC",
        &[conversation.uuid().into(), before.into(), last.into()],
    )?;
    rows.iter().map(|row| Ok(TurnId::from_uuid(row.get::<Uuid>(0)?))).collect()
}

fn turn(row: &Row) -> Result<Turn, StoreError> {
    let mode: String = row.get(3)?;
    let count = |index: usize| row.get::<i64>(index).map(|n| u64::try_from(n).unwrap_or(0));
    let state = match row.get::<String>(2)?.as_str() {
        "queued" => TurnState::Queued,
        "running" => TurnState::Running,
        _ => TurnState::Finished { outcome: outcome(&row.get::<String>(13)?)? },
    };
    Ok(Turn {
        id: TurnId::from_uuid(row.get::<Uuid>(0)?),
        conversation: ConversationId::from_uuid(row.get::<Uuid>(1)?),
        state,
        mode: Mode::parse(&mode).ok_or_else(|| StoreError::Failed(format!("stored mode {mode:?}")))?,
        workdir: row.get::<Option<String>>(4)?.map(Into::into),
        reply: MessageId::from_uuid(row.get::<Uuid>(5)?),
        created_at: Timestamp(row.get(6)?),
        started_at: row.get::<Option<i64>>(7)?.map(Timestamp),
        steps: u32::try_from(row.get::<i64>(8)?).unwrap_or(0),
        usage: Usage { input: count(9)?, output: count(10)?, cache_read: count(11)?, cache_write: count(12)? },
    })
}

fn outcome(text: &str) -> Result<Outcome, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Failed(format!("stored outcome: {e}")))
}
