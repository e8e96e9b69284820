//! From a rule to its answer: reuse or ask, check, plan, run, store. Two repairs where an honest mistake explains a refusal.

use std::sync::Arc;
use std::time::Instant;

use domain::{AccountId, MadeFor, Rule, RulePolicy, RuleRun, RuleVersion, RunState, VersionBody, VersionSource, VersionState};
use store::dataset::{Checked, Class, RunError, check};
use store::rules::{self, AuditEntry};
use tokio::sync::{OwnedMutexGuard, SemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::ask::{Draft, Reply, ask};
use super::context::{self, Asked, Complaint};
use super::keep::Keeper;
use super::outcome::{Answer, Ended, Envelope, Failure, Made, RuleErrorCode, Stage};
use super::source::Source;
use super::start::{Exchange, Resolved, RunRule};
use super::{keep, names};
use crate::{Engine, Error};

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
    pub after: Option<CancellationToken>,
    pub again: Option<Again>,
    pub envelope: Envelope,
}

/// A version that somebody has decided for.
#[derive(Debug, Clone)]
pub(super) struct Again {
    pub version: RuleVersion,
    /// Somebody has waited for it since long before.
    pub is_late: bool,
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
    state: RunState,
}

/// What a run holds while it works.
struct Place<'a> {
    _turn: OwnedMutexGuard<()>,
    _place: SemaphorePermit<'a>,
}

impl Work {
    /// Never fails: whatever happens becomes the run's answer, and is on disk when this returns.
    pub(super) async fn finished(mut self) -> Answer {
        let is_late = self.again.as_ref().is_some_and(|again| again.is_late);
        let ended = match self.go().await {
            Ok(Finish { ended, state }) => {
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
        let answer = self.envelope.around(self.engine.clock().now(), ended);
        self.write_down(&answer, is_late).await;
        answer
    }

    async fn write_down(&mut self, answer: &Answer, is_late: bool) {
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
            keep::announce(&self.engine, self.run.id, &made.name, view, table, is_late.then(|| answer.clone()));
        }
    }

    async fn go(&mut self) -> Result<Finish, Failure> {
        self.tell(Stage::Queued);
        let engine = self.engine.clone();
        let cancel = self.cancel.clone();
        let _place = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Failure::cancelled(Stage::Queued)),
            place = self.place(&engine) => place?,
        };
        if let Some(active) = engine.inner.rules.active().get_mut(&self.run.id) {
            active.waiting = false;
        }
        let (id, at, node) = (self.run.id, engine.clock().now(), engine.inner.lease.held().id);
        self.run.state = RunState::Running;
        self.run.started_at = Some(at);
        self.envelope.began = Instant::now();
        let began = engine.inner.store.write(move |tx| rules::begin_run(tx, id, node, at)).await;
        began.map_err(|error| Failure::internal(&Error::from(error), Stage::Queued))?;
        let source = engine.inner.rules.source().await.map_err(|reason| Failure::unavailable(&reason))?;
        if let Some(Again { version, .. }) = self.again.take() {
            return self.run_again(&source, version).await;
        }
        let made_for = MadeFor {
            text: names::text_hash(&self.resolved.text),
            schema: source.schema_hash(),
            semantics: source.file.semantics_hash(),
        };
        if !self.wish.fresh
            && self.dialog().is_empty()
            && let Some(candidate) = self.approved(&source, &made_for).await?
        {
            return self.finish(&source, candidate, &made_for, true).await;
        }
        self.generate(&source, &made_for).await
    }

    /// Waits for those before it: on its socket, of its rule, and in the data set.
    async fn place<'a>(&self, engine: &'a Engine) -> Result<Place<'a>, Failure> {
        if let Some(before) = &self.after {
            before.cancelled().await;
        }
        let turn = engine.inner.rules.turn_of(self.rule.id).lock_owned().await;
        let place = engine.inner.rules.places.acquire().await.map_err(|_| Failure::cancelled(Stage::Queued))?;
        Ok(Place { _turn: turn, _place: place })
    }

    /// The rows of an approved version, without a model. If what it reads is gone, the former rows stay.
    async fn run_again(&mut self, source: &Source, version: RuleVersion) -> Result<Finish, Failure> {
        self.envelope.sql = Some(version.sql.clone());
        let (rule, number) = (self.rule.id, version.version);
        let kept = match check(&version.sql, &source.schema) {
            Ok(_) => self.keep(source, version).await,
            Err(refusal) => {
                let message = format!("Invalid SQL generated: {}", refusal.reason);
                Err(Failure::new(RuleErrorCode::InvalidSql, message, Stage::Checking))
            }
        };
        if kept.as_ref().is_err_and(|failure| failure.code == RuleErrorCode::InvalidSql) {
            let marked = self.engine.inner.store.write(move |tx| {
                rules::set_stale(tx, rule)?;
                rules::set_version_state(tx, rule, number, VersionState::Stale)
            });
            marked.await.map_err(|error| Failure::internal(&Error::from(error), Stage::Saving))?;
        }
        kept
    }

    /// Asks, checks, and asks again with what was wrong.
    async fn generate(&mut self, source: &Source, made_for: &MadeFor) -> Result<Finish, Failure> {
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
            self.tell(if complaints.is_empty() { Stage::Generating } else { Stage::Repairing });
            let request = context::request(&asked, &complaints);
            let context_hash = context::hash(&request);
            let draft = match ask(&*model, request, &self.cancel).await? {
                Reply::Query(draft) => draft,
                Reply::Clarify { question, options } if !must_decide => return Ok(self.question(dialog, question, options)),
                Reply::Clarify { .. } | Reply::Neither => {
                    return Err(Failure::new(RuleErrorCode::NoSql, "The model gave no SQL", Stage::Generating));
                }
            };
            self.envelope.sql = Some(draft.sql.clone());
            let written = draft.sql.clone();
            self.tell(Stage::Checking);
            let complaint = match self.try_draft(source, draft, made_for, model.name().to_string(), context_hash).await? {
                Tried::Finished(result) => return Ok(*result),
                Tried::Mistake(complaint) => complaint,
            };
            let same = complaints.iter().any(|before| before.sql.trim() == written.trim());
            if same || self.envelope.repairs == MAX_REPAIRS {
                return Err(given_up(complaint));
            }
            self.envelope.repairs += 1;
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
    ) -> Result<Tried, Failure> {
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
        let failure = match self.finish(source, Candidate { checked, version: None, body, cost }, made_for, false).await {
            Ok(result) => return Ok(Tried::Finished(Box::new(result))),
            Err(failure) => failure,
        };
        self.envelope.sql = Some(draft.sql.clone());
        match failure.code {
            // What only running shows, such as a value that does not fit its type.
            RuleErrorCode::InvalidSql => {
                let message = failure.message.trim_start_matches("Invalid SQL generated: ").to_owned();
                let name = last_name(&message);
                mistake("database", "run", message, name)
            }
            RuleErrorCode::ForbiddenSql => {
                note(&self.engine, self.run.account, &self.rule.slug, "forbidden", &draft.sql).await;
                Err(failure)
            }
            _ => Err(failure),
        }
    }

    /// By policy: stores the rows, shows some, or waits.
    async fn finish(
        &mut self,
        source: &Source,
        candidate: Candidate,
        made_for: &MadeFor,
        is_approved: bool,
    ) -> Result<Finish, Failure> {
        let policy = match source.policy() {
            _ if is_approved => RulePolicy::Auto,
            RulePolicy::Auto if self.wish.preview => RulePolicy::Preview,
            policy => policy,
        };
        let sql = candidate.checked.sql().to_owned();
        self.envelope.sql = Some(sql.clone());
        match policy {
            RulePolicy::Auto => {
                let version = self.version(&candidate, made_for, VersionState::Approved, None);
                self.keep(source, version).await
            }
            RulePolicy::Preview => {
                self.tell(Stage::Running);
                let (columns, rows, truncated) = keep::peek(source, &sql, PREVIEWED_ROWS, &self.cancel).await?;
                let version = self.draft(&candidate, made_for).await?;
                self.run.version = Some(version);
                let name = display_name(&self.rule, &candidate.body);
                let made = made(version, name, &candidate.body, columns, rows, truncated);
                Ok(Finish { ended: Ended::Previewed { made }, state: RunState::Pending })
            }
            RulePolicy::Approve => {
                let version = self.draft(&candidate, made_for).await?;
                self.run.version = Some(version);
                let VersionBody { title, explanation, assumptions, .. } = candidate.body;
                let ended = Ended::Waiting { version, title, explanation, assumptions };
                Ok(Finish { ended, state: RunState::Pending })
            }
        }
    }

    async fn keep(&mut self, source: &Source, version: RuleVersion) -> Result<Finish, Failure> {
        self.tell(Stage::Running);
        let (progress, round) = (self.progress.clone(), self.envelope.repairs);
        let keeper = Keeper {
            engine: &self.engine,
            source,
            rule: &self.rule,
            cancel: &self.cancel,
            envelope: &self.envelope,
            on_saving: &move || tell(progress.as_ref(), Stage::Saving, round),
        };
        let ended = keeper.keep(&mut self.run, version).await?;
        Ok(Finish { ended, state: RunState::Done })
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

    async fn draft(&self, candidate: &Candidate, made_for: &MadeFor) -> Result<i64, Failure> {
        let mut version = self.version(candidate, made_for, VersionState::Draft, Some(self.run.id));
        let inserted = self.engine.inner.store.write(move |tx| {
            version.version = rules::next_version(tx, version.rule)?;
            rules::insert_version(tx, &version)?;
            Ok::<_, store::StoreError>(version.version)
        });
        inserted.await.map_err(|error| Failure::internal(&Error::from(error), Stage::Saving))
    }

    /// The newest approved version that was made for exactly this, if it still passes.
    async fn approved(&self, source: &Source, made_for: &MadeFor) -> Result<Option<Candidate>, Failure> {
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
        self.envelope.sql = None;
        Finish { ended: Ended::Asked { question, options }, state: RunState::Question }
    }

    fn dialog(&self) -> Vec<Exchange> {
        serde_json::from_str(&self.run.dialog).unwrap_or_default()
    }

    fn tell(&self, stage: Stage) {
        tell(self.progress.as_ref(), stage, self.envelope.repairs);
    }

    async fn failed(&self, error: &RunError, sql: &str, source: &Source) -> Failure {
        if let RunError::Forbidden(_) = error {
            note(&self.engine, self.run.account, &self.rule.slug, "forbidden", sql).await;
        }
        failure_of(error, source.file.limits.time_ms, Stage::Running)
    }

    async fn note_refusal(&self, refusal: &store::dataset::Refusal, sql: &str) {
        if let Some(kind) = noteworthy(refusal) {
            note(&self.engine, self.run.account, &self.rule.slug, kind, sql).await;
        }
    }
}

fn tell(progress: Option<&mpsc::UnboundedSender<(Stage, u32)>>, stage: Stage, round: u32) {
    if let Some(progress) = progress {
        // Whoever asked may have gone.
        let _ = progress.send((stage, round));
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

/// What the audit log calls a refusal that belongs there.
pub(super) fn noteworthy(refusal: &store::dataset::Refusal) -> Option<&'static str> {
    match (refusal.class, &refusal.probed) {
        (Class::Forbidden, _) => Some("forbidden"),
        (Class::Mistake, Some(_)) => Some("probed"),
        (Class::Mistake, None) => None,
    }
}

/// Writes to the audit log; a failure is logged.
pub(super) async fn note(engine: &Engine, account: AccountId, rule: &str, kind: &str, detail: &str) {
    let entry =
        AuditEntry { at: engine.clock().now(), account, rule: rule.to_owned(), kind: kind.to_owned(), detail: detail.to_owned() };
    if let Err(error) = engine.inner.store.write(move |tx| rules::audit(tx, &entry)).await {
        tracing::error!(%error, "the audit log of the rules could not be written");
    }
}

/// The answer of a run as it was given.
pub(crate) fn read_answer(run: &RuleRun) -> Option<Arc<Answer>> {
    serde_json::from_str(run.answer.as_deref()?).ok().map(Arc::new)
}
