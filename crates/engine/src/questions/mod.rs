//! What waits for a person's answer. A question is stored with the event that shows it, answered once, from wherever the
//! first answer comes, and outlives the program. [`ask`] and [`settle`] are the two ends of every kind.
//!
//! A choice ends its turn, and its answer is a message that starts the next one (`messages/post.rs`). Other kinds hold their
//! turn open: whoever waits sees [`EventKind::QuestionAnswered`] in the conversation's log.

pub(crate) mod ask_user;
mod choice;
mod unknown;

use domain::{Answer, Answered, EventKind, Principal, Question, QuestionId, QuestionKind, Timestamp, TurnId};
use domain::{ConversationId, Home};
use store::{Tx, questions};

use crate::events::Append;
use crate::{Engine, Error, Result, access};

pub use choice::Reply;
pub(crate) use choice::{answer_results, read_answer};
pub(crate) use unknown::{answer_unknown, unknown_calls, wait};

/// Stores a question of the turn and shows it.
pub(crate) fn ask(
    tx: &mut Tx,
    append: &Append,
    conversation: ConversationId,
    turn: TurnId,
    kind: QuestionKind,
    expires_at: Option<Timestamp>,
) -> Result<Question> {
    let asked_at = append.at();
    let question = Question { id: QuestionId::new(), conversation, turn, kind, asked_at, expires_at, answered: None };
    questions::insert(tx, &question)?;
    append.event(tx, Some(turn), |_| EventKind::QuestionAsked { question: Box::new(question.clone()) })?;
    Ok(question)
}

/// Stores the answer and shows it, if it is the first one.
///
/// # Errors
/// [`Error::NoQuestion`]: there was an answer before.
pub(crate) fn settle(
    tx: &mut Tx,
    append: &Append,
    question: &Question,
    by: Option<Principal>,
    answer: Answer,
) -> Result<Answered> {
    let answered = Answered { at: append.at(), by: by.map(Principal::account), answer };
    if !questions::answer(tx, question.id, &answered)? {
        return Err(Error::NoQuestion);
    }
    // A choice has ended its turn, and nothing of a turn follows its end.
    let turn = (!question.kind.ends_turn()).then_some(question.turn);
    append.event(tx, turn, |_| EventKind::QuestionAnswered { question: question.id, answered: answered.clone() })?;
    Ok(answered)
}

/// The open questions of a conversation, the oldest first.
pub(crate) async fn open(engine: &Engine, who: Principal, id: ConversationId) -> Result<Vec<Question>> {
    let home = engine.home;
    engine
        .inner
        .store
        .read(move |tx| {
            access::conversation(tx, who, home, id)?;
            Ok::<_, Error>(questions::open(tx, id)?)
        })
        .await
}

/// The choice for whose answer the conversation waits. A person's own conversation never has one.
pub(crate) fn open_choice(tx: &mut Tx, home: Home, id: ConversationId) -> Result<Option<Question>> {
    match home {
        Home::Direct => Ok(None),
        Home::Project | Home::Hub => Ok(questions::open(tx, id)?.into_iter().find(|question| question.kind.ends_turn())),
    }
}
