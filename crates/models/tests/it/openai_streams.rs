//! What each recorded Chat Completions stream means, however it is cut.

use domain::Usage;
use domain::sockets::language_model::ModelEvent::{Finished, Reasoning, ReasoningDone, Text, TextDone, ToolCall};
use domain::sockets::language_model::{ModelErrorKind, ModelEvent, StopReason};
use models::openai_chat::AnswerReader;
use serde_json::{Value, json};

use crate::support::{Answer, Luck, names_in, openai_fixture};

const ID: &str = "answer";

fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Answer {
    let mut reader = AnswerReader::new(ID, "OpenAI");
    let mut events = Vec::new();
    for chunk in chunks {
        if let Err(error) = reader.push(chunk, &mut events) {
            return (events, Some(error));
        }
        if reader.is_complete() {
            return (events, None);
        }
    }
    let error = reader.end(&mut events).err();
    (events, error)
}

#[track_caller]
fn check(name: &str, expected: &[ModelEvent]) {
    let (events, error) = read([openai_fixture(name).as_slice()]);
    assert_eq!(error, None, "{name}");
    let events: Vec<_> = events.into_iter().filter(|event| !matches!(event, ModelEvent::Usage(_))).collect();
    assert_eq!(events, expected, "{name}");
}

fn t(piece: &str) -> ModelEvent {
    Text(piece.to_owned())
}

fn called(id: &str, name: &str, input: Value) -> ModelEvent {
    let Value::Object(input) = input else { panic!("an input is an object") };
    ToolCall { id: id.to_owned(), name: name.to_owned(), input }
}

#[test]
fn text_is_given_piece_by_piece() {
    let pieces = [t("Hello"), t(" wörld, "), t("€ 😀\n"), t("and \"quotes\"."), TextDone, Finished(StopReason::EndTurn)];
    for name in ["text", "crlf", "no_done"] {
        check(name, &pieces);
    }
    for name in ["no_usage", "only_done", "comments", "usage_in_last"] {
        check(name, &[t("Hi."), TextDone, Finished(StopReason::EndTurn)]);
    }
    check("unknown", &[t("Hel"), t("lo"), TextDone, Finished(StopReason::EndTurn)]);
}

#[test]
fn thoughts_are_told_under_either_name() {
    let pieces = [
        Reasoning("Let me ".to_owned()),
        Reasoning("see.".to_owned()),
        ReasoningDone { verbatim: None },
        t("Done."),
        TextDone,
        Finished(StopReason::EndTurn),
    ];
    check("reasoning_content", &pieces);
    check("reasoning", &pieces);
}

#[test]
fn tools_are_called_however_a_server_spells_it() {
    let end = Finished(StopReason::ToolUse);
    check(
        "parallel_tools",
        &[
            t("Both."),
            TextDone,
            called("call_a", "read_file", json!({"path": "a.txt"})),
            called("call_b", "grep", json!({"pattern": "€", "context_lines": 2})),
            end.clone(),
        ],
    );
    let (path, pattern) = (json!({"path": "a.txt"}), json!({"pattern": "b"}));
    check("calls_out_of_order", &[called("call_a", "read_file", path), called("call_b", "grep", pattern), end.clone()]);
    check("empty_arguments", &[called("call_a", "glob", json!({})), end.clone()]);
    let (a, b) = (json!({"pattern": "a"}), json!({"pattern": "b"}));
    check("same_index", &[called("call_a", "glob", a.clone()), called("call_b", "glob", b.clone()), end.clone()]);
    check("no_index", &[called("call_answer_0", "glob", a), called("call_answer_1", "glob", b), end.clone()]);
    let any = json!({"pattern": "*"});
    check("object_arguments", &[called("call_a", "glob", any.clone()), end.clone()]);
    check("function_call", &[called("call_answer_0", "glob", any.clone()), end.clone()]);
    check("whole", &[t("Both."), TextDone, called("call_a", "glob", any), end]);
}

#[test]
fn every_reason_to_stop_has_its_meaning() {
    check("length", &[t("Cut of"), TextDone, Finished(StopReason::MaxTokens)]);
    check("content_filter", &[Finished(StopReason::Refused)]);
    check("refusal", &[t("I cannot."), TextDone, Finished(StopReason::Refused)]);
}

#[test]
fn usage_tells_the_cached_tokens_apart() {
    for name in ["text", "parallel_tools", "usage_in_last", "whole"] {
        let (events, _) = read([openai_fixture(name).as_slice()]);
        let usage = Usage { input: 20, output: 7, cache_read: 10, cache_write: 0 };
        assert!(events.contains(&ModelEvent::Usage(usage)), "{name}: {events:?}");
    }
}

#[test]
fn failures_are_told_in_our_words() {
    for (name, kind, sentence) in [
        ("error_in_stream", ModelErrorKind::Unavailable, "OpenAI answered 500: it had an internal error."),
        ("error_with_status", ModelErrorKind::RateLimited, "OpenAI answered 429: too many requests."),
        ("cut_in_text", ModelErrorKind::Truncated, "OpenAI ended the answer before it was complete."),
        ("cut_before_text", ModelErrorKind::Unavailable, "The connection to OpenAI broke off."),
    ] {
        let (events, error) = read([openai_fixture(name).as_slice()]);
        let error = error.expect(name);
        assert_eq!((error.kind, error.sentence.as_str(), error.retryable), (kind, sentence, true), "{name}");
        assert!(!events.iter().any(|event| matches!(event, Finished(_))), "{name}");
    }
    for answer in ["data: <html>\n\n", "<html></html>", "{\"detail\": \"sign in\"}"] {
        let error = read([answer.as_bytes()]).1.expect("no answer came");
        assert_eq!(error.sentence, "OpenAI sent something that could not be read.", "{answer}");
    }
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let names = names_in("fixtures/openai");
    assert!(names.len() > 20, "only {} fixtures", names.len());
    for name in names {
        let stream = openai_fixture(&name);
        let whole = read([stream.as_slice()]);
        assert_eq!(whole, read(stream.chunks(1)), "{name} byte by byte");
        for at in 0..=stream.len() {
            assert_eq!(whole, read([&stream[..at], &stream[at..]]), "{name} cut at {at}");
        }
    }
}

/// The planted fault: a splitter that loses a byte of the text is noticed.
#[test]
fn a_lost_byte_is_noticed() {
    let stream = openai_fixture("text");
    let at = stream.windows(5).position(|bytes| bytes == b"Hello").expect("the text is there");
    assert_ne!(read([stream.as_slice()]), read([&stream[..at], &stream[at + 1..]]));
}

#[test]
fn mutated_streams_end_in_order() {
    let streams: Vec<Vec<u8>> = names_in("fixtures/openai").iter().map(|name| openai_fixture(name)).collect();
    for seed in 0..5_000 {
        let mut luck = Luck::new(seed + 1);
        let mut stream = streams[luck.below(streams.len())].clone();
        for _ in 0..=luck.below(5) {
            let at = luck.below(stream.len());
            match luck.below(4) {
                0 => stream[at] = u8::try_from(luck.below(256)).unwrap_or(0),
                1 => stream.truncate(at.max(1)),
                2 => {
                    let other = &streams[luck.below(streams.len())];
                    let from = luck.below(other.len());
                    let to = (from + luck.below(300)).min(other.len());
                    stream.splice(at..at, other[from..to].iter().copied());
                }
                _ => stream.insert(at, b"\"{}[]:,0\n"[luck.below(9)]),
            }
        }
        let (events, error) = read([stream.as_slice()]);
        assert_eq!((events.clone(), error.clone()), read(stream.chunks(7)), "mutation {seed}");
        let finished = matches!(events.last(), Some(Finished(_)));
        assert_ne!(finished, error.is_some(), "mutation {seed}: {events:?} {error:?}");
        let open = events.iter().fold(0, |open, event| match event {
            Text(_) => 1,
            Reasoning(_) => 2,
            TextDone | ReasoningDone { .. } => 0,
            ToolCall { .. } | Finished(_) if open != 0 => panic!("mutation {seed}: {events:?}"),
            _ => open,
        });
        assert!(error.is_some() || open == 0, "mutation {seed}");
    }
}
