//! The console of a channel: what came and went last, and a message that is sent to see whether it works.

use domain::hub::{Channel, ChannelId, ChatMessageId, Health, HubId as _};
use domain::sockets::channel::{Outbound, PlatformCode, Refusal, RefusalKind, SendOutcome};
use domain::{Principal, Timestamp};
use serde_json::Map;
use store::Tx;
use store::hub::traffic::{self, Passed};
use store::hub::{channels, chats};

use super::knocks::Knock;
use crate::accounts::random_number;
use crate::{Engine, Error, Refused, Result, access};

/// What came of a message that was sent to see whether it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendTest {
    pub ok: bool,
    pub took_ms: u64,
    /// The platform's id of the message.
    pub external_id: Option<String>,
    pub error: Option<String>,
    pub error_code: Option<String>,
}

impl Engine {
    /// The channel's newest messages in both directions, and the requests that this node has turned away since it began; each
    /// the newest first.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn channel_traffic(&self, who: Principal, id: ChannelId, limit: i64) -> Result<(Vec<Passed>, Vec<Knock>)> {
        let read = move |tx: &mut Tx| {
            access::hub::channel(tx, who, id)?;
            Ok::<_, Error>(traffic::newest(tx, id, limit)?)
        };
        let passed = self.inner.store.read(read).await?;
        Ok((passed, self.inner.knocks.of(id)))
    }

    /// Sends a text to an address on the platform: at once, to nobody's chat, and without a repeat.
    ///
    /// # Errors
    /// [`Refused`], or the database's. A platform's failure is in the answer.
    pub async fn test_channel(&self, who: Principal, id: ChannelId, to: String, text: String) -> Result<SendTest> {
        access::hub::admin(who)?;
        let engine = self.clone();
        let address = to.clone();
        let read = move |tx: &mut Tx| {
            let channel = access::hub::channel(tx, who, id)?;
            let chat = chats::by_address(tx, id, &address)?;
            // Who wants no messages wants no tests either.
            if chat.as_ref().is_some_and(|chat| chat.opted_out) {
                return Err(Error::from(Refused::OPTED_OUT));
            }
            let access = engine.channel_access(tx, &channel)?;
            Ok((channel, access, chat.map(|view| view.chat)))
        };
        let (channel, access, chat) = self.inner.store.read(read).await?;
        let Some(connector) = self.outside().channel(channel.platform) else {
            let error = format!("Platform {} is not available", channel.platform);
            return Ok(SendTest { ok: false, took_ms: 0, external_id: None, error: Some(error), error_code: None });
        };
        let began = self.inner.clock.now();
        let outbound = Outbound {
            message_id: ChatMessageId::from_random(random_number()).spelled(),
            part: 0,
            chat_id: chat.as_ref().map(|chat| chat.id.spelled()).unwrap_or_default(),
            to,
            text,
            media: Vec::new(),
            template: None,
            reply_to: None,
            chat_meta: chat.map_or_else(Map::new, |chat| chat.meta),
            first_tried_at: began,
            now: began,
        };
        let outcome = connector.send(&access, &outbound).await;
        self.learn(channel, &outcome).await?;
        Ok(told(outcome, self.inner.clock.now(), began))
    }

    /// What a platform says of our credentials counts, whoever asked.
    async fn learn(&self, before: Channel, outcome: &SendOutcome) -> Result<()> {
        let health = match outcome {
            SendOutcome::Accepted(_) => Health::Ok,
            SendOutcome::Refused(RefusalKind::Auth, _) => Health::Auth,
            SendOutcome::Refused(..) | SendOutcome::Retry { .. } | SendOutcome::Unknown => return Ok(()),
        };
        if before.health == health {
            return Ok(());
        }
        let write = move |tx: &mut Tx| {
            // The credentials may have been changed meanwhile.
            if channels::get(tx, before.id)?.is_some_and(|now| now.health == before.health) {
                channels::set_health(tx, before.id, health)?;
            }
            Ok::<_, Error>(())
        };
        self.inner.store.write(write).await
    }
}

fn told(outcome: SendOutcome, now: Timestamp, began: Timestamp) -> SendTest {
    let took_ms = now.millis_since(began);
    let failed = |refusal: Refusal| {
        let error_code = refusal.code.map(|code| match code {
            PlatformCode::Number(number) => number.to_string(),
            PlatformCode::Word(word) => word,
        });
        SendTest { ok: false, took_ms, external_id: None, error: Some(refusal.text), error_code }
    };
    match outcome {
        SendOutcome::Accepted(accepted) => {
            SendTest { ok: true, took_ms, external_id: accepted.external_id, error: None, error_code: None }
        }
        SendOutcome::Refused(_, refusal) | SendOutcome::Retry { refusal, .. } => failed(refusal),
        SendOutcome::Unknown => failed(Refusal { code: None, text: "The platform did not answer".to_owned() }),
    }
}
