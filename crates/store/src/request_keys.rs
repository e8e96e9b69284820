//! What was answered to requests that carried an `Idempotency-Key`, so that a repeat is answered and not done again.

use domain::{AccountId, Timestamp};

use crate::{StoreError, Tx};

/// What is remembered under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Tells a repeat of the same request from another request under the same key.
    pub fingerprint: String,
    pub answer: String,
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, account: AccountId, key: &str) -> Result<Option<Remembered>, StoreError> {
    let sql = "SELECT fingerprint, answer FROM request_key WHERE account_id = $1 AND key = $2";
    let row = tx.query_one(sql, &[account.uuid().into(), key.into()])?;
    row.map(|row| Ok(Remembered { fingerprint: row.get(0)?, answer: row.get(1)? })).transpose()
}

/// # Errors
/// [`StoreError::Duplicate`]: the key is taken; or the database's.
pub fn insert(tx: &mut Tx, account: AccountId, key: &str, remembered: &Remembered, at: Timestamp) -> Result<(), StoreError> {
    tx.later(
        "INSERT INTO request_key (account_id, key, fingerprint, answer, created_at) VALUES ($1, $2, $3, $4, $5)",
        &[
            account.uuid().into(),
            key.into(),
            remembered.fingerprint.as_str().into(),
            remembered.answer.as_str().into(),
            at.0.into(),
        ],
    )
}

/// Forgets what was stored before `before`.
///
/// # Errors
/// The database's.
pub fn forget(tx: &mut Tx, before: Timestamp) -> Result<(), StoreError> {
    tx.later("DELETE FROM request_key WHERE created_at < $1", &[before.0.into()])
}
