//! What is said to a contact: checked, stored and queued in one transaction, and answered at once. A platform's failure shows
//! in the message later on; it never fails the call.

use domain::egress::ChosenBy;
use domain::hub::{
    AgentDelivery, AgentId, AgentScope, Channel, ChannelId, Chat, ChatId, ChatMessage, ChatMessageId, ChatView, DeliveryId,
    DeliveryState, Holder, LastMessage, Sender, Takeover,
};
use domain::sockets::agent::AgentReply;
use domain::sockets::channel::{MediaLink, MessageKind, Portion};
use domain::{DeliveryStatus, Principal, Timestamp};
use serde_json::{Map, Value};
use store::Tx;
use store::hub::messages::{Aside, Page};
use store::hub::notes::{self, Draft};
use store::hub::{Table, chats, deliveries, links, messages, outbox};

use super::changes::Changes;
use super::{call, files, floor, window};
use crate::access::hub::Act;
use crate::accounts::fresh;
use crate::{Engine, Error, Refused, Result, access};

/// How long drafts are shown.
pub(super) const DRAFTS_MS: i64 = 24 * 60 * 60 * 1000;
/// Characters of the newest message that lists show.
const LAST_CHARACTERS: usize = 500;
/// What the platform's answer adds to a message's `meta_data`; a repeated request is answered as the first time, without.
const PLATFORM: &str = "platform_";

/// A message that is to be sent to a contact.
#[derive(Debug, Clone, Default)]
pub struct ChatPost {
    pub content: String,
    pub meta: Map<String, Value>,
    /// Files that the platform fetches.
    pub media: Vec<MediaLink>,
    /// The agent's call that it answers, if it says so.
    pub delivery: Option<DeliveryId>,
    /// What the client named its request, and SHA-256 of it.
    pub key: Option<(String, String)>,
}

/// The messages of chats.
impl Engine {
    /// One page, the newest first, and how many there are.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn chat_messages(
        &self,
        who: Principal,
        place: (ChannelId, ChatId),
        page: MessagePage,
    ) -> Result<(Vec<ChatMessage>, i64)> {
        let read = move |tx: &mut Tx| {
            let (_, chat) = access::hub::chat(tx, who, place, Act::Read)?;
            let mut mark = |id: Option<ChatMessageId>| match id {
                None => Ok::<_, Error>(None),
                Some(id) => {
                    let message = messages::get(tx, id)?.filter(|message| message.chat == chat.id);
                    Ok(Some(message.ok_or(Refused::NO_MESSAGE)?.place))
                }
            };
            let (before, after) = (mark(page.before)?, mark(page.after)?);
            Ok(messages::list(tx, chat.id, &Page { offset: page.offset, limit: page.limit, after, before })?)
        };
        self.inner.store.read(read).await
    }

    /// Stores a message and queues it. A person who writes takes the floor, an agent must have it.
    ///
    /// # Errors
    /// [`Refused`], [`Error::Conflict`], [`Error::InvalidValue`], or the database's. Nothing is sent then.
    pub async fn say(&self, who: Principal, place: (ChannelId, ChatId), post: ChatPost) -> Result<ChatMessage> {
        for link in &post.media {
            if self.outside().egress.check(&link.url, ChosenBy::Other).await.is_err() {
                return Err(Error::InvalidValue { field: "attachments", reason: "address not allowed" });
            }
        }
        let (changes, engine) = (Changes::of(self), self.clone());
        let said = self.inner.store.write(move |tx| say(tx, &engine, changes, who, place, post)).await?;
        match said {
            Said::Message(message) => Ok(*message),
            Said::Draft => Err(Refused::TAKEN_OVER.into()),
        }
    }

    /// As [`Self::say`], for an agent that knows the chat alone.
    ///
    /// # Errors
    /// As [`Self::say`].
    pub async fn say_in_chat(&self, who: Principal, chat: ChatId, post: ChatPost) -> Result<ChatMessage> {
        match who {
            Principal::Agent { .. } => {}
            Principal::Owner | Principal::Account { .. } => return Err(Refused::NEEDS_ADMIN_OR_AGENT.into()),
        }
        let found = self.inner.store.read(move |tx| chats::get(tx, chat)).await?;
        let may_know = matches!(who, Principal::Agent { scope: AgentScope::All, .. });
        let refused = if may_know { Refused::NO_CHAT } else { Refused::NO_PERMISSION };
        let channel = found.ok_or(refused)?.channel;
        self.say(who, (channel, chat), post).await
    }

    /// Sends a failed message once more, as the same message.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn resend(&self, who: Principal, place: (ChannelId, ChatId), id: ChatMessageId) -> Result<ChatMessage> {
        let mut changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            changes.hold(tx, place.1)?;
            let (_, chat) = access::hub::chat(tx, who, place, Act::Send)?;
            let message = messages::get(tx, id)?.filter(|message| message.chat == chat.id);
            let mut message = message.ok_or(Refused::NO_MESSAGE)?;
            if let Principal::Agent { id, .. } = who {
                may_speak(tx, &chat, id)?;
            }
            if message.status != DeliveryStatus::Failed {
                return Err(Refused::NOT_FAILED.into());
            }
            let view = floor::seen(tx, chat.id)?;
            may_send(&view, &message.meta, changes.at)?;
            message.status = DeliveryStatus::Pending;
            messages::update(tx, &message)?;
            outbox::requeue(tx, id, changes.at)?;
            changes.message_updated(message.clone());
            changes.send(tx, chat.id)?;
            changes.end(tx)?;
            Ok(message)
        };
        self.inner.store.write(write).await
    }

    /// What agents would have said while a person had the floor, the newest first.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn drafts(&self, who: Principal, place: (ChannelId, ChatId)) -> Result<Vec<Draft>> {
        let since = Timestamp(self.inner.clock.now().0 - DRAFTS_MS);
        let read = move |tx: &mut Tx| {
            let (_, chat) = access::hub::chat(tx, who, place, Act::Operate)?;
            Ok(notes::drafts(tx, chat.id, since)?)
        };
        self.inner.store.read(read).await
    }
}

/// Which messages to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct MessagePage {
    pub offset: i64,
    pub limit: i64,
    pub before: Option<ChatMessageId>,
    pub after: Option<ChatMessageId>,
}

enum Said {
    Message(Box<ChatMessage>),
    /// A person has the floor: the text is kept for people, and not sent.
    Draft,
}

fn say(
    tx: &mut Tx,
    engine: &Engine,
    mut changes: Changes,
    who: Principal,
    place: (ChannelId, ChatId),
    post: ChatPost,
) -> Result<Said> {
    changes.hold(tx, place.1)?;
    let (channel, chat) = access::hub::chat(tx, who, place, Act::Send)?;
    if let Some((key, print)) = &post.key
        && let Some((message, before)) = messages::by_client_key(tx, chat.id, key)?
    {
        return if before == *print { Ok(Said::Message(as_first_answered(message).into())) } else { Err(Error::Conflict) };
    }
    let view = floor::seen(tx, chat.id)?;
    may_send(&view, &post.meta, changes.at)?;
    let message = match who {
        Principal::Agent { id, .. } => {
            let Some(delivery) = may_answer(tx, &changes, &chat, id, &post)? else {
                let draft = Draft {
                    id: fresh(tx, Table::Draft)?,
                    chat: chat.id,
                    agent: id,
                    content: post.content,
                    created_at: changes.at,
                };
                notes::add_draft(tx, &draft)?;
                return Ok(Said::Draft);
            };
            let said = AgentReply { content: post.content, meta: post.meta, media: post.media };
            let aside = Aside { client_key: post.key, delivery: delivery.as_ref().map(|delivery| delivery.id) };
            if let Some(delivery) = delivery {
                call::replied(tx, &changes, delivery)?;
            }
            queue(tx, engine, &mut changes, (&channel, &chat), Sender::Agent(Some(id)), said, aside)?
        }
        Principal::Owner | Principal::Account { .. } => {
            let sender = match who {
                Principal::Account { id, .. } => Sender::User(Some(id)),
                Principal::Owner | Principal::Agent { .. } => Sender::User(None),
            };
            let aside = Aside { client_key: post.key, delivery: None };
            let said = AgentReply { content: post.content, meta: post.meta, media: post.media };
            let message = queue(tx, engine, &mut changes, (&channel, &chat), sender, said, aside)?;
            operator_wrote(tx, &mut changes, &channel, &chat, who, message.place)?;
            message
        }
    };
    changes.end(tx)?;
    Ok(Said::Message(message.into()))
}

/// What everybody's messages must obey.
fn may_send(view: &ChatView, meta: &Map<String, Value>, now: Timestamp) -> Result<()> {
    if view.opted_out {
        return Err(Refused::OPTED_OUT.into());
    }
    let is_open = window::of(view, now).is_none_or(|(is_open, _)| is_open);
    if is_open || meta.get("template").is_some_and(Value::is_object) { Ok(()) } else { Err(Refused::WINDOW_CLOSED.into()) }
}

/// The delivery that an agent's message answers, if there is one. `None`: a person has the floor.
fn may_answer(
    tx: &mut Tx,
    changes: &Changes,
    chat: &Chat,
    agent: AgentId,
    post: &ChatPost,
) -> Result<Option<Option<AgentDelivery>>> {
    match may_speak(tx, chat, agent) {
        Err(Error::Refused(Refused::TAKEN_OVER)) => return Ok(None),
        other => other?,
    }
    let delivery = match post.delivery {
        Some(id) => {
            let named = deliveries::get(tx, id)?.filter(|named| named.chat == chat.id && named.agent == agent);
            Some(named.ok_or(Refused::SUPERSEDED)?)
        }
        None => deliveries::newest(tx, chat.id, agent)?,
    };
    let Some(delivery) = delivery else { return Ok(Some(None)) };
    if matches!(delivery.state, DeliveryState::Superseded | DeliveryState::Cancelled) {
        let patience = call::patience(tx, &delivery)?;
        let is_recent = delivery.ended_at.is_some_and(|at| changes.at.0 - at.0 < patience);
        if is_recent || post.delivery.is_some() {
            return Err(Refused::SUPERSEDED.into());
        }
    }
    Ok(Some(Some(delivery)))
}

/// Neither is the agent muted on the chat, nor does a person hold the floor.
fn may_speak(tx: &mut Tx, chat: &Chat, agent: AgentId) -> Result<()> {
    if links::get(tx, chat.id, agent)?.is_some_and(|link| !link.active) {
        return Err(Refused::MUTED.into());
    }
    if chat.floor.holder == Holder::User { Err(Refused::TAKEN_OVER.into()) } else { Ok(()) }
}

/// A reply in the answer to an agent's call. `false`: it may not be sent, and is not.
///
/// # Errors
/// The database's.
pub(super) fn reply(
    tx: &mut Tx,
    engine: &Engine,
    changes: &mut Changes,
    delivery: &AgentDelivery,
    reply: AgentReply,
) -> Result<bool> {
    let Some(chat) = chats::get(tx, delivery.chat)? else { return Ok(false) };
    let Some(channel) = store::hub::channels::get(tx, chat.channel)? else { return Ok(false) };
    let view = floor::seen(tx, chat.id)?;
    if chat.floor.holder == Holder::User || may_send(&view, &reply.meta, changes.at).is_err() {
        return Ok(false);
    }
    let aside = Aside { client_key: None, delivery: Some(delivery.id) };
    queue(tx, engine, changes, (&channel, &chat), Sender::Agent(Some(delivery.agent)), reply, aside)?;
    Ok(true)
}

/// Stores the message and its way out.
fn queue(
    tx: &mut Tx,
    engine: &Engine,
    changes: &mut Changes,
    (channel, chat): (&Channel, &Chat),
    sender: Sender,
    AgentReply { content, meta, media }: AgentReply,
    aside: Aside,
) -> Result<ChatMessage> {
    let place = chats::next_place(tx, chat.id)?.ok_or(Refused::NO_CHAT)?;
    let message = ChatMessage {
        id: fresh(tx, Table::ChatMessage)?,
        chat: chat.id,
        place,
        external_id: None,
        content: shown(&content, &media),
        sender,
        at: changes.at,
        meta,
        is_read: false,
        status: DeliveryStatus::Pending,
        attachments: files::linked(tx, &media)?,
        edited_at: None,
        kind: None,
    };
    messages::insert(tx, channel.id, &message, aside)?;
    set_last(tx, &message)?;
    let portions = match engine.outside().channel(channel.platform) {
        // A template is sent whole: the platform knows its text.
        Some(connector) if !message.meta.contains_key("template") => connector.portions(&content, &media),
        Some(_) | None => vec![Portion { text: content, media }],
    };
    outbox::queue(tx, message.id, (channel.id, chat.id, place), &portions, changes.at)?;
    changes.send(tx, chat.id)?;
    changes.message_added(message.clone());
    Ok(message)
}

/// The message as operators see it: files first, a line for each, as in a contact's messages.
fn shown(content: &str, media: &[MediaLink]) -> String {
    let lines = media.iter().map(|link| MessageKind::of_mime_type(&link.mime_type).media_line(&link.url));
    lines.chain((!content.is_empty()).then(|| content.to_owned())).collect::<Vec<_>>().join("\n")
}

/// The chat's newest message, as lists show it.
///
/// # Errors
/// The database's.
pub(super) fn set_last(tx: &mut Tx, message: &ChatMessage) -> Result<()> {
    let text = message.content.chars().take(LAST_CHARACTERS).collect();
    Ok(chats::set_last(tx, message.chat, &LastMessage { at: message.at, sender: message.sender.kind(), text })?)
}

/// A person has answered: everything up to now is read, nothing needs attention, and the floor is theirs.
fn operator_wrote(tx: &mut Tx, changes: &mut Changes, channel: &Channel, chat: &Chat, who: Principal, place: i64) -> Result<()> {
    let unread = messages::mark_read(tx, chat.id, place)?;
    if unread != chat.unread || chat.needs_attention {
        chats::set_unread(tx, chat.id, unread)?;
        chats::set_attention(tx, chat.id, false)?;
        changes.chat_updated(chat.id);
    }
    let has_agent = chat.floor.holder == Holder::User || !links::awake(tx, chat.id)?.is_empty();
    if channel.takeover == Takeover::Auto && has_agent {
        floor::take(tx, changes, chat, who, channel.takeover_minutes)?;
    }
    Ok(())
}

/// What was answered when the message was new.
fn as_first_answered(message: ChatMessage) -> ChatMessage {
    let meta = message.meta.into_iter().filter(|(name, _)| !name.starts_with(PLATFORM)).collect();
    ChatMessage { meta, status: DeliveryStatus::Pending, external_id: None, is_read: false, ..message }
}
