use serde::{Deserialize, Serialize};

/// How far a message has come on its way. It only rises; see [`DeliveryStatus::after`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryStatus {
    /// Stored, not accepted by the platform yet.
    Pending,
    /// The platform accepted it.
    Sent,
    /// On the device.
    Delivered,
    Read,
    /// Given up.
    Failed,
}

impl DeliveryStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Sent => "SENT",
            Self::Delivered => "DELIVERED",
            Self::Read => "READ",
            Self::Failed => "FAILED",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Pending, Self::Sent, Self::Delivered, Self::Read, Self::Failed].into_iter().find(|status| status.as_str() == word)
    }

    /// The status once `news` has come: the higher of the two. A failure replaces what has not arrived; proof of arrival
    /// replaces a failure.
    #[must_use]
    pub const fn after(self, news: Self) -> Self {
        use DeliveryStatus::{Delivered, Failed, Pending, Read, Sent};
        match (self, news) {
            (Read, _) | (_, Read) => Read,
            (Delivered, _) | (_, Delivered) => Delivered,
            (Failed, _) | (_, Failed) => Failed,
            (Sent, _) | (_, Sent) => Sent,
            (Pending, Pending) => Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DeliveryStatus::{self, Delivered, Failed, Pending, Read, Sent};

    #[test]
    fn statuses_only_rise_in_whatever_order_they_come() {
        for (was, news, expected) in [
            (Pending, Sent, Sent),
            (Sent, Pending, Sent),
            (Read, Sent, Read),
            (Read, Failed, Read),
            (Delivered, Failed, Delivered),
            (Pending, Failed, Failed),
            (Sent, Failed, Failed),
            (Failed, Sent, Failed),
            (Failed, Pending, Failed),
            (Failed, Delivered, Delivered),
            (Failed, Read, Read),
            (Delivered, Read, Read),
        ] {
            assert_eq!(was.after(news), expected, "{was:?} after {news:?}");
        }
        let all = [Pending, Sent, Delivered, Read, Failed];
        for a in all {
            for b in all {
                for c in all {
                    assert_eq!(a.after(b).after(c), a.after(c).after(b), "{a:?} {b:?} {c:?}");
                }
            }
            assert_eq!(DeliveryStatus::parse(a.as_str()), Some(a));
        }
    }
}
