//! Whether this node may still speak for its turns.
//!
//! The lease is reckoned from before it was asked for, on a clock that nobody sets, so it is over here before it is over for
//! anybody else. While it is over, nothing more is shown; whether it is lost is for the database to say.

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::NodeId;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The lease of this node.
#[derive(Debug)]
pub(crate) struct Lease {
    alone: bool,
    state: Mutex<State>,
    /// Changes whenever the state does.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    held: Held,
    /// `None`: it is not held yet, or was lost.
    until: Option<Instant>,
}

/// The lease under which something was claimed.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) id: NodeId,
    /// Cancelled when others have declared this node dead.
    pub(crate) lost: CancellationToken,
}

impl Held {
    fn new(id: NodeId) -> Self {
        Self { id, lost: CancellationToken::new() }
    }
}

impl Lease {
    /// `id`: what this node is called; `None` if it is alone.
    pub(crate) fn new(id: Option<NodeId>) -> Self {
        let held = Held::new(id.unwrap_or_else(NodeId::new));
        Self { alone: id.is_none(), state: Mutex::new(State { held, until: None }), changed: watch::channel(()).0 }
    }

    /// Whether no other node can work on the database.
    pub(crate) const fn is_alone(&self) -> bool {
        self.alone
    }

    pub(crate) fn held(&self) -> Held {
        self.lock().held.clone()
    }

    /// Whether something that was claimed under `held` may go on now.
    pub(crate) fn holds(&self, held: &Held) -> bool {
        self.alone || {
            let state = self.lock();
            state.held.id == held.id && state.until.is_some_and(|until| Instant::now() < until)
        }
    }

    /// Waits until it may go on; `false`: it never may, because the lease is lost.
    pub(crate) async fn regained(&self, held: &Held) -> bool {
        let mut changed = self.changed.subscribe();
        while !self.holds(held) {
            tokio::select! {
                biased;
                () = held.lost.cancelled() => return false,
                // The sender lives as long as this lease.
                _ = changed.changed() => {}
            }
        }
        true
    }

    /// It holds until then.
    pub(crate) fn renewed(&self, id: NodeId, until: Instant) {
        let mut state = self.lock();
        if state.held.id == id {
            state.until = Some(until);
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// Others have declared this node dead: everything under the old name ends. Returns the new name.
    pub(crate) fn lost(&self) -> NodeId {
        let mut state = self.lock();
        state.held.lost.cancel();
        state.held = Held::new(NodeId::new());
        state.until = None;
        let id = state.held.id;
        drop(state);
        self.changed.send_replace(());
        id
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::NodeId;
    use tokio::time::{Instant, sleep};

    use super::Lease;

    const SOON: Duration = Duration::from_millis(10);
    const LATER: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn nothing_goes_on_once_it_is_over_until_it_is_renewed() {
        let id = NodeId::new();
        let lease = Lease::new(Some(id));
        let held = lease.held();
        assert!(!lease.holds(&held), "it is not held before it was entered");
        lease.renewed(id, Instant::now() + LATER);
        assert!(lease.holds(&held));
        lease.renewed(id, Instant::now() + SOON);
        sleep(SOON).await;
        assert!(!lease.holds(&held));
        let renewing = async {
            sleep(SOON).await;
            lease.renewed(id, Instant::now() + LATER);
        };
        let (regained, ()) = tokio::join!(lease.regained(&held), renewing);
        assert!(regained && lease.holds(&held));
    }

    #[tokio::test]
    async fn what_was_claimed_before_it_was_lost_never_goes_on() {
        let id = NodeId::new();
        let lease = Lease::new(Some(id));
        lease.renewed(id, Instant::now() + LATER);
        let held = lease.held();
        let new = lease.lost();
        lease.renewed(id, Instant::now() + LATER);
        assert!(!lease.holds(&lease.held()), "the old name's renewal counts for the new one");
        lease.renewed(new, Instant::now() + LATER);
        assert!(held.lost.is_cancelled() && !lease.regained(&held).await);
        assert!(lease.holds(&lease.held()));
    }

    #[test]
    fn who_is_alone_needs_no_renewal() {
        let lease = Lease::new(None);
        assert!(lease.holds(&lease.held()));
    }
}
