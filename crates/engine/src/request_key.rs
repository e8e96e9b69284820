//! Requests that must not be done twice, whatever the network does.

use domain::hub::HubId as _;
use domain::{AccountId, Principal, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use store::{Tx, request_keys};

use crate::accounts::hex;
use crate::{Engine, Error, Result};

/// How long an answer is remembered.
const REMEMBERED_MS: i64 = 24 * 60 * 60 * 1000;

/// The key of a request that must not be done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    key: String,
    fingerprint: String,
}

impl RequestKey {
    /// `route` names the method and path, `key` is the client's, `body` is the request's body as it came.
    #[must_use]
    pub fn new(route: &str, key: &str, body: &[u8]) -> Self {
        Self { key: format!("{route} {key}"), fingerprint: fingerprint(&[body]) }
    }
}

/// Does `work` unless it was done before under this key; answers what was answered then.
///
/// # Errors
/// [`Error::Conflict`]: the key stands for another request; or those of `work`.
pub(crate) fn once<T: Serialize + DeserializeOwned>(
    tx: &mut Tx,
    who: Principal,
    key: Option<RequestKey>,
    at: Timestamp,
    work: impl FnOnce(&mut Tx) -> Result<T>,
) -> Result<T> {
    let Some(key) = key else { return work(tx) };
    request_keys::forget(tx, Timestamp(at.0 - REMEMBERED_MS))?;
    if let Some(before) = answer(tx, who, &key)? {
        return Ok(before);
    }
    let answer = work(tx)?;
    let RequestKey { key, fingerprint } = key;
    let remembered = request_keys::Remembered { fingerprint, answer: serde_json::to_string(&answer).map_err(unreadable)? };
    request_keys::insert(tx, keeper(who), &key, &remembered, at)?;
    Ok(answer)
}

/// What was answered under this key before.
///
/// # Errors
/// [`Error::Conflict`]: the key stands for another request.
pub(crate) fn answer<T: DeserializeOwned>(tx: &mut Tx, who: Principal, key: &RequestKey) -> Result<Option<T>> {
    let RequestKey { key, fingerprint } = key;
    let Some(before) = request_keys::get(tx, keeper(who), key)? else { return Ok(None) };
    if before.fingerprint != *fingerprint {
        return Err(Error::Conflict);
    }
    serde_json::from_str(&before.answer).map(Some).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> Error {
    tracing::error!(%error, "an answer that is to be remembered cannot be read or written");
    Error::Internal("a remembered answer is unreadable".to_owned())
}

/// SHA-256 over the pieces, each with its length, so that no two rows of pieces are alike.
pub(crate) fn fingerprint(pieces: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update((piece.len() as u64).to_le_bytes());
        hash.update(piece);
    }
    hex(&hash.finalize())
}

/// Under whom keys are kept: agents have no account, and each has keys of its own.
fn keeper(who: Principal) -> AccountId {
    match who {
        Principal::Owner | Principal::Account { .. } => who.account(),
        Principal::Agent { id, .. } => AccountId::from_uuid(id.uuid()),
    }
}

/// Answers that are remembered beside the work that they are about.
impl Engine {
    /// What was answered under this key before.
    ///
    /// # Errors
    /// [`Error::Conflict`]: the key stands for another request; or the database's.
    pub async fn answered(&self, who: Principal, key: RequestKey) -> Result<Option<serde_json::Value>> {
        self.inner.store.read(move |tx| answer(tx, who, &key)).await
    }

    /// Remembers an answer; of two under one key the first one counts, and is returned.
    ///
    /// # Errors
    /// As [`Self::answered`].
    pub async fn remember(&self, who: Principal, key: RequestKey, answer: serde_json::Value) -> Result<serde_json::Value> {
        let at = self.inner.clock.now();
        self.inner.store.write(move |tx| once(tx, who, Some(key), at, |_| Ok(answer))).await
    }
}
