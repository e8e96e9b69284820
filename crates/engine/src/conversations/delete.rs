use domain::{ConversationId, EventKind, Principal};
use store::conversations;
use store::events::Fence;

use crate::events::Append;
use crate::{Engine, Error, Result, access, turns};

pub(crate) async fn delete(engine: &Engine, who: Principal, id: ConversationId) -> Result<()> {
    super::get(engine, who, id).await?;
    // Each turn gets its terminal event, so that nobody waits for it for ever.
    turns::cancel_all(engine, id).await?;
    let append = Append::to(engine, id, Fence::Open);
    engine
        .inner
        .store
        .write(move |tx| {
            access::conversation(tx, who, id)?;
            turns::end_queued(tx, &append, id)?;
            append.event(tx, None, |_| EventKind::ConversationDeleted)?;
            conversations::delete(tx, id)?;
            Ok::<_, Error>(())
        })
        .await
}
