//! The hub's nouns, a file each.

pub mod accounts;
pub mod agents;
pub mod canned_replies;
pub mod channels;
pub mod chat_notes;
pub mod chats;
pub mod contacts;
pub mod deliveries;
pub mod events;
pub mod files;
pub mod inbound;
pub mod links;
pub mod messages;
pub mod notes;
pub mod outbox;
pub mod tokens;
pub mod traffic;

use domain::hub::HubId;

use crate::{StoreError, Tx};

/// A table whose ids are made from random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Account,
    Agent,
    CannedReply,
    Channel,
    Chat,
    ChatAgent,
    ChatMessage,
    ChatNote,
    Contact,
    Delivery,
    Draft,
    File,
    Identity,
    Token,
}

/// Whether the id is given already.
///
/// # Errors
/// The database's.
pub fn is_taken(tx: &mut Tx, table: Table, id: impl HubId) -> Result<bool, StoreError> {
    let name = match table {
        Table::Account => "account",
        Table::Agent => "agent",
        Table::CannedReply => "canned_reply",
        Table::Channel => "channel",
        Table::Chat => "chat",
        Table::ChatAgent => "chat_agent",
        Table::ChatMessage => "chat_message",
        Table::ChatNote => "chat_note",
        Table::Contact => "contact",
        Table::Delivery => "agent_delivery",
        Table::Draft => "draft",
        Table::File => "chat_file",
        Table::Identity => "contact_identity",
        Table::Token => "token",
    };
    Ok(tx.query_one(&format!("SELECT id FROM {name} WHERE id = $1"), &[id.uuid().into()])?.is_some())
}

/// Says that `name` has happened. `false`: it had happened before.
///
/// # Errors
/// The database's.
pub fn first_time(tx: &mut Tx, name: &str, at: domain::Timestamp) -> Result<bool, StoreError> {
    let sql = "INSERT INTO once_only (name, at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    Ok(tx.execute(sql, &[name.into(), at.0.into()])? > 0)
}

fn flag(value: bool) -> i64 {
    i64::from(value)
}

fn unreadable(what: &str, value: &str) -> StoreError {
    StoreError::Failed(format!("stored {what} {value:?}"))
}
