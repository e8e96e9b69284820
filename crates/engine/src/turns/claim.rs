use domain::{Author, Conversation, ConversationId, EventKind, Message, MessageId, Place, ToolCall, Turn, TurnId, TurnState};
use store::events::Fence;
use store::{StoreError, Tx, conversations, messages, turns};

use crate::events::Append;
use crate::{Engine, Error, Result};

/// A turn that is ours to run.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(super) conversation: Conversation,
    pub(super) turn: Turn,
    /// What every append of the turn must show.
    pub(super) epoch: i64,
    /// The assistant message that the next step writes.
    pub(super) message: MessageId,
    /// Calls that a crash has left without results, with their place among the calls of their step.
    pub(super) open_calls: Vec<(u32, ToolCall)>,
    /// The message with the results that those calls' step has so far.
    pub(super) results: Option<MessageId>,
}

/// What there is to do in a conversation.
#[derive(Debug)]
pub(super) enum Next {
    Run(Box<Claimed>),
    /// A turn runs, and whoever claims knows that nobody runs it: its end could not be stored.
    Abandoned(TurnId),
    Nothing,
}

/// Takes the first turn of the queue.
pub(super) async fn claim(engine: &Engine, id: ConversationId) -> Result<Next> {
    let append = Append::to(engine, id, Fence::Open);
    engine
        .inner
        .store
        .write(move |tx| {
            let Some(conversation) = conversations::get(tx, id)? else { return Ok(Next::Nothing) };
            let open = turns::open(tx, id)?;
            let Some(turn) = open.into_iter().next() else { return Ok(Next::Nothing) };
            if turn.state == TurnState::Running {
                return Ok(Next::Abandoned(turn.id));
            }
            let epoch = start(tx, &append, &turn)?;
            let turn = turns::get(tx, turn.id)?.ok_or(Error::NotFound)?;
            let message = turn.reply;
            let claimed = Claimed { conversation, turn, epoch, message, open_calls: Vec::new(), results: None };
            Ok::<_, Error>(Next::Run(Box::new(claimed)))
        })
        .await
}

/// Marks a queued turn as running and begins its reply. Returns the epoch.
pub(super) fn start(tx: &mut Tx, append: &Append, turn: &Turn) -> Result<i64> {
    let answers = messages::of_turns(tx, &[turn.id])?.into_iter().map(|message| message.id).collect();
    let event = append.event(tx, Some(turn.id), |_| EventKind::TurnStarted { reply: turn.reply, answers })?;
    turns::start(tx, turn.id, event.seq, append.at())?;
    begin_message(tx, append, turn.id, turn.conversation, turn.reply, Place::at(event.seq))?;
    Ok(event.epoch)
}

/// Stores an assistant message that has no parts yet: it stands where its step begins.
pub(super) fn begin_message(
    tx: &mut Tx,
    append: &Append,
    turn: TurnId,
    conversation: ConversationId,
    id: MessageId,
    place: Place,
) -> Result<(), StoreError> {
    let message = Message {
        id,
        conversation,
        place,
        author: Author::Agent,
        turn,
        client_id: None,
        created_at: append.at(),
        parts: Vec::new(),
    };
    messages::insert(tx, &message, None)
}
