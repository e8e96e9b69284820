//! The HTTP client that the providers share in kind: ring for cryptography, no redirects, no proxy to this machine.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// Finds peers that vanished without a word, below the providers' own limit of silence.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// The client cannot be built; the sentence names no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the HTTP client could not be set up")]
pub struct HttpClientError;

/// A client for the server at `base_url`.
///
/// It trusts the machine's root certificates, or Mozilla's where the machine has none (as in an empty container).
/// `HTTPS_PROXY` and its kin count, except towards this machine itself. Redirects are not followed, because the key
/// would travel along. For an `http` address no certificates are loaded, which saves some milliseconds.
pub fn http_client(base_url: &Url, connect_timeout: Duration) -> Result<Client, HttpClientError> {
    let roots = if base_url.scheme() == "https" { root_certificates() } else { RootCertStore::empty() };
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| HttpClientError)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(connect_timeout)
        .tcp_keepalive(TCP_KEEPALIVE)
        .tcp_nodelay(true)
        .redirect(Policy::none())
        .user_agent(concat!("colloquy/", env!("CARGO_PKG_VERSION")));
    let builder = if is_this_machine(base_url) { builder.no_proxy() } else { builder };
    builder.build().map_err(|_| HttpClientError)
}

fn root_certificates() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{http_client, is_this_machine};

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (url, expected) in [
            ("http://localhost:4010", true),
            ("http://127.0.0.1:4010/v1", true),
            ("http://127.8.8.8", true),
            ("http://[::1]:80", true),
            ("http://model.localhost", true),
            ("https://api.anthropic.com", false),
            ("http://10.0.0.1", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(is_this_machine(&url.parse().expect("a URL")), expected, "{url}");
        }
    }

    #[test]
    fn a_client_is_built_for_either_scheme() {
        for url in ["https://api.anthropic.com", "http://127.0.0.1:1"] {
            assert!(http_client(&url.parse().expect("a URL"), Duration::from_secs(1)).is_ok(), "{url}");
        }
    }
}
