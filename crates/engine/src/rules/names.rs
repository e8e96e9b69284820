//! What rules and their tables are called. No part of a name comes from a model.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::accounts::hex;

/// By the contract.
const MAX_SLUG: usize = 40;
const MARKED_SLUG: usize = 33;
const MARK: usize = 6;
const TAKEN: [&str; 3] = ["run", "runs", "dataset"];

/// Runs of white space count as one.
pub(super) fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a rule's text is called if nobody else is called so: `[a-z0-9_]{1,40}`.
#[must_use]
pub fn slug(text: &str) -> String {
    let plain = plain(text, MAX_SLUG);
    let number = plain.rsplit('_').next().unwrap_or_default();
    let like_a_version = plain.contains('_') && number.len() >= 10 && number.bytes().all(|byte| byte.is_ascii_digit());
    if like_a_version || TAKEN.contains(&plain.as_str()) { marked_slug(text) } else { plain }
}

/// The same, if somebody else is.
pub(super) fn marked_slug(text: &str) -> String {
    let mark = hex(&Sha256::digest(normal(text)));
    format!("{}_{}", plain(text, MARKED_SLUG), &mark[..MARK])
}

fn plain(text: &str, most: usize) -> String {
    let mut slug = String::new();
    // Letters lose their accents, so that a name stays readable.
    for char in text.nfkd().filter(|char| !is_combining_mark(*char)).flat_map(char::to_lowercase) {
        if char.is_ascii_lowercase() || char.is_ascii_digit() {
            slug.push(char);
        } else if !slug.is_empty() && !slug.ends_with('_') {
            slug.push('_');
        }
    }
    if slug.starts_with(|char: char| char.is_ascii_digit()) {
        slug.insert_str(0, "r_");
    }
    slug.truncate(most);
    let slug = slug.trim_end_matches('_');
    if slug.is_empty() { "rule".to_owned() } else { slug.to_owned() }
}

pub(super) fn view(slug: &str) -> String {
    format!("rule_{slug}")
}

/// The number in an id that the client makes for each run: `rule_<10 to 16 digits>`.
pub(super) fn client_number(rule_id: &str) -> Option<i64> {
    let digits = rule_id.strip_prefix("rule_")?;
    let fits = (10..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if fits { digits.parse().ok() } else { None }
}

/// SHA-256 of a rule's text, in lower-case hex.
pub(super) fn text_hash(text: &str) -> String {
    hex(&Sha256::digest(normal(text)))
}

#[cfg(test)]
mod tests {
    use super::{client_number, slug};

    #[test]
    fn slugs_are_plain_and_their_own() {
        for (text, expected) in [
            ("Find all patterns", "find_all_patterns"),
            ("  Find  all—patterns! ", "find_all_patterns"),
            ("ORGS_BY_STAGE", "orgs_by_stage"),
            ("2025 numbers", "r_2025_numbers"),
            ("……", "rule"),
            ("Überblick für Zürich", "uberblick_fur_zurich"),
            ("ﬁrst №1", "first_no1"),
            ("模式", "rule"),
            ("x 1234567890", "x_1234567890_"),
            ("run", "run_"),
            ("dataset", "dataset_"),
        ] {
            let slug = slug(text);
            assert!(
                slug == expected || expected.ends_with('_') && slug.starts_with(expected) && slug.len() == expected.len() + 6,
                "{text}: {slug}"
            );
        }
        assert_eq!(slug(&"word ".repeat(30)).len(), 39);
    }

    #[test]
    fn ids_of_clients_have_ten_to_sixteen_digits() {
        assert_eq!(client_number("rule_1732430862456"), Some(1_732_430_862_456));
        for other in ["rule_123", "ORGS", "rule_12345678901234567", "rule_123456789x"] {
            assert_eq!(client_number(other), None);
        }
    }
}
