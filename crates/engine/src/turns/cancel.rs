use std::time::Duration;

use domain::{ConversationId, EventKind, Outcome, Principal, TurnId, TurnState, Usage};
use store::events::Fence;
use store::{StoreError, Tx, messages, turns};

use super::claim::start;
use super::{resume, runner};
use crate::events::Append;
use crate::request_key::{self, RequestKey};
use crate::{Engine, Error, Result, access, questions};

/// Between the claim of a turn and its registration lies an instant in which it cannot be told to stop.
const CLAIM_GAP: Duration = Duration::from_millis(2);
/// How often to look whether another node has stopped a turn: soon at first, because whoever cancels waits for it.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_LAST: Duration = Duration::from_millis(160);

pub(crate) async fn cancel(
    engine: &Engine,
    who: Principal,
    id: ConversationId,
    turn: Option<TurnId>,
    key: Option<RequestKey>,
) -> Result<bool> {
    let Some(key) = key else { return cancel_now(engine, who, id, turn).await };
    let (store, at, asked) = (&engine.inner.store, engine.inner.clock.now(), key.clone());
    if let Some(answered) = store.read(move |tx| request_key::answer(tx, who, &asked)).await? {
        return Ok(answered);
    }
    let cancelled = cancel_now(engine, who, id, turn).await?;
    // The end of the turn is stored with the turn; of two such requests at once, the answer of the first one is kept.
    store.write(move |tx| request_key::once(tx, who, Some(key), at, |_| Ok(cancelled))).await
}

async fn cancel_now(engine: &Engine, who: Principal, id: ConversationId, turn: Option<TurnId>) -> Result<bool> {
    let home = engine.home;
    let open = engine
        .inner
        .store
        .read(move |tx| {
            access::conversation(tx, who, home, id)?;
            // What waits for an answer does not run, and what waits behind it is not about to.
            if turn.is_none() && questions::open_choice(tx, home, id)?.is_some() {
                return Ok(Vec::new());
            }
            Ok::<_, Error>(turns::open(tx, id)?)
        })
        .await?;
    let target = match turn {
        Some(turn) => open.into_iter().find(|open| open.id == turn),
        None => open.into_iter().next(),
    };
    match target {
        Some(target) => end(engine, id, target.id).await,
        None => Ok(false),
    }
}

/// Ends the turn that runs; those that wait stay.
pub(crate) async fn cancel_running(engine: &Engine, id: ConversationId) -> Result<()> {
    let open = engine.inner.store.read(move |tx| turns::open(tx, id)).await.map_err(Error::from)?;
    match open.into_iter().find(|turn| turn.state == TurnState::Running) {
        Some(running) => end(engine, id, running.id).await.map(|_| ()),
        None => Ok(()),
    }
}

/// Ends every turn of the conversation.
pub(crate) async fn cancel_all(engine: &Engine, id: ConversationId) -> Result<()> {
    loop {
        let open = engine.inner.store.read(move |tx| turns::open(tx, id)).await.map_err(Error::from)?;
        // Those that wait go first, so that none of them is claimed when the one that runs has ended.
        let Some(target) = open.last() else { return Ok(()) };
        end(engine, id, target.id).await?;
    }
}

/// Ends a turn that waits or runs, and no other: if it ends by itself first, the answer is `false`.
async fn end(engine: &Engine, id: ConversationId, turn: TurnId) -> Result<bool> {
    loop {
        let found = engine.inner.store.read(move |tx| turns::get(tx, turn)).await.map_err(Error::from)?;
        match found.map(|turn| turn.state) {
            // The conversation has been deleted.
            None => return Ok(false),
            Some(TurnState::Finished { outcome }) => return Ok(outcome == Outcome::Cancelled),
            Some(TurnState::Queued) => {
                let append = Append::to(engine, id, Fence::Open);
                if engine.inner.store.write(move |tx| end_if_queued(tx, &append, turn)).await? {
                    return Ok(true);
                }
            }
            Some(TurnState::Running) if runner::stop(engine, id, turn).await => {}
            Some(TurnState::Running) => {
                match engine.inner.store.read(move |tx| turns::claim(tx, turn)).await.map_err(Error::from)? {
                    turns::Claim { node: Some(node), .. } if node != engine.inner.lease.held().id => {
                        stop_elsewhere(engine, id, turn).await?;
                    }
                    _ if runner::is_served(engine, id) => tokio::time::sleep(CLAIM_GAP).await,
                    // The program ends and has left it for its next start, or its end could not be stored.
                    _ => resume::end_abandoned(engine, id, turn, Outcome::Cancelled).await?,
                }
            }
        }
    }
}

/// Has another node stop the turn, and looks whether it has; if that node dies meanwhile, whoever takes the turn over stops
/// it. Returns when it has ended, or nobody alive runs it any more.
async fn stop_elsewhere(engine: &Engine, id: ConversationId, turn: TurnId) -> Result<()> {
    let store = &engine.inner.store;
    store.write(move |tx| turns::ask_to_stop(tx, turn)).await.map_err(Error::from)?;
    engine.inner.bus.ask_to_stop(id, turn);
    let mut wait = LOOK_FIRST;
    loop {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LOOK_LAST);
        let look = store.read(move |tx| Ok::<_, StoreError>((turns::get(tx, turn)?, turns::claim(tx, turn)?)));
        let (found, claim) = look.await.map_err(Error::from)?;
        let runs = found.is_some_and(|turn| turn.state == TurnState::Running);
        if !runs || claim.node.is_none_or(|node| node == engine.inner.lease.held().id) {
            return Ok(());
        }
    }
}

/// Ends every turn of the conversation that still waits.
pub(crate) fn end_queued(tx: &mut Tx, append: &Append, id: ConversationId) -> Result<()> {
    for turn in turns::open(tx, id)? {
        end_if_queued(tx, append, turn.id)?;
    }
    Ok(())
}

/// Its log has a start and an end like any other's, so that whoever waits for it is told.
fn end_if_queued(tx: &mut Tx, append: &Append, id: TurnId) -> Result<bool> {
    append.lock(tx)?;
    let Some(turn) = turns::get(tx, id)?.filter(|turn| turn.state == TurnState::Queued) else { return Ok(false) };
    let answers = messages::of_turns(tx, &[id])?.into_iter().map(|message| message.id).collect();
    start(tx, append, &turn, answers, None)?;
    let event = append.event(tx, Some(id), |_| EventKind::TurnFinished {
        reply: turn.reply,
        last: turn.reply,
        outcome: Outcome::Cancelled,
        usage: Usage::default(),
        cost: None,
        duration_ms: 0,
    })?;
    turns::finish(tx, id, event.seq, &Outcome::Cancelled)?;
    Ok(true)
}
