//! Which projects there are: those of the settings, and those that the owner registered.

use std::collections::BTreeMap;
use std::path::Path;

use domain::{Principal, Project, ProjectName, ProjectSource};
use store::projects;

use crate::{Engine, Error, Result, access};

/// All projects that `who` may see, by name. Their directories may be gone.
pub(crate) async fn all(engine: &Engine, who: Principal) -> Result<Vec<Project>> {
    if !access::sees_projects(who) {
        return Ok(Vec::new());
    }
    let registered = engine.inner.store.read(projects::registered).await.map_err(Error::from)?;
    // One of the settings hides a registered one of its name.
    let both = registered.into_iter().chain(engine.inner.settings.projects.iter().cloned());
    let by_name: BTreeMap<ProjectName, Project> = both.map(|project| (project.name.clone(), project)).collect();
    Ok(by_name.into_values().collect())
}

/// The project, and its directory is there.
///
/// # Errors
/// [`Error::ProjectNotFound`], also if `who` may not see it; [`Error::ProjectGone`].
pub(crate) async fn find(engine: &Engine, who: Principal, name: &ProjectName) -> Result<Project> {
    if !access::sees_projects(who) {
        return Err(Error::ProjectNotFound);
    }
    let project = lookup(engine, name).await?.ok_or(Error::ProjectNotFound)?;
    if is_directory(&project.path).await { Ok(project) } else { Err(Error::ProjectGone) }
}

async fn lookup(engine: &Engine, name: &ProjectName) -> Result<Option<Project>> {
    if let Some(set) = engine.inner.settings.projects.iter().find(|project| project.name == *name) {
        return Ok(Some(set.clone()));
    }
    let name = name.clone();
    engine.inner.store.read(move |tx| projects::find(tx, &name)).await.map_err(Error::from)
}

async fn is_directory(path: &Path) -> bool {
    tokio::fs::metadata(path).await.is_ok_and(|found| found.is_dir())
}

/// Registers a directory under a name.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::BadWorkdir`], [`Error::ProjectExists`].
pub(crate) async fn add(engine: &Engine, who: Principal, name: ProjectName, path: &Path) -> Result<Project> {
    may_change(who)?;
    let path = access::workdir(engine, who, path).await?;
    let stored = path.to_str().ok_or(Error::BadWorkdir)?.to_owned();
    if lookup(engine, &name).await?.is_some() {
        return Err(Error::ProjectExists);
    }
    let (at, registered) = (engine.inner.clock.now(), name.clone());
    let done = engine.inner.store.write(move |tx| projects::register(tx, &registered, &stored, at)).await;
    match done {
        Ok(()) => Ok(Project { name, path, source: ProjectSource::Registered }),
        Err(store::StoreError::Duplicate) => Err(Error::ProjectExists),
        Err(error) => Err(error.into()),
    }
}

/// Forgets a registration. The conversations about it stay.
///
/// # Errors
/// [`Error::Forbidden`]: also for a project of the settings, which only they can drop; [`Error::ProjectNotFound`].
pub(crate) async fn remove(engine: &Engine, who: Principal, name: ProjectName) -> Result<()> {
    may_change(who)?;
    if engine.inner.settings.projects.iter().any(|project| project.name == name) {
        return Err(Error::Forbidden);
    }
    let removed = engine.inner.store.write(move |tx| projects::unregister(tx, &name)).await.map_err(Error::from)?;
    if removed { Ok(()) } else { Err(Error::ProjectNotFound) }
}

const fn may_change(who: Principal) -> Result<()> {
    match who {
        Principal::Owner => Ok(()),
        Principal::Account { .. } | Principal::Agent { .. } => Err(Error::Forbidden),
    }
}
