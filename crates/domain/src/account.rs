use crate::AccountId;

/// Who asks for something, once their proof has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The holder of this server's own token, or everybody on loopback when sign-in is off.
    Owner,
}

impl Principal {
    /// The account in whose name things are stored.
    #[must_use]
    pub const fn account(self) -> AccountId {
        match self {
            Self::Owner => AccountId::OWNER,
        }
    }
}
