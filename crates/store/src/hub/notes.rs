//! What stays inside: the log of a chat's activity, and what agents would have said.

use domain::hub::{AgentId, ChatId, DraftId, HubId as _};
use domain::{AccountId, Timestamp};
use uuid::Uuid;

use crate::{Row, StoreError, Tx};

/// One line of a chat's activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    pub at: Timestamp,
    pub kind: String,
    pub text: String,
    pub account: Option<AccountId>,
    pub agent: Option<AgentId>,
}

/// What an agent would have said, had a person not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub id: DraftId,
    pub chat: ChatId,
    pub agent: AgentId,
    pub content: String,
    pub created_at: Timestamp,
}

/// # Errors
/// The database's.
pub fn add_activity(tx: &mut Tx, chat: ChatId, line: &Activity) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO activity (chat_id, ordinal, at, kind, text, account_id, agent_id) \
         SELECT $1::uuid, COALESCE(max(a.ordinal), 0) + 1, $2::bigint, $3::text, $4::text, $5::uuid, $6::uuid FROM activity a WHERE a.chat_id = $1",
        &[
            chat.uuid().into(),
            line.at.0.into(),
            line.kind.as_str().into(),
            line.text.as_str().into(),
            line.account.map(AccountId::uuid).into(),
            line.agent.map(AgentId::uuid).into(),
        ],
    )?;
    Ok(())
}

/// One page, the newest first, and how many there are.
///
/// # Errors
/// The database's.
pub fn activity(tx: &mut Tx, chat: ChatId, offset: i64, limit: i64) -> Result<(Vec<Activity>, i64), StoreError> {
    let sql = "SELECT count(*) FROM activity WHERE chat_id = $1";
    let total = tx.query_one(sql, &[chat.uuid().into()])?.map_or(Ok(0), |row| row.get(0))?;
    let sql = "SELECT at, kind, text, account_id, agent_id FROM activity WHERE chat_id = $1 \
               ORDER BY ordinal DESC LIMIT $2 OFFSET $3";
    let rows = tx.query(sql, &[chat.uuid().into(), limit.into(), offset.into()])?;
    Ok((rows.iter().map(line).collect::<Result<_, _>>()?, total))
}

/// # Errors
/// The database's.
pub fn add_draft(tx: &mut Tx, draft: &Draft) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO draft (id, chat_id, agent_id, content, created_at) VALUES ($1, $2, $3, $4, $5)",
        &[
            draft.id.uuid().into(),
            draft.chat.uuid().into(),
            draft.agent.uuid().into(),
            draft.content.as_str().into(),
            draft.created_at.0.into(),
        ],
    )?;
    Ok(())
}

/// Those since then, the newest first.
///
/// # Errors
/// The database's.
pub fn drafts(tx: &mut Tx, chat: ChatId, since: Timestamp) -> Result<Vec<Draft>, StoreError> {
    let sql = "SELECT id, chat_id, agent_id, content, created_at FROM draft WHERE chat_id = $1 AND created_at >= $2 \
               ORDER BY created_at DESC, id LIMIT 100";
    let rows = tx.query(sql, &[chat.uuid().into(), since.0.into()])?;
    let draft = |row: &Row| {
        Ok(Draft {
            id: DraftId::from_uuid(row.get::<Uuid>(0)?),
            chat: ChatId::from_uuid(row.get::<Uuid>(1)?),
            agent: AgentId::from_uuid(row.get::<Uuid>(2)?),
            content: row.get(3)?,
            created_at: Timestamp(row.get(4)?),
        })
    };
    rows.iter().map(draft).collect()
}

/// Forgets drafts from before `before`.
///
/// # Errors
/// The database's.
pub fn sweep_drafts(tx: &mut Tx, before: Timestamp) -> Result<(), StoreError> {
    tx.execute("DELETE FROM draft WHERE created_at < $1", &[before.0.into()])?;
    Ok(())
}

fn line(row: &Row) -> Result<Activity, StoreError> {
    Ok(Activity {
        at: Timestamp(row.get(0)?),
        kind: row.get(1)?,
        text: row.get(2)?,
        account: row.get::<Option<Uuid>>(3)?.map(AccountId::from_uuid),
        agent: row.get::<Option<Uuid>>(4)?.map(AgentId::from_uuid),
    })
}
