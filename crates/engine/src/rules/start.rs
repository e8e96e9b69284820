//! A rule comes in: it is understood, a repeat is recognised, and the run is on disk before anybody hears of it.

use std::sync::Arc;

use domain::{AccountId, NodeId, Principal, Rule, RuleId, RuleRun, RunId, RunState, Timestamp};
use serde::{Deserialize, Serialize};
use store::{StoreError, Tx, rules};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::file::{FileRule, MAX_RULE_CHARACTERS};
use super::outcome::{Answer, Ended, Envelope, RuleErrorCode, Stage};
use super::work::Again;
use super::{Active, MAX_WAITING, names, nodes, work};
use crate::request_key::fingerprint;
use crate::{Engine, Error, Result, to_its_end};

/// Runs among which an answer looks for its question.
const RECENT: i64 = 50;

/// What a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRule {
    /// A code of the rules file, or free text.
    pub rule_code: String,
    pub rule_id: Option<String>,
    pub client_id: Option<String>,
    /// Ask the model again, even if there is an approved version.
    pub fresh: bool,
    /// The reply to the question that the run ended with.
    pub answer: Option<String>,
    /// Show some rows and store nothing until somebody approves, whatever the policy is.
    #[serde(default)]
    pub preview: bool,
}

/// A question of the model and what the person said to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Exchange {
    pub question: String,
    pub answer: Option<String>,
}

/// A run that was taken in, or the answer of one that was there before.
#[derive(Debug)]
pub struct Started {
    /// `None`: nothing was run.
    pub run: Option<RunId>,
    pub slug: String,
    /// It answers what it answered before.
    pub repeated: bool,
    answer: watch::Receiver<Option<Arc<Answer>>>,
    pub progress: Option<mpsc::UnboundedReceiver<(Stage, u32)>>,
}

impl Started {
    /// Waits for the terminal answer. It comes, whatever happens to whoever asked.
    pub async fn answer(&mut self) -> Option<Arc<Answer>> {
        let answer = self.answer.wait_for(Option::is_some).await.ok()?;
        answer.clone()
    }

    pub(super) const fn joined(run: RunId, slug: String, answer: watch::Receiver<Option<Arc<Answer>>>) -> Self {
        Self { run: Some(run), slug, repeated: true, answer, progress: None }
    }

    fn at_once(answer: Answer, run: Option<RunId>, repeated: bool) -> Self {
        let (_, receiver) = watch::channel(Some(Arc::new(answer.clone())));
        Self { run, slug: answer.rule, repeated, answer: receiver, progress: None }
    }
}

/// A rule as it was understood.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    /// What the model is told.
    pub text: String,
    pub slug_text: String,
    /// In the rules file.
    pub code: Option<String>,
    pub name: Option<String>,
}

impl Resolved {
    pub(super) fn of_file(rule: &FileRule) -> Self {
        Self {
            text: names::normal(&rule.logic),
            slug_text: rule.code.clone(),
            code: Some(rule.code.clone()),
            name: Some(rule.name.clone()),
        }
    }

    /// A rule that has a row, as the row has it.
    pub(super) fn of_row(rule: &Rule) -> Self {
        Self { text: rule.text.clone(), slug_text: rule.slug.clone(), code: rule.code.clone(), name: Some(rule.name.clone()) }
    }
}

pub(crate) async fn start(
    engine: &Engine,
    who: Principal,
    wish: RunRule,
    with_progress: bool,
    after: Option<CancellationToken>,
) -> Result<Started> {
    let engine = engine.clone();
    to_its_end(async move { take_in(&engine, who, wish, with_progress, after).await }).await
}

async fn take_in(
    engine: &Engine,
    who: Principal,
    wish: RunRule,
    with_progress: bool,
    after: Option<CancellationToken>,
) -> Result<Started> {
    let resolved = match understood(engine, &wish) {
        Ok(resolved) => resolved,
        Err((code, message)) => return Ok(refused(engine, &wish, code, message)),
    };
    let asked = Asked {
        account: who.account(),
        node: engine.inner.lease.held().id,
        at: engine.clock().now(),
        key: key_of(&wish),
        print: fingerprint(&[names::normal(&wish.rule_code).as_bytes()]),
        request: serde_json::to_string(&wish).map_err(unreadable)?,
        resolved: resolved.clone(),
        wish: wish.clone(),
        is_busy: engine.inner.rules.active().values().filter(|active| active.waiting).count() >= MAX_WAITING,
    };
    match engine.inner.store.write(move |tx| asked.place(tx)).await? {
        Taken::Conflict => {
            Ok(refused(engine, &wish, RuleErrorCode::Conflict, "This client_id was used before with another rule"))
        }
        Taken::Busy => Ok(refused(engine, &wish, RuleErrorCode::Busy, "Too many rules are waiting")),
        Taken::Repeat(run) => repeated(engine, &run, &wish),
        Taken::New(new) => {
            let (run, rule) = *new;
            Ok(launch(engine, Order { run, rule, resolved, wish, with_progress, after, again: None }))
        }
    }
}

/// The rule that is meant; else why it is none.
fn understood(engine: &Engine, wish: &RunRule) -> Result<Resolved, (RuleErrorCode, &'static str)> {
    let (file, _) = engine.inner.rules.file();
    let text = names::normal(&wish.rule_code);
    let by_id = wish.rule_id.as_deref().and_then(|id| file.rules.iter().find(|rule| rule.code == id));
    let known = by_id.or_else(|| file.rule(&text));
    if known.is_none() && text.is_empty() {
        return Err((RuleErrorCode::Empty, "Empty rule"));
    }
    if text.chars().count() > MAX_RULE_CHARACTERS {
        return Err((RuleErrorCode::TooLong, "Rule is too long"));
    }
    Ok(known.map_or_else(|| Resolved { slug_text: text.clone(), text, code: None, name: None }, Resolved::of_file))
}

/// A rule that somebody wants to run, on its way to a row.
#[derive(Clone)]
struct Asked {
    account: AccountId,
    node: NodeId,
    at: Timestamp,
    key: Option<String>,
    print: String,
    request: String,
    resolved: Resolved,
    wish: RunRule,
    is_busy: bool,
}

impl Asked {
    fn place(&self, tx: &mut Tx) -> Result<Taken> {
        let former = match &self.key {
            Some(key) => rules::find_repeat(tx, self.account, key)?,
            None => None,
        };
        match &former {
            Some(run) if run.fingerprint != self.print && self.wish.client_id.is_some() => return Ok(Taken::Conflict),
            Some(run) if self.repeats(run) => return Ok(Taken::Repeat(Box::new(run.clone()))),
            Some(_) | None => {}
        }
        if self.is_busy {
            return Ok(Taken::Busy);
        }
        let rule = rule_for(tx, self.account, &self.resolved, self.at)?;
        let dialog = self.dialog(tx, &rule, former.as_ref())?;
        if let Some(former) = former {
            release_key(tx, former)?;
        }
        let run = RuleRun {
            key: self.key.clone(),
            fingerprint: self.print.clone(),
            dialog: serde_json::to_string(&dialog).map_err(unreadable)?,
            ..new_run(&rule, self.account, self.request.clone(), self.at)
        };
        rules::insert_run(tx, &run, self.node)?;
        Ok(Taken::New(Box::new((run, rule))))
    }

    /// It is answered what it was answered before. What was interrupted is run anew, and an answer goes on with its question.
    fn repeats(&self, run: &RuleRun) -> bool {
        let goes_on = run.state == RunState::Question && self.wish.answer.is_some();
        run.fingerprint == self.print && run.state != RunState::Interrupted && !goes_on
    }

    /// The questions so far, if this answers the last one. A client that gives its runs no names means its newest run.
    fn dialog(&self, tx: &mut Tx, rule: &Rule, former: Option<&RuleRun>) -> Result<Vec<Exchange>, StoreError> {
        let Some(answer) = &self.wish.answer else { return Ok(Vec::new()) };
        let newest = match former {
            Some(run) => Some(run.clone()),
            None => rules::runs_of(tx, rule.id, RECENT)?.into_iter().find(|run| run.account == self.account),
        };
        let asked = newest.filter(|run| run.state == RunState::Question && run.fingerprint == self.print);
        Ok(asked.map(|run| answered(&run.dialog, answer)).unwrap_or_default())
    }
}

enum Taken {
    New(Box<(RuleRun, Rule)>),
    Repeat(Box<RuleRun>),
    Conflict,
    Busy,
}

/// A run that has not begun.
pub(super) fn new_run(rule: &Rule, account: AccountId, request: String, at: Timestamp) -> RuleRun {
    RuleRun {
        id: RunId::new(),
        rule: rule.id,
        account,
        key: None,
        fingerprint: String::new(),
        state: RunState::Waiting,
        created_at: at,
        started_at: None,
        finished_at: None,
        version: None,
        table: None,
        rows: None,
        truncated: false,
        lineage: Vec::new(),
        added: None,
        removed: None,
        request,
        dialog: "[]".to_owned(),
        answer: None,
    }
}

/// What is to be run, and when.
pub(super) struct Order {
    pub run: RuleRun,
    pub rule: Rule,
    pub resolved: Resolved,
    pub wish: RunRule,
    pub with_progress: bool,
    /// Not before this is cancelled: rules of one socket run one after the other.
    pub after: Option<CancellationToken>,
    /// This version, which somebody has decided for, and no model.
    pub again: Option<Again>,
}

/// Runs it in a task of its own, which nothing but its end ends.
pub(super) fn launch(engine: &Engine, order: Order) -> Started {
    let (sender, answer) = watch::channel(None);
    let (progress, progressed) = mpsc::unbounded_channel();
    let cancel = CancellationToken::new();
    let Order { run, rule, resolved, wish, with_progress, after, again } = order;
    let active = Active {
        cancel: cancel.clone(),
        answer: answer.clone(),
        rule: rule.id,
        account: run.account,
        rule_id: wish.rule_id.clone(),
        waiting: true,
    };
    engine.inner.rules.active().insert(run.id, active);
    let started = Started {
        run: Some(run.id),
        slug: rule.slug.clone(),
        repeated: false,
        answer,
        progress: with_progress.then_some(progressed),
    };
    let envelope = Envelope {
        run: run.id,
        rule: rule.slug.clone(),
        rule_id: wish.rule_id.clone(),
        client_id: wish.client_id.clone(),
        repairs: 0,
        sql: None,
        began: std::time::Instant::now(),
    };
    let progress = with_progress.then_some(progress);
    let work = work::Work { engine: engine.clone(), run, rule, resolved, wish, cancel, progress, after, again, envelope };
    tokio::spawn(async move {
        let (engine, id) = (work.engine.clone(), work.run.id);
        let answer = work.finished().await;
        engine.inner.rules.active().remove(&id);
        // Whoever asked may have gone.
        let _ = sender.send(Some(Arc::new(answer)));
    });
    started
}

fn repeated(engine: &Engine, run: &RuleRun, wish: &RunRule) -> Result<Started> {
    if let Some(active) = engine.inner.rules.active().get(&run.id) {
        return Ok(Started::joined(run.id, names::slug(&wish.rule_code), active.answer.clone()));
    }
    if run.answer.is_none() && run.finished_at.is_none() && !engine.inner.lease.is_alone() {
        return Ok(nodes::join(engine, run.id, names::slug(&wish.rule_code), wish));
    }
    let answer = run.answer.as_deref().map(serde_json::from_str::<Answer>).transpose().map_err(unreadable)?;
    let answer = answer.unwrap_or_else(|| interrupted(engine, run.id, wish));
    Ok(Started::at_once(answer, Some(run.id), true))
}

pub(super) fn interrupted(engine: &Engine, run: RunId, wish: &RunRule) -> Answer {
    Answer { run, ..told(engine, wish, RuleErrorCode::Interrupted, "Interrupted by a restart") }
}

fn refused(engine: &Engine, wish: &RunRule, code: RuleErrorCode, message: &str) -> Started {
    Started::at_once(told(engine, wish, code, message), None, false)
}

fn told(engine: &Engine, wish: &RunRule, code: RuleErrorCode, message: &str) -> Answer {
    Answer {
        run: RunId::from_uuid(uuid::Uuid::nil()),
        rule: names::slug(&wish.rule_code),
        rule_id: wish.rule_id.clone(),
        client_id: wish.client_id.clone(),
        at: engine.clock().now(),
        ms: 0,
        repairs: 0,
        sql: None,
        ended: Ended::Failed { code, message: message.to_owned(), stage: Stage::Queued },
    }
}

/// By what a client knows its own run again. A rule's code is no name of a run.
fn key_of(wish: &RunRule) -> Option<String> {
    match (&wish.client_id, &wish.rule_id) {
        (Some(client_id), _) => Some(format!("client {client_id}")),
        (None, Some(rule_id)) if names::client_number(rule_id).is_some() => Some(format!("id {rule_id}")),
        _ => None,
    }
}

/// The name goes over to another run.
fn release_key(tx: &mut Tx, run: RuleRun) -> Result<(), StoreError> {
    rules::update_run(tx, &RuleRun { key: None, ..run })
}

fn answered(dialog: &str, answer: &str) -> Vec<Exchange> {
    let mut dialog: Vec<Exchange> = serde_json::from_str(dialog).unwrap_or_default();
    if let Some(last) = dialog.last_mut() {
        last.answer = Some(answer.to_owned());
    }
    dialog
}

/// The rule of this code or text, or a new one with a name of its own.
pub(super) fn rule_for(tx: &mut Tx, owner: AccountId, resolved: &Resolved, at: Timestamp) -> Result<Rule, StoreError> {
    let Resolved { text, slug_text, code, name } = resolved;
    if let Some(code) = code
        && let Some(rule) = rules::by_code(tx, code)?
    {
        let name = name.clone().unwrap_or_else(|| rule.name.clone());
        if rule.text != *text || rule.name != name {
            rules::rename(tx, rule.id, &name, text, at)?;
        }
        return Ok(Rule { text: text.clone(), name, ..rule });
    }
    for slug in [names::slug(slug_text), names::marked_slug(slug_text)] {
        match rules::by_slug(tx, &slug)? {
            Some(rule) if code.is_none() && rule.code.is_none() && rule.text == *text => return Ok(rule),
            Some(_) => {}
            None => {
                let mut rule = Rule {
                    id: RuleId::new(),
                    number: 0,
                    slug,
                    code: code.clone(),
                    name: name.clone().unwrap_or_else(|| text.clone()),
                    text: text.clone(),
                    owner,
                    created_at: at,
                    updated_at: at,
                    stored: None,
                    stale: false,
                };
                rule.number = rules::insert(tx, &rule)?;
                return Ok(rule);
            }
        }
    }
    Err(StoreError::Duplicate)
}

/// Goes on with a run that waited when its node stopped.
pub(super) fn relaunch(engine: &Engine, run: RuleRun, rule: Rule, wish: RunRule) {
    let order = Order { resolved: Resolved::of_row(&rule), run, rule, wish, with_progress: false, after: None, again: None };
    drop(launch(engine, order));
}

pub(super) fn unreadable(error: serde_json::Error) -> Error {
    tracing::error!(%error, "what belongs to a rule cannot be read or written");
    Error::Internal("a stored rule is unreadable".to_owned())
}
