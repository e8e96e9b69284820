//! This node among the others that work on the same database.
//!
//! A node holds a lease: a row that it renews by the database's clock. Every turn it runs stands and falls with that row.
//! `lease.rs` says whether this node may still speak, `keep.rs` renews the lease and takes up what others have left.

mod keep;
mod lease;

use std::sync::Arc;
use std::time::Duration;

use domain::{Carrier, NodeId};
use store::{StoreError, nodes};

pub(crate) use keep::keep;
pub(crate) use lease::{Held, Lease};

use crate::{Engine, Error, Result};

/// How long a node counts as alive after it was last heard of. Short, because its turns wait for so long when it dies;
/// long, because a database that stalls for a moment must not cost all of them.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// A third, so that one renewal may fail.
const RENEW_EVERY: Duration = Duration::from_millis(1667);
/// How often a node looks for what nobody does. Together with the lease well below twice the lease.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait when the database refuses to renew the lease.
const RETRY: Duration = Duration::from_millis(250);
/// Conversations that are taken up in one look.
const AT_ONCE: u32 = 512;

/// How this node works with others.
#[derive(Debug, Clone, Default)]
pub struct Nodes {
    pub sharing: Sharing,
    /// Where this node listens; for people who look at the list of nodes.
    pub address: String,
}

/// Who else may work on the database.
#[derive(Debug, Clone, Default)]
pub enum Sharing {
    /// Nobody: it is locked for this process. What earlier processes have left is taken up at once.
    #[default]
    Alone,
    /// Other nodes. What an earlier process has left is taken up when its lease is over.
    Shared {
        /// What this node is called, until it loses its lease.
        id: NodeId,
        /// A node that is known to have ended: the one before this one in the same place.
        earlier: Option<NodeId>,
        /// `None`: news of other nodes is looked for in the database, more slowly.
        carrier: Option<Arc<dyn Carrier>>,
    },
}

impl Sharing {
    pub(crate) const fn id(&self) -> Option<NodeId> {
        match self {
            Self::Alone => None,
            Self::Shared { id, .. } => Some(*id),
        }
    }
}

/// Enters this node into the list, so that it may claim turns.
pub(crate) async fn enter(engine: &Engine, settings: &Nodes) -> Result<()> {
    let (id, address) = (engine.inner.lease.held().id, settings.address.clone());
    let sharing = settings.sharing.clone();
    let before = tokio::time::Instant::now();
    let entering = engine.inner.store.write(move |tx| match sharing {
        Sharing::Alone => {
            nodes::remove_all(tx)?;
            nodes::enter(tx, id, &address, None)
        }
        Sharing::Shared { earlier, .. } => {
            if let Some(earlier) = earlier {
                nodes::remove(tx, earlier)?;
            }
            nodes::remove_late(tx)?;
            nodes::enter(tx, id, &address, Some(LEASE))
        }
    });
    entering.await.map_err(|error: StoreError| Error::from(error))?;
    engine.inner.lease.renewed(id, before + LEASE);
    Ok(())
}

/// Takes this node off the list: what it has not finished may be taken up at once.
pub(crate) async fn leave(engine: &Engine) {
    let id = engine.inner.lease.held().id;
    if let Err::<(), StoreError>(error) = engine.inner.store.write(move |tx| nodes::remove(tx, id)).await {
        tracing::warn!(%error, "this node could not be taken off the list of nodes; others will notice when its lease is over");
    }
}

/// Whether there is another node that could take over what this one lets go.
pub(crate) async fn has_others(engine: &Engine) -> bool {
    if engine.inner.lease.is_alone() {
        return false;
    }
    let id = engine.inner.lease.held().id;
    engine.inner.store.read(move |tx| nodes::others(tx, id)).await.is_ok_and(|others: Vec<_>| !others.is_empty())
}
