use crate::hub::{AgentId, AgentScope};
use crate::{AccountId, Timestamp};

/// Who asks for something, once their proof has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The holder of this server's own token, or everybody on loopback when sign-in is off.
    Owner,
    /// A person with an account. The role is the one that the account had when the proof was checked.
    Account { id: AccountId, role: Role },
    /// An agent of the hub, which has nothing outside it.
    Agent { id: AgentId, scope: AgentScope },
}

impl Principal {
    /// The account in whose name things are stored.
    #[must_use]
    pub const fn account(self) -> AccountId {
        match self {
            Self::Owner => AccountId::OWNER,
            Self::Account { id, .. } => id,
            Self::Agent { .. } => AccountId::NOBODY,
        }
    }

    /// Whether it may do everything in the hub and to everybody's rules.
    #[must_use]
    pub const fn is_admin(self) -> bool {
        matches!(self, Self::Owner | Self::Account { role: Role::Admin, .. })
    }

    /// Whether both are the same person or agent, whatever their rights are now.
    #[must_use]
    pub fn is_same_as(self, other: Self) -> bool {
        match (self, other) {
            (Self::Owner, Self::Owner) => true,
            (Self::Account { id, .. }, Self::Account { id: other, .. }) => id == other,
            (Self::Agent { id, .. }, Self::Agent { id: other, .. }) => id == other,
            (Self::Owner | Self::Account { .. } | Self::Agent { .. }, _) => false,
        }
    }
}

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Admin,
    Member,
}

impl Role {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "ADMIN",
            Self::Member => "MEMBER",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "ADMIN" => Some(Self::Admin),
            "MEMBER" => Some(Self::Member),
            _ => None,
        }
    }
}

/// A person who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub username: String,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub role: Role,
    pub is_active: bool,
    pub created_at: Timestamp,
}
