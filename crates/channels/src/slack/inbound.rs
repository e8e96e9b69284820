use domain::sockets::channel::{
    Identity, IdentityKind, Inbound, InboundMessage, InboundRequest, MediaRef, MessageKind, Sender, Unreadable,
};
use serde_json::{Map, Value, json};

use super::markup::to_plain;
use crate::wire::{id, items, text};

pub(super) fn parse(request: &InboundRequest) -> Result<Vec<Inbound>, Unreadable> {
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| Unreadable)?;
    match text(&body, "/type").as_deref() {
        Some("event_callback") => Ok(vec![said(&body)?.map_or(Inbound::Ignored, |message| Inbound::Message(Box::new(message)))]),
        Some(_) => Ok(vec![Inbound::Ignored]),
        None => Err(Unreadable),
    }
}

fn said(body: &Value) -> Result<Option<InboundMessage>, Unreadable> {
    let event_id = id(body, "/event_id").ok_or(Unreadable)?;
    let event = body.get("event").ok_or(Unreadable)?;
    if !is_by_a_person(body, event) {
        return Ok(None);
    }
    let (Some(user), Some(channel), Some(ts)) = (id(event, "/user"), id(event, "/channel"), id(event, "/ts")) else {
        return Err(Unreadable);
    };
    let media: Vec<_> = items(event, "/files").iter().filter_map(media).collect();
    let meta = Map::from_iter([
        ("slack_ts".to_owned(), json!(ts)),
        ("slack_thread_ts".to_owned(), json!(id(event, "/thread_ts"))),
        ("slack_user".to_owned(), json!(user)),
        ("slack_team".to_owned(), json!(id(body, "/team_id"))),
    ]);
    Ok(Some(InboundMessage {
        from: sender(event, user, &channel),
        // A mention also comes as a message, with another event id.
        dedupe: vec![format!("event:{event_id}"), format!("message:{channel}:{ts}")],
        external_id: ts,
        kind: media.first().map_or(MessageKind::Text, |media| media.kind),
        text: to_plain(&text(event, "/text").unwrap_or_default()),
        media,
        reply_to: id(event, "/thread_ts"),
        album: None,
        consent: None,
        acknowledge: None,
        meta,
    }))
}

/// Not by a bot, not by ourselves, and no edit, join or other notice.
fn is_by_a_person(body: &Value, event: &Value) -> bool {
    let is_message = matches!(text(event, "/type").as_deref(), Some("message" | "app_mention"));
    let is_plain = text(event, "/subtype").is_none_or(|subtype| subtype == "file_share");
    let user = id(event, "/user");
    let mut ours = items(body, "/authorizations").iter().filter(|one| one.get("is_bot") == Some(&Value::Bool(true)));
    let is_ours = user.is_some() && ours.any(|one| id(one, "/user_id") == user);
    is_message && is_plain && event.get("bot_id").is_none_or(Value::is_null) && !is_ours
}

/// A thread is a chat of its own; in a direct conversation there is one chat.
fn sender(event: &Value, user: String, channel: &str) -> Sender {
    let is_direct = channel.starts_with('D') || text(event, "/channel_type").as_deref() == Some("im");
    let thread = id(event, "/thread_ts").filter(|_| !is_direct);
    let address = thread.map_or_else(|| channel.to_owned(), |thread| format!("{channel}:{thread}"));
    let identity = match is_direct {
        true => Identity { kind: IdentityKind::SlackUser, value: user.clone() },
        // Several people write in a channel, which is one chat.
        false => Identity { kind: IdentityKind::External, value: format!("slack_chat:{address}") },
    };
    let chat_meta = Map::from_iter([("platform".to_owned(), json!("slack")), ("slack_channel".to_owned(), json!(channel))]);
    let fallback_name = if is_direct { user } else { address.clone() };
    Sender { address, identities: vec![identity], profile_name: None, fallback_name, chat_meta }
}

fn media(file: &Value) -> Option<MediaRef> {
    let url = text(file, "/url_private")?;
    let mime_type = text(file, "/mimetype");
    let kind = MessageKind::of_mime_type(mime_type.as_deref().unwrap_or_default());
    Some(MediaRef { handle: url.clone(), shown: url, mime_type, file_name: text(file, "/name"), kind })
}
