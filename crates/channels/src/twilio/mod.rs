//! WhatsApp and SMS through Twilio.

mod inbound;
mod outbound;
mod verify;

use std::sync::Arc;

use async_trait::async_trait;
use domain::Platform;
use domain::sockets::channel::{
    Authenticity, Channel, ChannelAccess, Credentials, Found, Handshake, Inbound, InboundRequest, Limits, Media, MediaError,
    MediaLink, MediaRef, Outbound, Portion, Rate, SendOutcome, Typing, Unreadable,
};
use domain::sockets::egress::Egress;

use crate::portions::{Carries, portions};
use crate::{media, wire};

const WHATSAPP: Limits = Limits {
    text_units: 1600,
    // Twilio documents one for WhatsApp.
    media_out: 1,
    media_bytes: media::MAX_BYTES,
    // 80 a second are documented; a fifth leaves room for others who use the same number.
    per_channel: Rate { per_minute: 20 * 60, burst: 20 },
    per_chat: Rate { per_minute: 20 * 60, burst: 20 },
    window_hours: Some(24),
    // It is shown for 25 seconds.
    typing: Some(Typing { repeat_ms: 20_000, marks_read: true }),
};

const SMS: Limits = Limits {
    media_out: 10,
    // One a second for a long code.
    per_channel: Rate { per_minute: 60, burst: 1 },
    per_chat: Rate { per_minute: 60, burst: 1 },
    window_hours: None,
    typing: None,
    ..WHATSAPP
};

/// Where Twilio keeps what contacts attach.
const MEDIA_HOSTS: [&str; 1] = ["twilio.com"];

/// How often Twilio may send us on to where a file is.
const MAX_HOPS: usize = 2;

pub struct Twilio {
    egress: Arc<dyn Egress>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whatsapp,
    Sms,
}

impl Twilio {
    #[must_use]
    pub fn whatsapp(egress: Arc<dyn Egress>) -> Self {
        Self { egress, kind: Kind::Whatsapp }
    }

    #[must_use]
    pub fn sms(egress: Arc<dyn Egress>) -> Self {
        Self { egress, kind: Kind::Sms }
    }
}

impl Kind {
    const fn platform(self) -> Platform {
        match self {
            Self::Whatsapp => Platform::WhatsappTwilio,
            Self::Sms => Platform::SmsTwilio,
        }
    }

    /// An address as Twilio writes it.
    fn address(self, bare: &str) -> String {
        match self {
            Self::Whatsapp => format!("whatsapp:{}", bare_address(bare)),
            Self::Sms => bare.to_owned(),
        }
    }
}

impl std::fmt::Debug for Twilio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twilio").field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn bare_address(address: &str) -> &str {
    address.strip_prefix("whatsapp:").unwrap_or(address)
}

/// The API key if there is one, else the account itself.
fn authorization(credentials: &Credentials) -> Option<String> {
    use base64::Engine as _;
    let key = credentials.get("api_key_sid").zip(credentials.get("api_key_secret"));
    let (user, password) = key.or_else(|| credentials.get("user").zip(credentials.get("token")))?;
    Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))))
}

#[async_trait]
impl Channel for Twilio {
    fn platform(&self) -> Platform {
        self.kind.platform()
    }

    fn limits(&self) -> &Limits {
        match self.kind {
            Kind::Whatsapp => &WHATSAPP,
            Kind::Sms => &SMS,
        }
    }

    fn missing_credentials(&self, credentials: &Credentials) -> Vec<&'static str> {
        let missing = |name: &&'static str| credentials.get(name).is_none();
        let mut names: Vec<_> = ["user", "token"].into_iter().filter(missing).collect();
        if credentials.get("messaging_service_sid").is_none() {
            names.extend(["from_number"].iter().filter(|name| missing(name)));
        }
        names
    }

    fn look_real(&self, credentials: &Credentials) -> bool {
        let is_hex = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let user = credentials.get("user").and_then(|user| user.strip_prefix("AC"));
        user.is_some_and(is_hex) && credentials.get("token").is_some_and(is_hex)
    }

    fn verify(&self, access: &ChannelAccess, request: &InboundRequest) -> Authenticity {
        verify::verify(access, request)
    }

    fn handshake(&self, _access: &ChannelAccess, _request: &InboundRequest) -> Option<Handshake> {
        None
    }

    fn parse(&self, _access: &ChannelAccess, request: &InboundRequest) -> Result<Vec<Inbound>, Unreadable> {
        inbound::parse(self.kind, request)
    }

    fn portions(&self, text: &str, media: &[MediaLink]) -> Vec<Portion> {
        let limits = self.limits();
        let has_caption = match self.kind {
            // WhatsApp shows no words beside a voice.
            Kind::Whatsapp => |link: &MediaLink| !link.mime_type.starts_with("audio/"),
            Kind::Sms => |_: &MediaLink| true,
        };
        let carries =
            Carries { text_units: limits.text_units, files: limits.media_out, caption_units: limits.text_units, has_caption };
        portions(text, media, &carries)
    }

    async fn send(&self, access: &ChannelAccess, message: &Outbound) -> SendOutcome {
        let call = match outbound::request(self.kind, access, message) {
            Ok(call) => call,
            Err(outcome) => return outcome,
        };
        match wire::call(&*self.egress, call).await {
            Ok(answer) => outbound::outcome(self.kind, access, message, &answer),
            Err(outcome) => outcome,
        }
    }

    async fn look_up(&self, access: &ChannelAccess, message: &Outbound, taken: &[String]) -> Found {
        let Some(call) = outbound::question(self.kind, access, message) else { return Found::CannotTell };
        match self.egress.call(call).await {
            Ok(answer) => outbound::found(self.kind, access, message, taken, &answer),
            Err(_) => Found::TryAgain,
        }
    }

    async fn typing(&self, access: &ChannelAccess, _to: &str, last_received: Option<&str>) {
        if let Some(call) = outbound::typing(self.kind, access, last_received) {
            // Nobody is the worse for a sign of typing that does not show.
            let _ = self.egress.call(call).await;
        }
    }

    async fn fetch(&self, access: &ChannelAccess, media: &MediaRef) -> Result<Media, MediaError> {
        let is_twilios = media::is_https_host(&media.handle, &MEDIA_HOSTS);
        let authorization = is_twilios.then(|| authorization(&access.credentials)).flatten();
        // Twilio keeps files elsewhere, and sends who asks for one there.
        let may_send_on = if is_twilios { MAX_HOPS } else { 0 };
        media::fetch_sent_on(&*self.egress, &media.handle, authorization, may_send_on).await
    }
}
