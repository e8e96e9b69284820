//! The calls of an agent, as administrators see them.

use domain::Principal;
use domain::hub::{AgentDelivery, AgentId, AgentKind, DeliveryId, DeliveryState, HubId as _};
use domain::sockets::agent::{AgentAnswer, AgentCall, Burst};
use domain::sockets::channel::Secret;
use store::Tx;
use store::hub::{agents, chats, deliveries};

use super::agents::{known, secret_place};
use super::changes::Changes;
use super::secrets::open;
use super::{builtin, call};
use crate::accounts::random_number;
use crate::{Engine, Refused, Result, access};

/// What came of a call that was made to see whether it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    pub ok: bool,
    pub status: Option<u16>,
    pub took_ms: u64,
    /// What it says; nobody is sent it.
    pub replies: Vec<String>,
    pub error: Option<String>,
}

impl Engine {
    /// One page of an agent's deliveries, the newest first, and how many there are.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn deliveries(
        &self,
        who: Principal,
        id: AgentId,
        state: Option<DeliveryState>,
        (offset, limit): (i64, i64),
    ) -> Result<(Vec<AgentDelivery>, i64)> {
        access::hub::admin(who)?;
        let read = move |tx: &mut Tx| {
            known(tx, id)?;
            Ok(deliveries::list(tx, id, state, offset, limit)?)
        };
        self.inner.store.read(read).await
    }

    /// Sends a dead letter once more, as the same delivery.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn retry_delivery(&self, who: Principal, id: AgentId, delivery: DeliveryId) -> Result<AgentDelivery> {
        access::hub::admin(who)?;
        let changes = Changes::of(self);
        let write = move |tx: &mut Tx| {
            let agent = known(tx, id)?;
            let found = deliveries::get(tx, delivery)?.filter(|found| found.agent == id).ok_or(Refused::NO_DELIVERY)?;
            chats::hold(tx, found.chat)?;
            if found.state != DeliveryState::Failed {
                return Err(Refused::NOT_A_DEAD_LETTER.into());
            }
            call::revive(tx, &changes, found, &agent)?;
            deliveries::get(tx, delivery)?.ok_or(Refused::NO_DELIVERY.into())
        };
        self.inner.store.write(write).await
    }

    /// Calls an agent behind a webhook with no messages, and asks a built-in one `text`, to see whether it answers.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn test_agent(&self, who: Principal, id: AgentId, text: String) -> Result<Tested> {
        access::hub::admin(who)?;
        let read = move |tx: &mut Tx| Ok::<_, crate::Error>((known(tx, id)?, agents::secrets(tx, id)?));
        let (agent, secrets) = self.inner.store.read(read).await?;
        let began = self.inner.clock.now();
        let reads_answer = !agent.is_fire_and_forget;
        let url = match (agent.kind, agent.webhook_url.clone()) {
            (AgentKind::Webhook, Some(url)) => url,
            (AgentKind::Webhook | AgentKind::Builtin, _) => {
                let answer = builtin::try_out(self, &agent, text).await;
                let took_ms = self.inner.clock.now().millis_since(began);
                let (replies, error) = match answer {
                    Ok(text) => (vec![text], None),
                    Err(error) => (Vec::new(), Some(error)),
                };
                return Ok(Tested { ok: error.is_none(), status: None, took_ms, replies, error });
            }
        };
        let delivery_id = DeliveryId::from_random(random_number()).spelled();
        let burst = Burst {
            delivery_id: delivery_id.clone(),
            agent_id: id.spelled(),
            chat_id: String::new(),
            chat_external_id: String::new(),
            channel_id: String::new(),
            chat_name: String::new(),
            platform: "",
            contact_id: String::new(),
            messages: Vec::new(),
            window: None,
        };
        let place = secret_place(id);
        let secret = secrets.secret.map(|sealed| open(self, &place, &sealed).map(Secret)).transpose()?;
        let call = AgentCall {
            url,
            delivery_id,
            attempt: 1,
            body: self.outside().agents.body(&burst),
            secrets: secret.into_iter().collect(),
            reads_answer,
            now: began,
        };
        let answer = self.outside().agents.call(&call).await;
        let took_ms = self.inner.clock.now().millis_since(began);
        Ok(match answer {
            AgentAnswer::Accepted { status, replies, .. } => {
                let replies = replies.into_iter().map(|reply| reply.content).collect();
                Tested { ok: true, status: Some(status), took_ms, replies, error: None }
            }
            AgentAnswer::Gone { status } => {
                Tested { ok: false, status: Some(status), took_ms, replies: Vec::new(), error: Some("gone".to_owned()) }
            }
            AgentAnswer::Failed { status, error, .. } => {
                Tested { ok: false, status, took_ms, replies: Vec::new(), error: Some(error) }
            }
        })
    }
}
