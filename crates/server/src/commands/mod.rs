//! The commands of the program.

mod doctor;
mod moving;
mod serve;
mod token;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::settings::{self, Settings, SettingsError, Sources};

/// How long threads may go on after the command is done.
const LAST_THREADS: Duration = Duration::from_millis(500);

/// Runs the command that the arguments name, to its end.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return refuse(&error),
    };
    let settings = match Sources::of_process(&matches).read() {
        Ok(settings) => settings,
        Err(SettingsError(line)) => {
            complain(&line);
            return ExitCode::from(settings::EXIT_CODE);
        }
    };
    match matches.subcommand() {
        Some(("serve", _)) => in_runtime(serve::run(settings)),
        Some(("token", matches)) => token(&settings, matches),
        Some(("backup", matches)) => moving::backup(&settings.config, matches),
        Some(("restore", matches)) => moving::restore(&settings.config, matches),
        Some(("copy", matches)) => moving::copy(&settings.config, matches),
        _ => in_runtime(doctor::run(settings)),
    }
}

fn token(settings: &Settings, matches: &ArgMatches) -> ExitCode {
    if matches.get_flag("link") { in_runtime(token::link(&settings.config)) } else { token::print(&settings.config) }
}

fn command() -> Command {
    let link = Arg::new("link")
        .long("link")
        .action(ArgAction::SetTrue)
        .help("Prints a fresh sign-in link of the running server instead: good once, and for 10 minutes");
    Command::new("colloquy")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Durable conversations for people and AI agents")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(Command::new("serve").about("Starts the server"))
        .subcommand(Command::new("token").about("Prints the owner's token").arg(link))
        .subcommand(Command::new("doctor").about("Says what works here; exit code 1 if something configured is broken"))
        .subcommands(moving::commands())
        .args(settings::arguments())
        .after_help("Each setting is also an environment variable and a key of colloquy.toml, keys for model servers only so: docs/settings.md")
}

/// A wrong flag is a wrong setting and gets one line; help and version are no errors.
fn refuse(error: &clap::Error) -> ExitCode {
    let code = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand => 2,
        _ => {
            let text = error.to_string();
            complain(text.lines().next().unwrap_or_default().trim_start_matches("error: "));
            return ExitCode::from(settings::EXIT_CODE);
        }
    };
    // Nobody is left to tell if this fails.
    let _ = error.print();
    ExitCode::from(code)
}

fn in_runtime(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(command);
            // A tool may be in the middle of a search; nobody waits for it any more.
            runtime.shutdown_timeout(LAST_THREADS);
            code
        }
        Err(error) => {
            complain(&format!("the program cannot start its threads: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// One line on standard error. A closed one is no reason to panic.
fn complain(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "colloquy: {line}");
}

/// One line on standard output, at once.
fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
