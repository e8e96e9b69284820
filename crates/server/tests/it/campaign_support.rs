//! What the fault campaigns share: how large they are, the program as a process that dies and comes back, and a client for
//! which a broken connection is an answer like any other.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::harness_http::Request;
use crate::harness_luck::Luck;
use crate::upstream::Upstream;

/// Nothing that works takes longer, not even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The sample that every run takes, or with `COLLOQUY_LONG=1` the whole campaign.
pub fn sized<T>(sample: T, whole: T) -> T {
    if is_long() { whole } else { sample }
}

pub fn is_long() -> bool {
    std::env::var_os("COLLOQUY_LONG").is_some_and(|value| !value.is_empty() && value != "0")
}

/// The campaign's random numbers. They are the same in every run; `COLLOQUY_SEED` gives others. What is printed is shown when
/// the test fails.
pub fn luck(campaign: &str) -> Luck {
    let seed = std::env::var("COLLOQUY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("{campaign}: COLLOQUY_SEED={seed}");
    let name = campaign.bytes().fold(seed, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    Luck::new(name)
}

/// The program on a data directory and a port that stay the same however often it dies.
pub struct Machine {
    root: Arc<TempDir>,
    pub address: SocketAddr,
    environment: Vec<(OsString, OsString)>,
    words: Vec<OsString>,
    child: Option<Child>,
    /// When it last said that it listens.
    pub listening_at: Instant,
}

impl Machine {
    /// With this model server, and some files to read. It does not run yet.
    pub fn new(upstream: &Upstream) -> Self {
        let root = tempfile::Builder::new().prefix("colloquy-campaign-").tempdir().expect("a directory");
        let workdir = root.path().join("work");
        std::fs::create_dir_all(workdir.join("heap")).expect("a directory");
        std::fs::write(workdir.join("notes.txt"), "one\ntwo needle\nthree\n").expect("a file");
        let address = free_address();
        let environment = [
            ("COLLOQUY_LISTEN", address.to_string().into()),
            ("COLLOQUY_AUTH", "off".into()),
            ("COLLOQUY_DATA_DIR", root.path().join("data").into_os_string()),
            ("COLLOQUY_WORKDIR", workdir.into_os_string()),
            ("COLLOQUY_SOCKET_RATE", "0".into()),
            ("COLLOQUY_LOG", "warn".into()),
            ("COLLOQUY_MODEL", "anthropic/tale".into()),
            ("ANTHROPIC_API_KEY", "sk-ant-of-the-campaigns".into()),
            ("ANTHROPIC_BASE_URL", upstream.url.clone().into()),
        ];
        let environment = environment.map(|(name, value)| (name.into(), value)).into();
        let words = vec![program(), "serve".into()];
        Self { root: Arc::new(root), address, environment, words, child: None, listening_at: Instant::now() }
    }

    pub async fn started(upstream: &Upstream) -> Self {
        let mut machine = Self::new(upstream);
        machine.start().await;
        machine
    }

    /// It stands still until it is thawed.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.as_ref().and_then(group) {
            kill_process(pid, signal).expect("our own child");
        }
    }

    pub fn api(&self) -> Api {
        Api { address: self.address, via: self.address }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub fn workdir(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// Where everything of it is. It goes when the machine goes.
    pub fn root(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    /// Sets a variable of its environment, from its next start on.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.into()));
    }

    /// Another program in its place, with its arguments, that takes the same environment.
    pub fn runs(&mut self, words: Vec<OsString>) {
        self.words = words;
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("it runs")
    }

    /// So much to search through that a search takes a while.
    pub fn fill_heap(&self, files: usize) {
        for number in 0..files {
            let text = format!("straw {number}\n").repeat(600);
            std::fs::write(self.workdir().join(format!("heap/{number}.txt")), text).expect("a file");
        }
    }

    /// Starts it and waits until it listens.
    pub async fn start(&mut self) {
        self.start_under(&[]).await.unwrap_or_else(|| panic!("the program does not listen:\n{}", self.errors()));
    }

    /// Starts it below another program; `None` if it ends before it listens.
    pub async fn start_under(&mut self, wrapper: &[&str]) -> Option<()> {
        // Another program may hold the port for a moment, because ports of outgoing connections are taken from anywhere.
        for attempt in 1.. {
            match self.try_start(wrapper).await {
                None if attempt < 5 && wrapper.is_empty() => tokio::time::sleep(Duration::from_millis(200)).await,
                other => return other,
            }
        }
        None
    }

    async fn try_start(&mut self, wrapper: &[&str]) -> Option<()> {
        let errors = std::fs::File::options().create(true).append(true).open(self.log_path()).expect("a file");
        let words: Vec<OsString> = wrapper.iter().map(OsString::from).chain(self.words.iter().cloned()).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().envs(self.environment.iter().cloned());
        if let Some(path) = std::env::var_os("PATH").filter(|_| !wrapper.is_empty()) {
            command.env("PATH", path);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let listens = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.starts_with("listening on http://") {
                    return true;
                }
            }
            false
        };
        let listens = timeout(PATIENCE, listens).await.unwrap_or(false);
        self.listening_at = Instant::now();
        self.child = Some(child);
        if !listens {
            self.kill().await;
            return None;
        }
        Some(())
    }

    /// Starts it and kills it so soon that it may not have come to listen.
    pub async fn start_and_kill(&mut self, life: Duration) {
        let starting = self.start_under(&[]);
        // Dropping the child in the middle of its start kills it.
        let _ = timeout(life, starting).await;
        self.kill().await;
    }

    /// As a power switch does it.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            if let Some(group) = group(&child) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = timeout(PATIENCE, child.wait()).await.expect("a killed process ends");
        }
    }

    /// Asks it to stop. It goes on running for a while.
    pub fn terminate(&self) {
        let pid = self.child.as_ref().and_then(group).expect("it runs");
        kill_process(pid, Signal::TERM).expect("our own child");
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let mut child = self.child.take().expect("it was started");
        match timeout(patience, child.wait()).await {
            Ok(status) => Some(status.expect("our own child")),
            Err(_) => {
                self.child = Some(child);
                None
            }
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("our own child").is_none())
    }

    /// What it has logged, in all of its lives.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Resident memory in KiB.
    pub fn memory_kib(&self) -> u64 {
        let pid = self.child.as_ref().and_then(Child::id).expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("such a line");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Ends it, and fails if it has broken down anywhere or its database is not sound.
    pub async fn end(mut self) {
        self.kill().await;
        let errors = self.errors();
        assert!(!errors.contains("panicked"), "the program has broken down:\n{errors}");
        let faults = faults_of_database(&self.data_dir().join("colloquy.db"));
        assert!(faults.is_empty(), "the database is not sound: {faults:#?}");
    }

    fn log_path(&self) -> PathBuf {
        self.root.path().join("stderr.log")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Whatever it was started below goes with it.
        if let Some(group) = self.child.as_ref().and_then(group) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        if std::thread::panicking() {
            println!("the program's log:\n{}", self.errors());
        }
    }
}

/// `COLLOQUY_BIN` names another build of it.
fn program() -> OsString {
    std::env::var_os("COLLOQUY_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_colloquy").into())
}

fn group(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
}

/// A port below those that outgoing connections use, so that nobody takes it while the program is down.
fn free_address() -> SocketAddr {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let start = usize::try_from(std::process::id()).unwrap_or(0) * 37;
    for _ in 0..10_000 {
        let port = 12_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 18_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("a port")));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port");
}

/// What no life and no death of the program may leave behind in its file.
pub fn faults_of_database(path: &Path) -> Vec<String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = rusqlite::Connection::open_with_flags(path, flags).expect("the database opens");
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    let mut faults: Vec<String> = if sound == "ok" { Vec::new() } else { vec![sound] };
    for (what, query) in [
        (
            "conversations whose numbers have gaps",
            "SELECT count(*) FROM conversation c WHERE seq <> (SELECT count(*) FROM event e WHERE e.conversation_id = c.id) \
             OR seq <> (SELECT max(seq) FROM event e WHERE e.conversation_id = c.id)",
        ),
        (
            "calls without exactly one result in turns that have ended",
            "SELECT count(*) FROM part p JOIN message m ON m.id = p.message_id JOIN turn t ON t.id = m.turn_id \
             WHERE p.kind = 'tool_call' AND t.state = 'finished' AND 1 <> (SELECT count(*) FROM part r \
             WHERE r.conversation_id = p.conversation_id AND r.kind = 'tool_result' \
             AND json_extract(r.body, '$.call_id') = json_extract(p.body, '$.id'))",
        ),
        (
            "conversations with two running turns",
            "SELECT count(*) FROM (SELECT 1 FROM turn WHERE state = 'running' GROUP BY conversation_id HAVING count(*) > 1)",
        ),
        (
            "parts, events or pieces of nothing",
            "SELECT (SELECT count(*) FROM part WHERE message_id NOT IN (SELECT id FROM message)) \
             + (SELECT count(*) FROM event WHERE conversation_id NOT IN (SELECT id FROM conversation)) \
             + (SELECT count(*) FROM message WHERE conversation_id NOT IN (SELECT id FROM conversation))",
        ),
    ] {
        let count: i64 = connection.query_row(query, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{what}: {error}"));
        if count != 0 {
            faults.push(format!("{count} {what}"));
        }
    }
    faults
}

/// The connection broke. Whether the request was served is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// Where the server is, and which way leads there.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    /// What it is called.
    pub address: SocketAddr,
    /// A proxy, or the same.
    pub via: SocketAddr,
}

impl Api {
    pub async fn connect(&self) -> Result<TcpStream, Broken> {
        let stream = timeout(PATIENCE, TcpStream::connect(self.via)).await.map_err(|_| Broken)?.map_err(|_| Broken)?;
        stream.set_nodelay(true).map_err(|_| Broken)?;
        Ok(stream)
    }

    /// One request on a connection of its own.
    pub async fn send(&self, request: Request) -> Result<(u16, Value), Broken> {
        let request = request.header("Connection", "close");
        let mut stream = self.connect().await?;
        let exchange = async {
            stream.write_all(&request.encode(&self.address.to_string())).await.map_err(|_| Broken)?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.map_err(|_| Broken)?;
            read_answer(&answer).ok_or(Broken)
        };
        timeout(PATIENCE, exchange).await.unwrap_or(Err(Broken))
    }

    /// A request that must be served.
    #[track_caller]
    pub fn get(&self, target: &str) -> impl Future<Output = Value> + use<> {
        let (api, target) = (*self, target.to_owned());
        async move {
            let (status, body) = api.send(Request::get(&target)).await.unwrap_or_else(|_| panic!("GET {target} broke off"));
            assert_eq!(status, 200, "GET {target}: {body}");
            body
        }
    }

    /// A new conversation; gives its id, 32 digits long.
    pub async fn conversation(&self) -> String {
        self.try_conversation().await.expect("the server answers")
    }

    pub async fn try_conversation(&self) -> Result<String, Broken> {
        let (status, chat) = self.send(Request::post("/api/chats", &json!({}))).await?;
        assert_eq!(status, 201, "{chat}");
        Ok(hex(&chat["id"]))
    }
}

/// Status and body of a whole answer; `None` if it is not whole.
pub fn read_answer(bytes: &[u8]) -> Option<(u16, Value)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?.to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    if length.is_some_and(|length| length.parse() != Ok(body.len())) {
        return None;
    }
    if head.contains("transfer-encoding: chunked") {
        let mut decoder = Chunks::default();
        let mut whole = Vec::new();
        decoder.push(body, &mut whole);
        return decoder.ended.then(|| (status, serde_json::from_slice(&whole).unwrap_or_default()));
    }
    Some((status, serde_json::from_slice(body).unwrap_or_default()))
}

/// Takes the chunks of a body apart.
#[derive(Debug, Default)]
pub struct Chunks {
    ahead: Vec<u8>,
    pub ended: bool,
}

impl Chunks {
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.ahead.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some(end) = self.ahead[taken..].windows(2).position(|pair| pair == b"\r\n") {
            let line = std::str::from_utf8(&self.ahead[taken..taken + end]).unwrap_or_default();
            let size = usize::from_str_radix(line, 16).expect("a chunk's size");
            let start = taken + end + 2;
            let Some(chunk) = self.ahead.get(start..start + size + 2) else { break };
            out.extend_from_slice(&chunk[..size]);
            taken = start + size + 2;
            if size == 0 {
                self.ended = true;
                break;
            }
        }
        self.ahead.drain(..taken);
    }
}

/// The conversation's id as the sessions API writes it.
pub fn dashed(hex: &str) -> String {
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// An id of either API in one form.
pub fn hex(id: &Value) -> String {
    id.as_str().unwrap_or_default().replace('-', "")
}
