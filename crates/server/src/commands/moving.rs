//! `colloquy backup`, `colloquy restore` and `colloquy copy`.

use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use domain::{Clock, SystemClock};
use store::DatabaseUrl;
use store::moving::{self, Counts, MoveError};

use super::{complain, say};
use crate::config::ServerConfig;
use crate::data_dir::{self, DataDir};

/// Rows between two lines about the same table.
const SPOKEN: u64 = 100_000;

pub(super) fn commands() -> [Command; 3] {
    let file = |help: &'static str| Arg::new("file").value_name("FILE").required(true).help(help);
    let url = |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("URL").required(true).help(help);
    let replace = Arg::new("replace")
        .long("replace")
        .action(ArgAction::SetTrue)
        .help("Replaces the data that are there; they are kept in a file in the data directory first");
    [
        Command::new("backup")
            .about("Keeps everything in FILE, an SQLite database, while the server runs")
            .arg(file("A file that does not exist yet")),
        Command::new("restore")
            .about("Brings back what a backup has kept; the server must be stopped")
            .arg(file("What backup has written"))
            .arg(replace),
        Command::new("copy")
            .about("Moves everything into another, empty database; no server may run on either")
            .arg(url("from", "sqlite:PATH or postgres://…"))
            .arg(url("to", "sqlite:PATH or postgres://…")),
    ]
}

pub(super) fn backup(config: &ServerConfig, matches: &ArgMatches) -> ExitCode {
    let file = file_of(matches);
    let kept = moving::backup(&config.database(), file, &mut speak());
    told(kept.map(|counts| {
        let bytes = file.metadata().map(|file| file.len()).unwrap_or_default();
        format!("kept {} in {}, {} KiB, checked", sum(&counts), file.display(), bytes / 1024)
    }))
}

pub(super) fn restore(config: &ServerConfig, matches: &ArgMatches) -> ExitCode {
    let url = config.database();
    if let Err(line) = prepare(config, &url) {
        complain(&line);
        return ExitCode::FAILURE;
    }
    let replace = matches.get_flag("replace");
    let place = moving::Place { database: &url, directory: &config.data_dir, replace, now: SystemClock.now() };
    let restored = moving::restore(file_of(matches), place, &mut speak());
    let restored = restored.map(|restored| {
        let kept = restored.replaced.map(|path| format!("; what was there before is in {}", path.display()));
        format!("restored {}, checked{}", sum(&restored.counts), kept.unwrap_or_default())
    });
    match restored {
        Err(MoveError::NotEmpty(database)) => {
            complain(&format!("{database} holds data already: --replace keeps them in a file and puts these in their place"));
            ExitCode::FAILURE
        }
        restored => told(restored),
    }
}

pub(super) fn copy(config: &ServerConfig, matches: &ArgMatches) -> ExitCode {
    let url = |name: &str| {
        let text = matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
        DatabaseUrl::parse(text).map_err(|error| format!("--{name}: {error}"))
    };
    let both = || {
        let (from, to) = (url("from")?, url("to")?);
        // Opening what is not there would make it, and then copy nothing.
        if matches!(&from, DatabaseUrl::Sqlite(path) if !path.is_file()) {
            return Err(format!("--from: there is no file {from}"));
        }
        prepare(config, &to)?;
        Ok((from, to))
    };
    match both() {
        Ok((from, to)) => told(moving::copy(&from, &to, &mut speak()).map(|counts| format!("copied {}, checked", sum(&counts)))),
        Err(line) => {
            complain(&line);
            ExitCode::FAILURE
        }
    }
}

/// Nobody else may read a file that is to hold conversations.
fn prepare(config: &ServerConfig, url: &DatabaseUrl) -> Result<(), String> {
    DataDir::create(&config.data_dir).map_err(|error| format!("COLLOQUY_DATA_DIR: {error}"))?;
    match url {
        DatabaseUrl::Sqlite(path) => data_dir::ensure_private_file(path).map_err(|error| format!("{}: {error}", path.display())),
        DatabaseUrl::SqliteInMemory | DatabaseUrl::Postgres(_) => Ok(()),
    }
}

fn file_of(matches: &ArgMatches) -> &Path {
    Path::new(matches.get_one::<String>("file").map(String::as_str).unwrap_or_default())
}

/// Says from time to time how far it is.
fn speak() -> impl FnMut(&str, u64) {
    let mut next = SPOKEN;
    move |table, rows| {
        if rows < next.saturating_sub(SPOKEN) {
            next = SPOKEN;
        }
        if rows >= next {
            complain(&format!("{table}: {rows} rows so far"));
            next = rows + SPOKEN;
        }
    }
}

fn sum(counts: &Counts) -> String {
    let rows = |table: &str| counts.iter().find(|(name, _)| name == table).map_or(0, |(_, rows)| *rows);
    let all: u64 = counts.iter().map(|(_, rows)| rows).sum();
    let (conversations, messages) = (rows("conversation"), rows("message"));
    format!("{conversations} conversations with {messages} messages ({all} rows in {} tables)", counts.len())
}

fn told(done: Result<String, MoveError>) -> ExitCode {
    match done {
        Ok(line) => {
            say(&line);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
