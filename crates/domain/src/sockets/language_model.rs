//! One streaming method; everything else derives from it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::sockets::tool::ToolSpec;
use crate::{FailureCode, PartBody, Usage};

/// `provider/model`: which model of which provider. The model's part may contain further slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModelName {
    pub provider: String,
    pub model: String,
}

impl ModelName {
    #[must_use]
    pub fn new(provider: impl Into<String>, model: impl Into<String>) -> Self {
        Self { provider: provider.into(), model: model.into() }
    }

    /// Splits at the first slash; `None` if either side is empty.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (provider, model) = text.split_once('/')?;
        (!provider.is_empty() && !model.is_empty()).then(|| Self::new(provider, model))
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// One callable model.
#[async_trait]
pub trait LanguageModel: Send + Sync + 'static {
    fn name(&self) -> &ModelName;

    /// Tokens that prompt and answer may have together.
    fn context_window(&self) -> u64;

    /// US dollars for this usage; `None` if the price is not known.
    fn cost(&self, usage: &Usage) -> Option<f64>;

    /// Asks once, without retrying. The error of a request that was refused is returned here or is the stream's first
    /// item; one that comes later is an item too. The stream ends after [`ModelEvent::Finished`] or an error; dropping
    /// it aborts the request.
    async fn ask(&self, request: ModelRequest) -> Result<ModelStream, ModelError>;
}

pub type ModelStream = Pin<Box<dyn Stream<Item = Result<ModelEvent, ModelError>> + Send>>;

/// What a model is asked: a pure function of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    pub system: String,
    /// Roles alternate, beginning with [`Role::User`]; every tool call is answered in the message after it.
    pub messages: Vec<PromptMessage>,
    pub tools: Vec<ToolSpec>,
    /// The tool of `tools` that the answer must call, for an answer of a fixed shape. A provider that cannot force a call
    /// merely offers the tool, so whoever forces one must also read an answer in words, and check the input either way.
    pub forced_tool: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    User,
    Assistant,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PromptMessage {
    pub role: Role,
    pub parts: Vec<PartBody>,
}

/// What a model says, in the order in which it says it, in words that no vendor owns.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelEvent {
    /// The next piece of a text block; a first one opens the block.
    Text(String),
    /// The open text block is whole. What follows in another [`Text`](Self::Text) is a new block.
    TextDone,
    /// The next piece of a thought.
    Reasoning(String),
    /// The open thought is whole; a thought without readable text has only this.
    ReasoningDone { verbatim: Option<Verbatim> },
    /// A tool call is complete. Input that was no JSON object is given as an empty one.
    ToolCall { id: String, name: String, input: Map<String, Value> },
    /// A block that only its own provider understands; kept and sent back.
    Opaque(Verbatim),
    /// What the request has used so far; the last one counts.
    Usage(Usage),
    /// The last event.
    Finished(StopReason),
}

/// A provider's own block, to be sent back to that provider unchanged and to no other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verbatim {
    pub provider: String,
    pub block: Value,
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// It had said what it had to say.
    EndTurn,
    /// It waits for the results of its tool calls.
    ToolUse,
    MaxTokens,
    /// The provider's own loop took a break: send the answer back as it is to let the model go on.
    Paused,
    Refused,
    /// The prompt and the answer no longer fit.
    ContextWindowExceeded,
}

/// A request that failed, as the engine needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct ModelError {
    pub kind: ModelErrorKind,
    /// A sentence for people, of our own words: provider and status, never the provider's body.
    pub sentence: String,
    /// Whether asking again may help, by the provider's own word or by the nature of the failure.
    pub retryable: bool,
    /// How long the provider asks us to wait.
    pub retry_after_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelErrorKind {
    /// Overloaded, broken or silent.
    Unavailable,
    RateLimited,
    /// The key is wrong, or missing, or may not do this.
    Auth,
    /// The request itself was refused.
    Rejected,
    /// The stream ended without its end.
    Truncated,
}

impl ModelErrorKind {
    #[must_use]
    pub const fn failure_code(self) -> FailureCode {
        match self {
            Self::Unavailable => FailureCode::ProviderUnavailable,
            Self::RateLimited => FailureCode::ProviderRateLimited,
            Self::Auth => FailureCode::ProviderAuth,
            Self::Rejected => FailureCode::ProviderRejected,
            Self::Truncated => FailureCode::ProviderTruncated,
        }
    }
}

/// The vendor or server that offers models.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// The name in settings and on the wire: `anthropic`, `demo`.
    fn name(&self) -> &str;

    fn display_name(&self) -> &str;

    /// Whether everything that answering needs (a key, an address) is set.
    fn is_configured(&self) -> bool;

    /// The models that the settings name, best first.
    fn listed_models(&self) -> Vec<String>;

    /// Whether only the listed models exist here.
    fn list_is_closed(&self) -> bool;

    /// The key as it may be shown: `***` and the last four characters.
    fn masked_key(&self) -> Option<String>;

    /// The models that the provider itself names now.
    async fn live_models(&self) -> Result<Vec<String>, ModelError>;

    /// Asks the provider whether it accepts the key. The key is forgotten afterwards.
    async fn check_key(&self, key: &str) -> Result<(), ModelError>;

    /// The model of that id; `None` if the list is closed and does not have it.
    fn model(&self, id: &str) -> Option<Arc<dyn LanguageModel>>;
}
