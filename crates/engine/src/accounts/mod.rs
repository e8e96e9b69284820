//! Proofs of who somebody is: the owner's token, sign-in codes, and the cookies of signed-in browsers.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{AccountId, Principal, Timestamp};
use sha2::{Digest, Sha256};
use store::sign_ins;

use crate::{Engine, Error, Result};

/// How long a sign-in link works.
const CODE_MS: i64 = 10 * 60 * 1000;
/// Codes that may wait to be used; the oldest is forgotten first.
const CODES: usize = 32;
/// How long a browser stays signed in.
const COOKIE_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Wrong attempts that one address has in [`ATTEMPTS_MS`].
const ATTEMPTS: usize = 10;
const ATTEMPTS_MS: i64 = 15 * 60 * 1000;
/// Addresses whose wrong attempts are remembered.
const PEERS: usize = 10_000;

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

/// What is remembered of proofs in memory. Codes are good for one run of the program.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// The hash of each unused code, and when it expires.
    codes: Mutex<Vec<(String, Timestamp)>>,
    /// When each address was wrong lately.
    wrong: Mutex<HashMap<IpAddr, Vec<Timestamp>>>,
}

pub(crate) fn principal_of_token(engine: &Engine, token: &str) -> Option<Principal> {
    // Comparing hashes gives nothing away through its time: whoever times it learns about the hash, not the token.
    (hash(token) == engine.inner.settings.owner_token_hash).then_some(Principal::Owner)
}

pub(crate) async fn principal_of_cookie(engine: &Engine, cookie: &str) -> Result<Option<Principal>> {
    let (hash, now) = (hash(cookie), engine.inner.clock.now());
    let account = engine.inner.store.read(move |tx| sign_ins::get(tx, &hash, now)).await.map_err(Error::from)?;
    Ok(account.filter(|account| *account == AccountId::OWNER).map(|_| Principal::Owner))
}

pub(crate) fn new_sign_in_code(engine: &Engine) -> SignInCode {
    let code = random_hex::<16>();
    let expires_at = Timestamp(engine.inner.clock.now().0 + CODE_MS);
    let mut codes = lock(&engine.inner.accounts.codes);
    if codes.len() == CODES {
        codes.remove(0);
    }
    codes.push((hash(&code), expires_at));
    SignInCode(code)
}

pub(crate) async fn sign_in_with_code(engine: &Engine, code: &str, peer: IpAddr) -> Result<Option<Cookie>> {
    check_attempts(engine, peer)?;
    if use_code(engine, code) { new_cookie(engine).await.map(Some) } else { refuse(engine, peer) }
}

pub(crate) async fn sign_in_with_token(engine: &Engine, token: &str, peer: IpAddr) -> Result<Option<Cookie>> {
    check_attempts(engine, peer)?;
    match principal_of_token(engine, token) {
        Some(Principal::Owner) => new_cookie(engine).await.map(Some),
        None => refuse(engine, peer),
    }
}

/// Counts a wrong attempt.
pub(crate) fn refuse(engine: &Engine, peer: IpAddr) -> Result<Option<Cookie>> {
    check_attempts(engine, peer)?;
    let mut wrong = lock(&engine.inner.accounts.wrong);
    if wrong.len() >= PEERS && !wrong.contains_key(&peer) {
        // A flood from many addresses must not fill the memory; the counts start afresh.
        wrong.clear();
    }
    wrong.entry(peer).or_default().push(engine.inner.clock.now());
    Ok(None)
}

pub(crate) async fn sign_out(engine: &Engine, cookie: &str) -> Result<()> {
    let hash = hash(cookie);
    engine.inner.store.write(move |tx| sign_ins::delete(tx, &hash)).await.map_err(Error::from)
}

/// SHA-256 in lower-case hex.
pub(crate) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn use_code(engine: &Engine, code: &str) -> bool {
    let (hash, now) = (hash(code), engine.inner.clock.now());
    let mut codes = lock(&engine.inner.accounts.codes);
    codes.retain(|(_, expires_at)| *expires_at > now);
    let found = codes.iter().position(|(known, _)| *known == hash);
    found.map(|index| codes.remove(index)).is_some()
}

async fn new_cookie(engine: &Engine) -> Result<Cookie> {
    let value = random_hex::<32>();
    let (hash, now) = (hash(&value), engine.inner.clock.now());
    let store = &engine.inner.store;
    store
        .write(move |tx| {
            sign_ins::sweep(tx, now)?;
            sign_ins::insert(tx, &hash, AccountId::OWNER, now, Timestamp(now.0 + COOKIE_MS))
        })
        .await
        .map_err(Error::from)?;
    Ok(Cookie { value, max_age_s: COOKIE_MS / 1000 })
}

fn check_attempts(engine: &Engine, peer: IpAddr) -> Result<()> {
    let now = engine.inner.clock.now();
    let mut wrong = lock(&engine.inner.accounts.wrong);
    let Some(times) = wrong.get_mut(&peer) else { return Ok(()) };
    times.retain(|at| now.0 - at.0 < ATTEMPTS_MS);
    match times.first() {
        Some(oldest) if times.len() >= ATTEMPTS => {
            Err(Error::RateLimited { retry_after_ms: u64::try_from(oldest.0 + ATTEMPTS_MS - now.0).unwrap_or(0) })
        }
        _ => Ok(()),
    }
}

#[expect(clippy::expect_used, reason = "without randomness no proof can be made, and the program must not go on")]
fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the system's random numbers");
    hex(&bytes)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
