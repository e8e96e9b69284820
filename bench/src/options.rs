//! What can be asked of this program.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(about = "Measures colloquy beside a bare pass-through")]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    pub fn command(self) -> Command {
        self.command.unwrap_or_else(|| Command::All(AllOptions::default()))
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measures everything and prints a table (the default)
    All(AllOptions),
    /// Sends one load to a server, for looking at it with a profiler meanwhile
    Client(ClientOptions),
    /// Asks a running server forty questions over its sample data and says which of its answers are right
    Rules {
        /// It must answer without a token (`COLLOQUY_AUTH=off`)
        #[arg(long, default_value = "127.0.0.1:8000")]
        address: SocketAddr,
    },
    /// A model provider that replays answers
    Upstream,
    /// A bare pass-through to a provider
    Floor {
        upstream: SocketAddr,
        /// Worker threads; as many as there are cores if not given
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Hands what a provider says to many, as it is
    Fan { upstream: SocketAddr },
}

#[derive(Debug, Default, Args)]
pub struct AllOptions {
    /// A minute of everything, to see that it works; its numbers mean little
    #[arg(long)]
    pub quick: bool,
    /// Only these
    #[arg(long, value_enum)]
    pub only: Vec<Measure>,
    /// The rows as JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Rounds of each; 5 if not given
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Worker threads of the floor; as many as the product has if not given
    #[arg(long)]
    pub floor_threads: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// Latency, first delta and CPU of paced turns
    Paced,
    /// Deltas per second and CPU at full rate
    FullRate,
    /// CPU of many who watch one conversation
    Watchers,
    /// Memory of idle connections
    Idle,
    /// Message 10,000 and the last page of history
    Long,
    /// Cold start, memory and size
    Start,
    /// kill -9 in mid-answer
    Crash,
    /// PostgreSQL beside SQLite; needs a PostgreSQL server, which scripts/with-services starts
    Databases,
    /// Deltas per second over one, two and three nodes; needs a PostgreSQL server as well
    Nodes,
}

#[derive(Debug, Args)]
pub struct ClientOptions {
    /// The server; without it, one is started
    #[arg(long)]
    pub address: Option<SocketAddr>,
    /// What to go through
    #[arg(long, value_enum, default_value_t = Through::Sse)]
    pub through: Through,
    #[arg(long, default_value_t = 50)]
    pub turns: usize,
    /// Deltas of each turn
    #[arg(long, default_value_t = 500)]
    pub deltas: u32,
    /// Deltas per second of each turn; 0 is as fast as they are taken
    #[arg(long, default_value_t = 50)]
    pub rate: u32,
    /// Rounds, one after the other
    #[arg(long, default_value_t = 1)]
    pub rounds: usize,
    /// So many watch the first conversation instead, and it has the only turn
    #[arg(long)]
    pub watchers: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Through {
    /// The sessions API
    Sse,
    /// The socket
    Socket,
    /// A provider, or the floor in front of it
    Provider,
}
