//! Background work: what waits, what runs, and what has failed for good.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use domain::{Job, JobId, JobState};
use serde::Serialize;

use crate::App;
use crate::kit::auth::Caller;
use crate::kit::error::{ProblemError, Refusal};
use crate::kit::path::Path;
use crate::kit::query::Query;

/// The most jobs that one answer may be limited to.
const MAX_JOBS: u32 = 500;
const DEFAULT_JOBS: u32 = 100;

/// A job as the owner sees it. What it works on is not shown: it may hold what somebody wrote.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    id: String,
    kind: String,
    state: &'static str,
    /// Milliseconds since 1970: when it is due; of a dead one, when it died.
    run_at: i64,
    created_at: i64,
    attempts: u32,
    /// Why the last attempt failed.
    error: Option<String>,
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        Self {
            id: job.id.to_string(),
            state: job.state.as_str(),
            run_at: job.run_at.0,
            created_at: job.created_at.0,
            attempts: job.attempts,
            kind: job.kind,
            error: job.error,
        }
    }
}

/// `GET /api/jobs?state=dead|waiting|running&limit=`: those that were due last first. Without a state, the dead ones.
pub async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Json<Vec<JobView>>, ProblemError> {
    let query = Query::of(&uri);
    let state = query.one_of("state", &["waiting", "running", "dead"])?.and_then(JobState::parse).unwrap_or(JobState::Dead);
    let limit = query.integer("limit", 1..=MAX_JOBS)?.unwrap_or(DEFAULT_JOBS);
    let jobs = app.engine.jobs(caller.principal(), state, limit).await?;
    Ok(Json(jobs.into_iter().map(JobView::from).collect()))
}

/// `POST /api/jobs/:id/retry`: a dead job waits again, due now, with all its attempts before it. 404: there is no such dead job.
pub async fn retry(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<JobView>, ProblemError> {
    let id = JobId::parse(&id).ok_or(Refusal::PathNotFound)?;
    Ok(Json(app.engine.retry_job(caller.principal(), id).await?.into()))
}
