//! Requests that must not be done twice, whatever the network does.

use domain::{ConversationId, Principal, Timestamp};
use sha2::{Digest, Sha256};
use store::{Tx, request_keys};

use crate::accounts::hex;
use crate::{Error, Result};

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

/// Does `work` unless it was done before under this key; answers with what it made then.
///
/// # Errors
/// [`Error::Conflict`]: the key stands for another request; or those of `work`.
pub(crate) fn once(
    tx: &mut Tx,
    who: Principal,
    key: Option<RequestKey>,
    at: Timestamp,
    work: impl FnOnce(&mut Tx) -> Result<ConversationId>,
) -> Result<ConversationId> {
    let Some(RequestKey { key, fingerprint }) = key else { return work(tx) };
    request_keys::forget(tx, Timestamp(at.0 - REMEMBERED_MS))?;
    if let Some(before) = request_keys::get(tx, who.account(), &key)? {
        if before.fingerprint != fingerprint {
            return Err(Error::Conflict);
        }
        return ConversationId::parse(&before.answer).ok_or_else(|| Error::Internal("a stored answer is unreadable".to_owned()));
    }
    let made = work(tx)?;
    let remembered = request_keys::Remembered { fingerprint, answer: made.to_string() };
    request_keys::insert(tx, who.account(), &key, &remembered, at)?;
    Ok(made)
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
