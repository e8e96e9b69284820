//! Random numbers, and what is kept of secrets that must be recognised but not known.

use std::fmt::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::hub::HubId;
use sha2::{Digest, Sha256};
use store::Tx;
use store::hub::{self, Table};

use super::tokens::Secret;
use crate::{Error, Result};

/// As in ids: what people read to each other over the phone.
const ALPHABET: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";
/// 158 bits.
const TOKEN_CHARACTERS: usize = 32;
/// As much as HMAC-SHA256 has room for, and within the 24 to 64 of Standard Webhooks.
const SECRET_BYTES: usize = 32;
/// How often a new id may turn out to be given already. Once is a wonder.
const TRIES: usize = 8;

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

#[expect(clippy::expect_used, reason = "without randomness no proof can be made, and the program must not go on")]
pub(crate) fn random_bytes<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the system's random numbers");
    bytes
}

/// `prefix_` and 32 random characters.
pub(crate) fn new_token(prefix: &str) -> String {
    let mut token = format!("{prefix}_");
    let end = token.len() + TOKEN_CHARACTERS;
    while token.len() < end {
        // Five bits of each byte; the one value of 32 that names no character is thrown away, so that all are equally likely.
        let bytes = random_bytes::<TOKEN_CHARACTERS>();
        let characters = bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31)));
        token.extend(characters.take(end - token.len()).map(|byte| char::from(*byte)));
    }
    token
}

/// A secret for Standard Webhooks.
pub(crate) fn random_secret() -> Secret {
    Secret(format!("whsec_{}", BASE64_STANDARD.encode(random_bytes::<SECRET_BYTES>())))
}

/// 48 random characters of those that every platform takes.
pub(crate) fn random_word() -> String {
    new_token("w").chars().chain(new_token("").chars().filter(|char| *char != '_')).filter(|char| *char != '_').take(48).collect()
}

pub(crate) fn random_number() -> u64 {
    u64::from_le_bytes(random_bytes())
}

/// `tkn_ab12...wxyz`: enough to know a token by, too little to use it.
pub(crate) fn mask(token: &str) -> String {
    let start: String = token.chars().take(8).collect();
    let end: Vec<char> = token.chars().rev().take(4).collect();
    start + "..." + &end.into_iter().rev().collect::<String>()
}

/// A new id that nothing in the table has.
///
/// # Errors
/// The database's.
pub(crate) fn fresh<I: HubId>(tx: &mut Tx, table: Table) -> Result<I> {
    for _ in 0..TRIES {
        let id = I::from_random(u64::from_le_bytes(random_bytes()));
        if !hub::is_taken(tx, table, id)? {
            return Ok(id);
        }
    }
    Err(Error::Internal(format!("no {} id is free", I::PREFIX)))
}

#[cfg(test)]
mod tests {
    use super::{mask, new_token};

    #[test]
    fn a_token_is_long_and_of_the_alphabet() {
        let token = new_token("tkn");
        assert_eq!(token.len(), 36);
        assert!(token.strip_prefix("tkn_").is_some_and(|rest| !rest.contains(['0', '1', 'i', 'l', 'o'])), "{token}");
        assert_ne!(token, new_token("tkn"));
    }

    #[test]
    fn a_masked_token_shows_its_ends() {
        assert_eq!(mask("tkn_ab12cdefghjkmnpqrstuvwxyz23wxyz"), "tkn_ab12...wxyz");
    }
}
