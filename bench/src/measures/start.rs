//! How soon the product is there, and how much it takes to be there.

use std::fs;
use std::time::Duration;

use super::{Bench, progress};
use crate::Result;
use crate::stats::float;
use crate::table::Row;

const STARTS: usize = 20;
/// Until the start is over.
const SETTLE: Duration = Duration::from_secs(1);
const MB: f64 = 1e6;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let (mut fresh_ms, mut again_ms, mut memory_mb) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.or_quick(STARTS, 5) {
        let directory = bench.place.directory()?;
        let server = bench.place.server(directory.path(), None)?;
        fresh_ms.push(server.process.started_in.as_secs_f64() * 1e3);
        server.process.kill()?;
        let server = bench.place.server(directory.path(), None)?;
        again_ms.push(server.process.started_in.as_secs_f64() * 1e3);
        if memory_mb.len() < 3 {
            tokio::time::sleep(SETTLE).await;
            memory_mb.push(float(server.process.resident_bytes()?) / MB);
        }
    }
    progress("started and stopped");
    let size_mb = float(fs::metadata(&bench.place.binary)?.len()) / MB;
    Ok(vec![
        Row::new("cold start, database there", "ms", &again_ms).at_most(20.0),
        Row::new("cold start, first of all", "ms", &fresh_ms).at_most(20.0).noted("makes the database"),
        Row::new("idle memory", "MB", &memory_mb).at_most(15.0),
        Row::new("binary", "MB", &[size_mb]).at_most(30.0),
    ])
}
