//! Logs: to standard error, because standard output is for what people and scripts wait for.

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, ServerConfig};

/// Libraries that log what people write, frame by frame, at the levels below this one. No filter brings that back.
const DISCREET: [&str; 2] = ["tungstenite=info", "tungstenite::protocol=info"];

/// Starts to log. Only a program does that, never a library or a test.
pub fn start(config: &ServerConfig) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.log))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match config.log_format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}

fn filter(wish: &str) -> EnvFilter {
    let discreet = DISCREET.iter().filter_map(|directive| directive.parse().ok());
    discreet.fold(EnvFilter::builder().parse_lossy(wish), EnvFilter::add_directive)
}
