//! What an earlier run of the program left unfinished. A turn goes on if its current step had shown no text; otherwise it
//! ends as interrupted, with what is left of its text.

use domain::{Author, ConversationId, EventKind, Message, MessageId, PartBody, Place, ToolCall, Turn, TurnId, TurnState};
use domain::{Effect, Failure, FailureCode, Outcome, PartKind};
use futures_util::future::join_all;
use store::events::Fence;
use store::{Tx, conversations, deltas, messages, turns};

use super::claim::{Claimed, begin_message};
use super::finish::{Ending, cancel_calls, interrupted};
use super::fold::{Draft, store_parts};
use super::runner;
use crate::events::{Append, OpenPart};
use crate::{Catalogue, Engine, Error, Result};

/// Times that one turn is taken up again. One that brings the program down each time must end.
const MAX_RESUMES: i64 = 3;

pub(crate) async fn resume_all(engine: &Engine) -> Result<()> {
    let store = &engine.inner.store;
    let open = store.read(turns::conversations_with_open_turns).await.map_err(Error::from)?;
    // All at once, so that they share their commits: after a crash under load there are many.
    join_all(open.into_iter().map(|conversation| resume_one(engine, conversation))).await;
    store.write(deltas::sweep).await.map_err(Error::from)
}

/// One conversation that cannot be taken up must not keep all others down.
async fn resume_one(engine: &Engine, conversation: ConversationId) {
    let append = Append::to(engine, conversation, Fence::Open);
    let engine_in = engine.clone();
    let resuming = engine.inner.store.write(move |tx| resume(tx, &append, engine_in.catalogue(), conversation));
    match resuming.await {
        Ok(Some(claimed)) => runner::go_on(engine, claimed),
        Ok(None) => runner::wake(engine, conversation),
        Err(error) => tracing::error!(%conversation, %error, "a turn that was cut off could not be taken up"),
    }
}

/// Ends a running turn after a fault of ours.
pub(super) async fn end_broken(engine: &Engine, id: ConversationId, turn: TurnId) -> Result<()> {
    let sentence = "Something went wrong on this server.".to_owned();
    let outcome = Outcome::Failed(Failure { code: FailureCode::Internal, sentence });
    end_abandoned(engine, id, turn, outcome).await
}

/// Ends a running turn that nobody runs any more.
pub(super) async fn end_abandoned(engine: &Engine, id: ConversationId, turn: TurnId, outcome: Outcome) -> Result<()> {
    // Its end is made of what is stored, and followers may have seen more than that.
    engine.inner.bus.flush().await;
    let append = Append::to(engine, id, Fence::Open);
    engine
        .inner
        .store
        .write(move |tx| {
            let Some(turn) = running(tx, id)?.filter(|running| running.id == turn) else { return Ok(()) };
            let left = Left::of(tx, &turn)?;
            end(tx, &append, turn, left, &outcome)
        })
        .await
}

fn running(tx: &mut Tx, id: ConversationId) -> Result<Option<Turn>> {
    Ok(turns::open(tx, id)?.into_iter().find(|turn| turn.state == TurnState::Running))
}

/// Ends the running turn, or makes it ours; `None`: only the queue is left.
fn resume(tx: &mut Tx, append: &Append, catalogue: &Catalogue, id: ConversationId) -> Result<Option<Claimed>> {
    let Some(turn) = running(tx, id)? else { return Ok(None) };
    let epoch = conversations::raise_epoch(tx, id)?.ok_or(Error::NotFound)?;
    let left = Left::of(tx, &turn)?;
    deltas::forget(tx, turn.id)?;
    let safe = !left.shown && left.open_calls.iter().all(|(_, call)| may_repeat(catalogue, call));
    if !safe || turns::count_resume(tx, turn.id)? > MAX_RESUMES {
        tracing::info!(turn = %turn.id, "a turn was cut off by the end of the program and is marked as interrupted");
        end(tx, append, turn, left, &interrupted())?;
        return Ok(None);
    }
    tracing::info!(turn = %turn.id, "a turn was cut off by the end of the program and goes on");
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
    let Left { open_calls, results, .. } = left;
    Ok(Some(Claimed { conversation, turn, epoch, message, open_calls, results, attached: None, first: None }))
}

fn may_repeat(catalogue: &Catalogue, call: &ToolCall) -> bool {
    // A tool that does not exist only says so.
    catalogue.tool(&call.name).is_none_or(|tool| tool.spec().effect != Effect::AtMostOnce)
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
        let open = open_parts(tx, turn)?;
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

/// Puts the stored pieces of each open part together.
fn open_parts(tx: &mut Tx, turn: &Turn) -> Result<Vec<OpenPart>> {
    let mut parts: Vec<OpenPart> = Vec::new();
    for delta in deltas::of_turn(tx, turn.id)? {
        match parts.last_mut().filter(|part| part.part == delta.part) {
            // A stretch that could not be stored leaves a hole; what comes behind it is not shown as if there were none.
            Some(part) if part.text.len() == delta.start => part.text += &delta.text,
            Some(_) => {}
            None if delta.start == 0 => parts.push(OpenPart {
                turn: delta.turn,
                message: delta.message,
                part: delta.part,
                ordinal: delta.ordinal,
                kind: delta.kind,
                place: delta.place,
                at: delta.at,
                text: delta.text,
            }),
            None => {}
        }
    }
    Ok(parts)
}

fn end(tx: &mut Tx, append: &Append, turn: Turn, left: Left, outcome: &Outcome) -> Result<()> {
    let drafts = left.open.into_iter().map(|open| Draft::of(open, None)).collect();
    store_parts(tx, append, turn.id, drafts)?;
    cancel_calls(tx, append, &turn, left.open_calls, left.results)?;
    let last = left.message.map_or(turn.reply, |message| message.id);
    Ending::without_cost(turn, last).store(tx, append, outcome)
}
