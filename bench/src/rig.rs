//! What is measured: the upstream, the floor and the product, each a process of its own.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Result;
use crate::api::Api;
use crate::database::Database;
use crate::process::Process;

/// Where the product is, and where it may keep its data.
#[derive(Debug)]
pub struct Place {
    pub binary: PathBuf,
    /// On the disk that the program itself lies on: a file system in memory would make storage look free.
    pub data: TempDir,
}

/// A running product.
#[derive(Debug)]
pub struct Server {
    pub process: Process,
    pub api: Api,
}

/// Upstream, floor and product.
#[derive(Debug)]
pub struct Rig {
    pub upstream: Process,
    pub floor: Process,
    pub server: Server,
}

impl Place {
    /// An empty directory for the data of one server.
    pub fn directory(&self) -> Result<TempDir> {
        Ok(tempfile::tempdir_in(self.data.path())?)
    }

    /// Starts the product on the data in `directory`. Without an upstream it has the model that needs none.
    pub fn server(&self, directory: &Path, upstream: Option<SocketAddr>) -> Result<Server> {
        self.server_on(directory, upstream, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// The same on a certain address.
    pub fn server_on(&self, directory: &Path, upstream: Option<SocketAddr>, listen: SocketAddr) -> Result<Server> {
        self.server_with(directory, upstream, listen, None)
    }

    /// One node on a PostgreSQL database, and whatever else it keeps in `directory`.
    pub fn node(&self, directory: &Path, upstream: SocketAddr, database: &Database) -> Result<Server> {
        self.server_with(directory, Some(upstream), SocketAddr::from(([127, 0, 0, 1], 0)), Some(database))
    }

    fn server_with(
        &self,
        directory: &Path,
        upstream: Option<SocketAddr>,
        listen: SocketAddr,
        database: Option<&Database>,
    ) -> Result<Server> {
        let (listen, base_url) = (listen.to_string(), upstream.map(|address| format!("http://{address}")));
        let mut settings: Vec<(&str, &OsStr)> = vec![
            ("COLLOQUY_LISTEN", listen.as_ref()),
            ("COLLOQUY_AUTH", "off".as_ref()),
            ("COLLOQUY_DATA_DIR", directory.as_os_str()),
            ("COLLOQUY_WORKDIR", self.data.path().as_os_str()),
            ("COLLOQUY_SOCKET_RATE", "0".as_ref()),
            ("COLLOQUY_LOG", "warn".as_ref()),
        ];
        if let Some(base_url) = &base_url {
            settings.extend([
                ("ANTHROPIC_API_KEY", OsStr::new("bench")),
                ("ANTHROPIC_BASE_URL", base_url.as_ref()),
                ("COLLOQUY_MODEL", "anthropic/bench".as_ref()),
            ]);
        }
        if let Some(database) = database {
            settings.push(("DATABASE_URL", database.url.as_ref()));
        }
        let process = Process::product(&self.binary, &settings)?;
        let api = Api::at(process.address);
        Ok(Server { process, api })
    }

    /// Starts everything. The data lies in `directory`, or in a database.
    pub fn rig(&self, directory: &Path, floor_threads: Option<usize>, database: Option<&Database>) -> Result<Rig> {
        let upstream = Process::own(&["upstream"])?;
        let (address, threads) = (upstream.address.to_string(), floor_threads.map(|threads| threads.to_string()));
        let mut arguments = vec!["floor", &address];
        if let Some(threads) = &threads {
            arguments.extend(["--threads", threads]);
        }
        let floor = Process::own(&arguments)?;
        let server = match database {
            Some(database) => self.node(directory, upstream.address, database)?,
            None => self.server(directory, Some(upstream.address))?,
        };
        Ok(Rig { upstream, floor, server })
    }
}
