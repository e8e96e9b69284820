//! Who may see which conversation, for streams over all conversations: they ask for every single entry.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{AccountId, Conversation, ConversationId, Home};
use store::conversations;

use crate::Engine;

/// Conversations remembered: some 100 bytes each. When there are more, all are looked up anew.
const REMEMBERED: usize = 20_000;

/// What decides about who may see a conversation. Neither ever changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Audience {
    pub(crate) owner: AccountId,
    pub(crate) home: Home,
}

#[derive(Debug, Default)]
pub(crate) struct Audiences {
    known: Mutex<HashMap<ConversationId, Audience>>,
}

impl Audiences {
    /// `None`: the conversation is gone, or the database does not answer; then nobody sees it.
    pub(crate) async fn of(&self, engine: &Engine, id: ConversationId) -> Option<Audience> {
        if let Some(known) = self.lock().get(&id) {
            return Some(*known);
        }
        let found = engine.inner.store.read(move |tx| conversations::get(tx, id)).await;
        let found = found.inspect_err(|error| tracing::error!(%id, %error, "a conversation cannot be looked up")).ok()??;
        Some(self.keep(&found))
    }

    /// Remembers it also beyond its deletion, so that those who saw it learn of that.
    pub(crate) fn keep(&self, conversation: &Conversation) -> Audience {
        let audience = Audience { owner: conversation.owner, home: conversation.home };
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(conversation.id, audience);
        audience
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConversationId, Audience>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
