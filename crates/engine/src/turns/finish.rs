//! The end of a step, and of a turn. Each is one transaction: what was said last, what it cost, and what comes next.

use domain::{EventKind, Failure, FailureCode, Home, MessageId, Outcome, Part, PartBody, PartId, Place, Seq, ToolCall};
use domain::{ToolResult, Turn};
use store::{Tx, conversations, messages, projects, turns};

use super::act::results_message;
use super::claim::begin_message;
use super::effects;
use super::fold::{Draft, Fold, store_parts};
use super::run::Run;
use super::runner::RETRY;
use crate::events::Append;
use crate::{Error, Result};

/// Why a turn ends.
pub(super) enum End {
    /// Its end is stored already.
    Done,
    /// It is not ours any more: the conversation is deleted, or another node has taken the turn over.
    Lost,
    /// With this outcome; what `fold` holds is still to be stored.
    Outcome { outcome: Outcome, fold: Option<Fold> },
    /// The program ends.
    Shutdown { fold: Option<Fold> },
}

/// What comes after a step.
pub(super) enum StepEnd {
    Finished,
    /// The next step writes this message.
    NextMessage(MessageId),
    /// The model waits for these calls.
    Calls(Vec<ToolCall>),
}

/// Stores a finished answer of the model. `outcome`: the turn ends with it, unless a person has joined in meanwhile.
pub(super) async fn end_step(run: &Run, fold: &mut Fold, outcome: Option<Outcome>) -> Result<StepEnd> {
    let mut drafts = fold.take_rest();
    if outcome.is_some() {
        // A call of an answer that was cut off is not run, and a call without a result must not be stored.
        drafts.retain(|draft| !matches!(draft.body, PartBody::ToolCall(_)));
    }
    let (append, ending) = (run.append(), Ending::of(run));
    let (usage, asked_at) = (fold.usage(), run.asked_at);
    run.engine
        .inner
        .store
        .write(move |tx| {
            append.lock(tx)?;
            let calls = with_usable_ids(tx, &ending, &mut drafts)?;
            let has_calls = !calls.is_empty();
            let said_nothing = drafts.is_empty();
            store_parts(tx, &append, ending.turn.id, drafts)?;
            turns::add_step(tx, ending.turn.id, &usage)?;
            if has_calls {
                return Ok(StepEnd::Calls(calls));
            }
            let joined = messages::joined_after(tx, ending.turn.id, asked_at)?;
            match outcome {
                Some(outcome) if !(joined && outcome == Outcome::Completed) => {
                    ending.store(tx, &append, &outcome)?;
                    Ok(StepEnd::Finished)
                }
                // The message is still empty, so the next step can write it.
                _ if said_nothing => Ok(StepEnd::NextMessage(ending.last)),
                _ => {
                    let head = conversations::head(tx, ending.turn.conversation)?.ok_or(Error::NotFound)?;
                    let next = MessageId::new();
                    begin_message(tx, &append, ending.turn.id, ending.turn.conversation, next, Place::behind(head.seq))?;
                    Ok::<_, Error>(StepEnd::NextMessage(next))
                }
            }
        })
        .await
}

/// Stores the end of a turn, however long the database refuses.
pub(super) async fn finish(run: &mut Run, end: End) {
    let (outcome, fold) = match end {
        End::Done => return,
        End::Lost => {
            tracing::warn!(conversation = %run.turn().conversation, turn = %run.turn().id, "the turn is not ours any more");
            return;
        }
        End::Shutdown { fold } if fold.as_ref().is_none_or(|fold| !fold.has_shown_text()) => return let_go(run).await,
        End::Shutdown { fold } => (interrupted(), fold),
        End::Outcome { outcome, fold } => (outcome, fold),
    };
    if let Some(fold) = &fold {
        // What the provider has counted it will charge, whether its answer came to an end or not.
        run.claimed.turn.usage += fold.usage();
    }
    let drafts = unfinished(run, fold);
    loop {
        match try_finish(run, drafts.clone(), outcome.clone()).await {
            Ok(()) | Err(Error::NotFound) => return,
            Err(error) => {
                tracing::error!(turn = %run.turn().id, %error, "the end of a turn could not be stored; trying again");
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = run.stops.shutdown.cancelled() => return,
                    () = run.stops.lost.cancelled() => return,
                }
            }
        }
    }
}

/// Leaves the turn to whoever takes it up: another node now, or the next start.
async fn let_go(run: &Run) {
    let (append, turn) = (run.append(), run.turn().id);
    let conversation = run.turn().conversation;
    let let_go = run.engine.inner.store.write(move |tx| {
        append.lock(tx)?;
        Ok::<_, Error>(turns::set_node(tx, turn, None)?)
    });
    match let_go.await {
        Ok(()) => run.engine.inner.bus.ask_to_serve(conversation),
        Err(error) => tracing::warn!(%turn, %error, "a turn could not be let go; it is taken up when this node counts as dead"),
    }
}

/// The end of a turn that was cut off and cannot safely go on.
pub(super) fn interrupted() -> Outcome {
    let sentence = "The server stopped before the answer was finished.".to_owned();
    Outcome::Failed(Failure { code: FailureCode::Interrupted, sentence })
}

/// What was said of a step that did not come to its end. Calls of it were never announced and are dropped.
fn unfinished(run: &Run, fold: Option<Fold>) -> Vec<Draft> {
    let mut drafts = match fold {
        Some(mut fold) => fold.take_rest(),
        // A step that failed between two parts may have left one open.
        None => run.live().open_part().map(|open| Draft::of(open, None)).into_iter().collect(),
    };
    drafts.retain(|draft| !matches!(draft.body, PartBody::ToolCall(_)));
    drafts
}

async fn try_finish(run: &Run, drafts: Vec<Draft>, outcome: Outcome) -> Result<()> {
    let (append, ending) = (run.append(), Ending::of(run));
    let (open_calls, results) = (run.claimed.open_calls.clone(), run.claimed.results);
    run.engine
        .inner
        .store
        .write(move |tx| {
            append.lock(tx)?;
            store_parts(tx, &append, ending.turn.id, drafts)?;
            cancel_calls(tx, &append, &ending.turn, open_calls, results)?;
            ending.store(tx, &append, &outcome)
        })
        .await
}

/// A call without a result could never be sent to a model again.
pub(super) fn cancel_calls(
    tx: &mut Tx,
    append: &Append,
    turn: &Turn,
    calls: Vec<(u32, ToolCall)>,
    mut results: Option<MessageId>,
) -> Result<()> {
    for (ordinal, call) in calls {
        let result = effects::result_at_end(tx, append, turn, &call)?;
        store_result(tx, append, turn, ordinal, result, &mut results)?;
    }
    Ok(())
}

/// Stores the result of a call; the first one of a step begins the message that holds them all.
pub(crate) fn store_result(
    tx: &mut Tx,
    append: &Append,
    turn: &Turn,
    ordinal: u32,
    result: ToolResult,
    results: &mut Option<MessageId>,
) -> Result<Seq> {
    let message = results.unwrap_or_else(MessageId::new);
    let event = append.event(tx, Some(turn.id), |seq| EventKind::ToolReturned {
        part: Part {
            id: PartId::new(),
            message,
            ordinal,
            place: Place::at(seq),
            body: PartBody::ToolResult(result),
            created_at: append.at(),
        },
    })?;
    if results.is_none() {
        *results = Some(message);
        messages::insert(tx, &results_message(turn, message, Place::at(event.seq), append.at()), None)?;
    }
    Ok(event.seq)
}

/// What the end of a turn needs to know of it.
#[derive(Clone)]
pub(super) struct Ending {
    turn: Turn,
    last: MessageId,
    cost: Option<f64>,
    home: Home,
}

impl Ending {
    pub(super) fn of(run: &Run) -> Self {
        let turn = run.turn().clone();
        let home = run.claimed.conversation.home;
        Self { last: run.message(), cost: run.model.cost(&turn.usage), turn, home }
    }

    /// For a turn whose model is not asked any more.
    pub(super) const fn without_cost(turn: Turn, last: MessageId, home: Home) -> Self {
        Self { turn, last, cost: None, home }
    }

    pub(super) fn store(&self, tx: &mut Tx, append: &Append, outcome: &Outcome) -> Result<()> {
        let Turn { id, conversation, reply, usage, .. } = self.turn;
        let started_at = self.turn.started_at.unwrap_or(append.at());
        let event = append.event(tx, Some(id), |_| EventKind::TurnFinished {
            reply,
            last: self.last,
            outcome: outcome.clone(),
            usage,
            cost: self.cost,
            duration_ms: append.at().millis_since(started_at),
        })?;
        turns::finish(tx, id, event.seq, outcome)?;
        let shown = self.home == Home::Project && (*outcome == Outcome::Asked || messages::agent_has_spoken(tx, id)?);
        if shown {
            projects::show_row(tx, reply)?;
        }
        Ok(conversations::touch(tx, conversation, append.at())?)
    }
}

/// The model's ids are kept where they can be; one that is empty or was used before is replaced.
fn with_usable_ids(tx: &mut Tx, ending: &Ending, drafts: &mut [Draft]) -> Result<Vec<ToolCall>> {
    let mut calls: Vec<ToolCall> = Vec::new();
    for draft in drafts {
        let PartBody::ToolCall(call) = &mut draft.body else { continue };
        let used = calls.iter().any(|other| other.id == call.id);
        if call.id.is_empty() || used || messages::tool_call_exists(tx, ending.turn.conversation, &call.id)? {
            call.id = format!("call_{}", PartId::new().hex());
        }
        calls.push(call.clone());
    }
    Ok(calls)
}
