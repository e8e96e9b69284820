//! Our own endpoints for projects: which there are, naming and forgetting them, and reading a file of one.

use std::path::PathBuf;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use domain::{Project, ProjectName, ProjectSource};
use serde_json::{Value, json};

use crate::App;
use crate::assistant::compat;
use crate::kit::auth::Caller;
use crate::kit::error::{ProblemError, Refusal};
use crate::kit::json::read;
use crate::kit::query::Query;

/// The longest path that Linux takes.
const MAX_PATH_CHARACTERS: usize = 4096;

type Answer<T> = Result<T, ProblemError>;

/// `GET /api/projects`
pub async fn list(State(app): State<App>, caller: Caller) -> Answer<Json<Vec<Value>>> {
    let projects = app.engine.projects(caller.principal()).await?;
    let mut shown = Vec::with_capacity(projects.len());
    for project in projects {
        let is_available = app.engine.project(caller.principal(), &project.name).await.is_ok();
        shown.push(object(&app, &project, is_available));
    }
    Ok(Json(shown))
}

/// `POST /api/projects` `{name, path}`: 201.
pub async fn add(State(app): State<App>, caller: Caller, request: Request) -> Answer<(StatusCode, Json<Value>)> {
    let body = read(request).await?.object;
    let name = ProjectName::parse(body.string("name")?).ok_or(Refusal::BadProjectName)?;
    let path = PathBuf::from(body.string("path")?);
    let project = app.engine.add_project(caller.principal(), name, &path).await.map_err(|error| match error {
        engine::Error::BadWorkdir => Refusal::BadProjectPath,
        error => error.into(),
    })?;
    Ok((StatusCode::CREATED, Json(object(&app, &project, true))))
}

/// `GET /api/projects/{p}`
pub async fn show(State(app): State<App>, caller: Caller, name: Result<Path<String>, PathRejection>) -> Answer<Json<Value>> {
    let project = app.engine.project(caller.principal(), &parse(name)?).await?;
    Ok(Json(object(&app, &project, true)))
}

/// `DELETE /api/projects/{p}`: 200. The conversations about it stay.
pub async fn remove(State(app): State<App>, caller: Caller, name: Result<Path<String>, PathRejection>) -> Answer<Json<Value>> {
    app.engine.remove_project(caller.principal(), parse(name)?).await?;
    Ok(Json(json!({"success": true})))
}

/// `GET /api/projects/{p}/file?path=`: a text file, as the project's agent may read it.
pub async fn file(
    State(app): State<App>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer<Json<Value>> {
    let query = Query::of(&uri);
    let path = query.text("path", MAX_PATH_CHARACTERS)?.ok_or_else(|| query.missing("path", 1, MAX_PATH_CHARACTERS))?;
    let found = app.engine.project_file(caller.principal(), &parse(name)?, path.to_owned()).await?;
    let reply = found.map_err(Refusal::FileNotShown)?;
    Ok(Json(json!({"path": path, "content": reply.output, "truncated": reply.truncated})))
}

fn parse(name: Result<Path<String>, PathRejection>) -> Result<ProjectName, Refusal> {
    name.ok().and_then(|Path(name)| ProjectName::parse(&name)).ok_or(Refusal::ProjectNotFound)
}

fn object(app: &App, project: &Project, is_available: bool) -> Value {
    let mut object = match app.assistant.compat {
        true => compat::project_fields(project),
        false => json!({"name": project.name.as_str(), "path": project.path.to_string_lossy()}),
    };
    let source = match project.source {
        ProjectSource::Settings => "settings",
        ProjectSource::Registered => "registered",
    };
    object["available"] = is_available.into();
    object["source"] = source.into();
    object
}
