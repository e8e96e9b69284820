//! What the hub refuses, in the words of its contract, which every client of it knows.

/// A refusal of the hub: what kind it is, and its sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    pub kind: RefusedKind,
    pub text: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedKind {
    Unauthenticated,
    Forbidden,
    NotFound,
    /// It cannot be done in the present state.
    Conflict,
}

macro_rules! refusals {
    ($kind:ident { $($name:ident = $text:literal),* $(,)? }) => {
        impl Refused {
            $(pub const $name: Self = Self { kind: RefusedKind::$kind, text: $text };)*
        }
    };
}

refusals!(Unauthenticated {
    INVALID_CREDENTIALS = "Invalid credentials",
    INVALID_TOKEN = "Invalid or expired token",
    INVALID_HEADER = "Invalid authorization header format",
    FIRST_NEEDS_OWNER = "The first sign-up needs the owner's token",
});
refusals!(Forbidden {
    SIGNUP_CLOSED = "Users already exist. Signup is disabled.",
    INACTIVE_USER = "User account is inactive",
    INACTIVE_AGENT = "Agent is inactive",
    NEEDS_ADMIN = "Admin access required",
    NEEDS_ADMIN_OR_AGENT = "Admin or agent access required",
    NEEDS_ADMIN_OR_SELF = "Admin access required or can only update own profile",
    NEEDS_USER = "User access required",
    NO_PERMISSION = "No permission to access this channel",
    SCOPE = "Agent scope does not allow this",
    NOT_THE_AUTHOR = "Only who wrote a note may change it",
});
refusals!(NotFound {
    NO_USER = "User not found",
    NO_AGENT = "Agent not found",
    NO_TOKEN = "Token not found",
    NO_CHANNEL = "Channel not found",
    NO_CHAT = "Chat not found in this channel",
    NO_MESSAGE = "Message not found",
    NO_ATTACHMENT = "Attachment not found in this chat",
    NO_LINK = "Agent not assigned to this chat",
    NO_CONTACT = "Contact not found",
    NO_DELIVERY = "Delivery not found",
    NO_NOTE = "Note not found",
    NO_REPLY = "Canned reply not found",
});
refusals!(Conflict {
    USERNAME_TAKEN = "Username already exists",
    EMAIL_TAKEN = "Email already exists",
    PHONE_TAKEN = "Phone already exists",
    LAST_ADMIN = "At least one active admin is required",
    INACTIVE_ASSIGNEE = "User account is inactive",
    NOT_FAILED = "Message is not failed",
    OPTED_OUT = "Contact has opted out",
    WINDOW_CLOSED = "The messaging window is closed; send a template",
    MUTED = "Agent is muted on this chat",
    TAKEN_OVER = "A person has taken over this conversation",
    SUPERSEDED = "Delivery superseded",
    NOT_A_DEAD_LETTER = "Delivery is not failed",
    SHORTCUT_TAKEN = "Shortcut already exists",
    TOO_MANY_REPLIES = "There are 500 canned replies already",
});
