//! The web app, embedded from `web/dist`: files that never change under their name, and one page for every path of the app.
//! What every answer of the server needs, such as `nosniff`, the faces' guard adds.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_NONE_MATCH, VARY,
};
use http::{Method, StatusCode, Uri};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

/// In a debug build the files are read from the folder at every request, so that a new build of the web app shows at once.
#[derive(Debug, RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../web/dist"]
struct Dist;

/// What the page may load and call: itself only, no inline script or style, and nobody may frame it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; \
     connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);
/// Names in this folder contain a hash of what is in them.
const HASHED: &str = "assets/";
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// May be kept, but must be asked about every time.
const ASK_FIRST: HeaderValue = HeaderValue::from_static("no-cache");
const INDEX: &str = "index.html";
/// A path under one of these belongs to an API of a later version: never the page. The faces keep their own.
const LATER_APIS: [&str; 6] = ["auth", "channels", "globals", "query", "rules", "webhooks"];
/// Best first; each is a file beside the plain one.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];
const HASH_BYTES: usize = 16;

const NOT_BUILT: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Colloquy</title></head>
<body><h1>Colloquy is running</h1>
<p>This program was built without its web app. To build both, run <code>make run</code> in the source folder.
The APIs work without it.</p></body></html>
";

/// Answers every path that no API has.
#[derive(Debug, Clone)]
pub(crate) struct WebApp {
    /// The path prefix of the public URL, without a slash behind it.
    prefix: Arc<str>,
}

/// Whether the program has a web app in it.
#[must_use]
pub fn is_embedded() -> bool {
    Dist::get(INDEX).is_some()
}

impl WebApp {
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    pub fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response {
        let path = uri.path().trim_start_matches('/');
        let file = is_plain(path) && !ENCODINGS.iter().any(|(_, ending)| path.ends_with(ending)) && path != INDEX;
        let file = if file { Dist::get(path) } else { None };
        let is_page = path.is_empty() || path == INDEX;
        if !is_page && file.is_none() && (!is_app_path(path) || !accepts_html(headers)) {
            return not_found();
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let allow = [(ALLOW, HeaderValue::from_static("GET, HEAD"))];
            return if is_page || file.is_some() { (StatusCode::METHOD_NOT_ALLOWED, allow).into_response() } else { not_found() };
        }
        match file {
            Some(file) => asset(path, file, headers),
            None => self.page(headers),
        }
    }

    /// The page with the path prefix filled in: it is the only file that knows it.
    fn page(&self, headers: &HeaderMap) -> Response {
        let page = match Dist::get(INDEX) {
            Some(file) => String::from_utf8_lossy(&file.data).into_owned(),
            None => NOT_BUILT.to_owned(),
        };
        let page = if self.prefix.is_empty() { page } else { with_prefix(&page, &self.prefix) };
        let tag = tag(&Sha256::digest(&page));
        finish("text/html; charset=utf-8", ASK_FIRST, tag, &ACCEPT, page.into(), headers)
    }
}

/// Links from the root begin with the prefix then, and the app learns it from the `colloquy-base` meta.
fn with_prefix(page: &str, prefix: &str) -> String {
    page.replace("name=\"colloquy-base\" content=\"/\"", &format!("name=\"colloquy-base\" content=\"{prefix}/\""))
        .replace("src=\"/", &format!("src=\"{prefix}/"))
        .replace("href=\"/", &format!("href=\"{prefix}/"))
}

fn asset(path: &str, plain: rust_embed::EmbeddedFile, headers: &HeaderMap) -> Response {
    let caching = if path.starts_with(HASHED) { FOR_EVER } else { ASK_FIRST };
    let wanted = ENCODINGS.iter().filter(|(encoding, _)| accepts(headers, &ACCEPT_ENCODING, encoding));
    let packed = wanted.filter_map(|(encoding, ending)| Some((*encoding, Dist::get(&format!("{path}{ending}"))?))).next();
    let (encoding, file) = match packed {
        Some((encoding, file)) => (Some(encoding), file),
        None => (None, plain),
    };
    let tag = tag(&file.metadata.sha256_hash());
    let body = match file.data {
        Cow::Borrowed(bytes) => Body::from(bytes),
        Cow::Owned(bytes) => Body::from(bytes),
    };
    let mut response = finish(content_type(path), caching, tag, &ACCEPT_ENCODING, body, headers);
    if let Some(encoding) = encoding.filter(|_| response.status() == StatusCode::OK) {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

fn finish(
    content_type: &'static str,
    caching: HeaderValue,
    tag: String,
    vary: &HeaderName,
    body: Body,
    request: &HeaderMap,
) -> Response {
    let is_known = knows(request, &tag);
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { Response::new(body) };
    let headers = response.headers_mut();
    if !is_known {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    headers.insert(CACHE_CONTROL, caching);
    headers.insert(VARY, HeaderValue::from_name(vary.clone()));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    // On every file, because a picture opened by itself is a page as well.
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    response
}

fn not_found() -> Response {
    let body = "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\"code\":\"not_found\"}";
    (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "application/problem+json")], body).into_response()
}

/// Whether a path could be the name of a file or a place in the app: nothing in it means another path.
fn is_plain(path: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    path.bytes().all(allowed) && !path.split('/').any(|part| matches!(part, "." | ".." | ""))
}

fn is_app_path(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    is_plain(path.strip_suffix('/').unwrap_or(path)) && !path.starts_with(HASHED) && !LATER_APIS.contains(&first)
}

fn accepts_html(headers: &HeaderMap) -> bool {
    accepts(headers, &ACCEPT, "text/html")
}

/// Whether a list such as `br;q=1.0, gzip;q=0` has the word and does not refuse it.
fn accepts(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_it = parts.next().is_some_and(|part| part.eq_ignore_ascii_case(word));
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        is_it && weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0))
    })
}

fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

fn tag(hash: &[u8]) -> String {
    let hex: String = hash.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("webp") => "image/webp",
        Some("woff2") => "font/woff2",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("txt") => "text/plain; charset=utf-8",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::{accepts, is_app_path, is_plain, knows, with_prefix};
    use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_NONE_MATCH};

    #[test]
    fn paths_that_mean_other_paths_are_not_plain() {
        for path in ["a", "assets/app-1a.js", "chat/0193", "a.b~c"] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["", "..", "a/../b", "a//b", "./a", "..%2f..%2fetc", "%2e%2e/a", "a\\b", "a b", "a/"] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn apis_keep_their_paths() {
        for path in ["chats/1", "settings", "apix", "chats/1/"] {
            assert!(is_app_path(path), "{path}");
        }
        for path in ["auth", "rules/1", "webhooks/agent/1", "assets/gone.js", "..%2fapi"] {
            assert!(!is_app_path(path), "{path}");
        }
    }

    #[test]
    fn a_weight_of_zero_is_a_refusal() {
        let headers = |value| HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]);
        for (list, expected) in [
            ("br", true),
            ("gzip, BR", true),
            ("gzip;q=1.0, br;q=0.1", true),
            ("br;q=0", false),
            ("br; q=0.000", false),
            ("brr", false),
            ("", false),
        ] {
            assert_eq!(accepts(&headers(list), &ACCEPT_ENCODING, "br"), expected, "{list}");
        }
    }

    #[test]
    fn a_known_tag_is_found_in_a_list() {
        let headers = |value| HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(value))]);
        assert!(knows(&headers("\"a\", W/\"b\""), "\"b\""));
        assert!(knows(&headers("*"), "\"b\""));
        assert!(!knows(&headers("\"a\""), "\"b\""));
    }

    #[test]
    fn the_page_learns_the_prefix() {
        let page = "<meta name=\"colloquy-base\" content=\"/\" /><script src=\"/assets/a.js\"></script><link href=\"/f.svg\">";
        let expected =
            "<meta name=\"colloquy-base\" content=\"/p/\" /><script src=\"/p/assets/a.js\"></script><link href=\"/p/f.svg\">";
        assert_eq!(with_prefix(page, "/p"), expected);
    }
}
