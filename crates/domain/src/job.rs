//! Background work that survives the program.

use crate::{JobId, Timestamp};

/// What people may know of a job. What it works on stays in the database: it may hold what somebody wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    /// Such as `deliver_message`.
    pub kind: String,
    pub state: JobState,
    /// When it is due; of a dead one, when it died.
    pub run_at: Timestamp,
    pub created_at: Timestamp,
    /// How often it was begun.
    pub attempts: u32,
    /// Why the last attempt failed: a sentence of ours.
    pub error: Option<String>,
}

/// What is done is forgotten, so there is no state for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    Waiting,
    Running,
    /// It has failed for good. It stays until somebody retries it, or for 30 days.
    Dead,
}

impl JobState {
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Running, Self::Dead];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}
