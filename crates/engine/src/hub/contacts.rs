//! Persons on platforms: who they are, which of them are the same, and what they do not want to be told.

use domain::Principal;
use domain::hub::{ChannelId, Chat, ChatId, ContactId, Holder, HubId as _};
use domain::sockets::channel::{IdentityKind, Sender as From};
use store::Tx;
use store::hub::contacts::{self, Identity};
use store::hub::outbox::Whose;
use store::hub::{Table, chats};

use super::changes::{By, Changes};
use crate::access::hub::Act;
use crate::accounts::fresh;
use crate::{Engine, Refused, Result, access};

/// A contact, as far as whoever asks may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactView {
    pub id: ContactId,
    pub name: String,
    /// Kind and value.
    pub identities: Vec<(String, String)>,
    pub chats: Vec<ChatId>,
    pub opted_out: Vec<ChannelId>,
    /// Contacts that might be the same person.
    pub conflicts: Vec<ContactId>,
}

/// The hub's contacts.
impl Engine {
    /// The contact, for whoever sees one of its chats; then with those chats only.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn contact(&self, who: Principal, id: ContactId) -> Result<ContactView> {
        self.inner.store.read(move |tx| view(tx, who, id)).await
    }

    /// Makes `other` the same person as `id`.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn merge_contacts(&self, who: Principal, id: ContactId, other: ContactId) -> Result<ContactView> {
        access::hub::admin(who)?;
        let mut changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            for known in [id, other] {
                contacts::name(tx, known)?.ok_or(Refused::NO_CONTACT)?;
            }
            if id != other {
                let moved = contacts::chats(tx, other)?;
                contacts::merge(tx, id, other)?;
                for (_, chat) in moved {
                    changes.note(tx, chat, By::Who(who), "contact_merged", "Two contacts are one person now")?;
                    changes.chat_updated(chat);
                }
            }
            changes.end(tx)?;
            view(tx, who, id)
        };
        self.inner.store.write(write).await
    }

    /// Lets the contact be written to again: on one channel, or on all.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn end_opt_out(
        &self,
        who: Principal,
        id: ContactId,
        channel: Option<ChannelId>,
        reason: String,
    ) -> Result<ContactView> {
        access::hub::admin(who)?;
        let mut changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            contacts::name(tx, id)?.ok_or(Refused::NO_CONTACT)?;
            for of in contacts::opted_out_of(tx, id)?.into_iter().filter(|of| channel.is_none_or(|wanted| wanted == *of)) {
                contacts::opt_in(tx, id, of)?;
                if let Some(chat) = chats::of_contact(tx, of, id)? {
                    changes.note(tx, chat, By::Who(who), "opt_out_ended", format!("May be written to again: {reason}"))?;
                    changes.chat_updated(chat);
                }
                tracing::info!(contact = %id, channel = %of, "an administrator ended an opt-out");
            }
            changes.end(tx)?;
            view(tx, who, id)
        };
        self.inner.store.write(write).await
    }
}

fn view(tx: &mut Tx, who: Principal, id: ContactId) -> Result<ContactView> {
    let mut seen = Vec::new();
    for place in contacts::chats(tx, id)? {
        if access::hub::chat(tx, who, place, Act::Read).is_ok() {
            seen.push(place);
        }
    }
    // Who sees no chat of a contact cannot tell whether there is such a contact.
    if seen.is_empty() && !who.is_admin() {
        return Err(Refused::NO_CONTACT.into());
    }
    let name = contacts::name(tx, id)?.ok_or(Refused::NO_CONTACT)?;
    let opted_out = contacts::opted_out_of(tx, id)?;
    let conflicts = if who.is_admin() { contacts::conflicts(tx, id)? } else { Vec::new() };
    Ok(ContactView {
        id,
        name,
        identities: contacts::identities(tx, id)?,
        opted_out: opted_out.into_iter().filter(|channel| who.is_admin() || seen.iter().any(|(of, _)| of == channel)).collect(),
        chats: seen.into_iter().map(|(_, chat)| chat).collect(),
        conflicts,
    })
}

/// Who wrote: the contact of the strongest identity that is known, which gets all the others, or a new one.
///
/// # Errors
/// The database's.
pub(super) fn of_sender(tx: &mut Tx, changes: &Changes, channel: ChannelId, from: &From) -> Result<ContactId> {
    let mut known: Vec<ContactId> = Vec::new();
    let identities: Vec<Identity> = from
        .identities
        .iter()
        .map(|identity| Identity {
            kind: identity.kind.as_str().to_owned(),
            scope: scope(identity.kind, channel),
            value: identity.value.clone(),
        })
        .collect();
    for identity in &identities {
        known.extend(contacts::of_identity(tx, identity)?);
    }
    let contact = match known.first() {
        Some(strongest) => *strongest,
        None => {
            let id = fresh(tx, Table::Contact)?;
            contacts::insert(tx, id, &name_of(from), changes.at)?;
            id
        }
    };
    for other in known.into_iter().filter(|other| *other != contact) {
        // Two contacts that look like one are told of, and never made one by themselves.
        contacts::note_conflict(tx, contact, other)?;
    }
    for identity in &identities {
        let id = fresh(tx, Table::Identity)?;
        contacts::add_identity(tx, id, contact, identity, changes.at)?;
    }
    Ok(contact)
}

/// What the contact is called.
pub(super) fn name_of(from: &From) -> String {
    let given = from.profile_name.clone().filter(|name| !name.trim().is_empty());
    let fallback = Some(from.fallback_name.clone()).filter(|name| !name.is_empty());
    given.or(fallback).unwrap_or_else(|| from.address.clone())
}

/// What means somebody only within one channel must not be taken for the same elsewhere.
const fn scope(kind: IdentityKind, channel: ChannelId) -> Option<ChannelId> {
    match kind {
        IdentityKind::External | IdentityKind::SlackUser => Some(channel),
        IdentityKind::WaBsuid
        | IdentityKind::WaId
        | IdentityKind::TelegramUser
        | IdentityKind::Phone
        | IdentityKind::TelegramUsername => None,
    }
}

/// Nobody writes to the contact any more on this channel, and what waits is not sent.
///
/// # Errors
/// The database's.
pub(super) fn opted_out(tx: &mut Tx, changes: &mut Changes, chat: &Chat) -> Result<()> {
    contacts::opt_out(tx, chat.contact, chat.channel, changes.at)?;
    for link in store::hub::links::of_chat(tx, chat.id)? {
        super::floor::stop(tx, changes, &link)?;
    }
    super::deliver::withdraw(tx, changes, chat.id, Whose::Everybodys, "opted_out")?;
    changes.note(tx, chat.id, By::Nobody, "opted_out", "The contact wants no more messages")?;
    tracing::info!(contact = %chat.contact.spelled(), channel = %chat.channel, "a contact has opted out");
    changes.chat_updated(chat.id);
    Ok(())
}

/// The contact may be written to again.
///
/// # Errors
/// The database's.
pub(super) fn opted_in(tx: &mut Tx, changes: &mut Changes, chat: &Chat) -> Result<()> {
    if contacts::opt_in(tx, chat.contact, chat.channel)? {
        changes.note(tx, chat.id, By::Nobody, "opted_in", "The contact wants messages again")?;
        changes.chat_updated(chat.id);
    }
    Ok(())
}

/// Whether agents answer at all in this chat now.
pub(super) fn agents_may_answer(chat: &Chat, has_opted_out: bool) -> bool {
    chat.floor.holder != Holder::User && !has_opted_out
}
