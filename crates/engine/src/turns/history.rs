//! Finished turns of conversations that were answered lately, so that a long conversation is not read anew for every
//! message. A finished turn never changes, so what is kept here cannot differ from the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{ConversationId, Message, TurnId};

use super::prompt::bytes;

/// Bytes of text kept for all conversations together.
const BYTES: u64 = 32 * 1024 * 1024;

/// A finished turn's messages.
pub(super) type Said = Arc<[Message]>;

#[derive(Debug, Default)]
pub(crate) struct Histories {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    conversations: HashMap<ConversationId, History>,
    bytes: u64,
    /// Counts the looks, to tell which conversation was looked at last.
    looks: u64,
}

#[derive(Debug, Default)]
struct History {
    turns: HashMap<TurnId, Said>,
    bytes: u64,
    looked_at: u64,
}

impl Histories {
    /// What is known of the conversation.
    pub(super) fn get(&self, conversation: ConversationId) -> HashMap<TurnId, Said> {
        let mut state = self.lock();
        state.looks += 1;
        let looked_at = state.looks;
        let Some(history) = state.conversations.get_mut(&conversation) else { return HashMap::new() };
        history.looked_at = looked_at;
        history.turns.clone()
    }

    /// Keeps these turns, and no others, of the conversation. Those that were not looked at for longest make room.
    pub(super) fn keep(&self, conversation: ConversationId, turns: HashMap<TurnId, Said>) {
        let size =
            turns.values().flat_map(|said| said.iter()).flat_map(|message| &message.parts).map(|part| bytes(&part.body)).sum();
        let mut state = self.lock();
        state.forget(conversation);
        if size > BYTES {
            return;
        }
        while state.bytes + size > BYTES {
            let oldest = state.conversations.iter().min_by_key(|(_, history)| history.looked_at).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            state.forget(oldest);
        }
        state.bytes += size;
        let looked_at = state.looks;
        state.conversations.insert(conversation, History { turns, bytes: size, looked_at });
    }

    /// Forgets a conversation that is deleted.
    pub(crate) fn forget(&self, conversation: ConversationId) {
        self.lock().forget(conversation);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, conversation: ConversationId) {
        if let Some(history) = self.conversations.remove(&conversation) {
            self.bytes -= history.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Author, MessageId, Part, PartBody, PartId, Place, Timestamp};

    fn turn(bytes: usize) -> HashMap<TurnId, Said> {
        let (id, turn) = (MessageId::new(), TurnId::new());
        let body = PartBody::Text { text: "x".repeat(bytes) };
        let part = Part { id: PartId::new(), message: id, ordinal: 0, place: Place(1), body, created_at: Timestamp(0) };
        let message = Message {
            id,
            conversation: ConversationId::new(),
            place: Place(1),
            author: Author::Agent,
            turn,
            client_id: None,
            created_at: Timestamp(0),
            parts: vec![part],
        };
        [(turn, Said::from(vec![message]))].into()
    }

    #[test]
    fn what_was_not_looked_at_for_longest_makes_room() {
        let histories = Histories::default();
        let ids: Vec<ConversationId> = (0..4).map(|_| ConversationId::new()).collect();
        let third = BYTES as usize / 3;
        for id in &ids[..3] {
            histories.keep(*id, turn(third));
        }
        assert_eq!(histories.get(ids[0]).len(), 1);
        histories.keep(ids[3], turn(third));
        let kept: Vec<usize> = ids.iter().map(|id| histories.get(*id).len()).collect();
        assert_eq!(kept.iter().sum::<usize>(), 3);
        assert_eq!((kept[0], kept[3]), (1, 1), "{kept:?}");
        histories.keep(ids[0], turn(BYTES as usize + 1));
        assert_eq!(histories.get(ids[0]).len(), 0, "what is larger than all room is not kept");
        ids.iter().for_each(|id| histories.forget(*id));
        assert_eq!(histories.lock().bytes, 0);
    }
}
