//! The channel for everything else: signed webhooks (Standard Webhooks) in both directions.

use std::sync::Arc;

use async_trait::async_trait;
use domain::egress::ChosenBy;
use domain::sockets::channel::{
    Accepted, Authenticity, Channel, ChannelAccess, Credentials, Found, Handshake, Identity, IdentityKind, Inbound,
    InboundMessage, InboundRequest, Limits, Media, MediaError, MediaLink, MediaRef, MessageKind, Outbound, Portion, Rate,
    RefusalKind, Secret, SendOutcome, Sender, StatusNews, Unreadable,
};
use domain::sockets::egress::{Answer, Egress};
use domain::{DeliveryStatus, Platform};
use serde_json::{Map, Value, json};

use crate::portions::{Carries, portions};
use crate::wire::{self, by_status, genuine_if, id, iso, items, post, refusal, text};
use crate::{media, signature};

const LIMITS: Limits = Limits {
    // Whoever receives it has no limit that we know; this one bounds a body.
    text_units: 16_000,
    media_out: 10,
    media_bytes: media::MAX_BYTES,
    per_channel: Rate { per_minute: 50 * 60, burst: 50 },
    per_chat: Rate { per_minute: 50 * 60, burst: 50 },
    window_hours: None,
    typing: None,
};

/// Attachments of one message that are looked at.
const MAX_ATTACHMENTS: usize = 10;

pub struct Webhook {
    egress: Arc<dyn Egress>,
}

impl Webhook {
    #[must_use]
    pub fn new(egress: Arc<dyn Egress>) -> Self {
        Self { egress }
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

/// The secret and, for a day, the one before it.
fn secrets(access: &ChannelAccess) -> Vec<&str> {
    let both = [&access.inbound_secret, &access.previous_inbound_secret];
    both.into_iter().flatten().map(|Secret(secret)| secret.as_str()).collect()
}

#[async_trait]
impl Channel for Webhook {
    fn platform(&self) -> Platform {
        Platform::Webhook
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn missing_credentials(&self, _credentials: &Credentials) -> Vec<&'static str> {
        Vec::new()
    }

    fn verify(&self, access: &ChannelAccess, request: &InboundRequest) -> Authenticity {
        let Some(signatures) = request.header("webhook-signature") else { return Authenticity::Unsigned };
        let id = request.header("webhook-id").unwrap_or_default();
        let timestamp = request.header("webhook-timestamp").unwrap_or_default();
        let now = request.received_at.0 / 1000;
        genuine_if(signature::standard_webhook_is_genuine(&secrets(access), id, timestamp, signatures, &request.body, now))
    }

    fn handshake(&self, _access: &ChannelAccess, _request: &InboundRequest) -> Option<Handshake> {
        None
    }

    fn parse(&self, _access: &ChannelAccess, request: &InboundRequest) -> Result<Vec<Inbound>, Unreadable> {
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| Unreadable)?;
        match text(&body, "/type").as_deref() {
            Some("message") => Ok(vec![Inbound::Message(Box::new(said(&body, request)?))]),
            Some("status") => Ok(vec![Inbound::Status(status(&body)?)]),
            Some(_) => Ok(vec![Inbound::Ignored]),
            None => Err(Unreadable),
        }
    }

    fn portions(&self, text: &str, media: &[MediaLink]) -> Vec<Portion> {
        let carries = Carries {
            text_units: LIMITS.text_units,
            files: LIMITS.media_out,
            caption_units: LIMITS.text_units,
            has_caption: |_| true,
        };
        portions(text, media, &carries)
    }

    async fn send(&self, access: &ChannelAccess, message: &Outbound) -> SendOutcome {
        let Some(url) = &access.api_to_send_message else {
            return wire::refused(RefusalKind::Permanent, "The channel has no address to send to");
        };
        let body = body(message).to_string();
        let (id, seconds) = (delivery_id(message), message.now.0 / 1000);
        let signatures = signature::standard_webhooks(&secrets(access), &id, seconds, body.as_bytes());
        if signatures.is_empty() {
            return wire::refused(RefusalKind::Auth, "The channel has no whsec_ secret to sign with");
        }
        let call = post(url)
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signatures)
            .body("application/json", body);
        match wire::call(&*self.egress, call).await {
            Ok(answer) => outcome(message, &answer),
            Err(outcome) => outcome,
        }
    }

    /// The receiver knows a repeat by its `webhook-id`.
    async fn look_up(&self, _access: &ChannelAccess, _message: &Outbound, _taken: &[String]) -> Found {
        Found::RepeatIsHarmless
    }

    async fn typing(&self, _access: &ChannelAccess, _to: &str, _last_received: Option<&str>) {}

    async fn fetch(&self, _access: &ChannelAccess, media: &MediaRef) -> Result<Media, MediaError> {
        media::fetch(&*self.egress, &media.handle, ChosenBy::Other, None).await
    }
}

/// The same in every attempt.
fn delivery_id(message: &Outbound) -> String {
    if message.part == 0 { message.message_id.clone() } else { format!("{}-{}", message.message_id, message.part) }
}

fn body(message: &Outbound) -> Value {
    let attachments: Vec<Value> =
        message.media.iter().map(|link| json!({"url": link.url, "mime_type": link.mime_type, "name": link.name})).collect();
    json!({
        "type": "message",
        "timestamp": iso(message.first_tried_at),
        "data": {
            "message_id": message.message_id,
            "chat_id": message.chat_id,
            "contact": {"id": message.to},
            "text": message.text,
            "attachments": attachments,
        },
    })
}

fn outcome(message: &Outbound, answer: &Answer) -> SendOutcome {
    if answer.is_success() {
        return SendOutcome::Accepted(Box::new(Accepted {
            external_id: id(&wire::json(answer), "/id"),
            status: DeliveryStatus::Sent,
            word: None,
            sent_to: message.to.clone(),
            sent_from: None,
            moved_to: None,
        }));
    }
    // What the target answers is not shown: it may be anything, and from anywhere.
    let refusal = refusal(None, &format!("The receiver answered {}", answer.status));
    match answer.status {
        410 => SendOutcome::Refused(RefusalKind::ChannelGone, refusal),
        // A receiver of our own or somebody else's making: what it refuses today it may take tomorrow.
        400..500 => SendOutcome::Retry { after_ms: wire::retry_after(answer, message.now), refusal },
        _ => by_status(answer, refusal, message.now),
    }
}

fn said(body: &Value, request: &InboundRequest) -> Result<InboundMessage, Unreadable> {
    let contact = id(body, "/contact/id").ok_or(Unreadable)?;
    let written = text(body, "/message/text").ok_or(Unreadable)?;
    let webhook_id = request.header("webhook-id").filter(|id| !id.is_empty()).map(wire::clean);
    let own_id = id(body, "/message/id");
    let external_id = own_id.clone().or_else(|| webhook_id.clone()).ok_or(Unreadable)?;
    let keys = [webhook_id.map(|id| format!("webhook:{id}")), own_id.map(|id| format!("message:{id}"))];
    let media: Vec<_> = items(body, "/message/attachments").iter().filter_map(attachment).take(MAX_ATTACHMENTS).collect();
    let meta = body.get("meta").and_then(Value::as_object).cloned().unwrap_or_default();
    Ok(InboundMessage {
        from: sender(body, contact),
        external_id,
        dedupe: keys.into_iter().flatten().collect(),
        kind: media.first().map_or(MessageKind::Text, |media| media.kind),
        text: written,
        media,
        reply_to: None,
        album: None,
        consent: None,
        acknowledge: None,
        meta: without_nul(meta),
    })
}

fn sender(body: &Value, contact: String) -> Sender {
    let phone = text(body, "/contact/phone").filter(|phone| phone.starts_with('+'));
    let external = Identity { kind: IdentityKind::External, value: contact.clone() };
    let number = phone.clone().map(|value| Identity { kind: IdentityKind::Phone, value });
    let profile_name = text(body, "/contact/name");
    let mut chat_meta =
        Map::from_iter([("platform".to_owned(), json!("webhook")), ("profile_name".to_owned(), json!(profile_name))]);
    if let Some(phone) = phone {
        chat_meta.insert("contact_phone".into(), json!(phone));
    }
    Sender {
        fallback_name: contact.clone(),
        address: contact,
        identities: std::iter::once(external).chain(number).collect(),
        profile_name,
        chat_meta,
    }
}

fn attachment(attachment: &Value) -> Option<MediaRef> {
    let url = text(attachment, "/url")?;
    let mime_type = text(attachment, "/mime_type");
    let kind = MessageKind::of_mime_type(mime_type.as_deref().unwrap_or_default());
    Some(MediaRef { handle: url.clone(), shown: url, mime_type, file_name: text(attachment, "/name"), kind })
}

fn status(body: &Value) -> Result<StatusNews, Unreadable> {
    let message_id = id(body, "/message_id").ok_or(Unreadable)?;
    let word = text(body, "/status").ok_or(Unreadable)?;
    let status = match word.as_str() {
        "sent" => Some(DeliveryStatus::Sent),
        "delivered" => Some(DeliveryStatus::Delivered),
        "read" => Some(DeliveryStatus::Read),
        "failed" => Some(DeliveryStatus::Failed),
        _ => None,
    };
    Ok(StatusNews { external_id: message_id.clone(), message_id: Some(message_id), word, status, refusal: None })
}

/// Keys and texts at any depth: not every database can store U+0000.
fn without_nul(object: Map<String, Value>) -> Map<String, Value> {
    fn cleaned(value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(wire::clean(&text)),
            Value::Array(items) => Value::Array(items.into_iter().map(cleaned).collect()),
            Value::Object(object) => Value::Object(without_nul(object)),
            other => other,
        }
    }
    object.into_iter().map(|(key, value)| (wire::clean(&key), cleaned(value))).collect()
}
