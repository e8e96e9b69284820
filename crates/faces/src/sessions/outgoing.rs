//! From the engine's nouns and events to the contract's.

use domain::sockets::tool::ToolSpec;
use domain::{
    Author, Conversation, ConversationId, Cursor, Delta, Event as Fact, EventKind, MessageId, Outcome, Part as DomainPart,
    PartBody, PartKind, TurnId, Usage as DomainUsage,
};
use engine::{Entry, OpenPart, ProviderView, RunningTurn, SearchHit, TranscriptMessage, What};

use super::wire::{self, Content, Data, Event, Message, Part, Role, Session, Usage};
use crate::kit::sse;
use crate::kit::time::with_z;

/// The slot of an [`Entry`] that remembers this face's bytes, ids included.
pub const SLOT: usize = 0;
/// The slot for the stream of all sessions, whose ids are other ones.
pub const FEED_SLOT: usize = 3;

/// What an entry is on this wire.
#[derive(Debug, Clone, PartialEq)]
pub enum Projection<'a> {
    Nothing,
    One(Event<'a>),
    /// One fact that is two events: the second one has the position.
    Two(Event<'a>, Event<'a>),
    /// The session as it is now has to be shown, and must be asked for.
    Created,
    Updated,
}

#[must_use]
pub fn project(entry: &Entry) -> Projection<'_> {
    match &entry.what {
        What::Fact(fact) => project_fact(fact),
        What::Delta(delta) => Projection::One(project_delta(delta)),
    }
}

/// A fact as the events stream shows it.
#[must_use]
pub fn project_fact(fact: &Fact) -> Projection<'_> {
    match &fact.kind {
        EventKind::ConversationCreated => Projection::Created,
        EventKind::ConversationRenamed { .. } | EventKind::ConversationChanged => Projection::Updated,
        EventKind::ConversationDeleted => Projection::One(Event::SessionDeleted {}),
        EventKind::MessageAdded { number: _, part, client_id, queued, steered } => {
            let user = Event::MessageUser {
                message_id: part.message.to_string(),
                content: part.body.text().unwrap_or_default(),
                created_at: with_z(part.created_at),
                client_id: client_id.as_deref(),
                queued: *queued,
            };
            match queued_event(part.message, *queued, *steered) {
                Some(queued) => Projection::Two(user, queued),
                None => Projection::One(user),
            }
        }
        EventKind::TurnStarted { reply, answers } => {
            Projection::One(start(*reply, fact.turn.unwrap_or(TurnId::from_uuid(reply.uuid())), answers.first().copied()))
        }
        // The words of a part reach every follower as deltas, also in a replay.
        EventKind::TurnResumed | EventKind::PartCompleted { .. } | EventKind::StatusNoted { .. } => Projection::Nothing,
        // Agents of this API ask nothing in the middle of a turn.
        EventKind::QuestionAsked { .. } | EventKind::QuestionAnswered { .. } | EventKind::ConversationClosed { .. } => {
            Projection::Nothing
        }
        EventKind::ToolCalled { part } | EventKind::ToolReturned { part } => match tool_event(part) {
            Some(event) => Projection::One(event),
            None => Projection::Nothing,
        },
        EventKind::TurnFinished { reply, last, outcome, usage, cost, duration_ms } => {
            let done = Event::MessageDone {
                message_id: reply.to_string(),
                status: outcome.as_str(),
                last_message_id: last.to_string(),
                usage: usage_of(*usage),
                cost: *cost,
                duration_ms: *duration_ms,
            };
            match outcome {
                Outcome::Failed(failure) => {
                    let (code, retryable) = (failure.code.as_str(), failure.code.retryable());
                    Projection::Two(Event::MessageError { error: &failure.sentence, code, retryable }, done)
                }
                Outcome::Completed | Outcome::Truncated | Outcome::Refused | Outcome::Cancelled | Outcome::Asked => {
                    Projection::One(done)
                }
            }
        }
    }
}

#[must_use]
pub fn project_delta(delta: &Delta) -> Event<'_> {
    piece(delta.kind, &delta.text)
}

/// `message.queued`, for a message that has to wait for a turn of its own.
#[must_use]
pub fn queued_event(message: MessageId, queued: u32, steered: bool) -> Option<Event<'static>> {
    (queued > 0 && !steered).then(|| Event::MessageQueued { user_message_id: message.to_string(), position: queued })
}

/// The end of a turn that was deleted together with its session before it could end by itself.
#[must_use]
pub fn deleted_done(reply: String) -> Event<'static> {
    Event::MessageDone {
        last_message_id: reply.clone(),
        message_id: reply,
        status: Outcome::Cancelled.as_str(),
        usage: Usage::default(),
        cost: None,
        duration_ms: 0,
    }
}

/// A running turn as somebody sees it who comes in the middle: its start, the text so far, its open calls.
#[must_use]
pub fn running_turn<'a>(running: &'a RunningTurn, open: Option<&'a OpenPart>, reasoning: bool) -> Vec<Event<'a>> {
    let mut events = vec![start(running.turn.reply, running.turn.id, running.answers.first().copied())];
    let whole = running.texts.iter().filter_map(|part| part.body.text()).map(|text| piece(PartKind::Text, text));
    events.extend(whole);
    let open = open.filter(|open| open.turn == running.turn.id && (reasoning || open.kind == PartKind::Text));
    events.extend(open.filter(|open| !open.text.is_empty()).map(|open| piece(open.kind, &open.text)));
    events.extend(running.open_calls.iter().map(|call| Event::ToolStart {
        tool_name: &call.name,
        tool_id: &call.id,
        input: &call.input,
    }));
    events
}

/// Appends an event of a session as a stream sends it.
pub fn push(out: &mut Vec<u8>, session: ConversationId, event: &Event<'_>, id: Option<&Cursor>) {
    let data = Data { event, session_id: Some(session.to_string()) };
    sse::push_event(out, event.name(), id, &data);
}

#[must_use]
pub fn session(conversation: &Conversation) -> Session {
    Session {
        id: conversation.id.to_string(),
        title: conversation.title.clone(),
        created_at: with_z(conversation.created_at),
        updated_at: with_z(conversation.updated_at),
        working_directory: conversation.workdir.to_string_lossy().into_owned(),
        provider: conversation.model.provider.clone(),
        model: conversation.model.model.clone(),
        mode: conversation.mode.as_str(),
        busy: conversation.busy,
        pending_approvals: 0,
    }
}

/// The messages of a transcript; thoughts are for those only who asked for them. What has only parts that this wire does not show is left out, unless it stands for its turn.
#[must_use]
pub fn messages(transcript: &[TranscriptMessage], reasoning: bool) -> Vec<Message> {
    let mut turns_begun = Vec::new();
    let mut shown = Vec::with_capacity(transcript.len());
    for said in transcript {
        let message = message(said, reasoning);
        let is_reply = said.message.author == Author::Agent && !turns_begun.contains(&said.message.turn);
        if is_reply {
            turns_begun.push(said.message.turn);
        }
        let hidden = message.parts.is_empty() && !said.message.parts.is_empty();
        if !hidden || is_reply || said.streaming || said.outcome.is_some() {
            shown.push(message);
        }
    }
    shown
}

#[must_use]
pub fn search_hit(hit: &SearchHit) -> wire::SearchHit {
    wire::SearchHit {
        session: session(&hit.conversation),
        message_id: hit.message.to_string(),
        snippet: hit.snippet.clone(),
        created_at: with_z(hit.at),
    }
}

#[must_use]
pub fn tool(spec: ToolSpec) -> wire::Tool {
    wire::Tool {
        name: spec.name,
        description: spec.description,
        input_schema: spec.input_schema,
        effect: spec.effect.as_str(),
        modes: spec.modes.iter().map(|mode| mode.as_str()).collect(),
    }
}

#[must_use]
pub fn provider(view: ProviderView) -> wire::Provider {
    let ProviderView { name, display_name, models, is_configured, is_default } = view;
    wire::Provider { name, display_name, models, is_configured, is_default }
}

fn message(said: &TranscriptMessage, reasoning: bool) -> Message {
    let message = &said.message;
    let failure = match &said.outcome {
        Some(Outcome::Failed(failure)) => Some(failure),
        Some(Outcome::Completed | Outcome::Truncated | Outcome::Refused | Outcome::Cancelled | Outcome::Asked) | None => None,
    };
    let shown = message.parts.iter().filter_map(|part| Some((part, content(&part.body, reasoning)?)));
    Message {
        id: message.id.to_string(),
        session_id: message.conversation.to_string(),
        role: role(message.author),
        created_at: with_z(message.created_at),
        parts: shown.zip(0..).map(|((part, content), order)| wire_part(part, content, order)).collect(),
        client_id: message.client_id.clone(),
        turn_id: message.turn.to_string(),
        streaming: said.streaming,
        status: said.outcome.as_ref().filter(|outcome| **outcome != Outcome::Completed).map(Outcome::as_str),
        error: failure.map(|failure| failure.sentence.clone()),
        error_code: failure.map(|failure| failure.code.as_str()),
    }
}

/// Results of tools are told to the model, so their role is the user's.
const fn role(author: Author) -> Role {
    match author {
        Author::Person(_) | Author::System => Role::User,
        Author::Agent => Role::Assistant,
    }
}

fn wire_part(part: &DomainPart, content: Content, order: u32) -> Part {
    Part { id: part.id.to_string(), message_id: part.message.to_string(), content, order }
}

/// This wire has three types of part; a client of the seed would show any other as raw JSON.
fn content(body: &PartBody, reasoning: bool) -> Option<Content> {
    match body {
        PartBody::Text { text } => Some(Content::Text { text: text.clone() }),
        PartBody::ToolCall(call) => {
            Some(Content::ToolUse { id: call.id.clone(), name: call.name.clone(), input: call.input.clone() })
        }
        PartBody::ToolResult(result) => Some(Content::ToolResult {
            tool_use_id: result.call_id.clone(),
            content: result.output.clone(),
            is_error: result.is_error(),
            truncated: result.truncated,
            duration_ms: result.duration_ms,
        }),
        // A thought whose words are sealed has none to show.
        PartBody::Reasoning { text, .. } => (reasoning && !text.is_empty()).then(|| Content::Reasoning { text: text.clone() }),
        PartBody::Opaque(_) => None,
    }
}

fn start(reply: MessageId, turn: TurnId, answers: Option<MessageId>) -> Event<'static> {
    Event::MessageStart {
        message_id: reply.to_string(),
        turn_id: turn.to_string(),
        user_message_id: answers.map(|message| message.to_string()),
    }
}

const fn piece(kind: PartKind, text: &str) -> Event<'_> {
    match kind {
        PartKind::Text => Event::MessageDelta { text },
        PartKind::Reasoning => Event::MessageReasoning { text },
    }
}

fn tool_event(part: &DomainPart) -> Option<Event<'_>> {
    match &part.body {
        PartBody::ToolCall(call) => Some(Event::ToolStart { tool_name: &call.name, tool_id: &call.id, input: &call.input }),
        PartBody::ToolResult(result) => Some(Event::ToolResult {
            tool_id: &result.call_id,
            result: &result.output,
            is_error: result.is_error(),
            truncated: result.truncated,
            duration_ms: result.duration_ms,
        }),
        PartBody::Text { .. } | PartBody::Reasoning { .. } | PartBody::Opaque(_) => None,
    }
}

const fn usage_of(usage: DomainUsage) -> Usage {
    Usage {
        input_tokens: usage.input,
        output_tokens: usage.output,
        cache_read_tokens: usage.cache_read,
        cache_write_tokens: usage.cache_write,
    }
}
