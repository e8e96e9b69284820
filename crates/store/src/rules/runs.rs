//! Runs of rules.

use domain::{AccountId, NodeId, RuleId, RuleRun, RunId, RunState, Timestamp};
use uuid::Uuid;

use super::unreadable;
use crate::{Row, StoreError, Tx, Value};

const COLUMNS: &str = "id, rule_id, account_id, key, fingerprint, state, created_at, started_at, finished_at, version, table_name, \
    rows, truncated, lineage, added, removed, request, dialog, answer";

/// Stores a run that this node runs.
///
/// # Errors
/// [`StoreError::Duplicate`]: another run of this account has the key; or the database's.
pub fn insert_run(tx: &mut Tx, run: &RuleRun, node: NodeId) -> Result<(), StoreError> {
    let mut values = values(run)?;
    values.push(node.uuid().into());
    tx.execute(
        "INSERT INTO rule_run (id, rule_id, account_id, key, fingerprint, state, created_at, started_at, finished_at, version, \
         table_name, rows, truncated, lineage, added, removed, request, dialog, answer, node_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
        &values,
    )?;
    Ok(())
}

/// Writes everything that a run has become.
///
/// # Errors
/// The database's.
pub fn update_run(tx: &mut Tx, run: &RuleRun) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE rule_run SET rule_id = $2, account_id = $3, key = $4, fingerprint = $5, state = $6, created_at = $7, \
         started_at = $8, finished_at = $9, version = $10, table_name = $11, rows = $12, truncated = $13, lineage = $14, \
         added = $15, removed = $16, request = $17, dialog = $18, answer = $19 WHERE id = $1",
        &values(run)?,
    )?;
    Ok(())
}

/// From now on this node runs it.
///
/// # Errors
/// The database's.
pub fn begin_run(tx: &mut Tx, id: RunId, node: NodeId, started_at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE rule_run SET state = 'running', started_at = $2, node_id = $3 WHERE id = $1 AND finished_at IS NULL";
    tx.execute(sql, &[id.uuid().into(), started_at.0.into(), node.uuid().into()])?;
    Ok(())
}

/// Ends a run that did not come to an answer of its own.
///
/// # Errors
/// The database's.
pub fn finish_run(tx: &mut Tx, id: RunId, state: RunState, answer: &str, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE rule_run SET state = $2, answer = $3, finished_at = $4 WHERE id = $1";
    tx.execute(sql, &[id.uuid().into(), state.as_str().into(), answer.into(), at.0.into()])?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn run(tx: &mut Tx, id: RunId) -> Result<Option<RuleRun>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rule_run WHERE id = $1");
    tx.query_one(&sql, &[id.uuid().into()])?.as_ref().map(read).transpose()
}

/// The run of this account that has the key.
///
/// # Errors
/// The database's.
pub fn find_repeat(tx: &mut Tx, account: AccountId, key: &str) -> Result<Option<RuleRun>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rule_run WHERE account_id = $1 AND key = $2");
    tx.query_one(&sql, &[account.uuid().into(), key.into()])?.as_ref().map(read).transpose()
}

/// The newest runs of a rule.
///
/// # Errors
/// The database's.
pub fn runs_of(tx: &mut Tx, rule: RuleId, limit: i64) -> Result<Vec<RuleRun>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rule_run WHERE rule_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2");
    tx.query(&sql, &[rule.uuid().into(), limit.into()])?.iter().map(read).collect()
}

/// Runs that have not ended and that no living node runs, the oldest first.
///
/// # Errors
/// The database's.
pub fn runs_left_alone(tx: &mut Tx) -> Result<Vec<RuleRun>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM rule_run WHERE finished_at IS NULL AND (state = 'waiting' OR state = 'running') \
         AND NOT EXISTS (SELECT 1 FROM node n WHERE n.id = rule_run.node_id) ORDER BY created_at, id"
    );
    tx.query(&sql, &[])?.iter().map(read).collect()
}

/// Gives a run that no living node runs to a node. `false`: another one has it, or it has ended.
///
/// # Errors
/// The database's.
pub fn claim_run(tx: &mut Tx, id: RunId, node: NodeId) -> Result<bool, StoreError> {
    let sql = "UPDATE rule_run SET node_id = $2 WHERE id = $1 AND finished_at IS NULL \
        AND NOT EXISTS (SELECT 1 FROM node n WHERE n.id = rule_run.node_id)";
    Ok(tx.execute(sql, &[id.uuid().into(), node.uuid().into()])? > 0)
}

fn values(run: &RuleRun) -> Result<Vec<Value>, StoreError> {
    let lineage = serde_json::to_string(&run.lineage).map_err(|error| unreadable(&error))?;
    Ok(vec![
        run.id.uuid().into(),
        run.rule.uuid().into(),
        run.account.uuid().into(),
        run.key.clone().into(),
        run.fingerprint.as_str().into(),
        run.state.as_str().into(),
        run.created_at.0.into(),
        run.started_at.map(|at| at.0).into(),
        run.finished_at.map(|at| at.0).into(),
        run.version.into(),
        run.table.clone().into(),
        run.rows.into(),
        i64::from(run.truncated).into(),
        lineage.into(),
        run.added.into(),
        run.removed.into(),
        run.request.as_str().into(),
        run.dialog.as_str().into(),
        run.answer.clone().into(),
    ])
}

fn read(row: &Row) -> Result<RuleRun, StoreError> {
    let state: String = row.get(5)?;
    Ok(RuleRun {
        id: RunId::from_uuid(row.get::<Uuid>(0)?),
        rule: RuleId::from_uuid(row.get::<Uuid>(1)?),
        account: AccountId::from_uuid(row.get::<Uuid>(2)?),
        key: row.get(3)?,
        fingerprint: row.get(4)?,
        state: RunState::parse(&state).ok_or_else(|| StoreError::Failed(format!("stored state {state:?}")))?,
        created_at: Timestamp(row.get(6)?),
        started_at: row.get::<Option<i64>>(7)?.map(Timestamp),
        finished_at: row.get::<Option<i64>>(8)?.map(Timestamp),
        version: row.get(9)?,
        table: row.get(10)?,
        rows: row.get(11)?,
        truncated: row.get::<i64>(12)? == 1,
        lineage: serde_json::from_str(&row.get::<String>(13)?).map_err(|error| unreadable(&error))?,
        added: row.get(14)?,
        removed: row.get(15)?,
        request: row.get(16)?,
        dialog: row.get(17)?,
        answer: row.get(18)?,
    })
}
