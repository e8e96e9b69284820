//! The `[models.NAME]` tables of `colloquy.toml`: servers that speak an API we know, under a name of the owner's.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use models::AnthropicConfig;
use models::anthropic::{Prices, Thinking};
use toml::{Table, Value};

use super::file::File;
use super::{SettingsError, readers};

pub(super) const KEY: &str = "models";
/// The only kind so far.
const ANTHROPIC: &str = "anthropic";
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
    read: fn(&mut AnthropicConfig, &Value, &Environment) -> Result<(), String>,
}

pub(super) static MODEL_KEYS: &[ModelKey] = &[
    ModelKey {
        key: "kind",
        default: "required",
        help: "The API it speaks. This version knows `anthropic`.",
        read: |_, value, _| match string(value)?.as_str() {
            ANTHROPIC => Ok(()),
            other => Err(format!("this version does not support the kind {other:?}, only {ANTHROPIC:?}")),
        },
    },
    ModelKey {
        key: "base_url",
        default: "the vendor's address",
        help: "Where the server is, with or without `/v1`.",
        read: |server, value, _| {
            server.base_url = readers::base_url(&string(value)?)?;
            Ok(())
        },
    },
    ModelKey {
        key: "api_key",
        default: "none",
        help: "The key. A server that needs none still wants some text here.",
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
            server.display_name = string(value)?;
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
            server.max_tokens = positive(value)?;
            Ok(())
        },
    },
    ModelKey {
        key: "context_window",
        default: "`200000`",
        help: "Tokens that prompt and answer may have together.",
        read: |server, value, _| {
            server.context_window = positive(value)?.into();
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
            server.idle_timeout = seconds(value)?;
            Ok(())
        },
    },
    ModelKey {
        key: "connect_timeout_s",
        default: "`10`",
        help: "Seconds that connecting may take.",
        read: |server, value, _| {
            server.connect_timeout = seconds(value)?;
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

/// The servers of the file, and before them the vendor's own if there is a key for it or a table about it.
pub(super) fn servers(
    file: &File,
    vendor: Option<AnthropicConfig>,
    environment: &Environment,
) -> Result<Vec<AnthropicConfig>, SettingsError> {
    let mut servers: Vec<_> = vendor.clone().into_iter().collect();
    for (name, table) in file.models()? {
        let server = server(file, name, table, &vendor, environment)?;
        servers.retain(|other| other.name != server.name);
        servers.insert(if name == ANTHROPIC { 0 } else { servers.len() }, server);
    }
    Ok(servers)
}

fn server(
    file: &File,
    name: &str,
    table: &Table,
    vendor: &Option<AnthropicConfig>,
    environment: &Environment,
) -> Result<AnthropicConfig, SettingsError> {
    let path = format!("{KEY}.{name}");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.chars().all(plain) || TAKEN.contains(&name) {
        return Err(file.wrong(&path, "the name is taken, or has more than letters, digits and -_."));
    }
    let known: HashSet<_> = MODEL_KEYS.iter().map(|key| key.key).collect();
    if let Some(unknown) = table.keys().find(|key| !known.contains(key.as_str())) {
        return Err(file.wrong(&format!("{path}.{unknown}"), "there is no such setting"));
    }
    let mut server = match vendor {
        Some(vendor) if name == ANTHROPIC => vendor.clone(),
        _ if name == ANTHROPIC => AnthropicConfig::default(),
        _ => AnthropicConfig { name: name.to_owned(), display_name: name.to_owned(), ..AnthropicConfig::default() },
    };
    for (one, other) in [("api_key", "api_key_env"), ("thinking", "thinking_budget")] {
        if table.contains_key(one) && table.contains_key(other) {
            return Err(file.wrong(&format!("{path}.{other}"), &format!("{one} is set as well; one of them is enough")));
        }
    }
    for ModelKey { key, default, read, .. } in MODEL_KEYS {
        match table.get(*key) {
            Some(value) => read(&mut server, value, environment).map_err(|why| file.wrong(&format!("{path}.{key}"), &why))?,
            None if *default == "required" => return Err(file.wrong(&path, &format!("{key} is missing"))),
            None => {}
        }
    }
    Ok(server)
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
