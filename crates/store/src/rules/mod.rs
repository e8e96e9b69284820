//! Rules, their versions, runs and audit log, in the database of everything else.

mod audit;
mod runs;
mod versions;

pub use audit::{AuditEntry, audit, audit_log};
pub use runs::{begin_run, claim_run, find_repeat, finish_run, insert_run, run, runs_left_alone, runs_of, update_run};
pub use versions::{approved_versions, decide, insert_version, next_version, set_version_state, version, versions_of};

use domain::{AccountId, Rule, RuleId, RunId, StoredRows, Timestamp};
use uuid::Uuid;

use crate::{Row, StoreError, Tx, Value};

const COLUMNS: &str = "id, number, slug, code, name, text, owner_id, created_at, updated_at, table_name, version, run_id, rows, \
    first_stored_at, stored_at, stale";

/// Inserts the rule and gives it its number.
///
/// # Errors
/// [`StoreError::Duplicate`]: the slug is taken; or the database's.
pub fn insert(tx: &mut Tx, rule: &Rule) -> Result<i64, StoreError> {
    let row = tx.query_one(
        "INSERT INTO rule (id, number, slug, code, name, text, owner_id, created_at, updated_at, stale) \
         VALUES ($1, (SELECT COALESCE(MAX(r.number), 0) + 1 FROM rule r), $2, $3, $4, $5, $6, $7, $8, 0) RETURNING number",
        &[
            rule.id.uuid().into(),
            rule.slug.as_str().into(),
            rule.code.clone().into(),
            rule.name.as_str().into(),
            rule.text.as_str().into(),
            rule.owner.uuid().into(),
            rule.created_at.0.into(),
            rule.updated_at.0.into(),
        ],
    )?;
    row.map_or_else(|| Err(StoreError::Failed("no number came back".to_owned())), |row| row.get(0))
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: RuleId) -> Result<Option<Rule>, StoreError> {
    one(tx, "id = $1", id.uuid().into())
}

/// # Errors
/// The database's.
pub fn by_slug(tx: &mut Tx, slug: &str) -> Result<Option<Rule>, StoreError> {
    one(tx, "slug = $1", slug.into())
}

/// The rule that came from the rules file under this code.
///
/// # Errors
/// The database's.
pub fn by_code(tx: &mut Tx, code: &str) -> Result<Option<Rule>, StoreError> {
    one(tx, "code = $1", code.into())
}

/// All rules, the oldest first.
///
/// # Errors
/// The database's.
pub fn all(tx: &mut Tx) -> Result<Vec<Rule>, StoreError> {
    tx.query(&format!("SELECT {COLUMNS} FROM rule ORDER BY number"), &[])?.iter().map(read).collect()
}

/// # Errors
/// The database's.
pub fn rename(tx: &mut Tx, id: RuleId, name: &str, text: &str, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE rule SET name = $2, text = $3, updated_at = $4 WHERE id = $1";
    tx.execute(sql, &[id.uuid().into(), name.into(), text.into(), at.0.into()])?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn set_name(tx: &mut Tx, id: RuleId, name: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE rule SET name = $2 WHERE id = $1", &[id.uuid().into(), name.into()])?;
    Ok(())
}

/// Shows these rows from now on.
///
/// # Errors
/// The database's.
pub fn store_rows(tx: &mut Tx, id: RuleId, stored: &StoredRows) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE rule SET table_name = $2, version = $3, run_id = $4, rows = $5, stored_at = $6, updated_at = $6, stale = 0, \
         first_stored_at = COALESCE(first_stored_at, $6) WHERE id = $1",
        &[
            id.uuid().into(),
            stored.table.as_str().into(),
            stored.version.into(),
            stored.run.uuid().into(),
            stored.rows.into(),
            stored.at.0.into(),
        ],
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn set_stale(tx: &mut Tx, id: RuleId) -> Result<(), StoreError> {
    tx.execute("UPDATE rule SET stale = 1 WHERE id = $1", &[id.uuid().into()])?;
    Ok(())
}

/// Removes the rule with its versions and runs.
///
/// # Errors
/// The database's.
pub fn delete(tx: &mut Tx, id: RuleId) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM rule_version WHERE rule_id = $1",
        "DELETE FROM rule_run WHERE rule_id = $1",
        "DELETE FROM rule WHERE id = $1",
    ] {
        tx.execute(sql, &[id.uuid().into()])?;
    }
    Ok(())
}

fn one(tx: &mut Tx, condition: &str, value: Value) -> Result<Option<Rule>, StoreError> {
    tx.query_one(&format!("SELECT {COLUMNS} FROM rule WHERE {condition}"), &[value])?.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<Rule, StoreError> {
    let stored = match row.get::<Option<String>>(9)? {
        None => None,
        Some(table) => Some(StoredRows {
            table,
            version: row.get(10)?,
            run: RunId::from_uuid(row.get::<Uuid>(11)?),
            rows: row.get(12)?,
            first_at: Timestamp(row.get(13)?),
            at: Timestamp(row.get(14)?),
        }),
    };
    Ok(Rule {
        id: RuleId::from_uuid(row.get::<Uuid>(0)?),
        number: row.get(1)?,
        slug: row.get(2)?,
        code: row.get(3)?,
        name: row.get(4)?,
        text: row.get(5)?,
        owner: AccountId::from_uuid(row.get::<Uuid>(6)?),
        created_at: Timestamp(row.get(7)?),
        updated_at: Timestamp(row.get(8)?),
        stored,
        stale: row.get::<i64>(15)? == 1,
    })
}

fn unreadable(error: &serde_json::Error) -> StoreError {
    StoreError::Failed(format!("a stored rule cannot be read: {error}"))
}
