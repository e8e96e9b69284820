use domain::DeliveryStatus;
use domain::sockets::channel::{Accepted, MessageKind, Outbound, PlatformCode, RefusalKind, SendOutcome};
use domain::sockets::egress::Answer;
use serde_json::{Value, json};

use crate::wire::{self, by_status, id, refusal, retry_after, text};

pub(super) fn body(message: &Outbound) -> Value {
    let mut body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": message.to,
    });
    if let Some(template) = &message.template {
        body["type"] = json!("template");
        body["template"] = Value::Object(template.clone());
    } else if let Some(link) = message.media.first() {
        let kind = media_type(&link.mime_type);
        body["type"] = json!(kind);
        body[kind] = json!({"link": link.url});
        if !message.text.is_empty() {
            body[kind]["caption"] = json!(message.text);
        }
        if let Some(name) = link.name.as_ref().filter(|_| kind == "document") {
            body[kind]["filename"] = json!(name);
        }
    } else {
        body["type"] = json!("text");
        body["text"] = json!({"body": message.text});
    }
    if let Some(answered) = &message.reply_to {
        body["context"] = json!({"message_id": answered});
    }
    body
}

fn media_type(mime_type: &str) -> &'static str {
    match MessageKind::of_mime_type(mime_type) {
        MessageKind::Image => "image",
        MessageKind::Voice => "audio",
        MessageKind::Video => "video",
        MessageKind::Text | MessageKind::Media | MessageKind::Location | MessageKind::Contact | MessageKind::Interactive => {
            "document"
        }
    }
}

/// Images, voices and videos of a few types, and documents of any.
pub(super) fn is_taken(mime_type: &str) -> bool {
    const TAKEN: [&str; 9] =
        ["image/jpeg", "image/png", "audio/aac", "audio/amr", "audio/mp4", "audio/mpeg", "audio/ogg", "video/3gpp", "video/mp4"];
    media_type(mime_type) == "document" || TAKEN.contains(&mime_type)
}

pub(super) fn outcome(message: &Outbound, answer: &Answer) -> SendOutcome {
    let body = wire::json(answer);
    if answer.is_success() {
        return SendOutcome::Accepted(Box::new(Accepted {
            external_id: id(&body, "/messages/0/id"),
            status: DeliveryStatus::Sent,
            word: text(&body, "/messages/0/message_status"),
            sent_to: message.to.clone(),
            sent_from: None,
            moved_to: None,
        }));
    }
    let number = body.pointer("/error/code").and_then(Value::as_i64);
    let words = text(&body, "/error/error_data/details").or_else(|| text(&body, "/error/message"));
    let words = words.unwrap_or_else(|| format!("WhatsApp answered {}", answer.status));
    let refusal = refusal(number.map(PlatformCode::Number), &words);
    match number {
        Some(4 | 80007 | 130_429 | 131_000 | 131_056) => {
            SendOutcome::Retry { after_ms: retry_after(answer, message.now), refusal }
        }
        Some(number) if refusal_kind(number).is_some() => {
            SendOutcome::Refused(refusal_kind(number).unwrap_or(RefusalKind::Permanent), refusal)
        }
        _ => by_status(answer, refusal, message.now),
    }
}

/// What a code means, if it means that repeating is of no use.
pub(super) const fn refusal_kind(code: i64) -> Option<RefusalKind> {
    Some(match code {
        190 => RefusalKind::Auth,
        131_047 => RefusalKind::WindowClosed,
        131_050 => RefusalKind::OptedOut,
        // Undeliverable, or not delivered by Meta's choice.
        131_026 | 131_049 => RefusalKind::Permanent,
        _ => return None,
    })
}
