//! Which addresses the program may call when somebody else chose them: people, agents, platforms, models. Pure rules; who
//! resolves names and connects (`channels::egress`) asks them before each request, with the addresses it will connect to.

mod allow;
mod ranges;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

pub use allow::{AllowList, AllowListError};
pub use ranges::is_public;

/// Ports of services that speak another protocol and might take an HTTP request for commands, or that are never public.
const FORBIDDEN_PORTS: [u16; 10] = [22, 23, 25, 110, 143, 445, 3306, 5432, 6379, 11211];

/// The longest address that is looked at; browsers and proxies give up at about this length too.
const MAX_URL_BYTES: usize = 8 * 1024;

/// Scheme, host and port of an address, spelled the same however they are written there.
#[must_use]
pub fn origin(url: &str) -> Option<String> {
    Url::parse(url).ok().map(|url| url.origin().ascii_serialization())
}

/// Who chose an address. `http` to a public host needs an administrator's own hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChosenBy {
    Admin,
    /// An agent, a platform, a contact, a model.
    Other,
}

/// The one sentence that whoever chose the address gets, whatever the reason: it must not help to map a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("address not allowed")]
pub struct AddressNotAllowed;

/// The rules of one server: what every server forbids, its own listening addresses, and its exceptions.
#[derive(Debug, Clone, Default)]
pub struct EgressRules {
    allow: AllowList,
    own: Vec<SocketAddr>,
}

/// An address whose text has passed; its [`IpAddr`]s have yet to.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    port: u16,
    exempt: bool,
}

impl EgressRules {
    /// `own`: where this server listens; unspecified addresses (`0.0.0.0`, `::`) mean every address of the machine.
    #[must_use]
    pub const fn new(allow: AllowList, own: Vec<SocketAddr>) -> Self {
        Self { allow, own }
    }

    /// Looks at the text of an address: scheme, user info, port, and the host if it is a number in any spelling.
    pub fn check_url(&self, text: &str, chosen_by: ChosenBy) -> Result<Target, AddressNotAllowed> {
        if text.len() > MAX_URL_BYTES {
            return Err(AddressNotAllowed);
        }
        let mut url = Url::parse(text).map_err(|_| AddressNotAllowed)?;
        url.set_fragment(None);
        let host = url.host().ok_or(AddressNotAllowed)?.to_owned();
        let port = url.port_or_known_default().ok_or(AddressNotAllowed)?;
        let has_user_info = !url.username().is_empty() || url.password().is_some();
        if has_user_info || !matches!(url.scheme(), "http" | "https") {
            return Err(AddressNotAllowed);
        }
        if self.allow.contains(&host, port) {
            return Ok(Target { url, port, exempt: true });
        }
        let scheme_fits = url.scheme() == "https" || chosen_by == ChosenBy::Admin;
        if !scheme_fits || FORBIDDEN_PORTS.contains(&port) || names_this_machine(&host) {
            return Err(AddressNotAllowed);
        }
        let target = Target { url, port, exempt: false };
        match target.ip() {
            Some(ip) => self.check_addresses(&target, &[ip], |_| false).map(|()| target),
            None => Ok(target),
        }
    }

    /// Looks at all addresses that the target's name stands for: one that is forbidden forbids them all.
    ///
    /// `is_of_this_machine` is asked only where the server listens on every address of the machine.
    pub fn check_addresses(
        &self,
        target: &Target,
        addresses: &[IpAddr],
        is_of_this_machine: impl Fn(IpAddr) -> bool,
    ) -> Result<(), AddressNotAllowed> {
        if target.exempt {
            return Ok(());
        }
        let is_own = |ip: IpAddr| {
            let here = |own: &SocketAddr| own.ip() == ip || (own.ip().is_unspecified() && is_of_this_machine(ip));
            self.own.iter().any(|own| own.port() == target.port && here(own))
        };
        let may = |ip: &IpAddr| is_public(*ip) && !is_own(ip.to_canonical());
        if !addresses.is_empty() && addresses.iter().all(may) { Ok(()) } else { Err(AddressNotAllowed) }
    }
}

impl Target {
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The host as it stands in the address, without the brackets of an IPv6 number.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The host's address, if the host is a number and no name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self.url.host()? {
            Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
            Host::Domain(_) => None,
        }
    }
}

/// Scheme, host and port: paths and queries may hold secrets.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}://{}:{})", self.url.scheme(), self.host(), self.port)
    }
}

/// `localhost` and its kin are refused before anybody resolves them.
fn names_this_machine(host: &Host<String>) -> bool {
    let Host::Domain(name) = host else { return false };
    let name = name.trim_end_matches('.');
    name.is_empty() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests;
