use domain::{Conversation, ConversationId, EventKind, Principal};
use store::conversations;
use store::events::Fence;

use super::{Change, later};
use crate::events::Append;
use crate::{Engine, Error, Result, access};

pub(crate) async fn change(engine: &Engine, who: Principal, id: ConversationId, change: Change) -> Result<Conversation> {
    let change = check(engine, who, id, change).await?;
    let (append, home) = (Append::to(engine, id, Fence::Open), engine.home);
    engine
        .inner
        .store
        .write(move |tx| {
            let before = access::conversation(tx, who, home, id)?;
            let mut after = apply(&before, change);
            if after == before {
                return Ok(before);
            }
            if after.title != before.title {
                let title = after.title.clone();
                append.event(tx, None, |_| EventKind::ConversationRenamed { title })?;
                after.updated_at = later(before.updated_at, append.at());
            }
            if (&after.model, after.mode, &after.workdir) != (&before.model, before.mode, &before.workdir) {
                append.event(tx, None, |_| EventKind::ConversationChanged)?;
            }
            conversations::update(tx, &after)?;
            Ok::<_, Error>(after)
        })
        .await
}

/// The change with everything in it checked. Whether the conversation may be seen is asked first, so that nobody learns
/// more than that.
async fn check(engine: &Engine, who: Principal, id: ConversationId, mut change: Change) -> Result<Change> {
    super::get(engine, who, id).await?;
    if change.title.as_ref().is_some_and(|title| title.contains('\0')) {
        return Err(Error::InvalidText);
    }
    if let Some(model) = &change.model {
        engine.catalogue().model(model)?;
    }
    if let Some(path) = change.workdir.take() {
        change.workdir = Some(access::workdir(engine, who, &path).await?);
    }
    Ok(change)
}

fn apply(before: &Conversation, change: Change) -> Conversation {
    let mut after = before.clone();
    let Change { title, model, mode, workdir } = change;
    after.title = title.unwrap_or(after.title);
    after.model = model.unwrap_or(after.model);
    after.mode = mode.unwrap_or(after.mode);
    after.workdir = workdir.unwrap_or(after.workdir);
    after
}
