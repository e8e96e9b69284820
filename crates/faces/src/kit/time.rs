//! Times as the contracts spell them.

use domain::Timestamp;
use jiff::tz::TimeZone;

/// `2026-11-20T09:39:24.822Z`.
#[must_use]
pub fn with_z(at: Timestamp) -> String {
    let (day, clock, millis) = civil(at);
    format!("{day}T{clock}.{millis:03}Z")
}

/// `2026-11-20T09:33:45.029000Z`.
#[must_use]
pub fn with_six_digits(at: Timestamp) -> String {
    let (day, clock, millis) = civil(at);
    format!("{day}T{clock}.{millis:03}000Z")
}

/// `2026-11-20T09:33:45.029000+00:00`.
#[must_use]
pub fn with_offset(at: Timestamp) -> String {
    let (day, clock, millis) = civil(at);
    format!("{day}T{clock}.{millis:03}000+00:00")
}

/// `2026-11-20T09:33:45.029000`, without a zone: it is UTC.
#[must_use]
pub fn naive(at: Timestamp) -> String {
    let (day, clock, millis) = civil(at);
    format!("{day}T{clock}.{millis:03}000")
}

fn civil(at: Timestamp) -> (String, String, i16) {
    // A time beyond the calendar cannot be shown; the beginning of the epoch says plainly that it is none.
    let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let civil = TimeZone::UTC.to_datetime(at);
    (
        format!("{:04}-{:02}-{:02}", civil.year(), civil.month(), civil.day()),
        format!("{:02}:{:02}:{:02}", civil.hour(), civil.minute(), civil.second()),
        civil.millisecond(),
    )
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;

    use super::{naive, with_offset, with_six_digits, with_z};

    #[test]
    fn times_are_spelled_as_the_contracts_do() {
        let at = Timestamp(1_795_167_564_822);
        assert_eq!(with_z(at), "2026-11-20T09:39:24.822Z");
        assert_eq!(with_six_digits(at), "2026-11-20T09:39:24.822000Z");
        assert_eq!(with_offset(at), "2026-11-20T09:39:24.822000+00:00");
        assert_eq!(naive(at), "2026-11-20T09:39:24.822000");
        assert_eq!(with_z(Timestamp(i64::MAX)), "1970-01-01T00:00:00.000Z");
    }
}
