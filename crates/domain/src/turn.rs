//! A turn: one agent's answer to what was said.

use std::ops::AddAssign;
use std::path::PathBuf;

use serde::de::value::StrDeserializer;
use serde::{Deserialize, Serialize};

use crate::{ConversationId, MessageId, Mode, Timestamp, TurnId};

#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub id: TurnId,
    pub conversation: ConversationId,
    pub state: TurnState,
    pub mode: Mode,
    /// The directory of this turn's tools, if it is not the conversation's.
    pub workdir: Option<PathBuf>,
    /// The first assistant message; known from the moment the turn is queued.
    pub reply: MessageId,
    pub created_at: Timestamp,
    /// When the model was first asked; `None` while the turn waits.
    pub started_at: Option<Timestamp>,
    /// Model requests finished so far.
    pub steps: u32,
    pub usage: Usage,
}

#[derive(Debug, Clone, PartialEq)]
pub enum TurnState {
    Queued,
    Running,
    Finished { outcome: Outcome },
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Completed,
    /// The answer reached the model's token limit.
    Truncated,
    /// The model declined to answer.
    Refused,
    Cancelled,
    /// The model has asked something; the answer starts the next turn.
    Asked,
    Failed(Failure),
}

impl Outcome {
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Truncated => "truncated",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Asked => "asked",
            Self::Failed(_) => "failed",
        }
    }
}

/// Why a turn failed, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: FailureCode,
    /// One sentence of ours: never a provider's body, a key or a path.
    pub sentence: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    ProviderUnavailable,
    ProviderRateLimited,
    ProviderAuth,
    ProviderRejected,
    ProviderTruncated,
    LimitReached,
    /// The directory that the turn is about is not there.
    WorkdirGone,
    /// The server stopped in mid-turn and could not go on safely.
    Interrupted,
    StorageFull,
    Internal,
}

impl FailureCode {
    /// Reads what [`Self::as_str`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::deserialize(StrDeserializer::<'_, serde::de::value::Error>::new(text)).ok()
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProviderUnavailable => "provider_unavailable",
            Self::ProviderRateLimited => "provider_rate_limited",
            Self::ProviderAuth => "provider_auth",
            Self::ProviderRejected => "provider_rejected",
            Self::ProviderTruncated => "provider_truncated",
            Self::LimitReached => "limit_reached",
            Self::WorkdirGone => "workdir_gone",
            Self::Interrupted => "interrupted",
            Self::StorageFull => "storage_full",
            Self::Internal => "internal",
        }
    }

    /// Whether sending the same message again may well succeed.
    #[must_use]
    pub const fn retryable(self) -> bool {
        match self {
            Self::ProviderUnavailable
            | Self::ProviderRateLimited
            | Self::ProviderTruncated
            | Self::Interrupted
            | Self::StorageFull => true,
            Self::ProviderAuth | Self::ProviderRejected | Self::LimitReached | Self::WorkdirGone | Self::Internal => false,
        }
    }
}

/// Tokens, as the provider counts them. `input` excludes what the cache served or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.output += other.output;
        self.cache_read += other.cache_read;
        self.cache_write += other.cache_write;
    }
}
