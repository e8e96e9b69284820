use domain::DeliveryStatus;
use domain::sockets::channel::{
    ChannelAccess, Identity, IdentityKind, Inbound, InboundMessage, InboundRequest, MediaRef, MessageKind, RefusalKind, Sender,
    StatusNews, Unreadable,
};
use serde_json::{Map, Value, json};

use super::outbound;
use crate::consent;
use crate::wire::{code, id, items, refusal, text};

/// One request may hold several entries with several changes each, in no order.
pub(super) fn parse(access: &ChannelAccess, request: &InboundRequest) -> Result<Vec<Inbound>, Unreadable> {
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| Unreadable)?;
    if !body.get("entry").is_some_and(Value::is_array) {
        return Err(Unreadable);
    }
    let changes = items(&body, "/entry").iter().flat_map(|entry| items(entry, "/changes"));
    let values = changes.filter(|change| text(change, "/field").as_deref() == Some("messages"));
    let values = values.filter_map(|change| change.get("value")).filter(|value| is_for(access, value));
    let mut found: Vec<Inbound> = values.flat_map(in_value).collect();
    if found.is_empty() {
        found.push(Inbound::Ignored);
    }
    Ok(found)
}

/// An app may have several numbers, and each is a channel of its own.
fn is_for(access: &ChannelAccess, value: &Value) -> bool {
    let number = id(value, "/metadata/phone_number_id");
    access.credentials.get("phone_number_id").is_none_or(|ours| number.as_deref() == Some(ours))
}

fn in_value(value: &Value) -> Vec<Inbound> {
    let contacts = items(value, "/contacts");
    let messages = items(value, "/messages").iter().filter_map(|message| said(message, contacts));
    let statuses = items(value, "/statuses").iter().filter_map(status);
    messages.map(|message| Inbound::Message(Box::new(message))).chain(statuses.map(Inbound::Status)).collect()
}

fn status(status: &Value) -> Option<StatusNews> {
    let word = text(status, "/status").unwrap_or_default();
    let error = items(status, "/errors").first();
    Some(StatusNews {
        external_id: id(status, "/id")?,
        message_id: None,
        status: match word.as_str() {
            "sent" => Some(DeliveryStatus::Sent),
            "delivered" => Some(DeliveryStatus::Delivered),
            "read" | "played" => Some(DeliveryStatus::Read),
            "failed" => Some(DeliveryStatus::Failed),
            _ => None,
        },
        refusal: error.map(|error| {
            let number = id(error, "/code").unwrap_or_default();
            let kind = number.parse().ok().and_then(outbound::refusal_kind).unwrap_or(RefusalKind::Permanent);
            (kind, refusal(Some(code(&number)), &text(error, "/title").unwrap_or_default()))
        }),
        word,
    })
}

fn said(message: &Value, contacts: &[Value]) -> Option<InboundMessage> {
    let external_id = id(message, "/id")?;
    let kind_word = text(message, "/type").unwrap_or_default();
    let (kind, text_of_it, media) = content(message, &kind_word)?;
    let from = sender(message, contacts)?;
    let mut meta = Map::from_iter([
        ("wamid".to_owned(), json!(external_id)),
        ("message_type".to_owned(), json!(kind_word)),
        ("whatsapp_timestamp".to_owned(), json!(id(message, "/timestamp"))),
        ("profile_name".to_owned(), json!(from.profile_name)),
    ]);
    if let Some(payload) = id(message, "/button/payload").or_else(|| reply(message, "id")) {
        meta.insert("payload".into(), json!(payload));
    }
    Some(InboundMessage {
        dedupe: vec![format!("message:{external_id}")],
        external_id,
        consent: if kind == MessageKind::Text { consent::of_whatsapp(&text_of_it) } else { None },
        kind,
        text: text_of_it,
        media,
        reply_to: id(message, "/context/id"),
        album: None,
        acknowledge: None,
        meta,
        from,
    })
}

/// Kind, visible text and attachments; `None` for what is no message of a contact's.
fn content(message: &Value, kind: &str) -> Option<(MessageKind, String, Vec<MediaRef>)> {
    let of = |pointer: &str| text(message, pointer).unwrap_or_default();
    Some(match kind {
        "text" => (MessageKind::Text, of("/text/body"), Vec::new()),
        "button" => (MessageKind::Interactive, of("/button/text"), Vec::new()),
        "interactive" => (MessageKind::Interactive, reply(message, "title").unwrap_or_default(), Vec::new()),
        "location" => {
            let place = message.get("location")?;
            let name = text(place, "/name").map(|name| format!("{name} ")).unwrap_or_default();
            (MessageKind::Location, format!("{name}{}, {}", place.get("latitude")?, place.get("longitude")?), Vec::new())
        }
        "contacts" => {
            let names = items(message, "/contacts").iter().filter_map(|contact| text(contact, "/name/formatted_name"));
            (MessageKind::Contact, names.collect::<Vec<_>>().join(", "), Vec::new())
        }
        "image" | "audio" | "video" | "document" | "sticker" => {
            let file = message.get(kind)?;
            let media = media(file, kind)?;
            (media.kind, text(file, "/caption").unwrap_or_default(), vec![media])
        }
        _ => return None,
    })
}

/// What was chosen from buttons or a list.
fn reply(message: &Value, field: &str) -> Option<String> {
    ["button_reply", "list_reply"].into_iter().find_map(|kind| id(message, &format!("/interactive/{kind}/{field}")))
}

fn media(file: &Value, kind: &str) -> Option<MediaRef> {
    // An id that is none would lead elsewhere on the platform's host.
    let handle = id(file, "/id").filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
    Some(MediaRef {
        shown: format!("whatsapp:{handle}"),
        mime_type: text(file, "/mime_type"),
        file_name: text(file, "/filename"),
        kind: match kind {
            "image" => MessageKind::Image,
            "audio" => MessageKind::Voice,
            "video" => MessageKind::Video,
            _ => MessageKind::Media,
        },
        handle,
    })
}

/// The phone number may be missing; a user id of the business's own then stands for the contact.
fn sender(message: &Value, contacts: &[Value]) -> Option<Sender> {
    let number = id(message, "/from");
    let user = id(message, "/from_user_id");
    let is_same = |contact: &&Value| {
        let same = |pointer, known: &Option<String>| known.is_some() && id(contact, pointer) == *known;
        same("/wa_id", &number) || same("/user_id", &user)
    };
    let contact = contacts.iter().find(is_same).cloned().unwrap_or_default();
    let wa_id = id(&contact, "/wa_id").or_else(|| number.clone());
    let user = user.or_else(|| id(&contact, "/user_id"));
    let phone = wa_id.as_ref().filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())).map(|id| format!("+{id}"));
    let address = phone.clone().or_else(|| wa_id.clone()).or_else(|| user.clone())?;
    let identity = |kind| move |value: String| Identity { kind, value };
    let identities = [
        user.map(identity(IdentityKind::WaBsuid)),
        wa_id.map(identity(IdentityKind::WaId)),
        phone.clone().map(identity(IdentityKind::Phone)),
    ];
    let profile_name = text(&contact, "/profile/name");
    let mut chat_meta =
        Map::from_iter([("platform".to_owned(), json!("whatsapp")), ("profile_name".to_owned(), json!(profile_name))]);
    if let Some(phone) = phone {
        chat_meta.insert("contact_phone".into(), json!(phone));
    }
    let identities = identities.into_iter().flatten().collect();
    Some(Sender { fallback_name: format!("WhatsApp {address}"), address, identities, profile_name, chat_meta })
}
