//! What the original's own web client asks of the rest of its application before its assistant panel opens. It is answered, if
//! the owner wishes so, as an application would answer that does nothing else; nothing can be changed here.

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use domain::{Project, ProjectName};
use serde_json::{Value, json};

use crate::App;
use crate::kit::Routes;
use crate::kit::auth::Caller;
use crate::kit::error::{Form, ProblemError, Refusal};
use crate::kit::path::Path;
use crate::kit::ws;

type Answer = Result<Json<Value>, ProblemError>;

/// The paths that only the original's client knows. The list of projects is ours as well: `own/projects.rs`.
pub fn routes() -> Router<App> {
    Router::new()
        .at("/api/projects/{project}/features", get(features))
        .at("/api/projects/{project}/features/graph", get(feature_graph))
        .at("/api/projects/{project}/agent/status", get(agent_status))
        .at("/api/projects/{project}/devserver/status", get(devserver_status))
        .at("/api/projects/{project}/schedules", get(schedules))
        .at("/api/projects/{project}/schedules/next", get(next_schedule))
        .at("/api/terminal/{project}", get(terminals))
        .at("/api/settings", get(settings))
        .at("/api/settings/models", get(models))
        .at("/api/settings/providers", get(providers))
        .at("/api/setup/status", get(setup_status))
        .at("/api/health", get(health))
        .at("/ws/projects/{project}", get(status_socket))
}

/// What the client wants to know of a project, beside what we say of it ourselves.
pub fn project_fields(project: &Project) -> Value {
    json!({
        "name": project.name.as_str(),
        "path": project.path.to_string_lossy(),
        // Without it the panel stays closed.
        "has_spec": true,
        "stats": {"passing": 0, "in_progress": 0, "total": 0, "percentage": 0.0},
        "default_concurrency": 3,
        "prompts_dir": "",
    })
}

async fn features(State(app): State<App>, caller: Caller, Path(project): Path<String>) -> Answer {
    answer(&app, &caller, &project, json!({"pending": [], "in_progress": [], "done": [], "needs_human_input": []})).await
}

async fn feature_graph(State(app): State<App>, caller: Caller, Path(project): Path<String>) -> Answer {
    answer(&app, &caller, &project, json!({"nodes": [], "edges": []})).await
}

async fn agent_status(State(app): State<App>, caller: Caller, Path(project): Path<String>) -> Answer {
    let status = json!({
        "status": "stopped", "pid": null, "started_at": null, "yolo_mode": false, "model": null, "parallel_mode": false,
        "max_concurrency": null, "testing_agent_ratio": 1,
    });
    answer(&app, &caller, &project, status).await
}

async fn devserver_status(State(app): State<App>, caller: Caller, Path(project): Path<String>) -> Answer {
    let status = json!({"status": "stopped", "pid": null, "url": null, "command": null, "started_at": null});
    answer(&app, &caller, &project, status).await
}

async fn schedules(State(app): State<App>, caller: Caller, Path(project): Path<String>) -> Answer {
    answer(&app, &caller, &project, json!({"schedules": []})).await
}

async fn next_schedule(State(app): State<App>, caller: Caller, Path(project): Path<String>) -> Answer {
    let next = json!({
        "has_schedules": false, "next_start": null, "next_end": null, "is_currently_running": false, "active_schedule_count": 0,
    });
    answer(&app, &caller, &project, next).await
}

async fn terminals(State(app): State<App>, caller: Caller, Path(project): Path<String>) -> Answer {
    answer(&app, &caller, &project, json!([])).await
}

async fn settings(State(app): State<App>) -> Answer {
    let model = app.engine.catalogue().default_model().clone();
    answer_any(
        &app,
        json!({
            "yolo_mode": false, "model": model.to_string(), "glm_mode": false, "ollama_mode": false, "testing_agent_ratio": 1,
            "playwright_headless": true, "batch_size": 3, "api_provider": model.provider, "api_base_url": null,
            "api_has_auth_token": false, "api_model": null,
        }),
    )
}

async fn models(State(app): State<App>) -> Answer {
    let default = app.engine.catalogue().default_model().clone();
    let (listed, _) = app.engine.catalogue().models(&default.provider).await?;
    let named = |model: String| {
        let id = format!("{}/{model}", default.provider);
        json!({"id": id, "name": id})
    };
    let models: Vec<Value> = listed.into_iter().map(named).collect();
    answer_any(&app, json!({"models": models, "default": default.to_string()}))
}

async fn providers(State(app): State<App>) -> Answer {
    let catalogue = app.engine.catalogue();
    let shown = catalogue.providers().into_iter().map(|provider| {
        let default_model = provider.models.first().cloned();
        let models: Vec<Value> = provider.models.iter().map(|model| json!({"id": model, "name": model})).collect();
        json!({
            "id": provider.name, "name": provider.display_name, "base_url": null, "models": models,
            "default_model": default_model, "requires_auth": false,
        })
    });
    let providers: Vec<Value> = shown.collect();
    answer_any(&app, json!({"providers": providers, "current": catalogue.default_model().provider}))
}

async fn setup_status(State(app): State<App>) -> Answer {
    answer_any(&app, json!({"claude_cli": true, "credentials": true, "node": true, "npm": true}))
}

async fn health(State(app): State<App>) -> Answer {
    answer_any(&app, json!({"status": "healthy"}))
}

/// `GET /ws/projects/{p}`: says that nothing runs, answers pings, and is silent otherwise.
async fn status_socket(
    State(app): State<App>,
    caller: Caller,
    Path(project): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    match answer(&app, &caller, &project, Value::Null).await {
        Ok(_) => ws::limited(upgrade).on_upgrade(move |socket| serve(socket, app)),
        Err(error) => error.0.render(Form::Problem),
    }
}

async fn serve(mut socket: WebSocket, app: App) {
    for frame in [
        json!({"type": "agent_status", "status": "stopped"}),
        json!({"type": "dev_server_status", "status": "stopped", "url": null}),
    ] {
        if socket.send(Message::Text(frame.to_string().into())).await.is_err() {
            return;
        }
    }
    loop {
        let message = tokio::select! {
            () = app.drain.cancelled() => return,
            message = socket.recv() => message,
        };
        let Some(Ok(message)) = message else { return };
        let is_ping = message.to_text().is_ok_and(|text| {
            serde_json::from_str::<Value>(text).is_ok_and(|frame| frame.get("type") == Some(&Value::from("ping")))
        });
        if is_ping && socket.send(Message::Text(json!({"type": "pong"}).to_string().into())).await.is_err() {
            return;
        }
    }
}

async fn answer(app: &App, caller: &Caller, project: &str, body: Value) -> Answer {
    let Json(body) = answer_any(app, body)?;
    let project = ProjectName::parse(project).ok_or(Refusal::ProjectNotFound)?;
    app.engine.project(caller.principal(), &project).await?;
    Ok(Json(body))
}

fn answer_any(app: &App, body: Value) -> Answer {
    if app.assistant.compat { Ok(Json(body)) } else { Err(Refusal::PathNotFound.into()) }
}
