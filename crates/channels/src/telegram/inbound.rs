use domain::sockets::channel::{
    ConsentChange, Identity, IdentityKind, Inbound, InboundMessage, InboundRequest, MediaRef, MessageKind, Sender, Unreadable,
};
use serde_json::{Map, Value, json};

use crate::wire::{id, items, text};

pub(super) fn parse(request: &InboundRequest) -> Result<Vec<Inbound>, Unreadable> {
    let update: Value = serde_json::from_slice(&request.body).map_err(|_| Unreadable)?;
    let update_id = update.get("update_id").and_then(Value::as_i64).ok_or(Unreadable)?;
    let update_key = format!("update:{update_id}");
    let found = if let Some(message) = update.get("message") {
        said(message, update_key)?
    } else if let Some(message) = update.get("edited_message") {
        edited(message, update_key)?
    } else if let Some(query) = update.get("callback_query") {
        pressed(query, update_key)?
    } else if let Some(change) = update.get("my_chat_member") {
        membership(change, update_key)
    } else {
        None
    };
    Ok(vec![found.unwrap_or(Inbound::Ignored)])
}

fn said(message: &Value, update_key: String) -> Result<Option<Inbound>, Unreadable> {
    let chat = id(message, "/chat/id").ok_or(Unreadable)?;
    let message_id = id(message, "/message_id").ok_or(Unreadable)?;
    let Some(from) = human(message.get("from")) else { return Ok(None) };
    let Some((kind, text, media)) = content(message) else { return Ok(None) };
    let command = command(&text);
    let mut meta = meta(message, from);
    if let Some(("/start", payload)) = command.filter(|(_, payload)| !payload.is_empty()) {
        meta.insert("start".into(), json!(payload));
    }
    Ok(Some(Inbound::Message(Box::new(InboundMessage {
        from: sender(message, from, chat.clone()),
        dedupe: vec![update_key, format!("message:{chat}:{message_id}")],
        external_id: message_id,
        kind,
        media,
        reply_to: id(message, "/reply_to_message/message_id"),
        album: id(message, "/media_group_id"),
        consent: consent(command),
        acknowledge: None,
        meta,
        text,
    }))))
}

fn edited(message: &Value, update_key: String) -> Result<Option<Inbound>, Unreadable> {
    let chat = id(message, "/chat/id").ok_or(Unreadable)?;
    let external_id = id(message, "/message_id").ok_or(Unreadable)?;
    let Some(from) = human(message.get("from")) else { return Ok(None) };
    let Some((_, text, _)) = content(message) else { return Ok(None) };
    Ok(Some(Inbound::Edited { from: sender(message, from, chat), external_id, text, dedupe: vec![update_key] }))
}

/// A button was pressed: its data is what the contact says.
fn pressed(query: &Value, update_key: String) -> Result<Option<Inbound>, Unreadable> {
    let query_id = id(query, "/id").ok_or(Unreadable)?;
    let (Some(from), Some(message)) = (human(query.get("from")), query.get("message")) else { return Ok(None) };
    let Some(chat) = id(message, "/chat/id") else { return Ok(None) };
    let mut meta = meta(message, from);
    meta.insert("telegram_callback_query".into(), json!(query_id));
    Ok(Some(Inbound::Message(Box::new(InboundMessage {
        from: sender(message, from, chat),
        external_id: format!("callback:{query_id}"),
        dedupe: vec![update_key, format!("callback:{query_id}")],
        kind: MessageKind::Interactive,
        text: text(query, "/data").unwrap_or_default(),
        media: Vec::new(),
        reply_to: id(message, "/message_id"),
        album: None,
        consent: None,
        acknowledge: Some(query_id),
        meta,
    }))))
}

/// A person who blocks the bot, or lets it in again. What happens in groups shuts nobody out.
fn membership(change: &Value, update_key: String) -> Option<Inbound> {
    let from = human(change.get("from"))?;
    let chat = id(change, "/chat/id").filter(|_| text(change, "/chat/type").as_deref() == Some("private"))?;
    let change_to = match text(change, "/new_chat_member/status")?.as_str() {
        "kicked" => ConsentChange::OptedOut,
        "member" => ConsentChange::OptedIn,
        _ => return None,
    };
    Some(Inbound::Consent { from: sender(change, from, chat), change: change_to, dedupe: vec![update_key] })
}

fn human(from: Option<&Value>) -> Option<&Value> {
    from.filter(|from| from.get("is_bot") != Some(&Value::Bool(true)) && from.get("id").is_some())
}

/// Kind, text and attachments; `None` for what is no message of a person's, such as "joined the group".
fn content(message: &Value) -> Option<(MessageKind, String, Vec<MediaRef>)> {
    let written = text(message, "/text").or_else(|| text(message, "/caption")).unwrap_or_default();
    if message.get("text").is_some() {
        return Some((MessageKind::Text, written, Vec::new()));
    }
    if let Some(media) = media(message) {
        return Some((media.kind, written, vec![media]));
    }
    if let Some(place) = message.get("location") {
        let title = text(message, "/venue/title").map(|title| format!("{title} ")).unwrap_or_default();
        let text = format!("{title}{}, {}", place.get("latitude")?, place.get("longitude")?);
        return Some((MessageKind::Location, text, Vec::new()));
    }
    let contact = message.get("contact")?;
    let words = ["/first_name", "/last_name", "/phone_number"].into_iter().filter_map(|field| text(contact, field));
    Some((MessageKind::Contact, words.collect::<Vec<_>>().join(" "), Vec::new()))
}

fn media(message: &Value) -> Option<MediaRef> {
    // The largest of the sizes of a photo stands last.
    let photo = items(message, "/photo").last().map(|size| (size, MessageKind::Image, Some("image/jpeg")));
    let others = [
        ("voice", MessageKind::Voice, Some("audio/ogg")),
        ("audio", MessageKind::Voice, None),
        ("video", MessageKind::Video, None),
        ("video_note", MessageKind::Video, Some("video/mp4")),
        ("animation", MessageKind::Video, None),
        ("document", MessageKind::Media, None),
        ("sticker", MessageKind::Media, None),
    ];
    let other = || others.into_iter().find_map(|(name, kind, mime)| Some((message.get(name)?, kind, mime)));
    let (file, kind, mime_type) = photo.or_else(other)?;
    let handle = id(file, "/file_id")?;
    Some(MediaRef {
        // Telegram's files have no address that may be shown: it would hold the bot's token.
        shown: format!("telegram:{handle}"),
        mime_type: text(file, "/mime_type").or(mime_type.map(str::to_owned)),
        file_name: text(file, "/file_name"),
        handle,
        kind,
    })
}

/// `/start@our_bot payload` is `/start` and `payload`.
fn command(text: &str) -> Option<(&str, &str)> {
    let (word, payload) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let name = word.split_once('@').map_or(word, |(name, _)| name);
    name.starts_with('/').then_some((name, payload.trim()))
}

fn consent(command: Option<(&str, &str)>) -> Option<ConsentChange> {
    match command? {
        ("/stop", _) => Some(ConsentChange::OptedOut),
        ("/start", _) => Some(ConsentChange::OptedIn),
        _ => None,
    }
}

fn full_name(person: &Value) -> Option<String> {
    let names = ["/first_name", "/last_name"].into_iter().filter_map(|field| text(person, field));
    Some(names.collect::<Vec<_>>().join(" ")).filter(|name| !name.trim().is_empty())
}

fn sender(holder: &Value, from: &Value, chat: String) -> Sender {
    let is_private = text(holder, "/chat/type").is_none_or(|kind| kind == "private");
    let identity = |kind, value| Identity { kind, value };
    let user = id(from, "/id").map(|value| identity(IdentityKind::TelegramUser, value));
    let name = text(from, "/username").map(|value| identity(IdentityKind::TelegramUsername, value));
    // A group is one chat; who wrote in it stands in the message.
    let identities = match is_private {
        true => user.into_iter().chain(name).collect(),
        false => vec![identity(IdentityKind::External, format!("telegram_chat:{chat}"))],
    };
    let profile_name = if is_private { full_name(from) } else { text(holder, "/chat/title") };
    let chat_meta = Map::from_iter([
        ("platform".to_owned(), json!("telegram")),
        ("profile_name".to_owned(), json!(profile_name)),
        ("username".to_owned(), json!(if is_private { text(from, "/username") } else { text(holder, "/chat/username") })),
    ]);
    Sender { fallback_name: chat.clone(), address: chat, identities, profile_name, chat_meta }
}

fn meta(message: &Value, from: &Value) -> Map<String, Value> {
    Map::from_iter([
        ("telegram_chat_id".to_owned(), json!(id(message, "/chat/id"))),
        ("telegram_message_id".to_owned(), json!(id(message, "/message_id"))),
        ("telegram_date".to_owned(), message.get("date").filter(|date| date.is_i64()).cloned().unwrap_or_default()),
        ("from_id".to_owned(), json!(id(from, "/id"))),
        ("from_name".to_owned(), json!(full_name(from))),
        ("username".to_owned(), json!(text(from, "/username"))),
    ])
}
