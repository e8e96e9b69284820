//! The processes of a run: started, looked at through `/proc`, and never left behind.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::Result;

/// What a process says when others can connect to it; its address stands behind.
const READY: &str = "listening on http://";
/// How long that may take.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// A process that listens. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    /// From just before it was started to the line that says that it listens.
    pub started_in: Duration,
}

impl Process {
    /// Starts a subcommand of this program, which ends by itself when we do.
    pub fn own(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Self::start(command)
    }

    /// Starts the product with these settings and no others.
    pub fn product(binary: &Path, settings: &[(&str, &OsStr)]) -> Result<Self> {
        let mut command = Command::new(binary);
        command.arg("serve").env_clear().envs(settings.iter().copied());
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let begun = Instant::now();
        let mut child =
            command.spawn().map_err(|error| format!("{} cannot be started: {error}", command.get_program().display()))?;
        let output = child.stdout.take().ok_or("the process has no output")?;
        let (tell, told) = channel();
        // Reads on to the end, so that the process never writes into a closed or full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
                if let Some(address) = line.strip_prefix(READY) {
                    let _ = tell.send((begun.elapsed(), address.to_owned()));
                }
            }
        });
        let ready = told.recv_timeout(START_PATIENCE);
        let mut process = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), started_in: Duration::ZERO };
        match ready {
            Ok((started_in, address)) => {
                process.address = address.parse()?;
                process.started_in = started_in;
                Ok(process)
            }
            Err(RecvTimeoutError::Timeout) => Err(format!("a process did not listen within {START_PATIENCE:?}").into()),
            Err(RecvTimeoutError::Disconnected) => Err(format!("a process ended at its start: {}", process.child.wait()?).into()),
        }
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time that each kind of thread has used so far, in nanoseconds, by the name of the threads.
    pub fn cpu_ns(&self) -> Result<Cpu> {
        let mut cpu = Cpu::default();
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let task = task?.path();
            // A thread may end between the listing and the reading.
            let (Ok(name), Ok(stat)) = (fs::read_to_string(task.join("comm")), fs::read_to_string(task.join("schedstat"))) else {
                continue;
            };
            let used: u64 = stat.split(' ').next().unwrap_or_default().parse()?;
            *cpu.0.entry(name.trim_end().to_owned()).or_default() += used;
        }
        Ok(cpu)
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the system does not tell the memory")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// Ends it without giving it time for anything.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time in nanoseconds, by the name of the threads.
#[derive(Debug, Clone, Default)]
pub struct Cpu(BTreeMap<String, u64>);

impl Cpu {
    /// What was used between `before` and this.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let spent = |name: &String, now: &u64| now.saturating_sub(before.0.get(name).copied().unwrap_or_default());
        Self(self.0.iter().map(|(name, now)| (name.clone(), spent(name, now))).collect())
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Of the threads that keep the database.
    #[must_use]
    pub fn storage(&self) -> u64 {
        self.0.iter().filter(|(name, _)| name.starts_with("store")).map(|(_, spent)| spent).sum()
    }
}

/// Ends this process when the one that started it is gone: its end of our input closes then.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}

/// Every connection is an open file, at both of its ends.
pub fn raise_file_limit() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}
