//! Who works on this database. A node is alive while it has a row; it must renew its row in time, by the database's clock.
//!
//! Nothing else looks at that clock: a lease is over when somebody has removed the row, and not before, so that all agree.

use std::time::Duration;

use domain::NodeId;
use uuid::Uuid;

use crate::{StoreError, Tx};

/// Enters a node, alive for so long; without end if `lease` is `None`.
///
/// # Errors
/// The database's.
pub fn enter(tx: &mut Tx, id: NodeId, address: &str, lease: Option<Duration>) -> Result<(), StoreError> {
    let now = tx.now()?.0;
    let until = lease.map_or(i64::MAX, |lease| now.saturating_add(millis(lease)));
    tx.execute(
        "INSERT INTO node (id, address, started_at, alive_until) VALUES ($1, $2, $3, $4)",
        &[id.uuid().into(), address.into(), now.into(), until.into()],
    )?;
    Ok(())
}

/// Keeps a node alive for so long from now on. `false`: its row is gone, and with it all it had claimed.
///
/// # Errors
/// The database's.
pub fn renew(tx: &mut Tx, id: NodeId, lease: Duration) -> Result<bool, StoreError> {
    let until = tx.now()?.0.saturating_add(millis(lease));
    Ok(tx.execute("UPDATE node SET alive_until = $2 WHERE id = $1", &[id.uuid().into(), until.into()])? > 0)
}

/// Removes every node whose time is over; says which.
///
/// # Errors
/// The database's.
pub fn remove_late(tx: &mut Tx) -> Result<Vec<NodeId>, StoreError> {
    let now = tx.now()?.0;
    let rows = tx.query("DELETE FROM node WHERE alive_until < $1 RETURNING id", &[now.into()])?;
    rows.iter().map(|row| Ok(NodeId::from_uuid(row.get::<Uuid>(0)?))).collect()
}

/// Removes one node: it has ended.
///
/// # Errors
/// The database's.
pub fn remove(tx: &mut Tx, id: NodeId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM node WHERE id = $1", &[id.uuid().into()])?;
    Ok(())
}

/// Removes all nodes. Only whoever has the database for itself alone may know that they are gone.
///
/// # Errors
/// The database's.
pub fn remove_all(tx: &mut Tx) -> Result<(), StoreError> {
    tx.execute("DELETE FROM node", &[])?;
    Ok(())
}

/// The other nodes, with the addresses under which they listen.
///
/// # Errors
/// The database's.
pub fn others(tx: &mut Tx, id: NodeId) -> Result<Vec<(NodeId, String)>, StoreError> {
    let rows = tx.query("SELECT id, address FROM node WHERE id <> $1 ORDER BY started_at, id", &[id.uuid().into()])?;
    rows.iter().map(|row| Ok((NodeId::from_uuid(row.get::<Uuid>(0)?), row.get(1)?))).collect()
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
