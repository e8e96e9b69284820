//! Prompts, and the exact JSON that Chat Completions servers are sent.

use domain::ToolOutcome::{Completed, Failed};
use domain::sockets::language_model::ModelRequest;
use models::openai_chat::request::{RequestOptions, body};
use models::openai_chat::vendors::{OPENAI, Vendor};
use serde_json::{Value, json};

use crate::support::{assistant, call, prompt, result, text, thought, tool, user};

const OPTIONS: RequestOptions<'_> =
    RequestOptions { vendor: OPENAI, model: "model-under-test", max_tokens: 8_192, reasoning_effort: None };

fn built(request: &ModelRequest, options: RequestOptions<'_>) -> Value {
    serde_json::from_slice(&body(request, options).expect("the request can be written")).expect("it is JSON")
}

#[test]
fn a_request_is_written_byte_for_byte() {
    let mut request = prompt(vec![user(&[text("Hi.")])]);
    request.tools = vec![tool("grep")];
    let expected = concat!(
        r#"{"model":"model-under-test","stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":8192,"#,
        r#""messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi."}],"#,
        r#""tools":[{"type":"function","function":{"name":"grep","description":"Does grep.","parameters":{"type":"object"}}}]}"#,
    );
    assert_eq!(String::from_utf8_lossy(&body(&request, OPTIONS).expect("it can be written")), expected);
}

#[test]
fn a_tool_turn_goes_back_as_messages_of_their_own() {
    let request = prompt(vec![
        user(&[text("Look.")]),
        assistant(&[
            thought("Hm.", None),
            text("I look."),
            call("t.1", "functions.read", json!({"path": "a.txt"})),
            call("t2", "glob", json!({})),
        ]),
        user(&[text("And hurry."), result("t.1", "read_file", "alpha\n", Completed), result("t2", "glob", "", Failed)]),
        assistant(&[text(" ")]),
        user(&[text("Well?")]),
    ]);
    let expected = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": "I look.", "tool_calls": [
            {"id": "call_742e31", "type": "function", "function": {"name": "functions_read", "arguments": "{\"path\":\"a.txt\"}"}},
            {"id": "t2", "type": "function", "function": {"name": "glob", "arguments": "{}"}},
        ]},
        {"role": "tool", "tool_call_id": "call_742e31", "content": "alpha\n"},
        {"role": "tool", "tool_call_id": "t2", "content": ""},
        {"role": "user", "content": "And hurry.\n\nWell?"},
    ]);
    assert_eq!(built(&request, OPTIONS)["messages"], expected);
}

#[test]
fn each_vendor_is_told_in_its_way() {
    let request = ModelRequest { forced_tool: Some("grep".to_owned()), ..prompt(vec![user(&[text("Hi.")])]) };
    let of = |name: &str| {
        let vendor = Vendor::named(name).expect(name);
        built(&request, RequestOptions { vendor, reasoning_effort: Some("low"), ..OPTIONS })
    };
    let named = json!({"type": "function", "function": {"name": "grep"}});
    let openai = of("openai");
    assert_eq!((&openai["tool_choice"], openai["reasoning_effort"].as_str()), (&named, Some("low")));
    let llama = of("llama.cpp");
    assert_eq!(llama["tool_choice"], "required");
    assert_eq!(llama["tools"].as_array().map(Vec::len), Some(1));
    assert_eq!(llama["max_tokens"], 8_192);
    let ollama = of("ollama");
    assert_eq!((ollama.get("tool_choice"), &ollama["stream"], ollama.get("stream_options")), (None, &json!(false), None));
}
