//! What keeps other web pages out: Host and Origin are checked before routing, and every answer says what may be done with it.
//!
//! A page of another site can send requests to a server on this machine, and with a name of its own that points here it can
//! even look like our own page. So the `Host` must be one of ours, and the `Origin` of whatever changes something or opens a
//! socket must be exactly ours or on the owner's list.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::{Form, Refusal, is_api};

/// Whether requests need a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    Token,
    /// Everybody on this machine is the owner.
    Off,
}

/// An origin as browsers send it: scheme, host and port, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

/// A setting that should be the address of a server, but is not: `http://host:port` or `https://host`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the address of a server, such as http://localhost:3000")]
pub struct BadAddress(pub String);

/// Where the server ends and the world begins. Cheap to clone; the listening addresses are known after binding only.
#[derive(Debug, Clone)]
pub struct Boundary {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    auth: AuthMode,
    /// Whose pages may call us although they are not ours.
    origins: HashSet<Origin>,
    public: Option<Origin>,
    listening: RwLock<Listening>,
}

#[derive(Debug, Default)]
struct Listening {
    addresses: HashSet<SocketAddr>,
    /// Ports on which we listen on every address of this machine.
    wildcard_ports: HashSet<u16>,
    ports: HashSet<u16>,
}

/// The cookie's name over http.
const COOKIE: &str = "colloquy";
/// Over https; browsers accept this name only from the host itself, for the whole host, and `Secure`.
const SECURE_COOKIE: &str = "__Host-colloquy";

const CORS_METHODS: &str = "GET, POST, PUT, PATCH, DELETE";
const CORS_HEADERS: &str = "Content-Type, Authorization, Idempotency-Key, Last-Event-ID";
const CORS_EXPOSED: &str = "Colloquy-Cursor, Retry-After";
/// Seconds for which a browser need not ask again. Short, because the owner may take an origin off the list.
const CORS_MAX_AGE: &str = "600";

impl Boundary {
    /// `public_url` and `origins` are the settings as the owner wrote them. Nobody's `Host` but theirs is ours until
    /// [`Self::set_listening`] was called.
    ///
    /// # Errors
    /// [`BadAddress`] names the one that is wrong.
    pub fn new(auth: AuthMode, public_url: Option<&str>, origins: &[String]) -> Result<Self, BadAddress> {
        let public = public_url.map(|url| Origin::of_url(url).ok_or_else(|| BadAddress(url.to_owned()))).transpose()?;
        let exact = |text: &String| Origin::parse(text.trim_end_matches('/')).ok_or_else(|| BadAddress(text.clone()));
        let origins = origins.iter().map(exact).collect::<Result<_, _>>()?;
        Ok(Self { inner: Arc::new(Inner { auth, origins, public, listening: RwLock::default() }) })
    }

    /// The addresses we accept connections on, with the ports that binding has chosen.
    pub fn set_listening(&self, addresses: &[SocketAddr]) {
        let mut listening = self.inner.listening.write().unwrap_or_else(PoisonError::into_inner);
        listening.addresses = addresses.iter().copied().collect();
        listening.ports = addresses.iter().map(SocketAddr::port).collect();
        let wildcards = addresses.iter().filter(|address| address.ip().is_unspecified());
        listening.wildcard_ports = wildcards.map(SocketAddr::port).collect();
    }

    #[must_use]
    pub fn auth(&self) -> AuthMode {
        self.inner.auth
    }

    /// The value of our cookie, if the browser sent one.
    #[must_use]
    pub fn cookie_of<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let secure = cookie(headers, SECURE_COOKIE);
        // Over https another host of the same domain could have planted a cookie of the plain name.
        if secure.is_some() || self.is_secure(headers) { secure } else { cookie(headers, COOKIE) }
    }

    /// The cookie's name and whether it is `Secure`, for a browser that signs in with this request.
    #[must_use]
    pub fn cookie_name(&self, headers: &HeaderMap) -> (&'static str, bool) {
        if self.is_secure(headers) { (SECURE_COOKIE, true) } else { (COOKIE, false) }
    }

    /// Whether the browser reached us over https. A proxy may have changed the `Host`, but not the `Origin`.
    fn is_secure(&self, headers: &HeaderMap) -> bool {
        let Some(public) = self.inner.public.as_ref().filter(|public| public.scheme == "https") else { return false };
        let from_origin = single(headers, header::ORIGIN).and_then(Origin::parse);
        let host = single(headers, header::HOST);
        from_origin.as_ref() == Some(public) || host.is_some_and(|host| public.has_host(host))
    }

    pub(crate) fn is_our_host(&self, host: &str) -> bool {
        let named = self.inner.public.iter().chain(&self.inner.origins);
        named.into_iter().any(|origin| origin.has_host(host)) || self.is_listening_host(host)
    }

    fn is_listening_host(&self, host: &str) -> bool {
        let Some((name, port)) = host_and_port(host, 80) else { return false };
        let listening = self.inner.listening.read().unwrap_or_else(PoisonError::into_inner);
        if name == "localhost" {
            return listening.ports.contains(&port);
        }
        let Ok(ip) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else { return false };
        // Who listens on every address is reached under any of them. A name could be made to point here; a number cannot.
        listening.addresses.contains(&SocketAddr::new(ip, port)) || listening.wildcard_ports.contains(&port)
    }

    /// Our own page has the very origin under which the browser reached us.
    fn is_our_origin(&self, origin: &Origin, host: &str) -> bool {
        let same_host = origin.scheme == "http" && origin.has_host(host) && self.is_listening_host(host);
        same_host || self.inner.public.as_ref() == Some(origin)
    }

    fn is_other_allowed_origin(&self, origin: &Origin) -> bool {
        self.inner.origins.contains(origin)
    }
}

/// Refuses what comes from elsewhere, answers the preflights of allowed origins, and sets the headers of every answer.
pub async fn check(State(boundary): State<Boundary>, request: Request, next: Next) -> Response {
    let api = is_api(request.uri().path());
    let origin = single(request.headers(), header::ORIGIN).map(str::to_owned);
    let cors = origin.filter(|text| Origin::parse(text).is_some_and(|origin| boundary.is_other_allowed_origin(&origin)));
    let mut response = match refusal(&boundary, &request) {
        Some(refusal) => refusal.render(Form::of_path(request.uri().path())),
        None if cors.is_some() && is_preflight(&request) => StatusCode::NO_CONTENT.into_response(),
        None => next.run(request).await,
    };
    set_cors(response.headers_mut(), cors.as_deref());
    set_security(response.headers_mut(), api);
    response
}

fn refusal(boundary: &Boundary, request: &Request) -> Option<Refusal> {
    let host = match our_host(boundary, request) {
        Some(host) => host,
        // Platforms call under a public name that only the channel knows; what they say is proved by a signature. Without
        // one, only who calls under a name of ours is listened to.
        None if is_for_platforms(request) && !request.headers().contains_key(header::ORIGIN) => return None,
        None => return Some(Refusal::WrongHost),
    };
    let headers = request.headers();
    if !headers.contains_key(header::ORIGIN) || !is_guarded(request) {
        return None;
    }
    let allowed = single(headers, header::ORIGIN)
        .and_then(Origin::parse)
        .is_some_and(|origin| boundary.is_our_origin(&origin, host) || boundary.is_other_allowed_origin(&origin));
    (!allowed).then_some(Refusal::OriginForbidden)
}

fn is_for_platforms(request: &Request) -> bool {
    let path = request.uri().path();
    path.starts_with("/webhooks/") || path.starts_with("/api/inbound/")
}

/// The request's host, if it is ours. An address in the request line counts as well as the header.
fn our_host<'a>(boundary: &Boundary, request: &'a Request) -> Option<&'a str> {
    let host = single(request.headers(), header::HOST)?;
    let in_line = request.uri().authority().map(axum::http::uri::Authority::as_str);
    let ours = boundary.is_our_host(host) && in_line.is_none_or(|authority| boundary.is_our_host(authority));
    ours.then_some(host)
}

/// What changes something, opens a socket, or asks whether it may.
fn is_guarded(request: &Request) -> bool {
    let unsafe_method = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    unsafe_method || request.headers().contains_key(header::UPGRADE) || is_preflight(request)
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn set_cors(headers: &mut HeaderMap, allowed: Option<&str>) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = allowed.and_then(|origin| HeaderValue::from_str(origin).ok()) else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, CORS_EXPOSED),
        (header::ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The web app sets its own policy for its pages; everything else is data, in which nothing may run and which nothing frames.
fn set_security(headers: &mut HeaderMap, api: bool) {
    let mut unless_set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    unless_set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    unless_set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    unless_set(header::REFERRER_POLICY, "no-referrer");
    unless_set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if api {
        unless_set(header::CACHE_CONTROL, "no-store");
    }
}

impl Origin {
    /// Reads exactly what browsers send: `http://host`, `https://host:port`.
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let bare = !text.ends_with('/') && uri.path_and_query().is_none_or(|rest| rest == "/");
        bare.then(|| Self::of_uri(&uri)).flatten()
    }

    /// The origin of an address that may have a path.
    fn of_url(url: &str) -> Option<Self> {
        Self::of_uri(&url.parse().ok()?)
    }

    fn of_uri(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let authority = uri.authority()?.as_str();
        let (host, port) = host_and_port(authority, default_port(&scheme)?)?;
        Some(Self { scheme, host, port })
    }

    fn has_host(&self, host: &str) -> bool {
        let Some(default) = default_port(&self.scheme) else { return false };
        host_and_port(host, default).is_some_and(|(name, port)| name == self.host && port == self.port)
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Splits `host:port`; the host in lower case, an IPv6 address in its brackets.
fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    let end_of_host = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match text.get(end_of_host..)?.find(':') {
        Some(colon) => (text.get(..end_of_host + colon)?, text.get(end_of_host + colon + 1..)?.parse().ok()?),
        None => (text, default),
    };
    let is_plain = !host.is_empty() && !host.contains(['@', '/', '?', '#', ' ']);
    is_plain.then(|| (host.to_ascii_lowercase(), port))
}

/// The header's value if it came exactly once: of two, two readers could take different ones.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
}
