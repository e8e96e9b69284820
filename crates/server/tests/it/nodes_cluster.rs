//! Real servers on one real PostgreSQL, with links that can be cut or fall silent, and a balancer before them.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::campaign_support::{Api, Machine, PATIENCE};
use crate::postgres_server::fresh_database;
use crate::upstream::Upstream;
use crate::wall_clock::WallClock;

/// How the nodes tell each other what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Notify,
    Nats,
}

/// Whether a link carries anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    /// Connections break, and new ones are refused.
    Cut,
    /// Nothing arrives, and nobody is told.
    Silent,
}

/// A TCP connection as a wire that somebody can step on.
pub struct Link {
    pub address: SocketAddr,
    state: watch::Sender<State>,
    accepting: AbortHandle,
}

impl Link {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (state, seen) = watch::channel(State::Open);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                tokio::spawn(pass(client, target, seen.clone()));
            }
        });
        Self { address, state, accepting: accepting.abort_handle() }
    }

    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(client: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    if *state.borrow() == State::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let copying = [(from_client, to_server), (from_server, to_client)].map(|(mut from, mut to)| {
        let mut state = state.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = from.read(&mut buffer).await {
                if state.wait_for(|state| *state != State::Silent).await.is_err() || to.write_all(&buffer[..read]).await.is_err()
                {
                    return;
                }
            }
        })
    });
    let [up, down] = copying;
    let (stop_up, stop_down) = (up.abort_handle(), down.abort_handle());
    tokio::select! {
        _ = up => {}
        _ = down => {}
        _ = state.wait_for(|state| *state == State::Cut) => {}
    }
    stop_up.abort();
    stop_down.abort();
}

/// Takes every connection to a node that takes it.
pub struct Balancer {
    pub address: SocketAddr,
    accepting: AbortHandle,
}

impl Balancer {
    pub fn on(listener: TcpListener, nodes: Vec<SocketAddr>) -> Self {
        let address = listener.local_addr().expect("an address");
        let next = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((mut client, _)) = listener.accept().await else { continue };
                let (nodes, next) = (nodes.clone(), Arc::clone(&next));
                tokio::spawn(async move {
                    let _ = client.set_nodelay(true);
                    for _ in 0..nodes.len() {
                        let node = nodes[next.fetch_add(1, Ordering::Relaxed) % nodes.len()];
                        if let Ok(mut server) = TcpStream::connect(node).await {
                            let _ = server.set_nodelay(true);
                            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                            return;
                        }
                    }
                });
            }
        });
        Self { address, accepting: accepting.abort_handle() }
    }

    pub fn api(&self) -> Api {
        Api { address: self.address, via: self.address }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A NATS server of our own.
pub struct NatsServer {
    pub address: SocketAddr,
    child: Child,
}

impl NatsServer {
    pub async fn start() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        Self { child: Self::spawn(address).await, address }
    }

    /// As if its machine had been switched off and on again.
    pub async fn restart(&mut self) {
        let _ = (self.child.start_kill(), self.child.wait().await);
        self.child = Self::spawn(self.address).await;
    }

    async fn spawn(address: SocketAddr) -> Child {
        // Debian puts it where not everybody's programs are looked for.
        let program = ["/usr/sbin/nats-server", "nats-server"].into_iter().find(|path| std::path::Path::new(path).exists());
        let mut command = Command::new(program.unwrap_or("nats-server"));
        command.args(["--addr", "127.0.0.1", "--port", &address.port().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().expect("nats-server is installed: scripts/setup-tests does it");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "nats-server does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        child
    }
}

/// Several nodes on one database.
pub struct Cluster {
    pub machines: Vec<Machine>,
    /// Of each node, to the database.
    pub links: Vec<Link>,
    /// Of each node, where clocks can be set.
    pub clocks: Vec<Option<WallClock>>,
    pub nats: Option<NatsServer>,
    pub balancer: Balancer,
}

impl Cluster {
    pub async fn start(upstream: &Upstream, count: usize, line: Line) -> Self {
        let database = fresh_database().await;
        let (before, rest) = database.split_once('@').expect("an address with a user");
        let (server, name) = rest.split_once('/').expect("an address with a database");
        let server: SocketAddr = server.parse().expect("an address in numbers");
        let nats = if line == Line::Nats { Some(NatsServer::start().await) } else { None };
        let entrance = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let public = format!("http://{}", entrance.local_addr().expect("an address"));
        let (mut machines, mut links, mut clocks) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let link = Link::to(server).await;
            let mut machine = Machine::new(upstream);
            machine.set("DATABASE_URL", format!("{before}@{}/{name}", link.address));
            machine.set("COLLOQUY_PUBLIC_URL", &public);
            if let Some(nats) = &nats {
                machine.set("NATS_URL", format!("nats://{}", nats.address));
            }
            clocks.push(WallClock::of(&mut machine));
            machine.start().await;
            machines.push(machine);
            links.push(link);
        }
        let balancer = Balancer::on(entrance, machines.iter().map(|machine| machine.address).collect());
        Self { machines, links, clocks, nats, balancer }
    }

    pub fn apis(&self) -> Vec<Api> {
        self.machines.iter().map(Machine::api).collect()
    }

    pub async fn end(self) {
        for mut machine in self.machines {
            machine.kill().await;
            let errors = machine.errors();
            assert!(!errors.contains("panicked"), "the program has broken down:\n{errors}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::{Link, State};
    use crate::campaign_support::PATIENCE;

    #[tokio::test]
    async fn a_link_does_what_it_is_told() {
        let echo = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let link = Link::to(echo.local_addr().expect("an address")).await;
        let echoing = tokio::spawn(async move {
            loop {
                let (mut stream, _) = echo.accept().await.expect("a connection");
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        let mut client = TcpStream::connect(link.address).await.expect("a connection");
        let mut heard = [0; 4];
        client.write_all(b"open").await.expect("it is sent");
        timeout(PATIENCE, client.read_exact(&mut heard)).await.expect("in time").expect("an echo");
        link.set(State::Silent);
        client.write_all(b"hush").await.expect("nobody is told");
        assert!(timeout(Duration::from_millis(100), client.read_exact(&mut heard)).await.is_err(), "it is not silent");
        link.set(State::Open);
        timeout(PATIENCE, client.read_exact(&mut heard)).await.expect("in time").expect("what was said in silence comes");
        assert_eq!(&heard, b"hush");
        link.set(State::Cut);
        assert_eq!(timeout(PATIENCE, client.read(&mut heard)).await.expect("in time").unwrap_or(0), 0, "it is not cut");
        let mut refused = TcpStream::connect(link.address).await.expect("the link itself is there");
        assert_eq!(timeout(PATIENCE, refused.read(&mut heard)).await.expect("in time").unwrap_or(0), 0, "it is not refused");
        echoing.abort();
    }
}
