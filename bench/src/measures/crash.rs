//! kill -9 in mid-answer: what is lost, and how soon it goes on.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Bench, progress};
use crate::Result;
use crate::client::open_events;
use crate::clock::now_ns;
use crate::plan::Plan;
use crate::process::Process;
use crate::record::Reader;
use crate::rig::Server;
use crate::stats::{float, in_us};
use crate::table::Row;

const PLAN: Plan = Plan { deltas: 2000, deltas_per_s: 100 };
/// How long the answers run before the server is killed; later in each round, so that it meets the flusher anywhere.
const RUN: Duration = Duration::from_millis(700);
const STEP: Duration = Duration::from_millis(17);
const TURNS: usize = 10;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let upstream = Process::own(&["upstream"])?;
    let (mut lost_ms, mut back_ms, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.or_quick(10_u32, 2) {
        let directory = bench.place.directory()?;
        let server = bench.place.server(directory.path(), Some(upstream.address))?;
        let address = server.process.address;
        let sessions = server.api.sessions(TURNS).await?;
        for session in &sessions {
            server.api.say(session, PLAN).await?;
        }
        tokio::time::sleep(RUN + STEP * round).await;
        let (killed_ns, begun) = (now_ns(), Instant::now());
        server.process.kill()?;
        let server = bench.place.server_on(directory.path(), Some(upstream.address), address)?;
        open_events(address, &sessions[0]).await?;
        back_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        let (mut worst_ns, mut gone) = (0, 0);
        for session in &sessions {
            let (said, last_sent_ns) = kept(&server, session).await?;
            gone += u64::from(!said);
            worst_ns = worst_ns.max(killed_ns.saturating_sub(last_sent_ns.unwrap_or_default()));
        }
        lost_ms.push(in_us(worst_ns) / 1e3);
        missing.push(float(gone));
    }
    progress("killed and started again");
    let worst = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Row::new("kill -9: acknowledged messages lost", "", &[worst(&missing)]).at_most(0.0),
        Row::new("kill -9: end of the open answer lost, worst turn", "ms of text", &[worst(&lost_ms)])
            .at_most(50.0)
            .noted(format!("of {} kills, {TURNS} turns each", lost_ms.len())),
        Row::new("kill -9: from the kill to a stream that stands again", "ms", &back_ms).at_most(1000.0),
    ])
}

/// Whether the message is there, and when the last delta that is there of its answer had been sent.
async fn kept(server: &Server, session: &str) -> Result<(bool, Option<u64>)> {
    let messages = server.api.get(&format!("/api/sessions/{session}/messages")).await?;
    let messages: Vec<Value> = serde_json::from_slice(&messages)?;
    let said = messages.first().and_then(|message| message["parts"][0]["content"]["text"].as_str());
    let mut last = None;
    let mut reader = Reader::default();
    for part in messages.iter().skip(1).filter_map(|message| message["parts"].as_array()).flatten() {
        reader.push(part["content"]["text"].as_str().unwrap_or_default(), |_, sent_ns| last = Some(sent_ns))?;
    }
    Ok((said == Some(&PLAN.message()), last))
}
