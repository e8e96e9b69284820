//! The guarded client: every call to an address that somebody else chose goes through here.
//!
//! A name is resolved once for each call; all of its addresses are checked, and the connection goes to one of exactly those.

mod client;
mod resolve;

use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::egress::{AddressNotAllowed, ChosenBy, EgressRules, Target};
use domain::sockets::egress::{Answer, Call, CallError, Egress, MAX_CALL_TIME, MAX_CALLS_PER_HOST, Resolution};
use reqwest::Client;
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use client::ClientError;
pub use resolve::{Resolve, SystemResolver};

/// Hosts whose connections are kept; beyond it those that nobody calls now are forgotten.
const MAX_HOSTS: usize = 256;

const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The one implementation of [`Egress`].
#[derive(Debug)]
pub struct GuardedClient {
    rules: EgressRules,
    resolver: Arc<dyn Resolve>,
    tls: ClientConfig,
    hosts: Mutex<HashMap<Origin, Arc<Host>>>,
}

/// Scheme, host, port.
type Origin = (bool, String, u16);

#[derive(Debug)]
struct Host {
    places: Semaphore,
    /// The connections of one host, and the addresses that they are pinned to.
    pinned: Mutex<Option<(Vec<IpAddr>, Client)>>,
}

impl GuardedClient {
    pub fn new(rules: EgressRules, resolver: Arc<dyn Resolve>) -> Result<Self, ClientError> {
        Ok(Self { rules, resolver, tls: client::tls_config()?, hosts: Mutex::default() })
    }

    /// The addresses of a target, all of them allowed.
    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, CallError> {
        let mut found = match target.ip() {
            Some(ip) => vec![ip],
            None => timeout(RESOLVE_TIMEOUT, self.resolver.resolve(target.host()))
                .await
                .map_err(|_| CallError::Unreachable)?
                .map_err(|_| CallError::Unreachable)?,
        };
        if found.is_empty() {
            return Err(CallError::Unreachable);
        }
        self.rules.check_addresses(target, &found, is_of_this_machine)?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn host(&self, target: &Target) -> Arc<Host> {
        let origin = (target.url().scheme() == "https", target.host().to_owned(), target.port());
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= MAX_HOSTS && !hosts.contains_key(&origin) {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let new = || Arc::new(Host { places: Semaphore::new(MAX_CALLS_PER_HOST as usize), pinned: Mutex::default() });
        Arc::clone(hosts.entry(origin).or_insert_with(new))
    }

    async fn call_target(&self, target: &Target, call: &Call, is_sent: &mut bool) -> Result<Answer, CallError> {
        let host = self.host(target);
        let _place = host.places.acquire().await.map_err(|_| CallError::Unreachable)?;
        let addresses = self.addresses(target).await?;
        let client = host.client(&self.tls, addresses).map_err(|_| CallError::Unreachable)?;
        *is_sent = true;
        client::call(&client, target, call).await
    }
}

impl Host {
    fn client(&self, tls: &ClientConfig, addresses: Vec<IpAddr>) -> Result<Client, ClientError> {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, client)) = &*pinned
            && *known == addresses
        {
            return Ok(client.clone());
        }
        let client = client::pinned_to(tls, &addresses)?;
        *pinned = Some((addresses, client.clone()));
        Ok(client)
    }
}

#[async_trait]
impl Egress for GuardedClient {
    async fn check(&self, url: &str, chosen_by: ChosenBy) -> Result<Resolution, AddressNotAllowed> {
        let target = self.rules.check_url(url, chosen_by)?;
        match self.addresses(&target).await {
            Ok(_) => Ok(Resolution::Resolved),
            Err(CallError::NotAllowed(refusal)) => Err(refusal),
            Err(CallError::Unreachable | CallError::NoAnswer | CallError::TooLarge) => Ok(Resolution::Unresolved),
        }
    }

    async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let target = self.rules.check_url(&call.url, call.chosen_by)?;
        let mut is_sent = false;
        let answered = timeout(call.timeout.min(MAX_CALL_TIME), self.call_target(&target, &call, &mut is_sent)).await;
        answered.unwrap_or(Err(if is_sent { CallError::NoAnswer } else { CallError::Unreachable }))
    }
}

/// Asks the kernel which address it would call from: towards itself, a machine uses the very address that is called.
/// Connecting a UDP socket sends nothing.
fn is_of_this_machine(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let called_from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    called_from.is_ok_and(|from| from.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::is_of_this_machine;

    #[test]
    fn a_machine_knows_itself() {
        assert!(is_of_this_machine("127.0.0.1".parse().expect("an address")));
        assert!(!is_of_this_machine("198.51.100.7".parse().expect("an address")));
    }
}
