//! Ids as the hub spells them: a prefix and ten characters, `chat_k7m2p9xq4d`. Inside they are UUIDs like all others, so the
//! database and everything else treats them alike; the ten characters are the number in the UUID's last 50 bits.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::AccountId;

/// Without 0, 1, i, l, o: what people read to each other over the phone.
const ALPHABET: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";
const CHARACTERS: usize = 10;
/// How many codes there are.
const CODES: u64 = 31_u64.pow(CHARACTERS as u32);
/// Version 8 and the variant bits: a UUID of our own making, so that no v7 id can ever be mistaken for one.
const FORM: u128 = 0x0000_0000_0000_8000_8000_0000_0000_0000;

/// An id of the hub.
pub trait HubId: Copy + Sized {
    /// What stands before the underscore.
    const PREFIX: &'static str;

    #[must_use]
    fn uuid(self) -> Uuid;

    #[must_use]
    fn from_uuid(uuid: Uuid) -> Self;

    /// The id that a random number stands for; all ids are equally likely if `random` is even over its range.
    #[must_use]
    fn from_random(random: u64) -> Self {
        Self::from_uuid(Uuid::from_u128(FORM | u128::from(random % CODES)))
    }

    /// Reads `prefix_xxxxxxxxxx`; anything else is `None`, and no such id can ever have been given.
    #[must_use]
    fn read(text: &str) -> Option<Self> {
        let code = text.strip_prefix(Self::PREFIX)?.strip_prefix('_')?.as_bytes();
        if code.len() != CHARACTERS {
            return None;
        }
        let number = code.iter().try_fold(0_u64, |number, byte| {
            let digit = ALPHABET.iter().position(|known| known == byte)?;
            Some(number * 31 + digit as u64)
        })?;
        Some(Self::from_uuid(Uuid::from_u128(FORM | u128::from(number))))
    }

    /// `prefix_xxxxxxxxxx`.
    #[must_use]
    fn spelled(self) -> String {
        let mut number = u64::try_from(self.uuid().as_u128() & u128::from(u64::MAX >> 2)).unwrap_or(0) % CODES;
        let mut code = [b'2'; CHARACTERS];
        for place in code.iter_mut().rev() {
            // The remainder is below 31, so it always names a character.
            *place = usize::try_from(number % 31).ok().and_then(|digit| ALPHABET.get(digit).copied()).unwrap_or(b'2');
            number /= 31;
        }
        format!("{}_{}", Self::PREFIX, String::from_utf8_lossy(&code))
    }
}

macro_rules! hub_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl HubId for $name {
            const PREFIX: &'static str = $prefix;

            fn uuid(self) -> Uuid {
                self.0
            }

            fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.spelled())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.spelled())
            }
        }
    };
}

hub_id!(
    /// A configured answerer: a service behind a webhook, or a model of ours.
    AgentId,
    "agent"
);
hub_id!(
    /// A proof that an account or agent holds.
    TokenId,
    "token"
);
hub_id!(
    /// A connected platform.
    ChannelId,
    "channel"
);
hub_id!(
    /// What one contact and we have said on one channel.
    ChatId,
    "chat"
);
hub_id!(
    /// One message of a chat.
    ChatMessageId,
    "message"
);
hub_id!(
    /// An agent that is linked to a chat.
    ChatAgentId,
    "chatagent"
);
hub_id!(
    /// A person on a platform.
    ContactId,
    "contact"
);
hub_id!(
    /// By what a platform knows a contact.
    IdentityId,
    "identity"
);
hub_id!(
    /// One burst of messages on its way to one agent.
    DeliveryId,
    "dlv"
);
hub_id!(
    /// What an agent would have said, had a person not taken over.
    DraftId,
    "draft"
);

hub_id!(
    /// A file that belongs to a message.
    FileId,
    "file"
);

hub_id!(
    /// What people tell each other about a chat.
    ChatNoteId,
    "chatnote"
);
hub_id!(
    /// A text that people send often.
    CannedReplyId,
    "canned"
);

/// An account is a user to the hub.
impl HubId for AccountId {
    const PREFIX: &'static str = "user";

    fn uuid(self) -> Uuid {
        Self::uuid(self)
    }

    fn from_uuid(uuid: Uuid) -> Self {
        Self::from_uuid(uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::{CODES, ChatId, HubId as _};
    use crate::AccountId;

    #[test]
    fn every_code_reads_as_what_it_was_spelled_from() {
        for random in [0, 1, 30, 31, 12_345_678_901, CODES - 1, CODES, u64::MAX] {
            let id = ChatId::from_random(random);
            assert_eq!(ChatId::read(&id.spelled()), Some(id), "{random}");
        }
        assert_eq!(ChatId::from_random(0).spelled(), "chat_2222222222");
        assert_eq!(AccountId::from_random(31).spelled(), "user_2222222232");
    }

    #[test]
    fn what_is_no_id_is_none() {
        for text in ["", "chat_", "chat_222222222", "chat_22222222222", "chat_222222222i", "user_2222222222", "chat_222222222Z"] {
            assert_eq!(ChatId::read(text), None, "{text}");
        }
    }
}
