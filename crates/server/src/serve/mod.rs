//! Our own serve loop. axum's has no limit on connections, no timeout for headers, and waits for open streams for ever.

mod front;
mod head;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use front::Front;
use head::{HeadScanner, Verdict};
use stream::Stream;

/// Connections at the same time. At 4 to 11 KB each they fit into memory; the limit on open files is the next one.
pub const MAX_CONNECTIONS: u32 = 16_384;
/// From a connection's first moment, or the end of its last answer, to the end of the next request's headers. So it is
/// also how long a connection may idle between two requests.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Browsers send about 2 KB, with a token in a cookie.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// Must hold the largest head; a body or an answer in one piece is passed on in parts of this size.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// What a peer has not acknowledged for so long, it never will: this is what ends a stalled reader of a stream.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// How much a slow reader may have on its way, before those who write to it notice.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// Connections that wait to be accepted. The kernel cuts it to its own limit.
const BACKLOG: i32 = 1024;
/// Pause after a failed accept: the usual reason is that all file descriptors are in use, and that takes time to change.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Accepts connections until it is drained.
#[derive(Debug)]
pub(crate) struct Server {
    /// Each connection holds one, to the end of its WebSocket if it becomes one.
    slots: Arc<Semaphore>,
    max_connections: u32,
    /// One for each listener and each connection.
    tasks: TaskTracker,
    accepting: CancellationToken,
    closing: CancellationToken,
}

/// Binds an address.
///
/// # Errors
/// The address is in use, or not of this machine.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can be listened on side by side.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Server {
    /// Starts to accept on every listener. `prefix` is taken off the paths that begin with it.
    pub fn start(listeners: Vec<TcpListener>, router: Router, prefix: &str) -> Self {
        Self::start_with(listeners, router, prefix, MAX_CONNECTIONS)
    }

    fn start_with(listeners: Vec<TcpListener>, router: Router, prefix: &str, max_connections: u32) -> Self {
        let server = Self {
            slots: Arc::new(Semaphore::new(max_connections as usize)),
            max_connections,
            tasks: TaskTracker::new(),
            accepting: CancellationToken::new(),
            closing: CancellationToken::new(),
        };
        let prefix: Arc<str> = prefix.into();
        for listener in listeners {
            let acceptor = Acceptor {
                slots: Arc::clone(&server.slots),
                tasks: server.tasks.clone(),
                closing: server.closing.clone(),
                router: router.clone(),
                prefix: Arc::clone(&prefix),
            };
            let stop = server.accepting.clone();
            server.tasks.spawn(async move { stop.run_until_cancelled(acceptor.accept_all(listener)).await });
        }
        server
    }

    /// New connections are refused from now on.
    pub fn stop_accepting(&self) {
        self.accepting.cancel();
    }

    /// Closes every connection that has no request, and the others after their answer; returns when all are closed.
    pub async fn close(&self) {
        self.accepting.cancel();
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        // Somebody who holds all slots knows that no connection does. The semaphore is never closed.
        let _ = self.slots.acquire_many(self.max_connections).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.cancel();
        self.closing.cancel();
    }
}

struct Acceptor {
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
    router: Router,
    prefix: Arc<str>,
}

impl Acceptor {
    async fn accept_all(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => self.welcome(socket, peer),
                // The peer has thought better of it.
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn welcome(&self, socket: TcpStream, peer: SocketAddr) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            // A new socket has room for so little; if not, closing it says the same.
            let _ = socket.try_write(TOO_MANY);
            return;
        };
        if let Err(error) = tune(&socket) {
            tracing::debug!(%error, "a new connection was already gone");
            return;
        }
        let verdict = Verdict::default();
        let front = Front::new(self.router.clone(), peer, Arc::clone(&self.prefix), verdict.clone());
        self.tasks.spawn(serve(socket, front, HeadScanner::new(verdict), slot, self.closing.clone()));
    }
}

/// Only a dead socket is a reason to turn somebody away; not every system knows every setting.
fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    let bounded = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let bounded = bounded.and_then(|()| socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT)));
    if let Err(error) = bounded {
        tracing::debug!(%error, "a connection keeps the system's own limits");
    }
    Ok(())
}

async fn serve(socket: TcpStream, front: Front, scanner: HeadScanner, slot: OwnedSemaphorePermit, closing: CancellationToken) {
    let stream = TokioIo::new(Stream::new(socket, scanner, slot));
    let connection = http1::Builder::new()
        // Without a timer the timeout would silently be off.
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(stream, front)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Peers vanish, stall and send nonsense all day; that is theirs to notice.
        tracing::debug!(%error, "a connection ended early");
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use axum::Router;
    use axum::routing::get;
    use socket2::SockRef;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::{SEND_BUFFER_BYTES, Server, TCP_USER_TIMEOUT, bind, tune};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn serve(max_connections: u32) -> (Server, SocketAddr) {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let boom = get(|| async {
            if true {
                panic!("a defect")
            }
        });
        let router = Router::new().route("/", get(|| async { "fine" })).route("/boom", boom);
        (Server::start_with(vec![listener], router, "", max_connections), address)
    }

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        read(stream).await
    }

    async fn read(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an end");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[tokio::test]
    async fn a_panic_costs_one_request() {
        let (_server, address) = serve(10);
        assert!(ask(address, "/boom").await.starts_with("HTTP/1.1 500 "));
        assert!(ask(address, "/").await.ends_with("fine"));
    }

    #[tokio::test]
    async fn too_many_connections_are_turned_away_until_one_ends() {
        let (server, address) = serve(1);
        let first = TcpStream::connect(address).await.expect("a connection");
        let second = TcpStream::connect(address).await.expect("the kernel accepts it");
        assert!(read(second).await.starts_with("HTTP/1.1 503 "));
        drop(first);
        let free = async {
            while server.slots.available_permits() == 0 {
                tokio::task::yield_now().await
            }
        };
        timeout(PATIENCE, free).await.expect("the place is given back");
        assert!(ask(address, "/").await.ends_with("fine"));
    }

    #[tokio::test]
    async fn a_slow_reader_is_bounded() {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        tune(&stream).expect("a live socket");
        let socket = SockRef::from(&stream);
        // Linux doubles what it is asked for, to have room for its own notes.
        assert!(socket.send_buffer_size().expect("a size") <= 2 * SEND_BUFFER_BYTES);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().expect("a timeout"), Some(TCP_USER_TIMEOUT));
    }
}
