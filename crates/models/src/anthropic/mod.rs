//! The Messages API. [`request`] builds the JSON and [`stream`] reads the answer, both pure; the HTTP is here and in
//! `answer.rs`.

mod answer;
mod block;
mod config;
mod errors;
mod names;
pub mod request;
pub mod stream;
mod wire;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use domain::sockets::language_model::{ModelError, ModelErrorKind, ModelRequest, ModelStream};
use domain::{Clock, LanguageModel, ModelName, Provider, Usage};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::timeout;

pub use config::{
    AnthropicConfig, AnthropicConfigError, DEFAULT_BASE_URL, DEFAULT_CONNECT_TIMEOUT, DEFAULT_CONTEXT_WINDOW,
    DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_TOKENS, Prices,
};
pub use request::Thinking;
pub use stream::AnswerReader;

use crate::http::{HttpClientError, http_client};
use crate::retry::RetryAdvice;
use config::{Endpoints, masked};
use request::RequestOptions;

const API_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");
/// What people wait for a list of models, or for the check of a key, before they get the answer without it.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(3);
/// A list of a thousand models is about 200 KiB.
const MAX_LIST_BYTES: usize = 4 * 1024 * 1024;
/// Of an error body only the type is read, which stands at its beginning.
const MAX_ERROR_BYTES: usize = 64 * 1024;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// A server that speaks the Messages API, as the settings describe it.
pub struct Anthropic {
    server: Arc<Server>,
}

/// The model of a provider whose settings name none. Names of models age, so none stands in this program: the provider is
/// asked when its first answer is wanted.
pub const AUTO: &str = "auto";

struct Server {
    config: AnthropicConfig,
    endpoints: Endpoints,
    betas: Option<HeaderValue>,
    clock: Arc<dyn Clock>,
    /// Made at the first request: reading the machine's root certificates takes milliseconds that a start can do without.
    client: OnceLock<Result<Client, HttpClientError>>,
    /// What [`AUTO`] stands for, once the provider has said it.
    auto: OnceCell<String>,
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
        Ok(Self { server: Arc::new(Server { config, endpoints, betas, clock, client: OnceLock::new(), auto: OnceCell::new() }) })
    }
}

#[async_trait]
impl Provider for Anthropic {
    fn name(&self) -> &str {
        &self.server.config.name
    }

    fn display_name(&self) -> &str {
        self.server.display_name()
    }

    fn is_configured(&self) -> bool {
        self.server.config.api_key.is_some()
    }

    fn listed_models(&self) -> Vec<String> {
        let AnthropicConfig { default_model, models, .. } = &self.server.config;
        let mut listed: Vec<String> = Vec::new();
        for model in default_model.iter().chain(models) {
            if !listed.contains(model) {
                listed.push(model.clone());
            }
        }
        if listed.is_empty() {
            listed.push(AUTO.to_owned());
        }
        listed
    }

    fn list_is_closed(&self) -> bool {
        false
    }

    fn masked_key(&self) -> Option<String> {
        self.server.config.api_key.as_deref().map(masked)
    }

    async fn live_models(&self) -> Result<Vec<String>, ModelError> {
        let server = &self.server;
        server.look_up(server.own_key()?).await
    }

    async fn check_key(&self, key: &str) -> Result<(), ModelError> {
        self.server.list_models(key).await.map(drop)
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
        let model = if self.name.model == AUTO { server.auto().await } else { &self.name.model };
        let options = RequestOptions { provider: &config.name, model, max_tokens: config.max_tokens, thinking: config.thinking };
        let body = request::body(&request, options).map_err(|_| {
            let sentence = "The conversation could not be written as a request.".to_owned();
            crate::errors::hopeless(ModelErrorKind::Rejected, sentence)
        })?;
        let post = server
            .client()?
            .post(server.endpoints.messages.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream")
            .body(body);
        let response = server.send(post, server.own_key()?, config.idle_timeout).await?;
        let reader = AnswerReader::new(&config.name, &config.display_name);
        Ok(Box::pin(answer::Answer::new(response, reader, config.display_name.clone(), config.idle_timeout)))
    }
}

impl Server {
    fn display_name(&self) -> &str {
        &self.config.display_name
    }

    fn own_key(&self) -> Result<&str, ModelError> {
        self.config.api_key.as_deref().ok_or_else(|| {
            let sentence = format!("{} has no API key in the settings.", self.display_name());
            crate::errors::hopeless(ModelErrorKind::Auth, sentence)
        })
    }

    fn client(&self) -> Result<&Client, ModelError> {
        self.client
            .get_or_init(|| http_client(&self.endpoints.messages, self.config.connect_timeout))
            .as_ref()
            .map_err(|_| crate::errors::unreachable(self.display_name()))
    }

    /// The ids of the models that the server names for this key.
    /// The first model that the provider names. One that names none is asked for `auto`, and says itself what is wrong.
    async fn auto(&self) -> &str {
        let first = async || {
            self.look_up(self.own_key()?).await?.into_iter().next().ok_or_else(|| crate::errors::unreadable(self.display_name()))
        };
        self.auto.get_or_try_init(first).await.map_or(AUTO, String::as_str)
    }

    async fn look_up(&self, key: &str) -> Result<Vec<String>, ModelError> {
        let listing = async {
            let mut response = self.list_models(key).await?;
            let body = read_bounded(&mut response, MAX_LIST_BYTES).await;
            let list = body.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
            model_ids(&list.unwrap_or_default()).ok_or_else(|| crate::errors::unreadable(self.display_name()))
        };
        timeout(LOOK_UP_TIMEOUT, listing).await.unwrap_or_else(|_| Err(self.silent(LOOK_UP_TIMEOUT)))
    }

    async fn list_models(&self, key: &str) -> Result<Response, ModelError> {
        let get = self.client()?.get(self.endpoints.models.clone()).header(ACCEPT, "application/json");
        self.send(get, key, LOOK_UP_TIMEOUT).await
    }

    /// Sends once and returns the response if its status is a success.
    async fn send(&self, request: RequestBuilder, key: &str, patience: Duration) -> Result<Response, ModelError> {
        let request = request.headers(self.headers(key)?);
        let response = match timeout(patience, request.send()).await {
            Err(_) => return Err(self.silent(patience)),
            Ok(Err(error)) if error.is_connect() => return Err(crate::errors::unreachable(self.display_name())),
            Ok(Err(_)) => return Err(crate::errors::broken(self.display_name())),
            Ok(Ok(response)) => response,
        };
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    fn headers(&self, key: &str) -> Result<HeaderMap, ModelError> {
        let mut key = HeaderValue::from_str(key).map_err(|_| {
            let sentence = format!("The API key for {} has characters that no key has.", self.display_name());
            crate::errors::hopeless(ModelErrorKind::Auth, sentence)
        })?;
        key.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", key);
        headers.insert("anthropic-version", API_VERSION);
        if let Some(betas) = &self.betas {
            headers.insert("anthropic-beta", betas.clone());
        }
        Ok(headers)
    }

    async fn refusal(&self, mut response: Response) -> ModelError {
        let status = response.status().as_u16();
        let advice = RetryAdvice::read(status, response.headers(), self.clock.now());
        let body = timeout(ERROR_BODY_TIMEOUT, read_bounded(&mut response, MAX_ERROR_BYTES)).await.ok().flatten();
        let body: Value = body.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
        let cause = errors::status_of(&body).unwrap_or(status);
        crate::errors::refused_because(self.display_name(), status, cause, advice)
    }

    fn silent(&self, patience: Duration) -> ModelError {
        crate::errors::silent(self.display_name(), patience.as_secs())
    }
}

impl fmt::Debug for Anthropic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.config.fmt(f)
    }
}

/// `None` if the body is larger than that, or breaks off.
async fn read_bounded(response: &mut Response, max_bytes: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > max_bytes {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

fn model_ids(list: &Value) -> Option<Vec<String>> {
    let models = list["data"].as_array()?;
    Some(models.iter().filter_map(|model| model["id"].as_str()).map(str::to_owned).collect())
}
