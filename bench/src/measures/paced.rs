//! Paced turns: how much later a delta comes, how soon the first one comes, and what each costs.

use std::time::Duration;

use super::path::{Path, Round};
use super::{Bench, progress};
use crate::Result;
use crate::plan::Plan;
use crate::stats::{float, in_us, median, quantile};
use crate::table::Row;

/// As fast as good models write.
pub(super) const DELTAS_PER_S: u32 = 50;
pub(super) const TURNS: [usize; 3] = [1, 50, AT_ONCE];
/// For so many the goals of first delta and CPU are made.
const AT_ONCE: usize = 200;
/// What is sent before does not count as steady: that is what the first delta is about.
const SETTLED: Duration = Duration::from_millis(500);

/// What one way gave in each round.
#[derive(Debug, Default)]
pub(super) struct Column {
    /// Microseconds, from the upstream's write to the client's read.
    pub(super) p50: Vec<f64>,
    pub(super) p99: Vec<f64>,
    /// Microseconds, from the message to its first delta.
    pub(super) first_p50: Vec<f64>,
    /// Microseconds of CPU for each delta.
    pub(super) cpu: Vec<f64>,
    storage: Vec<f64>,
    /// Microseconds of CPU for each turn beside its deltas.
    turn: Vec<f64>,
}

impl Column {
    pub(super) fn take(&mut self, round: &Round) {
        let mut latency = round.report.latency_ns(SETTLED);
        self.p50.push(in_us(quantile(&mut latency, 0.5)));
        self.p99.push(in_us(quantile(&mut latency, 0.99)));
        self.first_p50.push(in_us(quantile(&mut round.report.first_ns(), 0.5)));
        if let Some((cpu, deltas)) = &round.steady {
            self.cpu.push(in_us(cpu.total()) / float(*deltas));
            self.storage.push(in_us(cpu.storage()) / float(*deltas));
            // What the round took beyond its deltas: the turns' beginnings and ends.
            let streamed = in_us(cpu.total()) / float(*deltas) * float(round.report.deltas());
            self.turn.push((in_us(round.cpu.total()) - streamed).max(0.0) / float(round.report.turns.len() as u64));
        }
    }
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let directory = bench.place.directory()?;
    let rig = bench.place.rig(directory.path(), bench.floor_threads, None)?;
    let plan = Plan::paced(DELTAS_PER_S, bench.or_quick(4.0, 1.5));
    let (mut latency, mut first, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for turns in TURNS {
        let with_socket = turns == 50;
        let paths = [Path::Direct, Path::Floor, Path::Sse, Path::Socket];
        let mut columns: [Column; 4] = Default::default();
        // The round before the first opens connections and fills caches; it does not count.
        for round in 0..=bench.rounds {
            for (path, column) in paths.iter().zip(&mut columns).filter(|(path, _)| with_socket || **path != Path::Socket) {
                let done = path.round(&rig, turns, plan).await?;
                if round > 0 {
                    column.take(&done);
                }
            }
            progress(&format!("paced, {turns} turns: round {round} of {}", bench.rounds));
        }
        let [direct, floor, sse, socket] = &columns;
        latency.extend(latency_rows(&counted(turns), direct, floor, sse));
        if with_socket {
            latency.extend(latency_rows(&format!("{turns} turns over WebSocket"), direct, floor, socket));
        }
        let row = Row::new(format!("first delta, p50, {} at once", counted(turns)), "us", &sse.first_p50);
        let row = row.beside(&sse.first_p50, &floor.first_p50);
        first.push(if turns == AT_ONCE { row.at_most_times(2.0) } else { row });
        let row = Row::new(format!("CPU per delta, paced, {}", counted(turns)), "us", &sse.cpu).beside(&sse.cpu, &floor.cpu);
        let row = row.noted(format!("{:.1} us of it in the storage threads", median(&sse.storage)));
        cpu.push(if turns == AT_ONCE { row.at_most_above(4.0) } else { row });
        if turns == AT_ONCE {
            let row = Row::new(format!("CPU per turn beside its deltas, {turns} turns at once"), "us", &sse.turn);
            cpu.push(row);
        }
    }
    latency.extend(first);
    latency.extend(cpu);
    Ok(latency)
}

pub(super) fn counted(turns: usize) -> String {
    format!("{turns} turn{}", if turns == 1 { "" } else { "s" })
}

/// A delta is late by what it takes beyond the time that it takes, as a rule, when nothing stands between.
fn latency_rows(what: &str, direct: &Column, floor: &Column, ours: &Column) -> [Row; 2] {
    let direct = median(&direct.p50);
    let above = |values: &[f64]| -> Vec<f64> { values.iter().map(|value| value - direct).collect() };
    [("p50", &floor.p50, &ours.p50), ("p99", &floor.p99, &ours.p99)].map(|(quantile, floor, ours)| {
        let (floor, ours) = (above(floor), above(ours));
        Row::new(format!("added latency per delta, {quantile}, {what}"), "us", &ours).beside(&ours, &floor).at_most_times(1.5)
    })
}
