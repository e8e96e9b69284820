//! People and agents who answer contacts on connected platforms.
//!
//! What a contact writes is taken in by `intake.rs`, waits in `buffer.rs` until its burst is over, and goes to an agent by
//! `call.rs` or `builtin.rs`; what they attach is fetched in `files.rs`; what people and agents say goes out by `say.rs`. Who may speak is decided in `floor.rs`, and
//! what operators see of all this leaves through `changes.rs` and `live.rs`.

mod agents;
mod buffer;
mod builtin;
mod call;
mod canned;
mod changes;
mod channels;
mod chat_notes;
mod chats;
mod console;
mod contacts;
mod deliver;
mod deliveries;
mod files;
mod floor;
mod intake;
mod knocks;
mod listen;
mod live;
mod pace;
mod receive;
mod rest;
mod say;
mod secrets;
mod send;
mod sweep;
mod typing;
mod window;

pub use agents::{AgentChange, AgentToken, NewAgent, TokenRef};
pub(crate) use buffer::EndBurst;
pub(crate) use builtin::RunBuiltin;
pub(crate) use call::{CallWebhook, ReplyDue};
pub use canned::CannedChange;
pub(crate) use changes::Changes;
pub use channels::{ChannelChange, Permission};
pub use chat_notes::NotePage;
pub use chats::ChatAct;
pub use console::SendTest;
pub use contacts::ContactView;
pub use deliveries::Tested;
pub(crate) use files::FetchFile;
pub use files::FileReader;
pub(crate) use floor::ReturnFloor;
pub use intake::Taken;
pub use knocks::Knock;
pub(crate) use knocks::Knocks;
pub(crate) use listen::ListenToChannel;
pub use live::{HubEntry, HubFeed, HubNews};
pub(crate) use live::{HubLog, start};
pub(crate) use pace::Pace;
pub use receive::{NotReceived, Received};
pub(crate) use rest::RestAgent;
pub use say::{ChatPost, MessagePage};
pub(crate) use send::SendQueued;
pub use store::hub::chats::Filter as ChatFilter;
pub use store::hub::files::StoredFile;
pub use store::hub::notes::{Activity, Draft};
pub use store::hub::outbox::{Part as OutboxPart, State as OutboxState};
pub use store::hub::traffic::Passed;
pub(crate) use typing::Signs;
pub use window::of as window_of;
