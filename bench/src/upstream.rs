//! A model provider that replays answers: the Messages API over HTTP/1.1 with kept connections.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Result;
use crate::answer::Answer;
use crate::pacer::Pacer;
use crate::plan::Plan;

type Reply = Response<Either<Answer, Full<Bytes>>>;

/// Answers until the process ends.
pub async fn run() -> Result<()> {
    let pacer = Pacer::start()?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let pacer = pacer.clone();
        let service = service_fn(move |request| answer(request, pacer.clone()));
        // A client that leaves is no matter of the upstream's.
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

async fn answer(request: Request<Incoming>, pacer: Pacer) -> std::result::Result<Reply, Infallible> {
    let plan = match request.into_body().collect().await {
        Ok(body) => Plan::find(&body.to_bytes()),
        Err(error) => Err(error.into()),
    };
    let mut reply = match plan {
        Ok(plan) => Response::new(Either::Left(Answer::new(plan, &pacer))),
        Err(error) => {
            let body =
                serde_json::json!({"type": "error", "error": {"type": "invalid_request_error", "message": error.to_string()}});
            let mut reply = Response::new(Either::Right(Full::from(body.to_string())));
            *reply.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(reply);
        }
    };
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(reply)
}
