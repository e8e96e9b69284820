//! Approving and rejecting versions, versions that a person wrote, running an approved version again, and removing a rule.

use domain::{
    MadeFor, Principal, Rule, RulePolicy, RuleRun, RuleVersion, RunId, RunState, VersionBody, VersionSource, VersionState,
};
use store::dataset::{Refusal, check};
use store::rules::{self, AuditEntry};
use tokio_util::sync::CancellationToken;

use super::outcome::{Answer, Ended, Failure};
use super::start::{RunRule, unreadable};
use super::{keep, names, read, work};
use crate::{Engine, Error, Result, access, to_its_end};

/// A query that a person wrote for a rule.
#[derive(Debug, Clone)]
pub struct NewVersion {
    pub sql: String,
}

/// Why nothing was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionRefusal {
    /// The hash is not that of the version.
    Changed,
    AlreadyDecided,
    NoApprovedVersion,
    /// The guard's reason.
    Guard(String),
    /// The run's own answer.
    Failed(String),
    Unavailable(String),
}

pub(crate) async fn approve(
    engine: &Engine,
    who: Principal,
    rule: &str,
    number: i64,
    hash: String,
) -> Result<std::result::Result<RuleRun, VersionRefusal>> {
    access::decides_rules(who)?;
    let (engine, name) = (engine.clone(), rule.to_owned());
    to_its_end(async move {
        let rule = read::rule(&engine, &name).await?;
        match decide(&engine, who, &rule, number, hash, VersionState::Approved).await? {
            Ok(version) => {
                let waiting = version.waiting;
                run_again(&engine, who, rule, version, waiting).await
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    })
    .await
}

pub(crate) async fn reject(
    engine: &Engine,
    who: Principal,
    rule: &str,
    number: i64,
    hash: String,
) -> Result<std::result::Result<RuleVersion, VersionRefusal>> {
    access::decides_rules(who)?;
    let rule = read::rule(engine, rule).await?;
    decide(engine, who, &rule, number, hash, VersionState::Rejected).await
}

async fn decide(
    engine: &Engine,
    who: Principal,
    rule: &Rule,
    number: i64,
    hash: String,
    state: VersionState,
) -> Result<std::result::Result<RuleVersion, VersionRefusal>> {
    let (id, slug, at) = (rule.id, rule.slug.clone(), engine.clock().now());
    engine
        .inner
        .store
        .write(move |tx| {
            let version = rules::version(tx, id, number)?.ok_or(Error::NotFound)?;
            if version.hash != hash {
                return Ok(Err(VersionRefusal::Changed));
            }
            if !rules::decide(tx, id, number, state, who.account(), at)? {
                return Ok(Err(VersionRefusal::AlreadyDecided));
            }
            let detail = format!("version {number}, {hash}");
            rules::audit(tx, &AuditEntry { at, account: who.account(), rule: slug, kind: state.as_str().to_owned(), detail })?;
            Ok(Ok(RuleVersion { state, ..version }))
        })
        .await
}

/// Checks a person's query like a model's. With the policy `auto` it is approved at once, else it waits as a draft.
pub(crate) async fn new_version(
    engine: &Engine,
    who: Principal,
    rule: &str,
    new: NewVersion,
) -> Result<std::result::Result<RuleVersion, VersionRefusal>> {
    let rule = read::rule(engine, rule).await?;
    access::changes_rule(who, &rule)?;
    let source = match engine.inner.rules.source().await {
        Ok(source) => source,
        Err(reason) => return Ok(Err(VersionRefusal::Unavailable(reason))),
    };
    let checked = match check(&new.sql, &source.schema) {
        Ok(checked) => checked,
        Err(refusal) => {
            note_refusal(engine, who, &rule, &refusal, &new.sql).await;
            return Ok(Err(VersionRefusal::Guard(refusal.reason)));
        }
    };
    let cost = match source.data.plan(checked.sql(), &source.schema, source.file.limits).await {
        Ok(cost) => cost,
        Err(error) => {
            let failure = work::failure_of(&error, source.file.limits.time_ms, super::Stage::Checking);
            let reason = failure.message.trim_start_matches("Invalid SQL generated: ").to_owned();
            return Ok(Err(VersionRefusal::Guard(reason)));
        }
    };
    let at = engine.clock().now();
    let approved = source.policy() == RulePolicy::Auto;
    let mut version = RuleVersion {
        rule: rule.id,
        version: 0,
        source: VersionSource::Person,
        state: if approved { VersionState::Approved } else { VersionState::Draft },
        sql: checked.sql().to_owned(),
        hash: checked.hash(),
        made_for: MadeFor {
            text: names::text_hash(&rule.text),
            schema: source.schema_hash(),
            semantics: source.file.semantics_hash(),
        },
        body: VersionBody {
            title: if rule.code.is_none() { rule.name.clone() } else { String::new() },
            relations: checked.relations.clone(),
            functions: checked.functions.clone(),
            columns: checked.columns.clone(),
            cost,
            ..VersionBody::default()
        },
        waiting: None,
        created_at: at,
        decided_by: approved.then(|| who.account()),
        decided_at: approved.then_some(at),
    };
    let stored = engine.inner.store.write(move |tx| {
        version.version = rules::next_version(tx, version.rule)?;
        rules::insert_version(tx, &version)?;
        Ok::<_, Error>(version)
    });
    Ok(Ok(stored.await?))
}

async fn note_refusal(engine: &Engine, who: Principal, rule: &Rule, refusal: &Refusal, sql: &str) {
    if refusal.class == store::dataset::Class::Forbidden || refusal.probed.is_some() {
        work::note(engine, who.account(), &rule.slug, "forbidden", sql).await;
    }
}

/// Runs the newest approved version again, without asking a model.
pub(crate) async fn refresh(engine: &Engine, who: Principal, rule: &str) -> Result<std::result::Result<RuleRun, VersionRefusal>> {
    let (engine, name) = (engine.clone(), rule.to_owned());
    to_its_end(async move {
        let rule = read::rule(&engine, &name).await?;
        access::changes_rule(who, &rule)?;
        refresh_now(&engine, who, rule).await
    })
    .await
}

/// The same, by the clock.
pub(super) async fn refresh_now(
    engine: &Engine,
    who: Principal,
    rule: Rule,
) -> Result<std::result::Result<RuleRun, VersionRefusal>> {
    let id = rule.id;
    let versions = engine.inner.store.read(move |tx| rules::versions_of(tx, id)).await?;
    let usable = |version: &&RuleVersion| matches!(version.state, VersionState::Approved | VersionState::Stale);
    match versions.into_iter().rev().find(|version| usable(&version)) {
        Some(version) => run_again(engine, who, rule, version, None).await,
        None => Ok(Err(VersionRefusal::NoApprovedVersion)),
    }
}

/// Runs a version that somebody has decided for. `waiting` is the run that waited for it.
async fn run_again(
    engine: &Engine,
    who: Principal,
    rule: Rule,
    version: RuleVersion,
    waiting: Option<RunId>,
) -> Result<std::result::Result<RuleRun, VersionRefusal>> {
    let began = std::time::Instant::now();
    let (mut run, is_new) = match waiting {
        Some(id) => (engine.inner.store.read(move |tx| rules::run(tx, id)).await?.ok_or(Error::NotFound)?, false),
        None => (new_run(engine, who, &rule)?, true),
    };
    if is_new {
        let (inserted, node) = (run.clone(), engine.inner.lease.held().id);
        engine.inner.store.write(move |tx| rules::insert_run(tx, &inserted, node)).await?;
    }
    let number = version.version;
    let source = match engine.inner.rules.source().await {
        Ok(source) => source,
        Err(reason) => return Ok(Err(VersionRefusal::Unavailable(reason))),
    };
    let sql = version.sql.clone();
    let kept = match check(&version.sql, &source.schema) {
        Err(refusal) => {
            mark_stale(engine, &rule, number).await?;
            Err(Failure::new(super::RuleErrorCode::InvalidSql, refusal.reason, super::Stage::Checking))
        }
        Ok(_) => keep::run_and_keep(engine, &source, &rule, &mut run, version, &CancellationToken::new(), || {}).await,
    };
    let request: RunRule = serde_json::from_str(&run.request).map_err(unreadable)?;
    let answer = |ended| Answer {
        run: run.id,
        rule: rule.slug.clone(),
        rule_id: request.rule_id.clone(),
        client_id: request.client_id.clone(),
        at: engine.clock().now(),
        ms: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
        repairs: 0,
        sql: Some(sql.clone()),
        ended,
    };
    let (answer, refusal) = match kept {
        Ok(kept) => (answer(work::stored(&rule, kept)), None),
        Err(failure) => {
            let refusal = VersionRefusal::Failed(failure.message.clone());
            run.state = RunState::Failed;
            (answer(Ended::Failed { code: failure.code, message: failure.message, stage: failure.stage }), Some(refusal))
        }
    };
    run.answer = Some(serde_json::to_string(&answer).map_err(unreadable)?);
    run.finished_at = Some(engine.clock().now());
    let written = run.clone();
    engine.inner.store.write(move |tx| rules::update_run(tx, &written)).await?;
    if let Ended::Stored { made, table, view } = &answer.ended {
        let late = (!is_new).then(|| answer.clone());
        keep::announce(engine, run.id, &made.name, view, table, late);
    }
    Ok(refusal.map_or(Ok(run), Err))
}

fn new_run(engine: &Engine, who: Principal, rule: &Rule) -> Result<RuleRun> {
    let at = engine.clock().now();
    let request = RunRule { rule_code: rule.code.clone().unwrap_or_else(|| rule.text.clone()), ..RunRule::default() };
    Ok(RuleRun {
        id: RunId::new(),
        rule: rule.id,
        account: who.account(),
        key: None,
        fingerprint: String::new(),
        state: RunState::Running,
        created_at: at,
        started_at: Some(at),
        finished_at: None,
        version: None,
        table: None,
        rows: None,
        truncated: false,
        lineage: Vec::new(),
        added: None,
        removed: None,
        request: serde_json::to_string(&request).map_err(unreadable)?,
        dialog: "[]".to_owned(),
        answer: None,
    })
}

/// The former rows stay, and are known to be old.
async fn mark_stale(engine: &Engine, rule: &Rule, version: i64) -> Result<()> {
    let id = rule.id;
    engine
        .inner
        .store
        .write(move |tx| {
            rules::set_stale(tx, id)?;
            rules::set_version_state(tx, id, version, VersionState::Stale)
        })
        .await?;
    Ok(())
}

/// Removes the rule with its versions, runs, tables and view.
pub(crate) async fn delete(engine: &Engine, who: Principal, rule: &str) -> Result<()> {
    let (engine, name) = (engine.clone(), rule.to_owned());
    to_its_end(async move {
        let rule = read::rule(&engine, &name).await?;
        access::changes_rule(who, &rule)?;
        let (id, slug, at) = (rule.id, rule.slug.clone(), engine.clock().now());
        let _alone = engine.inner.rules.keeping.lock().await;
        engine
            .inner
            .store
            .write(move |tx| {
                rules::delete(tx, id)?;
                let (kind, detail) = ("deleted".to_owned(), rule.text.clone());
                rules::audit(tx, &AuditEntry { at, account: who.account(), rule: slug, kind, detail })
            })
            .await?;
        let view = names::view(&rule.slug);
        engine
            .inner
            .rules
            .with_results(move |results| {
                results.hide(&view)?;
                let of_rule = |name: &str| {
                    let number = name.strip_prefix(&view).and_then(|rest| rest.strip_prefix('_'));
                    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
                };
                let tables = results.tables()?;
                tables.iter().filter(|table| of_rule(&table.name)).try_for_each(|table| results.drop_table(&table.name))
            })
            .await
    })
    .await
}
