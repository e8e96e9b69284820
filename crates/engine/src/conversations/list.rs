use domain::{Conversation, ConversationId, Principal};
use store::conversations;

use super::Paging;
use crate::{Engine, Error, Result, access};

pub(crate) async fn get(engine: &Engine, who: Principal, id: ConversationId) -> Result<Conversation> {
    let home = engine.home;
    engine.inner.store.read(move |tx| access::conversation(tx, who, home, id)).await
}

pub(crate) async fn list(engine: &Engine, who: Principal, paging: Paging) -> Result<Vec<Conversation>> {
    let Paging { words, before, limit } = paging;
    let home = engine.home;
    let page = conversations::Page { home, words, before, limit };
    engine
        .inner
        .store
        .read(move |tx| {
            if let Some(before) = page.before {
                access::conversation(tx, who, home, before)?;
            }
            Ok::<_, Error>(conversations::list(tx, who.account(), &page)?)
        })
        .await
}
