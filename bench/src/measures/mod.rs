//! What is measured. Each measure starts its own processes and gives rows.

mod crash;
mod databases;
mod full_rate;
mod idle;
mod long;
mod nodes;
mod paced;
mod path;
mod start;
mod watchers;

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::database::Postgres;
use crate::options::{AllOptions, Measure};
use crate::rig::Place;
use crate::table::{Row, markdown};

/// Everything together takes about eight minutes; a run that takes this long hangs.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// How much is measured.
#[derive(Debug)]
pub struct Bench {
    pub place: Place,
    pub quick: bool,
    pub rounds: usize,
    pub floor_threads: Option<usize>,
}

impl Bench {
    /// The first, or the second if only a smoke run is wanted.
    pub const fn or_quick<T: Copy>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// Measures what was asked for and prints it.
pub async fn run(options: &AllOptions) -> Result<()> {
    tokio::time::timeout(LIMIT, measure_all(options)).await.map_err(|_| format!("the run took longer than {LIMIT:?}"))?
}

async fn measure_all(options: &AllOptions) -> Result<()> {
    let rounds = options.rounds.unwrap_or(if options.quick { 2 } else { 5 });
    let bench = Bench { place: place()?, quick: options.quick, rounds, floor_threads: options.floor_threads };
    let mut rows: Vec<Row> = Vec::new();
    let wanted = |measure: Measure| options.only.is_empty() || options.only.contains(&measure);
    if wanted(Measure::Paced) {
        rows.extend(paced::measure(&bench).await?);
    }
    if wanted(Measure::FullRate) {
        rows.extend(full_rate::measure(&bench).await?);
    }
    if wanted(Measure::Watchers) {
        rows.extend(watchers::measure(&bench).await?);
    }
    if wanted(Measure::Idle) {
        rows.extend(idle::measure(&bench).await?);
    }
    if wanted(Measure::Long) {
        rows.extend(long::measure(&bench).await?);
    }
    if wanted(Measure::Start) {
        rows.extend(start::measure(&bench).await?);
    }
    if wanted(Measure::Crash) {
        rows.extend(crash::measure(&bench).await?);
    }
    let needs_postgres = [Measure::Databases, Measure::Nodes].map(wanted);
    if needs_postgres.contains(&true) {
        match Postgres::named() {
            Some(postgres) => {
                if wanted(Measure::Databases) {
                    rows.extend(databases::measure(&bench, &postgres).await?);
                }
                if wanted(Measure::Nodes) {
                    rows.extend(nodes::measure(&bench, &postgres).await?);
                }
            }
            None if options.only.is_empty() => progress("no PostgreSQL server is named, so none is measured"),
            None => return Err("run it under scripts/with-services, which starts the PostgreSQL server that this needs".into()),
        }
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", markdown(&rows));
    }
    Ok(())
}

/// The product, and a directory that is removed in the end, beside this program.
pub fn place() -> Result<Place> {
    let beside = env::current_exe()?;
    let data = tempfile::Builder::new().prefix("bench-").tempdir_in(beside.parent().unwrap_or(&beside))?;
    Ok(Place { binary: binary()?, data })
}

/// The product, built for release: named by COLLOQUY_BIN, or beside this program, where it is brought up to date first.
fn binary() -> Result<PathBuf> {
    if let Some(named) = env::var_os("COLLOQUY_BIN") {
        return Ok(PathBuf::from(named).canonicalize()?);
    }
    let beside = env::current_exe()?.with_file_name("colloquy");
    if let Some(cargo) = env::var_os("CARGO") {
        let built = Command::new(cargo).args(["build", "--release", "-p", "colloquy"]).status()?;
        if !built.success() {
            return Err("the product could not be built".into());
        }
    }
    beside.canonicalize().map_err(|error| format!("{}: {error}; COLLOQUY_BIN can name the binary", beside.display()).into())
}

/// Says on standard error how far the run is.
pub fn progress(text: &str) {
    eprintln!("{text}");
}
