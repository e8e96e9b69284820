use domain::{Closing, ConversationId, EventKind, Home, Principal};
use store::conversations;
use store::events::Fence;

use crate::events::Append;
use crate::{Engine, Error, Result, access, to_its_end, turns};

pub(crate) async fn delete(engine: &Engine, who: Principal, id: ConversationId) -> Result<()> {
    let conversation = super::get(engine, who, id).await?;
    engine.inner.audiences.keep(&conversation);
    let (engine, home) = (engine.clone(), engine.home);
    to_its_end(async move {
        if home == Home::Project {
            let append = Append::to(&engine, id, Fence::Open);
            let why = Closing::Deletion;
            let closed = engine.inner.store.write(move |tx| append.event(tx, None, |_| EventKind::ConversationClosed { why }));
            closed.await?;
        }
        // Each turn gets its terminal event, so that nobody waits for it for ever.
        turns::cancel_all(&engine, id).await?;
        let append = Append::to(&engine, id, Fence::Open);
        let deleted = engine.inner.store.write(move |tx| {
            access::conversation(tx, who, home, id)?;
            append.lock(tx)?;
            turns::end_queued(tx, &append, id)?;
            append.event(tx, None, |_| EventKind::ConversationDeleted)?;
            conversations::delete(tx, id)?;
            Ok::<_, Error>(())
        });
        deleted.await?;
        engine.inner.histories.forget(id);
        Ok(())
    })
    .await
}
