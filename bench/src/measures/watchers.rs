//! Many who watch one conversation while it is answered.

use std::time::Duration;

use super::{Bench, progress};
use crate::Result;
use crate::client::{Wait, Watchers};
use crate::plan::Plan;
use crate::stats::{float, in_us, median};
use crate::table::Row;

const WATCHERS: usize = 1000;
const DELTAS_PER_S: u32 = 25;
const SETTLE: Duration = Duration::from_millis(200);

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let directory = bench.place.directory()?;
    let upstream = crate::process::Process::own(&["upstream"])?;
    let server = bench.place.server(directory.path(), Some(upstream.address))?;
    let (watchers, plan) = (bench.or_quick(WATCHERS, 200), Plan::paced(DELTAS_PER_S, bench.or_quick(4.0, 1.5)));
    let mut rows = Vec::new();
    for (wait, wire) in [(Wait::Sse, "SSE"), (Wait::Socket, "WebSocket")] {
        let (mut cpu, mut joined) = (Vec::new(), Vec::new());
        for round in 1..=bench.rounds {
            let session = server.api.session().await?;
            let all = Watchers::attach(server.process.address, &session, watchers, wait, plan).await?;
            tokio::time::sleep(SETTLE).await;
            let before = server.process.cpu_ns()?;
            server.api.say(&session, plan).await?;
            let heard = all.finish().await?;
            tokio::time::sleep(SETTLE).await;
            let spent = server.process.cpu_ns()?.since(&before);
            let deliveries = float(heard.iter().map(|heard| u64::from(heard.deltas)).sum());
            cpu.push(in_us(spent.total()) / deliveries);
            joined.push(deliveries / float(heard.iter().map(|heard| u64::from(heard.reads)).sum()));
            progress(&format!("{watchers} watchers over {wire}: round {round} of {}", bench.rounds));
        }
        let row = Row::new(format!("CPU per delivery, {watchers} watch one conversation, {wire}"), "us", &cpu);
        rows.push(row.at_most(8.0).noted(format!("{:.2} deltas in a read", median(&joined))));
    }
    Ok(rows)
}
