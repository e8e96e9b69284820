//! `/chats` and `/channels/{c}/chats`: what contacts and we have said, and who answers.

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use domain::AccountId;
use domain::hub::{AgentId, ChannelId, ChatAgent, ChatId, ChatMessageId, DeliveryId, HubId as _};
use domain::sockets::channel::MediaLink;
use engine::{ChatAct, ChatFilter, ChatPost, MessagePage, RequestKey};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::accounts::Answer;
use super::caller::Caller;
use super::channels::{id_or_none, page};
use super::error::HubError;
use super::fields::Fields;
use super::outgoing;
use super::wire::{AgentView, ChatView, MessageView};
use crate::App;
use crate::kit::path::Path;
use crate::kit::{idempotency, time};

/// More words than this nobody looks for at once.
const MAX_SEARCH_CHARACTERS: usize = 1000;
/// Digits by which a phone number is known for certain.
const MIN_PHONE_DIGITS: usize = 10;
/// The longest text that is taken; platforms cut it into parts.
const MAX_CONTENT_CHARACTERS: usize = 100_000;
/// Files that go with one message.
const MAX_ATTACHMENTS: usize = 10;
const MAX_ADDRESS_BYTES: usize = 2000;
/// A person may keep the floor for a year.
const MAX_MINUTES: i64 = 525_600;
/// Names the agent's call that a message answers.
const DELIVERY_HEADER: &str = "colloquy-delivery";

const FILTERS: [&str; 13] = [
    "limit",
    "offset",
    "assigned_user_id",
    "assigned",
    "channel_id",
    "q",
    "phone",
    "needs_attention",
    "unread",
    "waiting",
    "archived",
    "after",
    "before",
];

/// The chat that a path names.
pub struct Place(pub(super) (ChannelId, ChatId));

impl<S: Send + Sync> FromRequestParts<S> for Place {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HubError> {
        let named = Path::<Map<String, Value>>::from_request_parts(parts, state).await.ok();
        let id = |name: &str| named.as_ref().and_then(|named| named.0.get(name)).and_then(Value::as_str).unwrap_or_default();
        Ok(Self((id_or_none(id("channel")), id_or_none(id("chat")))))
    }
}

/// `GET /channels/{c}/chats`: the one that was written to last first.
pub async fn of_channel(State(app): State<App>, caller: Caller, Path(id): Path<String>, uri: Uri) -> Answer<Value> {
    let mut filter = read_filter(&uri)?;
    filter.channel = Some(id_or_none(&id));
    let offset = filter.offset;
    let (chats, total) = app.engine.chats(caller.who, filter).await?;
    Ok(Json(chats_page(&app, chats, offset, total)))
}

/// `GET /chats`: the same across all channels that the caller may see.
pub async fn of_all(State(app): State<App>, caller: Caller, uri: Uri) -> Answer<Value> {
    let filter = read_filter(&uri)?;
    let offset = filter.offset;
    let (chats, total) = app.engine.all_chats(caller.who, filter).await?;
    Ok(Json(chats_page(&app, chats, offset, total)))
}

fn read_filter(uri: &Uri) -> Result<ChatFilter, HubError> {
    let mut query = Fields::query(uri, &FILTERS);
    let (offset, limit) = page(&mut query);
    let assigned_to = query.opt_text("assigned_user_id", 0..=64).map(|id| id_or_none::<AccountId>(&id));
    let is_assigned = query.boolean("assigned");
    let channel = query.opt_text("channel_id", 0..=64).map(|id| id_or_none::<ChannelId>(&id));
    let words = query.opt_text("q", 0..=MAX_SEARCH_CHARACTERS);
    let phone = query.opt_text("phone", 0..=64).map(|phone| phone.chars().filter(char::is_ascii_digit).collect::<String>());
    if phone.as_ref().is_some_and(|digits| digits.len() < MIN_PHONE_DIGITS) {
        query.refuse("phone", "at least 10 digits are needed");
    }
    let needs_attention = query.boolean("needs_attention");
    let is_unread = query.boolean("unread");
    let is_waiting = query.boolean("waiting");
    let archived = query.boolean("archived").unwrap_or(false);
    let behind = query.opt_text("after", 0..=64).map(|id| id_or_none::<ChatId>(&id));
    let before = query.opt_text("before", 0..=64).map(|id| id_or_none::<ChatId>(&id));
    query.end()?;
    Ok(ChatFilter {
        channel,
        seen_by: None,
        assigned_to,
        is_assigned,
        needs_attention,
        is_unread,
        is_waiting,
        archived,
        words,
        phone,
        offset,
        limit,
        behind,
        before,
    })
}

fn chats_page(app: &App, chats: Vec<domain::hub::ChatView>, offset: i64, total: i64) -> Value {
    let now = app.engine.clock().now();
    let shown: Vec<ChatView> = chats.iter().map(|chat| outgoing::chat(chat, now)).collect();
    outgoing::page("chats", shown, offset, total)
}

/// `GET /channels/{c}/chats/{k}`
pub async fn show(State(app): State<App>, caller: Caller, Place(place): Place) -> Answer<ChatView> {
    let chat = app.engine.chat(caller.who, place).await?;
    Ok(Json(outgoing::chat(&chat, app.engine.clock().now())))
}

/// `DELETE …/chats/{k}?soft=false`
pub async fn remove(State(app): State<App>, caller: Caller, Place(place): Place, uri: Uri) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Delete)?;
    let soft = super::accounts::flag(&uri, "soft")?.unwrap_or(false);
    app.engine.delete_chat(caller.who, place, soft).await?;
    let how = if soft { "soft deleted" } else { "permanently deleted" };
    Ok(Json(json!({"success": true, "message": format!("Chat {} {how} successfully", place.1)})))
}

/// `POST …/assign {user_id}`
pub async fn assign(State(app): State<App>, caller: Caller, Place(place): Place, request: Request) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Arrange)?;
    let repeat = Repeat::of(&app, &caller, &request);
    let (mut body, bytes) = Fields::body(request).await?;
    let user = body.text("user_id", 0..=64);
    body.end()?;
    let (engine, now) = (app.engine.clone(), app.engine.clock().now());
    repeat
        .once(&bytes, async move {
            let chat = engine.assign(caller.who, place, Some(id_or_none::<AccountId>(&user))).await?;
            to_value(&outgoing::chat(&chat, now))
        })
        .await
}

/// `POST …/unassign`
pub async fn unassign(State(app): State<App>, caller: Caller, Place(place): Place, request: Request) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Arrange)?;
    let repeat = Repeat::of(&app, &caller, &request);
    let (_, bytes) = Fields::optional_body(request).await?;
    let (engine, now) = (app.engine.clone(), app.engine.clock().now());
    let work = async move {
        let chat = engine.assign(caller.who, place, None).await?;
        to_value(&outgoing::chat(&chat, now))
    };
    repeat.once(&bytes, work).await
}

/// `POST …/read {up_to?}`
pub async fn read(State(app): State<App>, caller: Caller, Place(place): Place, request: Request) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Operate)?;
    let repeat = Repeat::of(&app, &caller, &request);
    let (mut body, bytes) = Fields::optional_body(request).await?;
    let upto = body.opt_text("up_to", 0..=64).map(|id| id_or_none::<ChatMessageId>(&id));
    body.end()?;
    let engine = app.engine.clone();
    let work = async move { Ok(json!({"unread_count": engine.mark_read(caller.who, place, upto).await?})) };
    repeat.once(&bytes, work).await
}

/// `POST …/take {minutes?}`
pub async fn take(State(app): State<App>, caller: Caller, Place(place): Place, request: Request) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Operate)?;
    let repeat = Repeat::of(&app, &caller, &request);
    let (mut body, bytes) = Fields::optional_body(request).await?;
    let minutes = body.integer("minutes", 0..=MAX_MINUTES);
    body.end()?;
    let (engine, now) = (app.engine.clone(), app.engine.clock().now());
    let work = async move {
        let chat = engine.take_floor(caller.who, place, minutes).await?;
        to_value(&outgoing::chat(&chat, now))
    };
    repeat.once(&bytes, work).await
}

/// `POST …/release`
pub async fn release(State(app): State<App>, caller: Caller, Place(place): Place, request: Request) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Operate)?;
    let repeat = Repeat::of(&app, &caller, &request);
    let (_, bytes) = Fields::optional_body(request).await?;
    let (engine, now) = (app.engine.clone(), app.engine.clock().now());
    let work = async move {
        let chat = engine.release_floor(caller.who, place).await?;
        to_value(&outgoing::chat(&chat, now))
    };
    repeat.once(&bytes, work).await
}

/// `GET …/drafts`
pub async fn drafts(State(app): State<App>, caller: Caller, Place(place): Place) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Operate)?;
    let drafts = app.engine.drafts(caller.who, place).await?;
    let shown = drafts.into_iter().map(|draft| {
        json!({
            "id": draft.id.spelled(),
            "agent_id": draft.agent.spelled(),
            "content": draft.content,
            "created_at": time::naive(draft.created_at),
        })
    });
    Ok(Json(json!({"drafts": shown.collect::<Vec<_>>()})))
}

/// `GET …/activity`: the newest first.
pub async fn activity(State(app): State<App>, caller: Caller, Place(place): Place, uri: Uri) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Operate)?;
    let mut query = Fields::query(&uri, &["limit", "offset"]);
    let (offset, limit) = page(&mut query);
    query.end()?;
    let (lines, total) = app.engine.activity(caller.who, place, offset, limit).await?;
    let shown = lines.into_iter().map(|line| {
        json!({
            "created_at": time::naive(line.at),
            "kind": line.kind,
            "text": line.text,
            "user_id": line.account.map(|id| id.spelled()),
            "agent_id": line.agent.map(|id| id.spelled()),
        })
    });
    Ok(Json(outgoing::page("activity", shown.collect::<Vec<_>>(), offset, total)))
}

/// `GET …/messages`: the newest first.
pub async fn messages(State(app): State<App>, caller: Caller, Place(place): Place, uri: Uri) -> Answer<Value> {
    let mut query = Fields::query(&uri, &["limit", "offset", "before", "after"]);
    let (offset, limit) = page(&mut query);
    let before = query.opt_text("before", 0..=64).map(|id| id_or_none::<ChatMessageId>(&id));
    let after = query.opt_text("after", 0..=64).map(|id| id_or_none::<ChatMessageId>(&id));
    query.end()?;
    let wanted = MessagePage { offset, limit, before, after };
    let (messages, total) = app.engine.chat_messages(caller.who, place, wanted).await?;
    let shown: Vec<MessageView> = messages.into_iter().map(outgoing::message).collect();
    Ok(Json(outgoing::page("messages", shown, offset, total)))
}

/// `POST …/messages {content, meta_data?}`: stored and queued when it is answered.
pub async fn say(
    State(app): State<App>,
    caller: Caller,
    Place(place): Place,
    headers: HeaderMap,
    request: Request,
) -> Answer<MessageView> {
    let post = read_post(&headers, request).await?;
    Ok(Json(outgoing::message(app.engine.say(caller.who, place, post).await?)))
}

/// `POST /webhooks/agent/{chat}`: the same, for agents, who know the chat alone.
pub async fn say_in_chat(
    State(app): State<App>,
    caller: Caller,
    Path(chat): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Answer<MessageView> {
    let post = read_post(&headers, request).await?;
    Ok(Json(outgoing::message(app.engine.say_in_chat(caller.who, id_or_none(&chat), post).await?)))
}

async fn read_post(headers: &HeaderMap, request: Request) -> Result<ChatPost, HubError> {
    let (mut body, bytes) = Fields::body(request).await?;
    let media = attachments(&mut body);
    // A file needs no words beside it.
    let content = match media.is_empty() {
        true => body.text("content", 1..=MAX_CONTENT_CHARACTERS),
        false => body.opt_text("content", 0..=MAX_CONTENT_CHARACTERS).unwrap_or_default(),
    };
    let meta = body.dictionary("meta_data").unwrap_or_default();
    if !media.is_empty() && meta.contains_key("template") {
        body.refuse("attachments", "a template is sent without files");
    }
    body.end()?;
    let key = named_request(headers, &bytes)?;
    let delivery = headers.get(DELIVERY_HEADER).and_then(|value| value.to_str().ok()).map(id_or_none::<DeliveryId>);
    Ok(ChatPost { content, meta, media, delivery, key })
}

/// `[{url, mime_type, name?}]`: addresses that the platform fetches.
fn attachments(body: &mut Fields) -> Vec<MediaLink> {
    let Some(given) = body.raw("attachments").cloned() else { return Vec::new() };
    let text = |item: &Value, name: &str| {
        let text = item.get(name).and_then(Value::as_str).filter(|text| !text.is_empty() && text.len() <= MAX_ADDRESS_BYTES)?;
        (!text.chars().any(char::is_control)).then(|| text.to_owned())
    };
    let link =
        |item: &Value| Some(MediaLink { url: text(item, "url")?, mime_type: text(item, "mime_type")?, name: text(item, "name") });
    let read: Option<Vec<MediaLink>> = given.as_array().and_then(|items| items.iter().map(link).collect());
    match read {
        Some(links) if links.len() <= MAX_ATTACHMENTS => return links,
        Some(_) => body.refuse("attachments", "at most 10 files go with one message"),
        None => body.refuse("attachments", "each needs url and mime_type, as texts"),
    }
    Vec::new()
}

/// What the client named its request, and SHA-256 of it.
pub(super) fn named_request(headers: &HeaderMap, bytes: &[u8]) -> Result<Option<(String, String)>, HubError> {
    let print = || Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok(idempotency::header(headers)?.map(|key| (key.to_owned(), print())))
}

/// `POST …/messages/{m}/resend`
pub async fn resend(
    State(app): State<App>,
    caller: Caller,
    Place(place): Place,
    Path(path): Path<(String, String, String)>,
    request: Request,
) -> Answer<Value> {
    let repeat = Repeat::of(&app, &caller, &request);
    let (_, bytes) = Fields::optional_body(request).await?;
    let engine = app.engine.clone();
    let work = async move { to_value(&outgoing::message(engine.resend(caller.who, place, id_or_none(&path.2)).await?)) };
    repeat.once(&bytes, work).await
}

/// `GET …/agents?active=true`
pub async fn agents(State(app): State<App>, caller: Caller, Place(place): Place, uri: Uri) -> Answer<Value> {
    let mut query = Fields::query(&uri, &["active", "limit", "offset"]);
    let active = query.boolean("active").unwrap_or(true);
    let page = page(&mut query);
    query.end()?;
    let (linked, total) = app.engine.chat_agents(caller.who, place, active, page).await?;
    let shown: Vec<Value> = linked.into_iter().map(|(link, agent)| chat_agent(&link, agent.into())).collect();
    Ok(Json(outgoing::page("chat_agents", shown, page.0, total)))
}

/// `POST …/agents {agent_id, active?}`
pub async fn link(State(app): State<App>, caller: Caller, Place(place): Place, request: Request) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Arrange)?;
    let repeat = Repeat::of(&app, &caller, &request);
    let (mut body, bytes) = Fields::body(request).await?;
    let agent = body.text("agent_id", 0..=64);
    let active = body.boolean("active").unwrap_or(true);
    body.end()?;
    let engine = app.engine.clone();
    let work = async move {
        let (link, agent) = engine.link_agent(caller.who, place, id_or_none::<AgentId>(&agent), active).await?;
        Ok(chat_agent(&link, agent.into()))
    };
    repeat.once(&bytes, work).await
}

/// `GET …/agents/{a}`
pub async fn agent(
    State(app): State<App>,
    caller: Caller,
    Place(place): Place,
    Path(path): Path<(String, String, String)>,
) -> Answer<Value> {
    let (link, agent) = app.engine.chat_agent(caller.who, place, id_or_none(&path.2)).await?;
    Ok(Json(chat_agent(&link, agent.into())))
}

/// `PUT …/agents/{a} {active}`
pub async fn set_agent(
    State(app): State<App>,
    caller: Caller,
    Place(place): Place,
    Path(path): Path<(String, String, String)>,
    request: Request,
) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Arrange)?;
    let (mut body, _) = Fields::body(request).await?;
    let active = body.boolean("active");
    body.end()?;
    let (link, agent) = app.engine.set_chat_agent(caller.who, place, id_or_none(&path.2), active).await?;
    Ok(Json(chat_agent(&link, agent.into())))
}

/// `DELETE …/agents/{a}`
pub async fn unlink(
    State(app): State<App>,
    caller: Caller,
    Place(place): Place,
    Path(path): Path<(String, String, String)>,
) -> Answer<Value> {
    app.engine.may_in_chats(caller.who, ChatAct::Arrange)?;
    app.engine.unlink_agent(caller.who, place, id_or_none(&path.2)).await?;
    Ok(Json(json!({"message": "Agent removed from this chat"})))
}

fn chat_agent(link: &ChatAgent, agent: AgentView) -> Value {
    json!({
        "id": link.id.spelled(),
        "chat_id": link.chat.spelled(),
        "agent_id": link.agent.spelled(),
        "active": link.active,
        "agent": agent,
    })
}

/// A request that may come again under its `Idempotency-Key`, and is answered then as the first time.
pub(super) struct Repeat {
    app: App,
    who: domain::Principal,
    route: String,
    headers: HeaderMap,
}

impl Repeat {
    pub(super) fn of(app: &App, caller: &Caller, request: &Request) -> Self {
        let route = format!("POST {}", request.uri().path().trim_end_matches('/'));
        Self { app: app.clone(), who: caller.who, route, headers: request.headers().clone() }
    }

    /// Does the work, unless it was done before. Only for work that bears to be done twice: of two such requests at once,
    /// both may be done.
    pub(super) async fn once(self, bytes: &[u8], work: impl Future<Output = Result<Value, HubError>>) -> Answer<Value> {
        let key: Option<RequestKey> = idempotency::request_key(&self.headers, &self.route, bytes)?;
        let Some(key) = key else { return Ok(Json(work.await?)) };
        if let Some(answer) = self.app.engine.answered(self.who, key.clone()).await? {
            return Ok(Json(answer));
        }
        let answer = work.await?;
        Ok(Json(self.app.engine.remember(self.who, key, answer).await?))
    }
}

pub(super) fn to_value(shown: &impl serde::Serialize) -> Result<Value, HubError> {
    serde_json::to_value(shown).map_err(|error| engine::Error::Internal(error.to_string()).into())
}
