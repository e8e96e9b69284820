//! Running a checked query, and keeping its rows: loaded beside the former ones, then shown in their place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::{Rule, RuleRun, RuleVersion, RunId, RunState, StoredRows, VersionState};
use store::dataset::{BATCHES, Batch, CellRow, Limits, Ran, ResultColumn, RunError};
use store::results::{Loaded, ResultTable, Results};
use store::rules::{self, AuditEntry};
use store::{StoreError, Tx};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::outcome::{Answer, Ended, Envelope, Failure, Made, Refreshed, RuleErrorCode, RuleNews, Stage};
use super::source::Source;
use super::start::unreadable;
use super::{names, nodes, work};
use crate::{Engine, Error};

/// By the contract: the first rows in an answer.
const PREVIEW_ROWS: usize = 20;
/// By the contract.
const QUOTA_BYTES: u64 = 1 << 30;
/// No table younger than this is dropped, so that whoever reads it can finish.
const YOUNG_MS: i64 = 10 * 60 * 1000;
/// Relations whose rows are counted for the lineage of a run.
const COUNTED_RELATIONS: usize = 20;

/// What it takes to run a version and to keep what it gives.
pub(super) struct Keeper<'a> {
    pub engine: &'a Engine,
    pub source: &'a Source,
    pub rule: &'a Rule,
    pub cancel: &'a CancellationToken,
    pub envelope: &'a Envelope,
    /// The rows are all there.
    pub on_saving: &'a (dyn Fn() + Send + Sync),
}

impl Keeper<'_> {
    /// Runs the version and keeps what it gives. The version, the run with its answer, the registry and the audit log change in
    /// one transaction, once the rows are all there; until then readers see the former ones.
    pub(super) async fn keep(&self, run: &mut RuleRun, version: RuleVersion) -> Result<Ended, Failure> {
        let Self { engine, source, rule, cancel, .. } = *self;
        let inner = &engine.inner.rules;
        let table = free_name(engine, rule, run).await?;
        let (ran, loaded) = load(engine, source, &version.sql, &table, source.file.limits, cancel).await?;
        (self.on_saving)();
        let _alone = inner.keeping.lock().await;
        if let Err(failure) = make_room(engine, &table).await {
            forget(engine, &table).await;
            return Err(failure);
        }
        let difference = difference(engine, rule, &version, &loaded.table).await;
        run.lineage = lineage(source, &version.body.relations, cancel).await;
        run.state = RunState::Done;
        run.table = Some(table.clone());
        run.rows = i64::try_from(ran.rows).ok();
        run.truncated = ran.truncated;
        (run.added, run.removed) = difference.unzip();
        run.finished_at = Some(engine.clock().now());
        let name = work::display_name(rule, &version.body);
        let mut made = work::made(0, name, &version.body, loaded.table.columns, loaded.preview, ran.truncated);
        made.rows = ran.rows;
        let made = match self.commit(run.clone(), version, made).await {
            Ok(made) => made,
            Err(failure) => {
                forget(engine, &table).await;
                return Err(failure);
            }
        };
        run.version = Some(made.version);
        let (view, shown, keep) = (names::view(&rule.slug), table.clone(), source.file.keep);
        let now = engine.clock().now().0;
        let tidied = inner.with_results(move |results| {
            results.show(&view, &shown)?;
            drop_old(results, &view, keep, now)
        });
        if let Err(error) = tidied.await {
            // The registry tells readers which rows count; the view is for people with other tools.
            tracing::error!(%error, "the view of a rule could not be renewed");
        }
        Ok(stored(rule, made, table))
    }

    /// Gives the version its number if it is new, and makes everything count at once.
    async fn commit(&self, mut run: RuleRun, mut version: RuleVersion, mut made: Made) -> Result<Made, Failure> {
        let (at, rule, envelope) = (self.engine.clock().now(), self.rule.clone(), self.envelope.clone());
        let work = move |tx: &mut Tx| {
            // It may have been removed meanwhile.
            let known = rules::get(tx, rule.id)?.ok_or(Error::NotFound)?;
            if version.version == 0 {
                version.version = rules::next_version(tx, rule.id)?;
                rules::insert_version(tx, &version)?;
            } else if version.state == VersionState::Stale {
                rules::set_version_state(tx, rule.id, version.version, VersionState::Approved)?;
            }
            made.version = version.version;
            run.version = Some(version.version);
            let table = run.table.clone().unwrap_or_default();
            let answer = envelope.around(at, stored(&rule, made.clone(), table.clone()));
            run.answer = Some(serde_json::to_string(&answer).map_err(unreadable)?);
            rules::update_run(tx, &run)?;
            let rows = run.rows.unwrap_or(0);
            let rows = StoredRows { table: table.clone(), version: version.version, run: run.id, rows, first_at: at, at };
            rules::store_rows(tx, rule.id, &rows)?;
            let (kind, slug) = ("stored".to_owned(), rule.slug.clone());
            rules::audit(tx, &AuditEntry { at, account: run.account, rule: slug, kind, detail: table })?;
            if known.code.is_none() && !version.body.title.is_empty() {
                rules::set_name(tx, rule.id, &version.body.title)?;
            }
            Ok(made)
        };
        self.engine.inner.store.write(work).await.map_err(|error| match error {
            Error::NotFound => Failure::cancelled(Stage::Saving),
            error => Failure::internal(&error, Stage::Saving),
        })
    }
}

fn stored(rule: &Rule, made: Made, table: String) -> Ended {
    Ended::Stored { made, table, view: names::view(&rule.slug) }
}

/// Drops a table that does not count.
async fn forget(engine: &Engine, table: &str) {
    let name = table.to_owned();
    if let Err(error) = engine.inner.rules.with_results(move |results| results.drop_table(&name)).await {
        tracing::error!(%error, "a result that does not count could not be removed");
    }
}

/// Tells everybody who follows the rules that a view shows other rows.
pub(super) fn announce(engine: &Engine, run: RunId, rule: &str, view: &str, table: &str, late_answer: Option<Answer>) {
    let refreshed = Refreshed { view: view.to_owned(), version_table: table.to_owned(), rule: rule.to_owned() };
    let news = RuleNews { run, refreshed, late_answer: late_answer.map(Box::new) };
    nodes::tell(engine, &news);
    // Nobody may be listening.
    let _ = engine.inner.rules.news.send(news);
}

/// The first rows of a query, without keeping anything.
pub(super) async fn peek(
    source: &Source,
    sql: &str,
    rows: u64,
    cancel: &CancellationToken,
) -> Result<(Vec<ResultColumn>, Vec<CellRow>, bool), Failure> {
    let limits = Limits { rows, ..source.file.limits };
    let (sender, mut receiver) = mpsc::channel(BATCHES);
    let taking = async {
        let (mut columns, mut all) = (Vec::new(), Vec::new());
        while let Some(batch) = receiver.recv().await {
            match batch {
                Batch::Columns(told) => columns = told,
                Batch::Rows(rows) => all.extend(rows),
            }
        }
        (columns, all)
    };
    let (ran, (columns, all)) = tokio::join!(source.data.run(sql, &source.schema, limits, cancel, sender), taking);
    let ran = ran.map_err(|error| work::failure_of(&error, limits.time_ms, Stage::Running))?;
    Ok((columns, all, ran.truncated))
}

async fn load(
    engine: &Engine,
    source: &Source,
    sql: &str,
    table: &str,
    limits: Limits,
    cancel: &CancellationToken,
) -> Result<(Ran, Loaded), Failure> {
    let results = engine.inner.rules.results().await.map_err(|error| Failure::internal(&error, Stage::Saving))?.clone();
    let (sender, mut receiver) = mpsc::channel(BATCHES);
    let whole = Arc::new(AtomicBool::new(false));
    let (name, at, is_whole) = (table.to_owned(), engine.clock().now().0, Arc::clone(&whole));
    let loading = tokio::task::spawn_blocking(move || {
        results.load(&name, at, PREVIEW_ROWS, &mut receiver, || is_whole.load(Ordering::Acquire))
    });
    // The channel closes when the run drops its end, so whether the run is whole must be known before.
    let ran = run_whole(source, sql, limits, cancel, sender, &whole).await;
    let loaded = loading.await.map_err(|error| Failure::internal(&Error::Internal(error.to_string()), Stage::Saving))?;
    let ran = match (ran, &loaded) {
        (Err(RunError::Abandoned), Err(error)) => return Err(storing(error)),
        (ran, _) => ran.map_err(|error| work::failure_of(&error, limits.time_ms, Stage::Running))?,
    };
    match loaded {
        Ok(Some(loaded)) => Ok((ran, loaded)),
        Ok(None) => Err(Failure::new(RuleErrorCode::Internal, "Something went wrong on the server", Stage::Saving)),
        Err(error) => Err(storing(&error)),
    }
}

async fn run_whole(
    source: &Source,
    sql: &str,
    limits: Limits,
    cancel: &CancellationToken,
    sender: mpsc::Sender<Batch>,
    whole: &AtomicBool,
) -> Result<Ran, RunError> {
    let held_open = sender.clone();
    let ran = source.data.run(sql, &source.schema, limits, cancel, sender).await;
    whole.store(ran.is_ok(), Ordering::Release);
    drop(held_open);
    ran
}

fn storing(error: &StoreError) -> Failure {
    match error {
        StoreError::Full => Failure::new(RuleErrorCode::ResultsFull, "Results are full", Stage::Saving),
        other => Failure::internal(&Error::Internal(other.to_string()), Stage::Saving),
    }
}

/// `rule_<slug>_<n>`: n is the client's number or the time, plus one until it is free.
async fn free_name(engine: &Engine, rule: &Rule, run: &RuleRun) -> Result<String, Failure> {
    let request: super::RunRule = serde_json::from_str(&run.request).unwrap_or_default();
    let given = request.rule_id.as_deref().and_then(names::client_number);
    let mut number = given.unwrap_or_else(|| engine.clock().now().0);
    let view = names::view(&rule.slug);
    let find = move |results: &Results| {
        loop {
            let name = format!("{view}_{number}");
            if results.table(&name)?.is_none() {
                return Ok(name);
            }
            number += 1;
        }
    };
    engine.inner.rules.with_results(find).await.map_err(|error| Failure::internal(&error, Stage::Saving))
}

/// Drops the oldest tables that nobody is shown, until the new one has its place.
async fn make_room(engine: &Engine, new: &str) -> Result<(), Failure> {
    let shown =
        engine.inner.store.read(rules::all).await.map_err(|error| Failure::internal(&Error::from(error), Stage::Saving))?;
    let shown: Vec<String> = shown.into_iter().filter_map(|rule| Some(rule.stored?.table)).chain([new.to_owned()]).collect();
    let room = move |results: &Results| {
        let tables = results.tables()?;
        let mut total: u64 = tables.iter().map(|table| table.bytes).sum();
        for table in tables.iter().filter(|table| !shown.contains(&table.name)) {
            if total <= QUOTA_BYTES {
                break;
            }
            results.drop_table(&table.name)?;
            total -= table.bytes;
        }
        Ok(total <= QUOTA_BYTES)
    };
    match engine.inner.rules.with_results(room).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(RuleErrorCode::ResultsFull, "Results are full", Stage::Saving)),
        Err(error) => Err(Failure::internal(&error, Stage::Saving)),
    }
}

/// Of one rule, beyond those that are kept.
fn drop_old(results: &Results, view: &str, keep: usize, now: i64) -> Result<(), StoreError> {
    let of_rule = |table: &ResultTable| {
        let number = table.name.strip_prefix(view).and_then(|rest| rest.strip_prefix('_'));
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let tables: Vec<ResultTable> = results.tables()?.into_iter().filter(of_rule).collect();
    let old = tables.len().saturating_sub(keep);
    tables[..old].iter().filter(|table| now - table.created_at > YOUNG_MS).try_for_each(|table| results.drop_table(&table.name))
}

async fn difference(engine: &Engine, rule: &Rule, version: &RuleVersion, new: &ResultTable) -> Option<(i64, i64)> {
    let (old, new, keys) = (rule.stored.as_ref()?.table.clone(), new.clone(), version.body.key_columns.clone());
    let count = move |results: &Results| {
        let Some(old) = results.table(&old)? else { return Ok(None) };
        results.difference(&new, &old, &keys)
    };
    let (added, removed) = engine.inner.rules.with_results(count).await.ok().flatten()?;
    Some((i64::try_from(added).ok()?, i64::try_from(removed).ok()?))
}

/// How many rows each relation had that was read. One that takes too long to count is left out.
async fn lineage(source: &Source, relations: &[String], cancel: &CancellationToken) -> Vec<(String, i64)> {
    let mut counts = Vec::new();
    for relation in relations.iter().take(COUNTED_RELATIONS) {
        let text = format!("select count(*) as n from \"{}\"", relation.replace('"', "\"\""));
        let Ok(checked) = store::dataset::check(&text, &source.schema) else { continue };
        let Ok((_, rows, _)) = peek(source, checked.sql(), 1, cancel).await else { continue };
        if let Some([store::dataset::Cell::Int(count)]) = rows.first().map(Vec::as_slice) {
            counts.push((relation.clone(), *count));
        }
    }
    counts
}
