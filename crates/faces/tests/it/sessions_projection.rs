//! What each fact and delta is on the wire of the sessions API.

use domain::{
    ConversationId, Delta, Event, EventKind, Failure, FailureCode, MessageId, Outcome, Part, PartBody, PartId, PartKind, Place,
    Seq, Timestamp, ToolCall, ToolOutcome, ToolResult, TurnId, Usage,
};
use faces::sessions::outgoing::{Projection, project_delta, project_fact};
use serde_json::{Value, json};
use uuid::Uuid;

const SESSION: u128 = 1;
const TURN: u128 = 2;
const MESSAGE: u128 = 3;
const REPLY: u128 = 4;

fn id(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

fn message(number: u128) -> MessageId {
    MessageId::from_uuid(Uuid::from_u128(number))
}

fn fact(kind: EventKind) -> Event {
    Event {
        conversation: ConversationId::from_uuid(Uuid::from_u128(SESSION)),
        seq: Seq(7),
        epoch: 1,
        at: Timestamp(0),
        turn: Some(TurnId::from_uuid(Uuid::from_u128(TURN))),
        kind,
    }
}

fn part(body: PartBody) -> Part {
    let message = message(MESSAGE);
    Part { id: PartId::from(message), message, ordinal: 0, place: Place::at(Seq(7)), body, created_at: Timestamp(0) }
}

fn shown(kind: EventKind) -> Vec<Value> {
    let fact = fact(kind);
    match project_fact(&fact) {
        Projection::Nothing => Vec::new(),
        Projection::One(event) => vec![serde_json::to_value(event).unwrap()],
        Projection::Two(first, second) => vec![serde_json::to_value(first).unwrap(), serde_json::to_value(second).unwrap()],
        Projection::Created => vec![json!("session.created")],
        Projection::Updated => vec![json!("session.updated")],
    }
}

#[test]
fn sessions_are_shown_as_they_are_when_they_change() {
    assert_eq!(shown(EventKind::ConversationCreated), [json!("session.created")]);
    assert_eq!(shown(EventKind::ConversationRenamed { title: "x".to_owned() }), [json!("session.updated")]);
    assert_eq!(shown(EventKind::ConversationChanged), [json!("session.updated")]);
    assert_eq!(shown(EventKind::ConversationDeleted), [json!({"type": "session.deleted"})]);
}

#[test]
fn a_message_is_shown_and_perhaps_waits() {
    let added = |queued, steered| {
        let part = part(PartBody::Text { text: "hi\n\"there\"".to_owned() });
        EventKind::MessageAdded { number: None, part, client_id: Some("c".to_owned()), queued, steered }
    };
    let user = |queued| {
        json!({"type": "message.user", "messageId": id(MESSAGE), "content": "hi\n\"there\"", "createdAt": "1970-01-01T00:00:00.000Z",
            "clientId": "c", "queued": queued})
    };
    assert_eq!(shown(added(0, false)), [user(0)]);
    assert_eq!(shown(added(0, true)), [user(0)]);
    let queued = json!({"type": "message.queued", "userMessageId": id(MESSAGE), "position": 2});
    assert_eq!(shown(added(2, false)), [user(2), queued]);
}

#[test]
fn a_turn_starts_and_ends_once() {
    let started = EventKind::TurnStarted { reply: message(REPLY), answers: vec![message(MESSAGE)] };
    let expected = json!({"type": "message.start", "messageId": id(REPLY), "turnId": id(TURN), "userMessageId": id(MESSAGE)});
    assert_eq!(shown(started), [expected]);
    let usage = Usage { input: 1, output: 2, cache_read: 3, cache_write: 4 };
    let finished = |outcome, cost| EventKind::TurnFinished {
        reply: message(REPLY),
        last: message(MESSAGE),
        outcome,
        usage,
        cost,
        duration_ms: 9,
    };
    let done = |status, cost: Value| {
        json!({"type": "message.done", "messageId": id(REPLY), "status": status, "lastMessageId": id(MESSAGE),
            "usage": {"inputTokens": 1, "outputTokens": 2, "cacheReadTokens": 3, "cacheWriteTokens": 4},
            "cost": cost, "durationMs": 9})
    };
    for outcome in [Outcome::Completed, Outcome::Truncated, Outcome::Refused, Outcome::Cancelled] {
        let status = outcome.as_str();
        assert_eq!(shown(finished(outcome, Some(0.5))), [done(status, json!(0.5))]);
    }
    let failure = Failure { code: FailureCode::ProviderUnavailable, sentence: "It is overloaded.".to_owned() };
    let error = json!({"type": "message.error", "error": "It is overloaded.", "code": "provider_unavailable", "retryable": true});
    assert_eq!(shown(finished(Outcome::Failed(failure), None)), [error, done("failed", Value::Null)]);
    assert_eq!(shown(EventKind::TurnResumed), [json!(null); 0]);
}

#[test]
fn tools_start_and_return() {
    let input = json!({"path": "a"}).as_object().unwrap().clone();
    let call = ToolCall { id: "t".to_owned(), name: "read_file".to_owned(), input };
    let expected = json!({"type": "tool.start", "toolName": "read_file", "toolId": "t", "input": {"path": "a"}});
    assert_eq!(shown(EventKind::ToolCalled { part: part(PartBody::ToolCall(call)) }), [expected]);
    for (outcome, is_error) in [(ToolOutcome::Completed, false), (ToolOutcome::Failed, true), (ToolOutcome::Cancelled, true)] {
        let (call_id, name, output) = ("t".to_owned(), "read_file".to_owned(), "out".to_owned());
        let result = ToolResult { call_id, name, output, outcome, truncated: true, duration_ms: 5 };
        let expected = json!({"type": "tool.result", "toolId": "t", "result": "out", "isError": is_error, "truncated": true,
            "durationMs": 5});
        assert_eq!(shown(EventKind::ToolReturned { part: part(PartBody::ToolResult(result)) }), [expected]);
    }
}

#[test]
fn whole_parts_and_status_lines_are_nothing_new() {
    let text = part(PartBody::Text { text: "all".to_owned() });
    assert_eq!(shown(EventKind::PartCompleted { part: text }), [json!(null); 0]);
    let thought = part(PartBody::Reasoning { text: "hm".to_owned(), verbatim: None });
    assert_eq!(shown(EventKind::PartCompleted { part: thought }), [json!(null); 0]);
    assert_eq!(shown(EventKind::StatusNoted { text: "Retrying".to_owned() }), [json!(null); 0]);
}

#[test]
fn pieces_are_deltas() {
    let delta = |kind| Delta {
        conversation: ConversationId::from_uuid(Uuid::from_u128(SESSION)),
        turn: TurnId::from_uuid(Uuid::from_u128(TURN)),
        message: message(REPLY),
        part: PartId::from(message(MESSAGE)),
        ordinal: 0,
        kind,
        place: Place::behind(Seq(7)),
        offset: 3,
        text: "lo".into(),
    };
    let (text, thought) = (delta(PartKind::Text), delta(PartKind::Reasoning));
    assert_eq!(serde_json::to_value(project_delta(&text)).unwrap(), json!({"type": "message.delta", "text": "lo"}));
    assert_eq!(serde_json::to_value(project_delta(&thought)).unwrap(), json!({"type": "message.reasoning", "text": "lo"}));
}
