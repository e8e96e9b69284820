//! A channel of each platform whose API is a peer on loopback, and what is sent through it.

use std::collections::BTreeMap;
use std::sync::Arc;

use channels::connectors;
use channels::egress::{GuardedClient, SystemResolver};
use domain::egress::EgressRules;
use domain::sockets::channel::{Channel, ChannelAccess, Credentials, InboundRequest, Outbound, Secret, SendOutcome};
use domain::sockets::egress::Egress;
use domain::{Platform, Timestamp};
use serde_json::Map;

use crate::peer::{Peer, Reply};

/// 2026-11-20T10:20:30Z
pub const NOW: Timestamp = Timestamp(1_795_170_030_000);
pub const WEBHOOK_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

pub fn connector(platform: Platform, allow: &str) -> Arc<dyn Channel> {
    let rules = EgressRules::new(allow.parse().expect("a list"), Vec::new());
    let egress: Arc<dyn Egress> = Arc::new(GuardedClient::new(rules, Arc::new(SystemResolver)).expect("a client"));
    connectors(&egress).into_iter().find(|one| one.platform() == platform).expect("a connector")
}

pub fn access(platform: Platform, api: Option<String>) -> ChannelAccess {
    let pairs: &[(&str, &str)] = match platform {
        Platform::WhatsappTwilio | Platform::SmsTwilio => &[
            ("user", "AC00000000000000000000000000000000"),
            ("token", "twilio_test_auth_token"),
            ("from_number", "+15551234567"),
        ],
        Platform::Telegram => &[("token", "123:ABC")],
        Platform::Whatsapp => {
            &[("token", "EAAtoken"), ("phone_number_id", "1065"), ("app_secret", "app-secret-1"), ("verify_token", "verify-1")]
        }
        Platform::Slack => &[("token", "xoxb-1"), ("signing_secret", "8f742231b10e8888abcd99yyyzzz85a5")],
        Platform::Webhook | Platform::Instagram => &[],
    };
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ChannelAccess {
        channel_id: "channel_2345678abc".to_owned(),
        credentials: Credentials(pairs.collect::<BTreeMap<_, _>>()),
        api_to_send_message: api,
        webhook_base_url: Some("https://hub.example.org".to_owned()),
        inbound_secret: Some(Secret(WEBHOOK_SECRET.to_owned())),
        previous_inbound_secret: None,
    }
}

pub fn message(to: &str, text: &str) -> Outbound {
    Outbound {
        message_id: "message_23456789ab".to_owned(),
        part: 0,
        chat_id: "chat_23456789ab".to_owned(),
        to: to.to_owned(),
        text: text.to_owned(),
        media: Vec::new(),
        template: None,
        reply_to: None,
        chat_meta: Map::new(),
        first_tried_at: NOW,
        now: NOW,
    }
}

/// A POST as it comes from a platform.
pub fn incoming(path_and_query: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> InboundRequest {
    InboundRequest {
        received_at: NOW,
        is_get: false,
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        path_and_query: path_and_query.to_owned(),
        loopback_host: None,
        body: body.into(),
    }
}

/// Sends to a peer that answers so, and returns both.
pub async fn send(platform: Platform, path: &str, message: &Outbound, replies: Vec<Reply>) -> (SendOutcome, Peer) {
    let peer = Peer::start(replies).await;
    let connector = connector(platform, &peer.address.to_string());
    let outcome = connector.send(&access(platform, Some(peer.url(path))), message).await;
    (outcome, peer)
}
