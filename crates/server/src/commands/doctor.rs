//! `colloquy doctor`: one line for each thing that must work.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Provider, SystemClock};
use store::{DatabaseUrl, OpenError, Store, StoreError, Tx};

use super::say;
use crate::config::{Auth, ServerConfig};
use crate::data_dir::DataDir;
use crate::settings::Settings;
use crate::{local, serve, web, wiring};

/// What a person waits for one provider.
const PROVIDER_PATIENCE: Duration = Duration::from_secs(5);

mod rules;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

struct Finding {
    verdict: Verdict,
    about: String,
    text: String,
}

pub(super) async fn run(settings: Settings) -> ExitCode {
    let config = settings.config;
    let mut findings: Vec<_> = settings.warnings.into_iter().map(|line| warn("settings", line)).collect();
    findings.push(data_directory(&config.data_dir));
    findings.push(token(&config));
    let is_running = running_server(&config, &mut findings).await;
    findings.push(database(&config, is_running).await);
    models(&config, &mut findings).await;
    findings.push(work_directory(&config));
    findings.push(rules::rules(&config).await);
    let tools: Vec<_> = tools::read_tools().iter().map(|tool| tool.spec().name.clone()).collect();
    findings.push(ok("tools", tools.join(", ")));
    findings.push(if web::is_embedded() {
        ok("web app", "is in this program")
    } else {
        warn("web app", "is not in this program; `make run` in the source folder builds both")
    });
    for finding in &findings {
        say(&format!("{:<4}  {}: {}", finding.verdict.word(), finding.about, finding.text));
    }
    let is_broken = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    if is_broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn data_directory(path: &Path) -> Finding {
    const ABOUT: &str = "data directory";
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return ok(ABOUT, format!("{shown} will be made when the server starts"));
        }
        Err(error) => return fail(ABOUT, format!("{shown}: {error}")),
    };
    let mode = metadata.permissions().mode() & 0o777;
    if !metadata.is_dir() {
        fail(ABOUT, format!("{shown} is not a directory"))
    } else if rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_err() {
        fail(ABOUT, format!("{shown} is not writable"))
    } else if mode & 0o077 != 0 {
        warn(ABOUT, format!("{shown} has mode {mode:04o}, so others may look into it; `chmod 700` ends that"))
    } else {
        ok(ABOUT, shown.to_string())
    }
}

fn token(config: &ServerConfig) -> Finding {
    const ABOUT: &str = "sign-in";
    let data_dir = DataDir::at(&config.data_dir);
    if config.auth == Auth::Off {
        return warn(ABOUT, "is off: every program of this machine is the owner");
    }
    match data_dir.token() {
        Err(error) => fail(ABOUT, error.to_string()),
        Ok(None) => ok(ABOUT, "the token will be made when the server starts"),
        Ok(Some(_)) => match std::fs::metadata(data_dir.token_path()).map(|file| file.permissions().mode() & 0o777) {
            Ok(mode) if mode & 0o077 != 0 => {
                warn(ABOUT, format!("the token file has mode {mode:04o}, so others may read it; `chmod 600` ends that"))
            }
            _ => ok(ABOUT, "the token is there"),
        },
    }
}

async fn running_server(config: &ServerConfig, findings: &mut Vec<Finding>) -> bool {
    const ABOUT: &str = "server";
    if let Ok(Some(address)) = DataDir::at(&config.data_dir).address()
        && local::is_healthy(address).await
    {
        findings.push(ok(ABOUT, format!("is running on http://{address}")));
        return true;
    }
    for address in &config.listen {
        findings.push(match serve::bind(*address) {
            Ok(_) => ok(ABOUT, format!("is not running; {address} is free")),
            Err(error) => fail(ABOUT, format!("is not running, and cannot listen on {address}: {error}")),
        });
    }
    false
}

async fn database(config: &ServerConfig, is_running: bool) -> Finding {
    const ABOUT: &str = "database";
    let path = match config.database() {
        DatabaseUrl::SqliteInMemory => return warn(ABOUT, "is in memory: everything is lost when the server stops"),
        DatabaseUrl::Sqlite(path) => path,
        DatabaseUrl::Postgres(url) => return postgres(&url.to_string(), config).await,
    };
    let shown = path.display();
    if matches!(path.try_exists(), Ok(false)) {
        return match path.parent().map(Path::is_dir) {
            Some(false) if path.parent() != Some(&config.data_dir) => fail(ABOUT, format!("{shown}: there is no such directory")),
            _ => ok(ABOUT, format!("{shown} will be made when the server starts")),
        };
    }
    let store = match Store::open(&DatabaseUrl::Sqlite(path.clone())) {
        Ok(store) => store,
        Err(OpenError::InUse(_)) if is_running => return ok(ABOUT, format!("{shown} is in use by the running server")),
        Err(error) => return fail(ABOUT, error.to_string()),
    };
    match store.read(quick_check).await {
        Ok(answer) if answer == "ok" => ok(ABOUT, format!("{shown} is sound")),
        Ok(answer) => fail(ABOUT, format!("{shown} is damaged: {answer}")),
        Err(error) => fail(ABOUT, format!("{shown}: {error}")),
    }
}

async fn postgres(shown: &str, config: &ServerConfig) -> Finding {
    const ABOUT: &str = "database";
    let store = match Store::open(&config.database()) {
        Ok(store) => store,
        Err(error) => return fail(ABOUT, error.to_string()),
    };
    match store.write(round_trip).await {
        Ok(()) if store.warnings().is_empty() => ok(ABOUT, format!("{shown} can be read and written")),
        Ok(()) => warn(ABOUT, store.warnings().join("; ")),
        Err::<(), StoreError>(error) => fail(ABOUT, format!("{shown}: {error}")),
    }
}

/// A write that changes nothing.
fn round_trip(tx: &mut Tx) -> Result<(), StoreError> {
    tx.execute("DELETE FROM request_key WHERE key = $1 AND created_at < 0", &["".into()]).map(drop)
}

fn quick_check(tx: &mut Tx) -> Result<String, StoreError> {
    let rows = tx.query("PRAGMA quick_check(1)", &[])?;
    rows.first().map_or_else(|| Ok("no answer".to_owned()), |row| row.get(0))
}

async fn models(config: &ServerConfig, findings: &mut Vec<Finding>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let providers = match wiring::providers(config, &clock) {
        Ok(providers) => providers,
        Err(error) => {
            findings.push(fail("models", error.to_string()));
            return;
        }
    };
    let default = config.model.as_ref();
    if let Some(model) = default.filter(|model| !providers.iter().any(|provider| provider.name() == model.provider)) {
        findings.push(fail("models", format!("COLLOQUY_MODEL: there is no provider {:?}", model.provider)));
    }
    for provider in &providers {
        let is_default = default.is_some_and(|model| model.provider == provider.name());
        findings.push(check_provider(&**provider, is_default).await);
    }
}

async fn check_provider(provider: &dyn Provider, is_default: bool) -> Finding {
    let about = format!("models of {}", provider.name());
    if !provider.is_configured() {
        let text = "there is no key";
        return if is_default { fail(&about, text) } else { warn(&about, text) };
    }
    match tokio::time::timeout(PROVIDER_PATIENCE, provider.live_models()).await {
        Ok(Ok(models)) => ok(&about, format!("{} to choose from", models.len())),
        Ok(Err(error)) => fail(&about, error.sentence),
        Err(_) => fail(&about, "no answer"),
    }
}

fn work_directory(config: &ServerConfig) -> Finding {
    let shown = config.workdir.display().to_string();
    if config.workdir.is_dir() {
        ok("working directory", shown)
    } else {
        fail("working directory", format!("{shown} is not there"))
    }
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

fn ok(about: &str, text: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Ok, about: about.to_owned(), text: text.into() }
}

fn warn(about: &str, text: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Warn, about: about.to_owned(), text: text.into() }
}

fn fail(about: &str, text: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Fail, about: about.to_owned(), text: text.into() }
}
