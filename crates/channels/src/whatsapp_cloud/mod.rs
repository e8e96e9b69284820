//! WhatsApp through Meta's own Cloud API.

mod inbound;
mod outbound;

use std::sync::Arc;

use async_trait::async_trait;
use domain::Platform;
use domain::egress::ChosenBy;
use domain::sockets::channel::{
    Authenticity, Channel, ChannelAccess, Credentials, Found, Handshake, Inbound, InboundRequest, Limits, Media, MediaError,
    MediaLink, MediaRef, Outbound, Portion, Rate, RefusalKind, SendOutcome, Typing, Unreadable,
};
use domain::sockets::egress::{Call, Egress};
use serde_json::{Value, json};

use crate::portions::{Carries, portions};
use crate::wire::{self, base, clean, field, form, genuine_if, get, post, text};
use crate::{media, signature};

const API: &str = "https://graph.facebook.com/v23.0";

const LIMITS: Limits = Limits {
    text_units: 4096,
    media_out: 1,
    media_bytes: media::MAX_BYTES,
    // 80 a second are remembered of Meta's pages; a quarter is used.
    per_channel: Rate { per_minute: 20 * 60, burst: 20 },
    per_chat: Rate { per_minute: 20 * 60, burst: 20 },
    window_hours: Some(24),
    // It is shown for 25 seconds.
    typing: Some(Typing { repeat_ms: 20_000, marks_read: true }),
};

/// Of the text beside a file, in UTF-16 units.
const CAPTION_UNITS: usize = 1024;

/// Where Meta keeps what contacts attach.
const MEDIA_HOSTS: [&str; 2] = ["graph.facebook.com", "lookaside.fbsbx.com"];

pub struct WhatsappCloud {
    egress: Arc<dyn Egress>,
}

impl WhatsappCloud {
    #[must_use]
    pub fn new(egress: Arc<dyn Egress>) -> Self {
        Self { egress }
    }
}

impl std::fmt::Debug for WhatsappCloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WhatsappCloud").finish_non_exhaustive()
    }
}

fn bearer(access: &ChannelAccess) -> String {
    format!("Bearer {}", access.credentials.get("token").unwrap_or_default())
}

/// A call to the sender's own number.
fn to_messages(access: &ChannelAccess, body: &Value) -> Call {
    let number = access.credentials.get("phone_number_id").unwrap_or_default();
    let url = format!("{}/{number}/messages", base(access, API));
    post(url).header("authorization", bearer(access)).body("application/json", body.to_string())
}

#[async_trait]
impl Channel for WhatsappCloud {
    fn platform(&self) -> Platform {
        Platform::Whatsapp
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn missing_credentials(&self, credentials: &Credentials) -> Vec<&'static str> {
        let names = ["token", "phone_number_id", "app_secret", "verify_token"];
        names.into_iter().filter(|name| credentials.get(name).is_none()).collect()
    }

    fn verify(&self, access: &ChannelAccess, request: &InboundRequest) -> Authenticity {
        let Some(offered) = request.header("x-hub-signature-256") else { return Authenticity::Unsigned };
        let secrets = ["app_secret", "previous_app_secret"].into_iter().filter_map(|name| access.credentials.get(name));
        genuine_if(secrets.into_iter().any(|secret| signature::meta_is_genuine(secret, offered, &request.body)))
    }

    fn handshake(&self, access: &ChannelAccess, request: &InboundRequest) -> Option<Handshake> {
        if !request.is_get {
            return None;
        }
        let query = form(request.query().as_bytes());
        let offered = field(&query, "hub.verify_token").unwrap_or_default();
        let known = access.credentials.get("verify_token");
        let is_ours = known.is_some_and(|known| signature::same(known.as_bytes(), offered.as_bytes()));
        let challenge = field(&query, "hub.challenge").filter(|_| is_ours && field(&query, "hub.mode") == Some("subscribe"));
        Some(challenge.map_or(Handshake::Refused, |challenge| Handshake::Challenge(clean(challenge))))
    }

    fn parse(&self, access: &ChannelAccess, request: &InboundRequest) -> Result<Vec<Inbound>, Unreadable> {
        inbound::parse(access, request)
    }

    fn portions(&self, text: &str, media: &[MediaLink]) -> Vec<Portion> {
        let carries = Carries {
            text_units: LIMITS.text_units,
            files: LIMITS.media_out,
            caption_units: CAPTION_UNITS,
            // WhatsApp shows no words beside a voice.
            has_caption: |link| !link.mime_type.starts_with("audio/"),
        };
        portions(text, media, &carries)
    }

    async fn send(&self, access: &ChannelAccess, message: &Outbound) -> SendOutcome {
        for name in ["token", "phone_number_id"] {
            if access.credentials.get(name).is_none() {
                return wire::missing(name);
            }
        }
        if let Some(strange) = message.media.iter().find(|link| !outbound::is_taken(&link.mime_type)) {
            let words = format!("WhatsApp takes no files of type {}", strange.mime_type);
            return wire::refused(RefusalKind::NotSupported, &words);
        }
        match wire::call(&*self.egress, to_messages(access, &outbound::body(message))).await {
            Ok(answer) => outbound::outcome(message, &answer),
            Err(outcome) => outcome,
        }
    }

    async fn look_up(&self, _access: &ChannelAccess, _message: &Outbound, _taken: &[String]) -> Found {
        Found::CannotTell
    }

    async fn typing(&self, access: &ChannelAccess, _to: &str, last_received: Option<&str>) {
        let Some(received) = last_received else { return };
        let body = json!({
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": received,
            "typing_indicator": {"type": "text"},
        });
        // Nobody is the worse for a sign of typing that does not show.
        let _ = self.egress.call(to_messages(access, &body)).await;
    }

    /// The id gives an address that is good for five minutes.
    async fn fetch(&self, access: &ChannelAccess, media: &MediaRef) -> Result<Media, MediaError> {
        let api = base(access, API);
        let url = format!("{api}/{}", media.handle);
        let call = get(url).header("authorization", bearer(access));
        let answer = media::successful(self.egress.call(call).await.map_err(media::media_error)?)?;
        let url = text(&wire::json(&answer), "/url").ok_or(MediaError::Gone)?;
        let is_at_our_api = access.api_to_send_message.is_some() && url.starts_with(&format!("{api}/"));
        let may_know = is_at_our_api || media::is_https_host(&url, &MEDIA_HOSTS);
        let chosen_by = if is_at_our_api { ChosenBy::Admin } else { ChosenBy::Other };
        media::fetch(&*self.egress, &url, chosen_by, may_know.then(|| bearer(access))).await
    }
}
