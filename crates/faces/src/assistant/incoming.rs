//! From a frame of a client to a call of the engine, and what the client is told at once.

use std::collections::BTreeMap;

use axum::extract::ws::Utf8Bytes;
use domain::{ConversationId, Home, Principal, ProjectName};
use engine::{
    Answering, Engine, Error, From as Begin, NewProjectConversation, Post, Posted, ProjectConversation, Reply, RequestKey,
    TitleRule, WhenBusy,
};
use serde_json::Value;

use super::outgoing;
use super::reconnects::Left;
use super::stream::{Bound, Replay};
use crate::kit::error::{Form, Refusal};
use crate::kit::idempotency::MAX_KEY_CHARACTERS;
use crate::kit::json::{Fault, Object, parse_object};

/// Characters of a message, by the contract.
const MOST_CHARACTERS: usize = 200_000;

/// Characters of an unknown type that are repeated to the client.
const SHOWN_TYPE: usize = 64;

/// What a frame asks for.
#[derive(Debug)]
pub(super) enum Wish {
    Start {
        conversation: Option<i64>,
        since: Option<String>,
        client_id: Option<String>,
        /// The client knows frames that the earlier system did not send.
        notices: bool,
    },
    Message {
        content: String,
        client_id: Option<String>,
    },
    Answer {
        reply: Reply,
        client_id: Option<String>,
    },
    Cancel,
    /// Shows again what a lost connection has cut off. No frame asks for it.
    GoOn(Left),
}

/// What a frame is to the socket.
pub(super) enum Read {
    AtOnce(Utf8Bytes),
    InTurn(Wish),
}

/// Why a frame is not done: one `error` frame, and the socket lives on.
#[derive(Debug)]
pub(super) struct Refused {
    content: String,
    code: &'static str,
}

impl Refused {
    fn because(content: impl Into<String>, code: &'static str) -> Self {
        Self { content: content.into(), code }
    }

    pub(super) fn frame(&self) -> Utf8Bytes {
        outgoing::error(&self.content, self.code)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::because("Conversation not found", "not_found"),
            Error::ProjectNotFound => Self::because("Project not found in registry", "not_found"),
            Error::ProjectGone => Self::because("Project directory not found", "not_found"),
            Error::Conflict => Self::because("This client_id was used for another message", "conflict"),
            error => {
                let refusal = Refusal::from(error);
                let text = refusal.text(Form::Assistant);
                match refusal {
                    Refusal::Internal | Refusal::StorageFull | Refusal::Unavailable => {
                        Self::because(format!("Server error: {text}"), refusal.code())
                    }
                    _ => Self::because(text, refusal.code()),
                }
            }
        }
    }
}

/// What came of a wish.
pub(super) struct Done {
    /// For the client, before anything else of the conversation.
    pub(super) frames: Vec<Utf8Bytes>,
    /// The socket is bound to this from here on.
    pub(super) bound: Option<Bound>,
}

impl Done {
    const NOTHING: Self = Self { frames: Vec::new(), bound: None };
}

pub(super) fn read(text: &str) -> Read {
    match read_wish(text) {
        Ok(Some(wish)) => Read::InTurn(wish),
        Ok(None) => Read::AtOnce(outgoing::pong()),
        Err(refused) => Read::AtOnce(refused.frame()),
    }
}

/// `None` for a ping.
fn read_wish(text: &str) -> Result<Option<Wish>, Refused> {
    let invalid_json = || Refused::because("Invalid JSON", "bad_json");
    let object = parse_object(text).map_err(|_| invalid_json())?;
    let kind = match object.opt_string("type") {
        Err(error) if error.fault == Fault::Repeated => return Err(invalid_json()),
        kind => kind.unwrap_or_default(),
    };
    match kind {
        Some("ping") => Ok(None),
        Some("start") => read_start(&object).map(Some),
        Some("message") => read_message(&object).map(Some),
        Some("answer") => read_answer(&object).map(Some),
        Some("cancel") => Ok(Some(Wish::Cancel)),
        unknown => {
            let shown: String = unknown.unwrap_or("(none)").chars().filter(|c| !c.is_control()).take(SHOWN_TYPE).collect();
            Err(Refused::because(format!("Unknown message type: {shown}"), "unknown_type"))
        }
    }
}

fn read_start(object: &Object) -> Result<Wish, Refused> {
    let conversation = match object.value("conversation_id") {
        None | Some(Value::Null) => None,
        // An integer too large for us is one that nothing has.
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Some(number.as_i64().unwrap_or(0)),
        Some(_) => return Err(Refused::because("Invalid conversation_id", "invalid_field")),
    };
    let since = object.opt_string("since").map_err(|_| Refused::because("Invalid since", "invalid_field"))?;
    let notices = object.value("notices") == Some(&Value::Bool(true));
    Ok(Wish::Start { conversation, since: since.map(str::to_owned), client_id: read_client_id(object)?, notices })
}

fn read_message(object: &Object) -> Result<Wish, Refused> {
    let content = match object.value("content") {
        None | Some(Value::Null) => "",
        Some(Value::String(content)) => content.trim(),
        Some(_) => return Err(Refused::because("Message content must be text", "invalid_field")),
    };
    check_content(content).map_err(|refusal| Refused::because(refusal.0, refusal.1))?;
    Ok(Wish::Message { content: content.to_owned(), client_id: read_client_id(object)? })
}

/// Whether the trimmed text of a message can be stored: else a sentence and a code.
pub(super) fn check_content(content: &str) -> Result<(), (&'static str, &'static str)> {
    if content.is_empty() {
        return Err(("Empty message", "empty_message"));
    }
    if content.chars().nth(MOST_CHARACTERS).is_some() {
        return Err(("Message is too long", "too_large"));
    }
    if content.contains('\0') {
        return Err(("Text must not contain U+0000", "invalid_text"));
    }
    Ok(())
}

fn read_answer(object: &Object) -> Result<Wish, Refused> {
    let invalid = || Refused::because("Invalid answers", "invalid_field");
    let answers = object.object("answers").map_err(|_| invalid())?;
    let reply = reply_of(answers).ok_or_else(invalid)?;
    check_content(&reply.text()).map_err(|refusal| Refused::because(refusal.0, refusal.1))?;
    Ok(Wish::Answer { reply, client_id: read_client_id(object)? })
}

/// Labels or own words by the index of their question; `None` if that is not what it has.
pub(super) fn reply_of(answers: Object) -> Option<Reply> {
    let mut values = BTreeMap::new();
    for (index, value) in answers.into_map() {
        let index: usize = index.parse().ok()?;
        let texts: Vec<String> = match value {
            Value::String(text) => vec![text],
            Value::Array(items) => items.into_iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>()?,
            Value::Null => Vec::new(),
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
        };
        let texts = texts.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect();
        values.insert(index, texts);
    }
    Some(Reply { values })
}

fn read_client_id(object: &Object) -> Result<Option<String>, Refused> {
    let client_id = object.opt_text("client_id", 1, MAX_KEY_CHARACTERS);
    let client_id = client_id.map_err(|_| Refused::because("Invalid client_id", "invalid_field"))?;
    Ok(client_id.map(str::to_owned))
}

/// Who asks, about which project.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    /// As this API sees it.
    pub(super) engine: Engine,
    pub(super) who: Principal,
    pub(super) project: ProjectName,
}

impl Asker {
    pub(super) fn new(engine: &Engine, who: Principal, project: ProjectName) -> Self {
        Self { engine: engine.of(Home::Project), who, project }
    }

    /// Does what a frame asks for. `bound` is the conversation that the socket is bound to.
    pub(super) async fn done(self, wish: Wish, bound: Option<(ConversationId, i64)>) -> Result<Done, Refused> {
        match wish {
            Wish::Start { conversation, since, client_id, notices } => {
                let done = match conversation {
                    None => self.start_new(client_id).await?,
                    Some(number) => self.start(number, since).await?,
                };
                Ok(Done { bound: done.bound.map(|bound| bound.with_notices(notices)), ..done })
            }
            Wish::Message { content, client_id } => self.message(content, client_id, bound).await,
            Wish::Answer { reply, client_id } => self.answer(reply, client_id, bound).await,
            Wish::Cancel => {
                let (conversation, _) = bound.ok_or_else(nothing_to_cancel)?;
                let cancelled = self.engine.cancel(self.who, conversation, None, None).await?;
                if cancelled { Ok(Done::NOTHING) } else { Err(nothing_to_cancel()) }
            }
            Wish::GoOn(left) => self.go_on(left).await,
        }
    }

    async fn start_new(&self, client_id: Option<String>) -> Result<Done, Refused> {
        let greeting = outgoing::greeting(self.project.as_str());
        let new = NewProjectConversation { title: String::new(), greeting: Some(greeting.clone()) };
        let key = client_id.map(|id| RequestKey::new(&format!("start {}", self.project), &id, b""));
        let made = self.engine.create_project_conversation(self.who, &self.project, new, key).await.map_err(not_started)?;
        let id = made.conversation.id;
        self.engine.start_project_session(self.who, &self.project, id).await.map_err(not_started)?;
        let opened = self.engine.follow(self.who, id, Begin::Now).await.map_err(not_started)?;
        let number = made.number;
        let frames = vec![
            outgoing::conversation_created(number),
            outgoing::greeted(number, &greeting),
            outgoing::response_done(Some(number)),
        ];
        Ok(Done { frames, bound: Some(self.bound(opened, number, Replay::OneTurn)) })
    }

    async fn start(&self, number: i64, since: Option<String>) -> Result<Done, Refused> {
        let found = self.engine.project_conversation(self.who, &self.project, number).await?;
        let id = found.conversation.id;
        let mut frames = Vec::new();
        let resumed = match since {
            None => None,
            Some(since) => match self.resume(id, &since).await {
                Ok(opened) => Some(opened),
                Err(Error::BadCursor) => {
                    frames.push(outgoing::error("Unknown position", "bad_cursor"));
                    None
                }
                Err(error) => return Err(error.into()),
            },
        };
        self.engine.start_project_session(self.who, &self.project, id).await?;
        if let Some(opened) = resumed {
            let nothing_runs = opened.runs.is_none();
            return Ok(Done { frames, bound: Some(self.bound(opened, number, Replay::Everything { nothing_runs })) });
        }
        let opened = self.engine.follow(self.who, id, Begin::RunningTurn).await?;
        if opened.running.is_none() {
            frames.extend(self.open_question(id, number).await?);
            frames.push(outgoing::response_done(Some(number)));
        }
        Ok(Done { frames, bound: Some(self.bound(opened, number, Replay::OneTurn)) })
    }

    async fn resume(&self, id: ConversationId, since: &str) -> engine::Result<engine::Opened> {
        self.engine.follow(self.who, id, Begin::Cursor(Engine::parse_cursor(since)?)).await
    }

    async fn open_question(&self, id: ConversationId, number: i64) -> Result<Option<Utf8Bytes>, Refused> {
        let open = self.engine.questions(self.who, id).await?;
        Ok(open.iter().find_map(|question| outgoing::question(question, number)))
    }

    /// The socket follows the conversation before the message is stored, so that the message itself comes through the stream.
    async fn message(
        &self,
        content: String,
        client_id: Option<String>,
        bound: Option<(ConversationId, i64)>,
    ) -> Result<Done, Refused> {
        let (conversation, number, newly) = self.bound_or_session(bound).await?;
        let posted = self.engine.post_message(self.who, post(conversation, content, client_id)).await?;
        Ok(Done { frames: repeated(&posted, number), bound: newly })
    }

    async fn answer(
        &self,
        reply: Reply,
        client_id: Option<String>,
        bound: Option<(ConversationId, i64)>,
    ) -> Result<Done, Refused> {
        let (conversation, number, newly) = self.bound_or_session(bound).await?;
        let answering = answering(conversation, reply, client_id);
        let posted = self.engine.answer_question(self.who, answering).await?;
        Ok(Done { frames: repeated(&posted, number), bound: newly })
    }

    /// What a frame without a `start` before it is about: the conversation of the account's session.
    async fn bound_or_session(
        &self,
        bound: Option<(ConversationId, i64)>,
    ) -> Result<(ConversationId, i64, Option<Bound>), Refused> {
        if let Some((conversation, number)) = bound {
            return Ok((conversation, number, None));
        }
        let session = self.engine.project_session(self.who, &self.project).await?;
        let none = || Refused::because("No active session. Send 'start' first.", "no_session");
        let ProjectConversation { number, conversation, .. } = session.ok_or_else(none)?;
        let opened = self.engine.follow(self.who, conversation.id, Begin::RunningTurn).await?;
        Ok((conversation.id, number, Some(self.bound(opened, number, Replay::OneTurn))))
    }

    async fn go_on(&self, left: Left) -> Result<Done, Refused> {
        let opened = match self.engine.follow(self.who, left.conversation, Begin::Turn(left.turn)).await {
            Ok(opened) => opened,
            // It has been deleted meanwhile: then there is nothing to go on with.
            Err(Error::NotFound) => return Ok(Done::NOTHING),
            Err(error) => return Err(error.into()),
        };
        let Some(number) = self.engine.project_number(self.who, left.conversation).await? else { return Ok(Done::NOTHING) };
        let frames = vec![outgoing::response_done(Some(number))];
        Ok(Done { frames, bound: Some(self.bound(opened, number, Replay::OneTurn)) })
    }

    fn bound(&self, opened: engine::Opened, number: i64, replay: Replay) -> Bound {
        Bound::new(opened, number, self.who.account(), replay)
    }
}

pub(super) fn post(conversation: ConversationId, text: String, client_id: Option<String>) -> Post {
    Post {
        conversation,
        text,
        client_id,
        mode: None,
        workdir: None,
        when_busy: WhenBusy::Queue,
        title_rule: TitleRule::FirstFiftyCharacters,
    }
}

pub(super) const fn answering(conversation: ConversationId, reply: Reply, client_id: Option<String>) -> Answering {
    Answering { conversation, reply, client_id, title_rule: TitleRule::FirstFiftyCharacters }
}

fn repeated(posted: &Posted, number: i64) -> Vec<Utf8Bytes> {
    posted.duplicate.then(|| outgoing::duplicate(posted, number)).into_iter().collect()
}

fn nothing_to_cancel() -> Refused {
    Refused::because("Nothing to cancel", "nothing_to_cancel")
}

fn not_started(error: Error) -> Refused {
    match error {
        Error::Internal(_) | Error::StorageFull | Error::Unavailable => {
            let refusal = Refusal::from(error);
            Refused::because(format!("Failed to start session: {}", refusal.text(Form::Assistant)), refusal.code())
        }
        error => error.into(),
    }
}
