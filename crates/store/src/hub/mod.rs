//! The hub's nouns, a file each.

pub mod accounts;
pub mod agents;
pub mod tokens;

use domain::hub::HubId;

use crate::{StoreError, Tx};

/// A table whose ids are made from random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Account,
    Agent,
    Token,
}

/// Whether the id is given already.
///
/// # Errors
/// The database's.
pub fn is_taken(tx: &mut Tx, table: Table, id: impl HubId) -> Result<bool, StoreError> {
    let sql = match table {
        Table::Account => "SELECT id FROM account WHERE id = $1",
        Table::Agent => "SELECT id FROM agent WHERE id = $1",
        Table::Token => "SELECT id FROM token WHERE id = $1",
    };
    Ok(tx.query_one(sql, &[id.uuid().into()])?.is_some())
}

/// Says that `name` has happened. `false`: it had happened before.
///
/// # Errors
/// The database's.
pub fn first_time(tx: &mut Tx, name: &str, at: domain::Timestamp) -> Result<bool, StoreError> {
    let sql = "INSERT INTO once_only (name, at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    Ok(tx.execute(sql, &[name.into(), at.0.into()])? > 0)
}

fn flag(value: bool) -> i64 {
    i64::from(value)
}

fn unreadable(what: &str, value: &str) -> StoreError {
    StoreError::Failed(format!("stored {what} {value:?}"))
}
