//! Sign-in codes, and the cookies of signed-in browsers.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{AccountId, Principal, Timestamp};
use store::hub::accounts;
use store::sign_ins;

use super::Proven;
use super::attempts::Key;
use super::secrets::{hash, hex, random_bytes};
use crate::{Engine, Error, Result};

/// How long a sign-in link works.
const CODE_MS: i64 = 10 * 60 * 1000;
/// Codes that may wait to be used; the oldest is forgotten first.
const CODES: usize = 32;
/// How long a browser stays signed in.
const COOKIE_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// A code for a sign-in link: 128 random bits in hex.
#[derive(Clone, PartialEq, Eq)]
pub struct SignInCode(pub String);

/// What a browser is given to prove who it is: 256 random bits in hex.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie {
    pub value: String,
    /// Seconds until it expires.
    pub max_age_s: i64,
}

impl std::fmt::Debug for SignInCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignInCode(…)")
    }
}

impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookie(…)")
    }
}

pub(super) async fn principal_of_cookie(engine: &Engine, cookie: &str) -> Result<Option<Principal>> {
    let (hash, now) = (hash(cookie), engine.inner.clock.now());
    engine
        .inner
        .store
        .read(move |tx| match sign_ins::get(tx, &hash, now)? {
            None => Ok(None),
            Some(AccountId::OWNER) => Ok(Some(Principal::Owner)),
            Some(id) => {
                let account = accounts::get(tx, id)?.filter(|account| account.is_active);
                Ok(account.map(|account| Principal::Account { id, role: account.role }))
            }
        })
        .await
}

pub(super) fn new_sign_in_code(engine: &Engine) -> SignInCode {
    let code = random_hex::<16>();
    let expires_at = Timestamp(engine.inner.clock.now().0 + CODE_MS);
    let mut codes = lock(&engine.inner.accounts.codes);
    if codes.len() == CODES {
        codes.remove(0);
    }
    codes.push((hash(&code), expires_at));
    SignInCode(code)
}

pub(super) async fn sign_in_with_code(engine: &Engine, code: &str, peer: IpAddr) -> Result<Option<Cookie>> {
    let key = checked(engine, peer)?;
    if use_code(engine, code) { new_cookie(engine, AccountId::OWNER).await.map(Some) } else { refuse(engine, key) }
}

pub(super) async fn sign_in_with_token(engine: &Engine, token: &str, peer: IpAddr) -> Result<Option<Cookie>> {
    let key = checked(engine, peer)?;
    match super::tokens::holder(engine, token).await? {
        Proven::Holder { who, hub_only: false, .. } => new_cookie(engine, who.account()).await.map(Some),
        Proven::Holder { .. } | Proven::Nothing | Proven::InactiveAccount | Proven::InactiveAgent => refuse(engine, key),
    }
}

fn checked(engine: &Engine, peer: IpAddr) -> Result<Key> {
    let key = Key::address(peer);
    engine.inner.accounts.wrong.check(&key, engine.inner.clock.now())?;
    Ok(key)
}

/// Counts a wrong attempt.
fn refuse(engine: &Engine, key: Key) -> Result<Option<Cookie>> {
    engine.inner.accounts.wrong.count(key, engine.inner.clock.now())?;
    Ok(None)
}

pub(super) async fn sign_out(engine: &Engine, cookie: &str) -> Result<()> {
    let hash = hash(cookie);
    engine.inner.store.write(move |tx| sign_ins::delete(tx, &hash)).await.map_err(Error::from)
}

fn use_code(engine: &Engine, code: &str) -> bool {
    let (hash, now) = (hash(code), engine.inner.clock.now());
    let mut codes = lock(&engine.inner.accounts.codes);
    codes.retain(|(_, expires_at)| *expires_at > now);
    let found = codes.iter().position(|(known, _)| *known == hash);
    found.map(|index| codes.remove(index)).is_some()
}

pub(super) async fn new_cookie(engine: &Engine, account: AccountId) -> Result<Cookie> {
    let value = random_hex::<32>();
    let (hash, now) = (hash(&value), engine.inner.clock.now());
    let store = &engine.inner.store;
    store
        .write(move |tx| {
            sign_ins::sweep(tx, now)?;
            sign_ins::insert(tx, &hash, account, now, Timestamp(now.0 + COOKIE_MS))
        })
        .await
        .map_err(Error::from)?;
    Ok(Cookie { value, max_age_s: COOKIE_MS / 1000 })
}

fn random_hex<const BYTES: usize>() -> String {
    hex(&random_bytes::<BYTES>())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
