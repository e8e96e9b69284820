use domain::DeliveryStatus;
use domain::sockets::channel::{Accepted, MediaLink, Outbound, PlatformCode, Refusal, RefusalKind, SendOutcome};
use domain::sockets::egress::Answer;
use serde_json::{Value, json};

use super::html;
use crate::wire::{self, by_status, id, refusal, text};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Html,
    /// As it was written.
    Plain,
}

/// Begins our own words for a group that has become a supergroup, with its new id behind them.
const MOVED: &str = "The chat has moved to ";

/// Chat ids are numbers; a text that is none is a public name.
pub(super) fn chat_id(address: &str) -> Value {
    address.parse::<i64>().map_or_else(|_| json!(address), Value::from)
}

/// The method that sends such a file and the parameter for its address; `None` for what Telegram does not fetch by itself.
pub(super) fn method(link: &MediaLink) -> Option<(&'static str, &'static str)> {
    Some(match link.mime_type.as_str() {
        "image/jpeg" | "image/png" | "image/webp" => ("sendPhoto", "photo"),
        "image/gif" => ("sendAnimation", "animation"),
        "audio/ogg" => ("sendVoice", "voice"),
        "audio/mpeg" | "audio/mp4" => ("sendAudio", "audio"),
        "video/mp4" => ("sendVideo", "video"),
        "application/pdf" | "application/zip" => ("sendDocument", "document"),
        _ => return None,
    })
}

/// Method and body for one portion.
pub(super) fn call(message: &Outbound, style: Style) -> (&'static str, Value) {
    let mut body = json!({"chat_id": chat_id(&message.to)});
    let file = message.media.first().and_then(|link| Some((link, method(link)?)));
    let (method, words) = match file {
        Some((link, (method, parameter))) => {
            body[parameter] = json!(link.url);
            (method, "caption")
        }
        None => ("sendMessage", "text"),
    };
    match style {
        _ if message.text.is_empty() && file.is_some() => {}
        Style::Html => {
            body[words] = json!(html::from_markdown(&message.text));
            body["parse_mode"] = json!("HTML");
        }
        Style::Plain => body[words] = json!(message.text),
    }
    if let Some(answered) = message.reply_to.as_deref().and_then(|id| id.parse::<i64>().ok()) {
        body["reply_parameters"] = json!({"message_id": answered, "allow_sending_without_reply": true});
    }
    (method, body)
}

pub(super) fn outcome(message: &Outbound, answer: &Answer) -> SendOutcome {
    let body = wire::json(answer);
    if body.get("ok") == Some(&Value::Bool(true)) {
        return SendOutcome::Accepted(Box::new(Accepted {
            external_id: id(&body, "/result/message_id"),
            status: DeliveryStatus::Sent,
            word: None,
            sent_to: message.to.clone(),
            sent_from: None,
            moved_to: None,
        }));
    }
    if answer.is_success() {
        return SendOutcome::Unknown;
    }
    let words = text(&body, "/description").unwrap_or_else(|| format!("Telegram answered {}", answer.status));
    let number = body.get("error_code").and_then(Value::as_i64).map(PlatformCode::Number);
    if let Some(address) = id(&body, "/parameters/migrate_to_chat_id") {
        return SendOutcome::Refused(RefusalKind::Permanent, refusal(number, &format!("{MOVED}{address}")));
    }
    let retry_after = body.pointer("/parameters/retry_after").and_then(Value::as_u64);
    let refusal = refusal(number, &words);
    match answer.status {
        429 => SendOutcome::Retry { after_ms: retry_after.map(|seconds| seconds.saturating_mul(1000)), refusal },
        // The contact has blocked the bot, is gone, or never was there.
        403 => SendOutcome::Refused(RefusalKind::OptedOut, refusal),
        400 if is_about_the_chat(&words) => SendOutcome::Refused(RefusalKind::OptedOut, refusal),
        // Telegram answers 404 to a token of the wrong form.
        401 | 404 => SendOutcome::Refused(RefusalKind::Auth, refusal),
        _ => by_status(answer, refusal, message.now),
    }
}

fn is_about_the_chat(words: &str) -> bool {
    let words = words.to_lowercase();
    ["chat not found", "user is deactivated", "user not found", "peer_id_invalid"].iter().any(|known| words.contains(known))
}

/// Where the chat has gone, if that is why the message was refused.
pub(super) fn moved_to(refusal: &Refusal) -> Option<String> {
    refusal.text.strip_prefix(MOVED).map(str::to_owned)
}

pub(super) fn with_address(outcome: SendOutcome, address: String) -> SendOutcome {
    match outcome {
        SendOutcome::Accepted(accepted) => SendOutcome::Accepted(Box::new(Accepted { moved_to: Some(address), ..*accepted })),
        other => other,
    }
}
