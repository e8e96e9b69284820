//! From what happened to what a client of the assistant is told: frames, and the objects of REST.

use std::borrow::Cow;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use domain::{Choice, Event, EventKind, Failure, FailureCode, Outcome, PartBody, PartKind, Question, QuestionKind, ToolCall};
use domain::{ToolResult, TurnId};
use engine::{Entry, MAX_STEPS, Posted, ProjectConversation, ProjectDetail, ProjectRow, RowBody, Said, What};
use serde_json::{Map, Value};

use super::wire::{self, Frame, Framed, Place};
use crate::kit::time;

/// Where an entry keeps the bytes that every socket of its conversation gets. A conversation belongs to one API, so the chats
/// API, which uses the same place, never sees this one's entries.
const SLOT: usize = 1;

/// Characters of a tool's result that are shown, by the contract.
const PREVIEW_CHARACTERS: usize = 500;

const ASK_USER: &str = "ask_user";

/// What the agent of a new conversation says first. No model is asked for it.
pub(super) fn greeting(project: &str) -> String {
    format!(
        "Hello! I am the assistant of **{project}**. I can read and search its files, look things up on the public web and ask \
         you when something is unclear. I cannot change anything. What would you like to know?"
    )
}

/// The frame that an entry makes, as every socket gets it.
pub(super) fn frame(entry: &Entry, conversation: i64) -> Option<Utf8Bytes> {
    let encoded = entry.encoded(SLOT, |entry| Some(Bytes::from(encode(entry, conversation)?)))?;
    Utf8Bytes::try_from(encoded).ok()
}

fn encode(entry: &Entry, conversation: i64) -> Option<Vec<u8>> {
    let frame = match &entry.what {
        What::Fact(event) => project(event)?,
        What::Delta(delta) => match delta.kind {
            PartKind::Text => Frame::Text { content: &delta.text },
            PartKind::Reasoning => return None,
        },
    };
    let is_error = matches!(frame, Frame::Error { .. });
    let turn_id = entry.turn().filter(|_| !is_error).map(|turn| turn.to_string());
    let place = Place { conversation_id: Some(conversation), turn_id, seq: Some(entry.cursor.to_string()) };
    serde_json::to_vec(&Framed { frame, place }).ok()
}

fn project(event: &Event) -> Option<Frame<'_>> {
    match &event.kind {
        EventKind::ConversationCreated
        | EventKind::ConversationRenamed { .. }
        | EventKind::ConversationChanged
        | EventKind::ConversationDeleted
        // What comes of it is told by the end of the turn that it cancels.
        | EventKind::ConversationClosed { .. }
        | EventKind::TurnStarted { .. }
        | EventKind::TurnResumed
        // Its words went out as deltas.
        | EventKind::PartCompleted { .. }
        | EventKind::StatusNoted { .. }
        // The answer is a message.
        | EventKind::QuestionAnswered { .. } => None,
        EventKind::MessageAdded { number, part, client_id, queued, steered: _ } => Some(Frame::UserMessage {
            message_id: (*number)?,
            content: part.body.text().unwrap_or_default(),
            queued: *queued,
            client_id: client_id.as_deref(),
            duplicate: false,
        }),
        EventKind::ToolCalled { part } => match &part.body {
            PartBody::ToolCall(call) if call.name != ASK_USER => {
                Some(Frame::ToolCall { id: &call.id, tool: shown_name(&call.name), input: shown_input(call) })
            }
            _ => None,
        },
        EventKind::ToolReturned { part } => match &part.body {
            PartBody::ToolResult(result) if result.name != ASK_USER => Some(tool_result(result)),
            _ => None,
        },
        EventKind::QuestionAsked { question } => asked(question),
        EventKind::TurnFinished { outcome, .. } => Some(finished(outcome, event.turn)),
    }
}

fn tool_result(result: &ToolResult) -> Frame<'_> {
    let output = &result.output;
    let end = output.char_indices().nth(PREVIEW_CHARACTERS).map_or(output.len(), |(end, _)| end);
    Frame::ToolResult {
        id: &result.call_id,
        tool: shown_name(&result.name),
        is_error: result.is_error(),
        preview: &output[..end],
    }
}

fn asked(question: &Question) -> Option<Frame<'static>> {
    let questions = questions(question)?;
    Some(Frame::Question { question_id: question.id.to_string(), questions })
}

/// The last frame of a turn.
fn finished(outcome: &Outcome, turn: Option<TurnId>) -> Frame<'static> {
    let turn_id = turn.map(|turn| turn.to_string());
    let error = |content: Cow<'static, str>, code| Frame::Error { content, code, turn_id };
    match outcome {
        Outcome::Completed | Outcome::Truncated | Outcome::Cancelled | Outcome::Asked => {
            Frame::ResponseDone { outcome: Some(shown_outcome(outcome)) }
        }
        Outcome::Refused => error("Error: The model declined to answer.".into(), "refused"),
        Outcome::Failed(failure) => error(format!("Error: {}", sentence(failure)).into(), failure.code.as_str()),
    }
}

fn sentence(failure: &Failure) -> Cow<'_, str> {
    match failure.code {
        FailureCode::LimitReached => format!("stopped after {MAX_STEPS} steps").into(),
        _ => failure.sentence.as_str().into(),
    }
}

const fn shown_outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "done",
        Outcome::Truncated => "truncated",
        Outcome::Cancelled => "cancelled",
        Outcome::Asked => "question",
        Outcome::Failed(Failure { code: FailureCode::Interrupted, .. }) => "interrupted",
        Outcome::Refused | Outcome::Failed(_) => "failed",
    }
}

/// The end of a turn that was cancelled because its conversation was closed.
pub(super) fn closed(entry: &Entry, conversation: i64, content: &'static str) -> Utf8Bytes {
    let turn_id = entry.turn().map(|turn| turn.to_string());
    let place = Place { conversation_id: Some(conversation), turn_id: None, seq: Some(entry.cursor.to_string()) };
    text(&Framed { frame: Frame::Error { content: content.into(), code: "closed", turn_id }, place })
}

/// What is wrong with a frame, or why it cannot be done. It ends nothing.
pub(super) fn error(content: &str, code: &str) -> Utf8Bytes {
    aside(Frame::Error { content: content.into(), code, turn_id: None }, None)
}

pub(super) fn pong() -> Utf8Bytes {
    aside(Frame::Pong, None)
}

pub(super) fn conversation_created(conversation: i64) -> Utf8Bytes {
    aside(Frame::ConversationCreated { conversation_id: conversation }, None)
}

/// Nothing follows it. A turn that ran has got its own end before.
pub(super) fn conversation_deleted(conversation: i64) -> Utf8Bytes {
    aside(Frame::ConversationDeleted { conversation_id: conversation }, None)
}

pub(super) fn greeted(conversation: i64, content: &str) -> Utf8Bytes {
    aside(Frame::Text { content }, Some(conversation))
}

pub(super) fn response_done(conversation: Option<i64>) -> Utf8Bytes {
    aside(Frame::ResponseDone { outcome: None }, conversation)
}

/// A question that waits; `None` if it is of a kind that this API does not ask.
pub(super) fn question(question: &Question, conversation: i64) -> Option<Utf8Bytes> {
    Some(aside(asked(question)?, Some(conversation)))
}

/// What a repeated message is answered.
pub(super) fn duplicate(posted: &Posted, conversation: i64) -> Utf8Bytes {
    let frame = Frame::UserMessage {
        message_id: posted.number.unwrap_or_default(),
        content: posted.message.parts.first().and_then(|part| part.body.text()).unwrap_or_default(),
        queued: posted.queued,
        client_id: posted.message.client_id.as_deref(),
        duplicate: true,
    };
    aside(frame, Some(conversation))
}

fn aside(frame: Frame<'_>, conversation_id: Option<i64>) -> Utf8Bytes {
    text(&Framed { frame, place: Place { conversation_id, ..Place::default() } })
}

fn text(frame: &Framed<'_>) -> Utf8Bytes {
    // Structs with string keys always have a JSON form.
    serde_json::to_string(frame).unwrap_or_default().into()
}

/// The name that the original's client knows.
fn shown_name(tool: &str) -> &str {
    match tool {
        "read_file" => "Read",
        "glob" => "Glob",
        "grep" => "Grep",
        "web_fetch" => "WebFetch",
        "web_search" => "WebSearch",
        other => other,
    }
}

fn shown_input(call: &ToolCall) -> Cow<'_, Map<String, Value>> {
    if call.name != "read_file" {
        return Cow::Borrowed(&call.input);
    }
    let shown = |(name, value): (&String, &Value)| {
        let name = if name == "path" { "file_path" } else { name };
        (name.to_owned(), value.clone())
    };
    Cow::Owned(call.input.iter().map(shown).collect())
}

fn questions(question: &Question) -> Option<Vec<wire::Question>> {
    match &question.kind {
        QuestionKind::Choice { calls } => Some(calls.iter().flat_map(|call| &call.choices).map(choice).collect()),
        QuestionKind::Approval { .. } | QuestionKind::Unknown { .. } => None,
    }
}

fn choice(choice: &Choice) -> wire::Question {
    let option = |option: &domain::ChoiceOption| wire::QuestionOption {
        label: option.label.clone(),
        description: option.description.clone(),
    };
    wire::Question {
        question: choice.question.clone(),
        header: choice.header.clone(),
        options: choice.options.iter().map(option).collect(),
        multi_select: choice.multi_select,
    }
}

pub(super) fn summary(found: ProjectConversation) -> wire::Summary {
    let ProjectConversation { number, project, conversation, rows } = found;
    wire::Summary {
        id: number,
        project_name: project.to_string(),
        title: title(conversation.title),
        created_at: time::with_six_digits(conversation.created_at),
        updated_at: time::with_six_digits(conversation.updated_at),
        message_count: rows,
        busy: conversation.busy,
    }
}

pub(super) fn detail(found: ProjectDetail) -> wire::Detail {
    let ProjectDetail { summary: ProjectConversation { number, project, conversation, rows: _ }, rows, question } = found;
    let question = question.and_then(|question| {
        let questions = questions(&question)?;
        Some(wire::OpenQuestion { question_id: question.id.to_string(), questions })
    });
    wire::Detail {
        id: number,
        project_name: project.to_string(),
        title: title(conversation.title),
        created_at: time::with_six_digits(conversation.created_at),
        updated_at: time::with_six_digits(conversation.updated_at),
        messages: rows.into_iter().map(message).collect(),
        busy: conversation.busy,
        question,
    }
}

fn title(title: String) -> Option<String> {
    (!title.is_empty()).then_some(title)
}

fn message(row: ProjectRow) -> wire::Message {
    let (id, turn_id, timestamp) = (row.number, row.turn.to_string(), time::with_six_digits(row.at));
    match row.body {
        RowBody::Person { text, client_id } => {
            wire::Message { id, role: "user", content: text, timestamp, turn_id, client_id, tools: Vec::new(), outcome: None }
        }
        RowBody::Agent { said, outcome } => wire::Message {
            id,
            role: "assistant",
            content: content(&said),
            timestamp,
            turn_id,
            client_id: None,
            tools: said.into_iter().filter_map(tool).collect(),
            outcome: Some(shown_outcome(&outcome)),
        },
    }
}

/// The blocks of a turn, joined by an empty line. What is said between two calls is one block.
fn content(said: &[Said]) -> String {
    let mut blocks = vec![String::new()];
    for said in said {
        match (said, blocks.last_mut()) {
            (Said::Text(text), Some(block)) => block.push_str(text),
            (Said::Text(_), None) => {}
            (Said::Call { .. }, _) => blocks.push(String::new()),
            (Said::Asked(choices), _) => blocks.push(choices.iter().map(listed).collect::<Vec<_>>().join("\n\n")),
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n\n")
}

/// A question as people read it where there are no buttons.
fn listed(choice: &Choice) -> String {
    let options = choice.options.iter().map(|option| match option.description.as_str() {
        "" => format!("\n- {}", option.label),
        description => format!("\n- {}: {description}", option.label),
    });
    choice.question.clone() + &options.collect::<String>()
}

fn tool(said: Said) -> Option<wire::Tool> {
    match said {
        Said::Call { call, is_error } => {
            let (tool, input) = (shown_name(&call.name).to_owned(), shown_input(&call).into_owned());
            Some(wire::Tool { id: call.id, tool, input, is_error })
        }
        Said::Text(_) | Said::Asked(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use domain::ChoiceOption;

    use super::*;

    #[test]
    fn what_is_said_between_two_calls_is_one_block() {
        let text = |text: &str| Said::Text(text.to_owned());
        let call =
            || Said::Call { call: ToolCall { id: "t".to_owned(), name: "glob".to_owned(), input: Map::new() }, is_error: false };
        assert_eq!(content(&[text("a"), text("b"), call(), call(), text("c"), call()]), "ab\n\nc");
        assert_eq!(content(&[]), "");
        let option =
            |label: &str, description: &str| ChoiceOption { label: label.to_owned(), description: description.to_owned() };
        let options = vec![option("One", "first"), option("Two", "")];
        let choice = Choice { question: "Which?".to_owned(), header: String::new(), options, multi_select: false };
        assert_eq!(content(&[text("a"), Said::Asked(vec![choice])]), "a\n\nWhich?\n- One: first\n- Two");
    }

    #[test]
    fn the_greeting_names_the_project_and_what_cannot_be_done() {
        let greeting = greeting("demo");
        assert!(greeting.contains("**demo**") && greeting.contains("cannot change anything"));
    }
}
