//! The loop of a turn: ask, act, repeat, until the model asks for no more tools.

use std::sync::Arc;

use domain::sockets::language_model::StopReason;
use domain::{AgentProfile, Failure, FailureCode, LanguageModel, MessageId, Outcome, Seq, ToolCall, Turn};
use store::events::Fence;

use super::act;
use super::ask::ask;
use super::claim::Claimed;
use super::finish::{End, StepEnd, end_step, finish};
use super::fold::Fold;
use super::runner::{RETRY, Stops};
use crate::events::{Append, Attached};
use crate::{Engine, Error, agents};

/// Model requests that one turn may make. A model that asks for more is going in circles.
pub const MAX_STEPS: u32 = 50;

/// A turn that is running.
pub(super) struct Run {
    pub(super) engine: Engine,
    pub(super) attached: Attached,
    pub(super) claimed: Claimed,
    pub(super) model: Arc<dyn LanguageModel>,
    pub(super) profile: AgentProfile,
    pub(super) stops: Stops,
    /// The end of the log when the model was last asked: what a person says later, it has not seen.
    pub(super) asked_at: Seq,
}

impl Run {
    pub(super) const fn turn(&self) -> &Turn {
        &self.claimed.turn
    }

    pub(super) const fn message(&self) -> MessageId {
        self.claimed.message
    }

    pub(super) fn append(&self) -> Append {
        Append::to(&self.engine, self.claimed.conversation.id, Fence::Epoch(self.claimed.epoch))
    }

    pub(super) fn live(&self) -> &Arc<crate::events::Live> {
        &self.attached.live
    }
}

/// Runs the turn to its end.
pub(super) async fn run(engine: &Engine, mut claimed: Claimed, stops: Stops) {
    let Some(attached) = attach(engine, &mut claimed, &stops).await else { return };
    let Some(profile) = profile(engine, &claimed, &stops).await else { return };
    let (profile, gone) = match profile {
        Ok(profile) => (profile, false),
        Err(nobody) => (nobody, true),
    };
    let (model, missing) = match engine.catalogue().model(&profile.model) {
        Ok(model) => (model, None),
        // The settings have changed since the conversation was made.
        Err(_) => (Arc::clone(&engine.inner.default_model), Some(profile.model.to_string())),
    };
    let mut run = Run { engine: engine.clone(), attached, claimed, model, profile, stops, asked_at: Seq::default() };
    let end = match missing {
        _ if gone => failed(FailureCode::WorkdirGone, "The directory of the project is not there.".to_owned()),
        Some(name) => failed(FailureCode::ProviderRejected, format!("The model {name} is not available on this server.")),
        None => drive(&mut run).await,
    };
    finish(&mut run, end).await;
}

/// The conversation's live log; `None` if the conversation is deleted or the program ends.
async fn attach(engine: &Engine, claimed: &mut Claimed, stops: &Stops) -> Option<Attached> {
    let mut held = claimed.attached.take();
    loop {
        let before = held.take();
        let attaching = async {
            let attached = match before {
                Some(attached) => attached,
                None => engine.inner.bus.live(claimed.conversation.id).await?,
            };
            // Other nodes may have written what this one has not heard of yet.
            engine.inner.bus.catch_up_to(&attached.live, claimed.since).await?;
            Ok(attached)
        };
        match attaching.await {
            Ok(attached) => return Some(attached),
            Err(Error::NotFound) => return None,
            Err(error) => tracing::error!(turn = %claimed.turn.id, %error, "a turn cannot start yet; trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stops.shutdown.cancelled() => return None,
            () = stops.lost.cancelled() => return None,
        }
    }
}

/// Who answers; `None` if the conversation is deleted or the program ends. `Err`: there is nothing to answer about, and who
/// says so can do nothing.
async fn profile(engine: &Engine, claimed: &Claimed, stops: &Stops) -> Option<Result<AgentProfile, AgentProfile>> {
    loop {
        match agents::profile(engine, &claimed.conversation, &claimed.turn).await {
            Ok(profile) => return Some(Ok(profile)),
            Err(Error::NotFound) => return None,
            Err(Error::ProjectNotFound | Error::ProjectGone) => {
                return Some(Err(agents::without_tools(engine, &claimed.conversation, &claimed.turn)));
            }
            Err(error) => tracing::error!(turn = %claimed.turn.id, %error, "a turn cannot start yet; trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stops.shutdown.cancelled() => return None,
        }
    }
}

async fn drive(run: &mut Run) -> End {
    if !run.claimed.open_calls.is_empty()
        && let Err(end) = act::act(run).await
    {
        return end;
    }
    while run.turn().steps < MAX_STEPS {
        if run.stops.hand_over.is_cancelled() {
            return End::Shutdown { fold: None };
        }
        let fold = match ask(run).await {
            Ok(fold) => fold,
            Err(end) => return end,
        };
        let calls = match step(run, fold).await {
            Ok(Step::Ended) => return End::Done,
            Ok(Step::Next) => continue,
            Ok(Step::Act(calls)) => calls,
            Err(end) => return end,
        };
        run.claimed.open_calls = (0..).zip(calls).collect();
        if let Err(end) = act::act(run).await {
            return end;
        }
    }
    failed(FailureCode::LimitReached, format!("The turn was stopped after {MAX_STEPS} steps."))
}

enum Step {
    Ended,
    Next,
    Act(Vec<ToolCall>),
}

/// What the model's answer means for the turn; stores the step.
async fn step(run: &mut Run, mut fold: Fold) -> Result<Step, End> {
    let outcome = match fold.stop() {
        StopReason::EndTurn | StopReason::ToolUse if fold.has_calls() => None,
        StopReason::EndTurn | StopReason::ToolUse => Some(Outcome::Completed),
        StopReason::MaxTokens | StopReason::ContextWindowExceeded => Some(Outcome::Truncated),
        StopReason::Refused => Some(Outcome::Refused),
        StopReason::Paused => None,
    };
    run.claimed.turn.steps += 1;
    run.claimed.turn.usage += fold.usage();
    match end_step(run, &mut fold, outcome).await {
        Ok(StepEnd::Finished) => Ok(Step::Ended),
        Ok(StepEnd::NextMessage(message)) => {
            run.claimed.message = message;
            Ok(Step::Next)
        }
        Ok(StepEnd::Calls(calls)) => Ok(Step::Act(calls)),
        Err(error) => Err(broken(&error)),
    }
}

pub(super) fn failed(code: FailureCode, sentence: String) -> End {
    End::Outcome { outcome: Outcome::Failed(Failure { code, sentence }), fold: None }
}

pub(super) fn broken(error: &Error) -> End {
    match error {
        Error::NotFound => End::Lost,
        Error::StorageFull => failed(FailureCode::StorageFull, "The storage of this server is full.".to_owned()),
        _ => failed(FailureCode::Internal, "Something went wrong on this server.".to_owned()),
    }
}
