//! Secrets that must be used again, such as a platform's credentials, are encrypted before they are stored: who gets hold of
//! the database alone has none of them. The key is in a file of its own.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::accounts::{hex, random_bytes};
use crate::{Error, Result};

pub const SEAL_KEY_BYTES: usize = 32;

/// Encrypts and decrypts with AES-256-GCM. A sealed text is hex of nonce and ciphertext.
pub(crate) struct Seal {
    key: LessSafeKey,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    /// # Errors
    /// [`Error::Internal`]: there is no such cipher here.
    pub(crate) fn new(key: &[u8; SEAL_KEY_BYTES]) -> Result<Self> {
        Ok(Self { key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| broken("the key is none"))?) })
    }

    /// `purpose` must be the same when it is opened: what was sealed for one thing cannot be passed off as another.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub(crate) fn seal(&self, purpose: &str, text: &str) -> Result<String> {
        // Random nonces are safe for some billions of texts under one key.
        let nonce = random_bytes::<NONCE_LEN>();
        let mut bytes = text.as_bytes().to_vec();
        let sealed =
            self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose.as_bytes()), &mut bytes);
        sealed.map_err(|_| broken("a secret cannot be sealed"))?;
        Ok(hex(&nonce) + &hex(&bytes))
    }

    /// # Errors
    /// [`Error::Internal`]: it was sealed with another key or for another purpose, or was changed.
    pub(crate) fn open(&self, purpose: &str, sealed: &str) -> Result<String> {
        let mut bytes = from_hex(sealed).ok_or_else(|| broken("a sealed secret is not of its form"))?;
        if bytes.len() < NONCE_LEN {
            return Err(broken("a sealed secret is too short"));
        }
        let mut text = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| broken("a sealed secret is not of its form"))?;
        let opened = self.key.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut text);
        let opened = opened.map_err(|_| broken("a sealed secret is of another key, or was changed"))?;
        String::from_utf8(opened.to_vec()).map_err(|_| broken("a sealed secret is no text"))
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    digits.chunks(2).map(|pair| u8::try_from(pair.first()? * 16 + pair.get(1)?).ok()).collect()
}

fn broken(reason: &str) -> Error {
    tracing::error!(reason, "sealed secrets cannot be used");
    Error::Internal(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::Seal;

    #[test]
    fn what_was_sealed_opens_for_its_purpose_only() {
        let seal = Seal::new(&[7; 32]).expect("a seal");
        let sealed = seal.seal("agent", "whsec_é").expect("sealed");
        assert!(!sealed.contains("whsec"));
        assert_eq!(seal.open("agent", &sealed).expect("opened"), "whsec_é");
        assert!(seal.open("channel", &sealed).is_err());
        assert!(Seal::new(&[8; 32]).expect("a seal").open("agent", &sealed).is_err());
        let changed = sealed.replace(sealed.chars().last().expect("one"), "0") + "f";
        assert!(seal.open("agent", &changed).is_err());
        for broken in ["", "0", "zz", "00ff"] {
            assert!(seal.open("agent", broken).is_err(), "{broken}");
        }
    }
}
