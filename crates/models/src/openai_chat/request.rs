//! From a [`ModelRequest`] to the JSON of a Chat Completions request. Pure: the same request gives the same bytes.

use std::borrow::Cow;

use domain::PartBody;
use domain::sockets::language_model::{ModelRequest, PromptMessage, Role};
use domain::sockets::tool::ToolSpec;
use serde::Serialize;
use serde_json::Value;

use super::vendors::{Forces, LimitField, Vendor};
use crate::names::{tool_name, tool_use_id};

/// Characters that the API allows in a tool's name.
const MAX_NAME_CHARS: usize = 64;

/// What of a request comes from the settings.
#[derive(Debug, Clone, Copy)]
pub struct RequestOptions<'a> {
    pub vendor: Vendor,
    pub model: &'a str,
    /// Tokens that the answer may have.
    pub max_tokens: u32,
    pub reasoning_effort: Option<&'a str>,
}

impl RequestOptions<'_> {
    /// Whether the answer to this request comes piece by piece.
    #[must_use]
    pub fn streams(&self, request: &ModelRequest) -> bool {
        self.vendor.streams_tools || request.tools.is_empty()
    }
}

/// The JSON body of `POST /v1/chat/completions`.
///
/// A message is one text, which every server takes; the results of tools come as messages of their own, before what the
/// person says. Thoughts and blocks of other providers are left out.
pub fn body(request: &ModelRequest, options: RequestOptions<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let streams = options.streams(request);
    let limit = |field| (options.vendor.limit_field == field).then_some(options.max_tokens);
    let forced = request.forced_tool.as_deref();
    serde_json::to_vec(&Body {
        model: options.model,
        stream: streams,
        stream_options: (streams && options.vendor.reports_usage).then_some(StreamOptions { include_usage: true }),
        max_tokens: limit(LimitField::MaxTokens),
        max_completion_tokens: limit(LimitField::MaxCompletionTokens),
        reasoning_effort: options.reasoning_effort,
        messages: messages(request),
        tools: tools(&request.tools, forced.filter(|_| options.vendor.forces == Forces::SomeTool)),
        tool_choice: forced.and_then(|name| tool_choice(name, options.vendor.forces)),
    })
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'a str>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        content: String,
    },
    Assistant {
        /// Null beside calls without words.
        content: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
    },
    Tool {
        tool_call_id: Cow<'a, str>,
        content: &'a str,
    },
}

#[derive(Serialize)]
struct Call<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: Cow<'a, str>,
    /// JSON in a text.
    arguments: String,
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: Cow<'a, str>,
    description: &'a str,
    parameters: &'a Value,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ToolChoice<'a> {
    Word(&'static str),
    Named {
        #[serde(rename = "type")]
        kind: &'static str,
        function: NamedFunction<'a>,
    },
}

#[derive(Serialize)]
struct NamedFunction<'a> {
    name: Cow<'a, str>,
}

fn tool_choice(name: &str, forces: Forces) -> Option<ToolChoice<'_>> {
    match forces {
        Forces::ByName => {
            Some(ToolChoice::Named { kind: "function", function: NamedFunction { name: tool_name(name, MAX_NAME_CHARS) } })
        }
        Forces::SomeTool => Some(ToolChoice::Word("required")),
        Forces::Nothing => None,
    }
}

fn tools<'a>(specs: &'a [ToolSpec], only: Option<&str>) -> Vec<Tool<'a>> {
    let offered = specs.iter().filter(|spec| only.is_none_or(|name| spec.name == name));
    offered
        .map(|spec| Tool {
            kind: "function",
            function: Function {
                name: tool_name(&spec.name, MAX_NAME_CHARS),
                description: &spec.description,
                parameters: &spec.input_schema,
            },
        })
        .collect()
}

fn messages(request: &ModelRequest) -> Vec<Message<'_>> {
    let mut messages = Vec::with_capacity(request.messages.len() + 1);
    if !is_blank(&request.system) {
        messages.push(Message::System { content: &request.system });
    }
    for message in &request.messages {
        match message.role {
            Role::User => push_user(&mut messages, message),
            Role::Assistant => push_assistant(&mut messages, message),
        }
    }
    messages
}

fn push_user<'a>(messages: &mut Vec<Message<'a>>, message: &'a PromptMessage) {
    messages.extend(message.parts.iter().filter_map(|part| match part {
        PartBody::ToolResult(result) => {
            Some(Message::Tool { tool_call_id: tool_use_id(&result.call_id), content: &result.output })
        }
        _ => None,
    }));
    let Some(said) = words(message) else { return };
    match messages.last_mut() {
        // Some servers' templates refuse two messages of one role in a row.
        Some(Message::User { content }) => {
            content.push_str("\n\n");
            content.push_str(&said);
        }
        _ => messages.push(Message::User { content: said }),
    }
}

fn push_assistant<'a>(messages: &mut Vec<Message<'a>>, message: &'a PromptMessage) {
    let calls = message.parts.iter().filter_map(|part| match part {
        PartBody::ToolCall(call) => Some(Call {
            id: tool_use_id(&call.id),
            kind: "function",
            function: CalledFunction {
                name: tool_name(&call.name, MAX_NAME_CHARS),
                arguments: serde_json::to_string(&call.input).unwrap_or_default(),
            },
        }),
        _ => None,
    });
    let (content, tool_calls) = (words(message), calls.collect::<Vec<_>>());
    if content.is_none() && tool_calls.is_empty() {
        return;
    }
    match (messages.last_mut(), content) {
        (Some(Message::Assistant { content: Some(before), tool_calls: earlier }), Some(said)) if earlier.is_empty() => {
            before.push_str("\n\n");
            before.push_str(&said);
            *earlier = tool_calls;
        }
        (_, content) => messages.push(Message::Assistant { content, tool_calls }),
    }
}

fn words(message: &PromptMessage) -> Option<String> {
    let texts: Vec<&str> = message
        .parts
        .iter()
        .filter_map(|part| match part {
            PartBody::Text { text } if !is_blank(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
