//! What an earlier run of the program, or another node, left unfinished. A turn goes on if its current step had shown no text; otherwise it
//! ends as interrupted, with what is left of its text.

use domain::{Author, ConversationId, EventKind, Message, MessageId, PartBody, Place, ToolCall, Turn, TurnId, TurnState};
use domain::{Failure, FailureCode, Outcome, PartKind};
use futures_util::future::join_all;
use store::events::Fence;
use store::{Tx, conversations, deltas, messages, turns};

use super::claim::{Claimed, begin_message};
use super::effects;
use super::finish::{Ending, cancel_calls, interrupted};
use super::fold::{Draft, store_parts};
use super::runner;
use crate::events::{Append, OpenPart, open_parts};
use crate::nodes::Held;
use crate::{Engine, Error, Result};

/// Times that one turn is taken up again. One that brings the program down each time must end.
const MAX_RESUMES: i64 = 3;

/// Takes up everything that nobody does, before the program listens.
pub(crate) async fn resume_all(engine: &Engine) -> Result<()> {
    let store = &engine.inner.store;
    let open = store.read(|tx| turns::conversations_left_alone(tx, u32::MAX)).await.map_err(Error::from)?;
    // All at once, so that they share their commits: after a crash under load there are many.
    join_all(open.into_iter().map(|conversation| resume_one(engine, conversation))).await;
    store.write(deltas::sweep).await.map_err(Error::from)
}

/// One conversation that cannot be taken up must not keep all others down.
async fn resume_one(engine: &Engine, conversation: ConversationId) {
    let append = Append::to(engine, conversation, Fence::Open);
    let held = engine.inner.lease.held();
    let resuming = engine.inner.store.write(move |tx| {
        append.lock(tx)?;
        let Some(turn) = running(tx, conversation)? else { return Ok(None) };
        match turns::claim(tx, turn.id)?.node {
            Some(_) => Ok(None),
            None => take_over(tx, &append, turn, held),
        }
    });
    match resuming.await {
        Ok(Some(claimed)) => runner::go_on(engine, claimed),
        Ok(None) => runner::wake(engine, conversation),
        Err(Error::NotFound) => {}
        Err(error) => tracing::error!(%conversation, %error, "a turn that was cut off could not be taken up"),
    }
}

/// Ends a running turn after a fault of ours.
pub(super) async fn end_broken(engine: &Engine, id: ConversationId, turn: TurnId) -> Result<()> {
    let sentence = "Something went wrong on this server.".to_owned();
    let outcome = Outcome::Failed(Failure { code: FailureCode::Internal, sentence });
    end_abandoned(engine, id, turn, outcome).await
}

/// Ends a running turn of this node, or of a dead one, that nobody runs any more.
pub(super) async fn end_abandoned(engine: &Engine, id: ConversationId, turn: TurnId, outcome: Outcome) -> Result<()> {
    // Its end is made of what is stored, and followers may have seen more than that.
    engine.inner.bus.flush().await;
    let append = Append::to(engine, id, Fence::Open);
    let own = engine.inner.lease.held().id;
    engine
        .inner
        .store
        .write(move |tx| {
            append.lock(tx)?;
            let Some(turn) = running(tx, id)?.filter(|running| running.id == turn) else { return Ok(()) };
            let left = Left::of(tx, &turn)?;
            match turns::claim(tx, turn.id)?.node {
                Some(node) if node == own => {}
                Some(_) => return Ok(()),
                // The dead may only have been silent, and must not speak again.
                None => drop(conversations::raise_epoch(tx, id)?),
            }
            end(tx, &append, turn, left, &outcome)
        })
        .await
}

fn running(tx: &mut Tx, id: ConversationId) -> Result<Option<Turn>> {
    Ok(turns::open(tx, id)?.into_iter().find(|turn| turn.state == TurnState::Running))
}

/// Ends a turn that nobody alive runs, or makes it ours; `None`: only the queue is left. The conversation must be locked.
pub(super) fn take_over(tx: &mut Tx, append: &Append, turn: Turn, held: Held) -> Result<Option<Claimed>> {
    let id = turn.conversation;
    // What is left is read before the epoch rises, because pieces of text count in theirs only.
    let left = Left::of(tx, &turn)?;
    let stop = turns::claim(tx, turn.id)?.stop;
    let epoch = conversations::raise_epoch(tx, id)?.ok_or(Error::NotFound)?;
    deltas::forget(tx, turn.id)?;
    if stop {
        tracing::info!(turn = %turn.id, "a turn that was to stop was cut off by the end of its node, and is cancelled");
        end(tx, append, turn, left, &Outcome::Cancelled)?;
        return Ok(None);
    }
    // A turn that waits for a person brings nobody down, however often the program starts meanwhile.
    let is_worn_out = !effects::waits(tx, &turn, &left.open_calls)? && turns::count_resume(tx, turn.id)? > MAX_RESUMES;
    if left.shown || is_worn_out {
        tracing::info!(turn = %turn.id, "a turn was cut off by the end of the program and is marked as interrupted");
        end(tx, append, turn, left, &interrupted())?;
        return Ok(None);
    }
    tracing::info!(turn = %turn.id, "a turn was cut off by the end of the program and goes on");
    turns::set_node(tx, turn.id, Some(held.id))?;
    let resumed = append.event(tx, Some(turn.id), |_| EventKind::TurnResumed)?;
    let message = match left.message {
        Some(message) if message.parts.is_empty() || !left.open_calls.is_empty() => message.id,
        _ => {
            let next = MessageId::new();
            begin_message(tx, append, turn.id, id, next, Place::behind(resumed.seq))?;
            next
        }
    };
    let conversation = conversations::get(tx, id)?.ok_or(Error::NotFound)?;
    let (open_calls, results, since) = (left.open_calls, left.results, resumed.seq);
    let (attached, first) = (None, None);
    Ok(Some(Claimed { conversation, turn, epoch, held, since, message, open_calls, results, attached, first }))
}

/// What the last step of a turn has left behind.
struct Left {
    /// The assistant message that the step was writing.
    message: Option<Message>,
    /// Parts of it that were still open.
    open: Vec<OpenPart>,
    /// Calls without results, with their place among the calls of the step.
    open_calls: Vec<(u32, ToolCall)>,
    /// The message with the results there are.
    results: Option<MessageId>,
    /// Somebody may have seen text of a step that did not come to its end.
    shown: bool,
}

impl Left {
    fn of(tx: &mut Tx, turn: &Turn) -> Result<Self> {
        let said = messages::of_turns(tx, &[turn.id])?;
        let message = said.iter().rev().find(|message| message.author == Author::Agent).cloned();
        let results = said.iter().rev().find(|message| message.author == Author::System);
        let results = results.filter(|results| message.as_ref().is_some_and(|message| results.place > message.place));
        let done: Vec<&str> =
            results.into_iter().flat_map(|results| &results.parts).filter_map(|part| answered(&part.body)).collect();
        let calls = message.iter().flat_map(|message| &message.parts).filter_map(|part| match &part.body {
            PartBody::ToolCall(call) => Some(call.clone()),
            _ => None,
        });
        let calls: Vec<(u32, ToolCall)> = (0..).zip(calls).collect();
        let step_ended = !calls.is_empty();
        let open = open_parts(tx, turn.id)?;
        let has_text = |message: &Message| message.parts.iter().any(|part| matches!(part.body, PartBody::Text { .. }));
        let shown =
            open.iter().any(|open| open.kind == PartKind::Text) || (!step_ended && message.as_ref().is_some_and(has_text));
        let results = results.map(|results| results.id);
        let open_calls = calls.iter().filter(|(_, call)| !done.contains(&call.id.as_str())).cloned().collect();
        Ok(Self { open, open_calls, results, shown, message })
    }
}

fn answered(body: &PartBody) -> Option<&str> {
    match body {
        PartBody::ToolResult(result) => Some(&result.call_id),
        _ => None,
    }
}

fn end(tx: &mut Tx, append: &Append, turn: Turn, left: Left, outcome: &Outcome) -> Result<()> {
    let drafts = left.open.into_iter().map(|open| Draft::of(open, None)).collect();
    store_parts(tx, append, turn.id, drafts)?;
    cancel_calls(tx, append, &turn, left.open_calls, left.results)?;
    let last = left.message.map_or(turn.reply, |message| message.id);
    let home = conversations::get(tx, turn.conversation)?.ok_or(Error::NotFound)?.home;
    Ending::without_cost(turn, last, home).store(tx, append, outcome)
}
