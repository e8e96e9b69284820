//! Wrong attempts to prove who one is, counted so that nobody can try for ever.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::Timestamp;

use super::secrets::hash;
use crate::{Error, Result};

/// Wrong attempts that one address has (for one name, if there is one) in [`WINDOW_MS`].
const ATTEMPTS: usize = 10;
const WINDOW_MS: i64 = 15 * 60 * 1000;
/// Addresses and names whose wrong attempts are remembered.
const KEYS: usize = 10_000;

/// Whose attempts are counted together: those of other names and addresses are not affected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    peer: IpAddr,
    /// A hash, so that a long name takes no room.
    name: Option<String>,
}

impl Key {
    pub(super) const fn address(peer: IpAddr) -> Self {
        Self { peer, name: None }
    }

    pub(super) fn name(peer: IpAddr, name: &str) -> Self {
        Self { peer, name: Some(hash(name)) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Attempts {
    wrong: Mutex<HashMap<Key, Vec<Timestamp>>>,
}

impl Attempts {
    /// # Errors
    /// [`Error::RateLimited`].
    pub(super) fn check(&self, key: &Key, now: Timestamp) -> Result<()> {
        room(&mut self.lock(), key, now)
    }

    /// Counts a wrong attempt.
    ///
    /// # Errors
    /// [`Error::RateLimited`]: there were enough meanwhile, side by side.
    pub(super) fn count(&self, key: Key, now: Timestamp) -> Result<()> {
        let mut wrong = self.lock();
        room(&mut wrong, &key, now)?;
        if wrong.len() >= KEYS && !wrong.contains_key(&key) {
            // A flood from many addresses must not fill the memory; the counts start afresh.
            wrong.clear();
        }
        wrong.entry(key).or_default().push(now);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Timestamp>>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn room(wrong: &mut HashMap<Key, Vec<Timestamp>>, key: &Key, now: Timestamp) -> Result<()> {
    let Some(times) = wrong.get_mut(key) else { return Ok(()) };
    times.retain(|at| now.0 - at.0 < WINDOW_MS);
    match times.first() {
        Some(oldest) if times.len() >= ATTEMPTS => {
            Err(Error::RateLimited { retry_after_ms: u64::try_from(oldest.0 + WINDOW_MS - now.0).unwrap_or(0) })
        }
        _ => Ok(()),
    }
}
