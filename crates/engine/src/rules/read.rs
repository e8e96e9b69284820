//! What there is: rules, versions, runs, the registry, and what the model is told of the data.

use domain::{Rule, RuleRun, RuleVersion, RunId, RunState, VersionState};
use serde_json::Value;
use store::rules;

use super::context;
use super::file::FileRule;
use super::names;
use super::start::Resolved;
use crate::{Engine, Error, Result};

/// A rule as a list shows it. One of the file is there before it ever ran.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleView {
    /// `None`: it has never run.
    pub rule: Option<Rule>,
    pub code: Option<String>,
    pub slug: String,
    pub name: String,
    pub description: String,
    pub logic: String,
    pub status: RuleStatus,
    pub version: Option<i64>,
    pub sql: Option<String>,
    pub last_run_at: Option<domain::Timestamp>,
    pub refresh_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleStatus {
    New,
    Approved,
    Pending,
    Stale,
    Failed,
}

impl RuleStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Approved => "approved",
            Self::Pending => "pending",
            Self::Stale => "stale",
            Self::Failed => "failed",
        }
    }
}

/// A rule that has stored rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    pub rule: Rule,
    /// The stable view.
    pub view: String,
}

/// What the model is told, and what holds for the data set.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSetView {
    pub engine: &'static str,
    pub is_sample: bool,
    pub schema: String,
    pub relations: Vec<Value>,
    pub functions: Vec<&'static str>,
    pub policy: &'static str,
    pub fenced: bool,
    pub limits: store::dataset::Limits,
    pub joins: Vec<String>,
    pub metrics: Vec<(String, String)>,
    pub glossary: Vec<(String, String)>,
    /// What is wrong with the rules file while the former one is in force.
    pub file_fault: Option<String>,
}

/// What a code or slug stands for.
pub(super) enum Named {
    /// An entry of the rules file, which may have a row.
    InFile(FileRule, Option<Rule>),
    InRow(Rule),
}

impl Named {
    pub(super) const fn row(&self) -> Option<&Rule> {
        match self {
            Self::InFile(_, row) => row.as_ref(),
            Self::InRow(row) => Some(row),
        }
    }

    pub(super) fn into_row(self) -> Option<Rule> {
        match self {
            Self::InFile(_, row) => row,
            Self::InRow(row) => Some(row),
        }
    }

    pub(super) fn slug(&self) -> String {
        match self {
            Self::InFile(known, None) => names::slug(&known.code),
            Self::InFile(_, Some(row)) | Self::InRow(row) => row.slug.clone(),
        }
    }

    /// The rule as it would be run now.
    pub(super) fn resolved(&self) -> Resolved {
        match self {
            Self::InFile(known, _) => Resolved::of_file(known),
            Self::InRow(row) => Resolved::of_row(row),
        }
    }
}

/// The rule of that code or slug.
pub(super) async fn named(engine: &Engine, name: &str) -> Result<Named> {
    let (file, _) = engine.inner.rules.file();
    let of_file = file.rule(name);
    let (code, slug) = (of_file.map(|known| known.code.clone()), name.to_owned());
    let find = move |tx: &mut store::Tx| match &code {
        Some(code) => rules::by_code(tx, code),
        None => rules::by_slug(tx, &slug),
    };
    let rule = engine.inner.store.read(find).await?;
    let has_slug =
        |known: &&FileRule| [names::slug(&known.code), names::marked_slug(&known.code)].iter().any(|slug| slug == name);
    let known = match (of_file, &rule) {
        (Some(known), _) => Some(known),
        (None, Some(rule)) => rule.code.as_deref().and_then(|code| file.rules.iter().find(|known| known.code == code)),
        (None, None) => file.rules.iter().find(has_slug),
    };
    match (known, rule) {
        (Some(known), rule) => Ok(Named::InFile(known.clone(), rule)),
        (None, Some(rule)) => Ok(Named::InRow(rule)),
        (None, None) => Err(Error::NotFound),
    }
}

/// The same, if it has ever run.
pub(super) async fn rule(engine: &Engine, name: &str) -> Result<Rule> {
    named(engine, name).await?.into_row().ok_or(Error::NotFound)
}

/// All rules: those of the file first, in its order.
pub(crate) async fn all(engine: &Engine, words: Option<String>) -> Result<Vec<RuleView>> {
    let (file, _) = engine.inner.rules.file();
    let stored = engine.inner.store.read(rules::all).await?;
    let mut views = Vec::new();
    for known in &file.rules {
        let rule = stored.iter().find(|rule| rule.code.as_ref() == Some(&known.code)).cloned();
        let is_taken = |slug: &str| stored.iter().any(|rule| rule.slug == slug);
        let mut seen = view(engine, rule, Some(known)).await?;
        if seen.rule.is_none() && is_taken(&seen.slug) {
            seen.slug = names::marked_slug(&known.code);
        }
        views.push(seen);
    }
    for rule in stored {
        if !views.iter().any(|view: &RuleView| view.slug == rule.slug) {
            views.push(view(engine, Some(rule), None).await?);
        }
    }
    if let Some(words) = words.map(|words| words.to_lowercase()) {
        views.retain(|view| [&view.name, &view.logic, &view.slug].iter().any(|text| text.to_lowercase().contains(&words)));
    }
    Ok(views)
}

pub(crate) async fn one(engine: &Engine, name: &str) -> Result<RuleView> {
    match named(engine, name).await? {
        Named::InFile(known, rule) => view(engine, rule, Some(&known)).await,
        Named::InRow(rule) => view(engine, Some(rule), None).await,
    }
}

async fn view(engine: &Engine, rule: Option<Rule>, known: Option<&FileRule>) -> Result<RuleView> {
    let (versions, runs) = match &rule {
        None => (Vec::new(), Vec::new()),
        Some(rule) => {
            let id = rule.id;
            let read = move |tx: &mut store::Tx| Ok::<_, Error>((rules::versions_of(tx, id)?, rules::runs_of(tx, id, 1)?));
            engine.inner.store.read(read).await?
        }
    };
    let shown = rule.as_ref().and_then(|rule| rule.stored.as_ref()).map(|stored| stored.version);
    let version = versions.iter().find(|version| Some(version.version) == shown).or_else(|| versions.last());
    let status = status(rule.as_ref(), &versions, runs.first());
    let name = |rule: &Rule| rule.name.clone();
    Ok(RuleView {
        code: known.map(|known| known.code.clone()).or_else(|| rule.as_ref().and_then(|rule| rule.code.clone())),
        slug: rule
            .as_ref()
            .map_or_else(|| known.map(|known| names::slug(&known.code)).unwrap_or_default(), |rule| rule.slug.clone()),
        name: known.map(|known| known.name.clone()).or_else(|| rule.as_ref().map(name)).unwrap_or_default(),
        description: known.map(|known| known.description.clone()).unwrap_or_default(),
        logic: known.map(|known| known.logic.clone()).or_else(|| rule.as_ref().map(|rule| rule.text.clone())).unwrap_or_default(),
        status,
        version: version.map(|version| version.version),
        sql: version.map(|version| version.sql.clone()),
        last_run_at: runs.first().map(|run| run.created_at),
        refresh_ms: known.and_then(|known| known.refresh_ms),
        rule,
    })
}

fn status(rule: Option<&Rule>, versions: &[RuleVersion], last: Option<&RuleRun>) -> RuleStatus {
    let newest = versions.last().map(|version| version.state);
    match (rule, newest, last.map(|run| run.state)) {
        (None, ..) => RuleStatus::New,
        (Some(rule), ..) if rule.stale => RuleStatus::Stale,
        (_, Some(VersionState::Stale), _) => RuleStatus::Stale,
        (_, Some(VersionState::Draft), _) => RuleStatus::Pending,
        (_, _, Some(RunState::Failed | RunState::Interrupted | RunState::Cancelled)) => RuleStatus::Failed,
        (_, Some(VersionState::Approved), _) => RuleStatus::Approved,
        (_, Some(VersionState::Rejected) | None, _) => RuleStatus::New,
    }
}

/// None, if it has never run.
pub(crate) async fn versions(engine: &Engine, name: &str) -> Result<Vec<RuleVersion>> {
    let Some(Rule { id, .. }) = named(engine, name).await?.into_row() else { return Ok(Vec::new()) };
    Ok(engine.inner.store.read(move |tx| rules::versions_of(tx, id)).await?)
}

/// The newest runs of a rule, with the rule.
pub(crate) async fn runs(engine: &Engine, name: &str, limit: u32) -> Result<Vec<(RuleRun, Rule)>> {
    let Some(rule) = named(engine, name).await?.into_row() else { return Ok(Vec::new()) };
    let id = rule.id;
    let runs = engine.inner.store.read(move |tx| rules::runs_of(tx, id, i64::from(limit))).await?;
    Ok(runs.into_iter().map(|run| (run, rule.clone())).collect())
}

pub(crate) async fn run(engine: &Engine, id: RunId) -> Result<(RuleRun, Rule)> {
    let read = move |tx: &mut store::Tx| {
        let run = rules::run(tx, id)?.ok_or(Error::NotFound)?;
        let rule = rules::get(tx, run.rule)?.ok_or(Error::NotFound)?;
        Ok::<_, Error>((run, rule))
    };
    engine.inner.store.read(read).await
}

/// The rules that have stored rows, the oldest first.
pub(crate) async fn registry(engine: &Engine) -> Result<Vec<Registered>> {
    let rules = engine.inner.store.read(rules::all).await?;
    let mut registered: Vec<Registered> = rules
        .into_iter()
        .filter(|rule| rule.stored.is_some())
        .map(|rule| Registered { view: names::view(&rule.slug), rule })
        .collect();
    registered.sort_by_key(|entry| entry.rule.stored.as_ref().map(|stored| (stored.first_at, entry.rule.number)));
    Ok(registered)
}

/// # Errors
/// Why the data set is not available.
pub(crate) async fn data_set(engine: &Engine) -> std::result::Result<DataSetView, String> {
    let source = engine.inner.rules.source().await?;
    Ok(DataSetView {
        engine: source.schema.engine.as_str(),
        is_sample: source.is_sample,
        schema: source.schema.name.clone(),
        relations: context::relations(&source.file, &source.schema),
        functions: store::dataset::functions::all(source.schema.engine),
        policy: source.policy().as_str(),
        fenced: source.fenced,
        limits: source.file.limits,
        joins: source.file.joins.clone(),
        metrics: source.file.metrics.clone(),
        glossary: source.file.glossary.clone(),
        file_fault: source.file_fault.clone(),
    })
}
