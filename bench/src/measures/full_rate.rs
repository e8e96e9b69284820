//! As fast as it goes: every delta is there before it is asked for.

use super::path::{Path, Round};
use super::{Bench, progress};
use crate::Result;
use crate::plan::Plan;
use crate::stats::{float, in_us, median};
use crate::table::Row;

/// Answers at the same time, each as long as a provider's limit on tokens allows by default.
pub(super) const TURNS: usize = 16;
pub(super) const DELTAS: u32 = 8_000;

#[derive(Debug, Default)]
pub(super) struct Column {
    pub(super) per_s: Vec<f64>,
    /// Microseconds of CPU for each delta.
    pub(super) cpu: Vec<f64>,
    storage: Vec<f64>,
    joined: Vec<f64>,
}

impl Column {
    pub(super) fn take(&mut self, round: &Round) {
        let deltas = float(round.report.deltas());
        self.per_s.push(deltas / float(round.report.elapsed_ns()) * 1e9);
        self.cpu.push(in_us(round.cpu.total()) / deltas);
        self.storage.push(in_us(round.cpu.storage()) / deltas);
        self.joined.push(round.report.deltas_in_a_read());
    }
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let directory = bench.place.directory()?;
    let rig = bench.place.rig(directory.path(), bench.floor_threads, None)?;
    let plan = Plan::full_rate(bench.or_quick(DELTAS, DELTAS / 4));
    let mut columns: [Column; 3] = Default::default();
    for round in 0..=bench.rounds {
        for (path, column) in [Path::Floor, Path::Sse, Path::Socket].into_iter().zip(&mut columns) {
            let done = path.round(&rig, TURNS, plan).await?;
            if round > 0 {
                column.take(&done);
            }
        }
        progress(&format!("full rate: round {round} of {}", bench.rounds));
    }
    let [floor, sse, socket] = &columns;
    let mut rows = Vec::new();
    for (wire, ours) in [("", sse), (", over WebSocket", socket)] {
        let note = format!("{:.1} us of it in the storage threads", median(&ours.storage));
        let row = Row::new(format!("CPU per delta, full rate, {TURNS} turns{wire}"), "us", &ours.cpu);
        rows.push(row.beside(&ours.cpu, &floor.cpu).at_most(5.0).noted(note));
        let row = Row::new(format!("deltas/s at full rate{wire}"), "thousand/s", &thousands(&ours.per_s));
        let note = format!("{:.1} deltas in a read", median(&ours.joined));
        rows.push(row.beside(&thousands(&ours.per_s), &thousands(&floor.per_s)).noted(note));
    }
    Ok(rows)
}

pub(super) fn thousands(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value / 1e3).collect()
}
