//! Ids are UUIDv7 newtypes: sortable by creation within one process, and impossible to mix up.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, larger than every id this process made before.
            #[must_use]
            #[expect(clippy::new_without_default, reason = "an id is never a default value")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Reads both spellings, 32 hex digits and the dashed form; anything else is `None`.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text.len() {
                    32 | 36 => Uuid::try_parse(text).ok().map(Self),
                    _ => None,
                }
            }

            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// 32 lower-case hex digits.
            #[must_use]
            pub fn hex(self) -> String {
                self.0.simple().to_string()
            }
        }

        /// Lower case with dashes.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id!(
    /// A person who may sign in. The local owner is [`AccountId::OWNER`].
    AccountId
);
id!(ConversationId);
id!(JobId);
id!(MessageId);
id!(
    /// The text part of a person's message has the same id as the message.
    PartId
);
id!(
    /// One run of the program that takes part in the work on a database.
    NodeId
);
id!(QuestionId);
id!(RuleId);
id!(
    /// One execution of a rule.
    RunId
);
id!(TurnId);

impl AccountId {
    /// The holder of the token that is made at first start.
    pub const OWNER: Self = Self(Uuid::from_u128(1));

    /// Owns nothing: in whose name an agent acts outside the hub, where it has no business.
    pub const NOBODY: Self = Self(Uuid::nil());
}

impl From<MessageId> for PartId {
    fn from(id: MessageId) -> Self {
        Self(id.0)
    }
}
