//! The tool calls of one step: they run together, and each result is stored as it comes.

use std::time::{Duration, Instant};

use domain::sockets::tool::{ToolContext, ToolError, ToolReply};
use domain::{
    AgentProfile, Author, ChoiceCall, Effect, Message, MessageId, Place, QuestionKind, Timestamp, ToolCall, ToolOutcome,
    ToolResult, Turn,
};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::claim::begin_message;
use super::effects;
use super::finish::{End, Ending, store_result};
use super::fold::storable;
use super::run::{Run, broken};
use crate::events::Append;
use crate::questions::{self, ask_user};
use crate::{Engine, Error, Result, agents};

/// How long a call may take, whatever its own limit says.
const TOOL_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs every open call of the turn, and begins the message of the next step. Calls that ask people come last, and end the
/// turn.
pub(super) async fn act(run: &mut Run) -> Result<(), End> {
    let asked = asked(run);
    run_calls(run, &asked).await?;
    if asked.is_empty() { Ok(()) } else { Err(end_asking(run, asked).await) }
}

/// The open calls that ask people something they can be asked.
fn asked(run: &Run) -> Vec<ChoiceCall> {
    if !agents::asks(&run.profile) {
        return Vec::new();
    }
    let calls = run.claimed.open_calls.iter().filter(|(_, call)| call.name == ask_user::NAME);
    calls.filter_map(|(_, call)| ask_user::read(call).ok()).collect()
}

/// Ends the turn with a question. The answer will be the result of its calls, so they alone stay without one.
async fn end_asking(run: &Run, calls: Vec<ChoiceCall>) -> End {
    let (append, ending) = (run.append(), Ending::of(run));
    let (conversation, turn) = (run.turn().conversation, run.turn().id);
    let stored = run.engine.inner.store.write(move |tx| {
        questions::ask(tx, &append, conversation, turn, QuestionKind::Choice { calls }, None)?;
        ending.store(tx, &append, &domain::Outcome::Asked)
    });
    match stored.await {
        Ok(()) => End::Done,
        Err(error) => broken(&error),
    }
}

async fn run_calls(run: &mut Run, asked: &[ChoiceCall]) -> Result<(), End> {
    let cancel = run.stops.cancel.child_token();
    let _stop_all = cancel.clone().drop_guard();
    let (workdir, hidden) = (run.profile.workdir.clone(), run.profile.hidden.clone());
    let context = ToolContext { workdir, hidden, cancel };
    let scene =
        Scene { engine: run.engine.clone(), append: run.append(), turn: run.turn().clone(), profile: run.profile.clone() };
    let mut running: FuturesUnordered<_> = run
        .claimed
        .open_calls
        .iter()
        .filter(|(_, call)| !asked.iter().any(|asked| asked.call_id == call.id))
        .cloned()
        .map(|(ordinal, call)| {
            let started = Instant::now();
            let answer = answer(scene.clone(), context.clone(), call.clone());
            async move { (ordinal, answer.await.map(|answer| result(call, answer, started))) }
        })
        .collect();
    loop {
        let finished = tokio::select! {
            biased;
            () = run.stops.cancel.cancelled() => return Err(End::Outcome { outcome: domain::Outcome::Cancelled, fold: None }),
            () = run.stops.shutdown.cancelled() => return Err(End::Shutdown { fold: None }),
            () = run.stops.lost.cancelled() => return Err(End::Lost),
            finished = running.next() => finished,
        };
        let Some((ordinal, result)) = finished else { return Ok(()) };
        let result = result.map_err(|error| broken(&error))?;
        store(run, ordinal, result).await.map_err(|error| broken(&error))?;
    }
}

/// The message in which the results of a step reach the model.
pub(super) const fn results_message(turn: &Turn, id: MessageId, place: Place, at: Timestamp) -> Message {
    Message {
        id,
        conversation: turn.conversation,
        place,
        author: Author::System,
        turn: turn.id,
        client_id: None,
        created_at: at,
        parts: Vec::new(),
    }
}

/// What a call needs to know of the turn that makes it.
#[derive(Clone)]
struct Scene {
    engine: Engine,
    append: Append,
    turn: Turn,
    profile: AgentProfile,
}

/// How a call was answered: by its tool, or by us because it could not run.
enum Answer {
    Tool(Result<ToolReply, ToolError>),
    Refused(String),
    /// By a person: it was cut off, and is not to run again.
    Decided(ToolResult),
}

async fn answer(scene: Scene, context: ToolContext, call: ToolCall) -> Result<Answer> {
    let Scene { engine, profile, .. } = &scene;
    if agents::asks(profile)
        && call.name == ask_user::NAME
        && let Err(sentence) = ask_user::read(&call)
    {
        return Ok(Answer::Refused(sentence));
    }
    let tool = match agents::allowed(engine, profile, &call.name) {
        Ok(tool) => tool,
        Err(sentence) => return Ok(Answer::Refused(sentence)),
    };
    if tool.spec().effect == Effect::AtMostOnce
        && let Some(decided) = begin(&scene, &call).await?
    {
        return Ok(Answer::Decided(decided));
    }
    // A task of its own, so that calls run side by side and a panic costs this call only.
    let work = tokio::spawn(async move { tool.run(context, call.input).await });
    let abort = work.abort_handle();
    Ok(match tokio::time::timeout(TOOL_TIMEOUT, work).await {
        Ok(Ok(reply)) => Answer::Tool(reply),
        Ok(Err(_)) => Answer::Tool(Err(ToolError("The tool broke down".to_owned()))),
        Err(_) => {
            abort.abort();
            Answer::Tool(Err(ToolError(format!("The tool took longer than {} s", TOOL_TIMEOUT.as_secs()))))
        }
    })
}

/// When this returns, it is on disk that the call begins; or a person has decided that it does not run again.
async fn begin(scene: &Scene, call: &ToolCall) -> Result<Option<ToolResult>> {
    loop {
        let (append, turn, asked) = (scene.append.clone(), scene.turn.clone(), call.clone());
        match scene.engine.inner.store.write(move |tx| effects::next(tx, &append, &turn, &asked)).await? {
            effects::Next::Run => return Ok(None),
            effects::Next::Done(result) => return Ok(Some(result)),
            effects::Next::Wait(question) => questions::wait(&scene.engine, question).await,
        }
    }
}

fn result(call: ToolCall, answer: Answer, started: Instant) -> ToolResult {
    let (output, outcome, truncated) = match answer {
        Answer::Tool(Ok(reply)) => (reply.output, ToolOutcome::Completed, reply.truncated),
        Answer::Tool(Err(error)) => (format!("Tool execution failed: {error}"), ToolOutcome::Failed, false),
        Answer::Refused(sentence) => (sentence, ToolOutcome::Failed, false),
        Answer::Decided(result) => return result,
    };
    let output = storable(output);
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    ToolResult { call_id: call.id, name: call.name, output, outcome, truncated, duration_ms }
}

async fn store(run: &mut Run, ordinal: u32, result: ToolResult) -> Result<()> {
    let (append, turn, mut results) = (run.append(), run.turn().clone(), run.claimed.results);
    let last = run.claimed.open_calls.len() == 1;
    let stored = run.engine.inner.store.write(move |tx| {
        append.lock(tx)?;
        let seq = store_result(tx, &append, &turn, ordinal, result, &mut results)?;
        let next = last.then(MessageId::new);
        if let Some(next) = next {
            begin_message(tx, &append, turn.id, turn.conversation, next, Place::behind(seq))?;
        }
        Ok::<_, Error>((results, next))
    });
    let (results, next) = stored.await?;
    run.claimed.open_calls.retain(|(open, _)| *open != ordinal);
    run.claimed.results = if next.is_some() { None } else { results };
    run.claimed.message = next.unwrap_or(run.claimed.message);
    Ok(())
}
