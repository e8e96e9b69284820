//! What accounts and agents prove themselves with, by its hash.

use domain::hub::{AgentId, HubId as _, TokenId};
use domain::{AccountId, Timestamp};
use uuid::Uuid;

use super::unreadable;
use crate::{Row, StoreError, Tx, Value};

const COLUMNS: &str = "id, kind, account_id, agent_id, chain_id, hint, name, sealed, shown_until, created_at, expires_at, \
    last_used_at, revoked_at";

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The hub, to the account that signed in there.
    Access,
    /// Nothing but a new session.
    Refresh,
    /// The hub, to an agent.
    Agent,
    /// Everything that its account may do.
    Personal,
}

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    Account(AccountId),
    Agent(AgentId),
}

/// A token, without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub kind: Kind,
    pub holder: Holder,
    pub chain: Option<Uuid>,
    /// `tkn_ab12...wxyz`
    pub hint: String,
    pub name: String,
    /// The encrypted token, and until when it may be shown.
    pub sealed: Option<(String, Timestamp)>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl Token {
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at > now
    }
}

/// # Errors
/// The database's.
pub fn insert(tx: &mut Tx, token: &Token, hash: &str) -> Result<(), StoreError> {
    let (account, agent) = match token.holder {
        Holder::Account(id) => (Some(id.uuid()), None),
        Holder::Agent(id) => (None, Some(id.uuid())),
    };
    let (sealed, shown_until) = token.sealed.clone().unzip();
    tx.execute(
        "INSERT INTO token (id, hash, kind, account_id, agent_id, chain_id, hint, name, sealed, shown_until, created_at, \
         expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        &[
            token.id.uuid().into(),
            hash.into(),
            token.kind.as_str().into(),
            account.into(),
            agent.into(),
            token.chain.into(),
            token.hint.as_str().into(),
            token.name.as_str().into(),
            sealed.into(),
            shown_until.map(|at| at.0).into(),
            token.created_at.0.into(),
            token.expires_at.0.into(),
        ],
    )?;
    Ok(())
}

/// The token, whether it is good or not.
///
/// # Errors
/// The database's.
pub fn by_hash(tx: &mut Tx, hash: &str) -> Result<Option<Token>, StoreError> {
    one(tx, "hash = $1", hash.into())
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: TokenId) -> Result<Option<Token>, StoreError> {
    one(tx, "id = $1", id.uuid().into())
}

/// Tokens of the kind that were not revoked, the newest first.
///
/// # Errors
/// The database's.
pub fn of(tx: &mut Tx, holder: Holder, kind: Kind) -> Result<Vec<Token>, StoreError> {
    let (column, id) = holder.key();
    let sql = format!(
        "SELECT {COLUMNS} FROM token WHERE {column} = $1 AND kind = $2 AND revoked_at IS NULL ORDER BY created_at DESC, id"
    );
    tx.query(&sql, &[id, kind.as_str().into()])?.iter().map(token).collect()
}

/// # Errors
/// The database's.
pub fn use_at(tx: &mut Tx, id: TokenId, at: Timestamp) -> Result<(), StoreError> {
    tx.execute("UPDATE token SET last_used_at = $2 WHERE id = $1", &[id.uuid().into(), at.0.into()])?;
    Ok(())
}

/// Keeps the encrypted token, to be shown until then.
///
/// # Errors
/// The database's.
pub fn keep_sealed(tx: &mut Tx, id: TokenId, sealed: &str, until: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE token SET sealed = $2, shown_until = $3 WHERE id = $1";
    tx.execute(sql, &[id.uuid().into(), sealed.into(), until.0.into()])?;
    Ok(())
}

/// Forgets what the token was, so that it can be shown no more.
///
/// # Errors
/// The database's.
pub fn forget_sealed(tx: &mut Tx, id: TokenId) -> Result<(), StoreError> {
    tx.execute("UPDATE token SET sealed = NULL, shown_until = NULL WHERE id = $1", &[id.uuid().into()])?;
    Ok(())
}

/// Makes the token worthless. `false`: it already was.
///
/// # Errors
/// The database's.
pub fn revoke(tx: &mut Tx, id: TokenId, at: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE token SET revoked_at = $2, sealed = NULL WHERE id = $1 AND revoked_at IS NULL";
    Ok(tx.execute(sql, &[id.uuid().into(), at.0.into()])? > 0)
}

/// Makes all tokens of one session worthless.
///
/// # Errors
/// The database's.
pub fn revoke_chain(tx: &mut Tx, chain: Uuid, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE token SET revoked_at = $2 WHERE chain_id = $1 AND revoked_at IS NULL";
    tx.execute(sql, &[chain.into(), at.0.into()])?;
    Ok(())
}

/// Makes all tokens of an account worthless, and signs its browsers out.
///
/// # Errors
/// The database's.
pub fn revoke_account(tx: &mut Tx, id: AccountId, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE token SET revoked_at = $2 WHERE account_id = $1 AND revoked_at IS NULL";
    tx.execute(sql, &[id.uuid().into(), at.0.into()])?;
    tx.execute("DELETE FROM sign_in WHERE account_id = $1", &[id.uuid().into()])?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn delete_of_agent(tx: &mut Tx, id: AgentId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM token WHERE agent_id = $1", &[id.uuid().into()])?;
    Ok(())
}

/// Forgets what can prove nothing any more since before `before`.
///
/// # Errors
/// The database's.
pub fn sweep(tx: &mut Tx, before: Timestamp) -> Result<(), StoreError> {
    tx.execute("DELETE FROM token WHERE expires_at < $1", &[before.0.into()])?;
    Ok(())
}

fn one(tx: &mut Tx, condition: &str, value: Value) -> Result<Option<Token>, StoreError> {
    tx.query_one(&format!("SELECT {COLUMNS} FROM token WHERE {condition}"), &[value])?.map(|row| token(&row)).transpose()
}

impl Holder {
    fn key(self) -> (&'static str, Value) {
        match self {
            Self::Account(id) => ("account_id", id.uuid().into()),
            Self::Agent(id) => ("agent_id", id.uuid().into()),
        }
    }
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
            Self::Agent => "agent",
            Self::Personal => "personal",
        }
    }

    fn parse(word: &str) -> Result<Self, StoreError> {
        let all = [Self::Access, Self::Refresh, Self::Agent, Self::Personal];
        all.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| unreadable("kind of token", word))
    }
}

fn token(row: &Row) -> Result<Token, StoreError> {
    let account = row.get::<Option<Uuid>>(2)?.map(|id| Holder::Account(AccountId::from_uuid(id)));
    let agent = row.get::<Option<Uuid>>(3)?.map(|id| Holder::Agent(AgentId::from_uuid(id)));
    let time = |index| Ok::<_, StoreError>(row.get::<Option<i64>>(index)?.map(Timestamp));
    Ok(Token {
        id: TokenId::from_uuid(row.get::<Uuid>(0)?),
        kind: Kind::parse(&row.get::<String>(1)?)?,
        holder: account.or(agent).ok_or_else(|| unreadable("token of", "nobody"))?,
        chain: row.get(4)?,
        hint: row.get(5)?,
        name: row.get(6)?,
        sealed: row.get::<Option<String>>(7)?.zip(time(8)?),
        created_at: Timestamp(row.get(9)?),
        expires_at: Timestamp(row.get(10)?),
        last_used_at: time(11)?,
        revoked_at: time(12)?,
    })
}
