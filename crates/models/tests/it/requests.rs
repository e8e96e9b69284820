//! Prompts, and the exact JSON that is made of them.

use domain::ToolOutcome::{Completed, Failed};
use domain::sockets::language_model::ModelRequest;
use models::anthropic::Thinking;
use models::anthropic::request::{RequestOptions, body};
use serde_json::{Value, json};

use crate::support::{assistant, call, prompt, result, text, thought, tool, user, verbatim};

const OPTIONS: RequestOptions<'_> =
    RequestOptions { provider: "anthropic", model: "model-under-test", max_tokens: 8_192, thinking: Thinking::Unset };

fn built(request: &ModelRequest) -> Value {
    serde_json::from_slice(&body(request, OPTIONS).expect("the request can be written")).expect("it is JSON")
}

#[track_caller]
fn check_messages(request: &ModelRequest, expected: &Value) {
    assert_eq!(&built(request)["messages"], expected);
}

/// A text block with the breakpoint that ends every request.
fn cached(text: &str) -> Value {
    json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}})
}

#[test]
fn a_request_is_written_byte_for_byte() {
    let mut request = prompt(vec![user(&[text("Hi.")])]);
    request.tools = vec![tool("grep"), tool("glob")];
    let expected = concat!(
        r#"{"model":"model-under-test","max_tokens":8192,"stream":true,"#,
        r#""tools":[{"name":"grep","description":"Does grep.","input_schema":{"type":"object"}},"#,
        r#"{"name":"glob","description":"Does glob.","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}],"#,
        r#""system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],"#,
        r#""messages":[{"role":"user","content":[{"type":"text","text":"Hi.","cache_control":{"type":"ephemeral"}}]}]}"#,
    );
    let written = body(&request, OPTIONS).expect("the request can be written");
    assert_eq!(String::from_utf8_lossy(&written), expected);
}

#[test]
fn without_system_and_tools_their_fields_are_absent() {
    let request = ModelRequest { system: " ".to_owned(), messages: vec![user(&[text("Hi.")])], tools: vec![], forced_tool: None };
    let built = built(&request);
    assert_eq!((built.get("system"), built.get("tools"), built.get("thinking")), (None, None, None));
}

#[test]
fn a_tool_turn_goes_back_as_it_was() {
    let thinking = json!({"type": "thinking", "thinking": "Hm.", "signature": "c2ln"});
    let search = json!({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "birds"}});
    let request = prompt(vec![
        user(&[text("Look.")]),
        assistant(&[
            thought("Hm.", Some(verbatim("anthropic", thinking.clone()))),
            text("I look."),
            thought("of another", Some(verbatim("other", json!({"type": "secret"})))),
            thought("interrupted", None),
            domain::PartBody::Opaque(verbatim("anthropic", search.clone())),
            domain::PartBody::Opaque(verbatim("other", json!({"type": "secret"}))),
            call("t1", "read_file", json!({"path": "a.txt"})),
            call("t2", "glob", json!({})),
        ]),
        user(&[text("And hurry."), result("t1", "read_file", "alpha\n", Completed), result("t2", "glob", "", Failed)]),
    ]);
    check_messages(
        &request,
        &json!([
            {"role": "user", "content": [{"type": "text", "text": "Look."}]},
            {"role": "assistant", "content": [
                thinking,
                {"type": "text", "text": "I look."},
                search,
                {"type": "tool_use", "id": "t1", "name": "read_file", "input": {"path": "a.txt"}},
                {"type": "tool_use", "id": "t2", "name": "glob", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "alpha\n"},
                {"type": "tool_result", "tool_use_id": "t2", "content": "", "is_error": true},
                cached("And hurry."),
            ]},
        ]),
    );
}

#[test]
fn the_last_result_carries_the_breakpoint() {
    let request = prompt(vec![
        user(&[text("Look.")]),
        assistant(&[call("t1", "glob", json!({})), call("t2", "glob", json!({}))]),
        user(&[result("t1", "glob", "a", Completed), result("t2", "glob", "", Completed)]),
    ]);
    let last = built(&request)["messages"][2]["content"].clone();
    // The second is empty, and the API refuses a breakpoint on what is empty.
    assert_eq!(last[0]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(last[1].get("cache_control"), None);
}

#[test]
fn breakpoints_stay_below_four() {
    let turn = [user(&[text("Hi.")]), assistant(&[text("Hello.")])];
    let mut messages: Vec<_> = turn.iter().cycle().take(40).cloned().collect();
    messages.push(user(&[text("Bye.")]));
    let written = body(&prompt(messages), OPTIONS).expect("the request can be written");
    assert_eq!(String::from_utf8_lossy(&written).matches("cache_control").count(), 3);
}

#[test]
fn neighbours_of_one_role_become_one_message() {
    let foreign = || thought("of another", Some(verbatim("other", json!({"type": "secret"}))));
    let request = prompt(vec![
        user(&[text("One.")]),
        assistant(&[foreign(), text(" \n")]),
        user(&[text("Two.")]),
        user(&[text("Three.")]),
        assistant(&[text("Yes.")]),
        assistant(&[foreign()]),
        user(&[text("")]),
        assistant(&[text("Still.")]),
        user(&[text("Four.")]),
    ]);
    check_messages(
        &request,
        &json!([
            {"role": "user", "content": [
                {"type": "text", "text": "One."}, {"type": "text", "text": "Two."}, {"type": "text", "text": "Three."}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Yes."}, {"type": "text", "text": "Still."}]},
            {"role": "user", "content": [cached("Four.")]},
        ]),
    );
}

#[test]
fn a_paused_answer_goes_back_without_white_space_at_its_end() {
    let request = prompt(vec![user(&[text("Go.")]), assistant(&[text("Going \n")])]);
    check_messages(
        &request,
        &json!([
            {"role": "user", "content": [{"type": "text", "text": "Go."}]},
            {"role": "assistant", "content": [cached("Going")]},
        ]),
    );
}

#[test]
fn a_thought_at_the_end_leaves_the_breakpoint_to_what_stands_before_it() {
    let thinking = json!({"type": "thinking", "thinking": "Hm.", "signature": "c2ln"});
    let request = prompt(vec![
        user(&[text("Go.")]),
        assistant(&[text("Going."), thought("Hm.", Some(verbatim("anthropic", thinking.clone())))]),
    ]);
    assert_eq!(built(&request)["messages"][1]["content"], json!([cached("Going."), thinking]));
}

#[test]
fn ids_of_other_models_are_spelled_alike_in_call_and_result() {
    let request = prompt(vec![
        user(&[text("Look.")]),
        assistant(&[call("functions.read:0", "functions.read", json!({}))]),
        user(&[result("functions.read:0", "functions.read", "x", Completed)]),
    ]);
    let messages = &built(&request)["messages"];
    let used = messages[1]["content"][0]["id"].as_str().expect("an id");
    assert_eq!(messages[2]["content"][0]["tool_use_id"], used);
    assert!(used.chars().all(|char| char.is_ascii_alphanumeric() || char == '_'), "{used}");
    assert_eq!(messages[1]["content"][0]["name"], "functions_read");
}

#[test]
fn thinking_is_asked_for_as_the_settings_say() {
    let request = prompt(vec![user(&[text("Hi.")])]);
    for (thinking, config, max_tokens) in [
        (Thinking::Disabled, json!({"type": "disabled"}), 8_192),
        (Thinking::Adaptive, json!({"type": "adaptive"}), 8_192),
        (Thinking::Budget(4_096), json!({"type": "enabled", "budget_tokens": 4_096}), 8_192),
        // The API wants more tokens for the whole than for the thought.
        (Thinking::Budget(8_192), json!({"type": "enabled", "budget_tokens": 8_192}), 16_384),
    ] {
        let written = body(&request, RequestOptions { thinking, ..OPTIONS }).expect("the request can be written");
        let built: Value = serde_json::from_slice(&written).expect("it is JSON");
        assert_eq!((&built["thinking"], &built["max_tokens"]), (&config, &json!(max_tokens)));
    }
}

#[test]
fn a_forced_tool_is_named_and_thoughts_are_off() {
    let request = ModelRequest { forced_tool: Some("grep".to_owned()), ..prompt(vec![user(&[text("Hi.")])]) };
    assert_eq!(built(&request)["tool_choice"], json!({"type": "tool", "name": "grep"}));
    let written = body(&request, RequestOptions { thinking: Thinking::Budget(9_000), ..OPTIONS }).expect("it can be written");
    let built: Value = serde_json::from_slice(&written).expect("it is JSON");
    assert_eq!((&built["thinking"], &built["max_tokens"]), (&json!({"type": "disabled"}), &json!(8_192)));
}
