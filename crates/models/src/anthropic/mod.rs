//! The Messages API. [`request`] builds the JSON and [`stream`] reads the answer, both pure; the HTTP is here.

mod block;
mod config;
mod errors;
pub mod request;
pub mod stream;
mod wire;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::sockets::language_model::{ModelError, ModelErrorKind, ModelRequest, ModelStream};
use domain::{Clock, LanguageModel, ModelName, Provider, Usage};
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};

pub use crate::prices::Prices;
pub use config::{
    AnthropicConfig, AnthropicConfigError, DEFAULT_BASE_URL, DEFAULT_CONNECT_TIMEOUT, DEFAULT_CONTEXT_WINDOW,
    DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_TOKENS,
};
pub use request::Thinking;
pub use stream::AnswerReader;

use crate::answer::Answer;
use crate::call::{AUTO, Caller, LOOK_UP_TIMEOUT, listed, masked};
use config::Endpoints;
use request::RequestOptions;

const API_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// A server that speaks the Messages API, as the settings describe it.
pub struct Anthropic {
    server: Arc<Server>,
}

struct Server {
    config: AnthropicConfig,
    endpoints: Endpoints,
    betas: Option<HeaderValue>,
    caller: Caller,
}

struct AnthropicModel {
    name: ModelName,
    server: Arc<Server>,
}

impl Anthropic {
    /// `clock` is asked only when the provider names a date to wait for.
    pub fn new(config: AnthropicConfig, clock: Arc<dyn Clock>) -> Result<Self, AnthropicConfigError> {
        let endpoints = Endpoints::below(&config.base_url)?;
        let betas = match config.betas.as_slice() {
            [] => None,
            betas => Some(HeaderValue::from_str(&betas.join(",")).map_err(|_| AnthropicConfigError::Betas)?),
        };
        let address = endpoints.messages.clone();
        let caller = Caller::new(&config.display_name, address, config.connect_timeout, clock, errors::status_of);
        Ok(Self { server: Arc::new(Server { config, endpoints, betas, caller }) })
    }
}

#[async_trait]
impl Provider for Anthropic {
    fn name(&self) -> &str {
        &self.server.config.name
    }

    fn display_name(&self) -> &str {
        &self.server.config.display_name
    }

    fn is_configured(&self) -> bool {
        self.server.config.api_key.is_some()
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
        self.server.caller.send(self.server.listing(key)?, LOOK_UP_TIMEOUT).await.map(drop)
    }

    fn model(&self, id: &str) -> Option<Arc<dyn LanguageModel>> {
        let name = ModelName::new(self.server.config.name.as_str(), id);
        Some(Arc::new(AnthropicModel { name, server: Arc::clone(&self.server) }))
    }
}

#[async_trait]
impl LanguageModel for AnthropicModel {
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
        let model = match self.name.model.as_str() {
            AUTO => server.caller.auto(async || server.live_models().await).await,
            model => model,
        };
        let options = RequestOptions { provider: &config.name, model, max_tokens: config.max_tokens, thinking: config.thinking };
        let body = request::body(&request, options).map_err(|_| {
            let sentence = "The conversation could not be written as a request.".to_owned();
            crate::errors::hopeless(ModelErrorKind::Rejected, sentence)
        })?;
        let post = server
            .caller
            .client()?
            .post(server.endpoints.messages.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream")
            .body(body);
        let response = server.caller.send(server.signed(post, server.own_key()?)?, config.idle_timeout).await?;
        let reader = AnswerReader::new(&config.name, &config.display_name);
        Ok(Box::pin(Answer::new(response, reader, config.display_name.clone(), config.idle_timeout)))
    }
}

impl Server {
    fn own_key(&self) -> Result<&str, ModelError> {
        self.config.api_key.as_deref().ok_or_else(|| self.caller.keyless())
    }

    async fn live_models(&self) -> Result<Vec<String>, ModelError> {
        self.caller.model_ids(self.listing(self.own_key()?)?).await
    }

    fn listing(&self, key: &str) -> Result<RequestBuilder, ModelError> {
        let get = self.caller.client()?.get(self.endpoints.models.clone()).header(ACCEPT, "application/json");
        self.signed(get, key)
    }

    fn signed(&self, request: RequestBuilder, key: &str) -> Result<RequestBuilder, ModelError> {
        let request = request.header("x-api-key", self.caller.secret(key)?).header("anthropic-version", API_VERSION);
        Ok(match &self.betas {
            Some(betas) => request.header("anthropic-beta", betas.clone()),
            None => request,
        })
    }
}

impl fmt::Debug for Anthropic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.config.fmt(f)
    }
}
