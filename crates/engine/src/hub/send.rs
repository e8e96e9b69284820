//! Sends what is queued: one job for each chat that has something to send, and in it one part after the other, in order.
//!
//! An attempt is noted before it is made. One whose end is not known, because nobody answered or the program stopped, is
//! looked up at the platform before anything is repeated.

use async_trait::async_trait;
use domain::hub::{Channel, ChannelId, Chat, ChatId, ChatMessage, ChatMessageId, Health, HubId as _};
use domain::sockets::channel::{Accepted, ChannelAccess, Found, Outbound, PlatformCode, Refusal, RefusalKind, SendOutcome};
use domain::{DeliveryStatus, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::Tx;
use store::hub::outbox::{self, Part, State};
use store::hub::{channels, chats, contacts, inbound, messages};

use super::changes::{By, Changes};
use super::deliver::{self, code_value, error_type, raise};
use crate::jobs::{Attempt, BackOff, Completed, JobError, Policy, Queue, Repeat, Unique, Work};
use crate::{Engine, Result};

/// How long after each failed attempt the next one comes; the last one repeats.
const WAITS_MS: [i64; 7] = [1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000];
/// A message that could not be sent for so long is given up.
const GIVEN_UP_AFTER_MS: i64 = 24 * 60 * 60 * 1000;
/// How soon it is asked what became of an attempt without an answer.
const LOOK_UP_AFTER_MS: i64 = 5_000;
/// A platform may know a message only some time after it took it; what it does not know then is sent again.
const KNOWN_AFTER_MS: i64 = 60_000;
/// Where nobody can be asked, one repeat is better than silence.
const REPEATED_AFTER_MS: i64 = 30_000;
/// Messages wait for new credentials; how often it is looked whether they are there.
const CREDENTIALS_MS: i64 = 10_000;

/// Sends what a chat has queued.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SendQueued {
    chat: ChatId,
    #[serde(default)]
    channel: Option<ChannelId>,
}

/// Something is queued in the chat.
///
/// # Errors
/// The database's.
pub(crate) fn queued(tx: &mut Tx, queue: &Queue, chat: ChatId, at: Timestamp) -> Result<()> {
    let key = chat.spelled();
    let channel = chats::get(tx, chat)?.map(|found| found.channel);
    queue.enqueue(tx, &SendQueued { chat, channel }, at, Some(Unique { key: &key, repeat: Repeat::Keep }))?;
    Ok(())
}

#[async_trait]
impl Work for SendQueued {
    const KIND: &'static str = "send_queued";
    /// The outcome of each attempt is stored, and the next one is a job of its own: only a fault of ours is repeated here.
    const POLICY: Policy = Policy { back_off: BackOff::WEBHOOK, at_once: 64, time_limit_ms: 60_000, lease_ms: 15_000 };

    fn lane(&self) -> Option<String> {
        Some(format!("send:{}", self.chat.spelled()))
    }

    /// A platform that is slow holds up its own channel.
    fn share(&self) -> Option<String> {
        self.channel.map(|channel| format!("send:{}", channel.spelled()))
    }

    async fn run(self, attempt: &Attempt) -> Result<Completed, JobError> {
        let (engine, chat) = (attempt.engine().clone(), self.chat);
        let next = attempt.store(move |tx| next(tx, &engine, chat)).await?;
        let (queue, engine) = (attempt.queue(), attempt.engine().clone());
        match next {
            Next::Nothing => attempt.complete(|_| Ok(())).await,
            Next::Wait(until) => attempt.complete(move |tx| queued(tx, &queue, chat, until)).await,
            Next::Try(try_it) => {
                let ended = try_it.run(&engine).await;
                let mut changes = Changes::of(&engine);
                attempt
                    .complete(move |tx| {
                        changes.hold(tx, chat)?;
                        note(tx, &mut changes, &try_it, ended)?;
                        let (queue, now) = (changes.queue.clone(), changes.at);
                        changes.end(tx)?;
                        queued(tx, &queue, chat, now)
                    })
                    .await
            }
        }
    }
}

enum Next {
    Nothing,
    Wait(Timestamp),
    Try(Box<Try>),
}

/// One attempt at one part.
#[derive(Debug, Clone)]
struct Try {
    channel: Channel,
    access: ChannelAccess,
    message: ChatMessage,
    part: Part,
    outbound: Outbound,
    /// What became of the attempt before is to be asked, not the part to be sent.
    asks: bool,
    /// The platform's ids of the chat's other messages.
    taken: Vec<String>,
}

/// What came of it.
#[derive(Debug, Clone)]
enum Ended {
    Sent(SendOutcome),
    Found(Found),
    /// There is no connector for the platform.
    NoConnector,
}

/// Decides what to do now, and notes an attempt before it is made.
fn next(tx: &mut Tx, engine: &Engine, chat: ChatId) -> Result<Next> {
    chats::hold(tx, chat)?;
    let now = engine.inner.clock.now();
    let Some(mut part) = outbox::first_queued(tx, chat)? else { return Ok(Next::Nothing) };
    if part.next_at > now {
        return Ok(Next::Wait(part.next_at));
    }
    let (Some(channel), Some(chat), Some(message)) =
        (channels::get(tx, part.channel)?, chats::get(tx, chat)?, messages::get(tx, part.message)?)
    else {
        outbox::give_up(tx, part.message, "the channel is gone")?;
        return Ok(Next::Wait(now));
    };
    let is_late = now.0 - part.created_at.0 > GIVEN_UP_AFTER_MS;
    if channel.health == Health::Auth && !is_late && !part.is_unknown {
        return Ok(Next::Wait(Timestamp(now.0 + CREDENTIALS_MS)));
    }
    let asks = part.is_unknown;
    if !asks {
        if let Some(limits) = engine.outside().channel(channel.platform).map(|connector| *connector.limits())
            && let Some(wait_ms) = engine.inner.pace.wait(channel.id, chat.id, &limits, now)
        {
            return Ok(Next::Wait(Timestamp(now.0 + wait_ms)));
        }
        part.attempts += 1;
        part.first_tried_at = part.first_tried_at.or(Some(now));
        part.is_unknown = true;
        outbox::update(tx, &part, State::Queued)?;
    }
    let access = engine.channel_access(tx, &channel)?;
    let taken = if asks { messages::newest_external_ids(tx, chat.id, message.id)? } else { Vec::new() };
    let outbound = outbound(tx, &chat, &message, &part, now)?;
    Ok(Next::Try(Box::new(Try { channel, access, message, part, outbound, asks, taken })))
}

fn outbound(tx: &mut Tx, chat: &Chat, message: &ChatMessage, part: &Part, now: Timestamp) -> Result<Outbound> {
    let reply_to = match message.meta.get("reply_to").and_then(Value::as_str).and_then(ChatMessageId::read) {
        Some(id) => messages::get(tx, id)?.filter(|answered| answered.chat == chat.id).and_then(|answered| answered.external_id),
        None => None,
    };
    Ok(Outbound {
        message_id: message.id.spelled(),
        part: u32::try_from(part.part).unwrap_or(0),
        chat_id: chat.id.spelled(),
        to: chat.external_id.clone(),
        text: part.text.clone(),
        media: part.media.clone(),
        template: message.meta.get("template").and_then(Value::as_object).cloned(),
        reply_to: reply_to.filter(|_| part.part == 0),
        chat_meta: chat.meta.clone(),
        first_tried_at: part.first_tried_at.unwrap_or(now),
        now,
    })
}

impl Try {
    async fn run(&self, engine: &Engine) -> Ended {
        let Some(connector) = engine.outside().channel(self.channel.platform) else { return Ended::NoConnector };
        if self.asks {
            Ended::Found(connector.look_up(&self.access, &self.outbound, &self.taken).await)
        } else {
            Ended::Sent(connector.send(&self.access, &self.outbound).await)
        }
    }
}

/// Stores what came of an attempt.
fn note(tx: &mut Tx, changes: &mut Changes, tried: &Try, ended: Ended) -> Result<()> {
    // The message may have been given up or deleted meanwhile; what the platform has taken is noted all the same.
    let Some(message) = messages::get(tx, tried.message.id)? else { return Ok(()) };
    let part = tried.part.clone();
    if let Some(why) = outbox::withdrawn(tx, message.id, part.part)? {
        return note_withdrawn(tx, changes, tried, message, ended, &why);
    }
    match ended {
        Ended::Sent(SendOutcome::Accepted(accepted)) => taken(tx, changes, tried, message, *accepted),
        Ended::Found(Found::Yes(accepted)) => taken(tx, changes, tried, message, accepted),
        Ended::Sent(SendOutcome::Unknown) => {
            let next_at = Timestamp(changes.at.0 + LOOK_UP_AFTER_MS);
            Ok(outbox::update(tx, &Part { next_at, is_unknown: true, ..part }, State::Queued)?)
        }
        Ended::Sent(SendOutcome::Retry { after_ms, refusal }) => {
            again(tx, changes, tried, message, after_ms, &refusal, "retryable")
        }
        Ended::Sent(SendOutcome::Refused(RefusalKind::Auth, refusal)) => {
            wait_for_credentials(tx, changes, tried, message, &refusal)
        }
        Ended::Sent(SendOutcome::Refused(kind, refusal)) => refused(tx, changes, tried, message, kind, &refusal),
        Ended::Found(Found::RepeatIsHarmless) => repeat(tx, changes, part),
        Ended::Found(Found::No) => repeat_after(tx, changes, part, KNOWN_AFTER_MS),
        Ended::Found(Found::CannotTell) => repeat_blindly(tx, changes, tried, message, part),
        Ended::Found(Found::TryAgain) => {
            let refusal = Refusal { code: None, text: "The platform does not say what became of the message".to_owned() };
            if is_over(changes, &part) {
                return give_up(tx, changes, message, "unknown", &refusal);
            }
            let next_at = Timestamp(changes.at.0 + wait_ms(part.attempts, part.message));
            Ok(outbox::update(tx, &Part { next_at, ..part }, State::Queued)?)
        }
        Ended::NoConnector => {
            let refusal = Refusal { code: None, text: format!("Platform {} is not available", tried.channel.platform) };
            give_up(tx, changes, message, "not_supported", &refusal)
        }
    }
}

/// As [`note`], for a part that was withdrawn while the attempt was under way: it has arrived, or it never will.
fn note_withdrawn(tx: &mut Tx, changes: &mut Changes, tried: &Try, message: ChatMessage, ended: Ended, why: &str) -> Result<()> {
    let marked = Part {
        error: Some(why.to_owned()),
        error_code: Some(outbox::WITHDRAWN.to_owned()),
        is_unknown: true,
        ..tried.part.clone()
    };
    let wait_until =
        |tx: &mut Tx, next_at: Timestamp| Ok(outbox::update(tx, &Part { next_at, ..marked.clone() }, State::Queued)?);
    let known_by = Timestamp(marked.first_tried_at.unwrap_or(changes.at).0 + KNOWN_AFTER_MS);
    match ended {
        Ended::Sent(SendOutcome::Accepted(accepted)) => taken(tx, changes, tried, message, *accepted),
        Ended::Found(Found::Yes(accepted)) => taken(tx, changes, tried, message, accepted),
        Ended::Sent(SendOutcome::Unknown) => wait_until(tx, Timestamp(changes.at.0 + LOOK_UP_AFTER_MS)),
        Ended::Found(Found::No) if known_by > changes.at => wait_until(tx, known_by),
        Ended::Found(Found::TryAgain) if !is_over(changes, &marked) => {
            wait_until(tx, Timestamp(changes.at.0 + wait_ms(marked.attempts, marked.message)))
        }
        Ended::Sent(SendOutcome::Retry { .. } | SendOutcome::Refused(..))
        | Ended::Found(Found::No | Found::TryAgain | Found::RepeatIsHarmless | Found::CannotTell)
        | Ended::NoConnector => deliver::fail(tx, changes, message.id, why),
    }
}

/// The platform has the part. The message is sent when it has all of them.
fn taken(tx: &mut Tx, changes: &mut Changes, tried: &Try, mut message: ChatMessage, accepted: Accepted) -> Result<()> {
    let part = Part {
        external_id: accepted.external_id.clone(),
        is_unknown: false,
        error: None,
        error_code: None,
        ..tried.part.clone()
    };
    outbox::update(tx, &part, State::Sent)?;
    if tried.channel.health != Health::Ok {
        channels::set_health(tx, tried.channel.id, Health::Ok)?;
    }
    if let Some(address) = &accepted.moved_to
        && let Some(chat) = chats::get(tx, message.chat)?
    {
        chats::set_contact(tx, chat.id, &chat.name, address, &chat.meta)?;
    }
    let parts = outbox::of_message(tx, message.id)?;
    if parts.iter().any(|(_, state)| *state == State::Queued) {
        return Ok(());
    }
    if let Some((cut, _)) = parts.iter().find(|(_, state)| *state == State::Failed) {
        // The rest of it was withdrawn while this part was on its way.
        return deliver::fail(tx, changes, message.id, cut.error.as_deref().unwrap_or("superseded"));
    }
    accepted_meta(&mut message.meta, &accepted);
    message.external_id = accepted.external_id.clone();
    let before = message.status;
    let mut reached = before.after(DeliveryStatus::Sent).after(accepted.status);
    if let Some(external_id) = &accepted.external_id {
        // News may have come before this answer.
        for early in inbound::take_early(tx, tried.channel.id, external_id)? {
            reached = reached.after(early);
        }
    }
    message.status = reached;
    message.is_read |= reached == DeliveryStatus::Read;
    messages::update(tx, &message)?;
    changes.message_updated(message);
    Ok(())
}

fn accepted_meta(meta: &mut Map<String, Value>, accepted: &Accepted) {
    for name in ["platform_error", "platform_error_code", "platform_error_type"] {
        meta.remove(name);
    }
    meta.insert("platform_sent".to_owned(), Value::Bool(true));
    meta.insert("platform_status".to_owned(), accepted.word.clone().map_or_else(|| Value::from("sent"), Value::from));
    meta.insert("platform_external_id".to_owned(), accepted.external_id.clone().into());
    meta.insert("sent_to".to_owned(), accepted.sent_to.clone().into());
    meta.insert("sent_from".to_owned(), accepted.sent_from.clone().into());
}

fn again(
    tx: &mut Tx,
    changes: &mut Changes,
    tried: &Try,
    message: ChatMessage,
    after_ms: Option<u64>,
    refusal: &Refusal,
    why: &str,
) -> Result<()> {
    let part = tried.part.clone();
    if is_over(changes, &part) {
        return give_up(tx, changes, message, why, refusal);
    }
    let asked = after_ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0);
    let next_at = Timestamp(changes.at.0 + wait_ms(part.attempts, part.message).max(asked));
    let error = Some(refusal.text.clone());
    Ok(outbox::update(tx, &Part { next_at, is_unknown: false, error, error_code: code_text(refusal), ..part }, State::Queued)?)
}

/// The message waits, and with it all others of the channel, until somebody has entered new credentials.
fn wait_for_credentials(tx: &mut Tx, changes: &mut Changes, tried: &Try, message: ChatMessage, refusal: &Refusal) -> Result<()> {
    // The credentials may have been changed while the old ones were refused.
    let is_newest = channels::get(tx, tried.channel.id)?.is_some_and(|channel| channel.health == tried.channel.health);
    if is_newest && tried.channel.health != Health::Auth {
        channels::set_health(tx, tried.channel.id, Health::Auth)?;
        ask_for_a_person(tx, changes, message.chat, "channel_auth", "The platform refuses the channel's credentials")?;
    }
    again(tx, changes, tried, message, None, refusal, "permanent")
}

fn refused(
    tx: &mut Tx,
    changes: &mut Changes,
    tried: &Try,
    message: ChatMessage,
    kind: RefusalKind,
    refusal: &Refusal,
) -> Result<()> {
    let chat = message.chat;
    if kind == RefusalKind::ChannelGone {
        channels::set_health(tx, tried.channel.id, Health::Unreachable)?;
    }
    give_up(tx, changes, message, error_type(kind), refusal)?;
    if kind == RefusalKind::OptedOut
        && let Some(chat) = chats::get(tx, chat)?
        && !contacts::has_opted_out(tx, chat.contact, tried.channel.id)?
    {
        super::contacts::opted_out(tx, changes, &chat)?;
    }
    Ok(())
}

/// What has not left of the message never will. People are asked to look.
fn give_up(tx: &mut Tx, changes: &mut Changes, mut message: ChatMessage, why: &str, refusal: &Refusal) -> Result<()> {
    outbox::give_up_because(tx, message.id, &refusal.text, code_text(refusal).as_deref())?;
    message.meta.insert("platform_sent".to_owned(), Value::Bool(false));
    message.meta.insert("platform_error".to_owned(), Value::from(refusal.text.clone()));
    message.meta.insert("platform_error_type".to_owned(), Value::from(why));
    if let Some(code) = &refusal.code {
        message.meta.insert("platform_error_code".to_owned(), code_value(code));
    }
    let chat = message.chat;
    raise(tx, changes, message, DeliveryStatus::Failed, None)?;
    ask_for_a_person(tx, changes, chat, "message_failed", "A message could not be sent")
}

fn ask_for_a_person(tx: &mut Tx, changes: &mut Changes, chat: ChatId, kind: &str, text: &str) -> Result<()> {
    changes.note(tx, chat, By::Nobody, kind, text)?;
    chats::set_attention(tx, chat, true)?;
    changes.chat_updated(chat);
    Ok(())
}

fn repeat(tx: &mut Tx, changes: &Changes, part: Part) -> Result<()> {
    Ok(outbox::update(tx, &Part { next_at: changes.at, is_unknown: false, ..part }, State::Queued)?)
}

/// The platform does not have it; if that is no answer yet, it is asked once more.
fn repeat_after(tx: &mut Tx, changes: &Changes, part: Part, patience_ms: i64) -> Result<()> {
    let known_by = Timestamp(part.first_tried_at.unwrap_or(changes.at).0 + patience_ms);
    if known_by <= changes.at {
        return repeat(tx, changes, Part { first_tried_at: None, ..part });
    }
    Ok(outbox::update(tx, &Part { next_at: known_by, ..part }, State::Queued)?)
}

/// Nobody can be asked. One repeat may double a message; a second would be worse than saying that nobody knows.
fn repeat_blindly(tx: &mut Tx, changes: &mut Changes, tried: &Try, mut message: ChatMessage, part: Part) -> Result<()> {
    let due = Timestamp(part.first_tried_at.unwrap_or(changes.at).0 + REPEATED_AFTER_MS);
    if due > changes.at {
        return Ok(outbox::update(tx, &Part { next_at: due, ..part }, State::Queued)?);
    }
    if message.meta.get("maybe_duplicate") == Some(&Value::Bool(true)) {
        let text = format!("{} never answered, so nobody knows whether the message has arrived", tried.channel.platform);
        return give_up(tx, changes, message, "unknown", &Refusal { code: None, text });
    }
    message.meta.insert("maybe_duplicate".to_owned(), Value::Bool(true));
    messages::update(tx, &message)?;
    repeat(tx, changes, part)
}

fn is_over(changes: &Changes, part: &Part) -> bool {
    changes.at.0 - part.created_at.0 >= GIVEN_UP_AFTER_MS
}

/// The wait after attempt number `attempts`, a fifth more or less, so that what failed together does not come back together.
fn wait_ms(attempts: i64, message: ChatMessageId) -> i64 {
    let index = usize::try_from(attempts - 1).unwrap_or(0).min(WAITS_MS.len() - 1);
    // The low bits of an id are random; for one attempt at one message the wait is always the same.
    let spread = i64::try_from(message.uuid().as_u128().wrapping_add(attempts.unsigned_abs().into()) % 401).unwrap_or(0) - 200;
    WAITS_MS[index] + WAITS_MS[index] * spread / 1000
}

fn code_text(refusal: &Refusal) -> Option<String> {
    refusal.code.as_ref().map(|code| match code {
        PlatformCode::Number(number) => number.to_string(),
        PlatformCode::Word(word) => word.clone(),
    })
}
