//! Clients that lose their connection in mid-answer and come back without a word: they still show half an answer, and their
//! input is locked. The first one that comes back is shown that turn again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{AccountId, ConversationId, ProjectName, TurnId};

/// A turn whose last follower left while it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) conversation: ConversationId,
    pub(crate) turn: TurnId,
}

/// Who follows conversations of a project, by account.
#[derive(Debug, Default)]
pub(crate) struct Reconnects {
    projects: Mutex<HashMap<(AccountId, ProjectName), Project>>,
}

#[derive(Debug, Default)]
struct Project {
    /// Sockets that are bound to some conversation of it.
    bound: usize,
    left: Option<Left>,
}

impl Reconnects {
    /// A socket is bound now that was not.
    pub(super) fn bind(&self, account: AccountId, project: &ProjectName) {
        let mut projects = self.lock();
        let known = projects.entry((account, project.clone())).or_default();
        known.bound += 1;
        known.left = None;
    }

    /// A socket is not bound any more; with `left`, because it is gone while that turn ran.
    pub(super) fn unbind(&self, account: AccountId, project: &ProjectName, left: Option<Left>) {
        let mut projects = self.lock();
        let key = (account, project.clone());
        let Some(known) = projects.get_mut(&key) else { return };
        known.bound = known.bound.saturating_sub(1);
        if known.bound == 0 {
            known.left = left;
            if left.is_none() {
                projects.remove(&key);
            }
        }
    }

    /// What the last socket left behind, if nobody has bound since. It is shown once.
    pub(super) fn take(&self, account: AccountId, project: &ProjectName) -> Option<Left> {
        let mut projects = self.lock();
        let key = (account, project.clone());
        let left = projects.get_mut(&key)?.left.take();
        if projects.get(&key).is_some_and(|known| known.bound == 0) {
            projects.remove(&key);
        }
        left
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(AccountId, ProjectName), Project>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_one_leaves_something_behind_and_only_until_somebody_binds() {
        let (all, account) = (Reconnects::default(), AccountId::OWNER);
        let name = ProjectName::parse("demo").unwrap();
        let left = Left { conversation: ConversationId::new(), turn: TurnId::new() };
        all.bind(account, &name);
        all.bind(account, &name);
        all.unbind(account, &name, Some(left));
        assert_eq!(all.take(account, &name), None);
        all.unbind(account, &name, Some(left));
        assert_eq!(all.take(account, &name), Some(left));
        assert_eq!(all.take(account, &name), None);
        all.bind(account, &name);
        all.unbind(account, &name, Some(left));
        all.bind(account, &name);
        assert_eq!(all.take(account, &name), None);
        all.unbind(account, &name, None);
        assert!(all.lock().is_empty(), "what is over is forgotten");
    }
}
