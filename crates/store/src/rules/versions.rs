//! Versions of rules.

use domain::{AccountId, MadeFor, RuleId, RuleVersion, RunId, Timestamp, VersionSource, VersionState};
use uuid::Uuid;

use super::unreadable;
use crate::{Row, StoreError, Tx};

const COLUMNS: &str = "rule_id, version, source, state, sql, hash, text_hash, schema_hash, semantics_hash, body, waiting_run_id, \
    created_at, decided_by, decided_at";

/// The number of the next version of a rule.
///
/// # Errors
/// The database's.
pub fn next_version(tx: &mut Tx, rule: RuleId) -> Result<i64, StoreError> {
    let sql = "SELECT COALESCE(MAX(version), 0) + 1 FROM rule_version WHERE rule_id = $1";
    tx.query_one(sql, &[rule.uuid().into()])?.map_or(Ok(1), |row| row.get(0))
}

/// # Errors
/// [`StoreError::Duplicate`]: the number is taken; or the database's.
pub fn insert_version(tx: &mut Tx, version: &RuleVersion) -> Result<(), StoreError> {
    let body = serde_json::to_string(&version.body).map_err(|error| unreadable(&error))?;
    tx.execute(
        "INSERT INTO rule_version (rule_id, version, source, state, sql, hash, text_hash, schema_hash, semantics_hash, body, \
         waiting_run_id, created_at, decided_by, decided_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        &[
            version.rule.uuid().into(),
            version.version.into(),
            version.source.as_str().into(),
            version.state.as_str().into(),
            version.sql.as_str().into(),
            version.hash.as_str().into(),
            version.made_for.text.as_str().into(),
            version.made_for.schema.as_str().into(),
            version.made_for.semantics.as_str().into(),
            body.into(),
            version.waiting.map(RunId::uuid).into(),
            version.created_at.0.into(),
            version.decided_by.map(AccountId::uuid).into(),
            version.decided_at.map(|at| at.0).into(),
        ],
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn version(tx: &mut Tx, rule: RuleId, number: i64) -> Result<Option<RuleVersion>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rule_version WHERE rule_id = $1 AND version = $2");
    tx.query_one(&sql, &[rule.uuid().into(), number.into()])?.as_ref().map(read).transpose()
}

/// The versions of a rule, the oldest first.
///
/// # Errors
/// The database's.
pub fn versions_of(tx: &mut Tx, rule: RuleId) -> Result<Vec<RuleVersion>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rule_version WHERE rule_id = $1 ORDER BY version");
    tx.query(&sql, &[rule.uuid().into()])?.iter().map(read).collect()
}

/// The newest approved versions of all rules, each with the text it was made for, at most `limit`.
///
/// # Errors
/// The database's.
pub fn approved_versions(tx: &mut Tx, limit: i64) -> Result<Vec<(String, RuleVersion)>, StoreError> {
    let columns: Vec<String> = COLUMNS.split(',').map(|name| format!("v.{}", name.trim())).collect();
    let sql = format!(
        "SELECT {}, r.text FROM rule_version v JOIN rule r ON r.id = v.rule_id WHERE v.state = 'approved' \
         ORDER BY v.created_at DESC LIMIT $1",
        columns.join(", ")
    );
    tx.query(&sql, &[limit.into()])?.iter().map(|row| Ok((row.get(14)?, read(row)?))).collect()
}

/// Decides about a draft, once. `false`: it is no draft any more.
///
/// # Errors
/// The database's.
pub fn decide(
    tx: &mut Tx,
    rule: RuleId,
    number: i64,
    state: VersionState,
    who: AccountId,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let changed = tx.execute(
        "UPDATE rule_version SET state = $3, decided_by = $4, decided_at = $5 WHERE rule_id = $1 AND version = $2 AND state = 'draft'",
        &[rule.uuid().into(), number.into(), state.as_str().into(), who.uuid().into(), at.0.into()],
    )?;
    Ok(changed == 1)
}

/// # Errors
/// The database's.
pub fn set_version_state(tx: &mut Tx, rule: RuleId, number: i64, state: VersionState) -> Result<(), StoreError> {
    let sql = "UPDATE rule_version SET state = $3 WHERE rule_id = $1 AND version = $2";
    tx.execute(sql, &[rule.uuid().into(), number.into(), state.as_str().into()])?;
    Ok(())
}

fn read(row: &Row) -> Result<RuleVersion, StoreError> {
    let (source, state): (String, String) = (row.get(2)?, row.get(3)?);
    Ok(RuleVersion {
        rule: RuleId::from_uuid(row.get::<Uuid>(0)?),
        version: row.get(1)?,
        source: VersionSource::parse(&source).ok_or_else(|| StoreError::Failed(format!("stored source {source:?}")))?,
        state: VersionState::parse(&state).ok_or_else(|| StoreError::Failed(format!("stored state {state:?}")))?,
        sql: row.get(4)?,
        hash: row.get(5)?,
        made_for: MadeFor { text: row.get(6)?, schema: row.get(7)?, semantics: row.get(8)? },
        body: serde_json::from_str(&row.get::<String>(9)?).map_err(|error| unreadable(&error))?,
        waiting: row.get::<Option<Uuid>>(10)?.map(RunId::from_uuid),
        created_at: Timestamp(row.get(11)?),
        decided_by: row.get::<Option<Uuid>>(12)?.map(AccountId::from_uuid),
        decided_at: row.get::<Option<i64>>(13)?.map(Timestamp),
    })
}
