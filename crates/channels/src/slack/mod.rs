//! Slack: the Events API in, the Web API out.

mod inbound;
mod markup;
mod outbound;

use std::sync::Arc;

use async_trait::async_trait;
use domain::Platform;
use domain::egress::ChosenBy;
use domain::sockets::channel::{
    Authenticity, Channel, ChannelAccess, Credentials, Found, Handshake, Inbound, InboundRequest, Limits, Media, MediaError,
    MediaLink, MediaRef, Outbound, Portion, Rate, SendOutcome, Unreadable,
};
use domain::sockets::egress::Egress;
use serde_json::Value;

use crate::portions::with_links;
use crate::wire::{self, base, genuine_if, post, text};
use crate::{media, signature, split};

const API: &str = "https://slack.com/api";

const LIMITS: Limits = Limits {
    // Advised; what is longer than 40,000 is cut by Slack.
    text_units: 4000,
    // Files of ours are sent as their addresses, which Slack shows as links.
    media_out: 0,
    media_bytes: media::MAX_BYTES,
    // Slack counts for each conversation.
    per_channel: Rate { per_minute: 20 * 60, burst: 20 },
    per_chat: Rate { per_minute: 60, burst: 3 },
    window_hours: None,
    // There is none outside of assistants' threads.
    typing: None,
};

/// Where Slack keeps files.
const FILE_HOSTS: [&str; 1] = ["files.slack.com"];
const PAGE: &[u8] = b"<!doctype html";

pub struct Slack {
    egress: Arc<dyn Egress>,
}

impl Slack {
    #[must_use]
    pub fn new(egress: Arc<dyn Egress>) -> Self {
        Self { egress }
    }
}

impl std::fmt::Debug for Slack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slack").finish_non_exhaustive()
    }
}

fn bearer(access: &ChannelAccess) -> String {
    format!("Bearer {}", access.credentials.get("token").unwrap_or_default())
}

#[async_trait]
impl Channel for Slack {
    fn platform(&self) -> Platform {
        Platform::Slack
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn missing_credentials(&self, credentials: &Credentials) -> Vec<&'static str> {
        ["token", "signing_secret"].into_iter().filter(|name| credentials.get(name).is_none()).collect()
    }

    fn verify(&self, access: &ChannelAccess, request: &InboundRequest) -> Authenticity {
        let Some(offered) = request.header("x-slack-signature") else { return Authenticity::Unsigned };
        let timestamp = request.header("x-slack-request-timestamp").unwrap_or_default();
        let now = request.received_at.0 / 1000;
        let secrets = ["signing_secret", "previous_signing_secret"].into_iter().filter_map(|name| access.credentials.get(name));
        let is_right = |secret| signature::slack_is_genuine(secret, timestamp, offered, &request.body, now);
        genuine_if(secrets.into_iter().any(is_right))
    }

    fn handshake(&self, _access: &ChannelAccess, request: &InboundRequest) -> Option<Handshake> {
        let body: Value = serde_json::from_slice(&request.body).ok()?;
        let is_asked = text(&body, "/type").as_deref() == Some("url_verification");
        is_asked.then(|| text(&body, "/challenge").map_or(Handshake::Refused, Handshake::Challenge))
    }

    fn parse(&self, _access: &ChannelAccess, request: &InboundRequest) -> Result<Vec<Inbound>, Unreadable> {
        inbound::parse(request)
    }

    fn portions(&self, text: &str, media: &[MediaLink]) -> Vec<Portion> {
        let texts = split::split(&with_links(text, media), LIMITS.text_units).into_iter();
        texts.map(|text| Portion { text, media: Vec::new() }).collect()
    }

    async fn send(&self, access: &ChannelAccess, message: &Outbound) -> SendOutcome {
        if access.credentials.get("token").is_none() {
            return wire::missing("token");
        }
        let call = post(format!("{}/chat.postMessage", base(access, API))).header("authorization", bearer(access));
        let call = call.body("application/json; charset=utf-8", outbound::body(message).to_string());
        match wire::call(&*self.egress, call).await {
            Ok(answer) => outbound::outcome(message, &answer),
            Err(outcome) => outcome,
        }
    }

    async fn look_up(&self, _access: &ChannelAccess, _message: &Outbound, _taken: &[String]) -> Found {
        Found::CannotTell
    }

    async fn typing(&self, _access: &ChannelAccess, _to: &str, _last_received: Option<&str>) {}

    async fn fetch(&self, access: &ChannelAccess, media: &MediaRef) -> Result<Media, MediaError> {
        let authorization = media::is_https_host(&media.handle, &FILE_HOSTS).then(|| bearer(access));
        let file = media::fetch(&*self.egress, &media.handle, ChosenBy::Other, authorization).await?;
        // Without the right `files:read` Slack answers with its page for signing in.
        let is_page = file.bytes.get(..PAGE.len()).is_some_and(|start| start.eq_ignore_ascii_case(PAGE));
        let wants_page = media.mime_type.as_deref().is_some_and(|claimed| claimed.starts_with("text/"));
        if is_page && !wants_page { Err(MediaError::Gone) } else { Ok(file) }
    }
}
