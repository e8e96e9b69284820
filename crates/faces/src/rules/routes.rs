//! The paths of the rules API.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use domain::RunId;
use engine::{Ended, Error, NewVersion, Query as TableQuery, QueryRows, RuleErrorCode, Started};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::error::{RulesError, Thing};
use super::{csv, incoming, outgoing, values, wire};
use crate::App;
use crate::kit::Routes as _;
use crate::kit::auth::Caller;
use crate::kit::body::{read, read_optional};
use crate::kit::idempotency;
use crate::kit::path::Path;
use crate::kit::query::Query;

/// Rows of an answer when nothing is said.
const DEFAULT_ROWS: u32 = 200;
const MAX_ROWS: u32 = 10_000;
const MAX_CSV_ROWS: u32 = u32::MAX;
/// Seconds that a request may wait for its run.
const DEFAULT_WAIT_S: u32 = 30;
const MAX_WAIT_S: u32 = 60;
const DEFAULT_RUNS: u32 = 50;
const MAX_RUNS: u32 = 1_000;
const DEFAULT_AUDIT: u32 = 100;
const MAX_AUDIT: u32 = 1_000;
const MAX_NAME: usize = 63;
const MAX_COLUMN_CHARACTERS: usize = 200;
const MAX_SEARCH_CHARACTERS: usize = 1_000;
const MAX_SQL_CHARACTERS: usize = 64 * 1024;

/// All paths of this API.
pub fn routes() -> Router<App> {
    Router::new()
        .at("/query/{table}", get(table))
        .at("/patterns", get(patterns).post(read_only).put(read_only))
        .at("/patterns/{id}", get(read_only).put(read_only).delete(read_only))
        .at("/rules", get(list))
        .at("/rules/run", post(run))
        .at("/rules/dataset", get(data_set))
        .at("/rules/dataset/audit", get(audit))
        .at("/rules/runs/{run}", get(show_run))
        .at("/rules/runs/{run}/cancel", post(cancel_run))
        .at("/rules/{rule}", get(show).delete(remove))
        .at("/rules/{rule}/versions", get(versions).post(new_version))
        .at("/rules/{rule}/versions/{version}/approve", post(approve))
        .at("/rules/{rule}/versions/{version}/reject", post(reject))
        .at("/rules/{rule}/refresh", post(refresh))
        .at("/rules/{rule}/runs", get(runs))
}

type Answer<T> = Result<T, RulesError>;

/// `GET /query/{table}`: rows as JSON, or all of them as CSV.
async fn table(State(app): State<App>, caller: Caller, Path(name): Path<String>, uri: Uri) -> Answer<Response> {
    if !is_name(&name) {
        return Err(RulesError::new(StatusCode::BAD_REQUEST, "invalid_table_name", "Invalid table name"));
    }
    let query = Query::of(&uri);
    let is_csv = query.one_of("format", &["csv", "json"])? == Some("csv");
    let limit = query.integer("limit", 1..=if is_csv { MAX_CSV_ROWS } else { MAX_ROWS })?;
    match name.as_str() {
        "views_registry" => registry(&app, caller, limit).await,
        "rules" => ran_rules(&app, caller, limit).await,
        _ => {
            let order = query.text("order", MAX_COLUMN_CHARACTERS)?.map(|order| match order.strip_prefix('-') {
                Some(column) => (column.to_owned(), true),
                None => (order.to_owned(), false),
            });
            let wanted = TableQuery {
                table: name.clone(),
                limit: limit.or((!is_csv).then_some(DEFAULT_ROWS)).map(u64::from),
                offset: query.integer("offset", 0..=u32::MAX)?.unwrap_or(0).into(),
                order,
            };
            let rows = app.engine.query(caller.principal(), wanted).await.map_err(RulesError::about(Thing::Table))??;
            if is_csv { Ok(as_csv(&name, rows, query.raw("bom") == Some("1"))) } else { as_json(rows).await }
        }
    }
}

/// `[A-Za-z_][A-Za-z0-9_]{0,62}`
fn is_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain && (1..=MAX_NAME).contains(&name.len()) && !name.starts_with(|char: char| char.is_ascii_digit())
}

async fn as_json(mut rows: QueryRows) -> Answer<Response> {
    let mut all = Vec::new();
    while let Some(batch) = rows.next().await? {
        all.extend(batch.iter().map(|row| values::object(&rows.columns, row)));
    }
    Ok(Json(all).into_response())
}

fn as_csv(name: &str, rows: QueryRows, with_mark: bool) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\"")),
    ];
    (headers, csv::body(rows, with_mark)).into_response()
}

async fn registry(app: &App, caller: Caller, limit: Option<u32>) -> Answer<Response> {
    let entries = app.engine.registered_rules(caller.principal()).await?;
    let entries = entries.into_iter().filter_map(outgoing::registered).take(limit.map_or(usize::MAX, |limit| limit as usize));
    Ok(Json(entries.collect::<Vec<_>>()).into_response())
}

async fn ran_rules(app: &App, caller: Caller, limit: Option<u32>) -> Answer<Response> {
    let rules = app.engine.rules(caller.principal(), None).await?;
    let rules = rules.into_iter().filter_map(outgoing::ran_rule).take(limit.map_or(usize::MAX, |limit| limit as usize));
    Ok(Json(rules.collect::<Vec<_>>()).into_response())
}

/// `GET /patterns`: the table of that name, where there is one.
async fn patterns(State(app): State<App>, caller: Caller) -> Answer<Response> {
    let wanted = TableQuery { table: "patterns".to_owned(), limit: Some(MAX_ROWS.into()), ..TableQuery::default() };
    as_json(app.engine.query(caller.principal(), wanted).await.map_err(RulesError::about(Thing::Table))??).await
}

/// Nothing here writes to a data set.
async fn read_only(_caller: Caller) -> RulesError {
    RulesError::new(StatusCode::FORBIDDEN, "forbidden", "This data set is read-only")
}

/// `GET /rules`: those of the file first, before they ever ran.
async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Answer<Json<Vec<wire::Rule>>> {
    let words = Query::of(&uri).text("q", MAX_SEARCH_CHARACTERS)?.map(str::to_owned);
    let rules = app.engine.rules(caller.principal(), words).await?;
    Ok(Json(rules.into_iter().map(outgoing::rule).collect()))
}

/// `POST /rules/run`: 200 with the terminal frame, or 202 if the run takes longer than `wait`.
async fn run(State(app): State<App>, caller: Caller, headers: HeaderMap, uri: Uri, request: Request) -> Answer<Response> {
    let wait = wait_of(&uri)?;
    let key = idempotency::header(&headers)?.map(str::to_owned);
    let mut wish = incoming::run_rule(&read(request).await?.object)?;
    wish.client_id = wish.client_id.or(key);
    let mut started = app.engine.run_rule(caller.principal(), wish, false, None).await?;
    match timeout(wait, started.answer()).await {
        Ok(Some(answer)) => match &answer.ended {
            Ended::Failed { code: code @ RuleErrorCode::Conflict, message, .. } => {
                Err(RulesError::new(StatusCode::UNPROCESSABLE_ENTITY, code.as_str(), message.clone()))
            }
            _ => Ok(Json(outgoing::terminal(&answer)).into_response()),
        },
        Ok(None) => Err(Error::Internal("a rule's run broke down".to_owned()).into()),
        Err(_) => Ok(goes_on(&started)),
    }
}

fn wait_of(uri: &Uri) -> Answer<Duration> {
    let seconds = Query::of(uri).integer("wait", 0..=MAX_WAIT_S)?.unwrap_or(DEFAULT_WAIT_S);
    Ok(Duration::from_secs(seconds.into()))
}

/// 202: the run takes longer than whoever asked wants to wait.
fn goes_on(started: &Started) -> Response {
    (StatusCode::ACCEPTED, Json(json!({"run_id": started.run.map(|run| run.to_string())}))).into_response()
}

/// 200 with the run once it has ended, however it did; else 202.
async fn ended(app: &App, caller: &Caller, uri: &Uri, mut started: Started) -> Answer<Response> {
    match (timeout(wait_of(uri)?, started.answer()).await, started.run) {
        (Ok(_), Some(id)) => {
            let (run, rule) = app.engine.rule_run(caller.principal(), id).await.map_err(RulesError::about(Thing::Run))?;
            Ok(Json(outgoing::run(run, &rule)).into_response())
        }
        (Err(_), _) | (_, None) => Ok(goes_on(&started)),
    }
}

/// `GET /rules/dataset`: what the model is told.
async fn data_set(State(app): State<App>, caller: Caller) -> Answer<Json<Value>> {
    let view = app.engine.data_set(caller.principal()).await?.map_err(|_| RulesError::unavailable())?;
    let pairs = |pairs: Vec<(String, String)>| {
        pairs.into_iter().map(|(name, value)| (name, Value::from(value))).collect::<serde_json::Map<_, _>>()
    };
    Ok(Json(json!({
        "engine": view.engine,
        "sample": view.is_sample,
        "schema": view.schema,
        "relations": view.relations,
        "functions": view.functions,
        "policy": view.policy,
        "fenced": view.fenced,
        "limits": {
            "rows": view.limits.rows,
            "bytes": view.limits.bytes,
            "seconds": view.limits.time_ms as f64 / 1000.0,
            "cost": view.limits.cost,
        },
        "joins": view.joins,
        "metrics": pairs(view.metrics),
        "glossary": pairs(view.glossary),
        "file_fault": view.file_fault,
    })))
}

/// `GET /rules/{rule}`
async fn show(State(app): State<App>, caller: Caller, Path(rule): Path<String>) -> Answer<Json<wire::Rule>> {
    let view = app.engine.rule(caller.principal(), &rule).await.map_err(RulesError::about(Thing::Rule))?;
    Ok(Json(outgoing::rule(view)))
}

/// `DELETE /rules/{rule}`
async fn remove(State(app): State<App>, caller: Caller, Path(rule): Path<String>) -> Answer<Json<Value>> {
    app.engine.delete_rule(caller.principal(), &rule).await.map_err(RulesError::about(Thing::Rule))?;
    Ok(Json(json!({"status": "ok"})))
}

/// `GET /rules/{rule}/versions`
async fn versions(State(app): State<App>, caller: Caller, Path(rule): Path<String>) -> Answer<Json<Vec<wire::Version>>> {
    let versions = app.engine.rule_versions(caller.principal(), &rule).await.map_err(RulesError::about(Thing::Rule))?;
    Ok(Json(versions.into_iter().map(outgoing::version).collect()))
}

/// `POST /rules/{rule}/versions`: a person's own SQL, through the same guard.
async fn new_version(
    State(app): State<App>,
    caller: Caller,
    Path(rule): Path<String>,
    request: Request,
) -> Answer<(StatusCode, Json<wire::Version>)> {
    let object = read(request).await?.object;
    object.string("sql")?;
    let sql = object.opt_text("sql", 1, MAX_SQL_CHARACTERS)?.unwrap_or_default().to_owned();
    let made = app.engine.new_rule_version(caller.principal(), &rule, NewVersion { sql }).await;
    let version = made.map_err(RulesError::about(Thing::Rule))??;
    Ok((StatusCode::CREATED, Json(outgoing::version(version))))
}

/// `POST /rules/{rule}/versions/{version}/approve`: `{hash}`; answered when the rows are stored, or could not be.
async fn approve(
    State(app): State<App>,
    caller: Caller,
    Path((rule, version)): Path<(String, String)>,
    uri: Uri,
    request: Request,
) -> Answer<Response> {
    let version = number_of(&version)?;
    let hash = read(request).await?.object.string("hash")?.to_owned();
    let approved = app.engine.approve_rule(caller.principal(), &rule, version, hash).await;
    ended(&app, &caller, &uri, approved.map_err(RulesError::about(Thing::Rule))??).await
}

fn number_of(version: &str) -> Answer<i64> {
    let number = version.parse().ok().filter(|_| version.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or(RulesError::Parameter { place: "path", field: "version", reason: "must be a number" })
}

/// `POST /rules/{rule}/versions/{version}/reject`: `{hash}`
async fn reject(
    State(app): State<App>,
    caller: Caller,
    Path((rule, version)): Path<(String, String)>,
    request: Request,
) -> Answer<Json<wire::Version>> {
    let version = number_of(&version)?;
    let hash = read(request).await?.object.string("hash")?.to_owned();
    let rejected = app.engine.reject_rule(caller.principal(), &rule, version, hash).await;
    Ok(Json(outgoing::version(rejected.map_err(RulesError::about(Thing::Rule))??)))
}

/// `POST /rules/{rule}/refresh`: the approved version again, without a model.
async fn refresh(
    State(app): State<App>,
    caller: Caller,
    Path(rule): Path<String>,
    uri: Uri,
    request: Request,
) -> Answer<Response> {
    read_optional(request).await?;
    let refreshed = app.engine.refresh_rule(caller.principal(), &rule).await.map_err(RulesError::about(Thing::Rule))??;
    ended(&app, &caller, &uri, refreshed).await
}

/// `GET /rules/{rule}/runs`: the newest first.
async fn runs(State(app): State<App>, caller: Caller, Path(rule): Path<String>, uri: Uri) -> Answer<Json<Vec<wire::Run>>> {
    let limit = Query::of(&uri).integer("limit", 1..=MAX_RUNS)?.unwrap_or(DEFAULT_RUNS);
    let runs = app.engine.rule_runs(caller.principal(), &rule, limit).await.map_err(RulesError::about(Thing::Rule))?;
    Ok(Json(runs.into_iter().map(|(run, rule)| outgoing::run(run, &rule)).collect()))
}

/// `GET /rules/dataset/audit`: what was forbidden, probed, decided, stored or removed, the newest first.
async fn audit(State(app): State<App>, caller: Caller, uri: Uri) -> Answer<Json<Vec<wire::AuditEntry>>> {
    let limit = Query::of(&uri).integer("limit", 1..=MAX_AUDIT)?.unwrap_or(DEFAULT_AUDIT);
    let entries = app.engine.rule_audit(caller.principal(), limit).await?;
    Ok(Json(entries.into_iter().map(outgoing::audited).collect()))
}

/// `GET /rules/runs/{run}`: the run, and its terminal frame as `result`.
async fn show_run(State(app): State<App>, caller: Caller, Path(run): Path<String>) -> Answer<Json<Value>> {
    let about = RulesError::about(Thing::Run);
    let id = RunId::parse(&run).ok_or(Error::NotFound).map_err(&about)?;
    let (run, rule) = app.engine.rule_run(caller.principal(), id).await.map_err(&about)?;
    let answer = engine::Engine::answer_of(&run);
    let mut shown = serde_json::to_value(outgoing::run(run, &rule)).unwrap_or_default();
    if let (Some(shown), Some(answer)) = (shown.as_object_mut(), answer) {
        shown.insert("result".to_owned(), serde_json::to_value(outgoing::terminal(&answer)).unwrap_or_default());
    }
    Ok(Json(shown))
}

/// `POST /rules/runs/{run}/cancel`
async fn cancel_run(State(app): State<App>, caller: Caller, Path(run): Path<String>) -> Answer<Json<Value>> {
    let about = RulesError::about(Thing::Run);
    app.engine.cancel_rule(caller.principal(), &run).await.map_err(&about)?;
    Ok(Json(json!({"status": "ok"})))
}
