//! Tool calls while they are being written. Servers disagree about how, so the reading is lenient.

use domain::sockets::language_model::ModelEvent;
use serde_json::{Map, Value};

/// Bytes that the arguments of one call may add up to: far above any real input.
const MAX_ARGUMENTS_BYTES: usize = 16 * 1024 * 1024;
/// Calls of one answer. More is a peer gone wrong.
const MAX_CALLS: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: Arguments,
}

#[derive(Debug)]
enum Arguments {
    Written(String),
    /// A proxy gave an object instead of its text.
    Whole(Map<String, Value>),
}

/// More calls, or longer ones, than any real answer has.
#[derive(Debug)]
pub(super) struct TooMuch;

impl Calls {
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Adds `{index?, id?, function: {name?, arguments?}}`. The name and the id come with a call's first piece; a new id at
    /// the same index begins another call, and so does a piece without an index that brings an id or a name of its own.
    pub fn add(&mut self, piece: &Value) -> Result<(), TooMuch> {
        let index = piece["index"].as_u64();
        let id = piece["id"].as_str().unwrap_or_default();
        let name = piece["function"]["name"].as_str().unwrap_or_default();
        let call = match self.position(index, id, name) {
            Some(position) => &mut self.calls[position],
            None if self.calls.len() >= MAX_CALLS => return Err(TooMuch),
            None => {
                self.calls.push(Call {
                    index,
                    id: String::new(),
                    name: String::new(),
                    arguments: Arguments::Written(String::new()),
                });
                let last = self.calls.len() - 1;
                &mut self.calls[last]
            }
        };
        if call.id.is_empty() {
            id.clone_into(&mut call.id);
        }
        if call.name.is_empty() {
            name.clone_into(&mut call.name);
        }
        call.take(&piece["function"]["arguments"])
    }

    fn position(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let found = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index)?,
            None => self.calls.len().checked_sub(1)?,
        };
        let call = &self.calls[found];
        let another_id = !id.is_empty() && !call.id.is_empty() && id != call.id;
        // Without index and id a name can only be the beginning of a call.
        let another_name = index.is_none() && id.is_empty() && !name.is_empty() && !call.name.is_empty();
        (!another_id && !another_name).then_some(found)
    }

    /// All calls, whole, in the model's order, which their pieces need not have come in. `answer` is unique to this answer:
    /// ids that no server gave are made from it.
    pub fn finish(mut self, answer: &str) -> impl Iterator<Item = ModelEvent> {
        self.calls.sort_by_key(|call| call.index);
        let named = self.calls.into_iter().filter(|call| !call.name.is_empty()).enumerate();
        named.map(move |(index, call)| ModelEvent::ToolCall {
            id: if call.id.is_empty() { format!("call_{answer}_{index}") } else { call.id },
            name: call.name,
            input: call.arguments.object(),
        })
    }
}

impl Call {
    fn take(&mut self, arguments: &Value) -> Result<(), TooMuch> {
        match (arguments, &mut self.arguments) {
            (Value::String(text), Arguments::Written(written)) => {
                if written.len() + text.len() > MAX_ARGUMENTS_BYTES {
                    return Err(TooMuch);
                }
                written.push_str(text);
            }
            (Value::Object(whole), arguments) => *arguments = Arguments::Whole(whole.clone()),
            _ => {}
        }
        Ok(())
    }
}

impl Arguments {
    fn object(self) -> Map<String, Value> {
        match self {
            Self::Whole(object) => object,
            Self::Written(text) => serde_json::from_str(&text).unwrap_or_default(),
        }
    }
}
