//! The same turns kept in PostgreSQL and in SQLite, by turns. What the database's own processes use is not in the product's CPU.

use super::full_rate::{self, thousands};
use super::paced::{self, DELTAS_PER_S, TURNS, counted};
use super::path::Path;
use super::{Bench, progress};
use crate::Result;
use crate::database::Postgres;
use crate::plan::Plan;
use crate::rig::Rig;
use crate::table::Row;

const NOTE: &str = "instead of the floor: SQLite";

pub async fn measure(bench: &Bench, postgres: &Postgres) -> Result<Vec<Row>> {
    let (database, sqlite_directory, postgres_directory) =
        (postgres.database().await?, bench.place.directory()?, bench.place.directory()?);
    let rigs = [
        bench.place.rig(sqlite_directory.path(), bench.floor_threads, None)?,
        bench.place.rig(postgres_directory.path(), bench.floor_threads, Some(&database))?,
    ];
    let mut rows = paced_rows(bench, &rigs).await?;
    rows.extend(full_rate_rows(bench, &rigs).await?);
    drop(rigs);
    database.remove().await?;
    Ok(rows)
}

async fn paced_rows(bench: &Bench, rigs: &[Rig; 2]) -> Result<Vec<Row>> {
    let plan = Plan::paced(DELTAS_PER_S, bench.or_quick(4.0, 1.5));
    let mut rows = Vec::new();
    for turns in TURNS {
        let mut columns: [paced::Column; 2] = Default::default();
        for round in 0..=bench.rounds {
            for (rig, column) in rigs.iter().zip(&mut columns) {
                let done = Path::Sse.round(rig, turns, plan).await?;
                if round > 0 {
                    column.take(&done);
                }
            }
            progress(&format!("databases, {turns} turns: round {round} of {}", bench.rounds));
        }
        let [sqlite, postgres] = &columns;
        for (what, sqlite, postgres) in [
            ("delta, p50", &sqlite.p50, &postgres.p50),
            ("delta, p99", &sqlite.p99, &postgres.p99),
            ("first delta, p50", &sqlite.first_p50, &postgres.first_p50),
            ("CPU per delta", &sqlite.cpu, &postgres.cpu),
        ] {
            let row = Row::new(format!("PostgreSQL: {what}, {}", counted(turns)), "us", postgres);
            rows.push(row.beside(postgres, sqlite).noted(NOTE));
        }
    }
    Ok(rows)
}

async fn full_rate_rows(bench: &Bench, rigs: &[Rig; 2]) -> Result<Vec<Row>> {
    let plan = Plan::full_rate(bench.or_quick(full_rate::DELTAS, full_rate::DELTAS / 4));
    let mut columns: [full_rate::Column; 2] = Default::default();
    for round in 0..=bench.rounds {
        for (rig, column) in rigs.iter().zip(&mut columns) {
            let done = Path::Sse.round(rig, full_rate::TURNS, plan).await?;
            if round > 0 {
                column.take(&done);
            }
        }
        progress(&format!("databases, full rate: round {round} of {}", bench.rounds));
    }
    let [sqlite, postgres] = &columns;
    let (ours, beside) = (thousands(&postgres.per_s), thousands(&sqlite.per_s));
    Ok(vec![
        Row::new("PostgreSQL: deltas/s at full rate", "thousand/s", &ours).beside(&ours, &beside).noted(NOTE),
        Row::new("PostgreSQL: CPU per delta, full rate", "us", &postgres.cpu).beside(&postgres.cpu, &sqlite.cpu).noted(NOTE),
    ])
}
