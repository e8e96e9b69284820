//! A content block while it is being written.

use domain::sockets::language_model::{ModelEvent, Verbatim};
use serde_json::{Map, Value};

use super::wire::{DeltaBody, DeltaKind};

/// Bytes that the deltas of one block may add up to, where we keep them: far above any real tool input or thought.
const MAX_BLOCK_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug)]
pub(super) enum Block {
    Text {
        said: bool,
    },
    /// `content` is the block as it began; what was thought and signed since goes back into it.
    Thinking {
        content: Map<String, Value>,
        thinking: String,
        signature: Option<String>,
    },
    /// Goes back as it came.
    Redacted {
        content: Map<String, Value>,
    },
    ToolUse {
        content: Map<String, Value>,
        json: String,
    },
    /// A block of the provider's own: its tools and their results, and what is still to be invented.
    Opaque {
        content: Map<String, Value>,
        json: String,
    },
}

/// The deltas of a block add up to more than [`MAX_BLOCK_BYTES`].
#[derive(Debug)]
pub(super) struct BlockTooLarge;

impl Block {
    /// The block, and its first piece if it begins with one.
    pub fn start(mut content: Map<String, Value>) -> (Self, Option<ModelEvent>) {
        match content.get("type").and_then(Value::as_str) {
            Some("text") => {
                let text = take_string(&mut content, "text");
                (Self::Text { said: !text.is_empty() }, piece(text, ModelEvent::Text))
            }
            Some("thinking") => {
                let thinking = take_string(&mut content, "thinking");
                let signature = Some(take_string(&mut content, "signature")).filter(|signature| !signature.is_empty());
                let first = piece(thinking.clone(), ModelEvent::Reasoning);
                (Self::Thinking { content, thinking, signature }, first)
            }
            Some("redacted_thinking") => (Self::Redacted { content }, None),
            Some("tool_use") => (Self::ToolUse { content, json: String::new() }, None),
            _ => (Self::Opaque { content, json: String::new() }, None),
        }
    }

    /// The block that a delta speaks of when its beginning never came; only text and thoughts need no beginning.
    pub fn implied(kind: DeltaKind) -> Option<Self> {
        let kind = match kind {
            DeltaKind::Text => "text",
            DeltaKind::Thinking => "thinking",
            DeltaKind::Input | DeltaKind::Signature | DeltaKind::Other => return None,
        };
        let content = Map::from_iter([("type".to_owned(), Value::from(kind))]);
        Some(Self::start(content).0)
    }

    pub fn is_written_piece_by_piece(&self) -> bool {
        matches!(self, Self::Text { .. } | Self::Thinking { .. })
    }

    /// Adds a delta, and gives the piece that people may see. A delta that does not belong to the block is passed over.
    pub fn add(&mut self, delta: DeltaBody) -> Result<Option<ModelEvent>, BlockTooLarge> {
        match (self, delta.kind) {
            (Self::Text { said }, DeltaKind::Text) => {
                let event = piece(delta.text.unwrap_or_default(), ModelEvent::Text);
                *said |= event.is_some();
                Ok(event)
            }
            (Self::Thinking { thinking, .. }, DeltaKind::Thinking) => {
                let text = delta.thinking.unwrap_or_default();
                grow(thinking, &text)?;
                Ok(piece(text, ModelEvent::Reasoning))
            }
            (Self::Thinking { signature, .. }, DeltaKind::Signature) => {
                // It comes whole, so that a second one replaces the first.
                *signature = delta.signature.filter(|signature| !signature.is_empty());
                Ok(None)
            }
            (Self::ToolUse { json, .. } | Self::Opaque { json, .. }, DeltaKind::Input) => {
                grow(json, &delta.partial_json.unwrap_or_default())?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// What the whole block means.
    pub fn close(self, provider: &str) -> Option<ModelEvent> {
        let verbatim = |content| Verbatim { provider: provider.to_owned(), block: Value::Object(content) };
        match self {
            Self::Text { said } => said.then_some(ModelEvent::TextDone),
            Self::Thinking { content, thinking, signature } => {
                // Without its signature the provider would refuse the thought, so it is not kept for sending back.
                let signed = signature.map(|signature| verbatim(signed_thought(content, thinking, signature)));
                Some(ModelEvent::ReasoningDone { verbatim: signed })
            }
            Self::Redacted { content } => Some(ModelEvent::ReasoningDone { verbatim: Some(verbatim(content)) }),
            Self::ToolUse { mut content, json } => Some(ModelEvent::ToolCall {
                id: take_string(&mut content, "id"),
                name: take_string(&mut content, "name"),
                input: object_or_empty(written_input(&json).unwrap_or_else(|| take(&mut content, "input"))),
            }),
            Self::Opaque { mut content, json } => {
                if let Some(input) = written_input(&json) {
                    content.insert("input".to_owned(), Value::Object(object_or_empty(input)));
                }
                // A block without a type cannot be sent back.
                content.contains_key("type").then(|| ModelEvent::Opaque(verbatim(content)))
            }
        }
    }
}

fn signed_thought(mut content: Map<String, Value>, thinking: String, signature: String) -> Map<String, Value> {
    content.insert("thinking".to_owned(), Value::String(thinking));
    content.insert("signature".to_owned(), Value::String(signature));
    content
}

/// The input that the deltas spelled; `None` if there were none, so that the one the block began with counts.
fn written_input(json: &str) -> Option<Value> {
    (!json.trim().is_empty()).then(|| serde_json::from_str(json).unwrap_or_default())
}

fn object_or_empty(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn piece(text: String, event: fn(String) -> ModelEvent) -> Option<ModelEvent> {
    (!text.is_empty()).then(|| event(text))
}

fn grow(whole: &mut String, piece: &str) -> Result<(), BlockTooLarge> {
    if whole.len() + piece.len() > MAX_BLOCK_BYTES {
        return Err(BlockTooLarge);
    }
    whole.push_str(piece);
    Ok(())
}

fn take_string(content: &mut Map<String, Value>, name: &str) -> String {
    match take(content, name) {
        Value::String(text) => text,
        _ => String::new(),
    }
}

/// Leaves null behind, so that the order of the fields stays.
fn take(content: &mut Map<String, Value>, name: &str) -> Value {
    content.get_mut(name).map(Value::take).unwrap_or_default()
}
