//! The one place that answers "may this principal do this here?", asked for every verb and every followed event.

use std::path::{Path, PathBuf};

use domain::{Conversation, ConversationId, Principal};
use store::{Tx, conversations};

use crate::{Engine, Error, Result};

/// The conversation, if `who` may see it. What may not be seen does not exist.
///
/// # Errors
/// [`Error::NotFound`].
pub(crate) fn conversation(tx: &mut Tx, who: Principal, id: ConversationId) -> Result<Conversation> {
    conversations::get(tx, id)?.filter(|conversation| conversation.owner == who.account()).ok_or(Error::NotFound)
}

/// Whether `who` may see what happens in the conversation. The owner may see all there is; accounts are not there yet.
pub(crate) const fn may_see(_engine: &Engine, who: Principal, _conversation: ConversationId) -> bool {
    match who {
        Principal::Owner => true,
    }
}

/// The directory as tools will open it, if it exists, can be read, and is none of ours.
///
/// # Errors
/// [`Error::BadWorkdir`], the same for every reason, so that nothing can be probed.
pub(crate) async fn workdir(engine: &Engine, who: Principal, path: &Path) -> Result<PathBuf> {
    match who {
        Principal::Owner => {}
    }
    if !path.is_absolute() {
        return Err(Error::BadWorkdir);
    }
    let path = tokio::fs::canonicalize(path).await.map_err(|_| Error::BadWorkdir)?;
    let data_dir = engine.inner.settings.data_dir.as_ref();
    if data_dir.is_some_and(|ours| path.starts_with(ours)) {
        return Err(Error::BadWorkdir);
    }
    // Opening it for reading is the only honest question; for what is no directory it fails.
    drop(tokio::fs::read_dir(&path).await.map_err(|_| Error::BadWorkdir)?);
    Ok(path)
}
