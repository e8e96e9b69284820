//! How a service elsewhere answers as an agent: it is called with a burst of messages, and may answer at once.

use std::fmt;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::channel::{MediaLink, Secret};
use crate::Timestamp;

/// Speaks with agents' webhooks.
#[async_trait]
pub trait AgentCaller: Send + Sync + 'static {
    /// What is sent: made once, and byte for byte the same in every attempt.
    fn body(&self, burst: &Burst) -> String;

    /// Calls once.
    async fn call(&self, call: &AgentCall) -> AgentAnswer;
}

/// The way of a program that calls nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAgents;

#[async_trait]
impl AgentCaller for NoAgents {
    fn body(&self, _burst: &Burst) -> String {
        String::new()
    }

    async fn call(&self, _call: &AgentCall) -> AgentAnswer {
        AgentAnswer::Failed { status: None, retry_after_ms: None, error: "no agent can be called from here".to_owned() }
    }
}

/// A burst, with what the agent needs to know to answer it.
#[derive(Debug, Clone, PartialEq)]
pub struct Burst {
    pub delivery_id: String,
    pub agent_id: String,
    pub chat_id: String,
    pub chat_external_id: String,
    pub channel_id: String,
    pub chat_name: String,
    pub platform: &'static str,
    pub contact_id: String,
    /// Oldest first.
    pub messages: Vec<BurstMessage>,
    /// Until when free text may be sent, and whether that is still so; `None`: always.
    pub window: Option<(bool, Option<Timestamp>)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct BurstMessage {
    pub id: String,
    pub external_id: Option<String>,
    pub content: String,
    pub at: Timestamp,
    pub meta: Map<String, Value>,
    /// `contact`, `user` or `agent`.
    pub sender: &'static str,
    pub sender_id: Option<String>,
    pub sender_name: Option<String>,
    /// The agent has not had it before.
    pub is_new: bool,
    pub attachments: Vec<crate::hub::Attachment>,
}

/// One attempt.
#[derive(Clone)]
pub struct AgentCall {
    pub url: String,
    pub delivery_id: String,
    /// From 1.
    pub attempt: i64,
    pub body: String,
    /// It is signed with each.
    pub secrets: Vec<Secret>,
    /// Whether what it answers counts.
    pub reads_answer: bool,
    pub now: Timestamp,
}

impl fmt::Debug for AgentCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentCall").field("delivery", &self.delivery_id).field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentAnswer {
    Accepted {
        status: u16,
        /// What it says at once, in order.
        replies: Vec<AgentReply>,
        /// It will say nothing to this burst.
        no_reply: bool,
    },
    /// It wants no more calls.
    Gone { status: u16 },
    Failed {
        status: Option<u16>,
        retry_after_ms: Option<i64>,
        /// A sentence without anything of the target's answer.
        error: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct AgentReply {
    pub content: String,
    pub meta: Map<String, Value>,
    pub media: Vec<MediaLink>,
}
