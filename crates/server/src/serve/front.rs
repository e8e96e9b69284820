//! What every request passes before the router sees it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use faces::kit::auth::Peer;
use futures_util::FutureExt;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::Service;
use tower::ServiceExt;

use super::head::Verdict;

/// The service of one connection.
#[derive(Clone)]
pub(super) struct Front {
    router: Router,
    peer: SocketAddr,
    prefix: Arc<str>,
    verdict: Verdict,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl Front {
    pub fn new(router: Router, peer: SocketAddr, prefix: Arc<str>, verdict: Verdict) -> Self {
        Self { router, peer, prefix, verdict }
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
        if is_chunked && !self.verdict.is_harmless() {
            let refusal = (StatusCode::BAD_REQUEST, "a request may have a Content-Length or a Transfer-Encoding, not both\n");
            return Box::pin(std::future::ready(Ok(and_close(refusal.into_response()))));
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(self.peer));
        if let Some(uri) = without_prefix(request.uri(), &self.prefix) {
            *request.uri_mut() = uri;
        }
        let answer = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind();
        Box::pin(async move {
            let Ok(Ok(response)) = answer.await else {
                // The panic itself has been logged where it happened.
                let failure = (StatusCode::INTERNAL_SERVER_ERROR, "the server failed\n");
                return Ok(and_close(failure.into_response()));
            };
            // The scanner looks at no request after this one.
            Ok(if is_chunked { and_close(response) } else { response })
        })
    }
}

fn and_close(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// `None`: the path does not begin with the prefix, so it stays as it is.
fn without_prefix(uri: &Uri, prefix: &str) -> Option<Uri> {
    if prefix.is_empty() {
        return None;
    }
    let rest = uri.path().strip_prefix(prefix)?;
    let path = match rest {
        "" => "/",
        rest if rest.starts_with('/') => rest,
        _ => return None,
    };
    let path = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::without_prefix;

    #[test]
    fn only_a_whole_prefix_is_taken_off() {
        for (uri, prefix, expected) in [
            ("/p/api/chats?limit=1", "/p", Some("/api/chats?limit=1")),
            ("/p", "/p", Some("/")),
            ("/p?a=b", "/p", Some("/?a=b")),
            ("/p/q/x", "/p/q", Some("/x")),
            ("/px", "/p", None),
            ("/api", "/p", None),
            ("/api", "", None),
        ] {
            let stripped = without_prefix(&uri.parse().expect("a URI"), prefix);
            assert_eq!(stripped.map(|uri| uri.to_string()).as_deref(), expected, "{uri}");
        }
    }
}
