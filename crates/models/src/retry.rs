//! What a provider's answer says about asking again. The loop that asks again is the engine's.

use std::time::UNIX_EPOCH;

use domain::Timestamp;
use reqwest::header::HeaderMap;

/// Whether asking again may help, and how long the provider asks us to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAdvice {
    pub retryable: bool,
    /// Milliseconds; `None` if the provider names no time, or none that can be read.
    pub retry_after_ms: Option<u64>,
}

impl RetryAdvice {
    /// Reads the advice out of a failed response. `x-should-retry` has the last word, then the status.
    #[must_use]
    pub fn read(status: u16, headers: &HeaderMap, now: Timestamp) -> Self {
        let retryable = match text(headers, "x-should-retry") {
            Some("true") => true,
            Some("false") => false,
            _ => matches!(status, 408 | 409 | 429 | 500..),
        };
        let retry_after_ms = text(headers, "retry-after-ms")
            .and_then(|millis| whole_millis(millis, 1.0))
            .or_else(|| text(headers, "retry-after").and_then(|after| seconds_or_date(after, now)));
        Self { retryable, retry_after_ms }
    }

    /// The advice of a status alone.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        Self::read(status, &HeaderMap::new(), Timestamp(0))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn seconds_or_date(text: &str, now: Timestamp) -> Option<u64> {
    whole_millis(text, 1_000.0).or_else(|| {
        let date = httpdate::parse_http_date(text).ok()?;
        let since_epoch = date.duration_since(UNIX_EPOCH).ok()?;
        Some(Timestamp(i64::try_from(since_epoch.as_millis()).ok()?).millis_since(now))
    })
}

/// Providers send fractions too. What is negative or no number is no advice.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, and negatives are out")]
fn whole_millis(text: &str, millis_per_unit: f64) -> Option<u64> {
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && number >= 0.0).then(|| (number * millis_per_unit).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::RetryAdvice;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn read(status: u16, headers: &[(&'static str, &'static str)]) -> RetryAdvice {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        RetryAdvice::read(status, &headers, NOW)
    }

    #[test]
    fn the_status_decides() {
        for status in [408, 409, 429, 500, 502, 503, 504, 529] {
            assert!(read(status, &[]).retryable, "{status}");
        }
        for status in [301, 400, 401, 402, 403, 404, 413, 422] {
            assert!(!read(status, &[]).retryable, "{status}");
        }
    }

    #[test]
    fn x_should_retry_wins() {
        assert!(read(400, &[("x-should-retry", "true")]).retryable);
        assert!(!read(529, &[("x-should-retry", "false")]).retryable);
        assert!(read(529, &[("x-should-retry", "maybe")]).retryable);
    }

    #[test]
    fn the_wait_is_read_in_all_its_forms() {
        let wait = |headers: &[(&'static str, &'static str)]| read(429, headers).retry_after_ms;
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[("retry-after", "3")]), Some(3_000));
        assert_eq!(wait(&[("retry-after", "0.25")]), Some(250));
        assert_eq!(wait(&[("retry-after-ms", "1500"), ("retry-after", "9")]), Some(1_500));
        assert_eq!(wait(&[("retry-after-ms", "soon"), ("retry-after", "9")]), Some(9_000));
        assert_eq!(wait(&[("retry-after", "Wed, 18 Nov 2026 11:06:50 GMT")]), Some(10_000));
        assert_eq!(wait(&[("retry-after", "Wed, 18 Nov 2026 11:06:30 GMT")]), Some(0));
        for unreadable in ["-1", "NaN", "inf", "tomorrow", ""] {
            assert_eq!(wait(&[("retry-after", unreadable)]), None, "{unreadable}");
        }
    }
}
