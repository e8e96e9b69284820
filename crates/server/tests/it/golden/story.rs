//! One transcript: a head that sets the stage, and lines to play in order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::doubles::Kind;

/// The name of a socket or stream that is not named.
const MAIN: &str = "main";

#[derive(Debug, Clone)]
pub struct Story {
    /// `chats/first-message`
    pub name: String,
    /// Steps of the model's script.
    pub model: Vec<Value>,
    /// What an agent's webhook and a platform's API answer, in order.
    pub agent: Vec<Value>,
    pub platform: Vec<Value>,
    pub files: BTreeMap<String, String>,
    pub data_files: BTreeMap<String, String>,
    /// By name, with their files; `None`: the directory is gone.
    pub projects: BTreeMap<String, Option<BTreeMap<String, String>>>,
    /// By environment variable.
    pub settings: BTreeMap<String, String>,
    pub auth: String,
    pub needs: Vec<String>,
    pub lines: Vec<Line>,
}

#[derive(Debug, Clone)]
pub struct Line {
    /// From 1, as an editor counts.
    pub number: usize,
    pub source: String,
    pub on: String,
    pub step: Step,
}

#[derive(Debug, Clone)]
pub enum Step {
    Request(Value),
    Response(Value),
    Connect(Value),
    Send(Value),
    SendText(String),
    Expect(Expected),
    ExpectAnyOrder(Vec<Expected>),
    ExpectClose {
        code: u16,
        reason: Option<String>,
    },
    End,
    Disconnect,
    Release(String),
    Eventually {
        request: Value,
        response: Value,
    },
    ModelSaw {
        request: usize,
        roles: Value,
        last: Value,
    },
    /// The next call to the agent's webhook, or to the platform's API.
    Received {
        of: Kind,
        expected: Value,
    },
    /// Nothing of this kind arrives: `webhook`, `platform` or `socket:<type>`; nothing at all, if there is no kind.
    ExpectNone {
        of: Option<String>,
        within: Duration,
    },
    Sleep(Duration),
}

/// A frame of a socket, or an event of a stream.
#[derive(Debug, Clone)]
pub struct Expected {
    pub kind: String,
    pub body: Value,
    /// The event's `id:`, if the story says something about it.
    pub id: Option<Value>,
}

impl Story {
    pub fn load(name: &str) -> Self {
        let path = Self::folder().join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(name, &text)
    }

    pub fn folder() -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tests", "golden"].iter().collect()
    }

    /// Every transcript in the folder, by name.
    pub fn all_names() -> Vec<String> {
        let mut names = Vec::new();
        for api in entries(Self::folder()) {
            for file in entries(api.clone()) {
                let (api, story) = (api.file_name().expect("a name"), file.file_stem().expect("a name"));
                names.push(format!("{}/{}", api.to_string_lossy(), story.to_string_lossy()));
            }
        }
        names.sort();
        names
    }

    pub fn parse(name: &str, source: &str) -> Self {
        // What a time looks like is each contract's own matter.
        let source = match name.starts_with("assistant/") {
            true => &source.replace("<iso8601>", "<iso8601-6Z>"),
            false => source,
        };
        let lines = source.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let mut lines = lines.map(|(index, line)| (index + 1, line));
        let (_, head) = lines.next().unwrap_or_else(|| panic!("{name} is empty"));
        let head: Map<String, Value> = serde_json::from_str(head).unwrap_or_else(|error| panic!("{name} line 1: {error}"));
        let known = ["story", "model", "agent", "platform", "files", "data_files", "projects", "settings", "auth", "needs"];
        let unknown = head.keys().find(|key| !known.contains(&key.as_str()));
        assert_eq!(unknown, None, "{name}: the player does not know this");
        Self {
            name: name.to_owned(),
            model: head.get("model").and_then(Value::as_array).unwrap_or_else(|| panic!("{name} has no model")).clone(),
            agent: head.get("agent").and_then(Value::as_array).cloned().unwrap_or_default(),
            platform: head.get("platform").and_then(Value::as_array).cloned().unwrap_or_default(),
            files: texts(head.get("files")),
            data_files: texts(head.get("data_files")),
            projects: projects(head.get("projects")),
            settings: texts(head.get("settings")).into_iter().map(|(key, value)| (variable(&key), value)).collect(),
            auth: head.get("auth").and_then(Value::as_str).unwrap_or("off").to_owned(),
            needs: head.get("needs").and_then(Value::as_array).into_iter().flatten().map(text).collect(),
            lines: lines.map(|(number, line)| Line::parse(name, number, line)).collect(),
        }
    }
}

impl Line {
    fn parse(story: &str, number: usize, source: &str) -> Self {
        let wrong = |why: &str| -> ! { panic!("{story} line {number}: {why}: {source}") };
        let mut line: Map<String, Value> = serde_json::from_str(source).unwrap_or_else(|error| wrong(&error.to_string()));
        let on = line.remove("on").map_or_else(|| MAIN.to_owned(), |on| text(&on));
        let step = Step::parse(&mut line).unwrap_or_else(|| wrong("no line that the player knows"));
        if let Some(unknown) = line.keys().next() {
            wrong(&format!("the player does not know {unknown}"));
        }
        Self { number, source: source.to_owned(), on, step }
    }
}

impl Step {
    fn parse(line: &mut Map<String, Value>) -> Option<Self> {
        if line.contains_key("event") {
            return Some(Self::Expect(Expected::event(line)?));
        }
        let kind = line.keys().next()?.clone();
        let mut value = line.remove(&kind)?;
        Some(match kind.as_str() {
            "request" => Self::Request(value),
            "response" => Self::Response(value),
            "connect" => Self::Connect(value),
            "send" => Self::Send(value),
            "send_text" => Self::SendText(value.as_str()?.to_owned()),
            "expect" => Self::Expect(Expected::frame(value)?),
            "expect_any_order" => {
                let each = value.as_array()?.iter().map(|one| match one.as_object()?.contains_key("event") {
                    true => Expected::event(&mut one.as_object()?.clone()),
                    false => Expected::frame(one.clone()),
                });
                Self::ExpectAnyOrder(each.collect::<Option<_>>()?)
            }
            "expect_close" => Self::ExpectClose {
                code: u16::try_from(value.as_u64()?).ok()?,
                reason: line.remove("reason").map(|reason| text(&reason)),
            },
            "webhook_received" => Self::Received { of: Kind::Agent, expected: value },
            "platform_received" => Self::Received { of: Kind::Platform, expected: value },
            "expect_none" => Self::ExpectNone {
                of: value["of"].as_str().map(str::to_owned),
                within: Duration::from_millis(value["within_ms"].as_u64()?),
            },
            "sleep_ms" => Self::Sleep(Duration::from_millis(value.as_u64()?)),
            "end" => value.as_bool()?.then_some(Self::End)?,
            "disconnect" => value.as_bool()?.then_some(Self::Disconnect)?,
            "release" => Self::Release(value.as_str()?.to_owned()),
            "eventually" => Self::Eventually { request: value["request"].take(), response: value["response"].take() },
            "model_saw" => Self::ModelSaw {
                request: usize::try_from(value["request"].as_u64()?).ok()?,
                roles: value["roles"].take(),
                last: value["last"].take(),
            },
            _ => return None,
        })
    }
}

impl Expected {
    fn frame(body: Value) -> Option<Self> {
        Some(Self { kind: body["type"].as_str()?.to_owned(), body, id: None })
    }

    fn event(line: &mut Map<String, Value>) -> Option<Self> {
        let kind = line.remove("event")?.as_str()?.to_owned();
        Some(Self { kind, body: line.remove("data")?, id: line.remove("id") })
    }
}

fn entries(folder: PathBuf) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("readable").path()).collect()
}

fn texts(value: Option<&Value>) -> BTreeMap<String, String> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn projects(value: Option<&Value>) -> BTreeMap<String, Option<BTreeMap<String, String>>> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields.map(|(name, files)| (name.clone(), (!files.is_null()).then(|| texts(Some(files))))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text was expected, not {value}")).to_owned()
}

/// Stories may name a setting by its variable or by its key in the settings file.
fn variable(key: &str) -> String {
    if key.contains(char::is_lowercase) { format!("COLLOQUY_{}", key.to_uppercase()) } else { key.to_owned() }
}
