//! What the tests share: recorded streams, prompts, a little luck, and a server that says what it is told to.

use std::path::Path;

use domain::sockets::language_model::{ModelError, ModelEvent, ModelRequest, ModelStream, PromptMessage, Role, Verbatim};
use domain::sockets::tool::{Effect, ToolSpec};
use domain::{Mode, PartBody, ToolCall, ToolOutcome, ToolResult};
use futures_util::StreamExt;
use models::anthropic::AnswerReader;
use serde_json::{Value, json};

pub type Answer = (Vec<ModelEvent>, Option<ModelError>);

/// The names of all recorded streams, in order.
pub fn fixture_names() -> Vec<String> {
    let names = names_in("fixtures");
    assert!(names.len() > 20, "only {} fixtures", names.len());
    names
}

/// The names of the recorded streams of a directory, in order.
pub fn names_in(directory: &str) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .expect("the fixtures are there")
        .filter_map(|entry| entry.expect("readable").file_name().to_str()?.strip_suffix(".sse").map(str::to_owned))
        .collect();
    names.sort();
    names
}

pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("{name}.sse"));
    std::fs::read(path).expect("the fixture is there")
}

pub fn openai_fixture(name: &str) -> Vec<u8> {
    fixture(&format!("openai/{name}"))
}

/// Reads a stream that comes in these chunks and then ends in good order.
pub fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Answer {
    let mut reader = AnswerReader::new("anthropic", "Anthropic");
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

pub async fn collect(mut stream: ModelStream) -> Answer {
    let mut events = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(event) => events.push(event),
            Err(error) => {
                assert!(stream.next().await.is_none(), "an error is the last item");
                return (events, Some(error));
            }
        }
    }
    (events, None)
}

/// Pieces of text and thought, joined.
pub fn said(events: &[ModelEvent]) -> String {
    events
        .iter()
        .filter_map(|event| match event {
            ModelEvent::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

pub fn text(text: &str) -> PartBody {
    PartBody::Text { text: text.to_owned() }
}

pub fn thought(text: &str, verbatim: Option<Verbatim>) -> PartBody {
    PartBody::Reasoning { text: text.to_owned(), verbatim }
}

pub fn verbatim(provider: &str, block: Value) -> Verbatim {
    Verbatim { provider: provider.to_owned(), block }
}

pub fn call(id: &str, name: &str, input: Value) -> PartBody {
    let Value::Object(input) = input else { panic!("an input is an object") };
    PartBody::ToolCall(ToolCall { id: id.to_owned(), name: name.to_owned(), input })
}

pub fn result(call_id: &str, name: &str, output: &str, outcome: ToolOutcome) -> PartBody {
    PartBody::ToolResult(ToolResult {
        call_id: call_id.to_owned(),
        name: name.to_owned(),
        output: output.to_owned(),
        outcome,
        truncated: false,
        duration_ms: 1,
    })
}

pub fn user(parts: &[PartBody]) -> PromptMessage {
    PromptMessage { role: Role::User, parts: parts.to_vec() }
}

pub fn assistant(parts: &[PartBody]) -> PromptMessage {
    PromptMessage { role: Role::Assistant, parts: parts.to_vec() }
}

pub fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: format!("Does {name}."),
        input_schema: json!({"type": "object"}),
        effect: Effect::Pure,
        modes: Mode::ALL.to_vec(),
    }
}

/// A prompt with the read tools.
pub fn prompt(messages: Vec<PromptMessage>) -> ModelRequest {
    let tools = vec![tool("read_file"), tool("grep"), tool("glob")];
    ModelRequest { system: "Be brief.".to_owned(), messages, tools, forced_tool: None }
}

/// Numbers that are random enough, and the same in every run.
pub struct Luck(u64);

impl Luck {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).expect("53 bits fit") % limit.max(1)
    }
}
