//! What happened, as frames and objects.

use axum::extract::ws::Utf8Bytes;
use domain::{AccountId, Chart, Rule, RuleRun, RuleVersion, RunId, Timestamp, VersionState};
use engine::{Answer, AuditEntry, Ended, Engine, Made, Refreshed, Registered, RuleView, Stage};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{values, wire};
use crate::kit::time::with_z;

/// By the contract.
const PREVIEW_ROWS: usize = 20;
const PREVIEW_CHARACTERS: usize = 200;

/// A frame's bytes.
pub(super) fn frame(frame: &impl Serialize) -> Utf8Bytes {
    // A struct with string keys always has a JSON form.
    serde_json::to_string(frame).unwrap_or_default().into()
}

/// The terminal answer.
pub(super) fn terminal(answer: &Answer) -> wire::Terminal {
    let slug = &answer.rule;
    let mut more = Map::new();
    let mut put = |name: &str, value: Value| drop(more.insert(name.to_owned(), value));
    let (kind, message) = match &answer.ended {
        Ended::Stored { made, table, view } => {
            put("status", json!("done"));
            put("table", json!(table));
            put("view", json!(view));
            put_made(made, &mut put);
            let cut = if made.truncated { " (cut)" } else { "" };
            ("rule_result", format!("Rule {slug} → {} rows{cut} → {table}", made.rows))
        }
        Ended::Previewed { made } => {
            put("status", json!("pending"));
            put_made(made, &mut put);
            ("rule_result", format!("Rule {slug} → {} rows (preview) → waiting for approval", made.rows))
        }
        Ended::Waiting { version, title, explanation, assumptions } => {
            put("status", json!("pending"));
            put("version", json!(version));
            put("title", json!(title));
            put("explanation", json!(explanation));
            put("assumptions", json!(assumptions));
            ("rule_result", format!("Rule {slug} → waiting for approval → version {version}"))
        }
        Ended::Asked { question, options } => {
            put("status", json!("question"));
            put("question", json!(question));
            put("options", json!(options));
            ("rule_result", format!("Rule {slug} → question → {question}"))
        }
        Ended::Failed { code, message, stage } => {
            put("code", json!(code.as_str()));
            put("stage", json!(stage.as_str()));
            ("error", message.clone())
        }
    };
    put("ms", json!(answer.ms));
    wire::Terminal {
        kind,
        message,
        timestamp: with_z(answer.at),
        rule: slug.clone(),
        rule_id: answer.rule_id.clone(),
        client_id: answer.client_id.clone(),
        run_id: run_id(answer.run),
        repairs: answer.repairs,
        sql: answer.sql.clone(),
        more,
    }
}

fn put_made(made: &Made, put: &mut impl FnMut(&str, Value)) {
    put("version", json!(made.version));
    put("rows", json!(made.rows));
    put("truncated", json!(made.truncated));
    put(
        "columns",
        json!(
            made.columns.iter().map(|column| json!({"name": column.name, "type": column.cell_type.as_str()})).collect::<Vec<_>>()
        ),
    );
    let preview = made.preview.iter().take(PREVIEW_ROWS);
    put("preview", preview.map(|row| Value::Object(values::cut_object(&made.columns, row, PREVIEW_CHARACTERS))).collect());
    put("title", json!(made.title));
    put("explanation", json!(made.explanation));
    put("assumptions", json!(made.assumptions));
    if let Some(chart) = &made.chart {
        put("chart", chart_value(chart));
    }
}

fn chart_value(chart: &Chart) -> Value {
    let mark = match chart.mark {
        domain::Mark::Bar => "bar",
        domain::Mark::Line => "line",
        domain::Mark::Area => "area",
        domain::Mark::Point => "point",
        domain::Mark::Pie => "pie",
    };
    let mut value = json!({"mark": mark, "x": chart.x, "y": chart.y});
    if let Some(object) = value.as_object_mut() {
        for (name, word) in [("series", &chart.series), ("title", &chart.title)] {
            if let Some(word) = word {
                object.insert(name.to_owned(), json!(word));
            }
        }
    }
    value
}

/// A run that never was has no id.
fn run_id(run: RunId) -> Option<String> {
    (!run.uuid().is_nil()).then(|| run.to_string())
}

pub(super) fn event(refreshed: &Refreshed, at: Timestamp) -> Utf8Bytes {
    let Refreshed { view, version_table, rule } = refreshed;
    let payload = wire::EventPayload { table: view, rule, version_table };
    frame(&wire::Event { kind: "event", event: "views:refresh", payload, timestamp: with_z(at) })
}

/// The event that belongs to a terminal answer, if rows were stored.
pub(super) fn event_of(answer: &Answer) -> Option<Utf8Bytes> {
    match &answer.ended {
        Ended::Stored { made, table, view } => {
            let refreshed = Refreshed { view: view.clone(), version_table: table.clone(), rule: made.name.clone() };
            Some(event(&refreshed, answer.at))
        }
        Ended::Previewed { .. } | Ended::Waiting { .. } | Ended::Asked { .. } | Ended::Failed { .. } => None,
    }
}

pub(super) fn progress(
    slug: &str,
    rule_id: Option<&str>,
    run: Option<RunId>,
    (stage, round): (Stage, u32),
    at: Timestamp,
) -> Utf8Bytes {
    frame(&wire::Progress {
        kind: "rule_progress",
        rule: slug,
        rule_id,
        run_id: run.and_then(run_id),
        stage: stage.as_str(),
        round,
        timestamp: with_z(at),
    })
}

pub(super) fn registered(entry: Registered) -> Option<wire::Registered> {
    let Registered { rule, view } = entry;
    let stored = rule.stored?;
    Some(wire::Registered {
        id: rule.number,
        rule_id: rule.number,
        table_name: view,
        summary: rule.name,
        created_at: with_z(stored.first_at),
        updated_at: with_z(stored.at),
        rows: stored.rows,
        stale: rule.stale,
        version: stored.version,
    })
}

/// A rule that has been run.
pub(super) fn ran_rule(view: RuleView) -> Option<wire::RanRule> {
    let rule = view.rule?;
    Some(wire::RanRule {
        id: rule.number,
        name: view.name,
        description: if rule.code.is_some() { view.description } else { rule.text.clone() },
        rule_code: view.code.unwrap_or(rule.slug),
        sql: view.sql,
        created_at: with_z(rule.created_at),
        updated_at: with_z(rule.updated_at),
    })
}

pub(super) fn rule(view: RuleView) -> wire::Rule {
    let stored = view.rule.as_ref().and_then(|rule| rule.stored.as_ref());
    wire::Rule {
        rule_code: view.code.clone().unwrap_or_else(|| view.slug.clone()),
        source: if view.code.is_some() { "file" } else { "text" },
        status: view.status.as_str(),
        version: view.version,
        sql: view.sql.clone(),
        view: stored.map(|_| format!("rule_{}", view.slug)),
        rows: stored.map(|stored| stored.rows),
        last_run_at: view.last_run_at.map(with_z),
        refresh: view.refresh_ms,
        slug: view.slug,
        name: view.name,
        description: view.description,
        logic: view.logic,
    }
}

pub(super) fn version(version: RuleVersion) -> wire::Version {
    let approved = version.state == VersionState::Approved;
    let by = version.decided_by.map(spelled);
    wire::Version {
        version: version.version,
        source: version.source.as_str(),
        sql: version.sql,
        hash: version.hash,
        state: version.state.as_str(),
        relations: version.body.relations,
        functions: version.body.functions,
        columns: version.body.columns,
        title: version.body.title,
        explanation: version.body.explanation,
        assumptions: version.body.assumptions,
        chart: version.body.chart.as_ref().map(chart_value),
        cost: version.body.cost,
        created_at: with_z(version.created_at),
        approved_by: if approved { by.or_else(|| Some("policy".to_owned())) } else { None },
        approved_at: approved.then(|| with_z(version.decided_at.unwrap_or(version.created_at))),
    }
}

fn spelled(account: AccountId) -> String {
    match account {
        AccountId::OWNER => "owner".to_owned(),
        AccountId::NOBODY => "nobody".to_owned(),
        account => account.to_string(),
    }
}

pub(super) fn audited(entry: AuditEntry) -> wire::AuditEntry {
    let AuditEntry { at, account, rule, kind, detail } = entry;
    wire::AuditEntry { at: with_z(at), account: spelled(account), rule, kind, detail }
}

pub(super) fn run(run: RuleRun, rule: &Rule) -> wire::Run {
    let answer = Engine::answer_of(&run);
    let error = answer.as_ref().and_then(|answer| match &answer.ended {
        Ended::Failed { message, .. } => Some(message.clone()),
        _ => None,
    });
    wire::Run {
        run_id: run.id.to_string(),
        rule: rule.slug.clone(),
        version: run.version,
        state: run.state.as_str(),
        started_at: run.started_at.map(with_z),
        ms: answer.as_ref().map(|answer| answer.ms),
        rows: run.rows,
        truncated: run.truncated,
        table: run.table,
        error,
        relations: run.lineage.into_iter().map(|(relation, rows)| (relation, json!(rows))).collect(),
        added: run.added,
        removed: run.removed,
    }
}
