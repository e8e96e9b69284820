//! What remains to be done when an account has been removed: its own conversations go as well. Nobody else may see them, and
//! nobody could ever remove them.

use async_trait::async_trait;
use domain::{AccountId, Home, Principal, Role};
use serde::{Deserialize, Serialize};
use store::conversations::{self, Page};

use crate::Error;
use crate::jobs::{Attempt, BackOff, Completed, JobError, Policy, Work};

/// Conversations that are looked up at once.
const BATCH: u32 = 50;

/// Removes the conversations of an account that is gone; turns that run in them are stopped.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForgetAccount {
    pub(super) account: AccountId,
}

#[async_trait]
impl Work for ForgetAccount {
    const KIND: &'static str = "forget_account";
    const POLICY: Policy = Policy { back_off: BackOff::SHORT, at_once: 2, time_limit_ms: 10 * 60 * 1000, lease_ms: 15_000 };

    async fn run(self, attempt: &Attempt) -> Result<Completed, JobError> {
        let (engine, owner) = (attempt.engine().of(Home::Direct), self.account);
        // Whoever it was had no rights over anything but these.
        let who = Principal::Account { id: owner, role: Role::Member };
        loop {
            let page = Page { home: Home::Direct, limit: Some(BATCH), ..Page::default() };
            let found = engine.inner.store.read(move |tx| conversations::list(tx, owner, &page)).await.map_err(Error::from)?;
            if found.is_empty() {
                return attempt.complete(|_| Ok(())).await;
            }
            for conversation in found {
                match engine.delete_conversation(who, conversation.id).await {
                    // A client may have removed it at the same time.
                    Ok(()) | Err(Error::NotFound) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}
