//! Requests for a channel that were turned away. They leave nothing in the database, whoever sends how many of them; each node
//! remembers its newest in memory, for whoever sets the channel up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use domain::Timestamp;
use domain::hub::ChannelId;

/// Those of one channel that are remembered.
const PER_CHANNEL: usize = 20;
/// Channels of which any are remembered; there are as many as administrators have made.
const MAX_CHANNELS: usize = 1000;

/// A request that was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knock {
    pub at: Timestamp,
    /// The sentence that the platform got.
    pub error: String,
}

#[derive(Debug, Default)]
pub(crate) struct Knocks {
    newest: Mutex<HashMap<ChannelId, VecDeque<Knock>>>,
}

impl Knocks {
    pub(crate) fn note(&self, channel: ChannelId, knock: Knock) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.len() >= MAX_CHANNELS && !newest.contains_key(&channel) {
            return;
        }
        let of_channel = newest.entry(channel).or_default();
        of_channel.push_front(knock);
        of_channel.truncate(PER_CHANNEL);
    }

    /// The newest first.
    pub(crate) fn of(&self, channel: ChannelId) -> Vec<Knock> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.get(&channel).map(|of_channel| of_channel.iter().cloned().collect()).unwrap_or_default()
    }
}
