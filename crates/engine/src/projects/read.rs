use domain::{ConversationId, Home, Principal, ProjectName};
use store::projects;

use super::{ProjectConversation, ProjectPaging, find};
use crate::{Engine, Error, Result, access};

pub(crate) async fn list(
    engine: &Engine,
    who: Principal,
    name: &ProjectName,
    paging: ProjectPaging,
) -> Result<Vec<ProjectConversation>> {
    find(engine, who, name).await?;
    let name = name.clone();
    engine
        .inner
        .store
        .read(move |tx| {
            let ProjectPaging { words, before, limit } = paging;
            if let Some(before) = before {
                projects::by_number(tx, &name, before)?.ok_or(Error::NotFound)?;
            }
            let found = projects::list(tx, &name, &projects::Page { words, before, limit })?;
            Ok::<_, Error>(found.into_iter().map(ProjectConversation::from).collect())
        })
        .await
}

/// The conversation of this number, if it is about this project.
pub(crate) async fn by_number(engine: &Engine, who: Principal, name: &ProjectName, number: i64) -> Result<ProjectConversation> {
    find(engine, who, name).await?;
    let name = name.clone();
    let found = engine.inner.store.read(move |tx| projects::by_number(tx, &name, number)).await.map_err(Error::from)?;
    found.map(ProjectConversation::from).ok_or(Error::NotFound)
}

/// The conversation that `who` last started in the project.
pub(crate) async fn by_session(engine: &Engine, who: Principal, name: &ProjectName) -> Result<Option<ProjectConversation>> {
    let name = name.clone();
    let found = engine.inner.store.read(move |tx| projects::session(tx, &name, who.account())).await.map_err(Error::from)?;
    Ok(found.map(ProjectConversation::from))
}

pub(crate) async fn number_of(engine: &Engine, who: Principal, id: ConversationId) -> Result<Option<i64>> {
    engine
        .inner
        .store
        .read(move |tx| {
            access::conversation(tx, who, Home::Project, id)?;
            Ok::<_, Error>(projects::by_id(tx, id)?.map(|found| found.number))
        })
        .await
}
