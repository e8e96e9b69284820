//! A session is the conversation that an account last started in a project.

use domain::{Closing, ConversationId, EventKind, Principal, ProjectName};
use store::events::Fence;
use store::projects;

use super::by_session;
use crate::events::Append;
use crate::{Engine, Error, Result, to_its_end, turns};

pub(crate) async fn start(engine: &Engine, who: Principal, name: &ProjectName, id: ConversationId) -> Result<()> {
    let name = name.clone();
    let started = engine.inner.store.write(move |tx| projects::start_session(tx, &name, who.account(), id));
    started.await.map_err(Error::from)
}

pub(crate) async fn names(engine: &Engine, who: Principal) -> Result<Vec<ProjectName>> {
    engine.inner.store.read(move |tx| projects::sessions(tx, who.account())).await.map_err(Error::from)
}

/// Ends the session: those who follow its conversation are told, and what runs in it is cancelled. `false`: there was none.
pub(crate) async fn close(engine: &Engine, who: Principal, name: &ProjectName) -> Result<bool> {
    let Some(open) = by_session(engine, who, name).await? else { return Ok(false) };
    let (id, name, engine) = (open.conversation.id, name.clone(), engine.clone());
    to_its_end(async move {
        let append = Append::to(&engine, id, Fence::Open);
        let account = who.account();
        let ended = engine.inner.store.write(move |tx| {
            if !projects::end_session(tx, &name, account)? {
                return Ok(false);
            }
            append.event(tx, None, |_| EventKind::ConversationClosed { why: Closing::Session { account } })?;
            Ok::<_, Error>(true)
        });
        let ended = ended.await?;
        if ended {
            turns::cancel_running(&engine, id).await?;
        }
        Ok(ended)
    })
    .await
}
