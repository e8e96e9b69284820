//! Where a PostgreSQL server is, and how it is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::OpenError;

/// A server in the same building answers in milliseconds, one behind a slow link in a second.
const CONNECTING: Duration = Duration::from_secs(5);
/// After so long without any sign of life from the other machine a connection is given up.
const SILENCE: Duration = Duration::from_secs(10);

/// The address of a PostgreSQL database. It may hold a password, which nothing shows.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    pub(crate) config: Config,
    /// PEM file with the certificates of those who may vouch for the server, instead of the system's.
    pub(super) root_certificates: Option<PathBuf>,
}

impl PostgresUrl {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE…`.
    ///
    /// # Errors
    /// The address is not understood. The error does not repeat it.
    pub(crate) fn parse(text: &str) -> Result<Self, OpenError> {
        let url = Self::read(text, "colloquy")?;
        if url.config.get_hosts().is_empty() && url.config.get_hostaddrs().is_empty() {
            return Err(OpenError::BadUrl("there is no host in it".to_owned()));
        }
        if url.config.get_dbname().is_none() && url.config.get_user().is_none() {
            return Err(OpenError::BadUrl("there is neither a user nor a database in it".to_owned()));
        }
        Ok(url)
    }

    /// Reads the same, or `KEY='VALUE'…`, of a database that is not ours. It is told that `who` asks.
    ///
    /// # Errors
    /// The address is not understood. The error does not repeat it.
    pub(crate) fn read(text: &str, who: &str) -> Result<Self, OpenError> {
        let (text, root_certificates) = without_certificates(text)?;
        let wrong = |error: tokio_postgres::Error| OpenError::BadUrl(super::statement::sentence(&error));
        let mut config: Config = text.parse().map_err(wrong)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECTING);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        config.keepalives_idle(SILENCE);
        if config.get_application_name().is_none() {
            config.application_name(who);
        }
        Ok(Self { config, root_certificates })
    }

    /// Whether the certificate of the server is looked at: a server that is asked for encryption must prove who it is.
    pub(super) fn verifies(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Require
    }
}

/// Without the options that the driver does not know: `sslrootcert`, and the stricter modes, which `require` is here.
fn without_certificates(text: &str) -> Result<(String, Option<PathBuf>), OpenError> {
    let Some((address, options)) = text.split_once('?').filter(|_| text.contains("://")) else {
        return Ok((text.to_owned(), None));
    };
    let mut file = None;
    let mut kept = Vec::new();
    for option in options.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("sslrootcert", "system")) => {}
            Some(("sslrootcert", path)) if path.contains('%') => {
                return Err(OpenError::BadUrl("sslrootcert must be a plain path".to_owned()));
            }
            Some(("sslrootcert", path)) => file = Some(PathBuf::from(path)),
            Some(("sslmode", "verify-full")) => kept.push("sslmode=require"),
            Some(("sslmode", "allow")) => kept.push("sslmode=prefer"),
            Some(("sslmode", "verify-ca")) => {
                return Err(OpenError::BadUrl("sslmode=verify-ca is not supported: use verify-full".to_owned()));
            }
            _ => kept.push(option),
        }
    }
    Ok((format!("{address}?{}", kept.join("&")), file))
}

/// Host, port and database; nothing that is secret.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let ports = self.config.get_ports();
        let places = hosts.enumerate().map(|(index, host)| {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            format!("{host}:{port}")
        });
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        write!(f, "postgres://{}/{database}", places.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
