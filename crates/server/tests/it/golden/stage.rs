//! Where a story is played: a fresh server, and a model that follows the story's script.

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::doubles::{Double, Kind};
use super::story::Story;
use crate::harness::{Setup, TestServer};
use crate::harness_upstream::Upstream;
use crate::postgres_server::fresh_database;

/// How the model is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// The scripted provider, in this process.
    Scripted,
    /// The same, and everything is kept on PostgreSQL.
    OnPostgres,
    /// The real client for Anthropic's API, over HTTP, at a server that replays the script.
    OverHttp,
}

#[derive(Debug)]
pub struct Stage {
    pub server: TestServer,
    /// An agent's webhook, and a platform's API.
    pub doubles: Option<Mutex<(Double, Double)>>,
    /// Where they are.
    pub agent_url: String,
    pub platform_url: String,
    upstream: Option<Upstream>,
    /// The directories go when it goes.
    _projects: TempDir,
}

/// What one request to the model contained.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub roles: Value,
    pub last: Value,
}

impl Stage {
    pub async fn set(story: &Story, voice: Voice) -> Self {
        let mut setup = Setup::new().setting("COLLOQUY_AUTH", &story.auth);
        let doubles = match story.name.starts_with("hub/") {
            true => Some((Double::start(Kind::Agent, &story.agent).await, Double::start(Kind::Platform, &story.platform).await)),
            false => None,
        };
        let url = |double: Option<&Double>| double.map(|double| double.url.clone()).unwrap_or_default();
        let agent_url = url(doubles.as_ref().map(|doubles| &doubles.0));
        let platform_url = url(doubles.as_ref().map(|doubles| &doubles.1));
        if let Some((agent, platform)) = &doubles {
            setup = setup.setting("COLLOQUY_EGRESS_ALLOW", &format!("{},{}", agent.host, platform.host));
        }
        let doubles = doubles.map(Mutex::new);
        for (name, value) in &story.settings {
            // A story has the file itself where the setting has its path.
            setup = if name == "COLLOQUY_RULES_FILE" { setup.rules_file(value) } else { setup.setting(name, value) };
        }
        for (path, content) in &story.files {
            setup = setup.file(path, content);
        }
        for (path, content) in &story.data_files {
            setup = setup.data_file(path, content);
        }
        let projects = Self::projects(story);
        if !story.projects.is_empty() {
            let named = story.projects.keys().map(|name| format!("{name}={}", projects.path().join(name).display()));
            setup = setup.setting("COLLOQUY_PROJECTS", &named.collect::<Vec<_>>().join(","));
        }
        match voice {
            Voice::Scripted => {
                let server = setup.script(&story.model).start().await;
                Self { server, doubles, agent_url, platform_url, upstream: None, _projects: projects }
            }
            Voice::OnPostgres => {
                let setup = setup.setting("DATABASE_URL", &fresh_database().await);
                let server = setup.script(&story.model).start().await;
                Self { server, doubles, agent_url, platform_url, upstream: None, _projects: projects }
            }
            Voice::OverHttp => {
                let upstream = Upstream::start(&story.model).await;
                let server = setup.upstream(&upstream).start().await;
                Self { server, doubles, agent_url, platform_url, upstream: Some(upstream), _projects: projects }
            }
        }
    }

    /// The directories of the story's projects. One that is gone by then never needs to be there.
    fn projects(story: &Story) -> TempDir {
        let root = tempfile::Builder::new().prefix("colloquy-projects-").tempdir().expect("a directory");
        for (name, files) in &story.projects {
            for (path, content) in files.iter().flatten() {
                let path = root.path().join(name).join(path);
                std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
                std::fs::write(path, content).expect("a file");
            }
        }
        root
    }

    pub fn release(&self, pause: &str) {
        match &self.upstream {
            None => self.server.model.release(pause),
            Some(upstream) => upstream.release(pause),
        }
    }

    /// Every request to the model so far.
    pub fn model_saw(&self) -> Vec<Seen> {
        match &self.upstream {
            None => {
                let seen = self.server.model.requests();
                seen.into_iter().map(|seen| Seen { roles: Value::from(seen.roles), last: seen.last }).collect()
            }
            Some(upstream) => upstream.requests().iter().map(Seen::in_body).collect(),
        }
    }

    /// What the server has asked the model wrongly.
    pub fn complaints(&self) -> Vec<String> {
        self.upstream.as_ref().map(Upstream::complaints).unwrap_or_default()
    }

    /// Stops the server, which must not take long: the story is over.
    pub async fn strike(self) {
        self.server.stop().await;
    }
}

impl Seen {
    /// Of a request to `/v1/messages`.
    fn in_body(body: &Value) -> Self {
        let messages = body["messages"].as_array().cloned().unwrap_or_default();
        let blocks = messages.last().and_then(|message| message["content"].as_array()).cloned().unwrap_or_default();
        let of_kind = |kind: &str, field: &str| {
            let matching = blocks.iter().filter(|block| block["type"] == kind);
            matching.map(|block| block[field].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let results = of_kind("tool_result", "content");
        Self {
            roles: messages.iter().map(|message| message["role"].clone()).collect(),
            last: if results.is_empty() { Value::from(of_kind("text", "text").join("\n")) } else { Value::from(results) },
        }
    }
}
