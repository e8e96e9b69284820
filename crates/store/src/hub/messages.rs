//! The messages of chats.

use domain::hub::{AgentId, ChannelId, ChatId, ChatMessage, ChatMessageId, DeliveryId, HubId as _, Sender, SenderType};
use domain::{AccountId, DeliveryStatus, Timestamp};
use uuid::Uuid;

use super::chats::{json, map};
use super::{flag, unreadable};
use crate::{Row, StoreError, Tx, Value};

const COLUMNS: &str = "m.id, m.chat_id, m.place, m.external_id, m.content, m.kind, m.sender, m.account_id, m.agent_id, m.at, \
    m.meta, m.is_read, m.status, m.attachments, m.edited_at";

/// What is stored with a message and shown to nobody.
#[derive(Debug, Clone, Default)]
pub struct Aside {
    /// What the client named its request, and SHA-256 of it.
    pub client_key: Option<(String, String)>,
    /// The agent's call that it answers.
    pub delivery: Option<DeliveryId>,
}

/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, channel: ChannelId, message: &ChatMessage, aside: Aside) -> Result<(), StoreError> {
    let (account, agent) = match message.sender {
        Sender::Contact => (None, None),
        Sender::User(account) => (account, None),
        Sender::Agent(agent) => (None, agent),
    };
    let (client_key, client_print) = aside.client_key.unzip();
    tx.execute(
        "INSERT INTO chat_message (id, chat_id, channel_id, place, external_id, content, kind, sender, account_id, agent_id, \
         at, meta, is_read, status, attachments, client_key, client_print, delivery_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        &[
            message.id.uuid().into(),
            message.chat.uuid().into(),
            channel.uuid().into(),
            message.place.into(),
            message.external_id.clone().into(),
            message.content.as_str().into(),
            message.kind.clone().into(),
            message.sender.kind().as_str().into(),
            account.map(AccountId::uuid).into(),
            agent.map(AgentId::uuid).into(),
            message.at.0.into(),
            json(&message.meta)?.into(),
            flag(message.is_read).into(),
            message.status.as_str().into(),
            attachments(message)?.into(),
            client_key.into(),
            client_print.into(),
            aside.delivery.map(DeliveryId::uuid).into(),
        ],
    )?;
    Ok(())
}

/// Stores everything that may change in a message.
///
/// # Errors
/// The database's.
pub fn update(tx: &mut Tx, message: &ChatMessage) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE chat_message SET external_id = $2, content = $3, meta = $4, is_read = $5, status = $6, attachments = $7, \
         edited_at = $8 WHERE id = $1",
        &[
            message.id.uuid().into(),
            message.external_id.clone().into(),
            message.content.as_str().into(),
            json(&message.meta)?.into(),
            flag(message.is_read).into(),
            message.status.as_str().into(),
            attachments(message)?.into(),
            message.edited_at.map(|at| at.0).into(),
        ],
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: ChatMessageId) -> Result<Option<ChatMessage>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM chat_message m WHERE m.id = $1");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| message(&row)).transpose()
}

/// The message that the platform calls so, within one channel; the newest, if ids repeat from chat to chat.
///
/// # Errors
/// The database's.
pub fn by_external_id(
    tx: &mut Tx,
    channel: ChannelId,
    external_id: &str,
    chat: Option<ChatId>,
) -> Result<Option<ChatMessage>, StoreError> {
    let mut values: Vec<Value> = vec![channel.uuid().into(), external_id.into()];
    let mut sql = format!("SELECT {COLUMNS} FROM chat_message m WHERE m.channel_id = $1 AND m.external_id = $2");
    if let Some(chat) = chat {
        values.push(chat.uuid().into());
        sql += " AND m.chat_id = $3";
    }
    sql += " ORDER BY m.at DESC LIMIT 1";
    tx.query_one(&sql, &values)?.map(|row| message(&row)).transpose()
}

/// What the platform calls the chat's newest messages but this one.
///
/// # Errors
/// The database's.
pub fn newest_external_ids(tx: &mut Tx, chat: ChatId, but: ChatMessageId) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT external_id FROM chat_message WHERE chat_id = $1 AND id <> $2 AND external_id IS NOT NULL \
               ORDER BY place DESC LIMIT 100";
    tx.query(sql, &[chat.uuid().into(), but.uuid().into()])?.iter().map(|row| row.get(0)).collect()
}

/// The message of a request that was named so, and the print of that request.
///
/// # Errors
/// The database's.
pub fn by_client_key(tx: &mut Tx, chat: ChatId, key: &str) -> Result<Option<(ChatMessage, String)>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, m.client_print FROM chat_message m WHERE m.chat_id = $1 AND m.client_key = $2");
    let row = tx.query_one(&sql, &[chat.uuid().into(), key.into()])?;
    row.map(|row| Ok((message(&row)?, row.get::<Option<String>>(15)?.unwrap_or_default()))).transpose()
}

/// One page, the newest first, and how many there are in all.
///
/// # Errors
/// The database's.
pub fn list(tx: &mut Tx, chat: ChatId, page: &Page) -> Result<(Vec<ChatMessage>, i64), StoreError> {
    let key: Value = chat.uuid().into();
    let row = tx.query_one("SELECT count(*) FROM chat_message WHERE chat_id = $1", std::slice::from_ref(&key))?;
    let total = row.map_or(Ok(0), |row| row.get(0))?;
    let (after, before) = (page.after.unwrap_or(0), page.before.unwrap_or(i64::MAX));
    let sql = format!(
        "SELECT {COLUMNS} FROM chat_message m WHERE m.chat_id = $1 AND m.place > $2 AND m.place < $3 \
         ORDER BY m.place DESC LIMIT $4 OFFSET $5"
    );
    let values = [key, after.into(), before.into(), page.limit.into(), page.offset.into()];
    let found = tx.query(&sql, &values)?.iter().map(message).collect::<Result<_, _>>()?;
    Ok((found, total))
}

/// Which messages of a chat to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page {
    pub offset: i64,
    pub limit: i64,
    /// Behind, or before, these places.
    pub after: Option<i64>,
    pub before: Option<i64>,
}

/// What an agent is shown, oldest first: the newest `count` that are not older than `since`, and of the contact's those
/// behind the place `new_behind`, whatever their age, up to `at_most` in all.
///
/// # Errors
/// The database's.
pub fn history(
    tx: &mut Tx,
    chat: ChatId,
    count: i64,
    since: Timestamp,
    new_behind: i64,
    at_most: i64,
) -> Result<Vec<ChatMessage>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM chat_message m WHERE m.chat_id = $1 AND (\
         (m.sender = 'CONTACT' AND m.place > $4) OR (m.at >= $3 AND m.place IN \
         (SELECT n.place FROM chat_message n WHERE n.chat_id = $1 ORDER BY n.place DESC LIMIT $2))) \
         ORDER BY m.place DESC LIMIT $5"
    );
    let rows = tx.query(&sql, &[chat.uuid().into(), count.into(), since.0.into(), new_behind.into(), at_most.into()])?;
    let mut found = rows.iter().map(message).collect::<Result<Vec<_>, _>>()?;
    found.reverse();
    Ok(found)
}

/// The place of the newest message of somebody's kind.
///
/// # Errors
/// The database's.
pub fn newest_of(tx: &mut Tx, chat: ChatId, sender: SenderType) -> Result<i64, StoreError> {
    let sql = "SELECT max(place) FROM chat_message WHERE chat_id = $1 AND sender = $2";
    let row = tx.query_one(sql, &[chat.uuid().into(), sender.as_str().into()])?;
    row.map_or(Ok(0), |row| Ok(row.get::<Option<i64>>(0)?.unwrap_or(0)))
}

/// What the platform calls the newest message of the contact.
///
/// # Errors
/// The database's.
pub fn newest_received(tx: &mut Tx, chat: ChatId) -> Result<Option<String>, StoreError> {
    let sql = "SELECT external_id FROM chat_message WHERE chat_id = $1 AND sender = 'CONTACT' ORDER BY place DESC LIMIT 1";
    tx.query_one(sql, &[chat.uuid().into()])?.map_or(Ok(None), |row| row.get(0))
}

/// Marks the contact's messages up to a place as read; returns how many are left.
///
/// # Errors
/// The database's.
pub fn mark_read(tx: &mut Tx, chat: ChatId, upto: i64) -> Result<i64, StoreError> {
    tx.execute(
        "UPDATE chat_message SET is_read = 1 WHERE chat_id = $1 AND sender = 'CONTACT' AND is_read = 0 AND place <= $2",
        &[chat.uuid().into(), upto.into()],
    )?;
    let sql = "SELECT count(*) FROM chat_message WHERE chat_id = $1 AND sender = 'CONTACT' AND is_read = 0";
    tx.query_one(sql, &[chat.uuid().into()])?.map_or(Ok(0), |row| row.get(0))
}

/// How many messages of the contact there are since then.
///
/// # Errors
/// The database's.
pub fn from_contact_since(tx: &mut Tx, chat: ChatId, since: Timestamp, at_most: i64) -> Result<i64, StoreError> {
    let sql = "SELECT m.at, m.sender FROM chat_message m WHERE m.chat_id = $1 ORDER BY m.place DESC LIMIT $2";
    let rows = tx.query(sql, &[chat.uuid().into(), at_most.into()])?;
    let mut count = 0;
    for row in rows {
        let is_contact = row.get::<String>(1)? == SenderType::Contact.as_str();
        count += i64::from(is_contact && row.get::<i64>(0)? >= since.0);
    }
    Ok(count)
}

fn attachments(message: &ChatMessage) -> Result<String, StoreError> {
    serde_json::to_string(&message.attachments).map_err(|error| StoreError::Failed(error.to_string()))
}

fn message(row: &Row) -> Result<ChatMessage, StoreError> {
    let sender: String = row.get(6)?;
    let account = row.get::<Option<Uuid>>(7)?.map(AccountId::from_uuid);
    let agent = row.get::<Option<Uuid>>(8)?.map(AgentId::from_uuid);
    let status: String = row.get(12)?;
    let attachments: String = row.get(13)?;
    Ok(ChatMessage {
        id: ChatMessageId::from_uuid(row.get::<Uuid>(0)?),
        chat: ChatId::from_uuid(row.get::<Uuid>(1)?),
        place: row.get(2)?,
        external_id: row.get(3)?,
        content: row.get(4)?,
        kind: row.get(5)?,
        sender: match SenderType::parse(&sender).ok_or_else(|| unreadable("sender", &sender))? {
            SenderType::Contact => Sender::Contact,
            SenderType::User => Sender::User(account),
            SenderType::Agent => Sender::Agent(agent),
        },
        at: Timestamp(row.get(9)?),
        meta: map(&row.get::<String>(10)?)?,
        is_read: row.get::<i64>(11)? != 0,
        status: DeliveryStatus::parse(&status).ok_or_else(|| unreadable("status", &status))?,
        attachments: serde_json::from_str(&attachments).map_err(|_| unreadable("attachments", &attachments))?,
        edited_at: row.get::<Option<i64>>(14)?.map(Timestamp),
    })
}
