use domain::DeliveryStatus;
use domain::sockets::channel::{
    ConsentChange, Identity, IdentityKind, Inbound, InboundMessage, InboundRequest, MediaRef, MessageKind, Sender, StatusNews,
    Unreadable,
};
use serde_json::{Map, Value, json};

use super::{Kind, bare_address, outbound};
use crate::consent;
use crate::wire::{clean, code, field, form, iso, refusal};

type Form = [(String, String)];

/// Twilio sends at most ten.
const MAX_MEDIA: usize = 10;

/// Fields whose raw text is kept beside what was made of them.
const RAW: [&str; 11] = [
    "ButtonText",
    "ButtonPayload",
    "ListId",
    "ListTitle",
    "Latitude",
    "Longitude",
    "Address",
    "Label",
    "MessageType",
    "OptOutType",
    "ApiVersion",
];

pub(super) fn parse(kind: Kind, request: &InboundRequest) -> Result<Vec<Inbound>, Unreadable> {
    let form = form(&request.body);
    let sid = field(&form, "MessageSid").or_else(|| field(&form, "SmsSid")).ok_or(Unreadable)?;
    // A status callback may carry a body, and a message may have an empty one: only this field tells them apart.
    if form.iter().any(|(name, _)| name == "MessageStatus") {
        return Ok(vec![Inbound::Status(status(sid, &form, request))]);
    }
    let from = field(&form, "From").ok_or(Unreadable)?;
    Ok(vec![Inbound::Message(Box::new(message(kind, sid, from, &form, request)))])
}

fn status(sid: &str, form: &Form, request: &InboundRequest) -> StatusNews {
    let query = crate::wire::form(request.query().as_bytes());
    let word = field(form, "MessageStatus").unwrap_or_default();
    let words = field(form, "ErrorMessage").unwrap_or("Twilio could not deliver the message");
    let error = field(form, "ErrorCode").filter(|number| *number != "0");
    StatusNews {
        external_id: clean(sid),
        message_id: field(&query, "message").map(clean),
        word: clean(word),
        status: status_of(word),
        refusal: error.map(|number| {
            let kind = number.parse().ok().and_then(outbound::refusal_kind);
            (kind.unwrap_or(domain::sockets::channel::RefusalKind::Permanent), refusal(Some(code(number)), words))
        }),
    }
}

pub(super) fn status_of(word: &str) -> Option<DeliveryStatus> {
    Some(match word {
        "accepted" | "scheduled" | "queued" | "sending" => DeliveryStatus::Pending,
        "sent" => DeliveryStatus::Sent,
        "delivered" | "partially_delivered" => DeliveryStatus::Delivered,
        "read" => DeliveryStatus::Read,
        "failed" | "undelivered" | "canceled" => DeliveryStatus::Failed,
        _ => return None,
    })
}

fn message(kind: Kind, sid: &str, from: &str, form: &Form, request: &InboundRequest) -> InboundMessage {
    let media = media(form);
    let text = clean(visible_text(form));
    let message_kind = message_kind(form, &media);
    InboundMessage {
        external_id: clean(sid),
        dedupe: vec![format!("message:{}", clean(sid))],
        reply_to: field(form, "OriginalRepliedMessageSid").map(clean),
        album: None,
        consent: consent(kind, form),
        acknowledge: None,
        meta: meta(sid, form, message_kind, &media, request),
        from: sender(kind, from, form),
        kind: message_kind,
        text,
        media,
    }
}

/// What the contact wrote, or chose, or where it is.
fn visible_text(form: &Form) -> &str {
    let fields = ["Body", "ButtonText", "ListTitle", "Address", "Label"];
    fields.into_iter().find_map(|name| field(form, name)).unwrap_or_default()
}

fn message_kind(form: &Form, media: &[MediaRef]) -> MessageKind {
    let has = |name| field(form, name).is_some();
    match media.first() {
        Some(first) => first.kind,
        None if has("Latitude") && has("Longitude") => MessageKind::Location,
        None if has("ButtonPayload") || has("ButtonText") || has("ListId") => MessageKind::Interactive,
        None => MessageKind::Text,
    }
}

fn media(form: &Form) -> Vec<MediaRef> {
    let count: usize = field(form, "NumMedia").and_then(|number| number.parse().ok()).unwrap_or(0);
    let one = |index: usize| {
        let url = clean(field(form, &format!("MediaUrl{index}"))?);
        let mime_type = field(form, &format!("MediaContentType{index}")).map(clean);
        let kind = MessageKind::of_mime_type(mime_type.as_deref().unwrap_or_default());
        Some(MediaRef { handle: url.clone(), shown: url, mime_type, file_name: None, kind })
    };
    (0..count.min(MAX_MEDIA)).filter_map(one).collect()
}

/// `OptOutType` is Twilio's own reading, and wins over ours.
fn consent(kind: Kind, form: &Form) -> Option<ConsentChange> {
    let body = field(form, "Body").unwrap_or_default();
    match (field(form, "OptOutType"), kind) {
        (Some("STOP"), _) => Some(ConsentChange::OptedOut),
        (Some("START"), _) => Some(ConsentChange::OptedIn),
        (Some(_), _) => None,
        (None, Kind::Sms) => consent::of_sms(body),
        (None, Kind::Whatsapp) => consent::of_whatsapp(body),
    }
}

fn sender(kind: Kind, from: &str, form: &Form) -> Sender {
    let address = clean(bare_address(from));
    let is_phone = address.starts_with('+');
    let identity = |kind, value: &str| Identity { kind, value: clean(value) };
    let own = if is_phone { IdentityKind::Phone } else { IdentityKind::WaBsuid };
    let mut identities: Vec<_> = field(form, "WaId").map(|id| identity(IdentityKind::WaId, id)).into_iter().collect();
    identities.push(identity(own, &address));
    identities.sort_by_key(|identity| identity.kind);
    let profile_name = field(form, "ProfileName").map(clean);
    let mut chat_meta = Map::new();
    if is_phone {
        chat_meta.insert("contact_phone".into(), json!(address));
    }
    chat_meta.insert("platform".into(), json!(kind.platform().as_str().to_lowercase()));
    chat_meta.insert("profile_name".into(), json!(profile_name));
    let fallback_name = match kind {
        Kind::Whatsapp => format!("WhatsApp {address}"),
        Kind::Sms => address.clone(),
    };
    Sender { address, identities, profile_name, fallback_name, chat_meta }
}

fn meta(sid: &str, form: &Form, kind: MessageKind, media: &[MediaRef], request: &InboundRequest) -> Map<String, Value> {
    let text = |name: &str| json!(field(form, name).map(clean));
    let number = |name: &str| json!(field(form, name).map(|value| clean(bare_address(value))));
    let mut meta = Map::from_iter([
        ("twilio_sid".to_owned(), json!(clean(sid))),
        ("from_number".to_owned(), number("From")),
        ("to_number".to_owned(), number("To")),
        ("profile_name".to_owned(), text("ProfileName")),
        ("message_type".to_owned(), json!(kind.as_str())),
        ("media_url".to_owned(), json!(media.first().map(|media| &media.shown))),
        ("twilio_account_sid".to_owned(), text("AccountSid")),
        ("twilio_messaging_service_sid".to_owned(), text("MessagingServiceSid")),
        ("num_segments".to_owned(), text("NumSegments")),
        ("sms_status".to_owned(), text("SmsStatus")),
        ("message_body_raw".to_owned(), json!(field(form, "Body").map(clean).unwrap_or_default())),
        ("webhook_received_at".to_owned(), json!(iso(request.received_at))),
    ]);
    let raw = RAW.into_iter().filter_map(|name| Some((name.to_owned(), json!(clean(field(form, name)?)))));
    let raw = Map::from_iter(raw);
    if !raw.is_empty() {
        meta.insert("twilio".into(), Value::Object(raw));
    }
    meta
}
