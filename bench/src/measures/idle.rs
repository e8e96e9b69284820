//! Memory of connections on which nothing happens. What the kernel keeps for a socket is not in a process's memory and is
//! not counted.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Bench, progress};
use crate::Result;
use crate::client::{connect_socket, open_events, subscribe};
use crate::stats::float;
use crate::table::Row;

/// The first ones also pay for what is there only once.
const BEFORE: usize = 500;
const CONNECTIONS: usize = 2000;
/// Until the server has put away what it needed to accept them.
const SETTLE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Socket,
    Subscribed,
    EventsOfOne,
    EventsOfMany,
}

/// A connection that is held open.
enum Held {
    Socket(#[expect(dead_code, reason = "held, not used")] Box<crate::client::SocketLine>),
    Events(#[expect(dead_code, reason = "held, not used")] Box<crate::client::EventStream>),
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (kind, what, goal_kb) in [
        (Kind::Socket, "memory of an idle WebSocket", Some(4.0)),
        (Kind::Subscribed, "memory of an idle WebSocket that follows a conversation of its own", None),
        (Kind::EventsOfOne, "memory of an idle SSE stream, all of one conversation", Some(11.0)),
        (Kind::EventsOfMany, "memory of an idle SSE stream, each of a conversation of its own", Some(11.0)),
    ] {
        let mut rounds = Vec::new();
        for _ in 0..bench.or_quick(3, 1) {
            rounds.push(bytes_per_connection(bench, kind).await? / 1000.0);
        }
        progress(what);
        let row = Row::new(what, "KB", &rounds);
        rows.push(match goal_kb {
            Some(limit) => row.at_most(limit),
            None => row,
        });
    }
    Ok(rows)
}

async fn bytes_per_connection(bench: &Bench, kind: Kind) -> Result<f64> {
    let directory = bench.place.directory()?;
    let server = bench.place.server(directory.path(), None)?;
    let (address, count) = (server.process.address, bench.or_quick(CONNECTIONS, CONNECTIONS / 4));
    let sessions = match kind {
        Kind::Socket => vec![String::new(); BEFORE + count],
        Kind::EventsOfOne => vec![server.api.session().await?; BEFORE + count],
        Kind::Subscribed | Kind::EventsOfMany => server.api.sessions(BEFORE + count).await?,
    };
    let (first, rest) = sessions.split_at(BEFORE);
    let mut held = Vec::new();
    open(address, kind, first, &mut held).await?;
    tokio::time::sleep(SETTLE).await;
    let before = server.process.resident_bytes()?;
    open(address, kind, rest, &mut held).await?;
    tokio::time::sleep(SETTLE).await;
    let after = server.process.resident_bytes()?;
    drop(held);
    Ok(float(after.saturating_sub(before)) / float(count as u64))
}

async fn open(address: SocketAddr, kind: Kind, sessions: &[String], held: &mut Vec<Held>) -> Result<()> {
    for session in sessions {
        held.push(match kind {
            Kind::Socket => Held::Socket(Box::new(connect_socket(address).await?)),
            Kind::Subscribed => {
                let mut line = connect_socket(address).await?;
                subscribe(&mut line, &session.replace('-', "")).await?;
                Held::Socket(Box::new(line))
            }
            Kind::EventsOfOne | Kind::EventsOfMany => Held::Events(Box::new(open_events(address, session).await?)),
        });
    }
    Ok(())
}
