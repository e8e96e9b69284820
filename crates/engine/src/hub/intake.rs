//! What a platform tells, in one transaction: the key that makes a repeat harmless, the contact, the chat and its agents, the
//! message, the burst that it belongs to, and what operators see of it. Nobody is called before it is stored.

use domain::hub::{Channel, ChannelId, Chat, ChatId, ChatMessage, ChatMessageId, Floor, Holder, Sender};
use domain::sockets::channel::{ChannelAccess, ConsentChange, Inbound, InboundMessage, Sender as From};
use domain::{DeliveryStatus, Timestamp};
use serde_json::{Map, Value};
use store::Tx;
use store::hub::inbound::{self, Known};
use store::hub::messages::Aside;
use store::hub::{Table, agents, channels, chats, contacts as stored_contacts, links, messages};

use super::buffer::{self, Growth};
use super::changes::Changes;
use super::{contacts, deliver, files, say};
use crate::accounts::fresh;
use crate::{Engine, Refused, Result};

/// Messages of one contact in [`FLOOD_MS`] that are still several bursts; more count as one.
const FLOOD: i64 = 20;
const FLOOD_MS: i64 = 10_000;
/// Messages of one contact in an hour that still call agents.
const PER_HOUR: i64 = 600;
const HOUR_MS: i64 = 60 * 60 * 1000;

/// What became of something that a platform told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    Message {
        chat: ChatId,
        message: ChatMessageId,
        kind: String,
        /// It was there already, and nothing has changed.
        duplicate: bool,
    },
    Status {
        message: ChatMessageId,
        external_id: String,
        status: DeliveryStatus,
    },
    /// News about a message that is not known; it is kept for a day.
    UnknownMessage {
        external_id: String,
    },
    /// A word for a status that nobody has heard of.
    UnknownStatus {
        word: String,
    },
    Ignored,
}

/// What comes in.
impl Engine {
    /// The channel and what its connector must know, if it is there and takes part.
    ///
    /// # Errors
    /// The database's.
    pub async fn inbound_channel(&self, id: ChannelId) -> Result<Option<(Channel, ChannelAccess)>> {
        let engine = self.clone();
        let read = move |tx: &mut Tx| {
            let Some(channel) = channels::get(tx, id)? else { return Ok(None) };
            let access = engine.channel_access(tx, &channel)?;
            Ok(Some((channel, access)))
        };
        self.inner.store.read(read).await
    }

    /// Takes in what a platform has told, all of it or nothing. When this returns, it is on disk.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused): the channel is gone; or the database's, and the platform should repeat.
    pub async fn take_in(&self, id: ChannelId, told: Vec<Inbound>) -> Result<Vec<Taken>> {
        let mut changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            let channel = channels::get(tx, id)?.ok_or(Refused::NO_CHANNEL)?;
            let mut taken = Vec::new();
            for told in told {
                taken.push(take_in(tx, &mut changes, &channel, told)?);
            }
            changes.end(tx)?;
            Ok(taken)
        };
        self.inner.store.write(write).await
    }
}

/// Takes in one thing that a platform told of a channel. The caller ends `changes`.
///
/// # Errors
/// The database's; the transaction must then be given up, and the platform will repeat.
pub(super) fn take_in(tx: &mut Tx, changes: &mut Changes, channel: &Channel, told: Inbound) -> Result<Taken> {
    match told {
        Inbound::Message(message) => take_message(tx, changes, channel, *message),
        Inbound::Edited { from, external_id, text, dedupe } => {
            if let Some(known) = known(tx, channel, &dedupe)? {
                return Ok(known);
            }
            take_edit(tx, changes, channel, &from, &external_id, text, &dedupe)
        }
        Inbound::Status(news) => deliver::take_status(tx, changes, channel, news),
        Inbound::Consent { from, change, dedupe } => {
            if let Some(known) = known(tx, channel, &dedupe)? {
                return Ok(known);
            }
            take_consent(tx, changes, channel, &from, change, &dedupe)
        }
        Inbound::Ignored => Ok(Taken::Ignored),
    }
}

fn take_message(tx: &mut Tx, changes: &mut Changes, channel: &Channel, mut told: InboundMessage) -> Result<Taken> {
    if let Some(known) = known(tx, channel, &told.dedupe)? {
        return Ok(known);
    }
    let chat = chat_of(tx, changes, channel, &told.from)?;
    let place = chats::next_place(tx, chat.id)?.ok_or(Refused::NO_CHAT)?;
    let mut meta = told.meta.clone();
    let in_hour = chats::count_in_hour(tx, chat.id, changes.at.0 / HOUR_MS)?;
    if in_hour > PER_HOUR {
        meta.insert("throttled".to_owned(), Value::Bool(true));
    }
    let mut message = ChatMessage {
        id: fresh(tx, Table::ChatMessage)?,
        chat: chat.id,
        place,
        external_id: Some(told.external_id.clone()),
        content: told.content(),
        sender: Sender::Contact,
        at: changes.at,
        meta,
        is_read: false,
        status: DeliveryStatus::Sent,
        attachments: Vec::new(),
        edited_at: None,
        kind: Some(told.kind.as_str().to_owned()),
    };
    let remembered = Known { message: Some((chat.id, message.id)), kind: told.kind.as_str().to_owned() };
    if !remember(tx, channel, &told.dedupe, &remembered, changes.at)? {
        // Somebody was faster between the look and this: their answer is the first one.
        return known(tx, channel, &told.dedupe)?.ok_or_else(|| crate::Error::Internal("an inbound key has vanished".to_owned()));
    }
    message.attachments = files::expect(tx, changes, channel.id, (chat.id, message.id), std::mem::take(&mut told.media))?;
    messages::insert(tx, channel.id, &message, Aside::default())?;
    say::set_last(tx, &message)?;
    chats::contact_wrote(tx, chat.id, changes.at)?;
    match told.consent {
        Some(ConsentChange::OptedOut) => contacts::opted_out(tx, changes, &chat)?,
        Some(ConsentChange::OptedIn) => contacts::opted_in(tx, changes, &chat)?,
        None => {}
    }
    let has_opted_out = stored_contacts::has_opted_out(tx, chat.contact, channel.id)?;
    let calls_agents = told.consent.is_none() && in_hour <= PER_HOUR;
    if calls_agents && contacts::agents_may_answer(&chat, has_opted_out) {
        let recent = messages::from_contact_since(tx, chat.id, Timestamp(changes.at.0 - FLOOD_MS), FLOOD + 1)?;
        // In a flood a burst does not end because it is full: all of it counts as one.
        let max = if recent > FLOOD { i64::MAX } else { channel.buffer_max_messages };
        buffer::grow(tx, changes, chat.id, Growth::of(&told.text, told.album.is_some()), max)?;
    }
    let taken = Taken::Message { chat: chat.id, message: message.id, kind: remembered.kind, duplicate: false };
    changes.message_added(message);
    Ok(taken)
}

fn take_edit(
    tx: &mut Tx,
    changes: &mut Changes,
    channel: &Channel,
    from: &From,
    external_id: &str,
    text: String,
    dedupe: &[String],
) -> Result<Taken> {
    let chat = chat_of(tx, changes, channel, from)?;
    let found = messages::by_external_id(tx, channel.id, external_id, Some(chat.id))?;
    let Some(mut message) = found.filter(|found| found.sender == Sender::Contact) else { return Ok(Taken::Ignored) };
    let known = Known { message: Some((chat.id, message.id)), kind: message.kind.clone().unwrap_or_default() };
    if !remember(tx, channel, dedupe, &known, changes.at)? {
        return Ok(Taken::Ignored);
    }
    // If the burst still grows, it reads the new text when it ends.
    // Files stand in the first lines, and are as they were.
    let lines = message.content.lines().take(message.attachments.len());
    message.content = lines.chain((!text.is_empty()).then_some(text.as_str())).collect::<Vec<_>>().join("\n");
    message.edited_at = Some(changes.at);
    messages::update(tx, &message)?;
    if chats::get(tx, chat.id)?.and_then(|chat| chat.last_message).is_some_and(|last| last.at == message.at) {
        say::set_last(tx, &message)?;
    }
    let taken = Taken::Message { chat: chat.id, message: message.id, kind: known.kind, duplicate: false };
    changes.message_updated(message);
    changes.chat_updated(chat.id);
    Ok(taken)
}

fn take_consent(
    tx: &mut Tx,
    changes: &mut Changes,
    channel: &Channel,
    from: &From,
    change: ConsentChange,
    dedupe: &[String],
) -> Result<Taken> {
    let contact = contacts::of_sender(tx, changes, channel.id, from)?;
    if !remember(tx, channel, dedupe, &Known { message: None, kind: "consent".to_owned() }, changes.at)? {
        return Ok(Taken::Ignored);
    }
    // Without a chat there is nothing that could be sent, and nobody to tell.
    let Some(chat) = chats::of_contact(tx, channel.id, contact)? else { return Ok(Taken::Ignored) };
    chats::hold(tx, chat)?;
    let Some(chat) = chats::get(tx, chat)? else { return Ok(Taken::Ignored) };
    match change {
        ConsentChange::OptedOut => contacts::opted_out(tx, changes, &chat)?,
        ConsentChange::OptedIn => contacts::opted_in(tx, changes, &chat)?,
    }
    Ok(Taken::Ignored)
}

/// What was answered to the first of these keys that is known.
fn known(tx: &mut Tx, channel: &Channel, keys: &[String]) -> Result<Option<Taken>> {
    for key in keys {
        let Some(known) = inbound::get(tx, channel.id, key)? else { continue };
        return Ok(Some(match known.message {
            Some((chat, message)) => Taken::Message { chat, message, kind: known.kind, duplicate: true },
            None => Taken::Ignored,
        }));
    }
    Ok(None)
}

fn remember(tx: &mut Tx, channel: &Channel, keys: &[String], known: &Known, at: Timestamp) -> Result<bool> {
    for key in keys {
        if !inbound::insert(tx, channel.id, key, known, at)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The contact's chat on this channel, held; made now, with its agents, if there is none.
fn chat_of(tx: &mut Tx, changes: &mut Changes, channel: &Channel, from: &From) -> Result<Chat> {
    let contact = contacts::of_sender(tx, changes, channel.id, from)?;
    if let Some(id) = chats::of_contact(tx, channel.id, contact)? {
        chats::hold(tx, id)?;
        let chat = chats::get(tx, id)?.ok_or(Refused::NO_CHAT)?;
        return follow_contact(tx, changes, chat, from);
    }
    let chat = Chat {
        id: fresh(tx, Table::Chat)?,
        channel: channel.id,
        contact,
        external_id: from.address.clone(),
        name: contacts::name_of(from),
        assigned: None,
        last_message: None,
        meta: from.chat_meta.clone(),
        extra: Map::new(),
        unread: 0,
        floor: Floor { holder: Holder::None, account: None, until: None },
        needs_attention: false,
        failing_agent: None,
        contact_wrote_at: None,
        archived_at: None,
        created_at: changes.at,
        updated_at: changes.at,
    };
    chats::insert(tx, &chat)?;
    activate(tx, channel, &chat)?;
    if !links::awake(tx, chat.id)?.is_empty() {
        chats::set_floor(tx, chat.id, &Floor { holder: Holder::Agent, account: None, until: None }, changes.at)?;
    }
    chats::get(tx, chat.id)?.ok_or(Refused::NO_CHAT.into())
}

/// Links every agent that new chats of this channel are for.
fn activate(tx: &mut Tx, channel: &Channel, chat: &Chat) -> Result<()> {
    for agent in agents::list(tx, true)? {
        let is_reachable = agent.webhook_url.is_some() || agent.kind == domain::hub::AgentKind::Builtin;
        let is_allowed = agent.channels.as_ref().is_none_or(|allowed| allowed.contains(&channel.id));
        if agent.activate_for_new_conversation && is_reachable && is_allowed {
            super::chats::link(tx, chat.id, agent.id, true)?;
        }
    }
    Ok(())
}

/// What the platform calls the contact may have changed, and where to write to.
fn follow_contact(tx: &mut Tx, changes: &mut Changes, chat: Chat, from: &From) -> Result<Chat> {
    let name = from.profile_name.clone().filter(|name| !name.trim().is_empty()).unwrap_or_else(|| chat.name.clone());
    let meta = if from.chat_meta.is_empty() { chat.meta.clone() } else { from.chat_meta.clone() };
    if name == chat.name && from.address == chat.external_id && meta == chat.meta {
        return Ok(chat);
    }
    chats::set_contact(tx, chat.id, &name, &from.address, &meta)?;
    if name != chat.name {
        stored_contacts::rename(tx, chat.contact, &name)?;
        changes.chat_updated(chat.id);
    }
    Ok(Chat { name, external_id: from.address.clone(), meta, ..chat })
}
