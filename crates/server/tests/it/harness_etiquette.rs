//! What Anthropic's API demands of a request, as strictly as anybody could read it.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use crate::harness_upstream::Asked;

const MAX_BREAKPOINTS: usize = 4;
const KNOWN_FIELDS: [&str; 9] =
    ["tool_choice", "model", "max_tokens", "stream", "thinking", "tools", "system", "messages", "metadata"];

/// Everything that is wrong with a request.
pub fn complaints_about(asked: &Asked, key: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            complaints.push(what.to_owned());
        }
    };
    let header = |name: &str| asked.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let body = &asked.body;
    demand(asked.line == "POST /v1/messages", "the request is not POST /v1/messages");
    demand(header("x-api-key") == Some(key), "the key is not x-api-key");
    demand(header("anthropic-version") == Some("2023-06-01"), "anthropic-version is not there");
    demand(header("content-type") == Some("application/json"), "the body is not sent as JSON");
    demand(header("authorization").is_none(), "authorization is none of this API's headers");
    demand(body.as_object().is_some_and(|body| body.keys().all(|key| KNOWN_FIELDS.contains(&key.as_str()))), "an unknown field");
    demand(body["model"].as_str().is_some_and(|model| !model.is_empty()), "no model");
    demand(body["max_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "no max_tokens");
    demand(body["stream"] == true, "it does not stream");
    demand(count_breakpoints(body) <= MAX_BREAKPOINTS, "more cache breakpoints than are allowed");
    complaints.extend(about_tools(body));
    match body["messages"].as_array() {
        Some(messages) => complaints.extend(about_messages(messages)),
        None => complaints.push("no messages".to_owned()),
    }
    complaints
}

fn about_tools(body: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut names = HashSet::new();
    for tool in body["tools"].as_array().into_iter().flatten() {
        let name = tool["name"].as_str().unwrap_or_default();
        if !is_plain(name) || !names.insert(name) {
            complaints.push(format!("a tool's name that is wrong or comes twice: {name:?}"));
        }
        if tool["input_schema"]["type"] != "object" {
            complaints.push(format!("the schema of {name} is not that of an object"));
        }
    }
    complaints
}

fn about_messages(messages: &[Value]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let expected = if index % 2 == 0 { "user" } else { "assistant" };
        if message["role"] != expected {
            complaints.push(format!("messages[{index}] is not of the {expected}: roles must alternate"));
        }
        let blocks = blocks(message);
        if blocks.is_empty() {
            complaints.push(format!("messages[{index}] is empty"));
        }
        complaints.extend(blocks.iter().filter_map(about_block).map(|why| format!("messages[{index}]: {why}")));
        let asked = index.checked_sub(1).map(|before| calls_of(&messages[before])).unwrap_or_default();
        complaints.extend(about_results(blocks, asked).map(|why| format!("messages[{index}]: {why}")));
    }
    match messages.last() {
        None => complaints.push("no messages".to_owned()),
        Some(last) if last["role"] != "user" => complaints.push("the last message is not the user's".to_owned()),
        Some(_) => {}
    }
    complaints
}

fn about_block(block: &Value) -> Option<String> {
    let complaint = match block["type"].as_str().unwrap_or_default() {
        "text" if block["text"].as_str().unwrap_or_default().trim().is_empty() => "a text without a visible character",
        "text" => return None,
        "tool_use" if !is_plain(block["id"].as_str().unwrap_or_default()) => "a call with a wrong id",
        "tool_use" if !is_plain(block["name"].as_str().unwrap_or_default()) => "a call of a wrong name",
        "tool_use" if !block["input"].is_object() => "a call whose input is no object",
        "tool_result" if !block["content"].is_string() => "a result without text",
        "tool_use" | "tool_result" => return None,
        _ => "a block of an unknown type",
    };
    Some(format!("{complaint}: {block}"))
}

/// The results stand first, one for each call of the message before, and nowhere else.
fn about_results(blocks: &[Value], calls: Vec<&str>) -> Option<String> {
    let is_result = |block: &&Value| block["type"] == "tool_result";
    let at_the_start: Vec<&str> = blocks.iter().take_while(is_result).filter_map(|block| block["tool_use_id"].as_str()).collect();
    if at_the_start.len() != blocks.iter().filter(is_result).count() {
        return Some("a result that does not stand at the start".to_owned());
    }
    let (asked, answered): (BTreeSet<_>, BTreeSet<_>) = (calls.iter().collect(), at_the_start.iter().collect());
    let once = asked.len() == calls.len() && answered.len() == at_the_start.len();
    (asked != answered || !once).then(|| format!("the calls {calls:?} are answered by the results {at_the_start:?}"))
}

fn calls_of(message: &Value) -> Vec<&str> {
    blocks(message).iter().filter(|block| block["type"] == "tool_use").filter_map(|block| block["id"].as_str()).collect()
}

fn blocks(message: &Value) -> &[Value] {
    message["content"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn count_breakpoints(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(count_breakpoints).sum(),
        Value::Object(fields) => {
            usize::from(fields.contains_key("cache_control")) + fields.values().map(count_breakpoints).sum::<usize>()
        }
        _ => 0,
    }
}

fn is_plain(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-'))
}

/// Each complaint is caught at least once.
#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::complaints_about;
    use crate::harness_upstream::Asked;

    fn good() -> Asked {
        let headers = [("x-api-key", "k"), ("anthropic-version", "2023-06-01"), ("content-type", "application/json")];
        Asked {
            line: "POST /v1/messages".to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body: json!({
                "model": "m", "max_tokens": 1, "stream": true,
                "tools": [{"name": "read_file", "description": "", "input_schema": {"type": "object"}}],
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "q"}]},
                    {"role": "assistant", "content": [
                        {"type": "tool_use", "id": "a", "name": "read_file", "input": {}},
                        {"type": "tool_use", "id": "b", "name": "read_file", "input": {}},
                    ]},
                    {"role": "user", "content": [
                        {"type": "tool_result", "tool_use_id": "b", "content": "1"},
                        {"type": "tool_result", "tool_use_id": "a", "content": "2"},
                        {"type": "text", "text": "and?"},
                    ]},
                ],
            }),
        }
    }

    fn with(pointer: &str, value: Value) -> Asked {
        let mut asked = good();
        *asked.body.pointer_mut(pointer).expect("a place") = value;
        asked
    }

    #[test]
    fn a_good_request_is_good() {
        assert_eq!(complaints_about(&good(), "k"), Vec::<String>::new());
    }

    #[test]
    fn every_fault_is_noticed() {
        let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "1"});
        let text = json!({"type": "text", "text": "x"});
        let results = "/messages/2/content";
        let mut faults = vec![
            ("a call without a result", with(results, json!([result("a")]))),
            ("a result twice", with(results, json!([result("a"), result("b"), result("a")]))),
            ("a result of nothing", with(results, json!([result("a"), result("b"), result("c")]))),
            ("a result behind a text", with(results, json!([result("a"), text, result("b")]))),
            ("no results at all", with(results, json!([text]))),
            ("a call twice", with("/messages/1/content/1/id", json!("a"))),
            ("a call with a strange id", with("/messages/1/content/1/id", json!("a.b"))),
            ("a call without input", with("/messages/1/content/0/input", json!("{}"))),
            ("two of a role", with("/messages/1/role", json!("user"))),
            ("an empty message", with("/messages/0/content", json!([]))),
            ("a blank text", with("/messages/0/content/0/text", json!(" \n"))),
            ("an unknown block", with("/messages/0/content/0/type", json!("video"))),
            ("no messages", with("/messages", json!([]))),
            ("not streaming", with("/stream", json!(false))),
            ("no model", with("/model", json!(""))),
            ("a schema of nothing", with("/tools/0/input_schema", json!({}))),
        ];
        let mut last_is_ours = good();
        last_is_ours.body["messages"].as_array_mut().expect("messages").truncate(2);
        faults.push(("the last is the assistant's", last_is_ours));
        let mut breakpoints = good();
        breakpoints.body["system"] = json!([{"cache_control": {}}, {"cache_control": {}}, {"cache_control": {}}, {"cache_control": {}}, {"cache_control": {}}]);
        faults.push(("five breakpoints", breakpoints));
        let mut unknown = good();
        unknown.body["temperatur"] = json!(1);
        faults.push(("an unknown field", unknown));
        for (index, name) in ["no key", "no version", "no content type"].into_iter().enumerate() {
            let mut asked = good();
            asked.headers.remove(index);
            faults.push((name, asked));
        }
        for (name, asked) in faults {
            assert!(!complaints_about(&asked, "k").is_empty(), "{name}");
        }
    }
}
