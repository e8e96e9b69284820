//! The nouns of the hub: people and agents who answer contacts on connected platforms.

mod agent;
mod channel;
mod chat;
mod delivery;
mod event;
mod ids;
mod team;

pub use agent::{Agent, AgentKind, AgentScope, OnNewMessage};
pub use channel::{Channel, Health, InboundAuth, Takeover};
pub use chat::{
    Attachment, AttachmentState, Chat, ChatAgent, ChatMessage, ChatView, Floor, Holder, LastMessage, Sender, SenderType,
};
pub use delivery::{AgentDelivery, DeliveryState};
pub use event::{HubEvent, HubEventKind, SeenBy};
pub use ids::{
    AgentId, CannedReplyId, ChannelId, ChatAgentId, ChatId, ChatMessageId, ChatNoteId, ContactId, DeliveryId, DraftId, FileId,
    HubId, IdentityId, TokenId,
};
pub use team::{CannedReply, ChatNote, NoteAuthor};
