//! The exact names of the rules API.

use serde::Serialize;
use serde_json::{Map, Value};

/// `rule_result` and `error`: the terminal answer of a run. What does not apply is absent.
#[derive(Debug, Serialize)]
pub(crate) struct Terminal {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub message: String,
    pub timestamp: String,
    pub rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    pub repairs: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Progress<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub rule: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    pub stage: &'static str,
    pub round: u32,
    pub timestamp: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Event<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub event: &'static str,
    pub payload: EventPayload<'a>,
    pub timestamp: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct EventPayload<'a> {
    pub table: &'a str,
    pub rule: &'a str,
    pub version_table: &'a str,
}

/// A row of `/query/views_registry`.
#[derive(Debug, Serialize)]
pub(crate) struct Registered {
    pub id: i64,
    pub rule_id: i64,
    pub table_name: String,
    pub summary: String,
    pub created_at: String,
    pub updated_at: String,
    pub rows: i64,
    pub stale: bool,
    pub version: i64,
}

/// A row of `/query/rules`.
#[derive(Debug, Serialize)]
pub(crate) struct RanRule {
    pub id: i64,
    pub name: String,
    pub description: String,
    pub rule_code: String,
    pub sql: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Rule {
    pub rule_code: String,
    pub slug: String,
    pub name: String,
    pub description: String,
    pub logic: String,
    pub source: &'static str,
    pub status: &'static str,
    pub version: Option<i64>,
    pub sql: Option<String>,
    pub view: Option<String>,
    pub rows: Option<i64>,
    pub last_run_at: Option<String>,
    /// Milliseconds between two refreshes.
    pub refresh: Option<i64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Version {
    pub version: i64,
    pub source: &'static str,
    pub sql: String,
    pub hash: String,
    pub state: &'static str,
    pub relations: Vec<String>,
    pub functions: Vec<String>,
    pub columns: Vec<String>,
    pub title: String,
    pub explanation: String,
    pub assumptions: Vec<String>,
    pub chart: Option<Value>,
    pub cost: Option<f64>,
    pub created_at: String,
    pub approved_by: Option<String>,
    pub approved_at: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct AuditEntry {
    pub at: String,
    pub account: String,
    pub rule: String,
    pub kind: String,
    pub detail: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub run_id: String,
    pub rule: String,
    pub version: Option<i64>,
    pub state: &'static str,
    pub started_at: Option<String>,
    pub ms: Option<i64>,
    pub rows: Option<i64>,
    pub truncated: bool,
    pub table: Option<String>,
    pub error: Option<String>,
    pub relations: Map<String, Value>,
    pub added: Option<i64>,
    pub removed: Option<i64>,
}
