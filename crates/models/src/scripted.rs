//! A model that says what a test wrote down for it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::sockets::language_model::{ModelError, ModelErrorKind, ModelEvent, ModelRequest, ModelStream, Role, StopReason};
use domain::{LanguageModel, ModelName, PartBody, Provider, Usage};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::errors;
use crate::retry::RetryAdvice;

const DISPLAY_NAME: &str = "The scripted model";
const CONTEXT_WINDOW: u64 = 200_000;
/// Tokens that every request is said to have had; the answer counts one for each piece.
const INPUT_TOKENS: u64 = 10;

/// Steps in the order in which they are used, across all requests.
///
/// One request uses an optional `{"reasoning":[pieces]}`, an optional `{"text":[pieces]}`, all
/// `{"tool":{id,name,input}}` that follow directly, and an optional `{"stop":"max_tokens"}`. A step that does not come
/// next in this order belongs to the next request. `{"error":{status,message,after?}}` is a request that fails, with
/// the pieces of `after` streamed before. A piece is a string, `{"pause":"name"}` or `{"sleep_ms":n}`.
#[derive(Debug, Clone, Default)]
pub struct Script {
    steps: VecDeque<Step>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Reasoning(Vec<Piece>),
    Text(Vec<Piece>),
    Tool { id: String, name: String, input: Map<String, Value> },
    Stop(Stop),
    Error(Refusal),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Piece {
    Said(String),
    Wait(Wait),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wait {
    Pause(String),
    SleepMs(u64),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stop {
    EndTurn,
    ToolUse,
    MaxTokens,
    PauseTurn,
    Refusal,
    ModelContextWindowExceeded,
}

/// Its `message` stands for the body of a vendor, which nobody ever sees.
#[derive(Debug, Clone, Deserialize)]
struct Refusal {
    status: u16,
    #[serde(default)]
    after: Vec<Piece>,
}

/// The steps are not in the form that [`Script`] describes.
#[derive(Debug, thiserror::Error)]
#[error("step {number} of the script: {reason}")]
pub struct ScriptError {
    /// From 1.
    number: usize,
    reason: serde_json::Error,
}

impl Script {
    pub fn from_json(steps: &[Value]) -> Result<Self, ScriptError> {
        let read =
            |(index, step): (usize, &Value)| Step::deserialize(step).map_err(|reason| ScriptError { number: index + 1, reason });
        Ok(Self { steps: steps.iter().enumerate().map(read).collect::<Result<_, _>>()? })
    }

    /// Takes the steps of one request off; `None` if no step is left. A request that forces a tool uses one call at most.
    fn next_request(&mut self, forces_a_tool: bool) -> Option<Vec<Step>> {
        let first = self.steps.pop_front()?;
        let mut place = first.place();
        let mut request = vec![first];
        while let Some(next) = self.steps.front().map(Step::place)
            && (next > place || next == place && next == Place::Tool && !forces_a_tool)
            && place != Place::Error
            && next != Place::Error
        {
            request.extend(self.steps.pop_front());
            place = next;
        }
        Some(request)
    }
}

/// Where a step stands within its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Reasoning,
    Text,
    Tool,
    Stop,
    Error,
}

impl Step {
    fn place(&self) -> Place {
        match self {
            Self::Reasoning(_) => Place::Reasoning,
            Self::Text(_) => Place::Text,
            Self::Tool { .. } => Place::Tool,
            Self::Stop(_) => Place::Stop,
            Self::Error(_) => Place::Error,
        }
    }
}

/// A provider whose models all speak from one script, and that remembers what it was asked.
#[derive(Debug, Clone)]
pub struct Scripted {
    name: String,
    models: Vec<String>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    script: Mutex<Script>,
    requests: Mutex<Vec<ModelRequest>>,
    released: Mutex<HashSet<String>>,
    /// Wakes all who wait at a pause.
    release: Notify,
}

/// What one request contained, in the words of the transcripts.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenRequest {
    /// `user` and `assistant`, in order.
    pub roles: Vec<&'static str>,
    /// Of the last message: its tool results as an array of strings if it has any, else its text as a string.
    pub last: Value,
}

impl Scripted {
    /// The provider `scripted` with the model `scripted/scripted`.
    #[must_use]
    pub fn new(script: Script) -> Self {
        Self::named("scripted", &["scripted"], script)
    }

    /// Stands in for another provider; every model id is offered.
    #[must_use]
    pub fn named(name: &str, models: &[&str], script: Script) -> Self {
        let state = State { script: Mutex::new(script), ..State::default() };
        let models = models.iter().map(|model| (*model).to_owned()).collect();
        Self { name: name.to_owned(), models, state: Arc::new(state) }
    }

    /// Adds steps behind those that are left.
    pub fn push_steps(&self, steps: &[Value]) -> Result<(), ScriptError> {
        let more = Script::from_json(steps)?;
        lock(&self.state.script).steps.extend(more.steps);
        Ok(())
    }

    /// Lets everything go on that waits at the pause of this name, and whatever comes to it later.
    pub fn release(&self, name: &str) {
        lock(&self.state.released).insert(name.to_owned());
        self.state.release.notify_waiters();
    }

    /// Every request so far, the failed ones too, the oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        lock(&self.state.requests).iter().map(seen).collect()
    }

    /// The same, in full.
    #[must_use]
    pub fn full_requests(&self) -> Vec<ModelRequest> {
        lock(&self.state.requests).clone()
    }

    /// Steps that no request has used yet.
    #[must_use]
    pub fn steps_left(&self) -> usize {
        lock(&self.state.script).steps.len()
    }
}

#[async_trait]
impl Provider for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    fn display_name(&self) -> &str {
        DISPLAY_NAME
    }

    fn is_configured(&self) -> bool {
        true
    }

    fn listed_models(&self) -> Vec<String> {
        self.models.clone()
    }

    fn list_is_closed(&self) -> bool {
        false
    }

    fn masked_key(&self) -> Option<String> {
        None
    }

    async fn live_models(&self) -> Result<Vec<String>, ModelError> {
        Ok(self.models.clone())
    }

    async fn check_key(&self, _key: &str) -> Result<(), ModelError> {
        Ok(())
    }

    fn model(&self, id: &str) -> Option<Arc<dyn LanguageModel>> {
        let name = ModelName::new(self.name.as_str(), id);
        Some(Arc::new(ScriptedModel { name, state: Arc::clone(&self.state) }))
    }
}

struct ScriptedModel {
    name: ModelName,
    state: Arc<State>,
}

#[async_trait]
impl LanguageModel for ScriptedModel {
    fn name(&self) -> &ModelName {
        &self.name
    }

    fn context_window(&self) -> u64 {
        CONTEXT_WINDOW
    }

    fn cost(&self, _usage: &Usage) -> Option<f64> {
        None
    }

    async fn ask(&self, request: ModelRequest) -> Result<ModelStream, ModelError> {
        let forces_a_tool = request.forced_tool.is_some();
        lock(&self.state.requests).push(request);
        let steps = lock(&self.state.script).next_request(forces_a_tool);
        let beats = match steps.as_deref() {
            None => return Err(errors::hopeless(ModelErrorKind::Rejected, format!("{DISPLAY_NAME} has no step left."))),
            Some([Step::Error(refusal)]) if refusal.after.is_empty() => return Err(refusal.error()),
            Some(steps) => beats(steps),
        };
        let state = Arc::clone(&self.state);
        Ok(Box::pin(stream::iter(beats).filter_map(move |beat| {
            let state = Arc::clone(&state);
            async move { state.play(beat).await }
        })))
    }
}

/// What a stream does next.
enum Beat {
    Wait(Wait),
    Give(Result<ModelEvent, ModelError>),
}

impl State {
    async fn play(&self, beat: Beat) -> Option<Result<ModelEvent, ModelError>> {
        match beat {
            Beat::Give(event) => return Some(event),
            Beat::Wait(Wait::SleepMs(millis)) => sleep(Duration::from_millis(millis)).await,
            Beat::Wait(Wait::Pause(name)) => self.wait_for(&name).await,
        }
        None
    }

    async fn wait_for(&self, name: &str) {
        loop {
            // Listens before it looks, so that a release in between is not missed.
            let mut release = std::pin::pin!(self.release.notified());
            release.as_mut().enable();
            if lock(&self.released).contains(name) {
                return;
            }
            release.await;
        }
    }
}

impl Refusal {
    fn error(&self) -> ModelError {
        errors::refused(DISPLAY_NAME, self.status, RetryAdvice::of_status(self.status))
    }
}

fn beats(steps: &[Step]) -> Vec<Beat> {
    let mut beats = Vec::new();
    let mut stop = StopReason::EndTurn;
    for step in steps {
        match step {
            Step::Reasoning(pieces) => {
                beats.extend(pieces.iter().map(|piece| piece.beat(ModelEvent::Reasoning)));
                beats.push(Beat::Give(Ok(ModelEvent::ReasoningDone { verbatim: None })));
            }
            Step::Text(pieces) => {
                // Providers count the prompt before they say anything.
                beats.push(counted(0));
                beats.extend(pieces.iter().map(|piece| piece.beat(ModelEvent::Text)));
                // A block that was never opened is not closed.
                if pieces.iter().any(|piece| matches!(piece, Piece::Said(_))) {
                    beats.push(Beat::Give(Ok(ModelEvent::TextDone)));
                }
            }
            Step::Tool { id, name, input } => {
                stop = StopReason::ToolUse;
                let call = ModelEvent::ToolCall { id: id.clone(), name: name.clone(), input: input.clone() };
                beats.push(Beat::Give(Ok(call)));
            }
            Step::Stop(reason) => stop = reason.reason(),
            Step::Error(refusal) => {
                beats.extend(refusal.after.iter().map(|piece| piece.beat(ModelEvent::Text)));
                beats.push(Beat::Give(Err(refusal.error())));
                return beats;
            }
        }
    }
    let pieces = beats.iter().filter(|beat| matches!(beat, Beat::Give(Ok(ModelEvent::Text(_))))).count();
    beats.push(counted(u64::try_from(pieces).unwrap_or(u64::MAX)));
    beats.push(Beat::Give(Ok(ModelEvent::Finished(stop))));
    beats
}

fn counted(output: u64) -> Beat {
    Beat::Give(Ok(ModelEvent::Usage(Usage { input: INPUT_TOKENS, output, ..Usage::default() })))
}

impl Piece {
    fn beat(&self, event: fn(String) -> ModelEvent) -> Beat {
        match self {
            Self::Said(text) => Beat::Give(Ok(event(text.clone()))),
            Self::Wait(wait) => Beat::Wait(wait.clone()),
        }
    }
}

impl Stop {
    fn reason(self) -> StopReason {
        match self {
            Self::EndTurn => StopReason::EndTurn,
            Self::ToolUse => StopReason::ToolUse,
            Self::MaxTokens => StopReason::MaxTokens,
            Self::PauseTurn => StopReason::Paused,
            Self::Refusal => StopReason::Refused,
            Self::ModelContextWindowExceeded => StopReason::ContextWindowExceeded,
        }
    }
}

fn seen(request: &ModelRequest) -> SeenRequest {
    let role = |role: Role| match role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let parts = request.messages.last().map(|message| message.parts.as_slice()).unwrap_or_default();
    let results: Vec<Value> = parts
        .iter()
        .filter_map(|part| match part {
            PartBody::ToolResult(result) => Some(Value::from(result.output.as_str())),
            _ => None,
        })
        .collect();
    let texts: Vec<&str> = parts
        .iter()
        .filter_map(|part| match part {
            PartBody::Text { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    SeenRequest {
        roles: request.messages.iter().map(|message| role(message.role)).collect(),
        last: if results.is_empty() { Value::from(texts.join("\n")) } else { Value::Array(results) },
    }
}

/// A panic elsewhere leaves nothing half done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
