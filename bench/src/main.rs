//! Measures the product beside a bare pass-through, in the same minutes on the same machine. `docs/performance.md` says what
//! the numbers mean.

mod answer;
mod api;
mod client;
mod clock;
mod database;
mod fan;
mod floor;
mod load;
mod measures;
mod options;
mod pacer;
mod plan;
mod process;
mod record;
mod rig;
mod rules;
mod stats;
mod table;
mod upstream;

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use options::{Arguments, Command};

/// Whatever went wrong; it ends the run.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("colloquy-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    process::raise_file_limit()?;
    // One thread each for the upstream and the clients, so that they leave room for what is measured.
    match arguments.command() {
        Command::Upstream => {
            process::end_with_parent();
            one_thread()?.block_on(upstream::run())
        }
        Command::Floor { upstream, threads } => {
            process::end_with_parent();
            // As many threads as the product has, unless somebody wants to know what fewer cost.
            let runtime = match threads {
                Some(1) => one_thread()?,
                Some(threads) => Builder::new_multi_thread().worker_threads(threads).enable_all().build()?,
                None => Builder::new_multi_thread().enable_all().build()?,
            };
            runtime.block_on(floor::run(upstream))
        }
        Command::Fan { upstream } => {
            process::end_with_parent();
            Builder::new_multi_thread().enable_all().build()?.block_on(fan::run(upstream))
        }
        Command::Rules { address } => one_thread()?.block_on(unless_interrupted(rules::run(address))),
        Command::Client(options) => one_thread()?.block_on(unless_interrupted(load::run(&options))),
        Command::All(options) => one_thread()?.block_on(unless_interrupted(measures::run(&options))),
    }
}

fn one_thread() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Ends in good order when it is asked to, so that no process is left.
async fn unless_interrupted(work: impl Future<Output = Result<()>>) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        result = work => result,
        _ = interrupt.recv() => Err("interrupted".into()),
        _ = terminate.recv() => Err("terminated".into()),
    }
}
