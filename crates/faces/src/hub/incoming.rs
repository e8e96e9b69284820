//! Frames of the hub on the shared socket.

use axum::extract::ws::Utf8Bytes;
use domain::hub::{ChannelId, HubId as _};
use serde_json::json;

use crate::kit::json::{FieldError, Object};

/// Channels that one frame may name.
const MAX_CHANNELS: usize = 1000;

/// `subscribe` with `channels`: from then on only these, and with `after` what has happened since first.
#[derive(Debug)]
pub(crate) struct Subscribe {
    /// As sent.
    names: Vec<String>,
    pub(crate) after: Option<i64>,
    /// Our own addition: also the events of notes, which the contract's clients do not know.
    pub(crate) notes: bool,
}

impl Subscribe {
    pub(crate) fn read(object: &Object) -> Result<Self, FieldError> {
        let names = object.opt_string_list("channels")?.unwrap_or_default();
        if names.len() > MAX_CHANNELS {
            return Err(object.wrong("channels", crate::kit::json::Expected::StringList));
        }
        let names = names.into_iter().map(str::to_owned).collect();
        let notes = object.opt_bool("notes")?.unwrap_or(false);
        Ok(Self { names, after: object.opt_integer("after")?, notes })
    }

    /// The channels that are meant; `None`: all. An id that is none matches no channel.
    pub(crate) fn channels(&self) -> Option<Vec<ChannelId>> {
        (!self.names.is_empty()).then(|| self.names.iter().filter_map(|name| ChannelId::read(name)).collect())
    }

    pub(crate) fn ack(&self) -> Utf8Bytes {
        json!({"type": "subscription_ack", "subscribed_to": self.names}).to_string().into()
    }
}

pub(crate) fn greeting(active_connections: usize) -> Utf8Bytes {
    let message = "WebSocket connection established successfully";
    json!({"type": "connection_established", "message": message, "active_connections": active_connections}).to_string().into()
}

pub(crate) const RESYNC: Utf8Bytes = Utf8Bytes::from_static(r#"{"type":"resync"}"#);
