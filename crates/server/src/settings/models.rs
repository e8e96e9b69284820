//! The `[models.NAME]` tables of `colloquy.toml`: servers that speak an API we know, under a name of the owner's.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use models::Prices;
use models::anthropic::{AnthropicConfig, Thinking};
use models::openai_chat::{OpenAiConfig, Vendor, vendors};
use toml::{Table, Value};

use super::file::File;
use super::{SettingsError, readers};
use crate::config::ModelServer;

pub(super) const KEY: &str = "models";
pub(super) const ANTHROPIC: &str = "anthropic";
pub(super) const OPENAI: &str = "openai";
/// Names that other providers have.
const TAKEN: [&str; 1] = ["demo"];
/// Longer silence is no patience any more, and shorter than the largest timer.
const MAX_TIMEOUT_S: u32 = 86_400;

type Environment = BTreeMap<OsString, OsString>;

/// One key of a `[models.NAME]` table.
#[derive(Debug)]
pub(super) struct ModelKey {
    pub key: &'static str,
    pub default: &'static str,
    /// Markdown, one line.
    pub help: &'static str,
    read: fn(&mut Draft, &Value, &Environment) -> Result<(), String>,
}

/// What the settings say of one server, whichever API it speaks. `None` is not said.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub kind: Kind,
    pub base_url: Option<String>,
    pub api_key: Option<String>,
    display_name: Option<String>,
    vendor: Option<Vendor>,
    models: Vec<String>,
    max_tokens: Option<u32>,
    context_window: Option<u64>,
    thinking: Thinking,
    reasoning_effort: Option<String>,
    betas: Vec<String>,
    idle_timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
    prices: BTreeMap<String, Prices>,
}

/// The API that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Anthropic,
    OpenAi,
}

pub(super) static MODEL_KEYS: &[ModelKey] = &[
    ModelKey {
        key: "kind",
        default: "required",
        help: "The API it speaks: `anthropic` (Messages) or `openai` (Chat Completions).",
        read: |server, value, _| {
            server.kind = match string(value)?.as_str() {
                ANTHROPIC => Kind::Anthropic,
                OPENAI => Kind::OpenAi,
                other => {
                    return Err(format!("this version does not support the kind {other:?}, only {ANTHROPIC:?} and {OPENAI:?}"));
                }
            };
            Ok(())
        },
    },
    ModelKey {
        key: "vendor",
        default: "the name, else `compatible`",
        help: "Whose server it is, where `kind` is `openai`: `openai`, `openrouter`, `deepseek`, `vllm`, `llama.cpp`, `ollama` or `compatible`. It brings the address and what is known of the server's ways.",
        read: |server, value, _| {
            let name = string(value)?;
            server.vendor = Some(Vendor::named(&name).ok_or_else(|| format!("there is no vendor {name:?}"))?);
            Ok(())
        },
    },
    ModelKey {
        key: "base_url",
        default: "the vendor's address",
        help: "Where the server is, with or without `/v1`.",
        read: |server, value, _| {
            server.base_url = Some(readers::base_url(&string(value)?)?);
            Ok(())
        },
    },
    ModelKey {
        key: "api_key",
        default: "none",
        help: "The key. A server of the kind `anthropic` that needs none still wants some text here.",
        read: |server, value, _| {
            server.api_key = Some(readers::key(&string(value)?)?);
            Ok(())
        },
    },
    ModelKey {
        key: "api_key_env",
        default: "none",
        help: "The environment variable that holds the key, instead of `api_key`.",
        read: |server, value, environment| {
            let name = string(value)?;
            let found = environment.get(OsStr::new(&name)).and_then(|key| key.to_str()).filter(|key| !key.is_empty());
            server.api_key = found.map(readers::key).transpose()?;
            Ok(())
        },
    },
    ModelKey {
        key: "display_name",
        default: "the name",
        help: "What people read.",
        read: |server, value, _| {
            server.display_name = Some(string(value)?);
            Ok(())
        },
    },
    ModelKey {
        key: "models",
        default: "none",
        help: "The models to offer, best first.",
        read: |server, value, _| {
            server.models = strings(value)?;
            Ok(())
        },
    },
    ModelKey {
        key: "max_output_tokens",
        default: "`8192`",
        help: "Tokens that one answer may have.",
        read: |server, value, _| {
            server.max_tokens = Some(positive(value)?);
            Ok(())
        },
    },
    ModelKey {
        key: "context_window",
        default: "`200000`; `128000` for `openai`",
        help: "Tokens that prompt and answer may have together.",
        read: |server, value, _| {
            server.context_window = Some(positive(value)?.into());
            Ok(())
        },
    },
    ModelKey {
        key: "thinking",
        default: "not said",
        help: "`\"off\"`, or `\"adaptive\"`: as much as the model finds right.",
        read: |server, value, _| {
            server.thinking = match string(value)?.as_str() {
                "off" => Thinking::Disabled,
                "adaptive" => Thinking::Adaptive,
                other => return Err(format!("{other:?} is neither off nor adaptive")),
            };
            Ok(())
        },
    },
    ModelKey {
        key: "thinking_budget",
        default: "none",
        help: "Tokens that the model may think, instead of `thinking`.",
        read: |server, value, _| {
            server.thinking = Thinking::Budget(positive(value)?);
            Ok(())
        },
    },
    ModelKey {
        key: "reasoning_effort",
        default: "not said",
        help: "How much a model of the kind `openai` may think: `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`.",
        read: |server, value, _| {
            let effort = string(value)?;
            if !["none", "minimal", "low", "medium", "high", "xhigh", "max"].contains(&effort.as_str()) {
                return Err(format!("{effort:?} is none of none, minimal, low, medium, high, xhigh, max"));
            }
            server.reasoning_effort = Some(effort);
            Ok(())
        },
    },
    ModelKey {
        key: "betas",
        default: "none",
        help: "Names for the `anthropic-beta` header.",
        read: |server, value, _| {
            server.betas = strings(value)?;
            Ok(())
        },
    },
    ModelKey {
        key: "idle_timeout_s",
        default: "`120`",
        help: "Seconds of silence after which a connection counts as broken. Local servers may need more.",
        read: |server, value, _| {
            server.idle_timeout = Some(seconds(value)?);
            Ok(())
        },
    },
    ModelKey {
        key: "connect_timeout_s",
        default: "`10`",
        help: "Seconds that connecting may take.",
        read: |server, value, _| {
            server.connect_timeout = Some(seconds(value)?);
            Ok(())
        },
    },
    ModelKey {
        key: "prices",
        default: "none",
        help: "US dollars per million tokens, by model: `prices.\"MODEL\" = { input = 3.0, output = 15.0, cache_read = 0.3, cache_write = 3.75 }`.",
        read: |server, value, _| {
            server.prices = prices(value)?;
            Ok(())
        },
    },
];

/// What is known of a vendor before anything is said.
pub(super) fn of_vendor(name: &str) -> Draft {
    Draft { kind: if name == OPENAI { Kind::OpenAi } else { Kind::Anthropic }, ..Draft::default() }
}

/// The servers of the file, and before them the vendors' own for which there is a key or a table.
pub(super) fn servers(
    file: &File,
    vendors: &BTreeMap<&'static str, Draft>,
    environment: &Environment,
) -> Result<Vec<ModelServer>, SettingsError> {
    let mut drafts: Vec<(String, Draft)> = Vec::new();
    for name in [ANTHROPIC, OPENAI] {
        drafts.extend(vendors.get(name).map(|draft| (name.to_owned(), draft.clone())));
    }
    for (name, table) in file.models()? {
        let draft = draft(file, name, table, vendors.get(name).cloned().unwrap_or_default(), environment)?;
        match drafts.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = draft,
            None => drafts.insert(if name == ANTHROPIC { 0 } else { drafts.len() }, (name.to_owned(), draft)),
        }
    }
    Ok(drafts.into_iter().map(|(name, draft)| draft.server(name)).collect())
}

fn draft(file: &File, name: &str, table: &Table, mut draft: Draft, environment: &Environment) -> Result<Draft, SettingsError> {
    let path = format!("{KEY}.{name}");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.chars().all(plain) || TAKEN.contains(&name) {
        return Err(file.wrong(&path, "the name is taken, or has more than letters, digits and -_."));
    }
    let known: HashSet<_> = MODEL_KEYS.iter().map(|key| key.key).collect();
    if let Some(unknown) = table.keys().find(|key| !known.contains(key.as_str())) {
        return Err(file.wrong(&format!("{path}.{unknown}"), "there is no such setting"));
    }
    for (one, other) in [("api_key", "api_key_env"), ("thinking", "thinking_budget")] {
        if table.contains_key(one) && table.contains_key(other) {
            return Err(file.wrong(&format!("{path}.{other}"), &format!("{one} is set as well; one of them is enough")));
        }
    }
    for ModelKey { key, default, read, .. } in MODEL_KEYS {
        match table.get(*key) {
            Some(value) => read(&mut draft, value, environment).map_err(|why| file.wrong(&format!("{path}.{key}"), &why))?,
            None if *default == "required" => return Err(file.wrong(&path, &format!("{key} is missing"))),
            None => {}
        }
    }
    Ok(draft)
}

impl Draft {
    fn server(self, name: String) -> ModelServer {
        match self.kind {
            Kind::Anthropic => ModelServer::Anthropic(self.anthropic(name)),
            Kind::OpenAi => ModelServer::OpenAi(self.openai(name)),
        }
    }

    fn anthropic(self, name: String) -> AnthropicConfig {
        let usual = AnthropicConfig::default();
        let shown = if name == usual.name { usual.display_name } else { name.clone() };
        AnthropicConfig {
            display_name: self.display_name.unwrap_or(shown),
            name,
            api_key: self.api_key,
            base_url: self.base_url.unwrap_or(usual.base_url),
            models: self.models,
            max_tokens: self.max_tokens.unwrap_or(usual.max_tokens),
            context_window: self.context_window.unwrap_or(usual.context_window),
            thinking: self.thinking,
            prices: self.prices,
            betas: self.betas,
            idle_timeout: self.idle_timeout.unwrap_or(usual.idle_timeout),
            connect_timeout: self.connect_timeout.unwrap_or(usual.connect_timeout),
            ..AnthropicConfig::default()
        }
    }

    fn openai(self, name: String) -> OpenAiConfig {
        let usual = OpenAiConfig::default();
        let vendor = self.vendor.or_else(|| Vendor::named(&name)).unwrap_or(vendors::COMPATIBLE);
        let shown = if name == vendor.name { vendor.display_name.to_owned() } else { name.clone() };
        OpenAiConfig {
            display_name: self.display_name.unwrap_or(shown),
            name,
            vendor,
            api_key: self.api_key,
            base_url: self.base_url,
            models: self.models,
            max_tokens: self.max_tokens.unwrap_or(usual.max_tokens),
            context_window: self.context_window.unwrap_or(usual.context_window),
            reasoning_effort: self.reasoning_effort,
            prices: self.prices,
            idle_timeout: self.idle_timeout.unwrap_or(usual.idle_timeout),
            connect_timeout: self.connect_timeout.unwrap_or(usual.connect_timeout),
            ..OpenAiConfig::default()
        }
    }
}

fn string(value: &Value) -> Result<String, String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(|| "expected a text".to_owned())
}

fn strings(value: &Value) -> Result<Vec<String>, String> {
    value.as_array().ok_or("expected a list of texts")?.iter().map(string).collect()
}

fn positive(value: &Value) -> Result<u32, String> {
    let number = value.as_integer().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| "expected a whole number above 0".to_owned())
}

fn seconds(value: &Value) -> Result<Duration, String> {
    let seconds = positive(value)?;
    if seconds > MAX_TIMEOUT_S {
        return Err(format!("expected at most {MAX_TIMEOUT_S} seconds"));
    }
    Ok(Duration::from_secs(seconds.into()))
}

fn prices(value: &Value) -> Result<BTreeMap<String, Prices>, String> {
    let models = value.as_table().ok_or("expected a table by model")?;
    models.iter().map(|(model, value)| Ok((model.clone(), model_prices(model, value)?))).collect()
}

fn model_prices(model: &str, value: &Value) -> Result<Prices, String> {
    let wrong = |what: &str| format!("{model:?} has no usable {what}");
    let table = value.as_table().ok_or_else(|| wrong("prices"))?;
    let price = |key: &str, absent: f64| match table.get(key) {
        None => Ok(absent),
        Some(Value::Float(price)) if price.is_finite() && *price >= 0.0 => Ok(*price),
        #[expect(clippy::cast_precision_loss, reason = "prices are far below 2^52")]
        Some(Value::Integer(price)) if *price >= 0 => Ok(*price as f64),
        Some(_) => Err(wrong(key)),
    };
    let known = ["input", "output", "cache_read", "cache_write"];
    if let Some(unknown) = table.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(wrong(unknown));
    }
    let input = price("input", 0.0)?;
    Ok(Prices {
        input,
        output: price("output", 0.0)?,
        cache_read: price("cache_read", input)?,
        cache_write: price("cache_write", input)?,
    })
}
