//! The Chat Completions API, as OpenAI and many others serve it. [`request`] builds the JSON and [`stream`] reads the answer,
//! both pure; [`vendors`] is the table of what differs; the HTTP is here.

mod calls;
mod config;
mod errors;
pub mod request;
pub mod stream;
pub mod vendors;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use domain::sockets::language_model::{ModelError, ModelErrorKind, ModelRequest, ModelStream};
use domain::{Clock, LanguageModel, ModelName, Provider, Usage};
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};

pub use config::{DEFAULT_CONTEXT_WINDOW, OpenAiConfig, OpenAiConfigError};
pub use stream::AnswerReader;
pub use vendors::Vendor;

use crate::answer::Answer;
use crate::call::{AUTO, Caller, LOOK_UP_TIMEOUT, listed, masked};
use config::Endpoints;
use request::RequestOptions;

/// A server that speaks Chat Completions, as the settings describe it.
pub struct OpenAiChat {
    server: Arc<Server>,
}

struct Server {
    config: OpenAiConfig,
    endpoints: Endpoints,
    caller: Caller,
    /// Answers so far: with the time of the start it makes ids for calls that come without one.
    answers: AtomicU64,
    started_at: i64,
}

struct OpenAiModel {
    name: ModelName,
    server: Arc<Server>,
}

impl OpenAiChat {
    /// # Errors
    /// There is no usable address.
    pub fn new(config: OpenAiConfig, clock: Arc<dyn Clock>) -> Result<Self, OpenAiConfigError> {
        let base_url = config.base_url.as_deref().or(config.vendor.base_url).ok_or(OpenAiConfigError)?;
        let endpoints = Endpoints::below(base_url)?;
        let started_at = clock.now().0;
        let address = endpoints.completions.clone();
        let caller = Caller::new(&config.display_name, address, config.connect_timeout, clock, errors::status_of);
        Ok(Self { server: Arc::new(Server { config, endpoints, caller, answers: AtomicU64::new(0), started_at }) })
    }
}

#[async_trait]
impl Provider for OpenAiChat {
    fn name(&self) -> &str {
        &self.server.config.name
    }

    fn display_name(&self) -> &str {
        &self.server.config.display_name
    }

    fn is_configured(&self) -> bool {
        self.server.config.api_key.is_some() || !self.server.config.vendor.needs_key
    }

    fn listed_models(&self) -> Vec<String> {
        listed(self.server.config.default_model.as_ref(), &self.server.config.models)
    }

    fn list_is_closed(&self) -> bool {
        false
    }

    fn masked_key(&self) -> Option<String> {
        self.server.config.api_key.as_deref().map(masked)
    }

    async fn live_models(&self) -> Result<Vec<String>, ModelError> {
        self.server.live_models().await
    }

    async fn check_key(&self, key: &str) -> Result<(), ModelError> {
        self.server.caller.send(self.server.listing(Some(key))?, LOOK_UP_TIMEOUT).await.map(drop)
    }

    fn model(&self, id: &str) -> Option<Arc<dyn LanguageModel>> {
        let name = ModelName::new(self.server.config.name.as_str(), id);
        Some(Arc::new(OpenAiModel { name, server: Arc::clone(&self.server) }))
    }
}

#[async_trait]
impl LanguageModel for OpenAiModel {
    fn name(&self) -> &ModelName {
        &self.name
    }

    fn context_window(&self) -> u64 {
        self.server.config.context_window
    }

    fn cost(&self, usage: &Usage) -> Option<f64> {
        self.server.config.prices.get(&self.name.model).map(|prices| prices.cost(usage))
    }

    async fn ask(&self, request: ModelRequest) -> Result<ModelStream, ModelError> {
        let server = &self.server;
        let config = &server.config;
        let key = server.own_key()?;
        let model = match self.name.model.as_str() {
            AUTO => server.caller.auto(async || server.live_models().await).await,
            model => model,
        };
        let reasoning_effort = config.reasoning_effort.as_deref();
        let options = RequestOptions { vendor: config.vendor, model, max_tokens: config.max_tokens, reasoning_effort };
        let accept = if options.streams(&request) { "text/event-stream" } else { "application/json" };
        let body = request::body(&request, options).map_err(|_| {
            let sentence = "The conversation could not be written as a request.".to_owned();
            crate::errors::hopeless(ModelErrorKind::Rejected, sentence)
        })?;
        let address = server.endpoints.completions.clone();
        let post =
            server.caller.client()?.post(address).header(CONTENT_TYPE, "application/json").header(ACCEPT, accept).body(body);
        let response = server.caller.send(server.signed(post, key)?, config.idle_timeout).await?;
        let reader = AnswerReader::new(&server.answer_id(), &config.display_name);
        Ok(Box::pin(Answer::new(response, reader, config.display_name.clone(), config.idle_timeout)))
    }
}

impl Server {
    fn own_key(&self) -> Result<Option<&str>, ModelError> {
        match self.config.api_key.as_deref() {
            None if self.config.vendor.needs_key => Err(self.caller.keyless()),
            key => Ok(key),
        }
    }

    fn answer_id(&self) -> String {
        format!("{:x}_{:x}", self.started_at, self.answers.fetch_add(1, Ordering::Relaxed))
    }

    async fn live_models(&self) -> Result<Vec<String>, ModelError> {
        self.caller.model_ids(self.listing(self.own_key()?)?).await
    }

    fn listing(&self, key: Option<&str>) -> Result<RequestBuilder, ModelError> {
        let get = self.caller.client()?.get(self.endpoints.models.clone()).header(ACCEPT, "application/json");
        self.signed(get, key)
    }

    fn signed(&self, request: RequestBuilder, key: Option<&str>) -> Result<RequestBuilder, ModelError> {
        Ok(match key {
            Some(key) => request.header(AUTHORIZATION, self.caller.secret(&format!("Bearer {key}"))?),
            None => request,
        })
    }
}

impl fmt::Debug for OpenAiChat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.config.fmt(f)
    }
}
