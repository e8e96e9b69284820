//! Messages on their way to a platform, a row for each part. Those of one chat leave in the order of their places.

use domain::Timestamp;
use domain::hub::{AgentId, ChannelId, ChatId, ChatMessageId, HubId as _};
use domain::sockets::channel::{MediaLink, Portion};
use uuid::Uuid;

use super::unreadable;
use crate::{Row, StoreError, Tx, Value};

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub message: ChatMessageId,
    /// From 0.
    pub part: i64,
    pub chat: ChatId,
    pub channel: ChannelId,
    /// The message's place in its chat.
    pub place: i64,
    pub text: String,
    pub media: Vec<MediaLink>,
    pub attempts: i64,
    pub next_at: Timestamp,
    pub first_tried_at: Option<Timestamp>,
    /// The last attempt may have had its effect.
    pub is_unknown: bool,
    pub external_id: Option<String>,
    pub error: Option<String>,
    pub error_code: Option<String>,
    pub created_at: Timestamp,
}

const COLUMNS: &str = "o.message_id, o.part, o.chat_id, o.channel_id, o.place, o.text, o.attempts, o.next_at, \
    o.first_tried_at, o.is_unknown, o.external_id, o.error, o.error_code, o.created_at, o.media";

/// The code of a part that may have left, and is not to be sent again.
pub const WITHDRAWN: &str = "withdrawn";

/// Queues a message's parts.
///
/// # Errors
/// The database's.
pub fn queue(
    tx: &mut Tx,
    message: ChatMessageId,
    (channel, chat, place): (ChannelId, ChatId, i64),
    portions: &[Portion],
    at: Timestamp,
) -> Result<(), StoreError> {
    for (part, portion) in (0_i64..).zip(portions) {
        let media = (!portion.media.is_empty()).then(|| serde_json::to_string(&portion.media)).transpose();
        let media = media.map_err(|error| StoreError::Failed(error.to_string()))?;
        tx.execute(
            "INSERT INTO outbox (message_id, part, chat_id, channel_id, place, text, state, attempts, next_at, is_unknown, \
             created_at, media) VALUES ($1, $2, $3, $4, $5, $6, 'queued', 0, $7, 0, $7, $8)",
            &[
                message.uuid().into(),
                part.into(),
                chat.uuid().into(),
                channel.uuid().into(),
                place.into(),
                portion.text.as_str().into(),
                at.0.into(),
                media.into(),
            ],
        )?;
    }
    Ok(())
}

/// The first part of the chat that has not left.
///
/// # Errors
/// The database's.
pub fn first_queued(tx: &mut Tx, chat: ChatId) -> Result<Option<Part>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM outbox o WHERE o.chat_id = $1 AND o.state = 'queued' ORDER BY o.place, o.part LIMIT 1");
    tx.query_one(&sql, &[chat.uuid().into()])?.map(|row| part(&row)).transpose()
}

/// All parts of a message, whatever became of them.
///
/// # Errors
/// The database's.
pub fn of_message(tx: &mut Tx, message: ChatMessageId) -> Result<Vec<(Part, State)>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, o.state FROM outbox o WHERE o.message_id = $1 ORDER BY o.part");
    let rows = tx.query(&sql, &[message.uuid().into()])?;
    rows.iter().map(|row| Ok((part(row)?, State::parse(&row.get::<String>(15)?)))).collect()
}

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Queued,
    Sent,
    Failed,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "sent" => Self::Sent,
            "failed" => Self::Failed,
            _ => Self::Queued,
        }
    }
}

/// Stores everything that may change in a part.
///
/// # Errors
/// The database's.
pub fn update(tx: &mut Tx, part: &Part, state: State) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE outbox SET state = $3, attempts = $4, next_at = $5, first_tried_at = $6, is_unknown = $7, external_id = $8, \
         error = $9, error_code = $10 WHERE message_id = $1 AND part = $2",
        &[
            part.message.uuid().into(),
            part.part.into(),
            state.as_str().into(),
            part.attempts.into(),
            part.next_at.0.into(),
            part.first_tried_at.map(|at| at.0).into(),
            i64::from(part.is_unknown).into(),
            part.external_id.clone().into(),
            part.error.clone().into(),
            part.error_code.clone().into(),
        ],
    )?;
    Ok(())
}

/// Whose messages are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Everybodys,
    Agents,
    Agent(AgentId),
}

/// Messages of a chat of which something is queued, and whether what became of the last attempt is not known.
///
/// # Errors
/// The database's.
pub fn waiting(tx: &mut Tx, chat: ChatId, whose: Whose) -> Result<Vec<(ChatMessageId, bool)>, StoreError> {
    let mut values: Vec<Value> = vec![chat.uuid().into()];
    let only = match whose {
        Whose::Everybodys => "",
        Whose::Agents => " AND m.sender = 'AGENT'",
        Whose::Agent(agent) => {
            values.push(agent.uuid().into());
            " AND m.agent_id = $2"
        }
    };
    let sql = format!(
        "SELECT o.message_id, max(o.is_unknown) FROM outbox o JOIN chat_message m ON m.id = o.message_id \
         WHERE o.chat_id = $1 AND o.state = 'queued'{only} GROUP BY o.message_id"
    );
    let rows = tx.query(&sql, &values)?;
    rows.iter().map(|row| Ok((ChatMessageId::from_uuid(row.get::<Uuid>(0)?), row.get::<i64>(1)? != 0))).collect()
}

/// Gives up what has not left of a message. A part that may have left is asked about, but not sent again.
///
/// # Errors
/// The database's.
pub fn withdraw(tx: &mut Tx, message: ChatMessageId, why: &str) -> Result<(), StoreError> {
    let values = [message.uuid().into(), why.into(), WITHDRAWN.into()];
    let of_message = "WHERE message_id = $1 AND state = 'queued'";
    let unsent = format!("UPDATE outbox SET state = 'failed', error = $2, error_code = NULL {of_message} AND is_unknown = 0");
    tx.execute(&unsent, &values[..2])?;
    tx.execute(&format!("UPDATE outbox SET error = $2, error_code = $3 {of_message}"), &values)?;
    Ok(())
}

/// Why the part is not to be sent again, if it was withdrawn while an attempt was under way.
///
/// # Errors
/// The database's.
pub fn withdrawn(tx: &mut Tx, message: ChatMessageId, part: i64) -> Result<Option<String>, StoreError> {
    let sql = "SELECT error FROM outbox WHERE message_id = $1 AND part = $2 AND state = 'queued' AND error_code = $3";
    let found = tx.query_one(sql, &[message.uuid().into(), part.into(), WITHDRAWN.into()])?;
    found.map_or(Ok(None), |row| row.get(0))
}

/// Gives up what has not left of a message.
///
/// # Errors
/// The database's.
pub fn give_up(tx: &mut Tx, message: ChatMessageId, error: &str) -> Result<(), StoreError> {
    give_up_because(tx, message, error, None)
}

/// As [`give_up`], with the platform's code.
///
/// # Errors
/// The database's.
pub fn give_up_because(tx: &mut Tx, message: ChatMessageId, error: &str, code: Option<&str>) -> Result<(), StoreError> {
    let sql = "UPDATE outbox SET state = 'failed', error = $2, error_code = $3 WHERE message_id = $1 AND state = 'queued'";
    tx.execute(sql, &[message.uuid().into(), error.into(), code.map(str::to_owned).into()])?;
    Ok(())
}

/// Queues what failed of a message once more, with its attempts before it.
///
/// # Errors
/// The database's.
pub fn requeue(tx: &mut Tx, message: ChatMessageId, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE outbox SET state = 'queued', attempts = 0, next_at = $2, first_tried_at = NULL, is_unknown = 0, \
               error = NULL, error_code = NULL, created_at = $2 WHERE message_id = $1 AND state = 'failed'";
    tx.execute(sql, &[message.uuid().into(), at.0.into()])?;
    Ok(())
}

/// One page of a channel's parts of that state, the newest first.
///
/// # Errors
/// The database's.
pub fn list(tx: &mut Tx, channel: ChannelId, state: State, offset: i64, limit: i64) -> Result<Vec<Part>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM outbox o WHERE o.channel_id = $1 AND o.state = $2 \
         ORDER BY o.created_at DESC, o.message_id, o.part LIMIT $3 OFFSET $4"
    );
    let values: [Value; 4] = [channel.uuid().into(), state.as_str().into(), limit.into(), offset.into()];
    tx.query(&sql, &values)?.iter().map(part).collect()
}

fn part(row: &Row) -> Result<Part, StoreError> {
    Ok(Part {
        message: ChatMessageId::from_uuid(row.get::<Uuid>(0)?),
        part: row.get(1)?,
        chat: ChatId::from_uuid(row.get::<Uuid>(2)?),
        channel: ChannelId::from_uuid(row.get::<Uuid>(3)?),
        place: row.get(4)?,
        text: row.get(5)?,
        attempts: row.get(6)?,
        next_at: Timestamp(row.get(7)?),
        first_tried_at: row.get::<Option<i64>>(8)?.map(Timestamp),
        is_unknown: row.get::<i64>(9)? != 0,
        external_id: row.get(10)?,
        error: row.get(11)?,
        error_code: row.get(12)?,
        created_at: Timestamp(row.get(13)?),
        media: match row.get::<Option<String>>(14)? {
            Some(media) => serde_json::from_str(&media).map_err(|_| unreadable("media", &media))?,
            None => Vec::new(),
        },
    })
}
