use std::fmt;

use serde::{Deserialize, Serialize};

/// The messaging platforms that a channel can be of, by the names of the hub's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Platform {
    /// WhatsApp through Meta's own Cloud API.
    Whatsapp,
    /// WhatsApp through Twilio.
    WhatsappTwilio,
    Telegram,
    /// Known by name; there is no connector.
    Instagram,
    SmsTwilio,
    Slack,
    /// Anything else that speaks signed webhooks.
    Webhook,
}

impl Platform {
    /// In the contract's order.
    pub const ALL: [Self; 7] =
        [Self::Whatsapp, Self::WhatsappTwilio, Self::Telegram, Self::Instagram, Self::SmsTwilio, Self::Slack, Self::Webhook];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whatsapp => "WHATSAPP",
            Self::WhatsappTwilio => "WHATSAPP_TWILIO",
            Self::Telegram => "TELEGRAM",
            Self::Instagram => "INSTAGRAM",
            Self::SmsTwilio => "SMS_TWILIO",
            Self::Slack => "SLACK",
            Self::Webhook => "WEBHOOK",
        }
    }

    /// The platform of that name exactly; paths use [`parse_any_case`](Self::parse_any_case).
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.as_str() == name)
    }

    #[must_use]
    pub fn parse_any_case(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
