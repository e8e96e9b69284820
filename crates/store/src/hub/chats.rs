//! What one contact and we have said on one channel: its row, its lists, its floor.

use domain::hub::{AgentId, ChannelId, Chat, ChatId, ChatView, ContactId, Floor, Holder, HubId as _, LastMessage, SenderType};
use domain::{AccountId, Timestamp};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{flag, unreadable};
use crate::{Row, StoreError, Tx, Value};

const COLUMNS: &str = "c.id, c.channel_id, c.contact_id, c.external_id, c.name, c.assigned_id, c.last_at, c.last_sender, \
    c.last_text, c.meta, c.extra, c.unread, c.floor, c.floor_account_id, c.floor_until, c.needs_attention, \
    c.failing_agent_id, c.contact_wrote_at, c.archived_at, c.created_at, c.updated_at";

/// What is shown with a chat, from the tables around it.
const AROUND: &str = "h.name, a.username, h.window_hours, g.name, \
    (SELECT o.at FROM opt_out o WHERE o.contact_id = c.contact_id AND o.channel_id = c.channel_id), \
    (SELECT min(i.value) FROM contact_identity i WHERE i.contact_id = c.contact_id AND i.kind = 'phone')";

const JOINS: &str = "FROM chat c JOIN channel h ON h.id = c.channel_id LEFT JOIN account a ON a.id = c.assigned_id \
    LEFT JOIN agent g ON g.id = c.failing_agent_id";

/// # Errors
/// [`StoreError::Duplicate`]: the contact has a chat on this channel; or the database's.
pub fn insert(tx: &mut Tx, chat: &Chat) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO chat (id, channel_id, contact_id, external_id, name, last_at, meta, extra, unread, floor, \
         needs_attention, place, hour, hour_count, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, 0, 0, 0, 0, $6, $6)",
        &[
            chat.id.uuid().into(),
            chat.channel.uuid().into(),
            chat.contact.uuid().into(),
            chat.external_id.as_str().into(),
            chat.name.as_str().into(),
            chat.created_at.0.into(),
            json(&chat.meta)?.into(),
            json(&chat.extra)?.into(),
            chat.floor.holder.as_str().into(),
        ],
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: ChatId) -> Result<Option<Chat>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM chat c WHERE c.id = $1");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| chat(&row)).transpose()
}

/// Holds the chat until the transaction ends: who reads it afterwards reads what nobody else changes meanwhile.
///
/// # Errors
/// The database's.
pub fn hold(tx: &mut Tx, id: ChatId) -> Result<bool, StoreError> {
    Ok(tx.execute("UPDATE chat SET place = place WHERE id = $1", &[id.uuid().into()])? > 0)
}

/// # Errors
/// The database's.
pub fn of_contact(tx: &mut Tx, channel: ChannelId, contact: ContactId) -> Result<Option<ChatId>, StoreError> {
    let sql = "SELECT id FROM chat WHERE channel_id = $1 AND contact_id = $2";
    let row = tx.query_one(sql, &[channel.uuid().into(), contact.uuid().into()])?;
    row.map(|row| Ok(ChatId::from_uuid(row.get::<Uuid>(0)?))).transpose()
}

/// The chat on this channel that answers are sent to under this address, the one written to last if there are several.
///
/// # Errors
/// The database's.
pub fn by_address(tx: &mut Tx, channel: ChannelId, address: &str) -> Result<Option<ChatView>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, {AROUND} {JOINS} WHERE c.channel_id = $1 AND c.external_id = $2 ORDER BY c.last_at DESC, c.id LIMIT 1"
    );
    tx.query_one(&sql, &[channel.uuid().into(), address.into()])?.map(|row| chat_view(&row)).transpose()
}

/// # Errors
/// The database's.
pub fn view(tx: &mut Tx, id: ChatId) -> Result<Option<ChatView>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, {AROUND} {JOINS} WHERE c.id = $1");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| chat_view(&row)).transpose()
}

/// Which chats to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub channel: Option<ChannelId>,
    /// Whose chats are looked at; `None`: everybody's.
    pub seen_by: Option<Viewer>,
    pub assigned_to: Option<AccountId>,
    pub is_assigned: Option<bool>,
    pub needs_attention: Option<bool>,
    /// Whether there is something of the contact's that nobody has read.
    pub is_unread: Option<bool>,
    /// Whether a person has to do something: it needs attention, or the contact has the last word and no agent answers.
    pub is_waiting: Option<bool>,
    pub archived: bool,
    /// Occurs in the name, the address, the newest message, or in what else the contact is known by.
    pub words: Option<String>,
    /// The last digits of a phone number.
    pub phone: Option<String>,
    pub offset: i64,
    pub limit: i64,
    /// Those that stand behind, or before, this one.
    pub behind: Option<ChatId>,
    pub before: Option<ChatId>,
}

/// Somebody who does not see every channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// Sees the channels that it was let into, and the chats that are assigned to it.
    Account(AccountId),
    /// Sees the chats that it is linked to.
    Agent(AgentId),
}

/// One page, and how many there are in all: the one that was written to last first, equal ones by id.
///
/// # Errors
/// The database's.
pub fn list(tx: &mut Tx, filter: &Filter) -> Result<(Vec<ChatView>, i64), StoreError> {
    let mut values: Vec<Value> = Vec::new();
    let mut conditions = vec!["h.deleted_at IS NULL".to_owned()];
    let mut with = |text: &str, value: Value| {
        values.push(value);
        conditions.push(text.replace('?', &format!("${}", values.len())));
    };
    if let Some(channel) = filter.channel {
        with("c.channel_id = ?", channel.uuid().into());
    }
    match filter.seen_by {
        None => {}
        Some(Viewer::Account(id)) => with(
            "(c.assigned_id = ? OR c.channel_id IN (SELECT p.channel_id FROM channel_permission p WHERE p.account_id = ?))",
            id.uuid().into(),
        ),
        Some(Viewer::Agent(id)) => {
            with("c.id IN (SELECT l.chat_id FROM chat_agent l WHERE l.agent_id = ?)", id.uuid().into());
        }
    }
    if let Some(account) = filter.assigned_to {
        with("c.assigned_id = ?", account.uuid().into());
    }
    if let Some(words) = &filter.words {
        let pattern = format!("%{}%", escape_like(&words.trim().to_lowercase()));
        with(
            "(lower(c.name) LIKE ? ESCAPE '!' OR lower(c.external_id) LIKE ? ESCAPE '!' OR lower(c.last_text) LIKE ? ESCAPE '!' \
             OR c.contact_id IN (SELECT i.contact_id FROM contact_identity i WHERE lower(i.value) LIKE ? ESCAPE '!'))",
            pattern.into(),
        );
    }
    if let Some(phone) = &filter.phone {
        with(
            "(c.external_id LIKE ? OR c.contact_id IN (SELECT i.contact_id FROM contact_identity i WHERE i.value LIKE ?))",
            format!("%{phone}").into(),
        );
    }
    if let Some(needs) = filter.needs_attention {
        with("c.needs_attention = ?", flag(needs).into());
    }
    if let Some(unread) = filter.is_unread {
        conditions.push(if unread { "c.unread > 0" } else { "c.unread = 0" }.to_owned());
    }
    if let Some(waiting) = filter.is_waiting {
        const WAITING: &str = "(c.needs_attention = 1 OR (c.floor <> 'agent' AND COALESCE(c.last_sender, '') = 'CONTACT'))";
        conditions.push(if waiting { WAITING.to_owned() } else { format!("NOT {WAITING}") });
    }
    conditions.push(if filter.archived { "c.archived_at IS NOT NULL" } else { "c.archived_at IS NULL" }.to_owned());
    match filter.is_assigned {
        None => {}
        Some(true) => conditions.push("c.assigned_id IS NOT NULL".to_owned()),
        Some(false) => conditions.push("c.assigned_id IS NULL".to_owned()),
    }
    let found = conditions.join(" AND ");
    let sql = format!("SELECT count(*) FROM chat c JOIN channel h ON h.id = c.channel_id WHERE {found}");
    let total = tx.query_one(&sql, &values)?.map_or(Ok(0), |row| row.get(0))?;
    let mut sql = format!("SELECT {COLUMNS}, {AROUND} {JOINS} WHERE {found}");
    for (mark, is_behind) in [(filter.behind, true), (filter.before, false)] {
        let Some(mark) = mark else { continue };
        let Some(mark) = get(tx, mark)? else { return Ok((Vec::new(), total)) };
        let at = mark.last_message.as_ref().map_or(mark.created_at, |last| last.at);
        values.extend([at.0.into(), mark.id.uuid().into()]);
        let (time, id) = (values.len() - 1, values.len());
        let (earlier, later) = if is_behind { ('<', '>') } else { ('>', '<') };
        sql += &format!(" AND (c.last_at {earlier} ${time} OR (c.last_at = ${time} AND c.id {later} ${id}))");
    }
    values.extend([filter.limit.into(), filter.offset.into()]);
    sql += &format!(" ORDER BY c.last_at DESC, c.id LIMIT ${} OFFSET ${}", values.len() - 1, values.len());
    let page = tx.query(&sql, &values)?.iter().map(chat_view).collect::<Result<_, _>>()?;
    Ok((page, total))
}

fn escape_like(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

/// Counts a new message in; returns its place.
///
/// # Errors
/// The database's.
pub fn next_place(tx: &mut Tx, id: ChatId) -> Result<Option<i64>, StoreError> {
    let row = tx.query_one("UPDATE chat SET place = place + 1 WHERE id = $1 RETURNING place", &[id.uuid().into()])?;
    row.map(|row| row.get(0)).transpose()
}

/// # Errors
/// The database's.
pub fn set_last(tx: &mut Tx, id: ChatId, last: &LastMessage) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE chat SET last_at = $2, last_sender = $3, last_text = $4, updated_at = $2 WHERE id = $1",
        &[id.uuid().into(), last.at.0.into(), last.sender.as_str().into(), last.text.as_str().into()],
    )?;
    Ok(())
}

/// Counts a contact's message in: unread, and what it says about the window. The chat is listed again.
///
/// # Errors
/// The database's.
pub fn contact_wrote(tx: &mut Tx, id: ChatId, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE chat SET unread = unread + 1, contact_wrote_at = $2, archived_at = NULL WHERE id = $1";
    tx.execute(sql, &[id.uuid().into(), at.0.into()])?;
    Ok(())
}

/// Counts a contact's message in the hour `hour`; returns how many there are in it.
///
/// # Errors
/// The database's.
pub fn count_in_hour(tx: &mut Tx, id: ChatId, hour: i64) -> Result<i64, StoreError> {
    let sql = "UPDATE chat SET hour_count = CASE WHEN hour = $2 THEN hour_count + 1 ELSE 1 END, hour = $2 WHERE id = $1 \
               RETURNING hour_count";
    tx.query_one(sql, &[id.uuid().into(), hour.into()])?.map_or(Ok(0), |row| row.get(0))
}

/// # Errors
/// The database's.
pub fn set_unread(tx: &mut Tx, id: ChatId, unread: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE chat SET unread = $2 WHERE id = $1", &[id.uuid().into(), unread.into()])?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn set_floor(tx: &mut Tx, id: ChatId, floor: &Floor, at: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE chat SET floor = $2, floor_account_id = $3, floor_until = $4, updated_at = $5 WHERE id = $1",
        &[
            id.uuid().into(),
            floor.holder.as_str().into(),
            floor.account.map(AccountId::uuid).into(),
            floor.until.map(|until| until.0).into(),
            at.0.into(),
        ],
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn assign(tx: &mut Tx, id: ChatId, account: Option<AccountId>, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE chat SET assigned_id = $2, updated_at = $3 WHERE id = $1";
    tx.execute(sql, &[id.uuid().into(), account.map(AccountId::uuid).into(), at.0.into()])?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn set_attention(tx: &mut Tx, id: ChatId, needs: bool) -> Result<(), StoreError> {
    tx.execute("UPDATE chat SET needs_attention = $2 WHERE id = $1", &[id.uuid().into(), flag(needs).into()])?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn set_failing(tx: &mut Tx, id: ChatId, agent: Option<AgentId>) -> Result<(), StoreError> {
    let sql = "UPDATE chat SET failing_agent_id = $2 WHERE id = $1";
    tx.execute(sql, &[id.uuid().into(), agent.map(AgentId::uuid).into()])?;
    Ok(())
}

/// What the platform calls the contact now, and where to write to.
///
/// # Errors
/// The database's.
pub fn set_contact(tx: &mut Tx, id: ChatId, name: &str, external_id: &str, meta: &Map<String, Json>) -> Result<(), StoreError> {
    let sql = "UPDATE chat SET name = $2, external_id = $3, meta = $4 WHERE id = $1";
    tx.execute(sql, &[id.uuid().into(), name.into(), external_id.into(), json(meta)?.into()])?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn archive(tx: &mut Tx, id: ChatId, at: Timestamp) -> Result<(), StoreError> {
    tx.execute("UPDATE chat SET archived_at = $2 WHERE id = $1", &[id.uuid().into(), at.0.into()])?;
    Ok(())
}

/// Removes the chat and all that belongs to it. What the platform has told stays known for a while, so that a late repeat
/// does not revive it.
///
/// # Errors
/// The database's.
pub fn delete(tx: &mut Tx, id: ChatId, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE inbound_key SET deleted_at = $2 WHERE chat_id = $1";
    tx.execute(sql, &[id.uuid().into(), at.0.into()])?;
    for table in ["outbox", "chat_message", "chat_note", "chat_agent", "agent_delivery", "draft", "activity", "hub_event"] {
        tx.execute(&format!("DELETE FROM {table} WHERE chat_id = $1"), &[id.uuid().into()])?;
    }
    super::files::delete_of_chat(tx, id)?;
    tx.execute("DELETE FROM chat WHERE id = $1", &[id.uuid().into()])?;
    Ok(())
}

/// Chats that name the account as responsible, or as who holds the floor.
///
/// # Errors
/// The database's.
pub fn of_account(tx: &mut Tx, id: AccountId) -> Result<Vec<ChatId>, StoreError> {
    let sql = "SELECT id FROM chat WHERE assigned_id = $1 OR floor_account_id = $1 ORDER BY id";
    let rows = tx.query(sql, &[id.uuid().into()])?;
    rows.iter().map(|row| Ok(ChatId::from_uuid(row.get::<Uuid>(0)?))).collect()
}

/// Takes an account out of everything that names it.
///
/// # Errors
/// The database's.
pub fn forget_account(tx: &mut Tx, id: AccountId) -> Result<(), StoreError> {
    for sql in [
        "UPDATE chat SET assigned_id = NULL WHERE assigned_id = $1",
        "UPDATE chat SET floor_account_id = NULL WHERE floor_account_id = $1",
        "UPDATE chat_message SET account_id = NULL WHERE account_id = $1",
        "UPDATE activity SET account_id = NULL WHERE account_id = $1",
        "UPDATE chat_note SET account_id = NULL WHERE account_id = $1",
    ] {
        tx.execute(sql, &[id.uuid().into()])?;
    }
    Ok(())
}

pub(super) fn json(map: &Map<String, Json>) -> Result<String, StoreError> {
    serde_json::to_string(map).map_err(|error| StoreError::Failed(error.to_string()))
}

pub(super) fn map(text: &str) -> Result<Map<String, Json>, StoreError> {
    serde_json::from_str(text).map_err(|_| unreadable("object", text))
}

fn chat_view(row: &Row) -> Result<ChatView, StoreError> {
    let chat = chat(row)?;
    Ok(ChatView {
        chat,
        channel_name: row.get(21)?,
        assigned_name: row.get(22)?,
        window_hours: row.get(23)?,
        failing_agent_name: row.get(24)?,
        opted_out: row.get::<Option<i64>>(25)?.is_some(),
        phone: row.get(26)?,
    })
}

fn chat(row: &Row) -> Result<Chat, StoreError> {
    let time = |index| Ok::<_, StoreError>(row.get::<Option<i64>>(index)?.map(Timestamp));
    let account = |index| Ok::<_, StoreError>(row.get::<Option<Uuid>>(index)?.map(AccountId::from_uuid));
    let holder: String = row.get(12)?;
    let last_message = match row.get::<Option<String>>(7)? {
        None => None,
        Some(sender) => Some(LastMessage {
            at: Timestamp(row.get(6)?),
            sender: SenderType::parse(&sender).ok_or_else(|| unreadable("sender", &sender))?,
            text: row.get::<Option<String>>(8)?.unwrap_or_default(),
        }),
    };
    Ok(Chat {
        id: ChatId::from_uuid(row.get::<Uuid>(0)?),
        channel: ChannelId::from_uuid(row.get::<Uuid>(1)?),
        contact: ContactId::from_uuid(row.get::<Uuid>(2)?),
        external_id: row.get(3)?,
        name: row.get(4)?,
        assigned: account(5)?,
        last_message,
        meta: map(&row.get::<String>(9)?)?,
        extra: map(&row.get::<String>(10)?)?,
        unread: row.get(11)?,
        floor: Floor {
            holder: Holder::parse(&holder).ok_or_else(|| unreadable("holder", &holder))?,
            account: account(13)?,
            until: time(14)?,
        },
        needs_attention: row.get::<i64>(15)? != 0,
        failing_agent: row.get::<Option<Uuid>>(16)?.map(AgentId::from_uuid),
        contact_wrote_at: time(17)?,
        archived_at: time(18)?,
        created_at: Timestamp(row.get(19)?),
        updated_at: Timestamp(row.get(20)?),
    })
}
