//! The servers that speak Chat Completions, a row for each: what differs between them is data, not code.

/// What is known of one vendor's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vendor {
    /// In settings.
    pub name: &'static str,
    pub display_name: &'static str,
    /// `None`: the settings must say where it is.
    pub base_url: Option<&'static str>,
    pub needs_key: bool,
    pub forces: Forces,
    pub limit_field: LimitField,
    /// Whether a request that offers tools may ask for a stream. Where not, the answer comes in one piece.
    pub streams_tools: bool,
    /// Whether it accepts `stream_options`; others would refuse the request.
    pub reports_usage: bool,
}

/// How a server is told that a certain tool must be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forces {
    /// By its name.
    ByName,
    /// That some tool must be called; then only that one is offered.
    SomeTool,
    /// It cannot be told.
    Nothing,
}

/// What the limit of an answer's tokens is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitField {
    MaxTokens,
    MaxCompletionTokens,
}

/// A server of which nothing is known but that it speaks the API.
pub const COMPATIBLE: Vendor = Vendor {
    name: "compatible",
    display_name: "OpenAI-compatible server",
    base_url: None,
    needs_key: false,
    forces: Forces::ByName,
    limit_field: LimitField::MaxTokens,
    streams_tools: true,
    reports_usage: true,
};

pub const OPENAI: Vendor = Vendor {
    name: "openai",
    display_name: "OpenAI",
    base_url: Some("https://api.openai.com/v1"),
    needs_key: true,
    limit_field: LimitField::MaxCompletionTokens,
    ..COMPATIBLE
};

pub const VENDORS: [Vendor; 7] = [
    OPENAI,
    Vendor {
        name: "openrouter",
        display_name: "OpenRouter",
        base_url: Some("https://openrouter.ai/api/v1"),
        needs_key: true,
        ..COMPATIBLE
    },
    Vendor {
        name: "deepseek",
        display_name: "DeepSeek",
        base_url: Some("https://api.deepseek.com/v1"),
        needs_key: true,
        ..COMPATIBLE
    },
    Vendor { name: "vllm", display_name: "vLLM", base_url: Some("http://127.0.0.1:8000/v1"), ..COMPATIBLE },
    // A named tool is silently taken for `auto`.
    Vendor {
        name: "llama.cpp",
        display_name: "llama.cpp",
        base_url: Some("http://127.0.0.1:8080/v1"),
        forces: Forces::SomeTool,
        ..COMPATIBLE
    },
    // Some versions drop tool calls from a stream.
    Vendor {
        name: "ollama",
        display_name: "Ollama",
        base_url: Some("http://127.0.0.1:11434/v1"),
        forces: Forces::Nothing,
        streams_tools: false,
        ..COMPATIBLE
    },
    COMPATIBLE,
];

impl Vendor {
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        VENDORS.into_iter().find(|vendor| vendor.name == name)
    }
}
