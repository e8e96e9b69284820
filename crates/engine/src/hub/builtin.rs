//! A built-in agent answers a burst with a turn of the core: in a conversation of its own that holds what the agent is shown of
//! the chat, so that it sees exactly what a service behind a webhook would.

use async_trait::async_trait;
use domain::hub::{Agent, AgentDelivery, ChatId, ChatMessage, DeliveryId, DeliveryState, HubId as _, Sender};
use domain::sockets::agent::{AgentAnswer, AgentReply};
use domain::{
    Author, ConversationId, EventKind, Failure, FailureCode, Home, MessageId, Outcome, PartBody, Principal, Timestamp, TurnId,
};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use store::Tx;
use store::hub::{chats, deliveries};

use super::call;
use crate::accounts::random_number;
use crate::jobs::{Attempt, BackOff, Completed, JobError, Policy, Work};
use crate::{Engine, Error, Follow, ImportedMessage, NewConversation, Post, RequestKey, Result, TitleRule, What, WhenBusy};

/// How long a trial waits for an answer: as long as an administrator may be kept waiting.
const TRIAL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
/// Attempts that the program may break down in.
const BREAKDOWNS: [u64; 50] = [1000; 50];

/// What a turn of a built-in agent says, and how it ended.
enum Said {
    Text(String),
    /// Cut off before it was whole: it is asked again, as nothing of it was sent.
    CutOff,
    /// There is nothing to send; people have to answer.
    Failed(String),
}

/// Has a burst answered by a model of ours.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunBuiltin {
    pub(super) delivery: DeliveryId,
}

#[async_trait]
impl Work for RunBuiltin {
    const KIND: &'static str = "run_builtin_agent";
    const POLICY: Policy = Policy { back_off: BackOff(&BREAKDOWNS), at_once: 64, time_limit_ms: 15 * 60 * 1000, lease_ms: 5_000 };

    async fn run(self, attempt: &Attempt) -> Result<Completed, JobError> {
        let Some((delivery, agent)) = call::begin(attempt, self.delivery).await? else {
            return call::give_back(attempt, self.delivery).await;
        };
        let answer = match answer(attempt, delivery, &agent).await? {
            Said::Text(text) if text.trim().is_empty() => {
                AgentAnswer::Accepted { status: 200, replies: Vec::new(), no_reply: true }
            }
            Said::Text(content) => {
                let reply = AgentReply { content, meta: Map::new(), media: Vec::new() };
                AgentAnswer::Accepted { status: 200, replies: vec![reply], no_reply: false }
            }
            Said::CutOff => return Err(JobError::Retry { reason: "The turn was cut off.".to_owned(), after_ms: Some(0) }),
            Said::Failed(error) => return call::give_up(attempt, self.delivery, error).await,
        };
        call::settle(attempt, self.delivery, answer).await
    }
}

async fn answer(attempt: &Attempt, delivery: AgentDelivery, agent: &Agent) -> Result<Said, JobError> {
    let hub = attempt.engine().of(Home::Hub);
    let conversation = match delivery.conversation {
        Some(conversation) => conversation,
        None => begin(attempt, &hub, &delivery, agent).await?,
    };
    let (turn, mut follow) = ask(&hub, &delivery, conversation, agent).await?;
    let (outcome, last) = end_of(&mut follow, turn).await?;
    match outcome {
        Outcome::Completed | Outcome::Truncated => Ok(Said::Text(text_of(&hub, conversation, last).await?)),
        Outcome::Failed(Failure { code: FailureCode::Interrupted, .. }) => {
            let id = delivery.id;
            attempt.store(move |tx| forget_conversation(tx, id)).await?;
            Ok(Said::CutOff)
        }
        Outcome::Failed(failure) => Ok(Said::Failed(failure.sentence)),
        Outcome::Refused => Ok(Said::Failed("The model declined to answer.".to_owned())),
        Outcome::Cancelled => Ok(Said::Failed("The answer was stopped.".to_owned())),
        Outcome::Asked => Ok(Said::Failed("The model asks something that only people can answer.".to_owned())),
    }
}

/// Makes the conversation: what the agent is shown, up to the burst, which is what it is asked.
async fn begin(attempt: &Attempt, hub: &Engine, delivery: &AgentDelivery, agent: &Agent) -> Result<ConversationId, JobError> {
    let (shown_to, after, now) = (agent.clone(), delivery.after, hub.clock().now());
    let chat = delivery.chat;
    let read = move |tx: &mut Tx| {
        let chat = chats::get(tx, chat)?.ok_or(Error::NotFound)?;
        let shown = call::shown(tx, &chat, &shown_to, after, now)?;
        Ok::<_, Error>((chat.name, shown))
    };
    let (title, shown) = hub.inner.store.read(read).await?;
    let history = history(shown, delivery);
    let new = NewConversation { title, model: agent.model.clone(), mode: agent.mode, workdir: None };
    let key = RequestKey::new("hub delivery", &format!("{} {}", delivery.id.spelled(), delivery.attempts), b"");
    let made = hub.import_conversation(Principal::Owner, new, history, Some(key)).await?;
    let (id, conversation) = (delivery.id, made.id);
    attempt
        .store(move |tx| {
            if let Some(mut delivery) = deliveries::get(tx, id)? {
                delivery.conversation = Some(conversation);
                deliveries::update(tx, &delivery)?;
            }
            Ok(())
        })
        .await?;
    Ok(conversation)
}

fn forget_conversation(tx: &mut Tx, id: DeliveryId) -> Result<()> {
    if let Some(mut delivery) = deliveries::get(tx, id)? {
        delivery.conversation = None;
        deliveries::update(tx, &delivery)?;
    }
    Ok(())
}

/// What was said before the burst. To the model the contact is who asks, and everybody on our side has answered.
fn history(shown: Vec<ChatMessage>, delivery: &AgentDelivery) -> Vec<ImportedMessage> {
    let mut history: Vec<ImportedMessage> = Vec::new();
    for message in shown {
        let author = match message.sender {
            Sender::Contact if message.place > delivery.after => continue,
            Sender::Contact => Author::Person(domain::AccountId::OWNER),
            Sender::User(_) | Sender::Agent(_) => Author::Agent,
        };
        let part = PartBody::Text { text: message.content };
        match history.last_mut().filter(|last| last.author == author) {
            Some(last) => last.parts.push(part),
            None => history.push(ImportedMessage { author, parts: vec![part], outcome: None }),
        }
    }
    history
}

/// Asks, once: a repeat after a crash finds what was asked, and follows the answer from its beginning.
async fn ask(
    hub: &Engine,
    delivery: &AgentDelivery,
    conversation: ConversationId,
    agent: &Agent,
) -> Result<(TurnId, Follow), JobError> {
    let post = Post {
        conversation,
        text: delivery.body.clone(),
        client_id: Some(delivery.id.spelled()),
        mode: Some(agent.mode),
        workdir: None,
        when_busy: WhenBusy::Queue,
        title_rule: TitleRule::FirstLine,
    };
    let (posted, follow) = hub.post_and_follow(Principal::Owner, post).await?;
    Ok((posted.turn, follow))
}

/// Has the agent answer what nobody has written, to see whether it can. An error is a sentence for administrators.
pub(super) async fn try_out(engine: &Engine, agent: &Agent, text: String) -> Result<String, String> {
    let hub = engine.of(Home::Hub);
    let new = NewConversation { title: "Test".to_owned(), model: agent.model.clone(), mode: agent.mode, workdir: None };
    let made = hub.import_conversation(Principal::Owner, new, Vec::new(), None).await.map_err(|error| error.to_string())?;
    let delivery = trial(agent, made.id, text, hub.clock().now());
    let id = delivery.id;
    let answer = match tokio::time::timeout(TRIAL_TIMEOUT, tried(&hub, agent, delivery)).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", TRIAL_TIMEOUT.as_secs())),
    };
    // Nothing of a trial is kept; what cannot be removed now is removed with the agent's old calls.
    let _ = hub.inner.store.write(move |tx| deliveries::delete(tx, id)).await;
    let _ = hub.delete_conversation(Principal::Owner, made.id).await;
    answer
}

/// A call that belongs to no chat and has ended, so that nothing comes of it: it says which agent the conversation is for.
fn trial(agent: &Agent, conversation: ConversationId, body: String, now: Timestamp) -> AgentDelivery {
    AgentDelivery {
        id: DeliveryId::from_random(random_number()),
        chat: ChatId::from_uuid(domain::AccountId::NOBODY.uuid()),
        agent: agent.id,
        state: DeliveryState::Cancelled,
        epoch: 0,
        body,
        after: 0,
        upto: 0,
        attempts: 0,
        next_at: None,
        status: None,
        error: None,
        accepted_at: None,
        reply_due_at: None,
        replied: false,
        conversation: Some(conversation),
        created_at: now,
        ended_at: None,
    }
}

async fn tried(hub: &Engine, agent: &Agent, delivery: AgentDelivery) -> Result<String, JobError> {
    let Some(conversation) = delivery.conversation else { return Err(JobError::fail("There is no conversation.")) };
    let stored = delivery.clone();
    hub.inner.store.write(move |tx| deliveries::insert(tx, &stored)).await.map_err(Error::from)?;
    let (turn, mut follow) = ask(hub, &delivery, conversation, agent).await?;
    let (outcome, last) = end_of(&mut follow, turn).await?;
    match outcome {
        Outcome::Completed | Outcome::Truncated => text_of(hub, conversation, last).await,
        Outcome::Failed(failure) => Err(JobError::fail(failure.sentence)),
        Outcome::Refused => Err(JobError::fail("The model declined to answer.")),
        Outcome::Cancelled => Err(JobError::fail("The answer was stopped.")),
        Outcome::Asked => Err(JobError::fail("The model asks something that only people can answer.")),
    }
}

/// Waits for the end of the turn.
async fn end_of(follow: &mut Follow, turn: TurnId) -> Result<(Outcome, MessageId), JobError> {
    while let Some(entries) = follow.next().await? {
        for entry in entries {
            if let What::Fact(event) = &entry.what
                && event.turn == Some(turn)
                && let EventKind::TurnFinished { outcome, last, .. } = &event.kind
            {
                return Ok((outcome.clone(), *last));
            }
        }
    }
    Err(JobError::retry("The conversation of a built-in agent has ended."))
}

async fn text_of(hub: &Engine, conversation: ConversationId, last: MessageId) -> Result<String, JobError> {
    let transcript = hub.transcript(Principal::Owner, conversation, None, Some(8)).await?;
    let message = transcript.messages.into_iter().map(|shown| shown.message).find(|message| message.id == last);
    let parts = message.map(|message| message.parts).unwrap_or_default();
    Ok(parts.iter().filter_map(|part| part.body.text()).collect::<Vec<_>>().join("\n\n"))
}
