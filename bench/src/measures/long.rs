//! A long conversation beside a short one.

use std::time::Instant;

use super::{Bench, progress};
use crate::Result;
use crate::api::{Api, turn};
use crate::client::prepare;
use crate::plan::Plan;
use crate::process::Process;
use crate::rig::Server;
use crate::stats::{in_us, median};
use crate::table::Row;

/// An answer of a few sentences, which comes in an instant.
const ANSWER: Plan = Plan::full_rate(20);
/// Messages that are posted and answered one by one, at the end of the long conversation: what a model is sent of it.
const POSTED: usize = 400;
const LONG: usize = 10_000;
const SHORT: usize = 10;
const SAMPLES: usize = 60;
const PAGE: usize = 100;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let directory = bench.place.directory()?;
    let upstream = Process::own(&["upstream"])?;
    let server = bench.place.server(directory.path(), Some(upstream.address))?;
    let long = conversation(&server, LONG).await?;
    progress("a conversation of 10,000 messages stands");
    let (mut short_ms, mut long_ms) = (Vec::new(), Vec::new());
    for _ in 0..bench.or_quick(SAMPLES, SAMPLES / 4) {
        let short = conversation(&server, SHORT).await?;
        short_ms.push(turn_ms(&server, &short).await?);
        long_ms.push(turn_ms(&server, &long).await?);
    }
    let mut row = Row::new(format!("turn of message {LONG}, its answer instant"), "ms", &long_ms).beside(&long_ms, &short_ms);
    row = row.noted(format!("instead of the floor: message {SHORT}"));
    let rows = vec![row.at_most_times(1.5), page(bench, &server.api, &long, PAGE).await?.at_most(5.0)];
    Ok(rows)
}

/// A conversation that ends before message number `count`.
async fn conversation(server: &Server, count: usize) -> Result<String> {
    let posted = POSTED.min(count - 2);
    let session = server.api.import(count - 2 - posted).await?;
    for _ in 0..posted / 2 {
        turn_ms(server, &session).await?;
    }
    Ok(session)
}

/// From sending the message to the end of its answer.
async fn turn_ms(server: &Server, session: &str) -> Result<f64> {
    let report = prepare(server.process.address, vec![turn(session, ANSWER)], ANSWER).await?.run().await?;
    Ok(in_us(report.elapsed_ns()) / 1e3)
}

async fn page(bench: &Bench, api: &Api, session: &str, rows: usize) -> Result<Row> {
    let path = format!("/api/sessions/{session}/messages?limit={rows}");
    let mut times_ms = Vec::new();
    for _ in 0..bench.or_quick(100, 20) {
        let begun = Instant::now();
        let page = api.get(&path).await?;
        times_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        let page: Vec<serde_json::Value> = serde_json::from_slice(&page)?;
        if page.len() != rows {
            return Err(format!("a page of {rows} messages has {}", page.len()).into());
        }
    }
    progress(&format!("the last page comes after {:.2} ms", median(&times_ms)));
    Ok(Row::new(format!("last page of history ({rows} of {LONG} messages)"), "ms", &times_ms))
}
