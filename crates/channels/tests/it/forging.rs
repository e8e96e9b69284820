//! P13: a genuine request of each platform, changed a little in ten thousand ways, is never taken for genuine; and the vendors'
//! own libraries are of the same mind about requests that they have signed, and about such that were changed afterwards.

use std::collections::BTreeSet;

use channels::signature::{TwilioAlgorithm, hex, hmac_sha256, standard_webhooks, twilio};
use domain::Platform;
use domain::sockets::channel::{Authenticity, InboundRequest, Secret};
use serde::Deserialize;

use crate::world::{NOW, WEBHOOK_SECRET, access, connector, incoming};

const MUTATIONS: usize = 10_000;
const TELEGRAM_SECRET: &str = "aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-";
const TWILIO_PATH: &str = "/webhooks/inbound/whatsapp_twilio/channel_2345678abc";

/// Numbers that are random enough, and the same in every run.
struct Luck(u64);

impl Luck {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).expect("53 bits fit") % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }

    /// One or more changes of a few bytes.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(7) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = self.byte(),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => bytes.insert(at, self.byte()),
                4 => bytes.truncate(at),
                5 if bytes.len() > 1 => {
                    let other = self.below(bytes.len());
                    bytes.swap(at, other);
                }
                _ => bytes.extend_from_within(at..),
            }
        }
    }

    /// As before, and still a header.
    fn change_text(&mut self, text: &mut String) {
        let mut bytes = text.clone().into_bytes();
        self.change(&mut bytes);
        *text = bytes.iter().map(|byte| char::from(0x21 + byte % 0x5e)).collect();
    }
}

/// A request that is genuine, and the names of the headers that make it so.
fn genuine(platform: Platform) -> (InboundRequest, &'static [&'static str]) {
    let seconds = NOW.0 / 1000;
    match platform {
        Platform::WhatsappTwilio | Platform::SmsTwilio => {
            let body = "MessageSid=SM1&From=whatsapp%3A%2B5215512345678&To=whatsapp%3A%2B15551234567&Body=hola+%F0%9F%91%8B&\
                        MessagingServiceSid=&NumMedia=0";
            let path = format!("{TWILIO_PATH}?message=message_23456789ab");
            let pairs: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            let url = format!("https://hub.example.org{path}");
            let signature = twilio(TwilioAlgorithm::HmacSha1, "twilio_test_auth_token", &url, &pairs);
            (incoming(&path, &[("x-twilio-signature", &signature)], body), &["x-twilio-signature"])
        }
        Platform::Whatsapp => {
            let body = r#"{"object":"whatsapp_business_account","entry":[{"changes":[{"field":"messages"}]}]}"#;
            let signature = format!("sha256={}", hex(&hmac_sha256(b"app-secret-1", body.as_bytes())));
            (incoming("/", &[("x-hub-signature-256", &signature)], body), &["x-hub-signature-256"])
        }
        Platform::Slack => {
            let body = r#"{"type":"event_callback","event_id":"Ev1","event":{"type":"message","text":"hi"}}"#;
            let timestamp = seconds.to_string();
            let signed = format!("v0:{timestamp}:{body}");
            let signature = format!("v0={}", hex(&hmac_sha256(b"8f742231b10e8888abcd99yyyzzz85a5", signed.as_bytes())));
            let headers = [("x-slack-signature", signature.as_str()), ("x-slack-request-timestamp", &timestamp)];
            (incoming("/", &headers, body), &["x-slack-signature", "x-slack-request-timestamp"])
        }
        Platform::Webhook => {
            let body = r#"{"type":"message","contact":{"id":"1"},"message":{"text":"hi"}}"#;
            let signature = standard_webhooks(&[WEBHOOK_SECRET], "msg_1", seconds, body.as_bytes());
            let timestamp = seconds.to_string();
            let headers = [("webhook-id", "msg_1"), ("webhook-timestamp", timestamp.as_str()), ("webhook-signature", &signature)];
            (incoming("/", &headers, body), &["webhook-id", "webhook-timestamp", "webhook-signature"])
        }
        Platform::Telegram | Platform::Instagram => {
            let headers = [("x-telegram-bot-api-secret-token", TELEGRAM_SECRET)];
            (incoming("/", &headers, r#"{"update_id":1}"#), &["x-telegram-bot-api-secret-token"])
        }
    }
}

/// What the platform's proof covers: whatever differs in it is another request. Two requests with the same are one.
fn meaning(platform: Platform, request: &InboundRequest, headers: &[&str]) -> Vec<Vec<u8>> {
    let header = |name: &&str| request.header(name).unwrap_or("(none)").as_bytes().to_vec();
    let mut meaning: Vec<Vec<u8>> = headers.iter().map(header).collect();
    match platform {
        // Twilio signs the words of a form, one behind the other, and not how they are written.
        Platform::WhatsappTwilio | Platform::SmsTwilio => {
            let pairs: BTreeSet<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
            let words: String = pairs.into_iter().map(|(name, value)| name + &value).collect();
            meaning.push(format!("{}{words}", request.path_and_query).into_bytes());
        }
        // Telegram's secret says who asks, and nothing of what.
        Platform::Telegram => {}
        _ => meaning.push(request.body.clone()),
    }
    meaning
}

fn changed(luck: &mut Luck, platform: Platform, request: &InboundRequest, headers: &[&str]) -> InboundRequest {
    let mut forged = request.clone();
    let signs_url = matches!(platform, Platform::WhatsappTwilio | Platform::SmsTwilio);
    match luck.below(if platform == Platform::Telegram { 2 } else { 5 }) {
        0 => {
            let name = headers[luck.below(headers.len())];
            forged.headers.retain(|(known, _)| known != name);
        }
        1 => {
            let name = headers[luck.below(headers.len())];
            let value = forged.headers.iter_mut().find(|(known, _)| known == name).map(|(_, value)| value);
            luck.change_text(value.expect("the header is there"));
        }
        2 if signs_url => luck.change_text(&mut forged.path_and_query),
        _ => luck.change(&mut forged.body),
    }
    forged
}

/// A connector, and what it knows of its channel.
fn judge(platform: Platform) -> impl Fn(&InboundRequest) -> bool {
    let (connector, mut access) = (connector(platform, ""), access(platform, None));
    if platform == Platform::Telegram {
        access.inbound_secret = Some(Secret(TELEGRAM_SECRET.to_owned()));
    }
    move |request| connector.verify(&access, request) == Authenticity::Genuine
}

fn no_forgery_is_taken(platform: Platform) {
    let (request, headers) = genuine(platform);
    let is_genuine = judge(platform);
    assert!(is_genuine(&request), "what is genuine is taken");
    let signed = meaning(platform, &request, headers);
    let mut luck = Luck(0x9e37_79b9_7f4a_7c15);
    let (mut tried, mut kinds) = (0, BTreeSet::new());
    while tried < MUTATIONS {
        let forged = changed(&mut luck, platform, &request, headers);
        if meaning(platform, &forged, headers) == signed {
            continue;
        }
        assert!(!is_genuine(&forged), "{platform}: {forged:?}");
        kinds.insert((forged.body == request.body, forged.path_and_query == request.path_and_query));
        tried += 1;
    }
    assert!(kinds.len() > 1 || platform == Platform::Telegram, "body and headers were changed");
    assert!(is_genuine(&request), "nothing is remembered");
}

#[test]
fn no_forgery_of_twilio_is_taken() {
    no_forgery_is_taken(Platform::WhatsappTwilio);
}

#[test]
fn no_forgery_of_telegram_is_taken() {
    no_forgery_is_taken(Platform::Telegram);
}

#[test]
fn no_forgery_of_whatsapp_is_taken() {
    no_forgery_is_taken(Platform::Whatsapp);
}

#[test]
fn no_forgery_of_slack_is_taken() {
    no_forgery_is_taken(Platform::Slack);
}

#[test]
fn no_forgery_of_a_webhook_is_taken() {
    no_forgery_is_taken(Platform::Webhook);
}

#[test]
fn what_is_genuine_and_old_is_not_taken() {
    for platform in [Platform::Slack, Platform::Webhook] {
        let (mut request, _) = genuine(platform);
        let is_genuine = judge(platform);
        for (ms, is_taken) in [(299_000, true), (301_000, false), (-299_000, true), (-301_000, false)] {
            request.received_at = domain::Timestamp(NOW.0 + ms);
            assert_eq!(is_genuine(&request), is_taken, "{platform} {ms}");
        }
    }
}

/// A request, and whether the vendor's library takes it.
#[derive(Debug, Deserialize)]
struct Opinion {
    platform: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    genuine: bool,
}

/// `official.jsonl` was written by `twilio` 9.13.0, `slack_sdk` 3.47.0 and `standardwebhooks` 1.1.0 from PyPI: each signed some
/// requests, and refused changed copies of them.
#[test]
fn the_vendors_own_libraries_say_the_same() {
    let judges = [Platform::WhatsappTwilio, Platform::Slack, Platform::Webhook].map(|platform| (platform, judge(platform)));
    let mut counted = (0, 0);
    for line in include_str!("official.jsonl").lines() {
        let opinion: Opinion = serde_json::from_str(line).expect("a line of the list");
        let platform = Platform::parse_any_case(&opinion.platform).expect("a platform");
        let headers: Vec<(&str, &str)> = opinion.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = incoming(&opinion.path, &headers, opinion.body.clone());
        let (_, is_genuine) = judges.iter().find(|(known, _)| *known == platform).expect("a judge");
        assert_eq!(is_genuine(&request), opinion.genuine, "{opinion:?}");
        if opinion.genuine { counted.0 += 1 } else { counted.1 += 1 }
    }
    assert!(counted.0 > 100 && counted.1 > 300, "the list is read: {counted:?}");
}
