//! The one place that answers "may this principal do this here?", asked for every verb and every followed event.

pub(crate) mod hub;
mod rights;
mod rules;

use std::path::{Path, PathBuf};

use domain::{AccountId, Conversation, ConversationId, Home, Principal, Role};
use store::{Tx, conversations};

use crate::audiences::Audience;
use crate::{Engine, Error, Result};

pub(crate) use rights::Rights;
pub(crate) use rules::{changes_rule, decides_rules, runs_rules};

/// The conversation, if it is one of this home's and `who` may see it. What may not be seen does not exist.
///
/// # Errors
/// [`Error::NotFound`].
pub(crate) fn conversation(tx: &mut Tx, who: Principal, home: Home, id: ConversationId) -> Result<Conversation> {
    let found = conversations::get(tx, id)?;
    let seen = found.filter(|conversation| conversation.home == home && sees(who, conversation.owner, home));
    seen.ok_or(Error::NotFound)
}

/// Whether `who` may see what happens in the conversation, here and now.
pub(crate) async fn may_see(engine: &Engine, who: Principal, conversation: ConversationId) -> bool {
    let audience = engine.inner.audiences.of(engine, conversation).await;
    audience.is_some_and(|Audience { owner, home }| home == engine.home && sees(who, owner, home))
}

/// Whether `who` may see projects and the conversations about them: what they show is the owner's to give away.
pub(crate) const fn sees_projects(who: Principal) -> bool {
    who.is_admin()
}

fn sees(who: Principal, owner: AccountId, home: Home) -> bool {
    match (home, who) {
        (Home::Direct, Principal::Owner | Principal::Account { .. }) => owner == who.account(),
        (Home::Direct, Principal::Agent { .. }) => false,
        (Home::Project, _) => sees_projects(who),
        (Home::Hub, _) => who.is_admin(),
    }
}

/// The directory as tools will open it, if it exists, can be read, and is none of ours. A MEMBER chooses among those below
/// the default one: who manages nobody does not choose what of the machine is looked at either.
///
/// # Errors
/// [`Error::BadWorkdir`], the same for every reason, so that nothing can be probed.
pub(crate) async fn workdir(engine: &Engine, who: Principal, path: &Path) -> Result<PathBuf> {
    if !path.is_absolute() {
        return Err(Error::BadWorkdir);
    }
    let path = tokio::fs::canonicalize(path).await.map_err(|_| Error::BadWorkdir)?;
    let settings = &engine.inner.settings;
    let is_ours = settings.data_dir.as_ref().is_some_and(|ours| path.starts_with(ours));
    let may_choose = match who {
        Principal::Owner | Principal::Account { role: Role::Admin, .. } => true,
        Principal::Account { role: Role::Member, .. } => {
            tokio::fs::canonicalize(&settings.workdir).await.is_ok_and(|ours| path.starts_with(ours))
        }
        Principal::Agent { .. } => false,
    };
    if is_ours || !may_choose {
        return Err(Error::BadWorkdir);
    }
    // Opening it for reading is the only honest question; for what is no directory it fails.
    drop(tokio::fs::read_dir(&path).await.map_err(|_| Error::BadWorkdir)?);
    Ok(path)
}
