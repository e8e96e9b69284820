//! Signatures in stories, made and checked by other means than the product's: HMAC written down here from the standards.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// HMAC (RFC 2104), of which both digests have blocks of 64 bytes.
fn hmac(algorithm: &'static ring::digest::Algorithm, key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    if key.len() > 64 {
        block[..algorithm.output_len()].copy_from_slice(digest(algorithm, key).as_ref());
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with).to_vec();
    let inner = digest(algorithm, &[pad(0x36), data.to_vec()].concat());
    digest(algorithm, &[pad(0x5c), inner.as_ref().to_vec()].concat()).as_ref().to_vec()
}

/// `X-Twilio-Signature`: the URL, then each parameter's name and value in the order of the names.
pub fn twilio(token: &str, url: &str, form: &[(String, String)]) -> String {
    let mut sorted = form.to_vec();
    sorted.sort();
    let data = sorted.iter().fold(url.to_owned(), |data, (name, value)| data + name + value);
    base64(&hmac(&SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes(), data.as_bytes()))
}

/// The `v1,` entry of Standard Webhooks.
pub fn standard_webhook(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = unbase64(secret.strip_prefix("whsec_").expect("a secret"));
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    format!("v1,{}", base64(&hmac(&SHA256, &key, &signed)))
}

/// Whether one of the `v1,` entries is the signature of Standard Webhooks.
pub fn standard_webhook_holds(secret: &str, id: &str, timestamp: &str, body: &[u8], header: &str) -> bool {
    let expected = standard_webhook(secret, id, timestamp, body);
    header.split(' ').any(|entry| entry == expected)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let shown = index <= chunk.len();
            text.push(if shown { char::from(ALPHABET[(word >> (18 - 6 * index) & 63) as usize]) } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .bytes()
        .filter(|byte| *byte != b'=')
        .map(|byte| ALPHABET.iter().position(|known| *known == byte).expect("base64") as u32)
        .collect();
    digits
        .chunks(4)
        .flat_map(|chunk| {
            let word = chunk.iter().fold(0_u32, |word, digit| word << 6 | digit) << (6 * (4 - chunk.len()));
            [16, 8, 0].into_iter().take(chunk.len() - 1).map(move |shift| (word >> shift & 255) as u8)
        })
        .collect()
}

/// The vectors were made by the vendors' own libraries.
#[cfg(test)]
mod tests {
    use super::{base64, standard_webhook_holds, twilio, unbase64};

    #[test]
    fn twilio_signs_like_its_own_library() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        let form = pairs(&[
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675309"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
            ("To", "+18005551212"),
        ]);
        assert_eq!(twilio("12345", url, &form), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
        assert_eq!(twilio("12345", "https://x/y", &pairs(&[("A", ""), ("B", "1")])), "nETEIRXpJUJvwjud1ygwu2k5VHY=");
    }

    #[test]
    fn standard_webhooks_are_known_like_by_their_own_library() {
        let holds = |body: &[u8]| {
            standard_webhook_holds(
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                "1649367553",
                body,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            )
        };
        assert!(holds(br#"{"email":"test@example.com","username":"test_user"}"#));
        assert!(!holds(br#"{"email":"test@example.com","username":"test_usex"}"#));
    }

    #[test]
    fn base64_there_and_back() {
        for length in 0..9_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
            assert_eq!(unbase64(&base64(&bytes)), bytes);
        }
        assert_eq!(base64(b"ab"), "YWI=");
    }
}
