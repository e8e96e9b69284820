//! What proves that a request comes from whom it says. Every comparison takes the same time wherever the difference is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, Key};
use subtle::ConstantTimeEq;

/// How old, or how far ahead, the timestamp of a signed request may be. Slack and Standard Webhooks agree on it.
const MAX_SKEW_SECONDS: u64 = 300;

/// Standard Webhooks wants keys of 24 to 64 bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Entries of a `webhook-signature` that are looked at: two during a rotation, and some that we do not understand.
const MAX_SIGNATURES: usize = 16;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether two secrets are the same.
#[must_use]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    bool::from(a.ct_eq(b))
}

#[must_use]
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&Key::new(HMAC_SHA256, key), data).as_ref());
    out
}

#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// What Twilio signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TwilioAlgorithm {
    /// The Auth Token.
    HmacSha1,
    /// A shared key, since 2026.
    HmacSha256,
}

/// `X-Twilio-Signature` of a form: over the address and, by name, every parameter with its values sorted and without repeats.
#[must_use]
pub fn twilio(algorithm: TwilioAlgorithm, key: &str, url: &str, form: &[(String, String)]) -> String {
    let mut parameters: Vec<&(String, String)> = form.iter().collect();
    parameters.sort();
    parameters.dedup();
    let mut data = url.to_owned();
    for (name, value) in parameters {
        data.push_str(name);
        data.push_str(value);
    }
    let algorithm = match algorithm {
        TwilioAlgorithm::HmacSha1 => HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        TwilioAlgorithm::HmacSha256 => HMAC_SHA256,
    };
    STANDARD.encode(hmac::sign(&Key::new(algorithm, key.as_bytes()), data.as_bytes()))
}

/// Meta's `X-Hub-Signature-256`.
#[must_use]
pub fn meta_is_genuine(app_secret: &str, header: &str, body: &[u8]) -> bool {
    let expected = format!("sha256={}", hex(&hmac_sha256(app_secret.as_bytes(), body)));
    same(expected.as_bytes(), header.as_bytes())
}

/// Slack's `X-Slack-Signature`.
#[must_use]
pub fn slack_is_genuine(signing_secret: &str, timestamp: &str, header: &str, body: &[u8], now_seconds: i64) -> bool {
    let expected = slack(signing_secret, timestamp, body);
    is_fresh(timestamp, now_seconds) && same(expected.as_bytes(), header.as_bytes())
}

fn slack(signing_secret: &str, timestamp: &str, body: &[u8]) -> String {
    let signed = [b"v0:", timestamp.as_bytes(), b":", body].concat();
    format!("v0={}", hex(&hmac_sha256(signing_secret.as_bytes(), &signed)))
}

/// `webhook-signature` for the secrets that are valid now, the newest first; a secret that is none signs nothing.
#[must_use]
pub fn standard_webhooks(secrets: &[&str], id: &str, timestamp: i64, body: &[u8]) -> String {
    let keys = secrets.iter().filter_map(|secret| webhook_key(secret));
    let all: Vec<String> =
        keys.map(|key| format!("v1,{}", STANDARD.encode(webhook_mac(&key, id, &timestamp.to_string(), body)))).collect();
    all.join(" ")
}

/// Whether one of the signatures was made with one of the secrets, within five minutes of now.
#[must_use]
pub fn standard_webhook_is_genuine(
    secrets: &[&str],
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now_seconds: i64,
) -> bool {
    if id.is_empty() || id.contains('.') || !is_fresh(timestamp, now_seconds) {
        return false;
    }
    let entries = signatures.split(' ').take(MAX_SIGNATURES).filter_map(|entry| entry.strip_prefix("v1,"));
    let offered: Vec<&str> = entries.collect();
    secrets.iter().filter_map(|secret| webhook_key(secret)).any(|key| {
        let expected = STANDARD.encode(webhook_mac(&key, id, timestamp, body));
        offered.iter().any(|offer| same(expected.as_bytes(), offer.as_bytes()))
    })
}

fn webhook_mac(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
    hmac_sha256(key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat())
}

/// The key in a `whsec_…` secret, if it is one.
#[must_use]
pub fn webhook_key(secret: &str) -> Option<Vec<u8>> {
    let key = LENIENT.decode(secret.strip_prefix("whsec_")?).ok()?;
    KEY_BYTES.contains(&key.len()).then_some(key)
}

fn is_fresh(timestamp: &str, now_seconds: i64) -> bool {
    let digits_only = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    digits_only && timestamp.parse().is_ok_and(|at: i64| at.abs_diff(now_seconds) <= MAX_SKEW_SECONDS)
}

#[cfg(test)]
mod tests;
