//! How many sockets everybody has open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::AccountId;
use domain::Principal;
use domain::hub::HubId as _;

/// Counts the sockets of this node.
#[derive(Debug, Clone, Default)]
pub struct Sockets {
    open: Arc<Mutex<HashMap<AccountId, usize>>>,
}

/// One socket that is counted while this lives.
#[derive(Debug)]
pub struct Counted {
    sockets: Sockets,
    whose: AccountId,
}

impl Sockets {
    pub fn enter(&self, who: Principal) -> Counted {
        let whose = match who {
            Principal::Owner | Principal::Account { .. } => who.account(),
            Principal::Agent { id, .. } => AccountId::from_uuid(id.uuid()),
        };
        *self.lock().entry(whose).or_default() += 1;
        Counted { sockets: self.clone(), whose }
    }

    /// All of them.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// The sockets of the same person or agent, this one included.
    #[must_use]
    pub fn of_same(&self) -> usize {
        self.sockets.lock().get(&self.whose).copied().unwrap_or(0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.sockets.lock();
        if let Some(count) = open.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.whose);
            }
        }
    }
}
