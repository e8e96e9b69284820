//! Whether this server shares its database with others, and how they tell each other what is new.

use std::net::SocketAddr;
use std::sync::Arc;

use domain::{Carrier, NodeId};
use engine::{Nodes, Sharing};
use store::{DatabaseUrl, Notify, Store};

use crate::config::ServerConfig;
use crate::data_dir::{DataDir, NodeNote};
use crate::nats::Nats;
use crate::wiring::StartError;

/// Also gives the note in the data directory, to be kept for as long as the server runs.
pub(crate) async fn nodes(
    config: &ServerConfig,
    store: &Store,
    data_dir: &DataDir,
    addresses: &[SocketAddr],
    notes: &mut Vec<String>,
) -> Result<(Nodes, Option<NodeNote>), StartError> {
    let address = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    if store.is_exclusive() {
        if config.nats.is_some() {
            notes.push("NATS_URL has no effect: a database in a file has one node".to_owned());
        }
        return Ok((Nodes { sharing: Sharing::Alone, address }, None));
    }
    let id = NodeId::new();
    let note = data_dir.note_node(&id.to_string())?;
    // What the server before this one in the same place has left need not wait for its lease to end.
    let earlier = note.as_ref().and_then(|note| NodeId::parse(note.earlier.as_deref()?));
    let carrier: Option<Arc<dyn Carrier>> = match (&config.nats, config.database()) {
        (Some(url), _) => Some(Nats::connect(url).await.map_err(|reason| StartError::Settings(format!("NATS_URL: {reason}")))?),
        (None, DatabaseUrl::Postgres(url)) => Some(Notify::start(&url)),
        (None, DatabaseUrl::Sqlite(_) | DatabaseUrl::SqliteInMemory) => None,
    };
    Ok((Nodes { sharing: Sharing::Shared { id, earlier, carrier }, address }, note))
}
