//! Calls of tools that must never run twice by themselves. That one begins is on disk before it does, under the fence of its
//! turn. If it was begun before and has no result, its run was cut off: it may have run, and only a person may say what
//! comes next.

use domain::{Answer, EventKind, QuestionId, QuestionKind, ToolCall, ToolOutcome, ToolResult, Turn};
use store::{Tx, questions as stored, tool_starts};

use crate::events::Append;
use crate::{Error, Result, questions};

/// What is to be done with a call.
pub(super) enum Next {
    Run,
    /// Nothing before this question is answered.
    Wait(QuestionId),
    Done(ToolResult),
}

/// Begins the call, or says why it must not be begun.
pub(super) fn next(tx: &mut Tx, append: &Append, turn: &Turn, call: &ToolCall) -> Result<Next> {
    append.lock(tx)?;
    let conversation = turn.conversation;
    let Some(started) = tool_starts::get(tx, conversation, &call.id)? else {
        tool_starts::begin(tx, conversation, &call.id, append.at())?;
        return Ok(Next::Run);
    };
    let Some(id) = started.question else { return Ok(Next::Wait(ask(tx, append, turn, call)?)) };
    let question = stored::get(tx, id)?.ok_or(Error::NotFound)?;
    Ok(match question.answered.map(|answered| answered.answer) {
        None => Next::Wait(id),
        Some(Answer::Rerun) => {
            tool_starts::begin(tx, conversation, &call.id, append.at())?;
            Next::Run
        }
        Some(Answer::MarkDone) => Next::Done(ToolResult {
            outcome: ToolOutcome::Completed,
            ..unknown(call, "A person says that this call has run. What it returned is not known.")
        }),
        // Only the three are taken for an answer to this question; the others are what ends it.
        Some(_) => Next::Done(unknown(call, "It is not known whether this call has run. A person chose to go on without it.")),
    })
}

/// Shows that the call may have run, and asks.
fn ask(tx: &mut Tx, append: &Append, turn: &Turn, call: &ToolCall) -> Result<QuestionId> {
    let kind = QuestionKind::Unknown { call: call.clone() };
    let question = questions::ask(tx, append, turn.conversation, turn.id, kind, None)?;
    tool_starts::ask(tx, turn.conversation, &call.id, question.id)?;
    let text = format!("{} was cut off and may have run. Run it again, mark it as done, or skip it?", call.name);
    append.event(tx, Some(turn.id), |_| EventKind::StatusNoted { text })?;
    Ok(question.id)
}

/// The result of an open call whose turn ends; what was asked about it is settled.
pub(super) fn result_at_end(tx: &mut Tx, append: &Append, turn: &Turn, call: &ToolCall) -> Result<ToolResult> {
    let Some(started) = tool_starts::get(tx, turn.conversation, &call.id)? else {
        return Ok(ToolResult { outcome: ToolOutcome::Cancelled, ..unknown(call, "Cancelled") });
    };
    if let Some(id) = started.question
        && let Some(question) = stored::get(tx, id)?.filter(|question| question.answered.is_none())
    {
        questions::settle(tx, append, &question, None, Answer::Cancelled)?;
    }
    Ok(unknown(call, "Cancelled while it ran. It may have run."))
}

/// Whether a person is asked about one of these calls, and so the turn is only waiting.
pub(super) fn waits(tx: &mut Tx, turn: &Turn, calls: &[(u32, ToolCall)]) -> Result<bool> {
    for (_, call) in calls {
        if let Some(id) = tool_starts::get(tx, turn.conversation, &call.id)?.and_then(|started| started.question)
            && stored::get(tx, id)?.is_some_and(|question| question.answered.is_none())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn unknown(call: &ToolCall, output: &str) -> ToolResult {
    ToolResult {
        call_id: call.id.clone(),
        name: call.name.clone(),
        output: output.to_owned(),
        outcome: ToolOutcome::Unknown,
        truncated: false,
        duration_ms: 0,
    }
}
