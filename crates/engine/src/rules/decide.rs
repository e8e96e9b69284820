//! Approving and rejecting versions, versions that a person wrote, running an approved version again, and removing a rule.

use domain::{MadeFor, Principal, Rule, RulePolicy, RuleRun, RuleVersion, RunState, VersionBody, VersionSource, VersionState};
use store::dataset::{Refusal, check};
use store::rules::{self, AuditEntry};

use super::start::{Order, Resolved, RunRule, Started, unreadable};
use super::work::Again;
use super::{names, nodes, read, start, work};
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
    Unavailable(String),
}

pub(crate) async fn approve(
    engine: &Engine,
    who: Principal,
    rule: &str,
    number: i64,
    hash: String,
) -> Result<std::result::Result<Started, VersionRefusal>> {
    access::decides_rules(who)?;
    let (engine, name) = (engine.clone(), rule.to_owned());
    to_its_end(async move {
        let rule = read::rule(&engine, &name).await?;
        match decide(&engine, who, &rule, number, hash, VersionState::Approved).await? {
            Ok(version) => {
                let waiting = match version.waiting {
                    Some(id) => engine.inner.store.read(move |tx| rules::run(tx, id)).await?,
                    None => None,
                };
                let waiting = waiting.filter(|run| run.state == RunState::Pending);
                Ok(Ok(run_again(&engine, who, rule, version, waiting).await?))
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
    let named = read::named(engine, rule).await?;
    match named.row() {
        Some(rule) => access::changes_rule(who, rule)?,
        // Nobody made a rule of the file.
        None => access::decides_rules(who)?,
    }
    let source = match engine.inner.rules.source().await {
        Ok(source) => source,
        Err(reason) => return Ok(Err(VersionRefusal::Unavailable(reason))),
    };
    let checked = match check(&new.sql, &source.schema) {
        Ok(checked) => checked,
        Err(refusal) => {
            note_refusal(engine, who, &named.slug(), &refusal, &new.sql).await;
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
    let (at, is_approved) = (engine.clock().now(), source.policy() == RulePolicy::Auto);
    let (resolved, row) = (named.resolved(), named.into_row());
    let made_for =
        MadeFor { text: names::text_hash(&resolved.text), schema: source.schema_hash(), semantics: source.file.semantics_hash() };
    let stored = engine.inner.store.write(move |tx| {
        let rule = match row {
            Some(rule) => rule,
            None => start::rule_for(tx, who.account(), &resolved, at)?,
        };
        let version = RuleVersion {
            rule: rule.id,
            version: rules::next_version(tx, rule.id)?,
            source: VersionSource::Person,
            state: if is_approved { VersionState::Approved } else { VersionState::Draft },
            sql: checked.sql().to_owned(),
            hash: checked.hash(),
            made_for,
            body: VersionBody {
                title: if rule.code.is_none() { rule.name } else { String::new() },
                relations: checked.relations,
                functions: checked.functions,
                columns: checked.columns,
                cost,
                ..VersionBody::default()
            },
            waiting: None,
            created_at: at,
            decided_by: is_approved.then(|| who.account()),
            decided_at: is_approved.then_some(at),
        };
        rules::insert_version(tx, &version)?;
        Ok::<_, Error>(version)
    });
    Ok(Ok(stored.await?))
}

async fn note_refusal(engine: &Engine, who: Principal, slug: &str, refusal: &Refusal, sql: &str) {
    if let Some(kind) = work::noteworthy(refusal) {
        work::note(engine, who.account(), slug, kind, sql).await;
    }
}

/// Runs the newest approved version again, without asking a model.
pub(crate) async fn refresh(engine: &Engine, who: Principal, rule: &str) -> Result<std::result::Result<Started, VersionRefusal>> {
    let (engine, name) = (engine.clone(), rule.to_owned());
    to_its_end(async move {
        let Some(rule) = read::named(&engine, &name).await?.into_row() else {
            access::decides_rules(who)?;
            return Ok(Err(VersionRefusal::NoApprovedVersion));
        };
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
) -> Result<std::result::Result<Started, VersionRefusal>> {
    let id = rule.id;
    let versions = engine.inner.store.read(move |tx| rules::versions_of(tx, id)).await?;
    let usable = |version: &&RuleVersion| matches!(version.state, VersionState::Approved | VersionState::Stale);
    match versions.into_iter().rev().find(|version| usable(&version)) {
        Some(version) => Ok(Ok(run_again(engine, who, rule, version, None).await?)),
        None => Ok(Err(VersionRefusal::NoApprovedVersion)),
    }
}

/// Runs a version that somebody has decided for. `waiting` is the run that has waited for it.
async fn run_again(
    engine: &Engine,
    who: Principal,
    rule: Rule,
    version: RuleVersion,
    waiting: Option<RuleRun>,
) -> Result<Started> {
    let is_late = waiting.is_some();
    let run = match waiting {
        Some(run) => run,
        None => {
            let rule_code = rule.code.clone().unwrap_or_else(|| rule.text.clone());
            let wish = serde_json::to_string(&RunRule { rule_code, ..RunRule::default() }).map_err(unreadable)?;
            let run = start::new_run(&rule, who.account(), wish, engine.clock().now());
            let (inserted, node) = (run.clone(), engine.inner.lease.held().id);
            engine.inner.store.write(move |tx| rules::insert_run(tx, &inserted, node)).await?;
            run
        }
    };
    let order = Order {
        wish: serde_json::from_str(&run.request).map_err(unreadable)?,
        resolved: Resolved::of_row(&rule),
        run,
        rule,
        with_progress: false,
        after: None,
        again: Some(Again { version, is_late }),
    };
    Ok(start::launch(engine, order))
}

/// Removes the rule with its versions, runs, tables and view. What runs of it is stopped first.
pub(crate) async fn delete(engine: &Engine, who: Principal, rule: &str) -> Result<()> {
    let (engine, name) = (engine.clone(), rule.to_owned());
    to_its_end(async move {
        let Some(rule) = read::named(&engine, &name).await?.into_row() else {
            // It has never run: there is nothing of it but its place in the file.
            return access::decides_rules(who);
        };
        access::changes_rule(who, &rule)?;
        let (id, slug, at) = (rule.id, rule.slug.clone(), engine.clock().now());
        nodes::stop(&engine, |_, active| active.rule == id);
        let turn = engine.inner.rules.turn_of(id);
        let _turn = turn.lock().await;
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
