//! A TCP proxy that breaks connections on purpose, to the byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What happens to one connection. Bytes are counted from the server to the client unless the name says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// After so many bytes both sides are cut off.
    Cut {
        after: usize,
        end: End,
    },
    /// After so many bytes from the client both sides are cut off.
    CutRequest {
        after: usize,
        end: End,
    },
    /// After so many bytes nothing is passed on any more, and nobody is told.
    HalfOpen {
        after: usize,
    },
    /// Every read is passed on so much later.
    Delay(Duration),
    /// At most so many bytes at once, with a pause behind each.
    Drip {
        bytes: usize,
        pause: Duration,
    },
}

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Fin,
    Rst,
}

type Planner = Box<dyn FnMut() -> Fault + Send>;

/// Runs until it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    /// Connections that were cut, or left half open.
    broken: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Proxy {
    /// In front of `target`; each connection is treated as `plan` says when it is made.
    pub async fn start(target: SocketAddr, plan: impl FnMut() -> Fault + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let broken = Arc::new(AtomicUsize::new(0));
        let plan: Arc<Mutex<Planner>> = Arc::new(Mutex::new(Box::new(plan)));
        let counter = Arc::clone(&broken);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let fault = plan.lock().unwrap_or_else(PoisonError::into_inner)();
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    if pass(client, target, fault).await == Outcome::Broken {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self { address, broken, accepting: accepting.abort_handle() }
    }

    pub fn broken(&self) -> usize {
        self.broken.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Ended,
    Broken,
}

/// Longer than any test looks at a connection that says nothing.
const SILENCE: Duration = Duration::from_secs(60);

async fn pass(mut client: TcpStream, target: SocketAddr, fault: Fault) -> Outcome {
    // A server that is down is a connection that ends at once.
    let Ok(mut server) = TcpStream::connect(target).await else { return Outcome::Ended };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut up, mut down) = (0, 0);
    let (mut from_client, mut from_server) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        match fault {
            // What would be the first byte of the answer is waited for: the request has been served by then.
            Fault::Cut { after: 1.., end } | Fault::CutRequest { end, .. } if is_due(fault, up, down) => {
                return cut(&client, &server, end);
            }
            Fault::HalfOpen { after } if down >= after => {
                tokio::time::sleep(SILENCE).await;
                return Outcome::Broken;
            }
            _ => {}
        }
        let most = match fault {
            Fault::Cut { after, .. } | Fault::HalfOpen { after } => (after - down).clamp(1, from_server.len()),
            Fault::Drip { bytes, .. } => bytes,
            _ => from_server.len(),
        };
        let most_up = match fault {
            Fault::CutRequest { after, .. } => after - up,
            _ => from_client.len(),
        };
        tokio::select! {
            read = client.read(&mut from_client[..most_up]) => {
                let Ok(read @ 1..) = read else { return Outcome::Ended };
                up += read;
                if server.write_all(&from_client[..read]).await.is_err() {
                    return Outcome::Ended;
                }
            }
            read = server.read(&mut from_server[..most]) => {
                let Ok(read @ 1..) = read else { return Outcome::Ended };
                if let Fault::Cut { after: 0, end } = fault {
                    return cut(&client, &server, end);
                }
                down += read;
                match fault {
                    Fault::Delay(time) => tokio::time::sleep(time).await,
                    Fault::Drip { pause, .. } => tokio::time::sleep(pause).await,
                    _ => {}
                }
                if client.write_all(&from_server[..read]).await.is_err() {
                    return Outcome::Ended;
                }
            }
        }
    }
}

const fn is_due(fault: Fault, up: usize, down: usize) -> bool {
    match fault {
        Fault::Cut { after, .. } => down >= after,
        Fault::CutRequest { after, .. } => up >= after,
        Fault::None | Fault::HalfOpen { .. } | Fault::Delay(_) | Fault::Drip { .. } => false,
    }
}

/// Both sides are closed when they are dropped.
fn cut(client: &TcpStream, server: &TcpStream, end: End) -> Outcome {
    if end == End::Rst {
        let _ = (reset(client), reset(server));
    }
    Outcome::Broken
}

/// The next close of the socket is a reset.
fn reset(stream: &TcpStream) -> std::io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::{End, Fault, Proxy};

    /// Sends what it gets back to a server that repeats everything, through a proxy that breaks it so.
    async fn through(fault: Fault, said: &[u8]) -> (Result<Vec<u8>, std::io::ErrorKind>, Duration) {
        let echo = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = echo.local_addr().expect("an address");
        let echoing = tokio::spawn(async move {
            let (mut stream, _) = echo.accept().await.expect("a connection");
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let proxy = Proxy::start(target, move || fault).await;
        let mut client = TcpStream::connect(proxy.address).await.expect("a connection");
        let began = Instant::now();
        client.write_all(said).await.expect("it is sent");
        let mut heard = Vec::new();
        let reading = async {
            while heard.len() < said.len() {
                if client.read_buf(&mut heard).await.map_err(|error| error.kind())? == 0 {
                    break;
                }
            }
            Ok(())
        };
        let ended = tokio::time::timeout(Duration::from_millis(500), reading).await;
        echoing.abort();
        match ended {
            Ok(Err(kind)) => (Err(kind), began.elapsed()),
            Ok(Ok(())) => (Ok(heard), began.elapsed()),
            Err(_) => (Err(std::io::ErrorKind::TimedOut), began.elapsed()),
        }
    }

    #[tokio::test]
    async fn every_fault_does_what_it_says() {
        let said = b"0123456789";
        assert_eq!(through(Fault::None, said).await.0, Ok(said.to_vec()));
        assert_eq!(through(Fault::Cut { after: 4, end: End::Fin }, said).await.0, Ok(b"0123".to_vec()));
        assert_eq!(through(Fault::Cut { after: 0, end: End::Fin }, said).await.0, Ok(Vec::new()));
        assert_eq!(through(Fault::Cut { after: 0, end: End::Rst }, said).await.0, Err(std::io::ErrorKind::ConnectionReset));
        assert_eq!(through(Fault::HalfOpen { after: 4 }, said).await.0, Err(std::io::ErrorKind::TimedOut));
        let (heard, took) = through(Fault::Delay(Duration::from_millis(50)), said).await;
        assert_eq!(heard, Ok(said.to_vec()));
        assert!(took >= Duration::from_millis(50));
        let (heard, took) = through(Fault::Drip { bytes: 2, pause: Duration::from_millis(10) }, said).await;
        assert_eq!(heard, Ok(said.to_vec()));
        assert!(took >= Duration::from_millis(50), "{took:?}");
        // What was sent and not read makes a reset of it, which is as good an end.
        let (heard, _) = through(Fault::CutRequest { after: 4, end: End::Fin }, said).await;
        assert!(heard.map_or(true, |heard| heard.len() <= 4));
    }
}
