//! Projects on disk, and sockets that talk about them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::Setup;
use crate::harness_http::{Client, Request};
use crate::harness_ws::Socket;

/// Directories, each a project of its name.
#[derive(Debug)]
pub struct Projects {
    root: TempDir,
    names: Vec<String>,
}

impl Projects {
    pub fn new(files: &[(&str, &str, &str)]) -> Self {
        let root = tempfile::Builder::new().prefix("colloquy-projects-").tempdir().expect("a directory");
        let mut projects = Self { root, names: Vec::new() };
        for (project, path, text) in files {
            projects.write(project, path, text.as_bytes());
        }
        projects
    }

    pub fn write(&mut self, project: &str, path: &str, bytes: &[u8]) {
        if !self.names.iter().any(|name| name == project) {
            self.names.push(project.to_owned());
        }
        let path = self.path(project).join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, bytes).expect("a file");
    }

    pub fn path(&self, project: &str) -> PathBuf {
        self.root.path().join(project)
    }

    /// For a server that knows them.
    pub fn named_in(&self, setup: Setup) -> Setup {
        let named = self.names.iter().map(|name| format!("{name}={}", self.path(name).display()));
        setup.setting("COLLOQUY_PROJECTS", &named.collect::<Vec<_>>().join(","))
    }

    /// Everything in them, with every file's bytes.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        collect(self.root.path(), &mut all);
        all
    }
}

fn collect(directory: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() && !path.is_symlink() {
            all.insert(path.clone(), Vec::new());
            collect(&path, all);
        } else {
            let bytes = if path.is_symlink() { b"a link".to_vec() } else { std::fs::read(&path).expect("readable") };
            all.insert(path, bytes);
        }
    }
}

pub async fn open(client: &Client, project: &str) -> Socket {
    Socket::open(client, &format!("/api/assistant/ws/{project}"), &[]).await.expect("the socket opens")
}

/// Opens a socket and starts a conversation; its number comes too.
pub async fn started(client: &Client, project: &str) -> (Socket, i64) {
    let mut socket = open(client, project).await;
    socket.send(&json!({"type": "start"})).await;
    let number = socket.frame_of("conversation_created").await["conversation_id"].as_i64().expect("a number");
    socket.frame_of("response_done").await;
    (socket, number)
}

/// Opens a socket that follows a conversation in which nothing runs.
pub async fn joined(client: &Client, project: &str, number: i64) -> Socket {
    let mut socket = open(client, project).await;
    socket.send(&json!({"type": "start", "conversation_id": number})).await;
    socket.frame_of("response_done").await;
    socket
}

/// Everything up to the end of the next turn, that end included.
pub async fn turn(socket: &mut Socket) -> Vec<Value> {
    let mut frames = Vec::new();
    loop {
        let frame = socket.frame().await;
        let ends = frame["type"] == "response_done" || frame["type"] == "error" && frame["turn_id"].is_string();
        frames.push(frame);
        if ends {
            return frames;
        }
    }
}

/// What is said in these frames.
pub fn text(frames: &[Value]) -> String {
    frames.iter().filter(|frame| frame["type"] == "text").filter_map(|frame| frame["content"].as_str()).collect()
}

pub async fn detail(client: &Client, project: &str, number: i64) -> Value {
    client.send(Request::get(&format!("/api/assistant/conversations/{project}/{number}"))).await.expect(200)
}

/// Asks until it is so, which must not take long.
pub async fn eventually(client: &Client, project: &str, number: i64, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let found = detail(client, project, number).await;
        if is_so(&found) {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "it never came to that: {found}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A call of `ask_user` with one question, as a step of a script.
pub fn asking(id: &str) -> Value {
    json!({"tool": {"id": id, "name": "ask_user", "input": {"questions": [{
        "question": "Which?", "header": "Which", "options": [{"label": "A", "description": "a"}, {"label": "B", "description": "b"}],
    }]}}})
}
