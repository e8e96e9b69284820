//! What connectors accept, and what they read out of it, from payloads as the platforms send them.

use domain::sockets::channel::ConsentChange::{OptedIn, OptedOut};
use domain::sockets::channel::{
    Authenticity, Handshake, IdentityKind, Inbound, InboundMessage, InboundRequest, MessageKind, RefusalKind, StatusNews,
};
use domain::{DeliveryStatus, Platform};
use serde_json::{Value, json};

use crate::world::{NOW, WEBHOOK_SECRET, access, connector, incoming};

fn parse(platform: Platform, request: &InboundRequest) -> Vec<Inbound> {
    connector(platform, "").parse(&access(platform, None), request).expect("readable")
}

fn said(platform: Platform, request: &InboundRequest) -> InboundMessage {
    match &parse(platform, request)[..] {
        [Inbound::Message(message)] => (**message).clone(),
        other => unreachable!("{other:?}"),
    }
}

fn status(platform: Platform, request: &InboundRequest) -> StatusNews {
    match &parse(platform, request)[..] {
        [Inbound::Status(news)] => news.clone(),
        other => unreachable!("{other:?}"),
    }
}

fn form(pairs: &[(&str, &str)]) -> InboundRequest {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs);
    incoming("/webhooks/inbound/whatsapp_twilio/channel_2345678abc", &[], form.finish())
}

fn of_json(body: &Value) -> InboundRequest {
    incoming("/", &[], body.to_string())
}

#[test]
fn a_twilio_message_has_a_sender_and_all_that_came_with_it() {
    let request = form(&[
        ("MessageSid", "SM1"),
        ("From", "whatsapp:+5215512345678"),
        ("To", "whatsapp:+15551234567"),
        ("Body", "hola\0 👋"),
        ("ProfileName", "Carla"),
        ("WaId", "5215512345678"),
        ("NumMedia", "2"),
        ("MediaUrl0", "https://api.twilio.com/m/1"),
        ("MediaContentType0", "image/jpeg"),
        ("MediaUrl1", "https://api.twilio.com/m/2"),
        ("MediaContentType1", "audio/ogg"),
        ("OriginalRepliedMessageSid", "SM0"),
    ]);
    let message = said(Platform::WhatsappTwilio, &request);
    assert_eq!(
        message.content(),
        "[IMAGE Message] https://api.twilio.com/m/1\n[Voice Message] https://api.twilio.com/m/2\nhola 👋"
    );
    assert_eq!((message.kind, message.dedupe.as_slice()), (MessageKind::Image, ["message:SM1".to_owned()].as_slice()));
    assert_eq!((message.reply_to.as_deref(), message.from.address.as_str()), (Some("SM0"), "+5215512345678"));
    let kinds: Vec<_> = message.from.identities.iter().map(|identity| (identity.kind, identity.value.as_str())).collect();
    assert_eq!(kinds, [(IdentityKind::WaId, "5215512345678"), (IdentityKind::Phone, "+5215512345678")]);
    assert_eq!(message.from.chat_meta["contact_phone"], json!("+5215512345678"));
    assert_eq!(
        (&message.meta["to_number"], &message.meta["webhook_received_at"]),
        (&json!("+15551234567"), &json!("2026-11-20T10:20:30Z"))
    );
}

#[test]
fn twilio_tells_statuses_from_messages_by_one_field_alone() {
    let mut request = form(&[("MessageSid", "SM1"), ("MessageStatus", "undelivered"), ("Body", "a"), ("ErrorCode", "63016")]);
    request.path_and_query.push_str("?message=message_23456789ab");
    let news = status(Platform::WhatsappTwilio, &request);
    assert_eq!((news.status, news.message_id.as_deref()), (Some(DeliveryStatus::Failed), Some("message_23456789ab")));
    assert_eq!(news.refusal.map(|(kind, _)| kind), Some(RefusalKind::WindowClosed));
    for (word, expected) in [
        ("queued", Some(DeliveryStatus::Pending)),
        ("sent", Some(DeliveryStatus::Sent)),
        ("delivered", Some(DeliveryStatus::Delivered)),
        ("read", Some(DeliveryStatus::Read)),
        ("canceled", Some(DeliveryStatus::Failed)),
        ("dancing", None),
    ] {
        let request = form(&[("SmsSid", "SM1"), ("MessageStatus", word)]);
        assert_eq!(status(Platform::WhatsappTwilio, &request).status, expected, "{word}");
    }
    for pairs in [&[("a", "b")][..], &[("MessageSid", "SM1")], &[("From", "x")]] {
        assert!(connector(Platform::WhatsappTwilio, "").parse(&access(Platform::WhatsappTwilio, None), &form(pairs)).is_err());
    }
}

#[test]
fn twilio_knows_people_without_numbers_places_buttons_and_consent() {
    let of = |pairs: &[(&str, &str)]| {
        said(Platform::WhatsappTwilio, &form(&[&[("MessageSid", "SM1"), ("From", "whatsapp:US.1349")][..], pairs].concat()))
    };
    let message = of(&[("Latitude", "1"), ("Longitude", "2"), ("Address", "Main St")]);
    assert_eq!((message.kind, message.text.as_str()), (MessageKind::Location, "Main St"));
    assert_eq!(message.from.identities[0].kind, IdentityKind::WaBsuid);
    assert!(!message.from.chat_meta.contains_key("contact_phone"));
    let message = of(&[("ButtonText", "Yes please"), ("ButtonPayload", "p1")]);
    assert_eq!(
        (message.kind, message.text.as_str(), &message.meta["twilio"]["ButtonPayload"]),
        (MessageKind::Interactive, "Yes please", &json!("p1"))
    );
    assert_eq!(of(&[("Body", " stop ")]).consent, Some(OptedOut));
    assert_eq!(of(&[("Body", "START")]).consent, Some(OptedIn));
    assert_eq!(of(&[("Body", "unsubscribe")]).consent, None, "a word of SMS only");
    assert_eq!(of(&[("Body", "stop"), ("OptOutType", "HELP")]).consent, None, "Twilio's reading wins");
}

#[test]
fn twilio_signatures_are_of_this_address_and_these_parameters() {
    let twilio = connector(Platform::WhatsappTwilio, "");
    let known = access(Platform::WhatsappTwilio, None);
    let sign = |url: &str, body: &[u8]| {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
        channels::signature::twilio(channels::signature::TwilioAlgorithm::HmacSha1, "twilio_test_auth_token", url, &pairs)
    };
    let path = "/webhooks/inbound/whatsapp_twilio/channel_2345678abc?x=%27";
    let body = b"MessagingServiceSid=&Body=it%27s+me&From=whatsapp%3A%2B1".to_vec();
    let judge = |signature: &str, path: &str, body: &[u8]| {
        twilio.verify(&known, &incoming(path, &[("x-twilio-signature", signature)], body.to_vec()))
    };
    let right = sign(&format!("https://hub.example.org{path}"), &body);
    assert_eq!(judge(&right, path, &body), Authenticity::Genuine);
    assert_eq!(judge(&sign(&format!("https://hub.example.org:443{path}"), &body), path, &body), Authenticity::Genuine);
    for wrong in [
        sign(&format!("https://hub.example.org:8443{path}"), &body),
        sign(&format!("http://hub.example.org{path}"), &body),
        sign(&format!("https://other.example.org{path}"), &body),
        sign("https://hub.example.org/webhooks/inbound/whatsapp_twilio/channel_other", &body),
        right[..20].to_owned(),
        String::new(),
    ] {
        assert_eq!(judge(&wrong, path, &body), Authenticity::Forged, "{wrong}");
    }
    assert_eq!(judge(&right, path, b"Body=it%27s+me&From=whatsapp%3A%2B1"), Authenticity::Forged, "a blank parameter counts");
    assert_eq!(twilio.verify(&known, &incoming(path, &[], body.clone())), Authenticity::Unsigned);

    let json = br#"{"a":1}"#;
    let hash = "bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862";
    let path = format!("/webhooks/inbound/whatsapp_twilio/channel_2345678abc?{hash}");
    let right = sign(&format!("https://hub.example.org{path}"), b"");
    assert_eq!(judge(&right, &path, json), Authenticity::Genuine);
    assert_eq!(judge(&right, &path, br#"{"a":2}"#), Authenticity::Forged);
}

#[test]
fn telegram_updates_become_what_they_mean() {
    let from = json!({"id": 4242, "is_bot": false, "first_name": "Zoe", "last_name": "K", "username": "zoe"});
    let chat = json!({"id": 4242, "type": "private"});
    let update = |kind: &str, body: Value| {
        let mut all = json!({"message_id": 7, "from": from, "chat": chat, "date": 1_790_000_000});
        all.as_object_mut().expect("an object").extend(body.as_object().expect("an object").clone());
        of_json(&json!({"update_id": 5, kind: all}))
    };
    let message = said(Platform::Telegram, &update("message", json!({"text": "/start promo\u{0}"})));
    assert_eq!((message.consent, &message.meta["start"], message.external_id.as_str()), (Some(OptedIn), &json!("promo"), "7"));
    assert_eq!(message.dedupe, ["update:5", "message:4242:7"]);
    assert_eq!((message.from.address.as_str(), message.from.profile_name.as_deref()), ("4242", Some("Zoe K")));
    let photo = json!({"photo": [{"file_id": "s"}, {"file_id": "L"}], "caption": "look", "media_group_id": "g"});
    let message = said(Platform::Telegram, &update("message", photo));
    assert_eq!((message.content().as_str(), message.album.as_deref()), ("[IMAGE Message] telegram:L\nlook", Some("g")));
    assert_eq!(message.media[0].handle, "L");
    for (body, kind, content) in [
        (json!({"voice": {"file_id": "v"}}), MessageKind::Voice, "[Voice Message] telegram:v"),
        (json!({"document": {"file_id": "d"}}), MessageKind::Media, "[MEDIA Message] telegram:d"),
        (json!({"location": {"latitude": 1.5, "longitude": 2}}), MessageKind::Location, "1.5, 2"),
        (json!({"contact": {"first_name": "Al", "phone_number": "+1"}}), MessageKind::Contact, "Al +1"),
    ] {
        let message = said(Platform::Telegram, &update("message", body));
        assert_eq!((message.kind, message.content().as_str()), (kind, content));
    }
    let edited = parse(Platform::Telegram, &update("edited_message", json!({"text": "better"})));
    assert!(matches!(&edited[..], [Inbound::Edited { text, external_id, .. }] if text == "better" && external_id == "7"));
    let pressed = json!({"update_id": 6, "callback_query": {"id": "q1", "from": from, "data": "yes", "message": {"message_id": 7, "chat": chat}}});
    let message = said(Platform::Telegram, &of_json(&pressed));
    assert_eq!((message.text.as_str(), message.acknowledge.as_deref()), ("yes", Some("q1")));
    let blocked =
        json!({"update_id": 8, "my_chat_member": {"from": from, "chat": chat, "new_chat_member": {"status": "kicked"}}});
    assert!(matches!(&parse(Platform::Telegram, &of_json(&blocked))[..], [Inbound::Consent { change: OptedOut, .. }]));
    for ignored in [
        update("message", json!({"text": "beep", "from": {"id": 1, "is_bot": true}})),
        update("message", json!({"new_chat_title": "x"})),
        of_json(&json!({"update_id": 9, "poll": {}})),
    ] {
        assert_eq!(parse(Platform::Telegram, &ignored), [Inbound::Ignored]);
    }
    assert!(connector(Platform::Telegram, "").parse(&access(Platform::Telegram, None), &of_json(&json!({}))).is_err());
}

#[test]
fn telegram_is_known_by_its_secret() {
    let judge = |offered: &str| {
        let request = incoming("/", &[("x-telegram-bot-api-secret-token", offered)], "{}");
        connector(Platform::Telegram, "").verify(&access(Platform::Telegram, None), &request)
    };
    assert_eq!(
        (judge(WEBHOOK_SECRET), judge("wrong"), judge("")),
        (Authenticity::Genuine, Authenticity::Forged, Authenticity::Forged)
    );
    let mut nameless = access(Platform::Telegram, None);
    nameless.inbound_secret = None;
    let request = incoming("/", &[("x-telegram-bot-api-secret-token", "")], "{}");
    assert_eq!(connector(Platform::Telegram, "").verify(&nameless, &request), Authenticity::Forged, "no secret opens nothing");
}

#[test]
fn a_whatsapp_cloud_request_may_hold_many_things() {
    let value = |number: &str| {
        json!({
            "metadata": {"phone_number_id": number},
            "contacts": [{"profile": {"name": "Ana"}, "wa_id": "521551", "user_id": "US.9"}],
            "messages": [
                {"from": "521551", "id": "wamid.1", "timestamp": "1", "type": "text", "text": {"body": "hola"}, "context": {"id": "wamid.0"}},
                {"from": "521551", "id": "wamid.2", "timestamp": "2", "type": "image", "image": {"id": "77", "mime_type": "image/png", "caption": "c"}},
                {"from": "521551", "id": "wamid.3", "type": "interactive", "interactive": {"button_reply": {"id": "b", "title": "Yes"}}},
                {"from": "521551", "id": "wamid.4", "type": "unsupported"}
            ],
            "statuses": [{"id": "wamid.9", "status": "failed", "errors": [{"code": 131_047, "title": "Re-engagement"}]}]
        })
    };
    let body = json!({"entry": [{"changes": [{"field": "messages", "value": value("1065")}, {"field": "messages", "value": value("999")}, {"field": "other"}]}]});
    let found = parse(Platform::Whatsapp, &of_json(&body));
    let [Inbound::Message(first), Inbound::Message(second), Inbound::Message(third), Inbound::Status(news)] = &found[..] else {
        unreachable!("{found:?}")
    };
    assert_eq!(
        (first.text.as_str(), first.reply_to.as_deref(), first.from.address.as_str()),
        ("hola", Some("wamid.0"), "+521551")
    );
    assert_eq!(first.from.identities.len(), 3);
    assert_eq!(second.content(), "[IMAGE Message] whatsapp:77\nc");
    assert_eq!((third.text.as_str(), &third.meta["payload"]), ("Yes", &json!("b")));
    assert_eq!(
        (news.status, news.refusal.as_ref().map(|(kind, _)| *kind)),
        (Some(DeliveryStatus::Failed), Some(RefusalKind::WindowClosed))
    );
    assert_eq!(parse(Platform::Whatsapp, &of_json(&json!({"entry": []}))), [Inbound::Ignored]);
}

#[test]
fn whatsapp_cloud_hands_its_challenge_only_to_who_knows_the_token() {
    let ask = |query: &str| {
        let mut request = incoming(&format!("/webhooks/inbound/whatsapp/c?{query}"), &[], "");
        request.is_get = true;
        connector(Platform::Whatsapp, "").handshake(&access(Platform::Whatsapp, None), &request)
    };
    let right = "hub.mode=subscribe&hub.verify_token=verify-1&hub.challenge=42";
    assert_eq!(ask(right), Some(Handshake::Challenge("42".into())));
    for wrong in
        [right.replace("verify-1", "verify-2"), right.replace("subscribe", "x"), "hub.challenge=42".into(), String::new()]
    {
        assert_eq!(ask(&wrong), Some(Handshake::Refused), "{wrong}");
    }
}

#[test]
fn slack_events_of_people_are_messages_and_all_others_are_not() {
    let event = |event: Value| of_json(&json!({"type": "event_callback", "event_id": "Ev1", "team_id": "T1", "event": event}));
    let message = said(
        Platform::Slack,
        &event(
            json!({"type": "message", "user": "U1", "channel": "C1", "ts": "17.1", "thread_ts": "16.0", "text": "a &lt; <@U2>"}),
        ),
    );
    assert_eq!((message.text.as_str(), message.from.address.as_str()), ("a < @U2", "C1:16.0"));
    assert_eq!(message.dedupe, ["event:Ev1", "message:C1:17.1"]);
    let direct = said(
        Platform::Slack,
        &event(json!({"type": "message", "user": "U1", "channel": "D1", "ts": "17.1", "thread_ts": "1", "text": "x"})),
    );
    assert_eq!((direct.from.address.as_str(), direct.from.identities[0].kind), ("D1", IdentityKind::SlackUser));
    for ignored in [
        json!({"type": "message", "bot_id": "B1", "user": "U1", "channel": "C1", "ts": "1"}),
        json!({"type": "message", "subtype": "message_changed", "channel": "C1", "ts": "1"}),
        json!({"type": "reaction_added", "user": "U1"}),
    ] {
        assert_eq!(parse(Platform::Slack, &event(ignored)), [Inbound::Ignored]);
    }
    let handshake = connector(Platform::Slack, "")
        .handshake(&access(Platform::Slack, None), &of_json(&json!({"type": "url_verification", "challenge": "c"})));
    assert_eq!(handshake, Some(Handshake::Challenge("c".into())));
}

#[test]
fn a_signed_webhook_is_read_and_an_old_one_is_not() {
    let body = json!({"type": "message", "contact": {"id": "c1", "name": "Ana", "phone": "+1"}, "message": {"id": "m1", "text": "hi", "attachments": [{"url": "https://a.example/x", "mime_type": "video/mp4"}]}, "meta": {"k\u{0}": ["v\u{0}"]}});
    let seconds = NOW.0 / 1000;
    let signed = |at: i64| {
        let signature = channels::signature::standard_webhooks(&[WEBHOOK_SECRET], "msg_1", at, body.to_string().as_bytes());
        let headers = [("webhook-id", "msg_1"), ("webhook-timestamp", &*at.to_string()), ("webhook-signature", &*signature)];
        incoming("/", &headers, body.to_string())
    };
    let webhook = connector(Platform::Webhook, "");
    let judge = |request: &InboundRequest| webhook.verify(&access(Platform::Webhook, None), request);
    assert_eq!((judge(&signed(seconds)), judge(&signed(seconds - 301))), (Authenticity::Genuine, Authenticity::Forged));
    let message = said(Platform::Webhook, &signed(seconds));
    assert_eq!(message.content(), "[VIDEO Message] https://a.example/x\nhi");
    assert_eq!((message.dedupe.len(), &message.meta["k"]), (2, &json!(["v"])));
    let news = status(Platform::Webhook, &of_json(&json!({"type": "status", "message_id": "message_1", "status": "delivered"})));
    assert_eq!((news.message_id.as_deref(), news.status), (Some("message_1"), Some(DeliveryStatus::Delivered)));
}
