//! What a transaction of the hub has changed, as operators will see it.

use std::sync::Arc;

use domain::Timestamp;
use domain::hub::{AgentId, ChannelId, Chat, ChatId, ChatMessage, ChatView, HubEventKind, SeenBy};
use domain::{AccountId, ConversationId, Home, Principal};
use store::Tx;
use store::hub::events::{self, NewEvent};
use store::hub::{chats, deliveries, notes};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::jobs::Queue;
use crate::{Engine, Result};

/// Collects changes; [`Changes::end`] must be the last thing in the transaction, as nobody else can end one in between.
#[derive(Debug, Clone)]
pub(crate) struct Changes {
    pub(crate) at: Timestamp,
    pub(crate) queue: Queue,
    hint: Arc<Notify>,
    messages: Vec<(ChatMessage, bool)>,
    chats: Vec<ChatId>,
    deleted: Vec<(ChannelId, ChatId, SeenBy)>,
    internal: Vec<NewEvent>,
    engine: Engine,
    runtime: Handle,
}

impl Changes {
    pub(crate) fn of(engine: &Engine) -> Self {
        Self {
            at: engine.inner.clock.now(),
            queue: engine.queue(),
            hint: engine.inner.hub_log.hint(),
            messages: Vec::new(),
            chats: Vec::new(),
            deleted: Vec::new(),
            internal: Vec::new(),
            engine: engine.of(Home::Hub),
            runtime: Handle::current(),
        }
    }

    /// Holds the chat until the transaction ends. What follows happens now: another transaction may have held the chat since
    /// this one was asked for, and the times in a chat are in the order of what happened in it.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn hold(&mut self, tx: &mut Tx, chat: ChatId) -> Result<()> {
        chats::hold(tx, chat)?;
        self.at = self.engine.inner.clock.now();
        Ok(())
    }

    /// Stops the turn of a built-in agent whose answer nobody waits for any more.
    pub(crate) fn stop_turn(&self, tx: &mut Tx, conversation: ConversationId) {
        let (engine, runtime) = (self.engine.clone(), self.runtime.clone());
        tx.after_commit(move || {
            runtime.spawn(async move {
                // It may have ended by itself; what it says is not sent in any case.
                let _ = engine.cancel(Principal::Owner, conversation, None, None).await;
            });
        });
    }

    /// Removes what built-in agents have thought about a chat that is removed.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn forget_turns_of(&self, tx: &mut Tx, chat: ChatId) -> Result<()> {
        for conversation in deliveries::conversations_of(tx, chat)? {
            let (engine, runtime) = (self.engine.clone(), self.runtime.clone());
            tx.after_commit(move || {
                runtime.spawn(async move {
                    let _ = engine.delete_conversation(Principal::Owner, conversation).await;
                });
            });
        }
        Ok(())
    }

    pub(crate) fn message_added(&mut self, message: ChatMessage) {
        self.messages.push((message, true));
    }

    pub(crate) fn message_updated(&mut self, message: ChatMessage) {
        self.messages.push((message, false));
    }

    pub(crate) fn chat_updated(&mut self, chat: ChatId) {
        if !self.chats.contains(&chat) {
            self.chats.push(chat);
        }
    }

    /// Something waits to be sent to its platform.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn send(&self, tx: &mut Tx, chat: ChatId) -> Result<()> {
        super::send::queued(tx, &self.queue, chat, self.at)
    }

    /// # Errors
    /// The database's.
    pub(crate) fn chat_deleted(&mut self, tx: &mut Tx, chat: &Chat) -> Result<()> {
        let seen_by = SeenBy { assigned: chat.assigned, agents: events::linked(tx, chat.id)? };
        self.deleted.push((chat.channel, chat.id, seen_by));
        Ok(())
    }

    /// Something that is for people alone.
    pub(crate) fn internal(&mut self, chat: &Chat, what: HubEventKind) {
        let seen_by = SeenBy { assigned: chat.assigned, agents: Vec::new() };
        self.internal.push(NewEvent { channel: chat.channel, chat: chat.id, seen_by, what });
    }

    /// Stores a line for operators, who see it in the chat's activity.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn note(&self, tx: &mut Tx, chat: ChatId, by: By, kind: &str, text: impl Into<String>) -> Result<()> {
        let (account, agent) = match by {
            By::Nobody => (None, None),
            By::Who(who) => match who {
                Principal::Owner => (None, None),
                Principal::Account { id, .. } => (Some(id), None),
                Principal::Agent { id, .. } => (None, Some(id)),
            },
            By::Agent(id) => (None, Some(id)),
        };
        let line = notes::Activity { at: self.at, kind: kind.to_owned(), text: text.into(), account, agent };
        Ok(notes::add_activity(tx, chat, &line)?)
    }

    /// Stores the events. They go out when the transaction is on disk.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn end(self, tx: &mut Tx) -> Result<()> {
        if self.messages.is_empty() && self.chats.is_empty() && self.deleted.is_empty() && self.internal.is_empty() {
            return Ok(());
        }
        let at = self.at;
        for (message, is_new) in self.messages {
            let Some(chat) = chats::view(tx, message.chat)? else { continue };
            let event = if is_new {
                let (of, seen_by) = place(tx, &chat)?;
                NewEvent {
                    channel: of,
                    chat: message.chat,
                    seen_by,
                    what: HubEventKind::NewMessage { message, chat: chat.into() },
                }
            } else {
                let (of, seen_by) = place(tx, &chat)?;
                NewEvent { channel: of, chat: message.chat, seen_by, what: HubEventKind::MessageUpdated { message } }
            };
            events::append(tx, event, at)?;
        }
        for id in self.chats {
            let Some(chat) = chats::view(tx, id)? else { continue };
            let (channel, seen_by) = place(tx, &chat)?;
            let what = HubEventKind::ChatUpdated { chat: chat.into() };
            events::append(tx, NewEvent { channel, chat: id, seen_by, what }, at)?;
        }
        for (channel, chat, seen_by) in self.deleted {
            events::append(tx, NewEvent { channel, chat, seen_by, what: HubEventKind::ChatDeleted }, at)?;
        }
        for event in self.internal {
            events::append(tx, event, at)?;
        }
        let hint = self.hint;
        tx.after_commit(move || hint.notify_one());
        Ok(())
    }
}

/// Who caused a line of the activity.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    Nobody,
    Who(Principal),
    Agent(AgentId),
}

fn place(tx: &mut Tx, view: &ChatView) -> Result<(ChannelId, SeenBy)> {
    let assigned: Option<AccountId> = view.chat.assigned;
    Ok((view.chat.channel, SeenBy { assigned, agents: events::linked(tx, view.chat.id)? }))
}
