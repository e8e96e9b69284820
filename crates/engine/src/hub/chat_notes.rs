//! Notes: what people tell each other about a chat. Nothing here sends, calls an agent, or moves the floor.

use domain::Principal;
use domain::hub::{ChannelId, Chat, ChatId, ChatMessageId, ChatNote, ChatNoteId, HubEventKind, HubId as _, NoteAuthor};
use store::Tx;
use store::hub::chat_notes::{self, NewNote, Page};
use store::hub::{Table, events, messages};

use super::changes::Changes;
use crate::access::hub::Act;
use crate::accounts::fresh;
use crate::{Engine, Error, Refused, Result, access};

/// Which notes of a chat to list: those that stand behind `after` or a later message, and before `before`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotePage {
    pub offset: i64,
    pub limit: i64,
    pub after: Option<ChatMessageId>,
    pub before: Option<ChatMessageId>,
}

/// The notes of chats. They are for people who may see the chat.
impl Engine {
    /// One page, the newest first, and how many there are.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn notes(&self, who: Principal, place: (ChannelId, ChatId), page: NotePage) -> Result<(Vec<ChatNote>, i64)> {
        let read = move |tx: &mut Tx| {
            let (_, chat) = access::hub::chat(tx, who, place, Act::Operate)?;
            let mut mark = |id: Option<ChatMessageId>| match id {
                None => Ok::<_, Error>(None),
                Some(id) => {
                    let message = messages::get(tx, id)?.filter(|message| message.chat == chat.id);
                    Ok(Some(message.ok_or(Refused::NO_MESSAGE)?.place))
                }
            };
            let (after, before) = (mark(page.after)?, mark(page.before)?);
            Ok(chat_notes::list(tx, chat.id, &Page { after, before, offset: page.offset, limit: page.limit })?)
        };
        self.inner.store.read(read).await
    }

    /// Stores a note behind the newest message. `key`: what the client named its request, and a print of it; a repeat is
    /// answered with the note as it is now.
    ///
    /// # Errors
    /// [`Refused`], [`Error::Conflict`], or the database's.
    pub async fn add_note(
        &self,
        who: Principal,
        place: (ChannelId, ChatId),
        content: String,
        key: Option<(String, String)>,
    ) -> Result<ChatNote> {
        let mut changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            changes.hold(tx, place.1)?;
            let (_, chat) = access::hub::chat(tx, who, place, Act::Operate)?;
            // Two people may have chosen the same name.
            let key = key.map(|(key, print)| (format!("{} {key}", who.account().spelled()), print));
            if let Some((key, print)) = &key
                && let Some((note, before)) = chat_notes::by_client_key(tx, chat.id, key)?
            {
                return if before == *print { note.ok_or(Refused::NO_NOTE.into()) } else { Err(Error::Conflict) };
            }
            let id = fresh(tx, Table::ChatNote)?;
            let author = author(who);
            chat_notes::insert(tx, NewNote { id, chat: chat.id, content, author, at: changes.at, client_key: key })?;
            let note = known(tx, &chat, id)?;
            changes.internal(&chat, HubEventKind::NewNote { note: note.clone() });
            changes.end(tx)?;
            Ok(note)
        };
        self.inner.store.write(write).await
    }

    /// Changes what a note says, for who wrote it. What it said before is kept nowhere.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn edit_note(
        &self,
        who: Principal,
        place: (ChannelId, ChatId),
        id: ChatNoteId,
        content: String,
    ) -> Result<ChatNote> {
        let mut changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            changes.hold(tx, place.1)?;
            let (_, chat) = access::hub::chat(tx, who, place, Act::Operate)?;
            let before = known(tx, &chat, id)?;
            if !is_own(who, &before) {
                return Err(Refused::NOT_THE_AUTHOR.into());
            }
            if before.content == content {
                return Ok(before);
            }
            chat_notes::edit(tx, id, &content, changes.at)?;
            events::forget_note(tx, chat.id, id)?;
            let note = known(tx, &chat, id)?;
            changes.internal(&chat, HubEventKind::NoteUpdated { note: note.clone() });
            changes.end(tx)?;
            Ok(note)
        };
        self.inner.store.write(write).await
    }

    /// Removes a note, for who wrote it and for administrators. What it said is kept nowhere.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn delete_note(&self, who: Principal, place: (ChannelId, ChatId), id: ChatNoteId) -> Result<()> {
        let mut changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            changes.hold(tx, place.1)?;
            let (_, chat) = access::hub::chat(tx, who, place, Act::Operate)?;
            let note = known(tx, &chat, id)?;
            if !is_own(who, &note) && !who.is_admin() {
                return Err(Refused::NOT_THE_AUTHOR.into());
            }
            chat_notes::delete(tx, id, changes.at)?;
            events::forget_note(tx, chat.id, id)?;
            changes.internal(&chat, HubEventKind::NoteDeleted { note: id });
            changes.end(tx)
        };
        self.inner.store.write(write).await
    }
}

fn known(tx: &mut Tx, chat: &Chat, id: ChatNoteId) -> Result<ChatNote> {
    chat_notes::get(tx, id)?.filter(|note| note.chat == chat.id).ok_or(Refused::NO_NOTE.into())
}

const fn author(who: Principal) -> NoteAuthor {
    match who {
        Principal::Owner => NoteAuthor::Owner,
        Principal::Account { id, .. } => NoteAuthor::Account(id),
        // Who has no business here has been refused.
        Principal::Agent { .. } => NoteAuthor::Removed,
    }
}

fn is_own(who: Principal, note: &ChatNote) -> bool {
    match (who, note.author) {
        (Principal::Owner, NoteAuthor::Owner) => true,
        (Principal::Account { id, .. }, NoteAuthor::Account(author)) => id == author,
        (Principal::Owner | Principal::Account { .. } | Principal::Agent { .. }, _) => false,
    }
}
