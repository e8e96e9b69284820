//! The floor of many who watch one conversation: what an answer's bytes cost when they are handed to each of them as they are.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::Result;

/// What every watcher is told first.
const CONNECTED: &[u8] = b"event: connected\ndata: {}\n\n";

/// Everything that the upstream has said, piece by piece, and how many pieces that is.
#[derive(Debug)]
struct Fan {
    pieces: Mutex<Vec<Bytes>>,
    count: watch::Sender<usize>,
}

/// Hands what a POST makes the upstream say to everybody who has sent a GET, until the process ends.
pub async fn run(upstream: SocketAddr) -> Result<()> {
    let fan = Arc::new(Fan { pieces: Mutex::default(), count: watch::channel(0).0 });
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (fan, client) = (Arc::clone(&fan), client.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (fan, client) = (Arc::clone(&fan), client.clone());
            async move {
                Ok::<_, crate::Error>(Response::new(if request.method() == Method::POST {
                    tokio::spawn(speak(fan, client, request, upstream));
                    Either::Left(Full::from("{}"))
                } else {
                    Either::Right(StreamBody::new(watcher(fan)))
                }))
            }
        });
        // A watcher that leaves is no matter of the floor's.
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

async fn speak(
    fan: Arc<Fan>,
    client: Client<HttpConnector, Incoming>,
    mut request: Request<Incoming>,
    upstream: SocketAddr,
) -> Result<()> {
    *request.uri_mut() = Uri::builder().scheme("http").authority(upstream.to_string()).path_and_query("/v1/messages").build()?;
    let mut answer = client.request(request).await?.into_body();
    while let Some(frame) = answer.frame().await {
        let Ok(bytes) = frame?.into_data() else { continue };
        let mut pieces = fan.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.push(bytes);
        fan.count.send_replace(pieces.len());
    }
    Ok(())
}

fn watcher(fan: Arc<Fan>) -> impl Stream<Item = Result<Frame<Bytes>>> + Send {
    let count = fan.count.subscribe();
    let next = *count.borrow();
    unfold((fan, count, next, false), |(fan, mut count, next, begun)| async move {
        if !begun {
            return Some((Ok(Frame::data(Bytes::from_static(CONNECTED))), (fan, count, next, true)));
        }
        let end = *count.wait_for(|count| *count > next).await.ok()?;
        let joined = match &fan.pieces.lock().unwrap_or_else(PoisonError::into_inner)[next..end] {
            [one] => one.clone(),
            several => several
                .iter()
                .fold(BytesMut::new(), |mut all, piece| {
                    all.extend_from_slice(piece);
                    all
                })
                .freeze(),
        };
        Some((Ok(Frame::data(joined)), (fan, count, end, true)))
    })
}
