//! `/auth/agents`: agents, their tokens and secrets.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::Uri;
use domain::hub::{AgentDelivery, AgentKind, AgentScope, ChannelId, DeliveryState, HubId as _, OnNewMessage, TokenId};
use domain::{Mode, ModelName};
use engine::{AgentChange, Refused, Tested, TokenRef};
use serde_json::{Value, json};

use super::accounts::{Answer, flag, is_active, known};
use super::caller::Caller;
use super::channels::page;
use super::fields::Fields;
use super::outgoing;
use super::wire::{AgentView, NewAgentView};
use crate::App;
use crate::kit::path::Path;
use crate::kit::time;

const MAX_NAME_CHARACTERS: usize = 200;
const MAX_URL_CHARACTERS: usize = 4096;
/// As much as a message may have.
const MAX_INSTRUCTIONS_CHARACTERS: usize = 100_000;
/// What an agent is asked in a test: a question, not a document.
const MAX_TEST_CHARACTERS: usize = 2000;

/// `GET /auth/agents?is_active=true`
pub async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Answer<Vec<AgentView>> {
    let is_active = is_active(&uri)?;
    let agents = app.engine.agents(caller.who, is_active).await?;
    Ok(Json(agents.into_iter().map(AgentView::from).collect()))
}

/// `POST /auth/agents`
pub async fn create(State(app): State<App>, caller: Caller, request: Request) -> Answer<NewAgentView> {
    app.engine.must_be_admin(caller.who)?;
    let (mut body, _) = Fields::body(request).await?;
    let name = body.text("name", 1..=MAX_NAME_CHARACTERS);
    let mut change = read_change(&mut body, true);
    change.name = Some(name);
    body.end()?;
    let new = app.engine.create_agent(caller.who, change).await?;
    Ok(Json(NewAgentView { agent: new.agent.into(), proofs: new.proofs.map(Into::into) }))
}

/// `GET /auth/agents/{id}`
pub async fn show(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<AgentView> {
    Ok(Json(app.engine.agent(caller.who, known(&id, Refused::NO_AGENT)?).await?.into()))
}

/// `PUT /auth/agents/{id}`: what is absent stays as it is.
pub async fn change(State(app): State<App>, caller: Caller, Path(id): Path<String>, request: Request) -> Answer<AgentView> {
    app.engine.must_be_admin(caller.who)?;
    let (mut body, _) = Fields::body(request).await?;
    let name = body.opt_text("name", 1..=MAX_NAME_CHARACTERS);
    let change = AgentChange { name, ..read_change(&mut body, false) };
    body.end()?;
    Ok(Json(app.engine.change_agent(caller.who, known(&id, Refused::NO_AGENT)?, change).await?.into()))
}

/// `DELETE /auth/agents/{id}?hard=false`
pub async fn remove(State(app): State<App>, caller: Caller, Path(id): Path<String>, uri: Uri) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let hard = flag(&uri, "hard")?.unwrap_or(false);
    app.engine.delete_agent(caller.who, known(&id, Refused::NO_AGENT)?, hard).await?;
    let message = if hard { "Agent deleted successfully" } else { "Agent soft-deleted successfully" };
    Ok(Json(json!({"message": message})))
}

/// `GET /auth/agents/{id}/tokens`
pub async fn tokens(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let tokens = app.engine.agent_tokens(caller.who, known(&id, Refused::NO_AGENT)?).await?;
    let shown = tokens.into_iter().map(|token| {
        json!({
            "id": token.id.spelled(),
            "access_token": token.shown,
            "expires_at": time::with_z(token.expires_at),
            "created_at": time::naive(token.created_at),
            "last_used_at": token.last_used_at.map(time::naive),
        })
    });
    Ok(Json(json!({"tokens": shown.collect::<Vec<_>>()})))
}

/// `POST /auth/agents/{id}/tokens`
pub async fn new_token(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let made = app.engine.new_agent_token(caller.who, known(&id, Refused::NO_AGENT)?).await?;
    let expires_at = time::with_z(made.expires_at);
    Ok(Json(json!({"id": made.id.spelled(), "access_token": made.token.0, "expires_at": expires_at})))
}

/// `DELETE /auth/agents/{id}/tokens/{ref}`
pub async fn revoke_token(State(app): State<App>, caller: Caller, Path((id, token)): Path<(String, String)>) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let token = TokenId::read(&token).map_or(TokenRef::Shown(token), TokenRef::Id);
    app.engine.revoke_agent_token(caller.who, known(&id, Refused::NO_AGENT)?, token).await?;
    Ok(Json(json!({"message": "Token revoked"})))
}

/// `POST /auth/agents/{id}/webhook-secret`
pub async fn new_secret(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let secret = app.engine.new_agent_secret(caller.who, known(&id, Refused::NO_AGENT)?).await?;
    Ok(Json(json!({"webhook_secret": secret.0})))
}

/// `POST /auth/agents/{id}/test {text?}`: calls it with no messages; one of ours is asked `text`. What it says is sent to nobody.
pub async fn test(State(app): State<App>, caller: Caller, Path(id): Path<String>, request: Request) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let (mut body, _) = Fields::optional_body(request).await?;
    let text = body.opt_text("text", 1..=MAX_TEST_CHARACTERS).unwrap_or_else(|| "Hello".to_owned());
    body.end()?;
    let tested = app.engine.test_agent(caller.who, known(&id, Refused::NO_AGENT)?, text).await?;
    let Tested { ok, status, took_ms, replies, error } = tested;
    Ok(Json(json!({"ok": ok, "status": status, "ms": took_ms, "replies": replies, "error": error})))
}

/// `GET /auth/agents/{id}/deliveries?state=`: the newest first.
pub async fn deliveries(State(app): State<App>, caller: Caller, Path(id): Path<String>, uri: Uri) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let mut query = Fields::query(&uri, &["state", "limit", "offset"]);
    let state = query.one_of("state", &["open", "failed", "done", "superseded", "cancelled"], DeliveryState::parse);
    let page = page(&mut query);
    query.end()?;
    let (deliveries, total) = app.engine.deliveries(caller.who, known(&id, Refused::NO_AGENT)?, state, page).await?;
    let shown: Vec<Value> = deliveries.iter().map(delivery).collect();
    Ok(Json(outgoing::page("deliveries", shown, page.0, total)))
}

/// `POST /auth/agents/{id}/deliveries/{dlv}/retry`: a dead letter is sent once more, as the same delivery.
pub async fn retry_delivery(State(app): State<App>, caller: Caller, Path((id, name)): Path<(String, String)>) -> Answer<Value> {
    app.engine.must_be_admin(caller.who)?;
    let named = known(&name, Refused::NO_DELIVERY)?;
    Ok(Json(delivery(&app.engine.retry_delivery(caller.who, known(&id, Refused::NO_AGENT)?, named).await?)))
}

fn delivery(delivery: &AgentDelivery) -> Value {
    json!({
        "id": delivery.id.spelled(),
        "chat_id": delivery.chat.spelled(),
        "state": delivery.state.as_str(),
        "attempts": delivery.attempts,
        "next_at": delivery.next_at.map(time::naive),
        "status": delivery.status,
        "error": delivery.error,
        "created_at": time::naive(delivery.created_at),
    })
}

/// Everything but the name. Fields that may be nothing are set to nothing by `null`.
fn read_change(body: &mut Fields, is_new: bool) -> AgentChange {
    let kind = body.one_of("kind", &["webhook", "builtin"], AgentKind::parse);
    let webhook_url = body.opt_text("webhook_url", 1..=MAX_URL_CHARACTERS);
    if is_new && body.raw("webhook_url").is_none() && kind != Some(AgentKind::Builtin) {
        body.missing("webhook_url");
    }
    AgentChange {
        name: None,
        kind,
        webhook_url,
        is_fire_and_forget: body.boolean("is_fire_and_forget"),
        buffer_time_s: body.integer("buffer_time_seconds", 0..=300),
        history_msg_count: body.integer("history_msg_count", 1..=500),
        recent_msg_window_minutes: body.integer("recent_msg_window_minutes", 1..=525_600),
        activate_for_new_conversation: body.boolean("activate_for_new_conversation"),
        is_active: body.boolean("is_active"),
        scope: body.one_of("scope", &["linked", "all"], AgentScope::parse),
        channels: named(body, "channel_ids", |body| {
            let ids = body.texts("channel_ids")?;
            // A channel that does not exist matches none.
            Some(ids.iter().filter_map(|id| ChannelId::read(id)).collect())
        }),
        on_new_message: body.one_of("on_new_message", &["collect", "interrupt"], OnNewMessage::parse),
        reply_timeout_s: body.integer("reply_timeout_seconds", 0..=86_400),
        max_wait_s: named(body, "max_wait_seconds", |body| body.integer("max_wait_seconds", 0..=86_400)),
        model: named(body, "model", |body| {
            let name = body.opt_text("model", 1..=MAX_NAME_CHARACTERS)?;
            let model = ModelName::parse(&name);
            if model.is_none() {
                body.refuse("model", "unknown model");
            }
            model
        }),
        instructions: body.opt_text("instructions", 0..=MAX_INSTRUCTIONS_CHARACTERS),
        tools: named(body, "tools", |body| body.texts("tools")),
        mode: body.one_of("mode", &["ask", "plan", "build"], Mode::parse),
    }
}

/// `None`: the body does not name the field. `Some(None)`: it says that there is none.
fn named<T>(body: &mut Fields, name: &str, read: impl FnOnce(&mut Fields) -> Option<T>) -> Option<Option<T>> {
    body.names(name).then(|| read(body))
}
