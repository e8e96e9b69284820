//! One round through one of the ways from the client to the upstream.

use std::time::Duration;

use crate::Result;
use crate::api;
use crate::client::{Report, Turn, prepare};
use crate::clock::now_ns;
use crate::plan::Plan;
use crate::process::{Cpu, Process};
use crate::rig::Rig;

/// After the last delta the product still stores; that is part of what it costs.
const SETTLE: Duration = Duration::from_millis(200);
/// The beginning and the end of paced turns, which all come at the same moment here, are no steady stream.
const MARGIN: Duration = Duration::from_millis(600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Nothing stands between.
    Direct,
    Floor,
    Sse,
    Socket,
}

/// What a round gave.
#[derive(Debug)]
pub struct Round {
    pub report: Report,
    /// Of the process between, for the whole round; none if there is none.
    pub cpu: Cpu,
    /// The same while the deltas streamed, and how many there were then. Nothing for answers without a pace.
    pub steady: Option<(Cpu, u64)>,
}

impl Path {
    /// Has `turns` turns answered at once.
    pub async fn round(self, rig: &Rig, turns: usize, plan: Plan) -> Result<Round> {
        let (between, address) = self.ends(rig);
        let prepared = prepare(address, self.turns(rig, turns, plan).await?, plan).await?;
        let before = cpu_of(between)?;
        let (report, steady) = tokio::join!(prepared.run(), steady(between, plan));
        let (report, steady) = (report?, steady?);
        tokio::time::sleep(SETTLE).await;
        let cpu = cpu_of(between)?.since(&before);
        let expected = u64::from(plan.deltas) * turns as u64;
        if report.deltas() != expected {
            return Err(format!("{} of {expected} deltas came", report.deltas()).into());
        }
        let steady = steady.map(|(cpu, from_ns, until_ns)| (cpu, report.sent_between(from_ns, until_ns)));
        Ok(Round { report, cpu, steady })
    }

    const fn ends(self, rig: &Rig) -> (Option<&Process>, std::net::SocketAddr) {
        match self {
            Self::Direct => (None, rig.upstream.address),
            Self::Floor => (Some(&rig.floor), rig.floor.address),
            Self::Sse | Self::Socket => (Some(&rig.server.process), rig.server.process.address),
        }
    }

    async fn turns(self, rig: &Rig, turns: usize, plan: Plan) -> Result<Vec<Turn>> {
        if matches!(self, Self::Direct | Self::Floor) {
            return Ok(vec![api::provider_turn(plan); turns]);
        }
        let sessions = rig.server.api.sessions(turns).await?;
        let turn = |session: &String| if self == Self::Sse { api::turn(session, plan) } else { api::socket_turn(session) };
        Ok(sessions.iter().map(turn).collect())
    }
}

/// What is used while all answers stream, and from when to when.
async fn steady(process: Option<&Process>, plan: Plan) -> Result<Option<(Cpu, u64, u64)>> {
    let Some(during) = plan.duration().checked_sub(MARGIN * 2).filter(|during| !during.is_zero()) else { return Ok(None) };
    tokio::time::sleep(MARGIN).await;
    let (before, from_ns) = (cpu_of(process)?, now_ns());
    tokio::time::sleep(during).await;
    let (after, until_ns) = (cpu_of(process)?, now_ns());
    Ok(Some((after.since(&before), from_ns, until_ns)))
}

fn cpu_of(process: Option<&Process>) -> Result<Cpu> {
    process.map_or_else(|| Ok(Cpu::default()), Process::cpu_ns)
}
