use domain::{
    Author, Conversation, EventKind, Message, MessageId, Mode, Outcome, Part, PartBody, PartId, Place, Principal, Turn, TurnId,
};
use domain::{TurnState, Usage};
use store::events::Fence;
use store::{Tx, conversations, messages, turns};

use super::NewConversation;
use super::create::prepare;
use crate::events::Append;
use crate::request_key::{RequestKey, once};
use crate::{Engine, Error, Result};

/// A message from elsewhere. A conversation is a row of them: each [`Author::Person`] begins a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedMessage {
    pub author: Author,
    /// Tool calls and results must pair up; those that do not are left out of what a model is sent.
    pub parts: Vec<PartBody>,
    /// How the turn ended, on a message of the agent's; `None` says nothing against its having completed.
    pub outcome: Option<Outcome>,
}

pub(crate) async fn import(
    engine: &Engine,
    who: Principal,
    new: NewConversation,
    imported: Vec<ImportedMessage>,
    key: Option<RequestKey>,
) -> Result<Conversation> {
    let conversation = prepare(engine, who, new).await?;
    let append = Append::to(engine, conversation.id, Fence::Open);
    let at = append.at();
    engine
        .inner
        .store
        .write(move |tx| {
            once(tx, who, key, at, |tx| {
                conversations::insert(tx, &conversation)?;
                append.event(tx, None, |_| EventKind::ConversationCreated)?;
                let mut imported = imported.into_iter().peekable();
                while let Some(first) = imported.next() {
                    let mut rest = Vec::new();
                    while let Some(next) = imported.next_if(|next| !matches!(next.author, Author::Person(_))) {
                        rest.push(next);
                    }
                    import_turn(tx, &append, &conversation, first, rest)?;
                }
                conversations::get(tx, conversation.id)?.ok_or(Error::NotFound)
            })
        })
        .await
}

/// Adds a finished turn. Returns its first assistant message.
pub(crate) fn import_turn(
    tx: &mut Tx,
    append: &Append,
    conversation: &Conversation,
    first: ImportedMessage,
    rest: Vec<ImportedMessage>,
) -> Result<MessageId> {
    let at = append.at();
    let turn = TurnId::new();
    let reply = MessageId::new();
    let queued = Turn {
        id: turn,
        conversation: conversation.id,
        state: TurnState::Queued,
        mode: Mode::default(),
        workdir: None,
        reply,
        created_at: at,
        started_at: None,
        steps: 0,
        usage: Usage::default(),
    };
    turns::insert(tx, &queued, turns::Position::Last)?;
    let message = |id: MessageId, place: Place, author: Author| Message {
        id,
        conversation: conversation.id,
        place,
        author,
        turn,
        client_id: None,
        created_at: at,
        parts: Vec::new(),
    };
    let asked = MessageId::new();
    let mut last = reply;
    // What comes before any person's message is a turn that nobody asked for.
    let (questions, answers) = match first.author {
        Author::Person(_) => (vec![first], rest),
        Author::Agent | Author::System => (Vec::new(), std::iter::once(first).chain(rest).collect()),
    };
    for question in questions {
        let body = PartBody::Text { text: text_of(&question.parts) };
        let event = append.event(tx, Some(turn), |seq| EventKind::MessageAdded {
            part: Part { id: asked.into(), message: asked, ordinal: 0, place: Place::at(seq), body, created_at: at },
            number: None,
            client_id: None,
            queued: 0,
            steered: false,
        })?;
        messages::insert(tx, &message(asked, Place::at(event.seq), Author::Person(conversation.owner)), None)?;
    }
    let outcome = answers.iter().rev().find_map(|answer| answer.outcome.clone()).unwrap_or(Outcome::Completed);
    let started = append.event(tx, Some(turn), |_| EventKind::TurnStarted { reply, answers: vec![asked] })?;
    turns::start(tx, turn, started.seq, at, None)?;
    for (index, answer) in answers.into_iter().enumerate() {
        let id = if index == 0 { reply } else { MessageId::new() };
        let mut began = if index == 0 { Some(Place::at(started.seq)) } else { None };
        for (ordinal, body) in (0..).zip(answer.parts) {
            let event = append.event(tx, Some(turn), |seq| {
                let part = Part { id: PartId::new(), message: id, ordinal, place: Place::at(seq), body, created_at: at };
                match part.body {
                    PartBody::ToolCall(_) => EventKind::ToolCalled { part },
                    PartBody::ToolResult(_) => EventKind::ToolReturned { part },
                    PartBody::Text { .. } | PartBody::Reasoning { .. } | PartBody::Opaque(_) => EventKind::PartCompleted { part },
                }
            })?;
            began.get_or_insert(Place::at(event.seq));
        }
        if let Some(place) = began {
            messages::insert(tx, &message(id, place, answer.author), None)?;
            last = if answer.author == Author::Agent { id } else { last };
        }
    }
    let finished = append.event(tx, Some(turn), |_| EventKind::TurnFinished {
        reply,
        last,
        outcome: outcome.clone(),
        usage: Usage::default(),
        cost: None,
        duration_ms: 0,
    })?;
    turns::finish(tx, turn, finished.seq, &outcome)?;
    Ok(reply)
}

fn text_of(parts: &[PartBody]) -> String {
    parts.iter().filter_map(PartBody::text).collect::<Vec<_>>().join("\n\n")
}
