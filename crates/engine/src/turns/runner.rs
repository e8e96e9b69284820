//! Who runs turns: one task for each conversation that has something to answer, in the order of its queue.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{ConversationId, TurnId};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::claim::{Claimed, Next, claim};
use super::{resume, run};
use crate::{Engine, Error, Result, nodes};

/// Turns that run at once on one node. Those beyond wait in their queues.
const TURNS_AT_ONCE: usize = 1024;
/// How long to wait before trying again when the database refuses.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// The tasks that run turns.
#[derive(Debug)]
pub(crate) struct Runners {
    state: Mutex<State>,
    places: Semaphore,
    /// Cancelled when what still runs must stop now, because the program ends.
    shutdown: CancellationToken,
    /// Cancelled when the program is about to end and other nodes can go on with what runs.
    hand_over: CancellationToken,
    /// How many tasks there are.
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    runners: HashMap<ConversationId, Runner>,
    draining: bool,
    /// Everything has ended, and nothing will begin.
    left: bool,
}

#[derive(Debug, Default)]
struct Runner {
    /// Something was queued after the task last looked.
    again: bool,
    current: Option<Current>,
    /// A turn that was told to stop between its claim and its registration.
    stop_at_start: Option<TurnId>,
}

#[derive(Debug, Clone)]
struct Current {
    turn: TurnId,
    cancel: CancellationToken,
    /// Its sender is dropped when the turn has ended.
    ended: watch::Receiver<()>,
}

/// How a turn may be told to stop.
#[derive(Debug, Clone)]
pub(super) struct Stops {
    pub(super) cancel: CancellationToken,
    /// The program ends: at once, with what was said.
    pub(super) shutdown: CancellationToken,
    /// The program ends, and another node may go on: at the next point at which that costs nothing.
    pub(super) hand_over: CancellationToken,
    /// The turn is not ours any more: at once, without a word.
    pub(super) lost: CancellationToken,
}

impl Default for Runners {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            places: Semaphore::new(TURNS_AT_ONCE),
            shutdown: CancellationToken::new(),
            hand_over: CancellationToken::new(),
            count: watch::channel(0).0,
        }
    }
}

impl Runners {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for another turn.
    pub(crate) fn may_claim(&self) -> bool {
        self.places.available_permits() > 0 && !self.lock().draining
    }

    /// Whether everything has ended.
    pub(crate) fn has_left(&self) -> bool {
        self.lock().left
    }

    fn current(&self, conversation: ConversationId, turn: TurnId) -> Option<Current> {
        let current = self.lock().runners.get(&conversation).and_then(|runner| runner.current.clone());
        current.filter(|current| current.turn == turn)
    }
}

/// Sees to it that what waits in the conversation is answered.
pub(crate) fn wake(engine: &Engine, conversation: ConversationId) {
    if !start(engine, conversation, None) {
        engine.inner.bus.ask_to_serve(conversation);
    }
}

/// Goes on with a turn that was taken up after a crash, and then with the queue.
pub(super) fn go_on(engine: &Engine, claimed: Claimed) {
    start(engine, claimed.conversation.id, Some(claimed));
}

/// `false`: this node takes nothing up any more.
fn start(engine: &Engine, conversation: ConversationId, first: Option<Claimed>) -> bool {
    let runners = &engine.inner.runners;
    let mut state = runners.lock();
    if state.draining {
        return false;
    }
    if let Some(runner) = state.runners.get_mut(&conversation) {
        runner.again = true;
        return true;
    }
    state.runners.insert(conversation, Runner::default());
    runners.count.send_modify(|count| *count += 1);
    tokio::spawn(serve(engine.clone(), conversation, first));
    true
}

/// Makes the caller the one who answers in the conversation, until it calls [`go_on_reserved`], which it must. `false`:
/// somebody else does already, or nothing more is to be started here.
pub(crate) fn reserve(engine: &Engine, conversation: ConversationId) -> bool {
    let runners = &engine.inner.runners;
    let mut state = runners.lock();
    if state.draining || state.runners.len() >= TURNS_AT_ONCE || state.runners.contains_key(&conversation) {
        return false;
    }
    state.runners.insert(conversation, Runner::default());
    runners.count.send_modify(|count| *count += 1);
    true
}

/// Goes on in a conversation that was reserved: with the turn that was claimed there, or with what was queued meanwhile.
pub(crate) fn go_on_reserved(engine: &Engine, conversation: ConversationId, claimed: Option<Claimed>) {
    let runners = &engine.inner.runners;
    if claimed.is_some() || look_again(runners, conversation) {
        tokio::spawn(serve(engine.clone(), conversation, claimed));
    } else {
        runners.count.send_modify(|count| *count -= 1);
    }
}

/// Cancels the turn if it still runs, here or on another node, without waiting for its end. That it is to stop is in the
/// database already; this is only about when.
pub(crate) fn interrupt(engine: &Engine, conversation: ConversationId, turn: TurnId) {
    interrupt_here(engine, conversation, turn);
    engine.inner.bus.ask_to_stop(conversation, turn);
}

/// Cancels the turn if this node runs it.
pub(crate) fn interrupt_here(engine: &Engine, conversation: ConversationId, turn: TurnId) {
    let mut state = engine.inner.runners.lock();
    let Some(runner) = state.runners.get_mut(&conversation) else { return };
    match &runner.current {
        Some(current) if current.turn == turn => current.cancel.cancel(),
        // It has ended meanwhile.
        Some(_) => {}
        None => runner.stop_at_start = Some(turn),
    }
}

/// Whether there is a task that runs, or is about to run, what waits in the conversation.
pub(super) fn is_served(engine: &Engine, conversation: ConversationId) -> bool {
    engine.inner.runners.lock().runners.contains_key(&conversation)
}

/// Cancels the turn and waits for its end. `false`: it does not run here.
pub(super) async fn stop(engine: &Engine, conversation: ConversationId, turn: TurnId) -> bool {
    let Some(mut current) = engine.inner.runners.current(conversation, turn) else { return false };
    current.cancel.cancel();
    // An error says that the sender is gone, which is what is waited for.
    while current.ended.changed().await.is_ok() {}
    true
}

/// Stops claiming turns and waits for those that run; what still runs after `patience_ms` is stopped: with its text kept
/// if it has shown some, otherwise to be taken up at the next start. If there are other nodes, those that can go on
/// elsewhere without anything being lost are let go at once.
pub(crate) async fn drain(engine: &Engine, patience_ms: u64) {
    let runners = &engine.inner.runners;
    runners.lock().draining = true;
    if nodes::has_others(engine).await {
        runners.hand_over.cancel();
    }
    let mut count = runners.count.subscribe();
    let all_ended = async |count: &mut watch::Receiver<usize>| {
        let _ = count.wait_for(|count| *count == 0).await;
    };
    if tokio::time::timeout(Duration::from_millis(patience_ms), all_ended(&mut count)).await.is_err() {
        runners.shutdown.cancel();
        if tokio::time::timeout(Duration::from_secs(2), all_ended(&mut count)).await.is_err() {
            tracing::warn!("some turns did not stop in time; they are taken up at the next start");
        }
    }
    engine.inner.bus.flush().await;
    // First, or the missing row would look like a lost lease.
    runners.lock().left = true;
    nodes::leave(engine).await;
    engine.inner.bus.send_what_waits().await;
}

async fn serve(engine: Engine, conversation: ConversationId, first: Option<Claimed>) {
    let runners = &engine.inner.runners;
    let mut next = first;
    loop {
        let Ok(_place) = runners.places.acquire().await else { break };
        let found = match next.take() {
            Some(claimed) => Ok(Next::Run(Box::new(claimed))),
            None if runners.lock().draining => Ok(Next::Nothing),
            // Who may not speak must not claim.
            None if !engine.inner.lease.regained(&engine.inner.lease.held()).await => continue,
            None => claim(&engine, conversation).await,
        };
        let done = match found {
            Ok(Next::Run(claimed)) => run_one(&engine, *claimed).await,
            Ok(Next::Settled) => Ok(()),
            Ok(Next::Abandoned(turn)) => resume::end_broken(&engine, conversation, turn).await,
            Ok(Next::Nothing) | Err(Error::NotFound) if look_again(runners, conversation) => Ok(()),
            Ok(Next::Nothing) | Err(Error::NotFound) => break,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::error!(%conversation, %error, "a waiting message cannot be answered yet");
            tokio::time::sleep(RETRY).await;
        }
    }
    if runners.lock().draining {
        engine.inner.bus.ask_to_serve(conversation);
    }
    runners.count.send_modify(|count| *count -= 1);
}

async fn run_one(engine: &Engine, claimed: Claimed) -> Result<()> {
    let (conversation, turn) = (claimed.conversation.id, claimed.turn.id);
    let runners = &engine.inner.runners;
    let (end, ended) = watch::channel(());
    let cancel = CancellationToken::new();
    let set = |current: Option<Current>| {
        if let Some(runner) = runners.lock().runners.get_mut(&conversation) {
            runner.current = current;
            if runner.stop_at_start.take() == Some(turn) {
                cancel.cancel();
            }
        }
    };
    set(Some(Current { turn, cancel: cancel.clone(), ended }));
    let stops = Stops {
        cancel: cancel.clone(),
        shutdown: runners.shutdown.clone(),
        hand_over: runners.hand_over.clone(),
        lost: claimed.held.lost.clone(),
    };
    let running = run::run(engine, claimed, stops);
    let ran = AssertUnwindSafe(running).catch_unwind().await;
    let ended = match ran {
        Ok(()) => Ok(()),
        Err(_) => {
            // A fault of ours in one turn must not leave its conversation waiting for ever.
            tracing::error!(%conversation, %turn, "a turn broke down");
            resume::end_broken(engine, conversation, turn).await
        }
    };
    set(None);
    drop(end);
    ended
}

/// Whether something was queued meanwhile; if not, the runner is gone.
fn look_again(runners: &Runners, conversation: ConversationId) -> bool {
    let mut state = runners.lock();
    let again = !state.draining && state.runners.get_mut(&conversation).is_some_and(|runner| std::mem::take(&mut runner.again));
    if !again {
        state.runners.remove(&conversation);
    }
    again
}
