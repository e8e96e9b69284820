//! The floor that puts the others together: settings, database, models, tools, engine, faces and the web app.
//!
//! [`start`] runs a whole server inside any program, which is also how tests do it:
//!
//! ```ignore
//! let data = tempfile::tempdir()?;
//! let mut config = server::ServerConfig::on_free_port(data.path());
//! config.extra_providers.push(Arc::new(scripted));
//! let running = server::start(config).await?;
//! // … talk to running.addresses[0] with running.owner_token …
//! running.shut_down().await;
//! ```

pub mod commands;
mod config;
mod data_dir;
mod local;
mod logging;
mod nats;
mod serve;
pub mod settings;
mod sharing;
mod web;
mod wiring;

pub use config::{Auth, DEFAULT_PORT, LogFormat, ModelServer, PublicUrl, ServerConfig};
pub use serve::{HEADER_TIMEOUT, MAX_CONNECTIONS};
pub use wiring::{DRAIN_DEADLINE, Running, StartError, start};
