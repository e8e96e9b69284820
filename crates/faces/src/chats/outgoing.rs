//! From what happened to what a chats client is told: `project` for the frames of the log, and the rows and objects of REST.

use std::borrow::Cow;
use std::path::Path;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use domain::{Conversation, ConversationId, Delta, Event, EventKind, Outcome, Part, PartBody, PartKind, ToolResult, Usage};
use engine::{Entry, Opened, Row, RunningTurn, What};
use serde::Serialize;

use super::wire::{self, Frame, Framed};
use crate::kit::time;

/// Where an entry keeps the bytes that every subscriber gets.
const SLOT: usize = 1;
/// Where it keeps those that only subscribers to the agent's reasoning get.
const REASONING_SLOT: usize = 2;

/// What a tool's result shows of its output, in bytes: enough to see what happened, and cheap to send to everybody.
const OUTPUT_SHOWN: usize = 4 * 1024;

/// Stands between two frames that one entry makes; JSON text never contains it raw.
const BETWEEN_FRAMES: u8 = b'\n';

/// The frames that an entry makes, as every subscriber gets them.
pub(crate) fn frames(entry: &Entry, with_reasoning: bool) -> impl Iterator<Item = Utf8Bytes> + use<> {
    let encoded = match (audience(entry), with_reasoning) {
        (Audience::Everybody, _) => entry.encoded(SLOT, encode),
        (Audience::WithReasoning, true) => entry.encoded(REASONING_SLOT, encode),
        (Audience::WithReasoning, false) => None,
    };
    let frames = encoded.map_or([None, None], |encoded| apart(entry, encoded));
    frames.into_iter().flatten().filter_map(|frame| Utf8Bytes::try_from(frame).ok())
}

/// A frame of a chat that does not stand in its log.
pub(crate) fn aside(chat: ConversationId, frame: Frame<'_>) -> Utf8Bytes {
    text(&Framed { frame, chat_id: chat.hex(), turn_id: None, seq: None })
}

/// The rows of a chat, and where the stream goes on.
pub(crate) fn history(opened: &Opened, rows: Vec<Row>, truncated: bool) -> Utf8Bytes {
    let chat_id = opened.conversation.id.hex();
    let messages = rows.into_iter().map(|row| message(&chat_id, row)).collect();
    let turn = opened.running.as_ref().map(running);
    text(&Framed {
        frame: Frame::History { messages, truncated, turn },
        seq: Some(opened.cursor.to_string()),
        turn_id: None,
        chat_id,
    })
}

pub(crate) fn chat(conversation: Conversation) -> wire::Chat {
    wire::Chat {
        id: conversation.id.hex(),
        title: conversation.title,
        created_at: time::with_offset(conversation.created_at),
        updated_at: time::with_offset(conversation.updated_at),
        model: conversation.model.to_string(),
        mode: conversation.mode.as_str(),
        working_directory: shown_path(&conversation.workdir),
        busy: conversation.busy,
    }
}

pub(crate) fn message(chat_id: &str, row: Row) -> wire::Message {
    let error = match &row.outcome {
        Some(Outcome::Failed(failure)) => Some(failure.sentence.clone()),
        Some(Outcome::Completed | Outcome::Truncated | Outcome::Refused | Outcome::Cancelled | Outcome::Asked) | None => None,
    };
    wire::Message {
        id: row.id.hex(),
        chat_id: chat_id.to_owned(),
        role: if row.from_person { "user" } else { "assistant" },
        content: row.text,
        timestamp: time::with_offset(row.at),
        turn_id: (!row.from_person).then(|| row.turn.hex()),
        streaming: row.streaming,
        client_id: row.client_id,
        outcome: row.outcome.as_ref().filter(|outcome| **outcome != Outcome::Completed).map(Outcome::as_str),
        error,
    }
}

/// A message that was just posted, as the row it will be.
pub(crate) fn posted(message: &domain::Message) -> wire::Message {
    let content = message.parts.iter().filter_map(|part| part.body.text()).collect();
    wire::Message {
        id: message.id.hex(),
        chat_id: message.conversation.hex(),
        role: "user",
        content,
        timestamp: time::with_offset(message.created_at),
        turn_id: None,
        streaming: false,
        client_id: message.client_id.clone(),
        outcome: None,
        error: None,
    }
}

enum Audience {
    Everybody,
    WithReasoning,
}

const fn audience(entry: &Entry) -> Audience {
    match &entry.what {
        What::Fact(_) => Audience::Everybody,
        What::Delta(delta) => match delta.kind {
            PartKind::Text => Audience::Everybody,
            PartKind::Reasoning => Audience::WithReasoning,
        },
    }
}

/// All frames of one entry in one piece, so that the entry can remember them.
fn encode(entry: &Entry) -> Option<Bytes> {
    let frames = match &entry.what {
        What::Fact(event) => project(event),
        What::Delta(delta) => Projected::One(project_delta(delta)),
    };
    let chat_id = entry.conversation().hex();
    let turn_id = entry.turn().map(|turn| turn.hex());
    let seq = Some(entry.cursor.to_string());
    match frames {
        Projected::Nothing => None,
        Projected::One(frame) => Some(Bytes::from(json(&Framed { frame, chat_id, turn_id, seq }))),
        Projected::Two(first, last) => {
            let first = Framed { frame: first, chat_id: chat_id.clone(), turn_id: turn_id.clone(), seq: None };
            let mut bytes = json(&first);
            bytes.push(BETWEEN_FRAMES);
            bytes.extend(json(&Framed { frame: last, chat_id, turn_id, seq }));
            Some(Bytes::from(bytes))
        }
    }
}

/// The one or two frames that an entry was encoded as.
fn apart(entry: &Entry, mut encoded: Bytes) -> [Option<Bytes>; 2] {
    let is_call = matches!(&entry.what, What::Fact(Event { kind: EventKind::ToolCalled { .. }, .. }));
    let end = if is_call { encoded.iter().position(|byte| *byte == BETWEEN_FRAMES) } else { None };
    let second = end.map(|end| encoded.split_off(end).slice(1..));
    [Some(encoded), second]
}

/// What a fact is in this API's words.
enum Projected<'a> {
    Nothing,
    One(Frame<'a>),
    /// Nothing comes between them; only the second is a place to resume from.
    Two(Frame<'a>, Frame<'a>),
}

fn project(event: &Event) -> Projected<'_> {
    let frame = match &event.kind {
        EventKind::ConversationCreated
        | EventKind::ConversationChanged
        | EventKind::ConversationClosed { .. }
        | EventKind::TurnResumed
        // Agents of this API ask nothing in the middle of a turn.
        | EventKind::QuestionAsked { .. }
        | EventKind::QuestionAnswered { .. }
        // Its words went out as deltas.
        | EventKind::PartCompleted { .. } => return Projected::Nothing,
        EventKind::ConversationRenamed { title } => Frame::ChatRenamed { title },
        EventKind::ConversationDeleted => Frame::ChatRemoved,
        EventKind::MessageAdded { number: _, part, client_id, queued, steered: _ } => user_message(part, client_id.as_deref(), *queued),
        EventKind::TurnStarted { reply: _, answers } => {
            Frame::TurnStarted { message_ids: answers.iter().map(|message| message.hex()).collect() }
        }
        EventKind::ToolCalled { part } => return tool_called(part),
        EventKind::ToolReturned { part } => match &part.body {
            PartBody::ToolResult(result) => tool_result(result),
            PartBody::Text { .. } | PartBody::Reasoning { .. } | PartBody::ToolCall(_) | PartBody::Opaque(_) => {
                return Projected::Nothing;
            }
        },
        EventKind::StatusNoted { text } => Frame::AgentStatus { message: Cow::Borrowed(text) },
        EventKind::TurnFinished { reply: _, last: _, outcome, usage, cost, duration_ms } => {
            turn_finished(outcome, usage, *cost, *duration_ms)
        }
    };
    Projected::One(frame)
}

fn project_delta(delta: &Delta) -> Frame<'_> {
    match delta.kind {
        PartKind::Text => Frame::AssistantMessage { content: &delta.text, message_id: delta.part.hex() },
        PartKind::Reasoning => Frame::AssistantReasoning { content: &delta.text },
    }
}

fn user_message<'a>(part: &'a Part, client_id: Option<&'a str>, queued: u32) -> Frame<'a> {
    Frame::UserMessage {
        content: part.body.text().unwrap_or_default(),
        message_id: part.message.hex(),
        timestamp: time::with_offset(part.created_at),
        client_id,
        queued,
    }
}

fn tool_called(part: &Part) -> Projected<'_> {
    match &part.body {
        PartBody::ToolCall(call) => {
            let (tool_name, status) = shown_tool(&call.name);
            let status = Frame::AgentStatus { message: status };
            Projected::Two(status, Frame::ToolUse { tool_name, tool_id: &call.id, tool_input: &call.input })
        }
        PartBody::Text { .. } | PartBody::Reasoning { .. } | PartBody::ToolResult(_) | PartBody::Opaque(_) => Projected::Nothing,
    }
}

fn tool_result(result: &ToolResult) -> Frame<'_> {
    let shown = result.output.floor_char_boundary(OUTPUT_SHOWN);
    Frame::ToolResult {
        tool_id: &result.call_id,
        tool_name: shown_tool(&result.name).0,
        output: &result.output[..shown],
        truncated: result.truncated || shown < result.output.len(),
        is_error: result.is_error(),
        duration_ms: result.duration_ms,
    }
}

fn turn_finished<'a>(outcome: &'a Outcome, usage: &Usage, cost: Option<f64>, duration_ms: u64) -> Frame<'a> {
    let success = match outcome {
        Outcome::Completed | Outcome::Truncated | Outcome::Asked => true,
        Outcome::Refused | Outcome::Cancelled => false,
        Outcome::Failed(failure) => {
            return Frame::Error {
                error: &failure.sentence,
                message: &failure.sentence,
                code: failure.code.as_str(),
                retryable: failure.code.retryable(),
                client_id: None,
            };
        }
    };
    let usage = wire::Usage {
        input_tokens: usage.input,
        output_tokens: usage.output,
        cache_read_tokens: usage.cache_read,
        cache_write_tokens: usage.cache_write,
    };
    Frame::Result { success, cost, duration_ms, outcome: outcome.as_str(), usage }
}

/// The name by which the seed's clients know a tool, and the line they show while it works.
fn shown_tool(name: &str) -> (&str, Cow<'static, str>) {
    let (shown, status) = match name {
        "read_file" => ("Read", "Reading a file"),
        "write_file" => ("Write", "Writing a file"),
        "edit_file" => ("Edit", "Editing a file"),
        "bash" => ("Bash", "Running a command"),
        "glob" => ("Glob", "Searching for files"),
        "grep" => ("Grep", "Searching in files"),
        "web_search" => ("WebSearch", "Searching the web"),
        "web_fetch" => ("WebFetch", "Fetching a page"),
        other => return (other, Cow::Owned(format!("Using {other}"))),
    };
    (shown, Cow::Borrowed(status))
}

fn running(running: &RunningTurn) -> wire::Running {
    let turn = &running.turn;
    wire::Running {
        turn_id: turn.id.hex(),
        started_at: time::with_offset(turn.started_at.unwrap_or(turn.created_at)),
        queued: running.queued,
    }
}

fn shown_path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn text(value: &impl Serialize) -> Utf8Bytes {
    Utf8Bytes::try_from(json(value)).unwrap_or_default()
}

/// Our own structs have string keys only, so they always have a JSON form.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use domain::{ToolOutcome, ToolResult};
    use serde_json::json;

    use super::{OUTPUT_SHOWN, shown_tool, tool_result};

    #[test]
    fn tools_have_the_seeds_names_and_others_keep_their_own() {
        let shown = ["read_file", "bash", "web_fetch", "launch"].map(|name| {
            let (name, status) = shown_tool(name);
            format!("{name}: {status}")
        });
        assert_eq!(
            shown,
            ["Read: Reading a file", "Bash: Running a command", "WebFetch: Fetching a page", "launch: Using launch"]
        );
    }

    #[test]
    fn a_long_output_is_cut_between_characters() {
        let result = ToolResult {
            call_id: "t".to_owned(),
            name: "grep".to_owned(),
            output: format!("x{}", "é".repeat(OUTPUT_SHOWN)),
            outcome: ToolOutcome::Failed,
            truncated: false,
            duration_ms: 7,
        };
        let output = format!("x{}", "é".repeat((OUTPUT_SHOWN - 1) / 2));
        let frame = serde_json::to_value(tool_result(&result)).unwrap();
        let expected = json!({
            "type": "tool_result", "toolId": "t", "toolName": "Grep", "output": output, "truncated": true, "isError": true,
            "durationMs": 7,
        });
        assert_eq!(frame, expected);
    }
}
