use domain::sockets::channel::{Accepted, ChannelAccess, Found, Outbound, PlatformCode, RefusalKind, SendOutcome};
use domain::sockets::egress::{Answer, Call};
use domain::{DeliveryStatus, Timestamp};
use serde_json::Value;

use super::{Kind, authorization, bare_address, inbound};
use crate::wire::{self, by_status, encode_form, get, id, items, json, missing, post, refusal, retry_after, text};

const API: &str = "https://api.twilio.com";
const TYPING: &str = "https://messaging.twilio.com/v2/Indicators/Typing.json";
const FORM: &str = "application/x-www-form-urlencoded";

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Twilio's clock and ours may differ by this much.
const CLOCK_SKEW_MS: i64 = 10_000;

/// The address of the account's messages: to post one, and to ask for those that there are.
fn messages_url(access: &ChannelAccess) -> Option<String> {
    if let Some(url) = &access.api_to_send_message {
        return Some(url.clone());
    }
    Some(format!("{API}/2010-04-01/Accounts/{}/Messages.json", access.credentials.get("user")?))
}

fn from(kind: Kind, access: &ChannelAccess) -> Option<String> {
    access.credentials.get("from_number").map(|number| kind.address(number))
}

pub(super) fn request(kind: Kind, access: &ChannelAccess, message: &Outbound) -> Result<Call, SendOutcome> {
    let credentials = &access.credentials;
    let url = messages_url(access).ok_or_else(|| missing("user"))?;
    let authorization = authorization(credentials).ok_or_else(|| missing("token"))?;
    let mut pairs = vec![("To", kind.address(&message.to))];
    match (credentials.get("messaging_service_sid"), from(kind, access)) {
        (Some(service), _) => pairs.push(("MessagingServiceSid", service.to_owned())),
        (None, Some(number)) => pairs.push(("From", number)),
        (None, None) => return Err(missing("from_number")),
    }
    match &message.template {
        Some(template) => pairs.extend(template_pairs(&Value::Object(template.clone()))?),
        None if !message.text.is_empty() => pairs.push(("Body", message.text.clone())),
        None => {}
    }
    pairs.extend(message.media.iter().map(|link| ("MediaUrl", link.url.clone())));
    if let Some(url) = wire::inbound_url(access, kind.platform()) {
        pairs.push(("StatusCallback", format!("{url}?message={}", message.message_id)));
    }
    Ok(post(url).header("authorization", authorization).body(FORM, encode_form(&pairs)))
}

fn template_pairs(template: &Value) -> Result<Vec<(&'static str, String)>, SendOutcome> {
    let wrong = || wire::refused(RefusalKind::Permanent, "The template has no content_sid");
    let mut pairs = vec![("ContentSid", text(template, "/content_sid").ok_or_else(wrong)?)];
    if let Some(variables) = template.get("variables").filter(|variables| !variables.is_null()) {
        pairs.push(("ContentVariables", variables.to_string()));
    }
    Ok(pairs)
}

pub(super) fn outcome(kind: Kind, access: &ChannelAccess, message: &Outbound, answer: &Answer) -> SendOutcome {
    let body = json(answer);
    if answer.is_success() {
        return SendOutcome::Accepted(Box::new(accepted(kind, access, message, &body)));
    }
    let number = body.get("code").and_then(Value::as_i64);
    let refusal = refusal(number.map(PlatformCode::Number), &text(&body, "/message").unwrap_or_else(|| status_words(answer)));
    match number {
        // The daily limit ends with the day.
        Some(63038) => SendOutcome::Retry { after_ms: Some(until_midnight(message.now)), refusal },
        Some(20429 | 63018) => SendOutcome::Retry { after_ms: retry_after(answer, message.now), refusal },
        Some(number) if refusal_kind(number).is_some() => {
            SendOutcome::Refused(refusal_kind(number).unwrap_or(RefusalKind::Permanent), refusal)
        }
        _ => by_status(answer, refusal, message.now),
    }
}

/// What a code means, if it means that repeating is of no use.
pub(super) const fn refusal_kind(code: i64) -> Option<RefusalKind> {
    Some(match code {
        20003 => RefusalKind::Auth,
        21610 => RefusalKind::OptedOut,
        63016 => RefusalKind::WindowClosed,
        // No such recipient; the sender is not ours; too long; not delivered by Meta's choice.
        21201 | 21211 | 21614 | 63003 | 63024 | 20404 | 21606 | 21617 | 63032 | 63049 => RefusalKind::Permanent,
        _ => return None,
    })
}

fn accepted(kind: Kind, access: &ChannelAccess, message: &Outbound, body: &Value) -> Accepted {
    let word = text(body, "/status");
    let status = word.as_deref().and_then(inbound::status_of).unwrap_or(DeliveryStatus::Sent);
    Accepted {
        external_id: text(body, "/sid"),
        status: DeliveryStatus::Sent.after(status),
        word,
        sent_to: kind.address(&message.to),
        sent_from: from(kind, access),
        moved_to: None,
    }
}

fn status_words(answer: &Answer) -> String {
    format!("Twilio answered {}", answer.status)
}

fn until_midnight(now: Timestamp) -> u64 {
    u64::try_from(DAY_MS - now.0.rem_euclid(DAY_MS)).unwrap_or(0)
}

/// Asks for what was sent to that address since the first try.
pub(super) fn question(kind: Kind, access: &ChannelAccess, message: &Outbound) -> Option<Call> {
    let since = jiff::Timestamp::from_millisecond(message.first_tried_at.0 - CLOCK_SKEW_MS).ok()?;
    let mut pairs = vec![("To", kind.address(&message.to))];
    pairs.extend(from(kind, access).map(|number| ("From", number)));
    pairs.push(("DateSent>", since.strftime("%Y-%m-%d").to_string()));
    pairs.push(("PageSize", "100".to_owned()));
    let url = messages_url(access)?;
    let joint = if url.contains('?') { '&' } else { '?' };
    Some(get(format!("{url}{joint}{}", encode_form(&pairs))).header("authorization", authorization(&access.credentials)?))
}

/// The same words to the same address since the first try, that belong to no other message.
pub(super) fn found(kind: Kind, access: &ChannelAccess, message: &Outbound, taken: &[String], answer: &Answer) -> Found {
    let body = json(answer);
    if !answer.is_success() || !body.get("messages").is_some_and(Value::is_array) {
        return Found::TryAgain;
    }
    let is_it = |candidate: &&Value| {
        let sid = text(candidate, "/sid").unwrap_or_default();
        let to = text(candidate, "/to").unwrap_or_default();
        let same_words = text(candidate, "/body").unwrap_or_default().trim() == message.text.trim();
        let is_ours = !sid.is_empty() && !taken.contains(&sid) && bare_address(&to) == bare_address(&message.to);
        let same_files = id(candidate, "/num_media").unwrap_or_else(|| "0".to_owned()) == message.media.len().to_string();
        is_ours && same_words && same_files && !is_before(candidate, message.first_tried_at)
    };
    match items(&body, "/messages").iter().find(is_it) {
        Some(candidate) => Found::Yes(accepted(kind, access, message, candidate)),
        None => Found::No,
    }
}

/// Only a date that can be read can say so.
fn is_before(candidate: &Value, at: Timestamp) -> bool {
    let created = text(candidate, "/date_created").and_then(|date| jiff::fmt::rfc2822::parse(&date).ok());
    created.is_some_and(|created| created.timestamp().as_millisecond() < at.0 - CLOCK_SKEW_MS)
}

pub(super) fn typing(kind: Kind, access: &ChannelAccess, last_received: Option<&str>) -> Option<Call> {
    if kind == Kind::Sms || access.api_to_send_message.is_some() {
        return None;
    }
    let pairs = [("messageId", last_received?.to_owned()), ("channel", "whatsapp".to_owned())];
    Some(post(TYPING).header("authorization", authorization(&access.credentials)?).body(FORM, encode_form(&pairs)))
}
