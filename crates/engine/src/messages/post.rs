//! What happens when a message arrives: one transaction stores the message, its event and the turn that will answer it;
//! then it is acknowledged; then a runner is woken.

use std::path::PathBuf;

use domain::{
    Author, Conversation, Cursor, EventKind, Home, Message, MessageId, Part, PartBody, Place, Principal, Question, Seq, Turn,
    TurnId, TurnState, Usage,
};
use store::events::Fence;
use store::{Tx, conversations, events, messages, projects, turns};

use super::{Answering, Post, Posted, TitleRule, WhenBusy};
use crate::conversations::TITLES_TO_REPLACE;
use crate::events::{Append, Attached, Follow, From, follow};
use crate::nodes::Held;
use crate::questions::{self, Reply};
use crate::request_key::fingerprint;
use crate::turns::{Claimed, runner, store_result, take};
use crate::{Engine, Error, Result, access, to_its_end};

/// Messages that may wait in one conversation. More would hardly be read by the time they are answered.
const QUEUE: usize = 50;
/// The same in a conversation about a project, by its contract.
const PROJECT_QUEUE: usize = 20;

pub(crate) async fn post(engine: &Engine, who: Principal, post: Post) -> Result<Posted> {
    Ok(post_holding(engine, who, post, None).await?.0)
}

/// Answers the open choice, in a message of its own.
pub(crate) async fn answer(engine: &Engine, who: Principal, answering: Answering) -> Result<Posted> {
    let Answering { conversation, reply, client_id, title_rule } = answering;
    let text = reply.text();
    let post = Post { conversation, text, client_id, mode: None, workdir: None, when_busy: WhenBusy::Queue, title_rule };
    Ok(post_holding(engine, who, post, Some(reply)).await?.0)
}

/// Posts a message and follows the conversation from the message on.
pub(crate) async fn post_and_follow(engine: &Engine, who: Principal, post: Post) -> Result<(Posted, Follow)> {
    let conversation = post.conversation;
    // A message that steers may come in the middle of a text. Who follows already sees exactly what comes after it.
    let ahead = match post.when_busy {
        WhenBusy::Steer => Some(follow(engine, who, conversation, From::Now).await?.follow),
        WhenBusy::Queue | WhenBusy::Interrupt | WhenBusy::Reject => None,
    };
    let (posted, attached) = post_holding(engine, who, post, None).await?;
    let ahead = match ahead {
        Some(follow) => Some(follow),
        None => Follow::behind(engine, attached, posted.before),
    };
    match ahead.filter(|_| !posted.duplicate) {
        Some(follow) => Ok((posted, follow)),
        None => {
            let follow = follow(engine, who, conversation, From::Cursor(posted.before)).await?.follow;
            Ok((posted, follow))
        }
    }
}

/// Also gives a hold on the live log that is older than the message.
async fn post_holding(engine: &Engine, who: Principal, post: Post, reply: Option<Reply>) -> Result<(Posted, Attached)> {
    if post.text.trim().is_empty() {
        return Err(Error::EmptyMessage);
    }
    if post.text.contains('\0') || post.client_id.as_ref().is_some_and(|id| id.contains('\0')) {
        return Err(Error::InvalidText);
    }
    let conversation = post.conversation;
    let workdir = match &post.workdir {
        Some(path) => Some(access::workdir(engine, who, path).await?),
        None => None,
    };
    let (append, attached) = Append::holding(engine, conversation, Fence::Open);
    let engine = engine.clone();
    // The sender may be gone before it has an answer. What is stored is answered all the same.
    to_its_end(async move {
        let held = engine.inner.lease.held();
        let may_start = engine.inner.lease.holds(&held) && runner::reserve(&engine, conversation);
        let sender = Sender { who, home: engine.home, workdir, reply };
        let starting = may_start.then_some(held);
        let stored = engine.inner.store.write(move |tx| store(tx, &append, sender, post, starting)).await;
        let (posted, claimed) = match stored {
            Ok(Stored { posted, interrupted, claimed }) => {
                if let Some(turn) = interrupted {
                    // It is ended in the background: the message is safe, and its sender need not wait.
                    runner::interrupt(&engine, conversation, turn);
                }
                if claimed.is_none() {
                    runner::wake(&engine, conversation);
                }
                (Ok(posted), claimed.map(|claimed| claimed.holding(attached.again())))
            }
            Err(error) => (Err(error), None),
        };
        if may_start {
            runner::go_on_reserved(&engine, conversation, claimed);
        }
        Ok((posted?, attached))
    })
    .await
}

/// Who sends a message, and what came with it.
#[derive(Clone)]
struct Sender {
    who: Principal,
    home: Home,
    /// As tools will open it.
    workdir: Option<PathBuf>,
    /// The message is an answer, and was made of this.
    reply: Option<Reply>,
}

/// What came of a message.
struct Stored {
    posted: Posted,
    /// The turn that is to be interrupted for it.
    interrupted: Option<TurnId>,
    /// Its turn, started in the same transaction.
    claimed: Option<Claimed>,
}

/// `starting`: if nothing else is to be answered before it, its turn starts at once, on this node. That saves a commit in
/// most turns.
fn store(tx: &mut Tx, append: &Append, sender: Sender, post: Post, starting: Option<Held>) -> Result<Stored> {
    let Sender { who, home, workdir, reply } = sender;
    let conversation = access::conversation(tx, who, home, post.conversation)?;
    append.lock(tx)?;
    let print = fingerprint(&[post.text.as_bytes()]);
    if let Some(client_id) = &post.client_id
        && let Some((message, before)) = messages::by_client_id(tx, conversation.id, who.account(), client_id)?
    {
        if before != print {
            return Err(Error::Conflict);
        }
        return Ok(Stored { posted: duplicate(tx, message)?, interrupted: None, claimed: None });
    }
    match (questions::open_choice(tx, home, conversation.id)?, reply) {
        (Some(question), reply) => {
            let answer = questions::read_answer(&question, reply, &post.text);
            let posted = store_answer(tx, append, who, conversation, &post, &Answered { question, answer, print })?;
            return Ok(Stored { posted, interrupted: None, claimed: None });
        }
        (None, Some(_)) => return Err(Error::NoQuestion),
        (None, None) => {}
    }
    let open = turns::open(tx, conversation.id)?;
    let running = open.iter().find(|turn| turn.state == TurnState::Running);
    if post.when_busy == WhenBusy::Reject && !open.is_empty() {
        return Err(Error::Busy);
    }
    if open.iter().filter(|turn| turn.state == TurnState::Queued).count() >= queue(home) {
        return Err(Error::QueueFull);
    }
    let steered = running.filter(|_| post.when_busy == WhenBusy::Steer);
    let interrupted = running.filter(|_| post.when_busy == WhenBusy::Interrupt).map(|turn| turn.id);
    if let Some(turn) = interrupted {
        turns::ask_to_stop(tx, turn)?;
    }
    let queued = match (post.when_busy, steered) {
        (_, Some(_)) => 0,
        // It is answered next: only the turn that is being interrupted stands before it.
        (WhenBusy::Interrupt, None) => u32::from(running.is_some()),
        (WhenBusy::Queue | WhenBusy::Steer | WhenBusy::Reject, None) => u32::try_from(open.len()).unwrap_or(u32::MAX),
    };
    let turn = match steered {
        Some(running) => running.clone(),
        None => queue_turn(tx, append, &conversation, &post, workdir, position(&post))?,
    };
    let answer = Answer { turn: turn.id, queued, steered: steered.is_some() };
    let posted = add_message(tx, append, who, &conversation, &post, &answer, &print)?;
    let conversation = name(tx, append, conversation, &post)?;
    let claimed = match starting.filter(|_| open.is_empty()) {
        Some(held) => Some(take(tx, append, conversation, turn, vec![posted.message.clone()], held)?),
        None => None,
    };
    Ok(Stored { posted, interrupted, claimed })
}

/// An answer that is to be stored, and what tells it from another under its client id.
struct Answered {
    question: Question,
    answer: domain::Answer,
    print: String,
}

/// Answers the question with the message: its turn goes before those that waited meanwhile, and the model reads the message
/// as the result of the calls that asked.
fn store_answer(
    tx: &mut Tx,
    append: &Append,
    who: Principal,
    conversation: Conversation,
    post: &Post,
    answered: &Answered,
) -> Result<Posted> {
    let Answered { question, answer, print } = answered;
    let turn = queue_turn(tx, append, &conversation, post, None, turns::Position::First)?;
    questions::settle(tx, append, question, Some(who), answer.clone())?;
    let by = Answer { turn: turn.id, queued: 0, steered: false };
    let posted = add_message(tx, append, who, &conversation, post, &by, print)?;
    let mut results = None;
    for (ordinal, result) in (0..).zip(questions::answer_results(question, answer, &post.text)) {
        store_result(tx, append, &turn, ordinal, result, &mut results)?;
    }
    Ok(posted)
}

/// By which turn a message is answered.
struct Answer {
    turn: TurnId,
    queued: u32,
    steered: bool,
}

fn queue_turn(
    tx: &mut Tx,
    append: &Append,
    conversation: &Conversation,
    post: &Post,
    workdir: Option<PathBuf>,
    position: turns::Position,
) -> Result<Turn> {
    let turn = Turn {
        id: TurnId::new(),
        conversation: conversation.id,
        state: TurnState::Queued,
        mode: post.mode.unwrap_or(conversation.mode),
        workdir,
        reply: MessageId::new(),
        created_at: append.at(),
        started_at: None,
        steps: 0,
        usage: Usage::default(),
    };
    turns::insert(tx, &turn, position)?;
    Ok(turn)
}

fn add_message(
    tx: &mut Tx,
    append: &Append,
    who: Principal,
    conversation: &Conversation,
    post: &Post,
    answer: &Answer,
    print: &str,
) -> Result<Posted> {
    let id = MessageId::new();
    let text = PartBody::Text { text: post.text.clone() };
    let part = |seq: Seq| Part {
        id: id.into(),
        message: id,
        ordinal: 0,
        place: Place::at(seq),
        body: text.clone(),
        created_at: append.at(),
    };
    let number = match conversation.home {
        Home::Project => Some(projects::number_row(tx, conversation.id, id)?),
        Home::Direct | Home::Hub => None,
    };
    let event = append.event(tx, Some(answer.turn), |seq| EventKind::MessageAdded {
        number,
        part: part(seq),
        client_id: post.client_id.clone(),
        queued: answer.queued,
        steered: answer.steered,
    })?;
    let message = Message {
        id,
        conversation: conversation.id,
        place: Place::at(event.seq),
        author: Author::Person(who.account()),
        turn: answer.turn,
        client_id: post.client_id.clone(),
        created_at: append.at(),
        parts: vec![part(event.seq)],
    };
    messages::insert(tx, &message, Some(print))?;
    if number.is_some() {
        projects::show_row(tx, id)?;
    }
    conversations::touch(tx, conversation.id, append.at())?;
    let before = Cursor { epoch: event.epoch, seq: Seq(event.seq.0 - 1), offset: 0 };
    Ok(Posted { message, number, turn: answer.turn, queued: answer.queued, duplicate: false, before })
}

const fn position(post: &Post) -> turns::Position {
    match post.when_busy {
        WhenBusy::Interrupt => turns::Position::First,
        WhenBusy::Queue | WhenBusy::Steer | WhenBusy::Reject => turns::Position::Last,
    }
}

const fn queue(home: Home) -> usize {
    match home {
        Home::Direct | Home::Hub => QUEUE,
        Home::Project => PROJECT_QUEUE,
    }
}

/// The first message names a conversation whose title nobody chose. Returns it as it is then.
fn name(tx: &mut Tx, append: &Append, mut conversation: Conversation, post: &Post) -> Result<Conversation> {
    let unnamed = match conversation.home {
        Home::Direct => TITLES_TO_REPLACE.contains(&conversation.title.as_str()),
        Home::Project => conversation.title.is_empty(),
        // It is named after its contact.
        Home::Hub => false,
    };
    if !unnamed {
        return Ok(conversation);
    }
    let title = title(&post.text, post.title_rule);
    if title.is_empty() || title == conversation.title {
        return Ok(conversation);
    }
    append.event(tx, None, |_| EventKind::ConversationRenamed { title: title.clone() })?;
    conversation.title = title;
    conversation.updated_at = conversation.updated_at.max(append.at());
    conversations::update(tx, &conversation)?;
    Ok(conversation)
}

fn title(text: &str, rule: TitleRule) -> String {
    match rule {
        TitleRule::FirstFiftyCharacters => {
            let title: String = text.chars().take(50).collect();
            if title.len() < text.len() { title + "..." } else { title }
        }
        TitleRule::FirstLine => text.trim().lines().next().unwrap_or_default().trim().chars().take(60).collect(),
    }
}

fn duplicate(tx: &mut Tx, message: Message) -> Result<Posted> {
    let part = message.parts.first().map(|part| part.id).unwrap_or(message.id.into());
    let seq = events::seq_of_part(tx, part)?.unwrap_or_default();
    let before = Seq(seq.0 - 1);
    let epoch = events::epoch_of(tx, message.conversation, before)?.unwrap_or_default();
    // What was answered the first time, though fewer may wait by now.
    let queued = events::range(tx, message.conversation, before, seq, 1)?
        .first()
        .map_or(0, |event| if let EventKind::MessageAdded { queued, .. } = event.kind { queued } else { 0 });
    let (turn, before) = (message.turn, Cursor { epoch, seq: before, offset: 0 });
    let number = projects::row_number(tx, message.id)?;
    Ok(Posted { message, number, turn, queued, duplicate: true, before })
}

#[cfg(test)]
mod tests {
    use super::title;
    use crate::TitleRule::{FirstFiftyCharacters, FirstLine};

    #[test]
    fn titles_count_characters() {
        assert_eq!(title(&"é".repeat(50), FirstFiftyCharacters), "é".repeat(50));
        assert_eq!(title(&"é".repeat(51), FirstFiftyCharacters), "é".repeat(50) + "...");
        assert_eq!(title("\n  one  \ntwo", FirstLine), "one");
        assert_eq!(title(&"x".repeat(99), FirstLine), "x".repeat(60));
    }
}
