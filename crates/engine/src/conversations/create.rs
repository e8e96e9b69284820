use domain::{Conversation, ConversationId, EventKind, Principal};
use store::conversations;
use store::events::Fence;

use super::NewConversation;
use crate::events::Append;
use crate::request_key::{RequestKey, once};
use crate::{Engine, Error, Result, access};

pub(crate) async fn create(
    engine: &Engine,
    who: Principal,
    new: NewConversation,
    key: Option<RequestKey>,
) -> Result<Conversation> {
    let conversation = prepare(engine, who, new).await?;
    let append = Append::to(engine, conversation.id, Fence::Open);
    let at = append.at();
    engine
        .inner
        .store
        .write(move |tx| {
            once(tx, who, key, at, |tx| {
                conversations::insert(tx, &conversation)?;
                append.event(tx, None, |_| EventKind::ConversationCreated)?;
                conversations::get(tx, conversation.id)?.ok_or(Error::NotFound)
            })
        })
        .await
}

/// The conversation as it will be stored, once everything about it has been checked.
pub(crate) async fn prepare(engine: &Engine, who: Principal, new: NewConversation) -> Result<Conversation> {
    if new.title.contains('\0') {
        return Err(Error::InvalidText);
    }
    let model = new.model.unwrap_or_else(|| engine.catalogue().default_model().clone());
    engine.catalogue().model(&model)?;
    let workdir = match new.workdir {
        Some(path) => access::workdir(engine, who, &path).await?,
        None => engine.inner.settings.workdir.clone(),
    };
    let now = engine.inner.clock.now();
    Ok(Conversation {
        id: ConversationId::new(),
        owner: who.account(),
        home: engine.home,
        title: new.title,
        model,
        mode: new.mode,
        workdir,
        created_at: now,
        updated_at: now,
        busy: false,
    })
}
