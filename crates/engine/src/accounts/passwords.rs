//! Passwords are hashed with argon2id: slowly, and with much memory, so only a few at the same time.

use argon2::password_hash::SaltString;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};

use super::secrets::random_bytes;
use crate::{Engine, Error, Result};

/// One pass over 46 MiB by one lane: the smallest memory that OWASP's ASVS 5.0 (appendix C) allows with one pass.
const MEMORY_KIB: u32 = 47_104;
const PASSES: u32 = 1;
const LANES: u32 = 1;

/// Each takes [`MEMORY_KIB`] and a core for about 50 ms.
pub(super) const AT_THE_SAME_TIME: usize = 4;

/// Far longer than anything typed, and short enough to hash.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Who can be reached by others has to have passwords that cannot be guessed.
const MIN_CHARACTERS: usize = 8;

/// What a password is compared with if there is no account of the name, so that it takes as long. No password has this hash.
const NOBODY: &str = "$argon2id$v=19$m=47104,t=1,p=1$bm9ib2R5IGhhcyB0aGlz$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

pub(super) fn min_characters(engine: &Engine) -> usize {
    if engine.inner.settings.hub.is_reachable_by_others { MIN_CHARACTERS } else { 1 }
}

/// The hash with its parameters and a salt of its own.
///
/// # Errors
/// [`Error::Internal`].
pub(super) async fn hash(engine: &Engine, password: String) -> Result<String> {
    in_turn(engine, move || {
        let salt = SaltString::encode_b64(&random_bytes::<16>()).map_err(broken)?;
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(broken)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Ok(argon2.hash_password(password.as_bytes(), &salt).map_err(broken)?.to_string())
    })
    .await
}

/// Whether the hash is of this password. `None` takes as long as any hash, and is of none.
///
/// # Errors
/// [`Error::Internal`].
pub(super) async fn is_right(engine: &Engine, password: String, hash: Option<String>) -> Result<bool> {
    in_turn(engine, move || {
        let known = PasswordHash::new(hash.as_deref().unwrap_or(NOBODY)).map_err(broken)?;
        // The parameters are those of the hash, whatever they are by now.
        let right = Argon2::default().verify_password(password.as_bytes(), &known).is_ok();
        Ok(right && hash.is_some())
    })
    .await
}

async fn in_turn<T: Send + 'static>(engine: &Engine, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let _turn = engine.inner.accounts.hashing.acquire().await.map_err(broken)?;
    tokio::task::spawn_blocking(work).await.map_err(broken)?
}

fn broken(error: impl std::fmt::Display) -> Error {
    tracing::error!(%error, "a password could not be hashed");
    Error::Internal("a password could not be hashed".to_owned())
}

#[cfg(test)]
mod tests {
    use argon2::{Argon2, PasswordHash, PasswordVerifier};

    #[test]
    fn nobody_has_a_hash_of_the_right_form() {
        let hash = PasswordHash::new(super::NOBODY).expect("a hash");
        assert!(Argon2::default().verify_password(b"", &hash).is_err());
        assert_eq!(hash.hash.map(|hash| hash.len()), Some(32));
    }
}
