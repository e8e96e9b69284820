//! What was forbidden, probed, decided or removed.

use domain::{AccountId, Timestamp};
use uuid::Uuid;

use crate::{StoreError, Tx};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub at: Timestamp,
    pub account: AccountId,
    /// The slug.
    pub rule: String,
    /// `forbidden`, `probed`, `approved`, `rejected`, `stored`, `deleted`.
    pub kind: String,
    /// The SQL, or what was decided.
    pub detail: String,
}

/// # Errors
/// The database's.
pub fn audit(tx: &mut Tx, entry: &AuditEntry) -> Result<(), StoreError> {
    // NUL, which no database stores, is the one character that a forbidden text may have beyond others.
    let detail = entry.detail.replace('\0', "\u{fffd}");
    tx.execute(
        "INSERT INTO rule_audit (id, at, account_id, rule, kind, detail) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            Uuid::now_v7().into(),
            entry.at.0.into(),
            entry.account.uuid().into(),
            entry.rule.as_str().into(),
            entry.kind.as_str().into(),
            detail.into(),
        ],
    )?;
    Ok(())
}

/// The newest entries.
///
/// # Errors
/// The database's.
pub fn audit_log(tx: &mut Tx, limit: i64) -> Result<Vec<AuditEntry>, StoreError> {
    let sql = "SELECT at, account_id, rule, kind, detail FROM rule_audit ORDER BY at DESC, id DESC LIMIT $1";
    let rows = tx.query(sql, &[limit.into()])?;
    let entry = |row: &crate::Row| {
        Ok(AuditEntry {
            at: Timestamp(row.get(0)?),
            account: AccountId::from_uuid(row.get::<Uuid>(1)?),
            rule: row.get(2)?,
            kind: row.get(3)?,
            detail: row.get(4)?,
        })
    };
    rows.iter().map(entry).collect()
}
