//! What each recorded stream means.

use domain::Usage;
use domain::sockets::language_model::ModelEvent::{Finished, Opaque, Reasoning, ReasoningDone, Text, TextDone, ToolCall};
use domain::sockets::language_model::{ModelErrorKind, ModelEvent, StopReason};
use serde_json::{Value, json};

use crate::support::{Answer, fixture, read, verbatim};

fn whole(name: &str) -> Answer {
    read([fixture(name).as_slice()])
}

/// The stream ends well, and gives these events beside its usage.
#[track_caller]
fn check(name: &str, expected: &[ModelEvent]) {
    let (events, error) = whole(name);
    assert_eq!(error, None, "{name}");
    assert_eq!(without_usage(events), expected, "{name}");
}

fn without_usage(events: Vec<ModelEvent>) -> Vec<ModelEvent> {
    events.into_iter().filter(|event| !matches!(event, ModelEvent::Usage(_))).collect()
}

fn t(piece: &str) -> ModelEvent {
    Text(piece.to_owned())
}

fn kept(block: Value) -> ModelEvent {
    ReasoningDone { verbatim: Some(verbatim("anthropic", block)) }
}

fn called(id: &str, name: &str, input: Value) -> ModelEvent {
    let Value::Object(input) = input else { panic!("an input is an object") };
    ToolCall { id: id.to_owned(), name: name.to_owned(), input }
}

#[test]
fn text_is_given_piece_by_piece() {
    let pieces = [t("Hello"), t(" wörld, "), t("€ 😀\n"), t("and \"quotes\"."), TextDone, Finished(StopReason::EndTurn)];
    for name in ["text", "crlf", "cr"] {
        check(name, &pieces);
    }
    check("ping", &[t("Hel"), t("lo"), TextDone, Finished(StopReason::EndTurn)]);
    check("named_in_data", &[t("Hi."), TextDone, Finished(StopReason::EndTurn)]);
}

#[test]
fn thoughts_keep_what_goes_back() {
    let block = json!({"type": "thinking", "thinking": "Let me see.", "signature": "EqQBCgIYAhIM+/=="});
    check(
        "thinking",
        &[
            Reasoning("Let me ".to_owned()),
            Reasoning("see.".to_owned()),
            kept(block),
            t("Done."),
            TextDone,
            Finished(StopReason::EndTurn),
        ],
    );
    check(
        "redacted_thinking",
        &[
            kept(json!({"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix/LafPsn4a"})),
            kept(json!({"type": "thinking", "thinking": "", "signature": "c2lnbmVk"})),
            t("Done."),
            TextDone,
            Finished(StopReason::EndTurn),
        ],
    );
}

#[test]
fn a_thought_without_signature_is_not_kept() {
    let stream =
        b"event: content_block_start\ndata: {\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"Hm\"}}\n\n\
        event: content_block_stop\ndata: {\"index\":0}\n\n";
    let (events, _) = read([stream.as_slice()]);
    assert_eq!(events, [Reasoning("Hm".to_owned()), ReasoningDone { verbatim: None }]);
}

#[test]
fn tools_are_called_with_whole_inputs() {
    check(
        "parallel_tools",
        &[
            t("Both."),
            TextDone,
            called("toolu_01", "read_file", json!({"path": "a.txt"})),
            called("toolu_02", "grep", json!({"pattern": "€", "context_lines": 2, "glob": null})),
            Finished(StopReason::ToolUse),
        ],
    );
    // Their order is that in which they began, also if a later one is whole first.
    let (path, pattern) = (json!({"path": "a.txt"}), json!({"pattern": "b"}));
    let calls = [called("toolu_01", "read_file", path), called("toolu_02", "grep", pattern), Finished(StopReason::ToolUse)];
    check("interleaved_tools", &calls);
    let empty = |id| called(id, "glob", json!({}));
    check(
        "empty_tool_input",
        &[empty("toolu_01"), empty("toolu_02"), empty("toolu_03"), empty("toolu_04"), Finished(StopReason::ToolUse)],
    );
}

#[test]
fn a_page_instead_of_a_stream_is_said_to_be_unreadable() {
    for (answer, sentence) in [
        (b"<html>Please sign in</html>".as_slice(), "Anthropic sent something that could not be read."),
        (b"".as_slice(), "The connection to Anthropic broke off."),
    ] {
        let error = read([answer]).1.expect("no answer came");
        assert_eq!((error.kind, error.sentence.as_str()), (ModelErrorKind::Unavailable, sentence));
    }
}

#[test]
fn the_providers_own_blocks_are_kept_for_it() {
    let (events, error) = whole("server_tools");
    assert_eq!(error, None);
    let events = without_usage(events);
    let search = json!({"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {"query": "birds"}});
    assert_eq!(events[..3], [t("I search."), TextDone, Opaque(verbatim("anthropic", search))]);
    let Opaque(found) = &events[3] else { panic!("{:?}", events[3]) };
    assert_eq!(found.block["type"], "web_search_tool_result");
    assert_eq!(found.block["content"][0]["encrypted_content"], "RW5j");
    assert_eq!(events[4..], [t("Birds fly."), TextDone, Finished(StopReason::EndTurn)]);
}

#[test]
fn what_is_not_known_does_no_harm() {
    let block = json!({"type": "hologram", "shape": {"sides": 3}, "data": "x"});
    check("unknown", &[Opaque(verbatim("anthropic", block)), t("Hel"), t("lo"), TextDone, Finished(StopReason::EndTurn)]);
}

#[test]
fn every_stop_reason_has_its_meaning() {
    check("refusal", &[Finished(StopReason::Refused)]);
    check("max_tokens", &[t("Cut of"), TextDone, Finished(StopReason::MaxTokens)]);
    check("context_window", &[t("Full"), TextDone, Finished(StopReason::ContextWindowExceeded)]);
    check("stop_sequence", &[t("One"), TextDone, Finished(StopReason::EndTurn)]);
    let search = json!({"type": "server_tool_use", "id": "srvtoolu_02", "name": "web_search", "input": {"query": "birds"}});
    check("pause_turn", &[t("Still at it."), TextDone, Opaque(verbatim("anthropic", search)), Finished(StopReason::Paused)]);
}

#[test]
fn usage_is_cumulative_and_null_changes_nothing() {
    let (events, _) = whole("usage");
    let usages: Vec<Usage> = events
        .iter()
        .filter_map(|event| match event {
            ModelEvent::Usage(usage) => Some(*usage),
            _ => None,
        })
        .collect();
    let usage = |input, output| Usage { input, output, cache_read: 2_000, cache_write: 100 };
    assert_eq!(usages, [usage(7, 1), usage(7, 3), usage(8, 5)]);
}

#[test]
fn a_missing_message_stop_is_forgiven() {
    check("no_message_stop", &[t("Whole."), TextDone, Finished(StopReason::EndTurn)]);
}

#[test]
fn blocks_that_were_left_open_are_closed() {
    check(
        "unclosed_blocks",
        &[t("Open"), TextDone, called("toolu_01", "glob", json!({"pattern": "*"})), Finished(StopReason::ToolUse)],
    );
}

#[test]
fn an_end_without_stop_reason_is_never_success() {
    for (name, kind) in [
        ("cut_in_text", ModelErrorKind::Truncated),
        ("no_stop_reason", ModelErrorKind::Truncated),
        // Nothing was seen yet, so that asking again repeats nothing.
        ("cut_before_text", ModelErrorKind::Unavailable),
    ] {
        let (events, error) = whole(name);
        let error = error.expect(name);
        assert_eq!((error.kind, error.retryable), (kind, true), "{name}");
        assert!(!events.iter().any(|event| matches!(event, Finished(_))), "{name}");
    }
    assert_eq!(read([]).1.expect("an error").kind, ModelErrorKind::Unavailable);
}

#[test]
fn an_error_in_mid_stream_is_told_in_our_words() {
    let (events, error) = whole("error_after_200");
    assert_eq!(without_usage(events), [t("Hal")]);
    let error = error.expect("an error");
    assert_eq!((error.kind, error.retryable), (ModelErrorKind::Unavailable, true));
    assert_eq!(error.sentence, "Anthropic answered 529: it is overloaded.");
    let error = whole("error_at_once").1.expect("an error");
    assert_eq!((error.kind, error.retryable), (ModelErrorKind::RateLimited, true));
}

#[test]
fn errors_map_as_their_status_would() {
    use ModelErrorKind::{Auth, RateLimited, Rejected, Unavailable};
    for (name, kind, retryable) in [
        ("invalid_request_error", Rejected, false),
        ("authentication_error", Auth, false),
        ("billing_error", Auth, false),
        ("permission_error", Auth, false),
        ("not_found_error", Rejected, false),
        ("request_too_large", Rejected, false),
        ("rate_limit_error", RateLimited, true),
        ("api_error", Unavailable, true),
        ("timeout_error", Unavailable, true),
        ("overloaded_error", Unavailable, true),
        ("brand_new_error", Unavailable, true),
    ] {
        let stream = format!("event: error\ndata: {}\n\n", json!({"type": "error", "error": {"type": name, "message": "x"}}));
        let error = read([stream.as_bytes()]).1.expect(name);
        assert_eq!((error.kind, error.retryable), (kind, retryable), "{name}");
    }
}

#[test]
fn a_prompt_that_is_too_long_is_told_as_such() {
    for (message, sentence) in [
        ("prompt is too long: 200001 tokens > 200000 maximum", "Anthropic answered 413: the request is too large."),
        ("Your credit balance is too low to go on", "Anthropic answered 402: the account has a billing problem."),
        ("messages: at least one is required", "Anthropic answered 400: it did not accept the request."),
    ] {
        let error = json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}});
        let error = read([format!("event: error\ndata: {error}\n\n").as_bytes()]).1.expect(message);
        assert_eq!(error.sentence, sentence);
    }
}

#[test]
fn a_known_event_that_cannot_be_read_is_an_error_and_an_unknown_one_is_not() {
    for (stream, fails) in [
        ("event: content_block_delta\ndata: {\"index\":0,\n\n", true),
        ("event: content_block_delta\ndata: {\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":7}}\n\n", true),
        ("event: content_block_start\ndata: <html>\n\n", true),
        ("event: novelty\ndata: <html>\n\n", false),
        ("data: <html>\n\n", false),
        ("event: content_block_start\ndata: []\n\n", false),
    ] {
        let error = read([stream.as_bytes()]).1.expect("nothing is whole here");
        let unreadable = error.sentence == "Anthropic sent something that could not be read.";
        assert_eq!(unreadable, fails, "{stream}: {error}");
    }
}

#[test]
fn trouble_behind_the_stop_reason_changes_nothing() {
    let mut stream = fixture("no_message_stop");
    stream.extend(fixture("error_at_once"));
    let (events, error) = read([stream.as_slice()]);
    assert_eq!((events.last(), error), (Some(&Finished(StopReason::EndTurn)), None));
}
