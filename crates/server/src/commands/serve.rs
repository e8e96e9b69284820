//! `colloquy serve`.

use std::io::ErrorKind;
use std::process::ExitCode;

use store::OpenError;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{complain, say};
use crate::logging;
use crate::settings::{EXIT_CODE, Settings};
use crate::wiring::{Running, StartError, start};

/// By convention 128 and the number of the signal.
const EXIT_INTERRUPTED: i32 = 130;

pub(super) async fn run(settings: Settings) -> ExitCode {
    logging::start(&settings.config);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    // Before anybody can know that the server runs, so that an early signal is not lost.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            complain(&format!("signals cannot be received: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let starting = start(settings.config);
    let running = tokio::select! {
        started = starting => match started {
            Ok(running) => running,
            Err(error) => {
                complain(&error.to_string());
                return ExitCode::from(exit_code(&error));
            }
        },
        () = signals.next() => return ExitCode::SUCCESS,
    };
    announce(&running);
    signals.next().await;
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        () = running.shut_down() => ExitCode::SUCCESS,
        // The runtime would wait for threads that are busy.
        () = signals.next() => std::process::exit(EXIT_INTERRUPTED),
    }
}

/// What only a change of the settings, or of the place that they name, can mend has a code of its own. What is in use may be
/// free at the next try.
fn exit_code(error: &StartError) -> u8 {
    match error {
        StartError::Listen { reason, .. } if reason.kind() == ErrorKind::AddrInUse => 1,
        StartError::Settings(_)
        | StartError::DataDir(_)
        | StartError::Listen { .. }
        | StartError::Database(OpenError::BadUrl(_) | OpenError::Server { .. } | OpenError::Failed { .. }) => EXIT_CODE,
        StartError::Database(OpenError::InUse(_) | OpenError::NewerSchema { .. }) | StartError::Engine(_) => 1,
    }
}

fn announce(running: &Running) {
    for address in &running.addresses {
        say(&format!("listening on http://{address}"));
    }
    if let Some(link) = &running.sign_in_link {
        say(&format!("sign in: {link}"));
    }
    for note in &running.notes {
        say(note);
    }
}

/// Every connection is an open file, and the usual limit of 1,024 is far below what we allow.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
