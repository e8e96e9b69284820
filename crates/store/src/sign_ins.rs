//! Signed-in browsers, by the hash of their cookie.

use domain::{AccountId, Timestamp};
use uuid::Uuid;

use crate::{StoreError, Tx};

/// # Errors
/// The database's.
pub fn insert(
    tx: &mut Tx,
    cookie_hash: &str,
    account: AccountId,
    at: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    tx.later(
        "INSERT INTO sign_in (cookie_hash, account_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        &[cookie_hash.into(), account.uuid().into(), at.0.into(), expires_at.0.into()],
    )
}

/// Whose browser it is; `None` if it is unknown, signed out, or expired at `now`.
///
/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, cookie_hash: &str, now: Timestamp) -> Result<Option<AccountId>, StoreError> {
    let sql = "SELECT account_id FROM sign_in WHERE cookie_hash = $1 AND expires_at > $2";
    let row = tx.query_one(sql, &[cookie_hash.into(), now.0.into()])?;
    row.map(|row| Ok(AccountId::from_uuid(row.get::<Uuid>(0)?))).transpose()
}

/// Signs the browser out.
///
/// # Errors
/// The database's.
pub fn delete(tx: &mut Tx, cookie_hash: &str) -> Result<(), StoreError> {
    tx.later("DELETE FROM sign_in WHERE cookie_hash = $1", &[cookie_hash.into()])
}

/// Forgets what had expired at `now`.
///
/// # Errors
/// The database's.
pub fn sweep(tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    tx.later("DELETE FROM sign_in WHERE expires_at <= $1", &[now.0.into()])
}
