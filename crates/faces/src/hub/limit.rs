//! How often one account or agent may ask. A bucket that leaks: each request fills it, time empties it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Principal, Timestamp};
use engine::Error;

/// Requests per second that one person may send for long, and at once.
const PER_SECOND: i64 = 100;
const AT_ONCE: i64 = 200;
/// An agent answers many contacts.
const AGENT_FACTOR: i64 = 10;
/// Buckets that are remembered. Those that are empty again are forgotten first.
const BUCKETS: usize = 10_000;
/// A request takes this much of a second, so that whole numbers are fine enough.
const NANOS: i64 = 1_000_000_000;

/// Counts the requests of everybody on this node.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// When each bucket will be empty, in nanoseconds.
    empty_at: Arc<Mutex<HashMap<Principal, i64>>>,
}

impl Limits {
    /// Counts a request.
    ///
    /// # Errors
    /// [`Error::RateLimited`]; it is not counted then.
    pub fn take(&self, who: Principal, now: Timestamp) -> Result<(), Error> {
        let factor = match who {
            Principal::Owner | Principal::Account { .. } => 1,
            Principal::Agent { .. } => AGENT_FACTOR,
        };
        let (cost, room) = (NANOS / (PER_SECOND * factor), NANOS / PER_SECOND * AT_ONCE);
        let now = now.0.saturating_mul(1_000_000);
        let mut buckets = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS && !buckets.contains_key(&who) {
            buckets.retain(|_, empty_at| *empty_at > now);
        }
        let empty_at = buckets.entry(who).or_insert(now);
        let filled = (*empty_at).max(now) + cost;
        if filled - now > room {
            let wait = (filled - now - room) / 1_000_000 + 1;
            return Err(Error::RateLimited { retry_after_ms: u64::try_from(wait).unwrap_or(1) });
        }
        *empty_at = filled;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use domain::hub::{AgentId, AgentScope, HubId as _};
    use domain::{Principal, Timestamp};

    use super::Limits;

    fn taken(who: Principal, limits: &Limits, at: i64) -> usize {
        (0..5000).take_while(|_| limits.take(who, Timestamp(at)).is_ok()).count()
    }

    #[test]
    fn a_person_has_a_burst_and_then_so_many_a_second() {
        let limits = Limits::default();
        assert_eq!(taken(Principal::Owner, &limits, 1_000_000), 200);
        assert_eq!(taken(Principal::Owner, &limits, 1_001_000), 100);
        assert_eq!(taken(Principal::Owner, &limits, 1_009_000), 200);
    }

    #[test]
    fn an_agent_has_ten_times_as_much_and_a_bucket_of_its_own() {
        let limits = Limits::default();
        assert_eq!(taken(Principal::Owner, &limits, 1_000_000), 200);
        let agent = Principal::Agent { id: AgentId::from_random(1), scope: AgentScope::Linked };
        assert_eq!(taken(agent, &limits, 1_000_000), 2000);
    }
}
