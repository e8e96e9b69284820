//! Canned replies: texts that everybody who answers may use, and administrators manage.

use domain::Principal;
use domain::hub::{CannedReply, CannedReplyId};
use store::Tx;
use store::hub::{Table, canned_replies};

use crate::accounts::fresh;
use crate::request_key::{RequestKey, once};
use crate::{Engine, Error, Refused, Result, access};

/// More of them nobody finds anything in.
const MAX_REPLIES: i64 = 500;

/// The values of a canned reply; `None` stays as it is. It need not have a shortcut.
#[derive(Debug, Clone, Default)]
pub struct CannedChange {
    pub title: Option<String>,
    pub shortcut: Option<Option<String>>,
    pub content: Option<String>,
}

impl Engine {
    /// All of them, by title, for people.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn canned_replies(&self, who: Principal) -> Result<Vec<CannedReply>> {
        access::hub::person(who)?;
        Ok(self.inner.store.read(canned_replies::list).await?)
    }

    /// # Errors
    /// [`Refused`], [`Error::Conflict`], or the database's.
    pub async fn create_canned_reply(&self, who: Principal, new: CannedChange, key: Option<RequestKey>) -> Result<CannedReply> {
        access::hub::admin(who)?;
        let now = self.inner.clock.now();
        let write = move |tx: &mut Tx| {
            let id = once(tx, who, key, now, |tx| {
                if canned_replies::count(tx)? >= MAX_REPLIES {
                    return Err(Refused::TOO_MANY_REPLIES.into());
                }
                let id = fresh(tx, Table::CannedReply)?;
                let empty = CannedReply {
                    id,
                    title: String::new(),
                    shortcut: None,
                    content: String::new(),
                    created_at: now,
                    updated_at: now,
                };
                let reply = applied(tx, new, empty)?;
                canned_replies::insert(tx, &reply)?;
                Ok(id)
            })?;
            canned_replies::get(tx, id)?.ok_or(Refused::NO_REPLY.into())
        };
        self.inner.store.write(write).await
    }

    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn change_canned_reply(&self, who: Principal, id: CannedReplyId, change: CannedChange) -> Result<CannedReply> {
        access::hub::admin(who)?;
        let now = self.inner.clock.now();
        let write = move |tx: &mut Tx| {
            let before = canned_replies::get(tx, id)?.ok_or(Refused::NO_REPLY)?;
            let reply = applied(tx, change, CannedReply { updated_at: now, ..before })?;
            canned_replies::update(tx, &reply)?;
            Ok::<_, Error>(reply)
        };
        self.inner.store.write(write).await
    }

    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn delete_canned_reply(&self, who: Principal, id: CannedReplyId) -> Result<()> {
        access::hub::admin(who)?;
        let write = move |tx: &mut Tx| match canned_replies::delete(tx, id)? {
            true => Ok(()),
            false => Err(Refused::NO_REPLY.into()),
        };
        self.inner.store.write(write).await
    }
}

fn applied(tx: &mut Tx, change: CannedChange, before: CannedReply) -> Result<CannedReply> {
    let shortcut = change.shortcut.unwrap_or(before.shortcut);
    if let Some(shortcut) = &shortcut
        && canned_replies::by_shortcut(tx, shortcut)?.is_some_and(|other| other != before.id)
    {
        return Err(Refused::SHORTCUT_TAKEN.into());
    }
    Ok(CannedReply {
        title: change.title.unwrap_or(before.title),
        content: change.content.unwrap_or(before.content),
        shortcut,
        ..before
    })
}
