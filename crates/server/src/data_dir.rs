//! The files beside the database: the owner's token, and the address of the running server. Only the owner may read them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use engine::SEAL_KEY_BYTES;
use sha2::{Digest, Sha256};

/// What tokens begin with, so that scanners of leaked secrets can know them.
const TOKEN_PREFIX: &str = "clq_";
const TOKEN_BYTES: usize = 32;
/// Our own files here are one short line.
const MAX_FILE_BYTES: u64 = 4096;
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

/// The place of a node in its data directory, while it runs.
#[derive(Debug)]
pub struct NodeNote {
    /// The name of the node before it.
    pub earlier: Option<String>,
    _lock: File,
}

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("{}: {reason}", .path.display())]
    Io { path: PathBuf, reason: io::Error },
    #[error("{}: this is not a token; delete the file to get a new one", .0.display())]
    NotAToken(PathBuf),
    #[error("{}: this is not a key of 64 hex digits; without the right one, stored credentials must be entered again", .0.display())]
    NotAKey(PathBuf),
}

impl DataDir {
    /// Makes the directory if it is not there, for the owner alone.
    ///
    /// # Errors
    /// It cannot be made, or is something else.
    pub fn create(path: &Path) -> Result<Self, DataDirError> {
        let made = DirBuilder::new().recursive(true).mode(DIR_MODE).create(path);
        made.map_err(|reason| DataDirError::Io { path: path.to_owned(), reason })?;
        Ok(Self::at(path))
    }

    /// The directory, whether it is there or not.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    #[must_use]
    pub fn token_path(&self) -> PathBuf {
        self.path.join("token")
    }

    /// The owner's token, made now if there is none.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn token_or_new(&self) -> Result<String, DataDirError> {
        match self.token()? {
            Some(token) => Ok(token),
            None => self.new_token(),
        }
    }

    /// The owner's token, if there is one yet.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn token(&self) -> Result<Option<String>, DataDirError> {
        let Some(token) = read_line(&self.token_path())? else { return Ok(None) };
        let secret = token.strip_prefix(TOKEN_PREFIX).unwrap_or_default();
        let whole = secret.len() == TOKEN_BYTES * 2 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        if whole { Ok(Some(token)) } else { Err(DataDirError::NotAToken(self.token_path())) }
    }

    fn new_token(&self) -> Result<String, DataDirError> {
        let mut secret = [0; TOKEN_BYTES];
        let failed = |reason| DataDirError::Io { path: self.token_path(), reason };
        getrandom::fill(&mut secret).map_err(|error| failed(io::Error::other(error.to_string())))?;
        let token = format!("{TOKEN_PREFIX}{}", hex(&secret));
        write_line(&self.token_path(), &token, Keep::ThroughPowerCuts)?;
        Ok(token)
    }

    /// The key under which stored credentials are encrypted, made now if there is none.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn seal_key_or_new(&self) -> Result<[u8; SEAL_KEY_BYTES], DataDirError> {
        let path = self.path.join("seal.key");
        if let Some(line) = read_line(&path)? {
            return from_hex(&line).ok_or(DataDirError::NotAKey(path));
        }
        let mut key = [0; SEAL_KEY_BYTES];
        let failed = |reason| DataDirError::Io { path: path.clone(), reason };
        getrandom::fill(&mut key).map_err(|error| failed(io::Error::other(error.to_string())))?;
        write_line(&path, &hex(&key), Keep::ThroughPowerCuts)?;
        Ok(key)
    }

    /// Notes where the running server is, for `colloquy token --link` and `colloquy doctor`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note_address(&self, address: SocketAddr) -> Result<(), DataDirError> {
        write_line(&self.address_path(), &address.to_string(), Keep::WhileRunning)
    }

    /// Where a server was running last; it may have ended without a word.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn address(&self) -> Result<Option<SocketAddr>, DataDirError> {
        Ok(read_line(&self.address_path())?.and_then(|line| line.parse().ok()))
    }

    /// Forgets `address` unless another server has noted its own meanwhile.
    pub fn forget_address(&self, address: SocketAddr) {
        if matches!(self.address(), Ok(Some(noted)) if noted == address) {
            // Somebody who finds it will see that nobody answers there.
            let _ = std::fs::remove_file(self.address_path());
        }
    }

    /// Notes the name of the node that begins to work here, and gives that of the one before it, which is known to have ended:
    /// whoever holds the answer's lock is the only one. `None`: another node works here, and both have to do without.
    ///
    /// # Errors
    /// The files cannot be read or written.
    pub fn note_node(&self, name: &str) -> Result<Option<NodeNote>, DataDirError> {
        let (path, lock_path) = (self.path.join("node"), self.path.join("node.lock"));
        let failed = |reason| DataDirError::Io { path: lock_path.clone(), reason };
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&lock_path).map_err(failed)?;
        if lock.try_lock().is_err() {
            return Ok(None);
        }
        let earlier = read_line(&path)?;
        write_line(&path, name, Keep::WhileRunning)?;
        Ok(Some(NodeNote { earlier, _lock: lock }))
    }

    fn address_path(&self) -> PathBuf {
        self.path.join("address")
    }
}

/// Makes an empty file that only the owner may read, unless there is one. SQLite gives its companions the same mode.
///
/// # Errors
/// It cannot be made.
pub fn ensure_private_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The form in which the engine knows a token.
#[must_use]
pub fn token_hash(token: &str) -> String {
    hex(&Sha256::digest(token))
}

/// Where to reach a server of this machine that listens there: "all addresses" is none that one can call.
#[must_use]
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; SEAL_KEY_BYTES]> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(|pair| u8::try_from(pair.first()? * 16 + pair.get(1)?).ok()).collect();
    bytes?.try_into().ok()
}

/// `None`: there is no file, or nothing in it.
fn read_line(path: &Path) -> Result<Option<String>, DataDirError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text.trim().to_owned()).filter(|line| !line.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(reason) => Err(DataDirError::Io { path: path.to_owned(), reason }),
    }
}

/// How long a line must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    ThroughPowerCuts,
    /// A sync takes milliseconds of every start, and after a power cut nobody listens there.
    WhileRunning,
}

/// Writes beside the file and renames, so that nobody ever reads half of it.
fn write_line(path: &Path, line: &str, keep: Keep) -> Result<(), DataDirError> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&beside)?;
        file.write_all(format!("{line}\n").as_bytes())?;
        if keep == Keep::ThroughPowerCuts {
            file.sync_all()?;
        }
        std::fs::rename(&beside, path)
    };
    write().map_err(|reason| DataDirError::Io { path: path.to_owned(), reason })
}
