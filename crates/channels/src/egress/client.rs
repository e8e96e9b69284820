//! One call by HTTP to addresses that have been checked.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use domain::egress::Target;
use domain::sockets::egress::{Answer, Call, CallError, Method};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Shorter than servers keep idle connections, so that a message is seldom written to one that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Of all header lines of an answer together.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The client cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guarded HTTP client could not be set up")]
pub struct ClientError;

/// Trusts the machine's root certificates, or Mozilla's where the machine has none (as in an empty container).
pub(super) fn tls_config() -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|_| ClientError)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A client for which every name stands for these addresses. It speaks HTTP/1.1, whose header and connection limits are simple.
pub(super) fn pinned_to(tls: &ClientConfig, addresses: &[IpAddr]) -> Result<Client, ClientError> {
    Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .dns_resolver(Arc::new(Pinned(addresses.into())))
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .user_agent(concat!("colloquy/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| ClientError)
}

struct Pinned(Arc<[IpAddr]>);

impl Resolve for Pinned {
    fn resolve(&self, _name: Name) -> Resolving {
        let addresses = Arc::clone(&self.0);
        // Port 0 stands for the port of the address that is called.
        let all: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
        Box::pin(async move { Ok(Box::new(all.into_iter()) as Addrs) })
    }
}

pub(super) async fn call(client: &Client, target: &Target, call: &Call) -> Result<Answer, CallError> {
    let url = target.url().clone();
    let mut request = match call.method {
        Method::Get => client.get(url),
        Method::Post => client.post(url).body(call.body.clone()),
    };
    // Asking for no compression keeps what is read and what is counted one thing.
    request = request.header(ACCEPT_ENCODING, "identity");
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    let response = request.send().await.map_err(|error| match error.is_connect() || error.is_builder() {
        true => CallError::Unreachable,
        false => CallError::NoAnswer,
    })?;
    let headers = read_headers(response.headers())?;
    let status = response.status().as_u16();
    let body = read_body(response, call.max_answer_bytes).await?;
    Ok(Answer { status, headers, body })
}

fn read_headers(headers: &HeaderMap) -> Result<Vec<(String, String)>, CallError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > MAX_HEADER_BYTES {
        return Err(CallError::TooLarge);
    }
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    Ok(headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect())
}

async fn read_body(mut response: Response, limit: usize) -> Result<Vec<u8>, CallError> {
    // What announces too much is not begun.
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(CallError::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| CallError::NoAnswer)? {
        if body.len() + chunk.len() > limit {
            return Err(CallError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
