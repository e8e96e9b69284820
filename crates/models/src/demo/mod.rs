//! A model that needs no key: deterministic, open about what it is, and driving the real tools, so that the product can
//! be seen and tested anywhere.

mod answer;
mod command;
mod rules;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::sockets::language_model::{ModelError, ModelErrorKind, ModelRequest, ModelStream};
use domain::{LanguageModel, ModelName, Provider, Usage};
use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use answer::{Beat, Pause};

const PROVIDER: &str = "demo";
const MODEL: &str = "demo";
/// Tokens. Nothing is computed from the prompt, so any size would do.
const CONTEXT_WINDOW: u64 = 200_000;

/// How fast the demo model speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoPace {
    /// Before each word.
    pub word: Duration,
    /// Before each number of a slow count.
    pub number: Duration,
}

impl DemoPace {
    /// Without any pause, for tests.
    pub const AT_ONCE: Self = Self { word: Duration::ZERO, number: Duration::ZERO };
}

/// Slow enough to be seen, fast enough to be read.
impl Default for DemoPace {
    fn default() -> Self {
        Self { word: Duration::from_millis(20), number: Duration::from_millis(300) }
    }
}

/// The provider `demo` with its one model `demo/demo`.
#[derive(Debug)]
pub struct Demo {
    model: Arc<DemoModel>,
}

#[derive(Debug)]
struct DemoModel {
    name: ModelName,
    pace: DemoPace,
}

impl Demo {
    #[must_use]
    pub fn new(pace: DemoPace) -> Self {
        Self { model: Arc::new(DemoModel { name: ModelName::new(PROVIDER, MODEL), pace }) }
    }
}

impl Default for Demo {
    fn default() -> Self {
        Self::new(DemoPace::default())
    }
}

#[async_trait]
impl Provider for Demo {
    fn name(&self) -> &str {
        PROVIDER
    }

    fn display_name(&self) -> &str {
        "Demo"
    }

    fn is_configured(&self) -> bool {
        true
    }

    fn listed_models(&self) -> Vec<String> {
        vec![MODEL.to_owned()]
    }

    fn list_is_closed(&self) -> bool {
        true
    }

    fn masked_key(&self) -> Option<String> {
        None
    }

    async fn live_models(&self) -> Result<Vec<String>, ModelError> {
        Ok(self.listed_models())
    }

    async fn check_key(&self, _key: &str) -> Result<(), ModelError> {
        Err(crate::errors::hopeless(ModelErrorKind::Auth, "The demo model takes no API key.".to_owned()))
    }

    fn model(&self, id: &str) -> Option<Arc<dyn LanguageModel>> {
        (id == MODEL).then(|| Arc::clone(&self.model) as Arc<dyn LanguageModel>)
    }
}

#[async_trait]
impl LanguageModel for DemoModel {
    fn name(&self) -> &ModelName {
        &self.name
    }

    fn context_window(&self) -> u64 {
        CONTEXT_WINDOW
    }

    fn cost(&self, _usage: &Usage) -> Option<f64> {
        Some(0.0)
    }

    async fn ask(&self, request: ModelRequest) -> Result<ModelStream, ModelError> {
        let pace = self.pace;
        let beats = stream::iter(answer::answer(&request));
        Ok(Box::pin(beats.then(move |Beat { pause, event }| async move {
            let pause = pace.of(pause);
            if !pause.is_zero() {
                sleep(pause).await;
            }
            Ok(event)
        })))
    }
}

impl DemoPace {
    fn of(self, pause: Pause) -> Duration {
        match pause {
            Pause::None => Duration::ZERO,
            Pause::Word => self.word,
            Pause::Number => self.number,
        }
    }
}
