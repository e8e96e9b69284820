//! From requests to calls of the engine.

use std::path::PathBuf;

use domain::{
    Author, Conversation, ConversationId, Failure, FailureCode, Mode, ModelName, Outcome, PartBody, ToolCall, ToolOutcome,
    ToolResult,
};
use engine::{Catalogue, Change, ImportedMessage, NewConversation, Post, TitleRule, WhenBusy};
use serde_json::Value;

use crate::kit::error::Refusal;
use crate::kit::idempotency::MAX_KEY_CHARACTERS;
use crate::kit::json::{Expected, FieldError, Object};

/// The title of a session that nobody named.
pub const DEFAULT_TITLE: &str = "New Conversation";

/// A title is one line in a list; more than this is no title.
const MAX_TITLE_CHARACTERS: usize = 1000;
/// Messages of an imported session: far more than fit into a body of 1 MiB that says anything.
const MAX_IMPORTED_MESSAGES: usize = 10_000;
/// The version of exports that we write and read.
pub const EXPORT_VERSION: u8 = 1;

const MODES: &[&str] = &["ask", "plan", "build"];
const WHEN_BUSY: &[&str] = &["queue", "steer", "interrupt", "reject"];
const ROLES: &[&str] = &["user", "assistant"];
const STATUSES: &[&str] = &["completed", "truncated", "refused", "cancelled", "failed"];
const PART_TYPES: &[&str] = &["text", "tool_use", "tool_result"];

/// `POST /api/sessions`.
///
/// # Errors
/// What is wrong with a field, the model or the key.
pub async fn new_session(catalogue: &Catalogue, body: &Object) -> Result<NewConversation, Refusal> {
    let title = title(body)?.unwrap_or_else(|| DEFAULT_TITLE.to_owned());
    let mode = mode(body)?.unwrap_or_default();
    let workdir = directory(body, "workingDirectory")?;
    let model = model(catalogue, body, catalogue.default_model())?;
    check_key(catalogue, body, model.as_ref().unwrap_or(catalogue.default_model())).await?;
    Ok(NewConversation { title, model, mode, workdir })
}

/// `PATCH /api/sessions/:id`. What is not named stays, and a model is named with or without its provider.
///
/// # Errors
/// As [`new_session`].
pub async fn change(catalogue: &Catalogue, now: &Conversation, body: &Object) -> Result<Change, Refusal> {
    let model = model(catalogue, body, &now.model)?;
    let change =
        Change { title: title(body)?, mode: mode(body)?, workdir: directory(body, "workingDirectory")?, model: model.clone() };
    check_key(catalogue, body, model.as_ref().unwrap_or(&now.model)).await?;
    Ok(change)
}

/// `POST /api/sessions/:id/messages`. The `Idempotency-Key` names the message if it has no `clientId`: both are one space.
///
/// # Errors
/// What is wrong with a field.
pub fn post(conversation: ConversationId, body: &Object, key: Option<&str>) -> Result<Post, Refusal> {
    let client_id = body.opt_text("clientId", 1, MAX_KEY_CHARACTERS)?.or(key).map(str::to_owned);
    let when_busy = match body.opt_one_of("whenBusy", WHEN_BUSY)? {
        Some("steer") => WhenBusy::Steer,
        Some("interrupt") => WhenBusy::Interrupt,
        Some("reject") => WhenBusy::Reject,
        Some(_) | None => WhenBusy::Queue,
    };
    Ok(Post {
        conversation,
        text: body.string("content")?.to_owned(),
        client_id,
        mode: mode(body)?,
        workdir: directory(body, "workingDir")?,
        when_busy,
        title_rule: TitleRule::FirstLine,
    })
}

/// `POST /api/sessions/import`: a file as the export writes it. A model that this server does not have becomes its default.
///
/// # Errors
/// What is wrong with which field.
pub fn import(catalogue: &Catalogue, file: &Object) -> Result<(NewConversation, Vec<ImportedMessage>), Refusal> {
    if file.repeats_inside() {
        return Err(Refusal::BadJson);
    }
    let version = i64::from(EXPORT_VERSION);
    if file.integer("version")? != version {
        return Err(file.wrong("version", Expected::IntegerBetween { min: version, max: version }).into());
    }
    let session = file.object("session")?;
    let new = imported_session(catalogue, &session).map_err(|error| error.within("session"))?;
    let list = file.list("messages")?;
    if list.len() > MAX_IMPORTED_MESSAGES {
        return Err(Refusal::TooLarge);
    }
    let mut messages = Vec::with_capacity(list.len());
    let mut calls = Calls::default();
    for (index, value) in list.iter().enumerate() {
        let outer = format!("messages.{index}");
        let message = Object::of_value(value).ok_or_else(|| not_an_object(&outer, value))?;
        messages.extend(imported_message(&message, &mut calls).map_err(|error| error.within(&outer))?);
    }
    Ok((new, messages))
}

/// The provider and key of `POST /api/providers/validate`.
///
/// # Errors
/// One is missing or no string.
pub fn key_to_check(body: &Object) -> Result<(String, String), Refusal> {
    Ok((body.string("provider")?.to_owned(), body.string("apiKey")?.to_owned()))
}

fn title(body: &Object) -> Result<Option<String>, FieldError> {
    let title = body.opt_text("title", 0, MAX_TITLE_CHARACTERS)?;
    Ok(title.map(|title| if title.trim().is_empty() { DEFAULT_TITLE.to_owned() } else { title.to_owned() }))
}

fn mode(body: &Object) -> Result<Option<Mode>, FieldError> {
    Ok(body.opt_one_of("mode", MODES)?.and_then(Mode::parse))
}

fn directory(body: &Object, name: &str) -> Result<Option<PathBuf>, FieldError> {
    Ok(filled(body, name)?.map(PathBuf::from))
}

/// The model that `provider` and `model` name together, where `now` fills in for a provider that is not named.
fn model(catalogue: &Catalogue, body: &Object, now: &ModelName) -> Result<Option<ModelName>, Refusal> {
    Ok(match (filled(body, "provider")?, filled(body, "model")?) {
        (Some(provider), Some(model)) => Some(ModelName::new(provider, model)),
        (Some(provider), None) if provider == now.provider => None,
        (Some(provider), None) => Some(catalogue.first_model(provider)?),
        (None, Some(model)) => Some(ModelName::new(now.provider.clone(), model)),
        (None, None) => None,
    })
}

/// A key that comes along is tried once, and forgotten: keys are settings of the server.
async fn check_key(catalogue: &Catalogue, body: &Object, model: &ModelName) -> Result<(), Refusal> {
    let Some(key) = filled(body, "apiKey")? else { return Ok(()) };
    let provider = &model.provider;
    let verdict = catalogue.check_key(provider, key).await?;
    verdict.map_err(|error| Refusal::InvalidKey { provider: provider.clone(), reason: error.sentence })
}

/// A string that says something: the seed's clients send empty ones for what they leave open.
fn filled<'a>(body: &'a Object, name: &str) -> Result<Option<&'a str>, FieldError> {
    Ok(body.opt_string(name)?.filter(|text| !text.is_empty()))
}

fn imported_session(catalogue: &Catalogue, session: &Object) -> Result<NewConversation, FieldError> {
    let named = filled(session, "provider")?.zip(filled(session, "model")?);
    let model = named.map(|(provider, model)| ModelName::new(provider, model)).filter(|name| catalogue.model(name).is_ok());
    Ok(NewConversation {
        title: title(session)?.unwrap_or_else(|| DEFAULT_TITLE.to_owned()),
        model,
        mode: mode(session)?.unwrap_or_default(),
        workdir: directory(session, "workingDirectory")?,
    })
}

/// The calls seen so far and not yet answered, with the name of their tool.
#[derive(Default)]
struct Calls {
    open: Vec<(String, String)>,
    seen: std::collections::HashSet<String>,
}

/// `None` for a person's message that says nothing. An answer may have ended before it said anything.
fn imported_message(message: &Object, calls: &mut Calls) -> Result<Option<ImportedMessage>, FieldError> {
    let from_agent = required_one_of(message, "role", ROLES)? == "assistant";
    let mut parts = Vec::new();
    for (index, value) in message.list("parts")?.iter().enumerate() {
        let outer = format!("parts.{index}");
        let part = Object::of_value(value).ok_or_else(|| not_an_object(&outer, value))?;
        parts.push(imported_part(&part, from_agent, calls).map_err(|error| error.within(&outer))?);
    }
    let results = parts.iter().filter(|part| matches!(part, PartBody::ToolResult(_))).count();
    if results != 0 && results != parts.len() {
        // What a person says and what a tool says never stand in one message.
        return Err(message.wrong("parts", Expected::List));
    }
    let author = match (from_agent, results) {
        (true, _) => Author::Agent,
        (false, 0) => Author::Person(domain::AccountId::OWNER),
        (false, _) => Author::System,
    };
    let outcome = if from_agent { imported_outcome(message)? } else { None };
    Ok((from_agent || !parts.is_empty()).then_some(ImportedMessage { author, parts, outcome }))
}

fn imported_outcome(message: &Object) -> Result<Option<Outcome>, FieldError> {
    let Some(status) = message.opt_one_of("status", STATUSES)? else { return Ok(None) };
    Ok(Some(match status {
        "truncated" => Outcome::Truncated,
        "refused" => Outcome::Refused,
        "cancelled" => Outcome::Cancelled,
        "failed" => {
            let code = message.opt_string("errorCode")?.and_then(FailureCode::parse).unwrap_or(FailureCode::Internal);
            Outcome::Failed(Failure { code, sentence: message.opt_string("error")?.unwrap_or_default().to_owned() })
        }
        _ => Outcome::Completed,
    }))
}

fn imported_part(part: &Object, from_agent: bool, calls: &mut Calls) -> Result<PartBody, FieldError> {
    let kind = required_one_of(part, "type", PART_TYPES)?;
    let fits = from_agent != (kind == "tool_result") || kind == "text";
    if !fits || (kind == "tool_use" && !from_agent) {
        return Err(
            part.wrong("type", Expected::OneOf(if from_agent { &["text", "tool_use"] } else { &["text", "tool_result"] }))
        );
    }
    let content = part.object("content")?;
    let body = match kind {
        "tool_use" => imported_call(&content, calls),
        "tool_result" => imported_result(&content, calls),
        _ => content.string("text").map(|text| PartBody::Text { text: text.to_owned() }),
    };
    body.map_err(|error| error.within("content"))
}

fn imported_call(content: &Object, calls: &mut Calls) -> Result<PartBody, FieldError> {
    let (id, name) = (content.string("id")?, content.string("name")?);
    if !calls.seen.insert(id.to_owned()) {
        return Err(content.wrong("id", Expected::String));
    }
    let input = content.object("input")?;
    let input = input.into_map();
    if has_nul(&Value::Object(input.clone())) {
        return Err(FieldError { fault: crate::kit::json::Fault::Nul, ..content.wrong("input", Expected::Object) });
    }
    calls.open.push((id.to_owned(), name.to_owned()));
    Ok(PartBody::ToolCall(ToolCall { id: id.to_owned(), name: name.to_owned(), input }))
}

fn imported_result(content: &Object, calls: &mut Calls) -> Result<PartBody, FieldError> {
    let id = content.string("tool_use_id")?;
    let Some(index) = calls.open.iter().position(|(open, _)| open == id) else {
        return Err(content.wrong("tool_use_id", Expected::String));
    };
    let (call_id, name) = calls.open.remove(index);
    let failed = content.opt_bool("is_error")?.unwrap_or(false);
    Ok(PartBody::ToolResult(ToolResult {
        call_id,
        name,
        output: content.string("content")?.to_owned(),
        outcome: if failed { ToolOutcome::Failed } else { ToolOutcome::Completed },
        truncated: content.opt_bool("truncated")?.unwrap_or(false),
        // What never was is no reason to refuse a transcript.
        duration_ms: content.opt_integer("durationMs")?.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0),
    }))
}

fn required_one_of(object: &Object, name: &str, allowed: &'static [&'static str]) -> Result<&'static str, FieldError> {
    object.opt_one_of(name, allowed)?.ok_or_else(|| object.wrong(name, Expected::OneOf(allowed)))
}

fn not_an_object(name: &str, value: &Value) -> FieldError {
    let mut error = Object::default().wrong(name, Expected::Object);
    error.value = Box::new(value.clone());
    error
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
