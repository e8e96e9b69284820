//! Many who watch one conversation while it is answered.

use std::time::Duration;

use super::{Bench, progress};
use crate::Result;
use crate::api::Api;
use crate::client::{Wait, Watchers};
use crate::plan::Plan;
use crate::process::Process;
use crate::stats::{float, in_us};
use crate::table::Row;

const WATCHERS: usize = 1000;
const DELTAS_PER_S: u32 = 25;
const SETTLE: Duration = Duration::from_millis(200);

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let directory = bench.place.directory()?;
    let upstream = Process::own(&["upstream"])?;
    let server = bench.place.server(directory.path(), Some(upstream.address))?;
    let fan = Process::own(&["fan", &upstream.address.to_string()])?;
    let (watchers, plan) = (bench.or_quick(WATCHERS, 200), Plan::paced(DELTAS_PER_S, bench.or_quick(4.0, 1.5)));
    // Microseconds of CPU for each delivery, by way and round.
    let mut columns: [Vec<f64>; 3] = Default::default();
    for round in 0..=bench.rounds {
        let ways = [(&fan, Wait::Sse), (&server.process, Wait::Sse), (&server.process, Wait::Socket)];
        for ((process, wait), column) in ways.into_iter().zip(&mut columns) {
            // The bare fan knows no sessions; any will do.
            let session = server.api.session().await?;
            let cpu = deliver(process, &session, watchers, wait, plan).await?;
            if round > 0 {
                column.push(cpu);
            }
        }
        progress(&format!("{watchers} watchers: round {round} of {}", bench.rounds));
    }
    let [floor, sse, socket] = &columns;
    let rows = [(sse, "SSE"), (socket, "WebSocket")].map(|(ours, wire)| {
        let row = Row::new(format!("CPU per delivery, {watchers} watch one conversation, {wire}"), "us", ours);
        row.beside(ours, floor).at_most(8.0).noted("floor: a bare fan-out")
    });
    Ok(rows.into())
}

/// Microseconds of CPU for each delivery.
async fn deliver(process: &Process, session: &str, watchers: usize, wait: Wait, plan: Plan) -> Result<f64> {
    let all = Watchers::attach(process.address, session, watchers, wait, plan).await?;
    tokio::time::sleep(SETTLE).await;
    let before = process.cpu_ns()?;
    Api::at(process.address).say(session, plan).await?;
    let heard = all.finish().await?;
    tokio::time::sleep(SETTLE).await;
    let spent = process.cpu_ns()?.since(&before);
    let deliveries = float(heard.iter().map(|heard| u64::from(heard.deltas)).sum());
    Ok(in_us(spent.total()) / deliveries)
}
