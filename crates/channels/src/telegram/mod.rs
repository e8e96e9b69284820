//! The Telegram Bot API.

mod html;
mod inbound;
mod intake;
mod outbound;

use std::sync::Arc;

use async_trait::async_trait;
use domain::Platform;
use domain::egress::ChosenBy;
use domain::sockets::channel::{
    Authenticity, Channel, ChannelAccess, Credentials, Found, Handshake, Inbound, InboundRequest, Intake, IntakeError, Limits,
    Media, MediaError, MediaLink, MediaRef, Outbound, Polled, Portion, Rate, RefusalKind, SendOutcome, Typing, Unreadable,
};
use domain::sockets::egress::{Answer, Call, CallError, Egress};
use serde_json::{Value, json};

use crate::portions::{Carries, portions, with_links};
use crate::wire::{self, base, genuine_if, post, text};
use crate::{media, signature};

const API: &str = "https://api.telegram.org";

const LIMITS: Limits = Limits {
    text_units: 4096,
    media_out: 1,
    media_bytes: media::MAX_BYTES,
    per_channel: Rate { per_minute: 30 * 60, burst: 30 },
    per_chat: Rate { per_minute: 60, burst: 3 },
    window_hours: None,
    // It is shown for five seconds.
    typing: Some(Typing { repeat_ms: 4000, marks_read: false }),
};

/// Of the text beside a file, in UTF-16 units.
const CAPTION_UNITS: usize = 1024;

const SECRET_HEADER: &str = "x-telegram-bot-api-secret-token";

pub struct Telegram {
    egress: Arc<dyn Egress>,
}

impl Telegram {
    #[must_use]
    pub fn new(egress: Arc<dyn Egress>) -> Self {
        Self { egress }
    }

    /// Calls a method of the bot; `Err` if there is no complete answer.
    async fn call(&self, access: &ChannelAccess, method: &str, body: &Value) -> Result<Answer, CallError> {
        self.egress.call(request(access, method, body)).await
    }

    async fn send_text(&self, access: &ChannelAccess, message: &Outbound, style: outbound::Style) -> SendOutcome {
        let (method, body) = outbound::call(message, style);
        match wire::call(&*self.egress, request(access, method, &body)).await {
            Ok(answer) => outbound::outcome(message, &answer),
            Err(outcome) => outcome,
        }
    }
}

impl std::fmt::Debug for Telegram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telegram").finish_non_exhaustive()
    }
}

fn token(access: &ChannelAccess) -> &str {
    access.credentials.get("token").unwrap_or_default()
}

fn request(access: &ChannelAccess, method: &str, body: &Value) -> Call {
    let url = format!("{}/bot{}/{method}", base(access, API), token(access));
    post(url).body("application/json", body.to_string())
}

#[async_trait]
impl Channel for Telegram {
    fn platform(&self) -> Platform {
        Platform::Telegram
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn missing_credentials(&self, credentials: &Credentials) -> Vec<&'static str> {
        ["token"].into_iter().filter(|name| credentials.get(name).is_none()).collect()
    }

    fn look_real(&self, credentials: &Credentials) -> bool {
        let parts = credentials.get("token").and_then(|token| token.split_once(':'));
        parts.is_some_and(|(id, key)| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) && key.len() == 35)
    }

    fn verify(&self, access: &ChannelAccess, request: &InboundRequest) -> Authenticity {
        let Some(offered) = request.header(SECRET_HEADER) else { return Authenticity::Unsigned };
        let secrets = [&access.inbound_secret, &access.previous_inbound_secret];
        let known = secrets.into_iter().flatten().filter(|secret| !secret.0.is_empty());
        genuine_if(known.into_iter().any(|secret| signature::same(secret.0.as_bytes(), offered.as_bytes())))
    }

    fn handshake(&self, _access: &ChannelAccess, _request: &InboundRequest) -> Option<Handshake> {
        None
    }

    fn parse(&self, _access: &ChannelAccess, request: &InboundRequest) -> Result<Vec<Inbound>, Unreadable> {
        inbound::parse(request)
    }

    /// Files of a type that Telegram does not fetch are links in the text.
    fn portions(&self, text: &str, media: &[MediaLink]) -> Vec<Portion> {
        let (taken, others): (Vec<_>, Vec<_>) = media.iter().cloned().partition(|link| outbound::method(link).is_some());
        let carries = Carries {
            text_units: LIMITS.text_units,
            files: LIMITS.media_out,
            caption_units: CAPTION_UNITS,
            has_caption: |_| true,
        };
        portions(&with_links(text, &others), &taken, &carries)
    }

    /// A text whose markup Telegram does not understand is sent once more as it was written.
    async fn send(&self, access: &ChannelAccess, message: &Outbound) -> SendOutcome {
        if token(access).is_empty() {
            return wire::missing("token");
        }
        let outcome = self.send_text(access, message, outbound::Style::Html).await;
        match &outcome {
            SendOutcome::Refused(RefusalKind::Permanent, refusal) if refusal.text.contains("can't parse entities") => {
                self.send_text(access, message, outbound::Style::Plain).await
            }
            SendOutcome::Refused(RefusalKind::Permanent, refusal) => match outbound::moved_to(refusal) {
                Some(address) => {
                    let moved = Outbound { to: address.clone(), ..message.clone() };
                    outbound::with_address(self.send_text(access, &moved, outbound::Style::Html).await, address)
                }
                None => outcome,
            },
            _ => outcome,
        }
    }

    async fn look_up(&self, _access: &ChannelAccess, _message: &Outbound, _taken: &[String]) -> Found {
        Found::CannotTell
    }

    async fn typing(&self, access: &ChannelAccess, to: &str, _last_received: Option<&str>) {
        let body = json!({"chat_id": outbound::chat_id(to), "action": "typing"});
        // Nobody is the worse for a sign of typing that does not show.
        let _ = self.call(access, "sendChatAction", &body).await;
    }

    async fn acknowledge(&self, access: &ChannelAccess, token: &str) {
        let _ = self.call(access, "answerCallbackQuery", &json!({"callback_query_id": token})).await;
    }

    async fn fetch(&self, access: &ChannelAccess, media: &MediaRef) -> Result<Media, MediaError> {
        let answer = self.call(access, "getFile", &json!({"file_id": media.handle})).await.map_err(media::media_error)?;
        let words = text(&wire::json(&answer), "/description").unwrap_or_default();
        if answer.status == 400 && words.contains("file is too big") {
            return Err(MediaError::TooLarge);
        }
        let answer = media::successful(answer)?;
        let path = text(&wire::json(&answer), "/result/file_path").filter(|path| is_plain_path(path)).ok_or(MediaError::Gone)?;
        let url = format!("{}/file/bot{}/{path}", base(access, API), token(access));
        media::fetch(&*self.egress, &url, ChosenBy::Admin, None).await
    }

    fn intake(&self, access: &ChannelAccess) -> Intake {
        if access.webhook_base_url.is_some() { Intake::Registered } else { Intake::Polled }
    }

    async fn register(&self, access: &ChannelAccess, inbound_url: Option<&str>) -> Result<(), IntakeError> {
        let (method, body) = intake::registration(access, inbound_url);
        intake::registered(&self.call(access, method, &body).await)
    }

    async fn poll(&self, access: &ChannelAccess, position: Option<i64>) -> Result<Polled, IntakeError> {
        intake::polled(&self.egress.call(intake::question(access, position)).await, position)
    }
}

/// What comes behind the bot's token must not lead elsewhere.
fn is_plain_path(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    !path.is_empty() && !path.split('/').any(|part| part.is_empty() || part == "." || part == "..") && path.chars().all(plain)
}
