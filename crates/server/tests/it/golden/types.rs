//! Which types are a seed's own (S in the contracts) and which are additions (+, P, H).

/// Whose frames a connection speaks. Two APIs may use one word in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// The shared socket, and the streams.
    #[default]
    Shared,
    /// The assistant's own socket.
    Assistant,
}

impl Dialect {
    /// By the path that is connected to.
    pub fn of_path(path: &str) -> Self {
        if path.starts_with("/api/assistant/ws") { Self::Assistant } else { Self::Shared }
    }

    pub fn mark(self, kind: &str) -> Mark {
        match self {
            Self::Shared => mark(kind),
            Self::Assistant if ASSISTANT_SEED.contains(&kind) => Mark::Seed,
            Self::Assistant if ASSISTANT_ADDED.contains(&kind) => Mark::Added,
            Self::Assistant => Mark::Unknown,
        }
    }
}

/// `question` came with a later version of the seed, and counts as its own.
const ASSISTANT_SEED: [&str; 7] = ["conversation_created", "text", "tool_call", "question", "response_done", "error", "pong"];
const ASSISTANT_ADDED: [&str; 2] = ["user_message", "tool_result"];

/// How the contracts mark a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A seed's own: never passed over.
    Seed,
    /// An addition: passed over unless a line expects it.
    Added,
    /// In no contract.
    Unknown,
}

const SEED_FRAMES: [&str; 15] = [
    "connected",
    "history",
    "user_message",
    "assistant_message",
    "agent_status",
    "tool_use",
    "result",
    "error",
    "connection_established",
    "pong",
    "subscription_ack",
    "new_message",
    "chat_deleted",
    "rule_result",
    "event",
];
const ADDED_FRAMES: [&str; 14] = [
    // The seed knows it, but never sent it; it may come in between.
    "chat_updated",
    "subscribed",
    "unsubscribed",
    "turn_started",
    "tool_result",
    "assistant_reasoning",
    "approval_requested",
    "approval_responded",
    "accepted",
    "chat_renamed",
    "chat_removed",
    "message_updated",
    "resync",
    "rule_progress",
];
const SEED_EVENTS: [&str; 6] = ["message.start", "message.delta", "tool.start", "tool.result", "message.done", "connected"];
const ADDED_EVENTS: [&str; 11] = [
    "message.error",
    "message.queued",
    "message.reasoning",
    "tool.progress",
    "approval.requested",
    "approval.responded",
    "message.user",
    "session.created",
    "session.updated",
    "session.deleted",
    "session.reset",
];

fn mark(kind: &str) -> Mark {
    if SEED_FRAMES.contains(&kind) || SEED_EVENTS.contains(&kind) {
        Mark::Seed
    } else if ADDED_FRAMES.contains(&kind) || ADDED_EVENTS.contains(&kind) {
        Mark::Added
    } else {
        Mark::Unknown
    }
}

/// The field in which a type carries a piece of text.
pub fn text_field(kind: &str) -> Option<&'static str> {
    match kind {
        "assistant_message" | "text" => Some("content"),
        "message.delta" => Some("text"),
        _ => None,
    }
}
