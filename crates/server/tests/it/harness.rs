//! A whole server in this process, on a free port and in directories of its own, with a model that says what a test wrote
//! down for it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use models::{Script, Scripted};
use serde_json::{Value, json};
use server::settings::Sources;
use server::{Running, ServerConfig};
use tempfile::TempDir;

use crate::harness_http::{Client, Request};
use crate::harness_upstream::Upstream;

/// How long a server with nothing to do may take to stop.
const STOPPING: Duration = Duration::from_secs(5);

/// In the data directory.
const RULES_FILE: &str = "rules.yaml";

/// How a server is to be set up. Sign-in is off unless a setting says otherwise.
#[derive(Debug, Default)]
pub struct Setup {
    settings: BTreeMap<String, String>,
    script: Vec<Value>,
    files: Vec<(PathBuf, String)>,
    data_files: Vec<(PathBuf, String)>,
    has_rules_file: bool,
}

impl Setup {
    pub fn new() -> Self {
        Self::default().setting("COLLOQUY_AUTH", "off")
    }

    pub fn with_sign_in() -> Self {
        Self::default().setting("COLLOQUY_AUTH", "token")
    }

    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What the scripted model says, beginning with its first request.
    pub fn script(mut self, steps: &[Value]) -> Self {
        self.script.extend_from_slice(steps);
        self
    }

    /// The real client is the default model, and talks to this server.
    pub fn upstream(self, upstream: &Upstream) -> Self {
        self.setting("ANTHROPIC_BASE_URL", &upstream.url)
            .setting("ANTHROPIC_API_KEY", &upstream.key)
            .setting("COLLOQUY_MODEL", "anthropic/scripted")
    }

    /// A file in the working directory.
    pub fn file(mut self, path: impl Into<PathBuf>, content: &str) -> Self {
        self.files.push((path.into(), content.to_owned()));
        self
    }

    /// A file in the data directory.
    pub fn data_file(mut self, path: impl Into<PathBuf>, content: &str) -> Self {
        self.data_files.push((path.into(), content.to_owned()));
        self
    }

    /// The text of the rules file.
    pub fn rules_file(mut self, text: &str) -> Self {
        self.has_rules_file = true;
        self.data_file(RULES_FILE, text)
    }

    pub async fn start(self) -> TestServer {
        let model = Scripted::new(Script::from_json(&self.script).expect("a script"));
        let place = Place::new(&self);
        let setup =
            if self.settings.contains_key("COLLOQUY_MODEL") { self } else { self.setting("COLLOQUY_MODEL", "scripted/scripted") };
        let mut config = setup.config(&place);
        config.extra_providers.push(Arc::new(model.clone()));
        let running = server::start(config).await.expect("the server starts");
        TestServer { token: running.owner_token.clone(), running, model, place }
    }

    /// Every setting as an environment variable.
    pub fn environment(&self, place: &Place) -> BTreeMap<OsString, OsString> {
        let own = [
            ("COLLOQUY_LISTEN", OsString::from("127.0.0.1:0")),
            ("COLLOQUY_DATA_DIR", place.data_dir().into()),
            ("COLLOQUY_WORKDIR", place.workdir().into()),
        ];
        let mut environment: BTreeMap<_, _> = own.into_iter().map(|(name, value)| (name.into(), value)).collect();
        if self.has_rules_file {
            environment.insert("COLLOQUY_RULES_FILE".into(), place.data_dir().join(RULES_FILE).into());
        }
        environment.extend(self.settings.iter().map(|(name, value)| (name.into(), value.into())));
        environment
    }

    fn config(&self, place: &Place) -> ServerConfig {
        let sources = Sources { environment: self.environment(place), ..Sources::default() };
        sources.read().expect("settings that are right").config
    }
}

/// The directories of one server. They go when this goes.
#[derive(Debug)]
pub struct Place {
    root: TempDir,
}

impl Place {
    pub fn new(setup: &Setup) -> Self {
        let place = Self { root: tempfile::Builder::new().prefix("colloquy-test-").tempdir().expect("a directory") };
        for (directory, files) in [(place.workdir(), &setup.files), (place.data_dir(), &setup.data_files)] {
            std::fs::create_dir_all(&directory).expect("a directory");
            for (path, content) in files {
                let path = directory.join(path);
                std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
                std::fs::write(path, content).expect("a file");
            }
        }
        place
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn workdir(&self) -> PathBuf {
        // Without links, as the server shows it.
        self.root().canonicalize().expect("a directory").join("work")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.root().join("data")
    }
}

/// A running server.
#[derive(Debug)]
pub struct TestServer {
    pub running: Running,
    pub model: Scripted,
    /// The owner's.
    pub token: String,
    pub place: Place,
}

impl TestServer {
    pub fn address(&self) -> SocketAddr {
        self.running.addresses[0]
    }

    pub fn workdir(&self) -> PathBuf {
        self.place.workdir()
    }

    /// A client without any proof.
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// A client that holds the owner's token.
    pub fn owner(&self) -> Client {
        self.client().with_token(&self.token)
    }

    /// A browser that has signed in, as our own page.
    pub async fn browser(&self) -> Client {
        let client = self.client();
        let cookie = sign_in(&client, &json!({"token": self.token})).await;
        let origin = client.origin();
        client.with("Origin", &origin).with("Cookie", &cookie)
    }

    /// Stops it with care.
    pub async fn stop(self) {
        let stopped = tokio::time::timeout(STOPPING, self.running.shut_down()).await;
        stopped.expect("a server with nothing to do stops at once");
    }
}

/// Signs in; gives `name=value` of the cookie.
pub async fn sign_in(client: &Client, proof: &Value) -> String {
    let answer = client.send(Request::post("/api/sign-in", proof)).await;
    assert_eq!(answer.status(), 204, "{}", answer.text());
    let cookie = answer.header("set-cookie").expect("a cookie");
    cookie.split(';').next().unwrap_or_default().to_owned()
}

/// Makes a chat; gives its id.
pub async fn new_chat(client: &Client) -> String {
    let chat = client.send(Request::post("/api/chats", &json!({}))).await.expect(201);
    chat["id"].as_str().expect("an id").to_owned()
}

/// Makes a session; gives its id.
pub async fn new_session(client: &Client) -> String {
    let session = client.send(Request::post("/api/sessions", &json!({}))).await.expect(200);
    session["id"].as_str().expect("an id").to_owned()
}
