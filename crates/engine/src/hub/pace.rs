//! How fast a platform lets us send: a bucket for each channel and for each chat, which fills as time goes by. Each node has
//! its own; the platform's own limit, answered by waiting, is the one that counts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use domain::Timestamp;
use domain::hub::{ChannelId, ChatId};
use domain::sockets::channel::{Limits, Rate};

/// Buckets that are kept; beyond it those that are full are forgotten, which changes nothing.
const MAX_BUCKETS: usize = 10_000;

const MINUTE_MS: i64 = 60_000;

#[derive(Debug, Default)]
pub(crate) struct Pace {
    buckets: Mutex<HashMap<Key, Bucket>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Channel(ChannelId),
    Chat(ChatId),
}

/// When it will be full, if nothing more is taken out.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at_ms: i64,
}

impl Pace {
    /// Takes one out of both buckets. `Some`: one of them is empty for so many milliseconds, and nothing was taken.
    pub(crate) fn wait(&self, channel: ChannelId, chat: ChatId, limits: &Limits, now: Timestamp) -> Option<i64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            buckets.retain(|_, bucket| bucket.full_at_ms > now.0);
        }
        let of_both = [(Key::Channel(channel), limits.per_channel), (Key::Chat(chat), limits.per_chat)];
        let taken = of_both.map(|(key, rate)| {
            let full_at_ms = buckets.get(&key).map_or(now.0, |bucket| bucket.full_at_ms.max(now.0)) + step_ms(rate);
            (key, full_at_ms, full_at_ms - now.0 - step_ms(rate) * i64::from(rate.burst.max(1)))
        });
        let wait = taken.iter().map(|(.., wait)| *wait).max().filter(|wait| *wait > 0);
        if wait.is_none() {
            buckets.extend(taken.map(|(key, full_at_ms, _)| (key, Bucket { full_at_ms })));
        }
        wait
    }

    /// Whether at least half of the channel's bucket is left: for what is sent beside messages, which takes nothing out.
    pub(crate) fn has_room(&self, channel: ChannelId, limits: &Limits, now: Timestamp) -> bool {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = limits.per_channel;
        let taken_ms = buckets.get(&Key::Channel(channel)).map_or(0, |bucket| bucket.full_at_ms - now.0);
        taken_ms * 2 <= step_ms(rate) * i64::from(rate.burst.max(1))
    }
}

fn step_ms(rate: Rate) -> i64 {
    MINUTE_MS / i64::from(rate.per_minute.max(1))
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use domain::hub::{ChannelId, ChatId, HubId as _};
    use domain::sockets::channel::{Limits, Rate};
    use uuid::Uuid;

    use super::Pace;

    const LIMITS: Limits = Limits {
        text_units: 1,
        media_out: 0,
        media_bytes: 0,
        per_channel: Rate { per_minute: 600, burst: 4 },
        per_chat: Rate { per_minute: 60, burst: 2 },
        window_hours: None,
        typing: None,
    };

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let pace = Pace::default();
        let (channel, chat) = (ChannelId::from_uuid(Uuid::from_u128(1)), |n| ChatId::from_uuid(Uuid::from_u128(n)));
        let wait = |n, at| pace.wait(channel, chat(n), &LIMITS, Timestamp(at));
        assert_eq!([wait(1, 0), wait(1, 0), wait(1, 0)], [None, None, Some(1000)], "two for each chat");
        assert_eq!([wait(2, 0), wait(3, 0), wait(4, 0)], [None, None, Some(100)], "four for the channel");
        assert_eq!(wait(1, 999), Some(1));
        assert_eq!([wait(1, 1000), wait(1, 1000)], [None, Some(1000)]);
        assert_eq!([wait(4, 10_000), wait(4, 10_000)], [None, None], "what was waited for is there again, and no more");
        assert_eq!(wait(4, 10_000), Some(1000));
    }

    #[test]
    fn what_is_sent_beside_messages_leaves_them_room() {
        let pace = Pace::default();
        let (channel, chat) = (ChannelId::from_uuid(Uuid::from_u128(1)), |n| ChatId::from_uuid(Uuid::from_u128(n)));
        let has_room = |at| pace.has_room(channel, &LIMITS, Timestamp(at));
        assert!(has_room(0));
        for n in 1..=3 {
            assert_eq!(pace.wait(channel, chat(n), &LIMITS, Timestamp(0)), None);
        }
        assert!(!has_room(0) && has_room(100), "three of four are out, and one comes back every 100 ms");
    }
}
