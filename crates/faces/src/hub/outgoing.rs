//! What the engine has, in the contract's words: answers of REST, and frames of the socket.

use bytes::Bytes;
use domain::Timestamp;
use domain::hub::{
    Channel, ChatMessage, ChatNote, ChatView as Chat, HubEvent, HubEventKind, HubId as _, NoteAuthor, Sender, SenderType,
};
use engine::{Permission, window_of};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::wire::{AttachmentView, ChannelView, ChatView, FloorView, MessageView, NewMessage, WarningView, WindowView};
use crate::App;
use crate::kit::time;

/// Characters of a message that lists of chats show.
const PREVIEW_CHARACTERS: usize = 100;

pub(super) fn channel(app: &App, channel: Channel) -> ChannelView {
    let base = app.engine.webhook_base_url(&channel);
    let path = format!("/webhooks/inbound/{}/{}", channel.platform.as_str().to_lowercase(), channel.id);
    ChannelView {
        id: channel.id.spelled(),
        name: channel.name,
        platform: channel.platform.as_str(),
        api_to_send_message: channel.api_to_send_message,
        inbound_url: base.map_or_else(|| path.clone(), |base| format!("{}{path}", base.trim_end_matches('/'))),
        inbound_auth: channel.inbound_auth.as_str(),
        webhook_base_url: channel.webhook_base_url,
        takeover: channel.takeover.as_str(),
        takeover_minutes: channel.takeover_minutes,
        buffer_max_messages: channel.buffer_max_messages,
        send_read_receipts: channel.send_read_receipts,
        window_hours: channel.window_hours,
        health: channel.health.as_str(),
    }
}

pub(super) fn permission(permission: Permission) -> Value {
    json!({
        "user_id": permission.account.spelled(),
        "username": permission.username,
        "channel_id": permission.channel.spelled(),
    })
}

/// `{name: [...], "total_count", "has_more"}`
pub(super) fn page<T: Serialize>(name: &str, items: Vec<T>, offset: i64, total: i64) -> Value {
    let returned = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let mut page = Map::new();
    page.insert(name.to_owned(), json!(items));
    page.insert("total_count".to_owned(), json!(total));
    page.insert("has_more".to_owned(), json!(offset.saturating_add(returned) < total));
    Value::Object(page)
}

pub(super) fn chat(view: &Chat, now: Timestamp) -> ChatView {
    let chat = &view.chat;
    let last_at = chat.last_message.as_ref().map(|last| time::naive(last.at));
    let mut extra = Map::new();
    extra.insert("conversation_started".to_owned(), Value::from(time::with_z(chat.created_at)));
    extra.extend(chat.extra.clone());
    ChatView {
        id: chat.id.spelled(),
        name: chat.name.clone(),
        external_id: chat.external_id.clone(),
        channel_id: chat.channel.spelled(),
        assigned_user_id: chat.assigned.map(|id| id.spelled()),
        last_message_ts: last_at.clone(),
        last_sender_type: chat.last_message.as_ref().map(|last| last.sender.as_str()),
        last_message: chat.last_message.as_ref().map(|last| last.text.clone()),
        meta_data: chat.meta.clone(),
        extra_data: extra,
        channel_name: view.channel_name.clone(),
        contact_id: chat.contact.spelled(),
        customer_name: chat.name.clone(),
        customer_phone: view.phone.clone(),
        unread_count: chat.unread,
        is_assigned: chat.assigned.is_some(),
        assigned_user_name: view.assigned_name.clone(),
        last_message_at: last_at,
        created_at: time::naive(chat.created_at),
        updated_at: time::naive(chat.updated_at),
        floor: FloorView {
            holder: chat.floor.holder.as_str(),
            user_id: chat.floor.account.map(|id| id.spelled()),
            until: chat.floor.until.map(time::naive),
        },
        needs_attention: chat.needs_attention,
        warning: chat.failing_agent.map(|agent| WarningView {
            code: "agent_failing",
            agent_id: agent.spelled(),
            text: format!("{} does not answer", view.failing_agent_name.as_deref().unwrap_or("The agent")),
        }),
        window: window_of(view, now).map(|(open, until)| WindowView { open, until: until.map(time::naive) }),
        opted_out: view.opted_out,
    }
}

pub(super) fn message(message: ChatMessage) -> MessageView {
    let sender_id = sender_id(message.sender);
    let attachments = attachments(&message);
    MessageView {
        id: message.id.spelled(),
        external_id: message.external_id,
        chat_id: message.chat.spelled(),
        content: message.content,
        sender_type: message.sender.kind().as_str(),
        timestamp: time::naive(message.at),
        meta_data: message.meta,
        readed: message.is_read,
        delivery_status: message.status.as_str(),
        sender_id,
        attachments,
        edited_at: message.edited_at.map(time::naive),
    }
}

fn attachments(message: &ChatMessage) -> Vec<AttachmentView> {
    let shown = message.attachments.iter().map(|file| AttachmentView {
        id: file.id.spelled(),
        mime_type: file.mime_type.clone(),
        size: file.size,
        url: file.url.clone(),
        name: file.name.clone(),
        state: file.state.as_str(),
        error: file.error.clone(),
    });
    shown.collect()
}

pub(super) fn note(note: &ChatNote) -> Value {
    let user_id = match note.author {
        NoteAuthor::Account(id) => Some(id.spelled()),
        NoteAuthor::Owner | NoteAuthor::Removed => None,
    };
    json!({
        "id": note.id.spelled(),
        "chat_id": note.chat.spelled(),
        "after_message_id": note.after.map(|id| id.spelled()),
        "content": note.content,
        "user_id": user_id,
        "username": note.author_name,
        "by_owner": note.author == NoteAuthor::Owner,
        "created_at": time::naive(note.created_at),
        "edited_at": note.edited_at.map(time::naive),
    })
}

fn sender_id(sender: Sender) -> Option<String> {
    match sender {
        Sender::Contact => None,
        Sender::User(id) => id.map(|id| id.spelled()),
        Sender::Agent(id) => id.map(|id| id.spelled()),
    }
}

/// The frame of an event, which is the same for all who see it.
pub(crate) fn frame(event: &HubEvent) -> Bytes {
    let (chat_id, channel_id, seq) = (event.chat.spelled(), event.channel.spelled(), event.seq);
    let frame = match &event.what {
        HubEventKind::NewMessage { message, chat } => new_message(event, message, chat),
        HubEventKind::MessageUpdated { message } => json!({
            "type": "message_updated", "chat_id": chat_id, "channel_id": channel_id, "message_id": message.id.spelled(),
            "delivery_status": message.status.as_str(), "external_id": message.external_id, "readed": message.is_read,
            "content": message.content, "metadata": message.meta, "attachments": attachments(message), "seq": seq,
        }),
        HubEventKind::ChatUpdated { chat: view } => json!({
            "type": "chat_updated", "chat_id": chat_id, "channel_id": channel_id, "chat_data": chat(view, event.at), "seq": seq,
        }),
        HubEventKind::ChatDeleted => {
            json!({"type": "chat_deleted", "chat_id": chat_id, "channel_id": channel_id, "seq": seq})
        }
        HubEventKind::NewNote { note: new } => {
            json!({"type": "new_note", "chat_id": chat_id, "channel_id": channel_id, "note": note(new), "seq": seq})
        }
        HubEventKind::NoteUpdated { note: changed } => {
            json!({"type": "note_updated", "chat_id": chat_id, "channel_id": channel_id, "note": note(changed), "seq": seq})
        }
        HubEventKind::NoteDeleted { note } => json!({
            "type": "note_deleted", "chat_id": chat_id, "channel_id": channel_id, "note_id": note.spelled(), "seq": seq,
        }),
    };
    frame.to_string().into()
}

fn new_message(event: &HubEvent, message: &ChatMessage, view: &Chat) -> Value {
    let kind = match message.sender.kind() {
        SenderType::Contact => message.kind.as_deref().unwrap_or("text"),
        SenderType::User => "user",
        SenderType::Agent => "agent",
    };
    json!(NewMessage {
        kind: "new_message",
        chat_id: event.chat.spelled(),
        channel_id: event.channel.spelled(),
        message_id: message.id.spelled(),
        sender_type: message.sender.kind().as_str(),
        timestamp: time::naive(message.at),
        message_type: kind,
        preview: preview(&message.content),
        external_id: message.external_id.as_deref(),
        chat_name: &view.chat.name,
        chat_external_id: &view.chat.external_id,
        content: &message.content,
        contact_name: &view.chat.name,
        channel_name: &view.channel_name,
        unread_count: view.chat.unread,
        is_assigned: view.chat.assigned.is_some(),
        assigned_to: view.chat.assigned.map(|id| id.spelled()),
        metadata: &message.meta,
        sender_id: sender_id(message.sender),
        attachments: attachments(message),
        seq: event.seq,
    })
}

fn preview(content: &str) -> String {
    let mut shown: String = content.chars().take(PREVIEW_CHARACTERS).collect();
    if content.chars().nth(PREVIEW_CHARACTERS).is_some() {
        shown += "...";
    }
    shown
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_preview_is_cut_after_a_hundred_characters() {
        let (hundred, more) = ("é".repeat(100), "é".repeat(101));
        assert_eq!(super::preview(&hundred), hundred);
        assert_eq!(super::preview(&more), hundred + "...");
    }
}
