//! The nouns of the hub: people and agents who answer contacts on connected platforms.

mod agent;
mod ids;

pub use agent::{Agent, AgentKind, AgentScope, OnNewMessage};
pub use ids::{
    AgentId, ChannelId, ChatAgentId, ChatId, ChatMessageId, ContactId, DeliveryId, DraftId, HubId, IdentityId, TokenId,
};
