//! Opens turns and reads their answers, each over a connection of its own; checks every stream and times every delta.

mod events;
mod listener;
mod socket;
mod sse;
mod watcher;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use listener::Heard;
pub use socket::{Line as SocketLine, connect as connect_socket, subscribe};
pub use watcher::{EventStream, Wait, Watchers, open_events};

use crate::Result;
use crate::clock::{in_ns, now_ns};
use crate::plan::Plan;

/// How long an answer may take beyond its plan before the run counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message to be sent, and the wire that its answer comes over.
#[derive(Debug, Clone)]
pub enum Turn {
    /// A POST whose answer is a stream of events: the sessions API's, or a provider's own.
    Sse { path: String, body: String },
    /// A frame on a socket of its own.
    Socket { chat: String },
}

/// Turns whose connections stand and whose messages have not been sent yet.
#[derive(Debug)]
pub struct Prepared {
    plan: Plan,
    go: watch::Sender<bool>,
    turns: JoinSet<Result<Heard>>,
}

/// What all turns of a round heard.
#[derive(Debug, Default)]
pub struct Report {
    pub turns: Vec<Heard>,
    /// When the first message was about to be sent.
    pub begun_ns: u64,
    /// When the last answer was complete.
    pub done_ns: u64,
}

/// Connects for each of the turns.
pub async fn prepare(address: SocketAddr, turns: Vec<Turn>, plan: Plan) -> Result<Prepared> {
    let (go, gate) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for turn in turns {
        let gate = gate.clone();
        match turn {
            Turn::Sse { path, body } => {
                let line = sse::connect(address).await?;
                tasks.spawn(async move {
                    opened(gate).await;
                    sse::turn(line, address, &path, body, plan).await
                });
            }
            Turn::Socket { chat } => {
                let line = socket::connect(address).await?;
                tasks.spawn(async move {
                    opened(gate).await;
                    socket::turn(line, &chat, plan).await
                });
            }
        }
    }
    Ok(Prepared { plan, go, turns: tasks })
}

impl Prepared {
    /// Sends all messages at once, and reads every answer to its end.
    pub async fn run(mut self) -> Result<Report> {
        let mut report = Report { begun_ns: now_ns(), ..Report::default() };
        self.go.send_replace(true);
        let limit = self.plan.duration() + PATIENCE;
        let all = async {
            while let Some(heard) = self.turns.join_next().await {
                report.turns.push(heard??);
            }
            Ok::<_, crate::Error>(())
        };
        tokio::time::timeout(limit, all).await.map_err(|_| format!("an answer took longer than {limit:?}"))??;
        report.done_ns = report.turns.iter().map(|heard| heard.done_ns).max().unwrap_or_default();
        Ok(report)
    }
}

impl Report {
    #[must_use]
    pub fn deltas(&self) -> u64 {
        self.turns.iter().map(|heard| u64::from(heard.deltas)).sum()
    }

    #[must_use]
    pub const fn elapsed_ns(&self) -> u64 {
        self.done_ns.saturating_sub(self.begun_ns)
    }

    /// From a message's sending to the first delta of its answer, by turn.
    #[must_use]
    pub fn first_ns(&self) -> Vec<u64> {
        self.turns.iter().map(|heard| heard.first_ns.saturating_sub(heard.begun_ns)).collect()
    }

    /// Deltas in each read of an answer, on average.
    #[must_use]
    pub fn deltas_in_a_read(&self) -> f64 {
        crate::stats::float(self.deltas()) / crate::stats::float(self.turns.iter().map(|heard| u64::from(heard.reads)).sum())
    }

    /// How many deltas were sent in this time.
    #[must_use]
    pub fn sent_between(&self, from_ns: u64, until_ns: u64) -> u64 {
        let all = self.turns.iter().flat_map(|heard| &heard.deltas_ns);
        all.filter(|(sent_ns, _)| (from_ns..until_ns).contains(sent_ns)).count() as u64
    }

    /// From the upstream's write to the client's read, of every delta that was sent after the turns had `settled`.
    #[must_use]
    pub fn latency_ns(&self, settled: Duration) -> Vec<u64> {
        let from_ns = self.begun_ns + in_ns(settled);
        let all = self.turns.iter().flat_map(|heard| &heard.deltas_ns);
        all.filter(|(sent_ns, _)| *sent_ns >= from_ns).map(|(sent_ns, came_ns)| came_ns.saturating_sub(*sent_ns)).collect()
    }
}

async fn opened(mut gate: watch::Receiver<bool>) {
    // An error says that the round was given up; then this task ends with its set.
    let _ = gate.wait_for(|open| *open).await;
}

async fn dial(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}
