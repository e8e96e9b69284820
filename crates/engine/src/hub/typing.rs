//! Shows a contact that an agent is at work on what they wrote. Nothing waits for it, nothing fails with it, and it takes
//! nothing from what is sent.

use std::time::Duration;

use domain::Timestamp;
use domain::hub::{AgentDelivery, Channel, DeliveryId, DeliveryState, Holder};
use domain::sockets::channel::{Channel as Connector, ChannelAccess};
use store::Tx;
use store::hub::{channels, chats, deliveries, messages};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{Engine, Result, WeakEngine};

/// Signs on their way at once on one node. The guarded client has eight places for each host, and messages need them.
const AT_ONCE: usize = 2;
/// A sign that takes longer comes too late to be of use.
const PATIENCE: Duration = Duration::from_secs(3);
/// An agent that takes longer is not believed to be writing.
const LONGEST_MS: i64 = 5 * 60 * 1000;

#[derive(Debug)]
pub(crate) struct Signs(Semaphore);

impl Default for Signs {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

/// An attempt at a delivery has begun: until it ends, or the agent that has accepted it has answered, the contact sees
/// somebody writing, where the platform can show it.
pub(super) fn begin(engine: &Engine, delivery: &AgentDelivery) {
    let (id, attempt, since) = (delivery.id, delivery.attempts, engine.inner.clock.now());
    tokio::spawn(go_on(engine.downgrade(), id, attempt, since));
}

async fn go_on(engine: WeakEngine, id: DeliveryId, attempt: i64, since: Timestamp) {
    loop {
        let Some(engine) = engine.upgrade() else { return };
        if engine.inner.clock.now().0 - since.0 > LONGEST_MS {
            return;
        }
        let reader = engine.clone();
        // Without a database nobody can say who is at work.
        let Ok(Some(sign)) = engine.inner.store.read(move |tx| sign(tx, &reader, id, attempt)).await else { return };
        let Some(connector) = engine.outside().channel(sign.channel.platform) else { return };
        let Some(typing) = connector.limits().typing else { return };
        if typing.marks_read && !sign.channel.send_read_receipts {
            return;
        }
        let next = Instant::now() + Duration::from_millis(typing.repeat_ms);
        show(&engine, &**connector, &sign).await;
        drop(engine);
        sleep_until(next).await;
    }
}

/// Shows it once, unless messages need the way.
async fn show(engine: &Engine, connector: &dyn Connector, sign: &Sign) {
    let now = engine.inner.clock.now();
    if !engine.inner.pace.has_room(sign.channel.id, connector.limits(), now) {
        return;
    }
    let Ok(_place) = engine.inner.signs.0.try_acquire() else { return };
    // Whether it showed makes no difference to anybody.
    let _ = timeout(PATIENCE, connector.typing(&sign.access, &sign.to, sign.last_received.as_deref())).await;
}

struct Sign {
    channel: Channel,
    access: ChannelAccess,
    to: String,
    last_received: Option<String>,
}

/// `None`: nobody is at work on it any more.
fn sign(tx: &mut Tx, engine: &Engine, id: DeliveryId, attempt: i64) -> Result<Option<Sign>> {
    let Some(delivery) = deliveries::get(tx, id)?.filter(|found| found.attempts == attempt && is_at_work(found)) else {
        return Ok(None);
    };
    let Some(chat) = chats::get(tx, delivery.chat)?.filter(|chat| chat.floor.holder != Holder::User) else { return Ok(None) };
    let Some(channel) = channels::get(tx, chat.channel)? else { return Ok(None) };
    let access = engine.channel_access(tx, &channel)?;
    let last_received = messages::newest_received(tx, chat.id)?;
    Ok(Some(Sign { channel, access, to: chat.external_id, last_received }))
}

const fn is_at_work(delivery: &AgentDelivery) -> bool {
    match delivery.state {
        // One that waits for its next attempt has a time.
        DeliveryState::Open => delivery.next_at.is_none() && !delivery.replied,
        // Accepted, and the answer is still to come.
        DeliveryState::Done => delivery.reply_due_at.is_some() && !delivery.replied,
        DeliveryState::Failed | DeliveryState::Superseded | DeliveryState::Cancelled => false,
    }
}

/// Tells the platform that presses of buttons were seen. Nobody waits for it.
pub(super) fn acknowledge(engine: &Engine, channel: &Channel, access: ChannelAccess, tokens: Vec<String>) {
    let Some(connector) = engine.outside().channel(channel.platform).filter(|_| !tokens.is_empty()) else { return };
    let connector = std::sync::Arc::clone(connector);
    tokio::spawn(async move {
        for token in tokens {
            let _ = timeout(PATIENCE, connector.acknowledge(&access, &token)).await;
        }
    });
}
