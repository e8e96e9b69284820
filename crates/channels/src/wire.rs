//! What the connectors have in common: reading what platforms send, and calling them.

use domain::Timestamp;
use domain::egress::ChosenBy;
use domain::sockets::channel::{Authenticity, ChannelAccess, PlatformCode, Refusal, RefusalKind, SendOutcome};
use domain::sockets::egress::{Answer, Call, CallError, Egress, Method};
use serde_json::Value;
use std::time::Duration;

/// For one call to a platform, from name to last byte.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Of a platform's own words that are kept.
const MAX_WORDS: usize = 500;

/// The text at a JSON pointer, without U+0000; absent if it is something else.
pub(crate) fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(clean)
}

/// A number, or a text, as a text: ids come as either.
pub(crate) fn id(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(clean(text)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The items of an array; none if it is something else.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Not every database can store U+0000.
pub(crate) fn clean(text: &str) -> String {
    text.replace('\0', "")
}

/// The pairs of a form, blank values included.
pub(crate) fn form(body: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

pub(crate) fn encode_form(pairs: &[(&str, String)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs);
    form.finish()
}

/// The value of the first pair of that name, if it is not blank.
pub(crate) fn field<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
    form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

/// A number as a JSON number, everything else as it is.
pub(crate) fn code(text: &str) -> PlatformCode {
    text.parse().map_or_else(|_| PlatformCode::Word(text.to_owned()), PlatformCode::Number)
}

pub(crate) fn refusal(code: Option<PlatformCode>, words: &str) -> Refusal {
    Refusal { code, text: clean(words).chars().take(MAX_WORDS).collect() }
}

/// A refusal of our own making, in our own words.
pub(crate) fn refused(kind: RefusalKind, words: &str) -> SendOutcome {
    SendOutcome::Refused(kind, refusal(None, words))
}

/// A refusal because a credential is not there.
pub(crate) fn missing(name: &str) -> SendOutcome {
    refused(RefusalKind::Auth, &format!("The channel has no {name}"))
}

pub(crate) const fn genuine_if(holds: bool) -> Authenticity {
    if holds { Authenticity::Genuine } else { Authenticity::Forged }
}

/// The platform's base address, or what the channel has in its place, without a slash at its end.
pub(crate) fn base<'a>(access: &'a ChannelAccess, own: &'a str) -> &'a str {
    access.api_to_send_message.as_deref().unwrap_or(own).trim_end_matches('/')
}

/// The address at which the platform reaches this channel, if it can.
pub(crate) fn inbound_url(access: &ChannelAccess, platform: domain::Platform) -> Option<String> {
    let base = access.webhook_base_url.as_deref()?.trim_end_matches('/');
    Some(format!("{base}/webhooks/inbound/{}/{}", platform.as_str().to_lowercase(), access.channel_id))
}

/// A call to an address that an administrator set, or to the platform's own.
pub(crate) fn post(url: impl Into<String>) -> Call {
    Call::new(Method::Post, url, ChosenBy::Admin, CALL_TIMEOUT)
}

pub(crate) fn get(url: impl Into<String>) -> Call {
    Call::new(Method::Get, url, ChosenBy::Admin, CALL_TIMEOUT)
}

/// Calls for a message: what no platform had a say in is decided here.
pub(crate) async fn call(egress: &dyn Egress, call: Call) -> Result<Answer, SendOutcome> {
    egress.call(call).await.map_err(|error| match error {
        CallError::NotAllowed(_) => refused(RefusalKind::Permanent, &error.to_string()),
        CallError::Unreachable => SendOutcome::Retry { after_ms: None, refusal: refusal(None, &error.to_string()) },
        CallError::NoAnswer | CallError::TooLarge => SendOutcome::Unknown,
    })
}

/// What a status alone says, for bodies that say nothing more.
pub(crate) fn by_status(answer: &Answer, refusal: Refusal, now: Timestamp) -> SendOutcome {
    match answer.status {
        401 => SendOutcome::Refused(RefusalKind::Auth, refusal),
        300..=399 | 408 | 429 | 500.. => SendOutcome::Retry { after_ms: retry_after(answer, now), refusal },
        _ => SendOutcome::Refused(RefusalKind::Permanent, refusal),
    }
}

/// `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(answer: &Answer, now: Timestamp) -> Option<u64> {
    let value = answer.header("retry-after")?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds.saturating_mul(1000));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_millisecond();
    u64::try_from(at - now.0).ok()
}

/// ISO 8601 in UTC, to the second.
pub(crate) fn iso(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

pub(crate) fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use domain::sockets::egress::Answer;

    use super::{field, form, iso, retry_after};

    #[test]
    fn forms_keep_blanks_and_what_comes_twice() {
        let pairs = form("A=&B=x+y%20z&B=%F0%9F%91%8B&C".as_bytes());
        let expected = [("A", ""), ("B", "x y z"), ("B", "👋"), ("C", "")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((field(&pairs, "A"), field(&pairs, "B")), (None, Some("x y z")));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let answer = |value: &str| Answer { status: 429, headers: vec![("retry-after".into(), value.into())], body: Vec::new() };
        let now = Timestamp(1_445_412_480_000);
        for (value, expected) in [
            ("7", Some(7000)),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30_000)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", None),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(&answer(value), now), expected, "{value}");
        }
        assert_eq!(iso(now), "2015-10-21T07:28:00Z");
    }
}
