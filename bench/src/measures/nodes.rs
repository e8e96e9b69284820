//! The same answers over one, two and three nodes on one PostgreSQL, at full rate.

use std::fs;

use super::full_rate::{DELTAS, TURNS, thousands};
use super::{Bench, progress};
use crate::Result;
use crate::client::{Wait, Watchers};
use crate::clock::now_ns;
use crate::database::Postgres;
use crate::plan::Plan;
use crate::process::Process;
use crate::rig::Server;
use crate::stats::{float, median};
use crate::table::Row;

const MOST: usize = 3;

/// Where those who follow are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Followed {
    /// To the node that answers.
    There,
    /// To the next one.
    Elsewhere,
}

/// What was measured of one set-up, by round.
#[derive(Debug, Default)]
struct Column {
    per_s: Vec<f64>,
    /// Percent of the whole machine, with the upstream, the clients and the database.
    busy: Vec<f64>,
}

pub async fn measure(bench: &Bench, postgres: &Postgres) -> Result<Vec<Row>> {
    let upstream = Process::own(&["upstream"])?;
    let plan = Plan::full_rate(bench.or_quick(DELTAS, DELTAS / 4));
    let (mut rows, mut alone) = (Vec::new(), Vec::new());
    for count in 1..=MOST {
        let database = postgres.database().await?;
        let directories = (0..count).map(|_| bench.place.directory()).collect::<Result<Vec<_>>>()?;
        let nodes = directories.iter().map(|directory| bench.place.node(directory.path(), upstream.address, &database));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        let ways: &[Followed] = if count == 1 { &[Followed::There] } else { &[Followed::There, Followed::Elsewhere] };
        for way in ways {
            let column = rounds(bench, &nodes, *way, plan).await?;
            let per_s = thousands(&column.per_s);
            if count == 1 {
                alone.clone_from(&per_s);
            }
            let nodes = if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
            let at = if *way == Followed::There { "followed where it is answered" } else { "followed on another node" };
            let note = format!("instead of the floor: 1 node; the machine was {:.0} % busy", median(&column.busy));
            rows.push(Row::new(format!("deltas/s over {nodes}, {at}"), "thousand/s", &per_s).beside(&per_s, &alone).noted(note));
        }
        drop(nodes);
        database.remove().await?;
    }
    Ok(rows)
}

async fn rounds(bench: &Bench, nodes: &[Server], way: Followed, plan: Plan) -> Result<Column> {
    let mut column = Column::default();
    for round in 0..=bench.rounds {
        let before = Jiffies::now()?;
        let per_s = one(nodes, way, plan).await?;
        if round > 0 {
            column.per_s.push(per_s);
            column.busy.push(Jiffies::now()?.busy_percent_since(&before));
        }
        progress(&format!("{} nodes, {way:?}: round {round} of {}", nodes.len(), bench.rounds));
    }
    Ok(column)
}

/// Deltas per second that were heard, from the first message to the last end.
async fn one(nodes: &[Server], way: Followed, plan: Plan) -> Result<f64> {
    let (mut watchers, mut messages) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let answering = &nodes[turn % nodes.len()];
        let followed = &nodes[(turn + usize::from(way == Followed::Elsewhere)) % nodes.len()];
        let session = answering.api.session().await?;
        watchers.push(Watchers::attach(followed.process.address, &session, 1, Wait::Sse, plan).await?);
        messages.push((answering, session));
    }
    let begun_ns = now_ns();
    for (node, session) in &messages {
        node.api.say(session, plan).await?;
    }
    let (mut deltas, mut done_ns) = (0, 0);
    for watcher in watchers {
        for heard in watcher.finish().await? {
            deltas += u64::from(heard.deltas);
            done_ns = done_ns.max(heard.done_ns);
        }
    }
    Ok(float(deltas) / float(done_ns.saturating_sub(begun_ns)) * 1e9)
}

/// Time of all cores since the machine started, in the kernel's ticks.
#[derive(Debug)]
struct Jiffies {
    all: u64,
    idle: u64,
}

impl Jiffies {
    fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().ok_or("the system does not tell its time")?;
        let times = line.split_whitespace().skip(1).map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        // User, nice, system, idle, waiting for a disk, interrupts twice, stolen; guests are within user.
        let [.., idle, waiting] = times.get(..5).ok_or("the system does not tell its time")? else {
            return Err("the system does not tell its time".into());
        };
        Ok(Self { all: times.iter().take(8).sum(), idle: idle + waiting })
    }

    fn busy_percent_since(&self, before: &Self) -> f64 {
        let all = (self.all - before.all).max(1);
        100.0 - float(self.idle - before.idle) / float(all) * 100.0
    }
}
