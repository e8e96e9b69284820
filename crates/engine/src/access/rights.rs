//! Says that somebody's rights may have changed, so that whoever remembers them asks again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use store::Tx;

/// A number that rises with every change of anybody's rights on this node. Other nodes ask again after some seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rights(Arc<AtomicU64>);

impl Rights {
    pub(crate) fn version(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// The rights change when this transaction is on disk.
    pub(crate) fn change_with(&self, tx: &mut Tx) {
        let version = Arc::clone(&self.0);
        tx.after_commit(move || {
            version.fetch_add(1, Ordering::Release);
        });
    }
}
