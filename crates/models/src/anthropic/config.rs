//! What the settings say about an Anthropic server.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::Url;

use super::request::Thinking;
use crate::prices::Prices;

pub const DEFAULT_BASE_URL: &str = "https://api.anthropic.com";
/// Tokens of one answer: a long file fits, a model gone wild does not.
pub const DEFAULT_MAX_TOKENS: u32 = 8_192;
/// Tokens of prompt and answer that every current model takes.
pub const DEFAULT_CONTEXT_WINDOW: u64 = 200_000;
/// The vendor pings every few seconds, so that this much silence means a broken connection. Local servers think longer.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Far above a handshake over a bad line, far below a person's patience.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One server that speaks the Messages API: the vendor's own, or a compatible one under another name.
#[derive(Clone)]
pub struct AnthropicConfig {
    /// In settings, model names and stored blocks.
    pub name: String,
    /// In lists and sentences.
    pub display_name: String,
    /// Without it the provider is listed but does not answer.
    pub api_key: Option<String>,
    /// With or without `/v1` and slashes at its end; may have a path.
    pub base_url: String,
    /// Stands first in the list.
    pub default_model: Option<String>,
    pub models: Vec<String>,
    /// Tokens.
    pub max_tokens: u32,
    /// Tokens.
    pub context_window: u64,
    pub thinking: Thinking,
    /// By model id.
    pub prices: BTreeMap<String, Prices>,
    /// Sent as `anthropic-beta`.
    pub betas: Vec<String>,
    /// No byte for this long, pings included, is a broken connection.
    pub idle_timeout: Duration,
    pub connect_timeout: Duration,
}

impl Default for AnthropicConfig {
    fn default() -> Self {
        Self {
            name: "anthropic".to_owned(),
            display_name: "Anthropic".to_owned(),
            api_key: None,
            base_url: DEFAULT_BASE_URL.to_owned(),
            default_model: None,
            models: Vec::new(),
            max_tokens: DEFAULT_MAX_TOKENS,
            context_window: DEFAULT_CONTEXT_WINDOW,
            thinking: Thinking::default(),
            prices: BTreeMap::new(),
            betas: Vec::new(),
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
        }
    }
}

/// Leaves the key out, and the address, which may hold one.
impl fmt::Debug for AnthropicConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnthropicConfig").field("name", &self.name).field("models", &self.models).finish_non_exhaustive()
    }
}

/// The settings cannot work. The sentences name neither the address nor the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnthropicConfigError {
    #[error("the base URL of the model provider is not an http or https address")]
    BaseUrl,
    #[error("the names of beta features may hold only visible ASCII characters")]
    Betas,
}

/// The addresses of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoints {
    pub messages: Url,
    pub models: Url,
}

impl Endpoints {
    pub fn below(base_url: &str) -> Result<Self, AnthropicConfigError> {
        let base = Url::parse(base_url.trim()).map_err(|_| AnthropicConfigError::BaseUrl)?;
        let fits = matches!(base.scheme(), "http" | "https") && base.query().is_none() && base.fragment().is_none();
        if !fits {
            return Err(AnthropicConfigError::BaseUrl);
        }
        let path = base.path().trim_end_matches('/');
        let path = path.strip_suffix("/v1").unwrap_or(path).trim_end_matches('/');
        let at = |end: &str| {
            let mut url = base.clone();
            url.set_path(&format!("{path}/v1/{end}"));
            url
        };
        let mut models = at("models");
        models.set_query(Some("limit=1000"));
        Ok(Self { messages: at("messages"), models })
    }
}

#[cfg(test)]
mod tests {
    use super::{AnthropicConfigError, Endpoints};

    #[test]
    fn the_base_url_may_be_written_in_many_ways() {
        for (base, messages) in [
            ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
            ("https://api.anthropic.com/", "https://api.anthropic.com/v1/messages"),
            ("https://api.anthropic.com/v1", "https://api.anthropic.com/v1/messages"),
            ("https://api.anthropic.com/v1//", "https://api.anthropic.com/v1/messages"),
            ("http://127.0.0.1:4010/proxy/anthropic/", "http://127.0.0.1:4010/proxy/anthropic/v1/messages"),
            ("http://127.0.0.1:4010/xv1", "http://127.0.0.1:4010/xv1/v1/messages"),
        ] {
            assert_eq!(Endpoints::below(base).expect("an address").messages.as_str(), messages, "{base}");
        }
        for base in ["", "api.anthropic.com", "ftp://host", "file:///etc", "https://", "https://host/?a=b", "https://h#x"] {
            assert_eq!(Endpoints::below(base), Err(AnthropicConfigError::BaseUrl), "{base}");
        }
    }
}
