use serde::{Deserialize, Serialize};

use super::{AgentId, ChannelId};
use crate::{Mode, ModelName, Timestamp};

/// A configured answerer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    pub id: AgentId,
    pub name: String,
    pub kind: AgentKind,
    /// Where its bursts are sent; a built-in agent has none.
    pub webhook_url: Option<String>,
    /// Nobody waits for what it answers to a call.
    pub is_fire_and_forget: bool,
    /// How long a contact must be quiet before a burst is over.
    pub buffer_time_s: i64,
    /// Messages of history that a burst brings along, and how old they may be.
    pub history_msg_count: i64,
    pub recent_msg_window_minutes: i64,
    /// Linked to every new chat of its channels.
    pub activate_for_new_conversation: bool,
    pub is_active: bool,
    pub scope: AgentScope,
    /// The channels whose new chats it is linked to; `None`: all.
    pub channels: Option<Vec<ChannelId>>,
    pub on_new_message: OnNewMessage,
    /// How long after a burst was accepted an answer must have come; 0: for ever.
    pub reply_timeout_s: i64,
    /// How long a burst may grow; `None`: it follows from the buffer time.
    pub max_wait_s: Option<i64>,
    /// Of a built-in agent; `None`: the default model.
    pub model: Option<ModelName>,
    pub instructions: String,
    /// Names of the tools that a built-in agent may use; `None`: none, as what contacts write is not to be trusted.
    pub tools: Option<Vec<String>>,
    pub mode: Mode,
    pub created_at: Timestamp,
}

/// What answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// A service elsewhere.
    Webhook,
    /// A model of ours.
    Builtin,
}

/// What an agent's token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentScope {
    /// Every channel and chat.
    All,
    /// The chats it is linked to.
    Linked,
}

/// What becomes of an answer that is being made when the contact writes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNewMessage {
    /// It is sent; what is new makes the next burst.
    Collect,
    /// It is dropped, unless something was sent already; the next burst has everything.
    Interrupt,
}

macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $name {
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),*
                }
            }

            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

pub(super) use words;

words!(AgentKind { Webhook = "webhook", Builtin = "builtin" });
words!(AgentScope { All = "all", Linked = "linked" });
words!(OnNewMessage { Collect = "collect", Interrupt = "interrupt" });
