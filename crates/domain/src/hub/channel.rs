use serde::{Deserialize, Serialize};

use super::ChannelId;
use super::agent::words;
use crate::{Platform, Timestamp};

/// A connected platform. Its credentials are kept apart, and encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    pub id: ChannelId,
    pub name: String,
    pub platform: Platform,
    /// Replaces the platform's own address.
    pub api_to_send_message: Option<String>,
    /// The public origin, with a path prefix if any, under which the platform reaches this server.
    pub webhook_base_url: Option<String>,
    pub inbound_auth: InboundAuth,
    pub takeover: Takeover,
    /// How long the floor stays with a person who writes nothing more; 0: until it is released.
    pub takeover_minutes: i64,
    /// Messages with which a burst is over, however fast more come.
    pub buffer_max_messages: i64,
    pub send_read_receipts: bool,
    /// Hours after a contact's message in which free text may be sent; `None`: always.
    pub window_hours: Option<i64>,
    pub health: Health,
    pub created_at: Timestamp,
    /// Nothing comes in or goes out any more; its data is purged some time later.
    pub deleted_at: Option<Timestamp>,
}

/// Whose messages come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InboundAuth {
    /// The platform's, by its signature.
    Required,
    /// Also unsigned ones of this machine, while sign-in is off.
    Local,
}

/// What an operator's message does to the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Takeover {
    /// Takes it.
    Auto,
    /// Nothing.
    Manual,
}

/// What was last heard of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Ok,
    /// Our credentials are refused.
    Auth,
    /// Somebody else takes the same messages.
    Conflict,
    Unreachable,
}

words!(InboundAuth { Required = "required", Local = "local" });
words!(Takeover { Auto = "auto", Manual = "manual" });
words!(Health { Ok = "ok", Auth = "auth", Conflict = "conflict", Unreachable = "unreachable" });
