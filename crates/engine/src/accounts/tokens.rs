//! Tokens: random, known by their hash only, listed, revoked, expiring.

use domain::hub::TokenId;
use domain::{Principal, Timestamp};
use store::Tx;
use store::hub::tokens::{self, Holder, Kind, Token};
use store::hub::{Table, accounts, agents};
use uuid::Uuid;

use super::secrets::{fresh, hash, mask, new_token};
use crate::{Engine, Error, Result};

/// How long an agent's token works, and a personal one.
pub(crate) const AGENT_TOKEN_MS: i64 = 365 * 24 * 60 * 60 * 1000;
/// How exactly is noted when a token was last used: to write it for every request would cost more than the request.
const USE_NOTED_MS: u64 = 60 * 1000;

/// A token in full. It is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a token proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proven {
    /// Nothing: it is unknown, expired or revoked.
    Nothing,
    /// It is somebody's who may not do anything now, whatever the token was worth.
    InactiveAccount,
    InactiveAgent,
    /// It opens everything that its holder may do, or only the hub.
    Holder {
        who: Principal,
        hub_only: bool,
        token: Option<TokenId>,
    },
}

impl Proven {
    #[must_use]
    pub const fn who(self) -> Option<Principal> {
        match self {
            Self::Holder { who, .. } => Some(who),
            Self::Nothing | Self::InactiveAccount | Self::InactiveAgent => None,
        }
    }
}

/// What a list shows of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenView {
    pub id: TokenId,
    pub name: String,
    /// `tkn_ab12...wxyz`; in full for the first who reads a new agent's.
    pub shown: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

/// A new personal token.
#[derive(Debug, Clone)]
pub struct PersonalToken {
    pub view: TokenView,
    pub token: Secret,
}

pub(super) async fn holder(engine: &Engine, token: &str) -> Result<Proven> {
    let hash = hash(token);
    // Comparing hashes gives nothing away through its time: whoever times it learns about the hash, not the token.
    if hash == engine.inner.settings.owner_token_hash {
        return Ok(Proven::Holder { who: Principal::Owner, hub_only: false, token: None });
    }
    let now = engine.inner.clock.now();
    let found = engine.inner.store.read(move |tx| Ok::<_, Error>((proven(tx, &hash, now)?, tokens::by_hash(tx, &hash)?))).await?;
    let (proven, token) = found;
    if let (Proven::Holder { .. }, Some(token)) = (&proven, token)
        && token.last_used_at.is_none_or(|at| now.millis_since(at) >= USE_NOTED_MS)
    {
        note_use(engine, token.id, now);
    }
    Ok(proven)
}

/// Whether somebody is active is asked before whether the token is good: they are told what is wrong.
fn proven(tx: &mut Tx, hash: &str, now: Timestamp) -> Result<Proven> {
    let Some(token) = tokens::by_hash(tx, hash)?.filter(|token| token.kind != Kind::Refresh) else { return Ok(Proven::Nothing) };
    let who = match token.holder {
        Holder::Account(id) => match accounts::get(tx, id)? {
            None => return Ok(Proven::Nothing),
            Some(account) if !account.is_active => return Ok(Proven::InactiveAccount),
            Some(account) => Principal::Account { id, role: account.role },
        },
        Holder::Agent(id) => match agents::get(tx, id)? {
            None => return Ok(Proven::Nothing),
            Some(agent) if !agent.is_active => return Ok(Proven::InactiveAgent),
            Some(agent) => Principal::Agent { id, scope: agent.scope },
        },
    };
    if !token.is_good(now) {
        return Ok(Proven::Nothing);
    }
    Ok(Proven::Holder { who, hub_only: token.kind != Kind::Personal, token: Some(token.id) })
}

/// Nobody waits for it, and it matters little if it is not written.
fn note_use(engine: &Engine, token: TokenId, now: Timestamp) {
    let store = engine.inner.store.clone();
    tokio::spawn(async move { store.write(move |tx| tokens::use_at(tx, token, now)).await });
}

/// A token that is to be made.
#[derive(Clone)]
pub(crate) struct Issue {
    pub holder: Holder,
    pub kind: Kind,
    pub chain: Option<Uuid>,
    pub name: String,
    pub now: Timestamp,
    pub lasts_ms: i64,
}

/// Makes a token. It is known in full to nobody but who gets this answer.
///
/// # Errors
/// The database's.
pub(crate) fn issue(tx: &mut Tx, wish: Issue) -> Result<(Token, Secret)> {
    let Issue { holder, kind, chain, name, now, lasts_ms } = wish;
    let secret = new_token(if kind == Kind::Refresh { "ref" } else { "tkn" });
    let token = Token {
        id: fresh(tx, Table::Token)?,
        kind,
        holder,
        chain,
        hint: mask(&secret),
        name,
        sealed: None,
        created_at: now,
        expires_at: Timestamp(now.0 + lasts_ms),
        last_used_at: None,
        revoked_at: None,
    };
    tokens::insert(tx, &token, &hash(&secret))?;
    Ok((token, Secret(secret)))
}

pub(crate) fn view(token: Token) -> TokenView {
    let Token { id, name, hint, created_at, expires_at, last_used_at, .. } = token;
    TokenView { id, name, shown: hint, created_at, expires_at, last_used_at }
}

pub(super) async fn personal_tokens(engine: &Engine, who: Principal) -> Result<Vec<TokenView>> {
    let (holder, now) = (account_of(who)?, engine.inner.clock.now());
    let listed = engine.inner.store.read(move |tx| tokens::of(tx, holder, Kind::Personal)).await?;
    Ok(listed.into_iter().filter(|token| token.is_good(now)).map(view).collect())
}

pub(super) async fn new_personal_token(engine: &Engine, who: Principal, name: String) -> Result<PersonalToken> {
    let (holder, now) = (account_of(who)?, engine.inner.clock.now());
    let wish = Issue { holder, kind: Kind::Personal, chain: None, name, now, lasts_ms: AGENT_TOKEN_MS };
    let (token, secret) = engine.inner.store.write(move |tx| issue(tx, wish)).await?;
    Ok(PersonalToken { view: view(token), token: secret })
}

pub(super) async fn revoke_personal_token(engine: &Engine, who: Principal, id: TokenId) -> Result<()> {
    let (holder, now) = (account_of(who)?, engine.inner.clock.now());
    engine
        .inner
        .store
        .write(move |tx| {
            let token = tokens::get(tx, id)?.filter(|token| token.holder == holder && token.kind == Kind::Personal);
            let is_gone = token.is_some() && tokens::revoke(tx, id, now)?;
            if is_gone { Ok(()) } else { Err(Error::NotFound) }
        })
        .await
}

/// The owner has a token already, and an agent's come from the hub.
fn account_of(who: Principal) -> Result<Holder> {
    match who {
        Principal::Account { id, .. } => Ok(Holder::Account(id)),
        Principal::Owner | Principal::Agent { .. } => Err(Error::Forbidden),
    }
}
