//! From a rule to its answer: reuse or ask, check, plan, run, store. Two repairs where an honest mistake explains a refusal.

use std::sync::Arc;
use std::time::Instant;

use domain::{AccountId, MadeFor, Rule, RulePolicy, RuleRun, RuleVersion, RunState, VersionBody, VersionSource, VersionState};
use store::dataset::{Checked, Class, RunError, check};
use store::rules::{self, AuditEntry};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ask::{Draft, Reply, ask};
use super::context::{self, Asked, Complaint};
use super::keep::Kept;
use super::outcome::{Answer, Ended, Failure, Made, RuleErrorCode, Stage};
use super::source::Source;
use super::start::{Exchange, Resolved, RunRule};
use super::{keep, names};
use crate::{Engine, Error, Result};

/// By the contract.
const MAX_REPAIRS: u32 = 2;
const MAX_QUESTIONS: usize = 2;
/// Rows that a preview shows before an approval.
const PREVIEWED_ROWS: u64 = 100;
/// Approved versions that are looked through for examples.
const KNOWN_VERSIONS: i64 = 200;

/// One run on its way.
pub(super) struct Work {
    pub engine: Engine,
    pub run: RuleRun,
    pub rule: Rule,
    pub resolved: Resolved,
    pub wish: RunRule,
    pub cancel: CancellationToken,
    pub progress: Option<mpsc::UnboundedSender<(Stage, u32)>>,
    pub began: Instant,
}

/// A query that may run, and where it comes from.
struct Candidate {
    checked: Checked,
    version: Option<i64>,
    body: VersionBody,
    cost: Option<f64>,
}

/// How the pipeline ended, before it is written down.
struct Finish {
    ended: Ended,
    sql: Option<String>,
    state: RunState,
}

impl Work {
    /// Never fails: whatever happens becomes the run's answer, and is on disk when this returns.
    pub(super) async fn finished(mut self) -> Answer {
        let mut repairs = 0;
        let mut sql = None;
        let ended = match self.go(&mut repairs, &mut sql).await {
            Ok(Finish { ended, sql: ran, state }) => {
                sql = ran;
                self.run.state = state;
                ended
            }
            Err(failure) => {
                self.run.state = match failure.code {
                    RuleErrorCode::Cancelled => RunState::Cancelled,
                    _ => RunState::Failed,
                };
                Ended::Failed { code: failure.code, message: failure.message, stage: failure.stage }
            }
        };
        let answer = self.answer(ended, sql, repairs);
        self.write_down(&answer).await;
        answer
    }

    fn answer(&self, ended: Ended, sql: Option<String>, repairs: u32) -> Answer {
        Answer {
            run: self.run.id,
            rule: self.rule.slug.clone(),
            rule_id: self.wish.rule_id.clone(),
            client_id: self.wish.client_id.clone(),
            at: self.engine.clock().now(),
            ms: i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX),
            repairs,
            sql,
            ended,
        }
    }

    async fn write_down(&mut self, answer: &Answer) {
        let at = self.engine.clock().now();
        self.run.answer = serde_json::to_string(answer).ok();
        let waits = matches!(self.run.state, RunState::Pending);
        self.run.finished_at = (!waits).then_some(at);
        let run = self.run.clone();
        let written = self.engine.inner.store.write(move |tx| rules::update_run(tx, &run)).await;
        if let Err(error) = written {
            tracing::error!(%error, "the end of a rule's run could not be stored");
        }
        if let Ended::Stored { made, table, view } = &answer.ended {
            keep::announce(&self.engine, self.run.id, &made.name, view, table, None);
        }
    }

    async fn go(&mut self, repairs: &mut u32, sql: &mut Option<String>) -> std::result::Result<Finish, Failure> {
        self.tell(Stage::Queued, 0);
        let engine = self.engine.clone();
        let _place = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Failure::cancelled(Stage::Queued)),
            place = engine.inner.rules.places.acquire() => place.map_err(|_| Failure::cancelled(Stage::Queued))?,
        };
        if let Some(active) = engine.inner.rules.active().get_mut(&self.run.id) {
            active.waiting = false;
        }
        let (id, at) = (self.run.id, engine.clock().now());
        self.run.state = RunState::Running;
        self.run.started_at = Some(at);
        self.began = Instant::now();
        let started = engine.inner.store.write(move |tx| rules::set_run_state(tx, id, RunState::Running, at)).await;
        started.map_err(|error| Failure::internal(&Error::from(error), Stage::Queued))?;
        let source = engine.inner.rules.source().await.map_err(|reason| Failure::unavailable(&reason))?;
        let made_for = MadeFor {
            text: names::text_hash(&self.resolved.text),
            schema: source.schema_hash(),
            semantics: source.file.semantics_hash(),
        };
        if !self.wish.fresh
            && self.dialog().is_empty()
            && let Some(candidate) = self.approved(&source, &made_for).await?
        {
            *sql = Some(candidate.checked.sql().to_owned());
            return self.finish(&source, candidate, &made_for, true).await;
        }
        self.generate(&source, &made_for, repairs, sql).await
    }

    /// Asks, checks, and asks again with what was wrong.
    async fn generate(
        &mut self,
        source: &Source,
        made_for: &MadeFor,
        repairs: &mut u32,
        sql: &mut Option<String>,
    ) -> std::result::Result<Finish, Failure> {
        let model = self.engine.inner.default_model.clone();
        let approved = self.engine.inner.store.read(|tx| rules::approved_versions(tx, KNOWN_VERSIONS)).await;
        let approved = approved.map_err(|error| Failure::internal(&Error::from(error), Stage::Generating))?;
        let dialog = self.dialog();
        let must_decide = dialog.len() >= MAX_QUESTIONS;
        let asked = Asked {
            file: &source.file,
            schema: &source.schema,
            rule: &self.resolved.text.clone(),
            approved: &approved,
            dialog: &dialog,
            must_decide,
        };
        let mut complaints: Vec<Complaint> = Vec::new();
        loop {
            self.tell(if complaints.is_empty() { Stage::Generating } else { Stage::Repairing }, *repairs);
            let request = context::request(&asked, &complaints);
            let context_hash = context::hash(&request);
            let draft = match ask(&*model, request, &self.cancel).await? {
                Reply::Query(draft) => draft,
                Reply::Clarify { question, options } if !must_decide => return Ok(self.question(dialog, question, options)),
                Reply::Clarify { .. } | Reply::Neither => {
                    return Err(Failure::new(RuleErrorCode::NoSql, "The model gave no SQL", Stage::Generating));
                }
            };
            *sql = Some(draft.sql.clone());
            let written = draft.sql.clone();
            self.tell(Stage::Checking, *repairs);
            let complaint = match self.try_draft(source, draft, made_for, model.name().to_string(), context_hash).await? {
                Tried::Finished(result) => return Ok(*result),
                Tried::Mistake(complaint) => complaint,
            };
            let same = complaints.iter().any(|before| before.sql.trim() == written.trim());
            if same || *repairs == MAX_REPAIRS {
                return Err(given_up(complaint));
            }
            *repairs += 1;
            complaints.push(complaint);
        }
    }

    async fn try_draft(
        &mut self,
        source: &Source,
        draft: Draft,
        made_for: &MadeFor,
        model: String,
        context_hash: String,
    ) -> std::result::Result<Tried, Failure> {
        let mistake = |code: &str, stage, message: String, name| {
            Ok(Tried::Mistake(Complaint { sql: draft.sql.clone(), stage, code: code.to_owned(), message, name }))
        };
        let checked = match check(&draft.sql, &source.schema) {
            Ok(checked) => checked,
            Err(refusal) => {
                self.note_refusal(&refusal, &draft.sql).await;
                if refusal.class == Class::Forbidden {
                    let message = format!("Invalid SQL generated: {}", refusal.reason);
                    return Err(Failure::new(RuleErrorCode::ForbiddenSql, message, Stage::Checking));
                }
                return mistake(refusal.code, "guard", refusal.reason, refusal.name);
            }
        };
        let cost = match source.data.plan(checked.sql(), &source.schema, source.file.limits).await {
            Ok(cost) => cost,
            Err(RunError::Mistake(message)) => {
                let name = last_name(&message);
                return mistake("database", "plan", message, name);
            }
            Err(RunError::TooExpensive) => return mistake("too_expensive", "plan", "Query is too expensive".to_owned(), None),
            Err(error) => return Err(self.failed(&error, &draft.sql, source).await),
        };
        let body = VersionBody {
            title: draft.title.clone(),
            explanation: draft.explanation.clone(),
            assumptions: draft.assumptions.clone(),
            key_columns: draft.key_columns.clone(),
            chart: draft.chart.clone(),
            relations: checked.relations.clone(),
            functions: checked.functions.clone(),
            columns: checked.columns.clone(),
            model: Some(model),
            context_hash: Some(context_hash),
            cost,
        };
        match self.finish(source, Candidate { checked, version: None, body, cost }, made_for, false).await {
            Ok(result) => Ok(Tried::Finished(Box::new(result))),
            // What only running shows, such as a value that does not fit its type.
            Err(failure) if failure.code == RuleErrorCode::InvalidSql => {
                let message = failure.message.trim_start_matches("Invalid SQL generated: ").to_owned();
                let name = last_name(&message);
                mistake("database", "run", message, name)
            }
            Err(failure) => Err(failure),
        }
    }

    /// By policy: stores the rows, shows some, or waits.
    async fn finish(
        &mut self,
        source: &Source,
        candidate: Candidate,
        made_for: &MadeFor,
        is_approved: bool,
    ) -> std::result::Result<Finish, Failure> {
        let policy = match source.policy() {
            _ if is_approved => RulePolicy::Auto,
            RulePolicy::Auto if self.wish.preview => RulePolicy::Preview,
            policy => policy,
        };
        let sql = candidate.checked.sql().to_owned();
        match policy {
            RulePolicy::Auto => {
                self.tell(Stage::Running, 0);
                let version = self.version(&candidate, made_for, VersionState::Approved, None);
                let kept = keep::run_and_keep(&self.engine, source, &self.rule, &mut self.run, version, &self.cancel, || {
                    if let Some(progress) = &self.progress {
                        let _ = progress.send((Stage::Saving, 0));
                    }
                })
                .await?;
                Ok(Finish { ended: stored(&self.rule, kept), sql: Some(sql), state: RunState::Done })
            }
            RulePolicy::Preview => {
                self.tell(Stage::Running, 0);
                let (columns, rows, truncated) = keep::peek(source, &sql, PREVIEWED_ROWS, &self.cancel).await?;
                let version = self.draft(&candidate, made_for).await?;
                self.run.version = Some(version);
                let name = self.display_name(&candidate.body);
                let made = made(version, name, &candidate.body, columns, rows, truncated);
                Ok(Finish { ended: Ended::Previewed { made }, sql: Some(sql), state: RunState::Pending })
            }
            RulePolicy::Approve => {
                let version = self.draft(&candidate, made_for).await?;
                self.run.version = Some(version);
                let VersionBody { title, explanation, assumptions, .. } = candidate.body;
                let ended = Ended::Waiting { version, title, explanation, assumptions };
                Ok(Finish { ended, sql: Some(sql), state: RunState::Pending })
            }
        }
    }

    fn version(
        &self,
        candidate: &Candidate,
        made_for: &MadeFor,
        state: VersionState,
        waiting: Option<domain::RunId>,
    ) -> RuleVersion {
        RuleVersion {
            rule: self.rule.id,
            // 0: the next one, when it is stored.
            version: candidate.version.unwrap_or(0),
            source: VersionSource::Model,
            state,
            sql: candidate.checked.sql().to_owned(),
            hash: candidate.checked.hash(),
            made_for: made_for.clone(),
            body: VersionBody { cost: candidate.cost, ..candidate.body.clone() },
            waiting,
            created_at: self.engine.clock().now(),
            decided_by: None,
            decided_at: None,
        }
    }

    async fn draft(&self, candidate: &Candidate, made_for: &MadeFor) -> std::result::Result<i64, Failure> {
        let mut version = self.version(candidate, made_for, VersionState::Draft, Some(self.run.id));
        let inserted = self.engine.inner.store.write(move |tx| {
            version.version = rules::next_version(tx, version.rule)?;
            rules::insert_version(tx, &version)?;
            Ok::<_, store::StoreError>(version.version)
        });
        inserted.await.map_err(|error| Failure::internal(&Error::from(error), Stage::Saving))
    }

    /// The newest approved version that was made for exactly this, if it still passes.
    async fn approved(&self, source: &Source, made_for: &MadeFor) -> std::result::Result<Option<Candidate>, Failure> {
        let rule = self.rule.id;
        let versions = self.engine.inner.store.read(move |tx| rules::versions_of(tx, rule)).await;
        let versions = versions.map_err(|error| Failure::internal(&Error::from(error), Stage::Queued))?;
        let fits = |version: &&RuleVersion| version.state == VersionState::Approved && version.made_for == *made_for;
        let Some(version) = versions.iter().rev().find(fits) else { return Ok(None) };
        Ok(check(&version.sql, &source.schema).ok().map(|checked| Candidate {
            checked,
            version: Some(version.version),
            body: version.body.clone(),
            cost: version.body.cost,
        }))
    }

    fn question(&mut self, mut dialog: Vec<Exchange>, question: String, options: Vec<String>) -> Finish {
        dialog.push(Exchange { question: question.clone(), answer: None });
        self.run.dialog = serde_json::to_string(&dialog).unwrap_or_default();
        Finish { ended: Ended::Asked { question, options }, sql: None, state: RunState::Question }
    }

    fn dialog(&self) -> Vec<Exchange> {
        serde_json::from_str(&self.run.dialog).unwrap_or_default()
    }

    fn display_name(&self, body: &VersionBody) -> String {
        display_name(&self.rule, body)
    }

    fn tell(&self, stage: Stage, round: u32) {
        if let Some(progress) = &self.progress {
            // Whoever asked may have gone.
            let _ = progress.send((stage, round));
        }
    }

    async fn failed(&self, error: &RunError, sql: &str, source: &Source) -> Failure {
        if let RunError::Forbidden(_) = error {
            note(&self.engine, self.run.account, &self.rule.slug, "forbidden", sql).await;
        }
        failure_of(error, source.file.limits.time_ms, Stage::Running)
    }

    async fn note_refusal(&self, refusal: &store::dataset::Refusal, sql: &str) {
        let kind = match (refusal.class, &refusal.probed) {
            (Class::Forbidden, _) => "forbidden",
            (Class::Mistake, Some(_)) => "probed",
            (Class::Mistake, None) => return,
        };
        note(&self.engine, self.run.account, &self.rule.slug, kind, sql).await;
    }
}

enum Tried {
    Finished(Box<Finish>),
    Mistake(Complaint),
}

fn given_up(complaint: Complaint) -> Failure {
    if complaint.code == "too_expensive" {
        return Failure::new(RuleErrorCode::TooExpensive, complaint.message, Stage::Checking);
    }
    Failure::new(RuleErrorCode::InvalidSql, format!("Invalid SQL generated: {}", complaint.message), Stage::Repairing)
}

/// What a refused run becomes.
pub(super) fn failure_of(error: &RunError, time_ms: u64, stage: Stage) -> Failure {
    match error {
        RunError::Mistake(reason) => Failure::new(RuleErrorCode::InvalidSql, format!("Invalid SQL generated: {reason}"), stage),
        RunError::Forbidden(reason) => {
            Failure::new(RuleErrorCode::ForbiddenSql, format!("Invalid SQL generated: {reason}"), stage)
        }
        RunError::Timeout => Failure::timeout(time_ms, stage),
        RunError::TooExpensive => Failure::new(RuleErrorCode::TooExpensive, "Query is too expensive", stage),
        RunError::Cancelled => Failure::cancelled(stage),
        RunError::Unavailable(reason) => Failure::unavailable(reason),
        RunError::Abandoned => Failure::new(RuleErrorCode::Internal, "Something went wrong on the server", stage),
    }
}

pub(super) fn display_name(rule: &Rule, body: &VersionBody) -> String {
    match (&rule.code, body.title.as_str()) {
        (Some(_), _) | (None, "") => rule.name.clone(),
        (None, title) => title.to_owned(),
    }
}

pub(super) fn stored(rule: &Rule, kept: Kept) -> Ended {
    Ended::Stored { made: kept.made, table: kept.table, view: names::view(&rule.slug) }
}

pub(super) fn made(
    version: i64,
    name: String,
    body: &VersionBody,
    columns: Vec<store::dataset::ResultColumn>,
    rows: Vec<store::dataset::CellRow>,
    truncated: bool,
) -> Made {
    Made {
        version,
        name,
        title: body.title.clone(),
        explanation: body.explanation.clone(),
        assumptions: body.assumptions.clone(),
        chart: drawable(body, &columns),
        rows: rows.len() as u64,
        columns,
        preview: rows,
        truncated,
    }
}

/// A chart of columns that there are, with numbers where numbers are drawn; anything else is dropped.
pub(super) fn drawable(body: &VersionBody, columns: &[store::dataset::ResultColumn]) -> Option<domain::Chart> {
    let chart = body.chart.clone()?;
    let find = |name: &str| columns.iter().find(|column| column.name == name);
    find(&chart.x)?;
    find(&chart.y).filter(|column| column.cell_type.is_number())?;
    if let Some(series) = &chart.series {
        find(series)?;
    }
    Some(chart)
}

/// The name in a database's complaint: `no such column: titel`, `column "titel" does not exist`.
fn last_name(message: &str) -> Option<String> {
    let quoted = message.split('"').nth(1);
    let named = quoted.or_else(|| message.rsplit(": ").next().filter(|_| message.contains(": ")))?;
    let name = named.rsplit('.').next().unwrap_or(named).trim();
    (!name.is_empty() && !name.contains(' ')).then(|| name.to_owned())
}

/// Writes to the audit log; a failure is logged.
pub(super) async fn note(engine: &Engine, account: AccountId, rule: &str, kind: &str, detail: &str) {
    let entry =
        AuditEntry { at: engine.clock().now(), account, rule: rule.to_owned(), kind: kind.to_owned(), detail: detail.to_owned() };
    if let Err(error) = engine.inner.store.write(move |tx| rules::audit(tx, &entry)).await {
        tracing::error!(%error, "the audit log of the rules could not be written");
    }
}

/// Cancels a run of this account: by its id, or by the name that the client gave it.
pub(crate) fn cancel(engine: &Engine, account: AccountId, name: &str) -> Result<()> {
    let active = engine.inner.rules.active();
    let id = domain::RunId::parse(name);
    let found = active
        .iter()
        .find(|(run, active)| active.account == account && (Some(**run) == id || active.rule_id.as_deref() == Some(name)));
    let (_, active) = found.ok_or(Error::NotFound)?;
    active.cancel.cancel();
    Ok(())
}

/// The answer of a run as it was given.
pub(crate) fn read_answer(run: &RuleRun) -> Option<Arc<Answer>> {
    serde_json::from_str(run.answer.as_deref()?).ok().map(Arc::new)
}
