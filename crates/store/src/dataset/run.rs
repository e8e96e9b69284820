//! What running a statement takes and gives, on either engine.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds of one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    pub rows: u64,
    pub bytes: u64,
    /// Plan, run and fetch together.
    pub time_ms: u64,
    /// The planner's estimate, where the engine has one.
    pub cost: f64,
}

impl Limits {
    #[must_use]
    pub const fn time(&self) -> Duration {
        Duration::from_millis(self.time_ms)
    }
}

/// One value of a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Text, and whatever is told as text: decimals, dates, times, JSON.
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    /// Bytes that it counts for against a limit.
    #[must_use]
    pub fn size(&self) -> u64 {
        let bytes = match self {
            Self::Null | Self::Bool(_) => 1,
            Self::Int(_) | Self::Float(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        };
        bytes as u64
    }
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellType {
    Integer,
    Float,
    Decimal,
    Text,
    Boolean,
    Date,
    Timestamp,
    Json,
    Bytes,
}

impl CellType {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Decimal => "decimal",
            Self::Text => "text",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
            Self::Bytes => "bytes",
        }
    }

    #[must_use]
    pub const fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Float | Self::Decimal)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultColumn {
    pub name: String,
    #[serde(rename = "type")]
    pub cell_type: CellType,
}

pub type CellRow = Vec<Cell>;

/// What a run sends while it goes on: the columns first, then rows.
#[derive(Debug)]
pub enum Batch {
    Columns(Vec<ResultColumn>),
    Rows(Vec<CellRow>),
}

/// Rows that travel together. Few enough to bound the memory, enough to make a hand-over cheap.
pub const BATCH_ROWS: usize = 1_000;
/// Batches on their way at once.
pub const BATCHES: usize = 4;

/// A run that came to its end, or to one of its limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ran {
    pub rows: u64,
    /// There was more than a limit allows.
    pub truncated: bool,
    pub cost: Option<f64>,
}

/// Why a run gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The database refused the statement for a reason that an honest mistake explains.
    #[error("{0}")]
    Mistake(String),
    /// A fence of the executor held: the guard should have refused this.
    #[error("{0}")]
    Forbidden(String),
    #[error("the time is over")]
    Timeout,
    #[error("the query is too expensive")]
    TooExpensive,
    #[error("cancelled")]
    Cancelled,
    /// The data set does not answer. The words name no address.
    #[error("{0}")]
    Unavailable(String),
    /// Whoever took the rows has gone or failed.
    #[error("nobody takes the rows")]
    Abandoned,
}

/// Counts rows and bytes against the limits.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    rows: u64,
    bytes: u64,
}

impl Meter {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { limits, rows: 0, bytes: 0 }
    }

    /// `false`: the row is over a limit and does not count.
    pub(crate) fn takes(&mut self, row: &[Cell]) -> bool {
        let bytes = self.bytes + row.iter().map(Cell::size).sum::<u64>();
        if self.rows >= self.limits.rows || bytes > self.limits.bytes {
            return false;
        }
        self.rows += 1;
        self.bytes = bytes;
        true
    }

    pub(crate) const fn rows(&self) -> u64 {
        self.rows
    }
}

/// Names of columns as a table can have them: each once, each with something in it.
pub(crate) fn distinct_names(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    for name in names {
        let name = if name.is_empty() { "column".to_owned() } else { name };
        let has = |taken: &[String], name: &str| taken.iter().any(|other| other.eq_ignore_ascii_case(name));
        let mut free = name.clone();
        let mut number = 2;
        while has(&taken, &free) {
            free = format!("{name}_{number}");
            number += 1;
        }
        taken.push(free);
    }
    taken
}
