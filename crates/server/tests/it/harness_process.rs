//! The program as a process of its own, which is gone without a trace when its test ends.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::harness::{Place, Setup};
use crate::harness_http::{Client, PATIENCE};

/// How long a process may take to end once it has been told to.
const ENDING: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

const LISTENING: &str = "listening on http://";
const SIGN_IN: &str = "sign in: http://";

/// A running `colloquy serve`.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    /// The owner's.
    pub token: String,
    /// The code of the sign-in link; there is one if sign-in is on.
    pub code: Option<String>,
    pub output: Said,
    pub errors: Said,
    readers: Vec<JoinHandle<()>>,
    pub place: Place,
}

/// Everything that a process has written so far.
#[derive(Debug, Clone, Default)]
pub struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn add(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    }
}

impl Process {
    pub async fn start(setup: Setup) -> Self {
        let place = Place::new(&setup);
        Self::start_in(setup, place).await
    }

    /// On what another process has left.
    pub async fn start_in(setup: Setup, place: Place) -> Self {
        let mut command = command(&setup, &place, &["serve"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let (output, errors) = (Said::default(), Said::default());
        let (tell, mut lines) = unbounded_channel();
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let readers = vec![
            std::thread::spawn({
                let said = output.clone();
                move || {
                    for line in BufReader::new(out).lines().map_while(Result::ok) {
                        said.add(format!("{line}\n").as_bytes());
                        // After the start nobody listens any more.
                        let _ = tell.send(line);
                    }
                }
            }),
            std::thread::spawn({
                let said = errors.clone();
                move || collect(err, &said)
            }),
        ];
        let address = after(&mut lines, LISTENING, &errors).await;
        let address = address.parse().expect("an address");
        let is_off = setup.environment(&place).get(OsStr::new("COLLOQUY_AUTH")).is_some_and(|auth| auth == "off");
        let code = if is_off { None } else { Some(after(&mut lines, SIGN_IN, &errors).await) };
        let code = code.map(|link| link.split_once("#code=").expect("a code in the link").1.to_owned());
        let data_dir = std::path::PathBuf::from(&setup.environment(&place)[OsStr::new("COLLOQUY_DATA_DIR")]);
        let token = std::fs::read_to_string(data_dir.join("token")).expect("the owner's token").trim().to_owned();
        Self { child, address, token, code, output, errors, readers, place }
    }

    /// A client without any proof.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A client that holds the owner's token.
    pub fn owner(&self) -> Client {
        self.client().with_token(&self.token)
    }

    /// A line of `/proc/PID/status` in KiB, such as `VmRSS`.
    pub fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("such a line");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Makes `VmHWM` begin anew with what is used now.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("our own process");
    }

    pub fn command_line(&self) -> Vec<u8> {
        std::fs::read(format!("/proc/{}/cmdline", self.child.id())).expect("the process runs")
    }

    /// Kills it, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Asks it to stop, and waits until it and everything it has written is there.
    pub async fn stop(&mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        if self.is_running() {
            kill_process(pid, Signal::TERM).expect("our own child");
        }
        let deadline = Instant::now() + ENDING;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                break status;
            }
            assert!(Instant::now() < deadline, "the program does not stop:\n{}", self.errors.text());
            tokio::time::sleep(POLL).await;
        };
        self.readers.drain(..).for_each(|reader| reader.join().expect("a reader"));
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is all we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let left = processes_of(&self.place);
        for pid in &left {
            let _ = kill_process(*pid, Signal::KILL);
        }
        if !std::thread::panicking() {
            assert!(left.is_empty(), "the program has left processes behind: {left:?}");
        }
    }
}

/// Runs the program to its end.
pub fn run(setup: &Setup, place: &Place, arguments: &[&str]) -> Output {
    let mut child = command(setup, place, arguments);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let deadline = Instant::now() + ENDING;
    while child.try_wait().expect("our own child").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let output = child.wait_with_output().expect("its output");
            panic!("{arguments:?} does not end:\n{}{}", show(&output.stdout), show(&output.stderr));
        }
        std::thread::sleep(POLL);
    }
    child.wait_with_output().expect("its output")
}

pub fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn command(setup: &Setup, place: &Place, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_colloquy"));
    command.args(arguments).env_clear().envs(setup.environment(place)).stdin(Stdio::null()).current_dir(place.root());
    command
}

async fn after(lines: &mut UnboundedReceiver<String>, start: &str, errors: &Said) -> String {
    let found = async {
        while let Some(line) = lines.recv().await {
            if let Some(rest) = line.strip_prefix(start) {
                return Some(rest.to_owned());
            }
        }
        None
    };
    let found = timeout(PATIENCE, found).await.ok().flatten();
    found.unwrap_or_else(|| panic!("the program did not say {start:?}:\n{}", errors.text()))
}

fn collect(mut from: impl Read, said: &Said) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        said.add(&buffer[..read]);
    }
}

/// Whoever has inherited the environment of this server: nobody else knows its directory.
fn processes_of(place: &Place) -> Vec<Pid> {
    let directory = place.data_dir();
    let directory = directory.as_os_str().as_bytes();
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let is_ours = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(directory.len()).any(|window| window == directory)
    };
    pids.filter(is_ours).filter_map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::processes_of;
    use crate::harness::{Place, Setup};

    #[test]
    fn a_process_that_is_left_behind_is_found() {
        let setup = Setup::new();
        let place = Place::new(&setup);
        assert_eq!(processes_of(&place), []);
        let mut command = Command::new("sleep");
        let mut left =
            command.arg("60").env_clear().envs(setup.environment(&place)).stdout(Stdio::null()).spawn().expect("sleep");
        let found = processes_of(&place);
        left.kill().expect("our own child");
        left.wait().expect("our own child");
        assert_eq!(found, [rustix::process::Pid::from_child(&left)]);
    }
}
