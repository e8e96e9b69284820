//! The one event that comes thousands of times in an answer, read without building a tree.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(super) struct BlockDelta {
    #[serde(default)]
    pub index: u64,
    pub delta: DeltaBody,
}

/// Only the field that belongs to `kind` counts. Each is taken as it is: the text travels on without another copy.
#[derive(Debug, Default, Deserialize)]
pub(super) struct DeltaBody {
    #[serde(rename = "type")]
    pub kind: DeltaKind,
    #[serde(default)]
    pub text: Option<String>,
    #[serde(default)]
    pub partial_json: Option<String>,
    #[serde(default)]
    pub thinking: Option<String>,
    #[serde(default)]
    pub signature: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(super) enum DeltaKind {
    #[serde(rename = "text_delta")]
    Text,
    #[serde(rename = "input_json_delta")]
    Input,
    #[serde(rename = "thinking_delta")]
    Thinking,
    #[serde(rename = "signature_delta")]
    Signature,
    /// Citations, and what is still to be invented.
    #[default]
    #[serde(other)]
    Other,
}
