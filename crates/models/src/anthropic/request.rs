//! From a [`ModelRequest`] to the JSON of a Messages request. Pure: the same request gives the same bytes, which is what
//! the provider's prompt cache needs.

use std::borrow::Cow;

use domain::PartBody;
use domain::sockets::language_model::{ModelRequest, PromptMessage, Role};
use domain::sockets::tool::ToolSpec;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::names::{tool_name, tool_use_id};

/// Characters that the API allows in a tool's name.
const MAX_NAME_CHARS: usize = 128;

/// What of a request comes from the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestOptions<'a> {
    /// Only blocks that came from this provider go back to it.
    pub provider: &'a str,
    pub model: &'a str,
    /// Tokens that the answer may have, the thinking included.
    pub max_tokens: u32,
    pub thinking: Thinking,
}

/// How much the model may think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Thinking {
    /// The request says nothing about it.
    #[default]
    Unset,
    Disabled,
    /// As much as the model finds right.
    Adaptive,
    /// Up to this many tokens; the answer gets `max_tokens` beside them if they are fewer.
    Budget(u32),
}

/// The JSON body of `POST /v1/messages`, with `stream` on.
///
/// The last tool, the system text and the last message carry a cache breakpoint (three of the four that are allowed).
/// What must not go back is left out: blocks of other providers, unsigned thoughts, blank texts; neighbours that then
/// have the same role are merged, and tool results come first in their message.
pub fn body(request: &ModelRequest, options: RequestOptions<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let mut messages = messages(&request.messages, options.provider);
    // The API refuses thoughts before a call that it is told to make.
    let thinking = match (&request.forced_tool, options.thinking) {
        (Some(_), Thinking::Adaptive | Thinking::Budget(_)) => Thinking::Disabled,
        (_, thinking) => thinking,
    };
    if let Some(last) = messages.last_mut() {
        finish_last(last);
    }
    serde_json::to_vec(&Body {
        model: options.model,
        max_tokens: match thinking {
            Thinking::Budget(tokens) if tokens >= options.max_tokens => options.max_tokens.saturating_add(tokens),
            _ => options.max_tokens,
        },
        stream: true,
        system: system(&request.system),
        messages,
        tools: tools(&request.tools),
        tool_choice: request.forced_tool.as_deref().map(|name| ToolChoice::Tool { name }),
        thinking: thinking.config(),
    })
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<ThinkingConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolDefinition<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<[Block<'a>; 1]>,
    messages: Vec<Message<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ThinkingConfig {
    Disabled,
    Adaptive,
    Enabled { budget_tokens: u32 },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToolChoice<'a> {
    Tool { name: &'a str },
}

#[derive(Serialize)]
struct ToolDefinition<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(serialize_with = "role_name")]
    role: Role,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
struct Block<'a> {
    #[serde(flatten)]
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Ours(OurContent<'a>),
    Verbatim(&'a Value),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum OurContent<'a> {
    Text {
        text: &'a str,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        input: &'a Map<String, Value>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        content: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

#[derive(Serialize, Clone, Copy)]
#[serde(tag = "type", rename_all = "snake_case")]
enum CacheControl {
    Ephemeral,
}

impl Thinking {
    fn config(self) -> Option<ThinkingConfig> {
        match self {
            Self::Unset => None,
            Self::Disabled => Some(ThinkingConfig::Disabled),
            Self::Adaptive => Some(ThinkingConfig::Adaptive),
            Self::Budget(budget_tokens) => Some(ThinkingConfig::Enabled { budget_tokens }),
        }
    }
}

fn system(text: &str) -> Option<[Block<'_>; 1]> {
    let content = Content::Ours(OurContent::Text { text });
    (!is_blank(text)).then_some([Block { content, cache_control: Some(CacheControl::Ephemeral) }])
}

fn tools(specs: &[ToolSpec]) -> Vec<ToolDefinition<'_>> {
    let mut tools: Vec<_> = specs
        .iter()
        .map(|spec| ToolDefinition {
            name: &spec.name,
            description: &spec.description,
            input_schema: &spec.input_schema,
            cache_control: None,
        })
        .collect();
    if let Some(last) = tools.last_mut() {
        last.cache_control = Some(CacheControl::Ephemeral);
    }
    tools
}

fn messages<'a>(prompt: &'a [PromptMessage], provider: &str) -> Vec<Message<'a>> {
    let mut messages: Vec<Message<'a>> = Vec::with_capacity(prompt.len());
    for PromptMessage { role, parts } in prompt {
        let content = parts.iter().filter_map(|part| block(part, provider));
        match messages.last_mut() {
            Some(last) if last.role == *role => last.content.extend(content),
            _ => messages.push(Message { role: *role, content: content.collect() }),
        }
        // An empty message must not stand between its neighbours, so it goes before they are looked at.
        if messages.last().is_some_and(|last| last.content.is_empty()) {
            messages.pop();
        }
    }
    for message in messages.iter_mut().filter(|message| message.role == Role::User) {
        message.content.sort_by_key(|block| !block.is_tool_result());
    }
    messages
}

fn block<'a>(part: &'a PartBody, provider: &str) -> Option<Block<'a>> {
    let content = match part {
        PartBody::Text { text } if is_blank(text) => return None,
        PartBody::Text { text } => Content::Ours(OurContent::Text { text }),
        PartBody::ToolCall(call) => Content::Ours(OurContent::ToolUse {
            id: tool_use_id(&call.id),
            name: tool_name(&call.name, MAX_NAME_CHARS),
            input: &call.input,
        }),
        PartBody::ToolResult(result) => Content::Ours(OurContent::ToolResult {
            tool_use_id: tool_use_id(&result.call_id),
            content: &result.output,
            is_error: result.is_error(),
        }),
        PartBody::Reasoning { verbatim: Some(verbatim), .. } | PartBody::Opaque(verbatim)
            if verbatim.provider == provider && verbatim.block.is_object() =>
        {
            Content::Verbatim(&verbatim.block)
        }
        PartBody::Reasoning { .. } | PartBody::Opaque(_) => return None,
    };
    Some(Block { content, cache_control: None })
}

/// Puts the breakpoint on the last block that may have one: not on thoughts, nor on blocks that are not ours.
fn finish_last(message: &mut Message<'_>) {
    if message.role == Role::Assistant
        && let Some(Block { content: Content::Ours(OurContent::Text { text }), .. }) = message.content.last_mut()
    {
        // The API refuses an unfinished answer that ends in white space.
        *text = text.trim_end();
    }
    if let Some(block) = message.content.iter_mut().rev().find(|block| block.may_be_cached()) {
        block.cache_control = Some(CacheControl::Ephemeral);
    }
}

impl Block<'_> {
    fn is_tool_result(&self) -> bool {
        matches!(self.content, Content::Ours(OurContent::ToolResult { .. }))
    }

    fn may_be_cached(&self) -> bool {
        match &self.content {
            Content::Ours(OurContent::ToolResult { content, .. }) => !content.is_empty(),
            Content::Ours(_) => true,
            Content::Verbatim(_) => false,
        }
    }
}

/// The API refuses texts without a visible character.
fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn role_name<S: serde::Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match role {
        Role::User => "user",
        Role::Assistant => "assistant",
    })
}
