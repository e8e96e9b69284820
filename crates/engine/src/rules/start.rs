//! A rule comes in: it is understood, a repeat is recognised, and the run is on disk before anybody hears of it.

use std::sync::Arc;

use domain::{Principal, Rule, RuleId, RuleRun, RunId, RunState};
use serde::{Deserialize, Serialize};
use store::{StoreError, Tx, rules};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::file::{FileRule, MAX_RULE_CHARACTERS};
use super::outcome::{Answer, Ended, RuleErrorCode, Stage};
use super::{Active, MAX_WAITING, names, nodes, work};
use crate::request_key::fingerprint;
use crate::{Engine, Error, Result, to_its_end};

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
    pub text: String,
    pub slug_text: String,
    pub file: Option<FileRule>,
}

pub(crate) async fn start(engine: &Engine, who: Principal, wish: RunRule, with_progress: bool) -> Result<Started> {
    let engine = engine.clone();
    to_its_end(async move { take_in(&engine, who, wish, with_progress).await }).await
}

async fn take_in(engine: &Engine, who: Principal, wish: RunRule, with_progress: bool) -> Result<Started> {
    let (file, _) = engine.inner.rules.file();
    let text = names::normal(&wish.rule_code);
    let by_id = wish.rule_id.as_deref().filter(|id| !id.is_empty()).and_then(|id| file.rules.iter().find(|rule| rule.code == id));
    let known = by_id.or_else(|| file.rule(&text)).cloned();
    if known.is_none() && text.is_empty() {
        return Ok(refused(engine, &wish, RuleErrorCode::Empty, "Empty rule"));
    }
    if text.chars().count() > MAX_RULE_CHARACTERS {
        return Ok(refused(engine, &wish, RuleErrorCode::TooLong, "Rule is too long"));
    }
    let resolved = match known {
        Some(rule) => Resolved { text: names::normal(&rule.logic), slug_text: rule.code.clone(), file: Some(rule) },
        None => Resolved { slug_text: text.clone(), text, file: None },
    };
    let at = engine.clock().now();
    let (request, key) = (serde_json::to_string(&wish).map_err(unreadable)?, key_of(&wish));
    let print = fingerprint(&[names::normal(&wish.rule_code).as_bytes()]);
    let busy = engine.inner.rules.active().values().filter(|active| active.waiting).count() >= MAX_WAITING;
    let (found, wanted, node) = (resolved.clone(), wish.clone(), engine.inner.lease.held().id);
    let taken = engine
        .inner
        .store
        .write(move |tx| {
            let repeat = match &key {
                Some(key) => rules::find_repeat(tx, who.account(), key)?,
                None => None,
            };
            let dialog = match repeat {
                Some(run) if run.fingerprint != print && wanted.client_id.is_some() => return Ok::<_, Error>(Taken::Conflict),
                Some(run) if run.fingerprint == print && run.state == RunState::Question && wanted.answer.is_some() => {
                    release_key(tx, run.clone())?;
                    answered(&run.dialog, wanted.answer.as_deref())
                }
                Some(run) if run.fingerprint == print && run.state != RunState::Interrupted => {
                    return Ok(Taken::Repeat(Box::new(run)));
                }
                Some(run) => {
                    release_key(tx, run)?;
                    Vec::new()
                }
                None => Vec::new(),
            };
            if busy {
                return Ok(Taken::Busy);
            }
            let rule = rule_for(tx, who, &found, at)?;
            let run = RuleRun {
                id: RunId::new(),
                rule: rule.id,
                account: who.account(),
                key,
                fingerprint: print,
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
                dialog: serde_json::to_string(&dialog).map_err(unreadable)?,
                answer: None,
            };
            rules::insert_run(tx, &run, node)?;
            Ok(Taken::New(Box::new((run, rule))))
        })
        .await?;
    match taken {
        Taken::Conflict => {
            Ok(refused(engine, &wish, RuleErrorCode::Conflict, "This client_id was used before with another rule"))
        }
        Taken::Busy => Ok(refused(engine, &wish, RuleErrorCode::Busy, "Too many rules are waiting")),
        Taken::Repeat(run) => repeated(engine, &run, &wish),
        Taken::New(new) => {
            let (run, rule) = *new;
            Ok(launch(engine, run, rule, resolved, wish, with_progress))
        }
    }
}

enum Taken {
    New(Box<(RuleRun, Rule)>),
    Repeat(Box<RuleRun>),
    Conflict,
    Busy,
}

/// Runs it in a task of its own, which nothing but its end ends.
fn launch(engine: &Engine, run: RuleRun, rule: Rule, resolved: Resolved, wish: RunRule, with_progress: bool) -> Started {
    let (sender, answer) = watch::channel(None);
    let (progress, progressed) = mpsc::unbounded_channel();
    let cancel = CancellationToken::new();
    let active = Active {
        cancel: cancel.clone(),
        answer: answer.clone(),
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
    let work = work::Work {
        engine: engine.clone(),
        run,
        rule,
        resolved,
        wish,
        cancel,
        progress: with_progress.then_some(progress),
        began: std::time::Instant::now(),
    };
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
fn release_key(tx: &mut Tx, run: RuleRun) -> std::result::Result<(), StoreError> {
    rules::update_run(tx, &RuleRun { key: None, ..run })
}

fn answered(dialog: &str, answer: Option<&str>) -> Vec<Exchange> {
    let mut dialog: Vec<Exchange> = serde_json::from_str(dialog).unwrap_or_default();
    if let Some(last) = dialog.last_mut() {
        last.answer = answer.map(str::to_owned);
    }
    dialog
}

/// The rule of this text, or a new one with a name of its own.
fn rule_for(tx: &mut Tx, who: Principal, resolved: &Resolved, at: domain::Timestamp) -> std::result::Result<Rule, StoreError> {
    let code = resolved.file.as_ref().map(|rule| rule.code.clone());
    let name = resolved.file.as_ref().map_or_else(|| resolved.text.clone(), |rule| rule.name.clone());
    for slug in [names::slug(&resolved.slug_text), names::marked_slug(&resolved.slug_text)] {
        match rules::by_slug(tx, &slug)? {
            Some(rule) if rule.code == code && (code.is_some() || rule.text == resolved.text) => {
                if rule.text != resolved.text || (code.is_some() && rule.name != name) {
                    rules::rename(tx, rule.id, &name, &resolved.text, at)?;
                }
                return Ok(Rule { text: resolved.text.clone(), ..rule });
            }
            Some(_) => {}
            None => {
                let mut rule = Rule {
                    id: RuleId::new(),
                    number: 0,
                    slug,
                    code,
                    name,
                    text: resolved.text.clone(),
                    owner: who.account(),
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
    let (file, _) = engine.inner.rules.file();
    let known = rule.code.as_deref().and_then(|code| file.rule(code)).cloned();
    let resolved = Resolved { text: rule.text.clone(), slug_text: rule.slug.clone(), file: known };
    drop(launch(engine, run, rule, resolved, wish, false));
}

pub(super) fn unreadable(error: serde_json::Error) -> Error {
    tracing::error!(%error, "what belongs to a rule cannot be read or written");
    Error::Internal("a stored rule is unreadable".to_owned())
}
