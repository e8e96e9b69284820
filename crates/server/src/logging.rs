//! Logs: to standard error, because standard output is for what people and scripts wait for.

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, ServerConfig};

/// Starts to log. Only a program does that, never a library or a test.
pub fn start(config: &ServerConfig) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::builder().parse_lossy(&config.log))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match config.log_format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}
