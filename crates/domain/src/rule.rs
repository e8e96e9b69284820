//! Rules: a sentence in plain language becomes one checked query over a data set, and its rows a table.

use serde::{Deserialize, Serialize};

use crate::{AccountId, RuleId, RunId, Timestamp};

/// A sentence in plain language, or an entry of the rules file, and what it stands for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub id: RuleId,
    /// What numbers it for clients that want numbers.
    pub number: i64,
    /// `a-z0-9_`, unique; the stable view is `rule_<slug>`.
    pub slug: String,
    /// In the rules file, if it comes from there.
    pub code: Option<String>,
    /// In the rules file, else the model's title, else the text.
    pub name: String,
    /// What the model is told.
    pub text: String,
    pub owner: AccountId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The rows that the stable view shows, once there are any.
    pub stored: Option<StoredRows>,
    /// A relation or column that it needs is gone: the rows are older than the data.
    pub stale: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRows {
    pub table: String,
    pub version: i64,
    pub run: RunId,
    pub rows: i64,
    pub first_at: Timestamp,
    pub at: Timestamp,
}

/// One query for a rule, as it passed the guard.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleVersion {
    pub rule: RuleId,
    /// From 1.
    pub version: i64,
    pub source: VersionSource,
    pub state: VersionState,
    /// The canonical text.
    pub sql: String,
    /// SHA-256 of it: what an approval names.
    pub hash: String,
    /// Of text, schema and semantics it was made for: approved only while they stay.
    pub made_for: MadeFor,
    pub body: VersionBody,
    /// The run that waits for a decision about it.
    pub waiting: Option<RunId>,
    pub created_at: Timestamp,
    pub decided_by: Option<AccountId>,
    pub decided_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeFor {
    pub text: String,
    pub schema: String,
    pub semantics: String,
}

/// What a version is made of and what the model said about it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VersionBody {
    pub title: String,
    pub explanation: String,
    pub assumptions: Vec<String>,
    pub key_columns: Vec<String>,
    pub chart: Option<Chart>,
    pub relations: Vec<String>,
    pub functions: Vec<String>,
    pub columns: Vec<String>,
    pub model: Option<String>,
    pub context_hash: Option<String>,
    /// The planner's estimate.
    pub cost: Option<f64>,
}

/// How rows are to be drawn: names of result columns, and nothing that could be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chart {
    pub mark: Mark,
    pub x: String,
    pub y: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    Bar,
    Line,
    Area,
    Point,
    Pie,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

words! {
    VersionSource {
        Model => "model",
        Person => "person",
        File => "file",
    }
}

words! {
    VersionState {
        Draft => "draft",
        Approved => "approved",
        Rejected => "rejected",
        /// What it reads is gone or no longer offered.
        Stale => "stale",
    }
}

words! {
    RunState {
        Waiting => "waiting",
        Running => "running",
        /// Its version waits for a decision.
        Pending => "pending",
        /// The model has asked back.
        Question => "question",
        Done => "done",
        Failed => "failed",
        Cancelled => "cancelled",
        Interrupted => "interrupted",
    }
}

words! {
    /// What happens to a query that passed the guard.
    RulePolicy {
        /// It is run and its rows are stored.
        Auto => "auto",
        /// It is run and some rows are shown; nothing is stored until somebody approves.
        Preview => "preview",
        /// Nothing is run until somebody approves.
        Approve => "approve",
    }
}

/// One execution of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleRun {
    pub id: RunId,
    pub rule: RuleId,
    pub account: AccountId,
    /// What makes a repeat a repeat: the client's name for the run, and what it asked for.
    pub key: Option<String>,
    pub fingerprint: String,
    pub state: RunState,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub version: Option<i64>,
    pub table: Option<String>,
    pub rows: Option<i64>,
    pub truncated: bool,
    /// Rows of each relation that was read.
    pub lineage: Vec<(String, i64)>,
    pub added: Option<i64>,
    pub removed: Option<i64>,
    /// As JSON: what was asked, the questions and answers so far, and the terminal answer. The engine's own.
    pub request: String,
    pub dialog: String,
    pub answer: Option<String>,
}
