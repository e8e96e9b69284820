//! What the settings say about a server that speaks Chat Completions.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::Url;

use super::vendors::{OPENAI, Vendor};
use crate::anthropic::{DEFAULT_CONNECT_TIMEOUT, DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_TOKENS};
use crate::prices::Prices;

/// Tokens of prompt and answer that every current hosted model takes; small local ones need it set.
pub const DEFAULT_CONTEXT_WINDOW: u64 = 128_000;

/// One server: the vendor's own, or a compatible one under another name.
#[derive(Clone)]
pub struct OpenAiConfig {
    /// In settings, model names and stored blocks.
    pub name: String,
    /// In lists and sentences.
    pub display_name: String,
    pub vendor: Vendor,
    /// A vendor that needs one is listed without it, but does not answer.
    pub api_key: Option<String>,
    /// With or without `/v1`; may have a path. `None`: the vendor's own.
    pub base_url: Option<String>,
    pub default_model: Option<String>,
    pub models: Vec<String>,
    /// Tokens.
    pub max_tokens: u32,
    /// Tokens.
    pub context_window: u64,
    /// `none` to `max`, as the model knows them; `None`: not said.
    pub reasoning_effort: Option<String>,
    /// By model id.
    pub prices: BTreeMap<String, Prices>,
    /// No byte for this long is a broken connection.
    pub idle_timeout: Duration,
    pub connect_timeout: Duration,
}

impl Default for OpenAiConfig {
    fn default() -> Self {
        Self {
            name: OPENAI.name.to_owned(),
            display_name: OPENAI.display_name.to_owned(),
            vendor: OPENAI,
            api_key: None,
            base_url: None,
            default_model: None,
            models: Vec::new(),
            max_tokens: DEFAULT_MAX_TOKENS,
            context_window: DEFAULT_CONTEXT_WINDOW,
            reasoning_effort: None,
            prices: BTreeMap::new(),
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
        }
    }
}

/// Leaves the key out, and the address, which may hold one.
impl fmt::Debug for OpenAiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiConfig").field("name", &self.name).field("models", &self.models).finish_non_exhaustive()
    }
}

/// The settings cannot work. The sentence names neither the address nor the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the base URL of the model provider is missing, or no http or https address")]
pub struct OpenAiConfigError;

/// The addresses of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoints {
    pub completions: Url,
    pub models: Url,
}

impl Endpoints {
    /// An address whose path does not end in a version gets `/v1`.
    pub fn below(base_url: &str) -> Result<Self, OpenAiConfigError> {
        let base = Url::parse(base_url.trim()).map_err(|_| OpenAiConfigError)?;
        let fits = matches!(base.scheme(), "http" | "https") && base.query().is_none() && base.fragment().is_none();
        if !fits {
            return Err(OpenAiConfigError);
        }
        let path = base.path().trim_end_matches('/');
        let version = if path.rsplit('/').next().is_some_and(is_version) { "" } else { "/v1" };
        let at = |end: &str| {
            let mut url = base.clone();
            url.set_path(&format!("{path}{version}/{end}"));
            url
        };
        Ok(Self { completions: at("chat/completions"), models: at("models") })
    }
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::{Endpoints, OpenAiConfigError};

    #[test]
    fn the_base_url_may_be_written_in_many_ways() {
        for (base, completions) in [
            ("https://api.openai.com", "https://api.openai.com/v1/chat/completions"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"),
            ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/chat/completions"),
            ("https://host/v1beta/openai", "https://host/v1beta/openai/v1/chat/completions"),
            ("https://host/openai/v2", "https://host/openai/v2/chat/completions"),
        ] {
            assert_eq!(Endpoints::below(base).expect("an address").completions.as_str(), completions, "{base}");
        }
        for base in ["", "api.openai.com", "ftp://host", "https://host/?a=b"] {
            assert_eq!(Endpoints::below(base), Err(OpenAiConfigError), "{base}");
        }
    }
}
