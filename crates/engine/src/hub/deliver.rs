//! How far messages have come on their way to a platform.

use domain::DeliveryStatus;
use domain::hub::{Channel, ChatId, ChatMessage, ChatMessageId, HubId as _};
use domain::sockets::channel::{PlatformCode, RefusalKind, StatusNews};
use serde_json::Value;
use store::Tx;
use store::hub::outbox::Whose;
use store::hub::{chats, contacts, inbound, messages, outbox};

use super::changes::Changes;
use super::intake::Taken;
use crate::{Engine, Result};

/// One page of a channel's messages on their way, or of those that have failed.
impl Engine {
    /// # Errors
    /// [`Refused`](crate::Refused), or the database's.
    pub async fn outbox(
        &self,
        who: domain::Principal,
        id: domain::hub::ChannelId,
        state: outbox::State,
        (offset, limit): (i64, i64),
    ) -> Result<Vec<outbox::Part>> {
        let read = move |tx: &mut Tx| {
            crate::access::hub::channel(tx, who, id)?;
            Ok(outbox::list(tx, id, state, offset, limit)?)
        };
        self.inner.store.read(read).await
    }
}

/// Gives up, for a reason of ours, whatever of these messages has not left the chat. What may have left is said to have failed
/// only when it is known that it has not arrived; it is not sent again in any case.
///
/// # Errors
/// The database's.
pub(super) fn withdraw(tx: &mut Tx, changes: &mut Changes, chat: ChatId, whose: Whose, why: &str) -> Result<()> {
    for (message, may_have_left) in outbox::waiting(tx, chat, whose)? {
        outbox::withdraw(tx, message, why)?;
        if !may_have_left {
            fail(tx, changes, message, why)?;
        }
    }
    Ok(())
}

/// Gives a message up for a reason of ours. What has not left of it is not sent.
///
/// # Errors
/// The database's.
pub(crate) fn fail(tx: &mut Tx, changes: &mut Changes, id: ChatMessageId, why: &str) -> Result<()> {
    outbox::give_up(tx, id, why)?;
    let Some(mut message) = messages::get(tx, id)? else { return Ok(()) };
    message.status = message.status.after(DeliveryStatus::Failed);
    message.meta.insert("platform_sent".to_owned(), Value::Bool(false));
    message.meta.insert("platform_error_type".to_owned(), Value::from(why));
    messages::update(tx, &message)?;
    changes.message_updated(message);
    Ok(())
}

/// News about a message of ours. It only rises; what is told before the message is known is kept.
///
/// # Errors
/// The database's.
pub(super) fn take_status(tx: &mut Tx, changes: &mut Changes, channel: &Channel, news: StatusNews) -> Result<Taken> {
    let Some(status) = news.status else { return Ok(Taken::UnknownStatus { word: news.word }) };
    let named = news.message_id.as_deref().and_then(ChatMessageId::read);
    let by_id = named.map(|id| messages::get(tx, id)).transpose()?.flatten();
    let is_ours = |tx: &mut Tx, message: &ChatMessage| {
        Ok::<_, crate::Error>(chats::get(tx, message.chat)?.is_some_and(|chat| chat.channel == channel.id))
    };
    let found = match by_id {
        Some(message) if is_ours(tx, &message)? => Some(message),
        Some(_) | None => messages::by_external_id(tx, channel.id, &news.external_id, None)?,
    };
    let Some(message) = found else {
        inbound::keep_early(tx, channel.id, &news.external_id, status, changes.at)?;
        return Ok(Taken::UnknownMessage { external_id: news.external_id });
    };
    chats::hold(tx, message.chat)?;
    let Some(message) = messages::get(tx, message.id)? else {
        return Ok(Taken::UnknownMessage { external_id: news.external_id });
    };
    let (id, chat) = (message.id, message.chat);
    let reached = raise(tx, changes, message, status, news.refusal.as_ref().map(|(kind, refusal)| (*kind, refusal)))?;
    if matches!(news.refusal, Some((RefusalKind::OptedOut, _)))
        && let Some(chat) = chats::get(tx, chat)?
        && !contacts::has_opted_out(tx, chat.contact, channel.id)?
    {
        super::contacts::opted_out(tx, changes, &chat)?;
    }
    Ok(Taken::Status { message: id, external_id: news.external_id, status: reached })
}

/// Stores that a message has come so far, if it is further than before. Returns how far it is now.
///
/// # Errors
/// The database's.
pub(crate) fn raise(
    tx: &mut Tx,
    changes: &mut Changes,
    mut message: ChatMessage,
    news: DeliveryStatus,
    refusal: Option<(RefusalKind, &domain::sockets::channel::Refusal)>,
) -> Result<DeliveryStatus> {
    let reached = message.status.after(news);
    if reached == message.status {
        return Ok(reached);
    }
    message.status = reached;
    message.is_read |= reached == DeliveryStatus::Read;
    if reached == DeliveryStatus::Failed
        && let Some((kind, refusal)) = refusal
    {
        message.meta.insert("platform_error".to_owned(), Value::from(refusal.text.clone()));
        message.meta.insert("platform_error_type".to_owned(), Value::from(error_type(kind)));
        if let Some(code) = &refusal.code {
            message.meta.insert("platform_error_code".to_owned(), code_value(code));
        }
    }
    messages::update(tx, &message)?;
    changes.message_updated(message);
    Ok(reached)
}

/// The contract's word for why a platform refuses.
#[must_use]
pub(crate) const fn error_type(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::WindowClosed => "window_closed",
        RefusalKind::OptedOut => "opted_out",
        RefusalKind::NotSupported => "not_supported",
        RefusalKind::Permanent | RefusalKind::Auth | RefusalKind::ChannelGone => "permanent",
    }
}

/// The platform's code as it came.
#[must_use]
pub(crate) fn code_value(code: &PlatformCode) -> Value {
    match code {
        PlatformCode::Number(number) => Value::from(*number),
        PlatformCode::Word(word) => Value::from(word.as_str()),
    }
}
