//! The first sign-up, and the sessions of the hub.

use std::net::IpAddr;

use domain::hub::TokenId;
use domain::{Account, Principal, Role, Timestamp};
use store::Tx;
use store::hub::tokens::{self, Holder, Kind};
use store::hub::{Table, accounts, first_time};
use uuid::Uuid;

use super::attempts::Key;
use super::tokens::{Issue, Secret, issue};
use super::{passwords, secrets};
use crate::{Engine, Error, Refused, Result};

/// How long an access token works.
const ACCESS_MS: i64 = 24 * 60 * 60 * 1000;
/// How long a session can be renewed.
const REFRESH_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// The row that says that there was a first sign-up.
const FIRST: &str = "first sign-up";

/// An account that is to be made. Its password is as it was typed.
#[derive(Clone)]
pub struct NewAccount {
    pub username: String,
    pub password: String,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub role: Role,
    pub is_active: bool,
}

impl std::fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewAccount").field("username", &self.username).finish_non_exhaustive()
    }
}

impl NewAccount {
    pub(super) fn named(&self, tx: &mut Tx, at: Timestamp) -> Result<Account> {
        Ok(Account {
            id: secrets::fresh(tx, Table::Account)?,
            username: self.username.clone(),
            email: self.email.clone(),
            phone: self.phone.clone(),
            role: self.role,
            is_active: self.is_active,
            created_at: at,
        })
    }
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Session {
    pub account: Account,
    pub access_token: Secret,
    pub refresh_token: Secret,
    pub expires_at: Timestamp,
}

pub(super) async fn has_accounts(engine: &Engine) -> Result<bool> {
    Ok(engine.inner.store.read(accounts::any).await?)
}

pub(super) async fn may_sign_up(engine: &Engine, who: Option<Principal>) -> Result<()> {
    if has_accounts(engine).await? {
        return Err(Refused::SIGNUP_CLOSED.into());
    }
    // Being the first on the network makes nobody an administrator.
    match who {
        Some(Principal::Owner) => Ok(()),
        None if engine.inner.settings.hub.is_sign_in_off => Ok(()),
        Some(Principal::Account { .. } | Principal::Agent { .. }) | None => Err(Refused::FIRST_NEEDS_OWNER.into()),
    }
}

pub(super) async fn sign_up(engine: &Engine, who: Option<Principal>, new: NewAccount) -> Result<Session> {
    may_sign_up(engine, who).await?;
    let password = passwords::hash(engine, new.password.clone()).await?;
    let now = engine.inner.clock.now();
    engine
        .inner
        .store
        .write(move |tx| {
            // A row, not a count: of two at once, the second finds it.
            if !first_time(tx, FIRST, now)? || accounts::any(tx)? {
                return Err(Refused::SIGNUP_CLOSED.into());
            }
            let account = Account { role: Role::Admin, is_active: true, ..new.named(tx, now)? };
            accounts::insert(tx, &account, &password)?;
            open(tx, account, Uuid::now_v7(), now)
        })
        .await
}

pub(super) async fn log_in(engine: &Engine, name: &str, password: &str, peer: IpAddr) -> Result<Session> {
    let account = prove(engine, name, password, peer).await?.ok_or(Refused::INVALID_CREDENTIALS)?;
    let now = engine.inner.clock.now();
    engine
        .inner
        .store
        .write(move |tx| {
            // It may have been made inactive while the password was looked at.
            let account = accounts::get(tx, account.id)?.filter(|account| account.is_active);
            tokens::sweep(tx, Timestamp(now.0 - REFRESH_MS))?;
            open(tx, account.ok_or(Refused::INVALID_CREDENTIALS)?, Uuid::now_v7(), now)
        })
        .await
}

/// The account of that name or address, if the password is its own and it is active.
///
/// # Errors
/// [`Error::RateLimited`]; or the database's.
pub(super) async fn prove(engine: &Engine, name: &str, password: &str, peer: IpAddr) -> Result<Option<Account>> {
    let (key, clock) = (Key::name(peer, name), &engine.inner.clock);
    let attempts = &engine.inner.accounts.wrong;
    attempts.check(&key, clock.now())?;
    let wanted = name.to_owned();
    let known = engine.inner.store.read(move |tx| accounts::with_password(tx, &wanted)).await?;
    let (account, hash) = known.unzip();
    // Longer than any password that was ever taken: it is wrong, and takes no longer to say so.
    let password = if password.len() > passwords::MAX_PASSWORD_BYTES { "" } else { password };
    let is_right = passwords::is_right(engine, password.to_owned(), hash).await?;
    let proven = account.filter(|account| is_right && account.is_active && !password.is_empty());
    if proven.is_none() {
        attempts.count(key, clock.now())?;
    }
    Ok(proven)
}

pub(super) async fn refresh(engine: &Engine, refresh_token: &str) -> Result<Session> {
    let (hash, now) = (secrets::hash(refresh_token), engine.inner.clock.now());
    let renewed = engine
        .inner
        .store
        .write(move |tx| {
            let known = tokens::by_hash(tx, &hash)?.filter(|token| token.kind == Kind::Refresh);
            let Some(token) = known else { return Ok(None) };
            let (Holder::Account(id), Some(chain)) = (token.holder, token.chain) else { return Ok(None) };
            tokens::revoke_chain(tx, chain, now)?;
            let account = accounts::get(tx, id)?.filter(|account| account.is_active);
            match account {
                Some(account) if token.is_good(now) => open(tx, account, chain, now).map(Some),
                // Used before: somebody has a copy of it. The chain is dead, and that is to be kept.
                _ => Ok::<_, Error>(None),
            }
        })
        .await?;
    renewed.ok_or(Refused::INVALID_TOKEN.into())
}

pub(super) async fn log_out(engine: &Engine, token: TokenId) -> Result<()> {
    let now = engine.inner.clock.now();
    engine
        .inner
        .store
        .write(move |tx| {
            let chain = tokens::get(tx, token)?.and_then(|token| token.chain);
            match chain {
                Some(chain) => tokens::revoke_chain(tx, chain, now),
                None => tokens::revoke(tx, token, now).map(drop),
            }
        })
        .await
        .map_err(Error::from)
}

fn open(tx: &mut Tx, account: Account, chain: Uuid, now: Timestamp) -> Result<Session> {
    let holder = Holder::Account(account.id);
    let of = |kind, lasts_ms| Issue { holder, kind, chain: Some(chain), name: String::new(), now, lasts_ms };
    let (access, access_token) = issue(tx, of(Kind::Access, ACCESS_MS))?;
    let (_, refresh_token) = issue(tx, of(Kind::Refresh, REFRESH_MS))?;
    Ok(Session { account, access_token, refresh_token, expires_at: access.expires_at })
}
