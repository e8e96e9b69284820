//! Everything the owner decided, as plain values. `settings` reads them from the outside; tests write them down.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use domain::egress::AllowList;
use domain::{ModelName, Project, Provider, Tool};
use engine::DataSet;
use models::{AnthropicConfig, OpenAiConfig};
use store::DatabaseUrl;

/// Where the web app and the APIs are when nothing else is said.
pub const DEFAULT_PORT: u16 = 8000;
/// Frames per second that one socket may send for long: far above typing, far below a flood.
pub const DEFAULT_SOCKET_RATE: u32 = 50;
/// The tracing filter.
pub const DEFAULT_LOG: &str = "info";

/// How a server is to be set up.
#[derive(Clone)]
pub struct ServerConfig {
    /// Port 0 picks a free one.
    pub listen: Vec<SocketAddr>,
    pub auth: Auth,
    /// Other origins that may call from a browser, each exactly as a browser spells it.
    pub origins: Vec<String>,
    pub public_url: Option<PublicUrl>,
    /// Database, token and address; made if it does not exist.
    pub data_dir: PathBuf,
    /// `None`: a file in the data directory.
    pub database: Option<DatabaseUrl>,
    /// What carries news between nodes that share a database; `None`: the database does.
    pub nats: Option<String>,
    /// The vendors' own servers, if there is a key for them or a table about them, and compatible ones, in this order.
    pub model_servers: Vec<ModelServer>,
    /// `None`: of the first provider with a key, else the demo.
    pub model: Option<ModelName>,
    /// The rules and what their data means.
    pub rules_file: Option<PathBuf>,
    /// What rules read; `None`: the sample data set in the data directory.
    pub rules_data: Option<DataSet>,
    /// Where tools work unless a conversation says otherwise.
    pub workdir: PathBuf,
    /// Private addresses that may be called though somebody else chose them.
    pub egress_allow: AllowList,
    /// What the assistant's conversations are about.
    pub projects: Vec<Project>,
    /// Whether the assistant API's own web client runs unchanged.
    pub assistant_compat: bool,
    /// Frames per second for one socket; 0 means no limit.
    pub socket_rate: u32,
    pub log: String,
    pub log_format: LogFormat,
    /// Providers that no setting names: tests and embedders bring their own. They come before all others.
    pub extra_providers: Vec<Arc<dyn Provider>>,
    /// Tools beside the product's own, likewise.
    pub extra_tools: Vec<Arc<dyn Tool>>,
}

/// A server that offers models, by the API it speaks.
#[derive(Debug, Clone)]
pub enum ModelServer {
    Anthropic(AnthropicConfig),
    OpenAi(OpenAiConfig),
}

/// Who may come in without proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Nobody.
    Token,
    /// Every program of this machine is the owner.
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The address under which others reach this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// As browsers spell it: `https://example.org:8443`.
    pub origin: String,
    /// Empty, or with a slash in front and none behind: `/colloquy`.
    pub prefix: String,
}

impl ServerConfig {
    /// The defaults, with everything that is kept in this directory and tools that work in the present one.
    #[must_use]
    pub fn in_directory(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: vec![(Ipv4Addr::LOCALHOST, DEFAULT_PORT).into()],
            auth: Auth::Token,
            origins: Vec::new(),
            public_url: None,
            data_dir: data_dir.into(),
            database: None,
            nats: None,
            model_servers: Vec::new(),
            model: None,
            rules_file: None,
            rules_data: None,
            workdir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            egress_allow: AllowList::default(),
            projects: Vec::new(),
            assistant_compat: false,
            socket_rate: DEFAULT_SOCKET_RATE,
            log: DEFAULT_LOG.to_owned(),
            log_format: LogFormat::Text,
            extra_providers: Vec::new(),
            extra_tools: Vec::new(),
        }
    }

    /// The defaults on a free port of this machine.
    #[must_use]
    pub fn on_free_port(data_dir: impl Into<PathBuf>) -> Self {
        Self { listen: vec![(Ipv4Addr::LOCALHOST, 0).into()], ..Self::in_directory(data_dir) }
    }

    /// The database, by default the file in the data directory.
    #[must_use]
    pub fn database(&self) -> DatabaseUrl {
        self.database.clone().unwrap_or_else(|| DatabaseUrl::Sqlite(self.data_dir.join("colloquy.db")))
    }

    /// The path under which a proxy shows this server, without a slash behind it; mostly empty.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.public_url.as_ref().map_or("", |url| &url.prefix)
    }

    /// Refuses what each setting allows but not all of them together.
    ///
    /// # Errors
    /// A line that names the setting.
    pub fn check(&self) -> Result<(), String> {
        let open = self.listen.iter().find(|address| !address.ip().to_canonical().is_loopback());
        match (self.auth, open) {
            (Auth::Off, Some(address)) => {
                Err(format!("COLLOQUY_AUTH: off is allowed only on loopback addresses, and COLLOQUY_LISTEN has {address}"))
            }
            _ if self.listen.is_empty() => Err("COLLOQUY_LISTEN: there is no address".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Leaves providers out, which hold keys.
impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("listen", &self.listen)
            .field("auth", &self.auth)
            .field("data_dir", &self.data_dir)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}
