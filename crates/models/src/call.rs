//! One request to a provider's server, up to the head of its answer: who answers, with which key, how long we wait.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::Clock;
use domain::sockets::language_model::{ModelError, ModelErrorKind};
use reqwest::header::HeaderValue;
use reqwest::{Client, RequestBuilder, Response, Url};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::errors;
use crate::http::{HttpClientError, http_client};
use crate::retry::RetryAdvice;

/// The model of a provider whose settings name none. Names of models age, so none stands in this program: the provider is
/// asked when its first answer is wanted.
pub(crate) const AUTO: &str = "auto";

/// What people wait for a list of models, or for the check of a key, before they get the answer without it.
pub(crate) const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(3);
/// A list of a thousand models is about 200 KiB.
const MAX_LIST_BYTES: usize = 4 * 1024 * 1024;
/// Of an error body only the type is read, which stands at its beginning.
const MAX_ERROR_BYTES: usize = 64 * 1024;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(2);
/// Shorter keys are not shown at all, since four characters would be most of them.
const MIN_MASKABLE_CHARS: usize = 12;

/// The line to one server.
pub(crate) struct Caller {
    pub display_name: String,
    pub clock: Arc<dyn Clock>,
    /// The status that an error body stands for, in this family's words.
    pub status_of: fn(&Value) -> Option<u16>,
    address: Url,
    connect_timeout: Duration,
    /// Made at the first request: reading the machine's root certificates takes milliseconds that a start can do without.
    client: OnceLock<Result<Client, HttpClientError>>,
    /// What [`AUTO`] stands for, once the provider has said it.
    auto: OnceCell<String>,
}

impl Caller {
    pub(crate) fn new(
        display_name: &str,
        address: Url,
        connect_timeout: Duration,
        clock: Arc<dyn Clock>,
        status_of: fn(&Value) -> Option<u16>,
    ) -> Self {
        let (client, auto) = (OnceLock::new(), OnceCell::new());
        Self { display_name: display_name.to_owned(), clock, status_of, address, connect_timeout, client, auto }
    }

    pub(crate) fn client(&self) -> Result<&Client, ModelError> {
        let made = self.client.get_or_init(|| http_client(&self.address, self.connect_timeout));
        made.as_ref().map_err(|_| errors::unreachable(&self.display_name))
    }

    /// Sends once and returns the response if its status is a success.
    pub(crate) async fn send(&self, request: RequestBuilder, patience: Duration) -> Result<Response, ModelError> {
        let response = match timeout(patience, request.send()).await {
            Err(_) => return Err(errors::silent(&self.display_name, patience.as_secs())),
            Ok(Err(error)) if error.is_connect() => return Err(errors::unreachable(&self.display_name)),
            Ok(Err(_)) => return Err(errors::broken(&self.display_name)),
            Ok(Ok(response)) => response,
        };
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// The ids in the list that `listing` asks for.
    pub(crate) async fn model_ids(&self, listing: RequestBuilder) -> Result<Vec<String>, ModelError> {
        let listing = async {
            let mut response = self.send(listing, LOOK_UP_TIMEOUT).await?;
            let body = read_bounded(&mut response, MAX_LIST_BYTES).await;
            let list = body.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
            model_ids(&list.unwrap_or_default()).ok_or_else(|| errors::unreadable(&self.display_name))
        };
        let silent = |_| Err(errors::silent(&self.display_name, LOOK_UP_TIMEOUT.as_secs()));
        timeout(LOOK_UP_TIMEOUT, listing).await.unwrap_or_else(silent)
    }

    /// The first model of those that the provider names. One that names none is asked for `auto`, and says itself what is
    /// wrong.
    pub(crate) async fn auto(&self, listing: impl AsyncFnOnce() -> Result<Vec<String>, ModelError>) -> &str {
        let first = async || listing().await?.into_iter().next().ok_or_else(|| errors::unreadable(&self.display_name));
        self.auto.get_or_try_init(first).await.map_or(AUTO, String::as_str)
    }

    /// A key as the value of a header that no log shows.
    pub(crate) fn secret(&self, text: &str) -> Result<HeaderValue, ModelError> {
        let mut value = HeaderValue::from_str(text).map_err(|_| {
            let sentence = format!("The API key for {} has characters that no key has.", self.display_name);
            errors::hopeless(ModelErrorKind::Auth, sentence)
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    pub(crate) fn keyless(&self) -> ModelError {
        errors::hopeless(ModelErrorKind::Auth, format!("{} has no API key in the settings.", self.display_name))
    }

    async fn refusal(&self, mut response: Response) -> ModelError {
        let status = response.status().as_u16();
        let advice = RetryAdvice::read(status, response.headers(), self.clock.now());
        let body = timeout(ERROR_BODY_TIMEOUT, read_bounded(&mut response, MAX_ERROR_BYTES)).await.ok().flatten();
        let body: Value = body.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
        let cause = (self.status_of)(&body).unwrap_or(status);
        errors::refused_because(&self.display_name, status, cause, advice)
    }
}

/// The configured models, the default one first; [`AUTO`] if there is none.
pub(crate) fn listed(default_model: Option<&String>, models: &[String]) -> Vec<String> {
    let mut listed: Vec<String> = Vec::new();
    for model in default_model.into_iter().chain(models) {
        if !listed.contains(model) {
            listed.push(model.clone());
        }
    }
    if listed.is_empty() {
        listed.push(AUTO.to_owned());
    }
    listed
}

/// `***` and the last four characters.
pub(crate) fn masked(key: &str) -> String {
    let chars = key.chars().count();
    let shown = if chars < MIN_MASKABLE_CHARS { 0 } else { 4 };
    format!("***{}", key.chars().skip(chars - shown).collect::<String>())
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

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn a_key_shows_its_end_only() {
        assert_eq!(masked("sk-ant-0123456789abcd"), "***abcd");
        assert_eq!(masked("short"), "***");
        assert_eq!(masked(""), "***");
    }
}
