//! How a run ended, as every face may spell it. It is stored as JSON with the run, so that a repeat hears the same.

use std::time::Instant;

use domain::{Chart, RunId, Timestamp};
use serde::{Deserialize, Serialize};
use store::dataset::{CellRow, ResultColumn};

/// The terminal answer of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub run: RunId,
    /// The slug.
    pub rule: String,
    /// As the client sent them.
    pub rule_id: Option<String>,
    pub client_id: Option<String>,
    pub at: Timestamp,
    pub ms: i64,
    pub repairs: u32,
    /// The canonical text, or what the model wrote if it was refused.
    pub sql: Option<String>,
    pub ended: Ended,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The rows are stored.
    Stored {
        made: Made,
        table: String,
        view: String,
    },
    /// Some rows are shown; nothing is stored until somebody approves.
    Previewed {
        made: Made,
    },
    /// Nothing was run; somebody has to approve the version.
    Waiting {
        version: i64,
        title: String,
        explanation: String,
        assumptions: Vec<String>,
    },
    /// The model asks back.
    Asked {
        question: String,
        options: Vec<String>,
    },
    Failed {
        code: RuleErrorCode,
        message: String,
        stage: Stage,
    },
}

/// What a run has made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    pub version: i64,
    /// The rule's display name.
    pub name: String,
    pub title: String,
    pub explanation: String,
    pub assumptions: Vec<String>,
    pub chart: Option<Chart>,
    pub columns: Vec<ResultColumn>,
    /// The first rows.
    pub preview: Vec<CellRow>,
    pub rows: u64,
    pub truncated: bool,
}

/// Where a run is, or where it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Queued,
    Generating,
    Checking,
    Repairing,
    Running,
    Saving,
}

impl Stage {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Generating => "generating",
            Self::Checking => "checking",
            Self::Repairing => "repairing",
            Self::Running => "running",
            Self::Saving => "saving",
        }
    }
}

/// Why a run gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleErrorCode {
    InvalidSql,
    ForbiddenSql,
    Timeout,
    TooExpensive,
    ModelError,
    NoSql,
    Empty,
    TooLong,
    Busy,
    Cancelled,
    Interrupted,
    ResultsFull,
    Unavailable,
    Conflict,
    Internal,
}

impl RuleErrorCode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSql => "invalid_sql",
            Self::ForbiddenSql => "forbidden_sql",
            Self::Timeout => "timeout",
            Self::TooExpensive => "too_expensive",
            Self::ModelError => "model_error",
            Self::NoSql => "no_sql",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::Busy => "busy",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::ResultsFull => "results_full",
            Self::Unavailable => "unavailable",
            Self::Conflict => "conflict",
            Self::Internal => "internal",
        }
    }
}

/// All of an answer but how it ended.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub run: RunId,
    pub rule: String,
    pub rule_id: Option<String>,
    pub client_id: Option<String>,
    pub repairs: u32,
    pub sql: Option<String>,
    pub began: Instant,
}

impl Envelope {
    pub(super) fn around(&self, at: Timestamp, ended: Ended) -> Answer {
        Answer {
            run: self.run,
            rule: self.rule.clone(),
            rule_id: self.rule_id.clone(),
            client_id: self.client_id.clone(),
            at,
            ms: i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX),
            repairs: self.repairs,
            sql: self.sql.clone(),
            ended,
        }
    }
}

/// A failure within the pipeline.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    pub code: RuleErrorCode,
    pub message: String,
    pub stage: Stage,
}

impl Failure {
    pub(super) fn new(code: RuleErrorCode, message: impl Into<String>, stage: Stage) -> Self {
        Self { code, message: message.into(), stage }
    }

    pub(super) fn cancelled(stage: Stage) -> Self {
        Self::new(RuleErrorCode::Cancelled, "Cancelled", stage)
    }

    pub(super) fn timeout(time_ms: u64, stage: Stage) -> Self {
        let seconds = time_ms as f64 / 1000.0;
        Self::new(RuleErrorCode::Timeout, format!("Query stopped after {seconds} s"), stage)
    }

    pub(super) fn unavailable(reason: &str) -> Self {
        Self::new(RuleErrorCode::Unavailable, format!("Data set is not available: {reason}"), Stage::Queued)
    }

    /// A failure of ours, which is logged here.
    pub(super) fn internal(error: &crate::Error, stage: Stage) -> Self {
        tracing::error!(%error, stage = stage.as_str(), "a rule could not be run");
        match error {
            crate::Error::StorageFull => Self::new(RuleErrorCode::ResultsFull, "Results are full", stage),
            _ => Self::new(RuleErrorCode::Internal, "Something went wrong on the server", stage),
        }
    }
}

/// The rows of a stable view are other ones now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// The stable view.
    pub view: String,
    pub version_table: String,
    /// The display name.
    pub rule: String,
}

/// What everybody who follows the rules is told.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleNews {
    /// The run that stored the rows.
    pub run: RunId,
    pub refreshed: Refreshed,
    /// The terminal answer, where it comes long after the question: after an approval.
    pub late_answer: Option<Box<Answer>>,
}
