//! Puts the floors together: settings in, a running server out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use channels::egress::{GuardedClient, SystemResolver};
use domain::egress::EgressRules;
use domain::sockets::egress::Egress;
use domain::{Clock, ModelName, Provider, SystemClock};
use engine::jobs::Kinds;
use engine::{Catalogue, Engine, Parts, RulesData, RulesFile, RulesResults, RulesSetup};
use faces::{App, AuthMode, Boundary};
use models::{Anthropic, Demo, OpenAiChat};
use store::{DatabaseUrl, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{Auth, ModelServer, ServerConfig};
use crate::data_dir::{self, DataDir, DataDirError, NodeNote};
use crate::serve::{self, Server};
use crate::sharing;
use crate::web::WebApp;

/// How long stopping may take altogether. Supervisors kill what takes longer: systemd after 90 s, Kubernetes after 30 s.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
/// How long running turns may go on meanwhile; the rest is for storing what they leave.
const TURN_PATIENCE_MS: u64 = 20_000;

/// How long the server before this one may take to let go of the database, once it has stopped answering.
const DATABASE_PATIENCE: Duration = Duration::from_secs(1);
const DATABASE_RETRY: Duration = Duration::from_millis(20);

const DEMO: &str = "demo";

/// A server that accepts connections. Dropping it stops it at once, [`Running::shut_down`] with care.
#[derive(Debug)]
pub struct Running {
    /// With the ports that were chosen for port 0.
    pub addresses: Vec<SocketAddr>,
    pub owner_token: String,
    /// Good once, and for 10 minutes. `None`: nobody needs to sign in.
    pub sign_in_link: Option<String>,
    /// Sentences that whoever started the server should read.
    pub notes: Vec<String>,
    pub engine: Engine,
    data_dir: DataDir,
    drain: CancellationToken,
    server: Server,
    /// Held for as long as this server runs.
    _node_note: Option<NodeNote>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// One line that names the setting.
    #[error("{0}")]
    Settings(String),
    #[error("DATABASE_URL: {0}")]
    Database(#[from] store::OpenError),
    #[error("COLLOQUY_DATA_DIR: {0}")]
    DataDir(#[from] DataDirError),
    #[error("COLLOQUY_LISTEN: cannot listen on {address}: {reason}")]
    Listen { address: SocketAddr, reason: std::io::Error },
    #[error("the engine did not start: {0}")]
    Engine(#[from] engine::Error),
}

/// Starts a server. When this returns, it accepts connections.
///
/// # Errors
/// Something is set up wrong; there is no fall-back.
pub async fn start(config: ServerConfig) -> Result<Running, StartError> {
    config.check().map_err(StartError::Settings)?;
    let data_dir = DataDir::create(&config.data_dir)?;
    let owner_token = data_dir.token_or_new()?;
    let (listeners, addresses) = listen(&config.listen)?;
    let boundary = boundary(&config)?;
    boundary.set_listening(&addresses);

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut notes = Vec::new();
    let store = open_store(&config.database(), &mut notes).await?;
    let providers = providers(&config, &clock)?;
    let default_model = default_model(&config, &providers, &mut notes)?;
    let settings = engine::Settings {
        workdir: config.workdir.clone(),
        data_dir: Some(config.data_dir.clone()),
        projects: config.projects.clone(),
        owner_token_hash: data_dir::token_hash(&owner_token),
        hub: hub_settings(&config, &data_dir, &addresses)?,
        rules: rules_setup(&config)?,
    };
    let surveyor = Arc::new(tools::ProjectSurveyor::default());
    let mut tools = tools::read_tools();
    tools.extend(tools::web_tools(Arc::clone(&settings.hub.outside.egress)));
    tools.extend(config.extra_tools.iter().cloned());
    let catalogue = Catalogue::new(providers, tools, default_model).with_surveyor(surveyor);
    let (nodes, node_note) = sharing::nodes(&config, &store, &data_dir, &addresses, &mut notes).await?;
    let engine = Engine::start_among(Parts { store, clock, catalogue, settings }, Kinds::ours(), nodes).await?;

    let drain = CancellationToken::new();
    let web = Router::new().fallback(web_app).with_state(WebApp::new(config.prefix()));
    let app = App {
        engine: engine.clone(),
        boundary,
        drain: drain.clone(),
        socket_rate: config.socket_rate,
        hub: faces::hub::Hub::default(),
        assistant: faces::assistant::Assistant::new(config.assistant_compat),
        web,
    };
    say_panics();
    let server = Server::start(listeners, faces::router(app), config.prefix());
    if let Some(address) = addresses.first() {
        data_dir.note_address(*address)?;
    }
    let sign_in_link = (config.auth == Auth::Token).then(|| sign_in_link(&engine, &addresses)).flatten();
    Ok(Running { addresses, owner_token, sign_in_link, notes, engine, data_dir, drain, server, _node_note: node_note })
}

impl Running {
    /// Stops: no new connections, streams end and sockets close, running turns may finish, what is open is stored.
    pub async fn shut_down(self) {
        self.server.stop_accepting();
        self.forget_address();
        self.drain.cancel();
        let finished = async { tokio::join!(self.engine.drain(TURN_PATIENCE_MS), self.server.close()) };
        if tokio::time::timeout(DRAIN_DEADLINE, finished).await.is_err() {
            tracing::warn!("stopping took too long, so what is still open is cut off");
        }
    }

    /// The first address, as a URL without a slash behind it.
    #[must_use]
    pub fn url(&self) -> String {
        self.addresses.first().map(|address| format!("http://{}", data_dir::reachable(*address))).unwrap_or_default()
    }

    fn forget_address(&self) {
        if let Some(address) = self.addresses.first() {
            self.data_dir.forget_address(*address);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drain.cancel();
        self.forget_address();
    }
}

fn listen(addresses: &[SocketAddr]) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), StartError> {
    let mut listeners = Vec::new();
    let mut bound = Vec::new();
    for address in addresses {
        let failed = |reason| StartError::Listen { address: *address, reason };
        let listener = serve::bind(*address).map_err(failed)?;
        bound.push(listener.local_addr().map_err(failed)?);
        listeners.push(listener);
    }
    Ok((listeners, bound))
}

fn boundary(config: &ServerConfig) -> Result<Boundary, StartError> {
    let auth = match config.auth {
        Auth::Token => AuthMode::Token,
        Auth::Off => AuthMode::Off,
    };
    let public = config.public_url.as_ref().map(|url| url.origin.as_str());
    Boundary::new(auth, public, &config.origins).map_err(|error| StartError::Settings(format!("COLLOQUY_ORIGINS: {error}")))
}

fn hub_settings(config: &ServerConfig, data_dir: &DataDir, addresses: &[SocketAddr]) -> Result<engine::HubSettings, StartError> {
    let is_reachable_by_others = config.listen.iter().any(|address| !address.ip().to_canonical().is_loopback());
    let rules = EgressRules::new(config.egress_allow.clone(), addresses.to_vec());
    let client = GuardedClient::new(rules, Arc::new(SystemResolver)).map_err(|error| StartError::Settings(error.to_string()))?;
    let egress: Arc<dyn Egress> = Arc::new(client);
    Ok(engine::HubSettings {
        seal_key: data_dir.seal_key_or_new()?,
        is_sign_in_off: config.auth == Auth::Off,
        is_reachable_by_others,
        outside: engine::Outside {
            agents: Arc::new(channels::AgentWebhook::new(Arc::clone(&egress))),
            channels: channels::connectors(&egress),
            egress,
        },
        public_url: config.public_url.as_ref().map(|url| format!("{}{}", url.origin, url.prefix)),
    })
}

async fn open_store(url: &DatabaseUrl, notes: &mut Vec<String>) -> Result<Store, StartError> {
    match url {
        DatabaseUrl::SqliteInMemory => {
            notes.push("database: in memory only, so everything is lost when the server stops".to_owned());
        }
        DatabaseUrl::Sqlite(path) => {
            let failed = |error: std::io::Error| store::OpenError::Failed { path: path.clone(), reason: error.to_string() };
            data_dir::ensure_private_file(path).map_err(failed)?;
        }
        DatabaseUrl::Postgres(_) => {}
    }
    let give_up = Instant::now() + DATABASE_PATIENCE;
    loop {
        match Store::open(url) {
            Err(store::OpenError::InUse(_)) if Instant::now() < give_up => tokio::time::sleep(DATABASE_RETRY).await,
            opened => {
                let store = opened?;
                notes.extend_from_slice(store.warnings());
                return Ok(store);
            }
        }
    }
}

/// Every provider, those that come first being preferred.
pub(crate) fn providers(config: &ServerConfig, clock: &Arc<dyn Clock>) -> Result<Vec<Arc<dyn Provider>>, StartError> {
    let mut providers = config.extra_providers.clone();
    for server in &config.model_servers {
        providers.push(provider(server, clock)?);
    }
    providers.push(Arc::new(Demo::default()));
    Ok(providers)
}

fn provider(server: &ModelServer, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Provider>, StartError> {
    let wrong = |name: &str, error: String| StartError::Settings(format!("models.{name}: {error}"));
    Ok(match server {
        ModelServer::Anthropic(config) => {
            Arc::new(Anthropic::new(config.clone(), Arc::clone(clock)).map_err(|error| wrong(&config.name, error.to_string()))?)
        }
        ModelServer::OpenAi(config) => {
            Arc::new(OpenAiChat::new(config.clone(), Arc::clone(clock)).map_err(|error| wrong(&config.name, error.to_string()))?)
        }
    })
}

/// A rules file that is broken stops the start.
fn rules_setup(config: &ServerConfig) -> Result<RulesSetup, StartError> {
    let sample = RulesSetup::sample(&config.data_dir);
    let read = |path: &PathBuf| {
        let wrong = |error| StartError::Settings(format!("COLLOQUY_RULES_FILE: {}: {error}", path.display()));
        Ok::<_, StartError>((path.clone(), RulesFile::load(path).map_err(wrong)?))
    };
    let file = config.rules_file.as_ref().map(read).transpose()?;
    let data = config.rules_data.clone().map_or(sample.data, RulesData::Own);
    let results = match &config.database {
        Some(DatabaseUrl::Postgres(url)) => RulesResults::Postgres(url.clone()),
        Some(DatabaseUrl::Sqlite(_) | DatabaseUrl::SqliteInMemory) | None => sample.results,
    };
    Ok(RulesSetup { data, file, results })
}

fn default_model(
    config: &ServerConfig,
    providers: &[Arc<dyn Provider>],
    notes: &mut Vec<String>,
) -> Result<ModelName, StartError> {
    let model = match &config.model {
        Some(model) => model.clone(),
        None => first_model(providers),
    };
    let Some(provider) = providers.iter().find(|provider| provider.name() == model.provider) else {
        return Err(StartError::Settings(format!("COLLOQUY_MODEL: there is no provider {:?}", model.provider)));
    };
    if provider.model(&model.model).is_none() {
        let line = format!("COLLOQUY_MODEL: {} has no model {:?}", model.provider, model.model);
        return Err(StartError::Settings(line));
    }
    if model.provider == DEMO {
        notes.push(
            "model: the demo answers, which is no real model; ANTHROPIC_API_KEY, OPENAI_API_KEY or docs/settings.md brings one"
                .to_owned(),
        );
    }
    Ok(model)
}

/// The first model of the first provider with a key.
fn first_model(providers: &[Arc<dyn Provider>]) -> ModelName {
    let configured = providers.iter().filter(|provider| provider.is_configured());
    let mut first =
        configured.filter_map(|provider| Some(ModelName::new(provider.name(), provider.listed_models().first()?.clone())));
    first.next().unwrap_or_else(|| ModelName::new(DEMO, DEMO))
}

fn sign_in_link(engine: &Engine, addresses: &[SocketAddr]) -> Option<String> {
    let address = data_dir::reachable(*addresses.first()?);
    Some(format!("http://{address}/#code={}", engine.new_sign_in_code().0))
}

async fn web_app(State(web): State<WebApp>, request: Request) -> axum::response::Response {
    web.answer(request.method(), request.uri(), request.headers())
}

/// A panic costs one request. It is logged like any other failure, without its words, which may repeat what somebody wrote.
fn say_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(place, "a part of the program panicked; this is a defect");
            if cfg!(debug_assertions) {
                before(panic);
            }
        }));
    });
}
