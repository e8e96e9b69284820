use domain::{
    Author, Conversation, ConversationId, EventKind, Home, Message, MessageId, NodeId, Place, Seq, ToolCall, Turn, TurnId,
    TurnState,
};
use store::events::Fence;
use store::{StoreError, Tx, conversations, messages, projects, turns};

use super::resume;
use crate::events::{Append, Attached};
use crate::nodes::Held;
use crate::{Engine, Error, Result, questions};

/// A turn that is ours to run.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(super) conversation: Conversation,
    pub(super) turn: Turn,
    /// What every append of the turn must show.
    pub(super) epoch: i64,
    /// The lease of this node under which it was claimed.
    pub(super) held: Held,
    /// The event with which it became ours.
    pub(super) since: Seq,
    /// The assistant message that the next step writes.
    pub(super) message: MessageId,
    /// Calls that a crash has left without results, with their place among the calls of their step.
    pub(super) open_calls: Vec<(u32, ToolCall)>,
    /// The message with the results that those calls' step has so far.
    pub(super) results: Option<MessageId>,
    /// The live log, if it is held since before the turn started.
    pub(super) attached: Option<Attached>,
    /// All that the model is to be asked, if the turn is the first of its conversation, so that it need not be read.
    pub(super) first: Option<First>,
}

impl Claimed {
    /// With the live log, which somebody has held since before the turn started.
    pub(crate) fn holding(self, attached: Attached) -> Self {
        Self { attached: Some(attached), ..self }
    }
}

/// What is said when the first turn of a conversation starts.
#[derive(Debug)]
pub(super) struct First {
    pub(super) said: Vec<Message>,
    /// The end of the log at that moment.
    pub(super) as_of: Seq,
}

/// What there is to do in a conversation.
#[derive(Debug)]
pub(super) enum Next {
    Run(Box<Claimed>),
    /// A turn runs, and whoever claims knows that nobody runs it: its end could not be stored.
    Abandoned(TurnId),
    /// A turn that a dead node had left has been brought to its end; there may be more to do.
    Settled,
    Nothing,
}

/// Takes the turn that a dead node has left, or else the first turn of the queue. Of several nodes that try, one gets it. A
/// conversation that waits for an answer has none: the answer starts a turn of its own.
pub(super) async fn claim(engine: &Engine, id: ConversationId) -> Result<Next> {
    let (append, attached) = Append::holding(engine, id, Fence::Open);
    let held = engine.inner.lease.held();
    let mut next = engine
        .inner
        .store
        .write(move |tx| {
            append.lock(tx)?;
            let Some(conversation) = conversations::get(tx, id)? else { return Ok(Next::Nothing) };
            let open = turns::open(tx, id)?;
            let Some(turn) = open.into_iter().next() else { return Ok(Next::Nothing) };
            if turn.state == TurnState::Running {
                return match turns::claim(tx, turn.id)?.node {
                    Some(node) if node == held.id => Ok(Next::Abandoned(turn.id)),
                    Some(_) => Ok(Next::Nothing),
                    None => {
                        let resumed = resume::take_over(tx, &append, turn, held)?;
                        Ok(resumed.map_or(Next::Settled, |claimed| Next::Run(Box::new(claimed))))
                    }
                };
            }
            if questions::open_choice(tx, conversation.home, id)?.is_some() {
                return Ok(Next::Nothing);
            }
            let said = messages::of_turns(tx, &[turn.id])?;
            Ok::<_, Error>(Next::Run(Box::new(take(tx, &append, conversation, turn, said, held)?)))
        })
        .await?;
    if let Next::Run(claimed) = &mut next {
        claimed.attached = Some(attached);
    }
    Ok(next)
}

/// Takes a queued turn before which no other waits or runs. `said`: its messages.
pub(crate) fn take(
    tx: &mut Tx,
    append: &Append,
    conversation: Conversation,
    turn: Turn,
    said: Vec<Message>,
    held: Held,
) -> Result<Claimed> {
    let answers = said.iter().map(|message| message.id).collect();
    let Started { seq: since, epoch, ordinal } = start(tx, append, &turn, answers, Some(held.id))?;
    if conversation.home == Home::Project {
        projects::number_row(tx, conversation.id, turn.reply)?;
    }
    let turn = Turn { state: TurnState::Running, started_at: Some(append.at()), ..turn };
    let first = (ordinal == 1).then_some(First { said, as_of: since });
    let message = turn.reply;
    let (open_calls, results, attached) = (Vec::new(), None, None);
    Ok(Claimed { conversation, turn, epoch, held, since, message, open_calls, results, attached, first })
}

/// The start of a turn, as it is in the log.
pub(super) struct Started {
    seq: Seq,
    epoch: i64,
    /// The how-manieth turn it is to start in its conversation.
    ordinal: i64,
}

/// Marks a queued turn as running, on this node if there is one, and begins its reply.
pub(super) fn start(tx: &mut Tx, append: &Append, turn: &Turn, answers: Vec<MessageId>, node: Option<NodeId>) -> Result<Started> {
    let event = append.event(tx, Some(turn.id), |_| EventKind::TurnStarted { reply: turn.reply, answers })?;
    let ordinal = turns::start(tx, turn.id, event.seq, append.at(), node)?;
    begin_message(tx, append, turn.id, turn.conversation, turn.reply, Place::at(event.seq))?;
    Ok(Started { seq: event.seq, epoch: event.epoch, ordinal })
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
