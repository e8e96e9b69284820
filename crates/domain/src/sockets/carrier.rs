//! What carries news between the nodes that share a database.

use std::time::Duration;

use async_trait::async_trait;

use crate::ConversationId;

/// Carries letters from each node to all others. It may lose, double and reorder them: whatever matters is in the database,
/// and a letter only says where to look, or brings text that has an offset.
#[async_trait]
pub trait Carrier: std::fmt::Debug + Send + Sync + 'static {
    /// Bytes that one letter may have.
    fn limit(&self) -> usize;

    /// How long letters are gathered before they are sent together.
    fn gather(&self) -> Duration;

    /// Whether letters about text come only to those who follow it. Otherwise all letters come to all.
    fn has_subjects(&self) -> bool;

    /// Hands a letter over. It need not have arrived when this returns.
    ///
    /// # Errors
    /// The carrier is away. The letter is lost.
    async fn send(&self, subject: Subject, letter: String) -> Result<(), CarrierError>;

    /// Asks for the letters about this subject from now on. Those of [`Subject::News`] always come.
    async fn follow(&self, subject: Subject);

    /// They need not come any more.
    async fn unfollow(&self, subject: Subject);

    /// What comes next. Only one task may wait for it. May be dropped and called again without losing anything.
    async fn next(&self) -> Heard;
}

/// What a letter is about, so that not everybody must read everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// What every node wants to know.
    News,
    /// Text that is being written in this conversation.
    Text(ConversationId),
    /// Text that is being written in any conversation. To follow, not to send to.
    AllText,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Of another node, or one's own.
    Letter(String),
    /// The carrier is away; nothing will come until it says otherwise.
    Deaf,
    /// It is here (again). What was sent before is lost.
    Hearing,
}

/// The letter was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CarrierError(pub String);
