//! A call that was cut off and may have run: a person says what comes next, and its turn waits for that.

use std::time::Duration;

use domain::{Answer, ConversationId, Principal, Question, QuestionId, QuestionKind};
use store::events::Fence;
use store::{StoreError, Tx, conversations, questions};

use super::settle;
use crate::events::Append;
use crate::{Engine, Error, Result, access};

/// How often somebody who waits looks by himself: the answer may have been given on another node.
const LOOK: Duration = Duration::from_secs(1);

/// Answers a question about a call that may have run.
pub(crate) async fn answer_unknown(engine: &Engine, who: Principal, id: QuestionId, answer: Answer) -> Result<Question> {
    let find = move |tx: &mut Tx| questions::get(tx, id).map_err(Error::from);
    let question = engine.inner.store.read(find).await?.ok_or(Error::NotFound)?;
    let append = Append::to(engine, question.conversation, Fence::Open);
    let answered = engine
        .inner
        .store
        .write(move |tx| {
            visible(tx, who, question.conversation)?;
            append.lock(tx)?;
            let question = questions::get(tx, id)?.ok_or(Error::NotFound)?;
            match question.kind {
                QuestionKind::Unknown { .. } => {}
                QuestionKind::Choice { .. } | QuestionKind::Approval { .. } => return Err(Error::NotFound),
            }
            let answered = settle(tx, &append, &question, Some(who), answer.clone())?;
            Ok(Question { answered: Some(answered), ..question })
        })
        .await?;
    engine.inner.answers.notify_waiters();
    Ok(answered)
}

/// The calls of a conversation that may have run, and about which nobody has decided yet; the oldest first.
pub(crate) async fn unknown_calls(engine: &Engine, who: Principal, id: ConversationId) -> Result<Vec<Question>> {
    let find = move |tx: &mut Tx| {
        visible(tx, who, id)?;
        let open = questions::open(tx, id)?;
        Ok::<_, Error>(open.into_iter().filter(|question| matches!(question.kind, QuestionKind::Unknown { .. })).collect())
    };
    engine.inner.store.read(find).await
}

/// Such calls are asked about in the conversations of every API alike.
fn visible(tx: &mut Tx, who: Principal, id: ConversationId) -> Result<()> {
    let conversation = conversations::get(tx, id)?.ok_or(Error::NotFound)?;
    access::conversation(tx, who, conversation.home, id).map(drop)
}

/// Returns when the question is answered, by whomever.
pub(crate) async fn wait(engine: &Engine, id: QuestionId) {
    loop {
        let mut answered = std::pin::pin!(engine.inner.answers.notified());
        answered.as_mut().enable();
        match engine.inner.store.read(move |tx| questions::get(tx, id)).await {
            Ok(question) if question.as_ref().is_none_or(|question| question.answered.is_some()) => return,
            Ok(_) => {}
            Err::<_, StoreError>(error) => tracing::warn!(question = %id, %error, "an answer cannot be looked for"),
        }
        let _ = tokio::time::timeout(LOOK, answered).await;
    }
}
