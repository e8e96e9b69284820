//! A server in this process, the program as a process of its own, and HTTP by hand.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use server::{Running, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Compares with a file that is kept, or writes it anew with `COLLOQUY_UPDATE=1`.
pub fn check(path: &Path, made: &str) {
    if std::env::var_os("COLLOQUY_UPDATE").is_some() {
        std::fs::write(path, made).expect("the file can be written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == made, "{} is not what the definitions make of it: run this with COLLOQUY_UPDATE=1", path.display());
}

/// A real server on a free port, with a data directory of its own.
pub struct TestServer {
    pub running: Running,
    pub data: TempDir,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let mut config = ServerConfig::on_free_port(data.path().join("data"));
        config.workdir = data.path().to_owned();
        change(&mut config);
        Self { running: server::start(config).await.expect("the server starts"), data }
    }

    pub fn address(&self) -> SocketAddr {
        self.running.addresses[0]
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.expect("a connection")
    }

    /// Sends a request without a body and reads the answer.
    pub async fn get(&self, path: &str, headers: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}Connection: close\r\n\r\n", self.address())).await
    }

    /// Sends these bytes and reads all that comes back.
    pub async fn send(&self, request: &str) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        Answer::read(&mut stream).await
    }
}

/// An answer, read to the end of its connection.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A reset after the answer is an end as well.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection is closed");
        Self::parse(&bytes)
    }

    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head, body: bytes.get(end + 4..).unwrap_or_default().to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The program, with only the environment that a test gives it.
pub struct Program {
    data_dir: PathBuf,
    environment: Vec<(String, String)>,
}

impl Program {
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), environment: Vec::new() }
    }

    pub fn environment(mut self, variables: &[(&str, &str)]) -> Self {
        self.environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Starts `colloquy serve` on a free port and waits until it listens.
    pub fn serve(&self) -> Serving {
        let mut child = self.command(&["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().expect("it runs");
        let mut output = BufReader::new(child.stdout.take().expect("an output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        Serving { child, output, address: address.unwrap_or_else(|| panic!("{line:?}")) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_colloquy"));
        command.args(arguments).env_clear().stdin(Stdio::null());
        command.env("COLLOQUY_DATA_DIR", &self.data_dir).envs(self.environment.iter().cloned());
        command
    }
}

/// A running `colloquy serve`; killed when the test ends.
pub struct Serving {
    child: Child,
    output: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Serving {
    pub fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the signal is sent");
    }

    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already, which is all we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
