//! Making, changing and removing agents.

use domain::egress::ChosenBy;
use domain::hub::{Agent, AgentId, AgentKind, AgentScope, ChannelId, OnNewMessage};
use domain::{Mode, ModelName, Principal, Timestamp};
use store::Tx;
use store::hub::{Table, agents};

use super::tokens::{self, AgentToken};
use crate::accounts::{Secret, fresh};
use crate::hub::{Changes, rest};
use crate::{Engine, Error, Refused, Result, access};

/// The values of an agent; `None` stays as it is, or is the default. What may be nothing is an `Option` in the `Option`.
#[derive(Debug, Clone, Default)]
pub struct AgentChange {
    pub name: Option<String>,
    pub kind: Option<AgentKind>,
    pub webhook_url: Option<String>,
    pub is_fire_and_forget: Option<bool>,
    pub buffer_time_s: Option<i64>,
    pub history_msg_count: Option<i64>,
    pub recent_msg_window_minutes: Option<i64>,
    pub activate_for_new_conversation: Option<bool>,
    pub is_active: Option<bool>,
    pub scope: Option<AgentScope>,
    pub channels: Option<Option<Vec<ChannelId>>>,
    pub on_new_message: Option<OnNewMessage>,
    pub reply_timeout_s: Option<i64>,
    pub max_wait_s: Option<Option<i64>>,
    pub model: Option<Option<ModelName>>,
    pub instructions: Option<String>,
    pub tools: Option<Option<Vec<String>>>,
    pub mode: Option<Mode>,
}

/// A new agent, and what only it may know; a built-in one needs neither.
#[derive(Debug, Clone)]
pub struct NewAgent {
    pub agent: Agent,
    pub proofs: Option<(AgentToken, Secret)>,
}

pub(super) async fn list(engine: &Engine, who: Principal, is_active: bool) -> Result<Vec<Agent>> {
    let agents = engine.inner.store.read(move |tx| agents::list(tx, is_active)).await?;
    Ok(agents.into_iter().filter(|agent| access::hub::reads_agent(who, agent.id).is_ok()).collect())
}

pub(super) async fn get(engine: &Engine, who: Principal, id: AgentId) -> Result<Agent> {
    access::hub::reads_agent(who, id)?;
    engine.inner.store.read(move |tx| known(tx, id)).await
}

pub(super) async fn create(engine: &Engine, who: Principal, new: AgentChange) -> Result<NewAgent> {
    access::hub::admin(who)?;
    check(engine, &new).await?;
    let now = engine.inner.clock.now();
    let sealer = engine.clone();
    engine
        .inner
        .store
        .write(move |tx| {
            let agent = new.applied_to(default_agent(fresh(tx, Table::Agent)?, now));
            agents::insert(tx, &agent)?;
            let proofs = match agent.kind {
                AgentKind::Webhook => Some(tokens::first(tx, &sealer, agent.id, now)?),
                AgentKind::Builtin => None,
            };
            Ok(NewAgent { agent, proofs })
        })
        .await
}

pub(super) async fn change(engine: &Engine, who: Principal, id: AgentId, change: AgentChange) -> Result<Agent> {
    access::hub::admin(who)?;
    check(engine, &change).await?;
    let (rights, queue, now) = (engine.rights(), engine.queue(), engine.inner.clock.now());
    engine
        .inner
        .store
        .write(move |tx| {
            let before = known(tx, id)?;
            let was_active = before.is_active;
            let agent = change.applied_to(before);
            agents::update(tx, &agent)?;
            if agent.is_active != was_active {
                rest::begin(tx, &queue, id, now)?;
            }
            rights.change_with(tx);
            Ok(agent)
        })
        .await
}

pub(super) async fn delete(engine: &Engine, who: Principal, id: AgentId, hard: bool) -> Result<()> {
    access::hub::admin(who)?;
    let (rights, mut changes) = (engine.rights(), Changes::of(engine));
    engine
        .inner
        .store
        .write(move |tx| {
            let agent = known(tx, id)?;
            rights.change_with(tx);
            agents::update(tx, &Agent { is_active: false, ..agent })?;
            if !hard {
                return rest::begin(tx, &changes.queue, id, changes.at);
            }
            // Its chats are known by its links, which go with it.
            rest::settle(tx, &mut changes, id, i64::from(u32::MAX))?;
            store::hub::tokens::delete_of_agent(tx, id)?;
            agents::delete(tx, id)?;
            changes.end(tx)
        })
        .await
}

pub(crate) fn known(tx: &mut Tx, id: AgentId) -> Result<Agent> {
    agents::get(tx, id)?.ok_or(Refused::NO_AGENT.into())
}

/// The contract's defaults.
fn default_agent(id: AgentId, now: Timestamp) -> Agent {
    Agent {
        id,
        name: String::new(),
        kind: AgentKind::Webhook,
        webhook_url: None,
        is_fire_and_forget: false,
        buffer_time_s: 3,
        history_msg_count: 40,
        recent_msg_window_minutes: 1440,
        activate_for_new_conversation: false,
        is_active: true,
        scope: AgentScope::Linked,
        channels: None,
        on_new_message: OnNewMessage::Collect,
        reply_timeout_s: 300,
        max_wait_s: None,
        model: None,
        instructions: String::new(),
        tools: None,
        mode: Mode::Ask,
        created_at: now,
    }
}

/// An address that must not be called, and a model that nobody offers, are refused when they are saved.
async fn check(engine: &Engine, change: &AgentChange) -> Result<()> {
    if let Some(url) = &change.webhook_url
        && engine.outside().egress.check(url, ChosenBy::Admin).await.is_err()
    {
        return Err(Error::InvalidValue { field: "webhook_url", reason: "address not allowed" });
    }
    if let Some(Some(model)) = &change.model
        && engine.inner.catalogue.model(model).is_err()
    {
        return Err(Error::InvalidValue { field: "model", reason: "unknown model" });
    }
    Ok(())
}

impl AgentChange {
    fn applied_to(self, agent: Agent) -> Agent {
        let kind = self.kind.unwrap_or(agent.kind);
        let is_new = agent.name.is_empty();
        let on_new_message = match (self.on_new_message, kind) {
            (Some(choice), _) => choice,
            (None, AgentKind::Builtin) if is_new => OnNewMessage::Interrupt,
            (None, _) => agent.on_new_message,
        };
        Agent {
            id: agent.id,
            name: self.name.unwrap_or(agent.name),
            kind,
            webhook_url: self.webhook_url.or(agent.webhook_url),
            is_fire_and_forget: self.is_fire_and_forget.unwrap_or(agent.is_fire_and_forget),
            buffer_time_s: self.buffer_time_s.unwrap_or(agent.buffer_time_s),
            history_msg_count: self.history_msg_count.unwrap_or(agent.history_msg_count),
            recent_msg_window_minutes: self.recent_msg_window_minutes.unwrap_or(agent.recent_msg_window_minutes),
            activate_for_new_conversation: self.activate_for_new_conversation.unwrap_or(agent.activate_for_new_conversation),
            is_active: self.is_active.unwrap_or(agent.is_active),
            scope: self.scope.unwrap_or(agent.scope),
            channels: self.channels.unwrap_or(agent.channels),
            on_new_message,
            reply_timeout_s: self.reply_timeout_s.unwrap_or(agent.reply_timeout_s),
            max_wait_s: self.max_wait_s.unwrap_or(agent.max_wait_s),
            model: self.model.unwrap_or(agent.model),
            instructions: self.instructions.unwrap_or(agent.instructions),
            tools: self.tools.unwrap_or(agent.tools),
            mode: self.mode.unwrap_or(agent.mode),
            created_at: agent.created_at,
        }
    }
}
