//! The exceptions of `COLLOQUY_EGRESS_ALLOW`: exact pairs of host and port.

use std::str::FromStr;

use url::{Host, Url};

/// Pairs of host and port that may be called though they are private, by `http` too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList(Vec<(Host<String>, u16)>);

/// The entry that is not a pair of host and port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not host:port")]
pub struct AllowListError(String);

impl AllowList {
    #[must_use]
    pub fn contains(&self, host: &Host<String>, port: u16) -> bool {
        self.0.iter().any(|(allowed, on)| allowed == host && *on == port)
    }
}

/// `127.0.0.1:9000,[::1]:9000,agent.internal:8080`; an empty text allows nothing.
impl FromStr for AllowList {
    type Err = AllowListError;

    fn from_str(text: &str) -> Result<Self, AllowListError> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(pair).collect::<Result<_, _>>().map(Self)
    }
}

fn pair(entry: &str) -> Result<(Host<String>, u16), AllowListError> {
    let wrong = || AllowListError(entry.to_owned());
    let (host, port) = entry.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    // Read as browsers do, so that 0x7f.1 in the list is what 0x7f.1 in an address is.
    let url = Url::parse(&format!("http://{host}/")).map_err(|_| wrong())?;
    let only_a_host = url.port().is_none() && url.path() == "/" && url.username().is_empty() && url.query().is_none();
    let host = url.host().filter(|_| only_a_host && !host.contains(['/', '?', '#', '@'])).ok_or_else(wrong)?;
    Ok((host.to_owned(), port))
}
