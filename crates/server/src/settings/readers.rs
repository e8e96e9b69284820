//! From a setting's text to its value. An error is the rest of a line that begins with the setting's name.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use domain::egress::AllowListError;
use domain::{ModelName, Project, ProjectName, ProjectSource};
use engine::{DataSet, PostgresSet, SqliteSet};
use reqwest::Url;
use store::DatabaseUrl;
use tracing_subscriber::EnvFilter;

use super::models::Draft;
use crate::config::{Auth, LogFormat, PublicUrl, ServerConfig};

type Read = Result<(), String>;

pub(super) fn listen(config: &mut ServerConfig, text: &str) -> Read {
    config.listen = items(text).map(address).collect::<Result<_, _>>()?;
    if config.listen.is_empty() { Err("there is no address in it".to_owned()) } else { Ok(()) }
}

pub(super) fn auth(config: &mut ServerConfig, text: &str) -> Read {
    config.auth = match text {
        "token" => Auth::Token,
        "off" => Auth::Off,
        _ => return Err(format!("{text:?} is neither token nor off")),
    };
    Ok(())
}

pub(super) fn origins(config: &mut ServerConfig, text: &str) -> Read {
    config.origins = items(text).map(origin).collect::<Result<_, _>>()?;
    Ok(())
}

pub(super) fn public_url(config: &mut ServerConfig, text: &str) -> Read {
    let url = web_url(text)?;
    let prefix = url.path().trim_end_matches('/').to_owned();
    // The prefix is compared with paths as they come, and stands in attributes of the page.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if prefix.contains("//") || !prefix.chars().all(plain) {
        return Err(format!("the path of {text:?} may have only letters, digits and -_.~ between single slashes"));
    }
    config.public_url = Some(PublicUrl { origin: url.origin().ascii_serialization(), prefix });
    Ok(())
}

pub(super) fn database(config: &mut ServerConfig, text: &str) -> Read {
    config.database = Some(DatabaseUrl::parse(text).map_err(|error| error.to_string())?);
    Ok(())
}

pub(super) fn vendor_key(server: &mut Draft, text: &str) -> Read {
    server.api_key = Some(key(text)?);
    Ok(())
}

pub(super) fn vendor_base_url(server: &mut Draft, text: &str) -> Read {
    server.base_url = Some(base_url(text)?);
    Ok(())
}

pub(super) fn model(config: &mut ServerConfig, text: &str) -> Read {
    let name = if text == "demo" { Some(ModelName::new("demo", "demo")) } else { ModelName::parse(text) };
    config.model = Some(name.ok_or_else(|| format!("{text:?} is not of the form provider/model"))?);
    Ok(())
}

pub(super) fn workdir(config: &mut ServerConfig, text: &str) -> Read {
    config.workdir = absolute(text)?;
    if config.workdir.is_dir() { Ok(()) } else { Err(format!("{text:?} is not a directory")) }
}

pub(super) fn egress_allow(config: &mut ServerConfig, text: &str) -> Read {
    config.egress_allow = text.parse().map_err(|error: AllowListError| error.to_string())?;
    Ok(())
}

pub(super) fn projects(config: &mut ServerConfig, text: &str) -> Read {
    for item in items(text) {
        let (name, path) = item.split_once('=').ok_or_else(|| format!("{item:?} is not of the form name=path"))?;
        add_project(config, name.trim(), path.trim())?;
    }
    Ok(())
}

/// Whether the directory is there is looked at when it is used: it may come later, and go.
pub(super) fn add_project(config: &mut ServerConfig, name: &str, path: &str) -> Read {
    let name =
        ProjectName::parse(name).ok_or_else(|| format!("{name:?} is no project name: letters, digits, - and _, at most 50"))?;
    if config.projects.iter().any(|project| project.name == name) {
        return Err(format!("the project {name} is named twice"));
    }
    if !Path::new(path).is_absolute() {
        return Err(format!("the path {path:?} of project {name} is not absolute"));
    }
    config.projects.push(Project { name, path: path.into(), source: ProjectSource::Settings });
    Ok(())
}

pub(super) fn assistant_compat(config: &mut ServerConfig, text: &str) -> Read {
    config.assistant_compat = match text {
        "on" => true,
        "off" => false,
        _ => return Err(format!("{text:?} is neither on nor off")),
    };
    Ok(())
}

pub(super) fn socket_rate(config: &mut ServerConfig, text: &str) -> Read {
    config.socket_rate = text.parse().map_err(|_| format!("{text:?} is not a number of frames per second"))?;
    Ok(())
}

pub(super) fn log(config: &mut ServerConfig, text: &str) -> Read {
    let parsed = EnvFilter::builder().parse(text);
    parsed.map_err(|_| format!("{text:?} is not a filter such as info or warn,engine=debug"))?;
    text.clone_into(&mut config.log);
    Ok(())
}

pub(super) fn log_format(config: &mut ServerConfig, text: &str) -> Read {
    config.log_format = match text {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        _ => return Err(format!("{text:?} is neither text nor json")),
    };
    Ok(())
}

pub(super) fn rules_file(config: &mut ServerConfig, text: &str) -> Read {
    let path = absolute(text)?;
    if !path.is_file() {
        return Err(format!("{text:?} is not a file"));
    }
    config.rules_file = Some(path);
    Ok(())
}

/// The address may hold a password, so it is not repeated.
pub(super) fn rules_database(config: &mut ServerConfig, text: &str) -> Read {
    let wrong = || "the address is not understood: expected sqlite:PATH or postgres://…".to_owned();
    config.rules_data = Some(match text.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => DataSet::Sqlite(SqliteSet::new(absolute(path.trim_start_matches("//"))?)),
        Some(("postgres" | "postgresql", _)) => DataSet::Postgres(PostgresSet::new(text, "public").map_err(|_| wrong())?),
        _ => return Err(wrong()),
    });
    Ok(())
}

/// The variables that PostgreSQL's own programs take, if the host is among them.
pub(super) fn rules_of_postgres_variables(environment: &BTreeMap<OsString, OsString>) -> Result<Option<DataSet>, String> {
    let variable = |name: &str| {
        let value = environment.get(OsStr::new(name)).and_then(|value| value.to_str()).filter(|value| !value.is_empty());
        value.map(|value| value.replace('\\', "\\\\").replace('\'', "\\'"))
    };
    if variable("PGHOST").is_none() {
        return Ok(None);
    }
    let names =
        [("host", "PGHOST"), ("port", "PGPORT"), ("user", "PGUSER"), ("dbname", "PGDATABASE"), ("password", "PGPASSWORD")];
    let parts = names.iter().filter_map(|(key, name)| variable(name).map(|value| format!("{key}='{value}'")));
    let address = parts.collect::<Vec<_>>().join(" ");
    let set = PostgresSet::new(&address, "public").map_err(|_| "PGHOST and its kin make no address".to_owned())?;
    Ok(Some(DataSet::Postgres(set)))
}

/// A key, which no message repeats.
pub(super) fn key(text: &str) -> Result<String, String> {
    let key = text.trim();
    let visible = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    if visible { Ok(key.to_owned()) } else { Err("the key has characters that no key has".to_owned()) }
}

/// An address, which no message repeats because it may hold a password.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let usable = Url::parse(text.trim()).is_ok_and(|url| is_web(&url) && url.query().is_none() && url.fragment().is_none());
    if usable { Ok(text.trim().to_owned()) } else { Err("the address is not an http or https address".to_owned()) }
}

pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(Path::new(text)).map_err(|error| format!("{text:?} is not a path: {error}"))
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let on_this_machine = || Some(SocketAddr::from((Ipv4Addr::LOCALHOST, text.strip_prefix(':')?.parse().ok()?)));
    let parsed = text.parse().ok().or_else(on_this_machine);
    parsed.ok_or_else(|| format!("{text:?} is not an address such as 127.0.0.1:8000 or [::1]:8000"))
}

fn origin(text: &str) -> Result<String, String> {
    let url = web_url(text)?;
    if url.path() == "/" {
        return Ok(url.origin().ascii_serialization());
    }
    Err(format!("{text:?} has a path; an origin is only scheme, host and port"))
}

fn web_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| {
        let plain = url.username().is_empty() && url.password().is_none();
        is_web(url) && plain && url.query().is_none() && url.fragment().is_none()
    });
    url.ok_or_else(|| format!("{text:?} is not an address such as https://example.org"))
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

pub(super) fn nats(config: &mut ServerConfig, text: &str) -> Result<(), String> {
    config.nats = (!text.trim().is_empty()).then(|| text.trim().to_owned());
    Ok(())
}
