//! The one error of this floor: what a verb can refuse, in words that each face spells in its own form.

use store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Unknown, deleted, or not to be seen by whoever asks: nobody can tell which.
    #[error("not found")]
    NotFound,
    /// To be seen, but not to be done, by whoever asks.
    #[error("not allowed")]
    Forbidden,
    #[error("the message is empty")]
    EmptyMessage,
    /// U+0000, which not every database can store.
    #[error("the text contains a NUL character")]
    InvalidText,
    /// The client id or idempotency key stands for another request.
    #[error("this id was used before with another body")]
    Conflict,
    /// No question waits for an answer: there is none, or it has been answered.
    #[error("no question is waiting for an answer")]
    NoQuestion,
    /// A turn is running, and the caller did not want to wait.
    #[error("the conversation is busy")]
    Busy,
    #[error("too many messages are waiting")]
    QueueFull,
    /// The provider is none of ours.
    #[error("unknown provider")]
    UnknownProvider,
    /// The provider offers only these models.
    #[error("invalid model for {provider}")]
    InvalidModel { provider: String, allowed: Vec<String> },
    /// It does not exist, is no directory, or may not be read or chosen by whoever asks.
    #[error("working directory does not exist or is not accessible")]
    BadWorkdir,
    /// No project has this name, or `who` may not see it.
    #[error("project not found")]
    ProjectNotFound,
    /// The project's directory is not there.
    #[error("the project's directory is not there")]
    ProjectGone,
    #[error("a project of this name exists")]
    ProjectExists,
    /// The cursor is of another log, of the future, or of text that a crash has taken back.
    #[error("unknown position")]
    BadCursor,
    /// The hub's words for what it does not do.
    #[error(transparent)]
    Refused(#[from] crate::Refused),
    /// The value of a field is of the right form, but cannot be taken.
    #[error("{field}: {reason}")]
    InvalidValue { field: &'static str, reason: &'static str },
    #[error("too many requests")]
    RateLimited { retry_after_ms: u64 },
    #[error("the storage is full")]
    StorageFull,
    /// The database is away for the moment.
    #[error("the database cannot be reached")]
    Unavailable,
    /// A failure of ours. It has been logged where it arose; its words are not for clients.
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::StorageFull,
            StoreError::NulInText => Self::InvalidText,
            StoreError::Unreachable(_) => {
                tracing::warn!(%error, "a request cannot be served");
                Self::Unavailable
            }
            // The closure that has met it is about to be repeated.
            StoreError::Conflict(_) => Self::Internal("another transaction was in the way".to_owned()),
            StoreError::Duplicate | StoreError::Io(_) | StoreError::Failed(_) | StoreError::Poisoned => {
                tracing::error!(%error, "the database failed");
                Self::Internal("the database failed".to_owned())
            }
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
