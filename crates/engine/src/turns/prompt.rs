//! What the model is asked: a pure function of the log.
//!
//! History is grouped by turn (message, whole answer, next message), taken from its end as far as the model's window
//! allows. Neighbours of one role become one message; every tool call has its result, and every result its call.

use std::collections::{HashMap, HashSet};

use domain::sockets::language_model::{ModelRequest, PromptMessage, Role};
use domain::{Author, Conversation, Message, MessageId, PartBody, Place, Seq, ToolCall, ToolResult, TurnId};
use store::{StoreError, Tx, conversations, messages, turns};

use super::claim::First;
use super::history::Said;
use super::run::Run;
use crate::questions::ask_user;
use crate::{Error, Result, agents};

/// Turns of history that a request looks back at, at least. Each costs its share of every later request.
const TURNS: u32 = 80;
/// The oldest turn moves on by so many at once: until then a request begins like the one before it, and a provider that
/// caches what it has read need not read it again.
const TURNS_STEP: u32 = 40;
/// Bytes of text that make about one token. Low, so that the estimate is rather too high.
const BYTES_PER_TOKEN: u64 = 3;
/// Share of the window that the prompt may fill; the answer needs the rest.
const PROMPT_SHARE_PERCENT: u64 = 75;
/// Bytes of one tool result that the model is shown. The whole of it stays in the transcript.
const RESULT_BYTES: usize = 128 * 1024;

pub(super) async fn build(run: &mut Run) -> Result<ModelRequest> {
    let budget = run.model.context_window() * BYTES_PER_TOKEN * PROMPT_SHARE_PERCENT / 100;
    let (asked_at, history) = match run.claimed.first.take() {
        Some(First { said, as_of }) => (as_of, chosen(&[(run.turn().id, said.into())], budget)),
        None => read(run, budget).await?,
    };
    run.asked_at = asked_at;
    let tools = agents::tools(&run.engine, &run.profile);
    Ok(ModelRequest { system: run.profile.instructions.clone(), messages: history, tools, forced_tool: None })
}

/// The end of the log, and what is said up to there.
async fn read(run: &Run, budget: u64) -> Result<(Seq, Vec<PromptMessage>)> {
    let (turn, conversation) = (run.turn().id, run.claimed.conversation.id);
    let histories = &run.engine.inner.histories;
    loop {
        let (known, of, epoch) = (histories.get(conversation), run.claimed.conversation.clone(), run.claimed.epoch);
        let reading = run.engine.inner.store.read(move |tx| {
            // Where another node has taken the turn over, what it has said would be asked about.
            let head = conversations::head(tx, conversation)?.filter(|head| head.epoch == epoch).ok_or(Error::NotFound)?;
            Ok::<_, Error>((head.seq, latest(tx, &of, turn, known)?))
        });
        let (asked_at, said) = reading.await?;
        if is_overtaken(&said, turn, run.message()) {
            put_last(run).await?;
            continue;
        }
        let history = chosen(&said, budget);
        histories.keep(conversation, said.into_iter().filter(|(of, _)| *of != turn).collect());
        return Ok((asked_at, history));
    }
}

/// Whether a person has joined the turn since the message that the step will write got its place.
fn is_overtaken(said: &[(TurnId, Said)], turn: TurnId, writes: MessageId) -> bool {
    let Some((_, said)) = said.iter().find(|(of, _)| *of == turn) else { return false };
    said.iter().skip_while(|message| message.id != writes).any(|message| matches!(message.author, Author::Person(_)))
}

/// Puts the message that the step will write behind all that is said. Where it stood, the model would be told later that it
/// had answered before it was asked.
async fn put_last(run: &Run) -> Result<()> {
    let (append, writes, conversation) = (run.append(), run.message(), run.claimed.conversation.id);
    let putting = run.engine.inner.store.write(move |tx| {
        append.lock(tx)?;
        let head = conversations::head(tx, conversation)?.ok_or(Error::NotFound)?;
        Ok::<_, Error>(messages::put(tx, writes, Place::behind(head.seq))?)
    });
    putting.await
}

/// The turn and those before it, newest first. Only what is not known yet is read.
fn latest(
    tx: &mut Tx,
    conversation: &Conversation,
    turn: TurnId,
    mut known: HashMap<TurnId, Said>,
) -> Result<Vec<(TurnId, Said)>, StoreError> {
    let ids = turns::window(tx, conversation.id, turn, TURNS, TURNS_STEP)?;
    let unknown: Vec<TurnId> = ids.iter().copied().filter(|id| !known.contains_key(id)).collect();
    let mut read: HashMap<TurnId, Vec<Message>> = HashMap::new();
    for message in messages::of_turns(tx, &unknown)? {
        read.entry(message.turn).or_default().push(message);
    }
    known.extend(read.into_iter().map(|(id, said)| (id, Said::from(said))));
    Ok(ids.into_iter().filter_map(|id| known.remove(&id).map(|said| (id, said))).collect())
}

/// As much of it as fits, as a prompt. The turn itself is always sent, whatever its size.
fn chosen(said: &[(TurnId, Said)], budget: u64) -> Vec<PromptMessage> {
    let mut size = 0;
    let fits = said.iter().take_while(|(_, said)| {
        let is_first = size == 0;
        size += said.iter().flat_map(|message| &message.parts).map(|part| bytes(&part.body)).sum::<u64>();
        is_first || size <= budget
    });
    let chosen: Vec<&Said> = fits.map(|(_, said)| said).collect();
    alternate(chosen.into_iter().rev().flat_map(|said| said.iter()))
}

/// One message for each stretch of one role, with results before anything a person said in the same stretch.
fn alternate<'m>(said: impl Iterator<Item = &'m Message>) -> Vec<PromptMessage> {
    let mut prompt: Vec<PromptMessage> = Vec::new();
    let mut said = said.peekable();
    while let Some(message) = said.next() {
        let role = match message.author {
            Author::Agent => Role::Assistant,
            Author::Person(_) | Author::System => Role::User,
        };
        let parts: Vec<PartBody> = message.parts.iter().map(|part| shortened(&part.body)).collect();
        if parts.is_empty() || (role == Role::Assistant && is_only_thought(&parts)) {
            continue;
        }
        if said.peek().is_some_and(|next| answers(message, next, &prompt)) {
            continue;
        }
        match prompt.last_mut().filter(|last| last.role == role) {
            Some(last) => last.parts.extend(parts),
            None => prompt.push(PromptMessage { role, parts }),
        }
    }
    pair_calls(&mut prompt);
    for message in prompt.iter_mut().filter(|message| message.role == Role::User) {
        message.parts.sort_by_key(|part| !matches!(part, PartBody::ToolResult(_)));
    }
    prompt.retain(|message| !message.parts.is_empty());
    let first_said = prompt.iter().position(|message| message.role == Role::User).unwrap_or(prompt.len());
    prompt.drain(..first_said);
    prompt
}

/// Whether the message is a person's answer to a question that the prompt shows: then the model reads it as the result of
/// its call, which comes next.
fn answers(message: &Message, next: &Message, prompt: &[PromptMessage]) -> bool {
    if !matches!(message.author, Author::Person(_)) || next.turn != message.turn || next.author != Author::System {
        return false;
    }
    let answered = next.parts.iter().filter_map(|part| result(&part.body)).find(|result| result.name == ask_user::NAME);
    let asked = prompt.iter().rev().find(|message| message.role == Role::Assistant);
    let calls = asked.into_iter().flat_map(|asked| &asked.parts).filter_map(call);
    answered.is_some_and(|result| calls.into_iter().any(|call| call.id == result.call_id))
}

/// A thought of an answer that never came is no answer.
fn is_only_thought(parts: &[PartBody]) -> bool {
    parts.iter().all(|part| matches!(part, PartBody::Reasoning { .. }))
}

/// Leaves out calls without results and results without calls, which no provider would take.
fn pair_calls(prompt: &mut [PromptMessage]) {
    if prompt.iter().flat_map(|message| &message.parts).all(|part| call(part).is_none() && result(part).is_none()) {
        return;
    }
    for index in 0..prompt.len() {
        let calls: HashSet<String> = prompt[index].parts.iter().filter_map(call).map(|call| call.id.clone()).collect();
        let next: HashSet<String> = prompt
            .get(index + 1)
            .into_iter()
            .flat_map(|next| &next.parts)
            .filter_map(result)
            .map(|r| r.call_id.clone())
            .collect();
        prompt[index].parts.retain(|part| call(part).is_none_or(|call| next.contains(&call.id)));
        if let Some(following) = prompt.get_mut(index + 1) {
            following.parts.retain(|part| result(part).is_none_or(|result| calls.contains(&result.call_id)));
        }
    }
    if let Some(first) = prompt.first_mut() {
        first.parts.retain(|part| result(part).is_none());
    }
}

const fn call(part: &PartBody) -> Option<&ToolCall> {
    match part {
        PartBody::ToolCall(call) => Some(call),
        PartBody::Text { .. } | PartBody::Reasoning { .. } | PartBody::ToolResult(_) | PartBody::Opaque(_) => None,
    }
}

const fn result(part: &PartBody) -> Option<&ToolResult> {
    match part {
        PartBody::ToolResult(result) => Some(result),
        PartBody::Text { .. } | PartBody::Reasoning { .. } | PartBody::ToolCall(_) | PartBody::Opaque(_) => None,
    }
}

fn shortened(part: &PartBody) -> PartBody {
    let mut part = part.clone();
    if let PartBody::ToolResult(result) = &mut part {
        let end = result.output.floor_char_boundary(RESULT_BYTES);
        if end < result.output.len() {
            let left_out = result.output.len() - end;
            result.output.truncate(end);
            result.output += &format!("\n[{left_out} more bytes are not shown]");
        } else if result.truncated {
            result.output += "\n[the tool had more to say than its limit allows]";
        }
    }
    part
}

/// The text in a part, as far as a model is shown it.
pub(super) fn bytes(part: &PartBody) -> u64 {
    let length = match part {
        PartBody::Text { text } | PartBody::Reasoning { text, .. } => text.len(),
        PartBody::ToolCall(call) => {
            call.name.len() + call.input.iter().map(|(key, value)| key.len() + value.to_string().len()).sum::<usize>()
        }
        PartBody::ToolResult(result) => result.output.len().min(RESULT_BYTES),
        PartBody::Opaque(verbatim) => verbatim.block.to_string().len(),
    };
    length as u64
}
