//! What connectors send, and what they make of the answers, against a scripted double.

use domain::sockets::channel::{MediaLink, RefusalKind, SendOutcome};
use domain::{DeliveryStatus, Platform};
use serde_json::json;

use crate::peer::{Peer, Reply};
use crate::world::{NOW, WEBHOOK_SECRET, access, connector, message, send};

const PHONE: &str = "+5215512345678";

fn json_reply(status: u16, body: serde_json::Value) -> Vec<Reply> {
    vec![Reply::Json(status, body.to_string())]
}

/// The last word of what happened: accepted with an id, to be repeated after so long, and so on.
fn told(outcome: &SendOutcome) -> String {
    match outcome {
        SendOutcome::Accepted(accepted) => format!("accepted {}", accepted.external_id.as_deref().unwrap_or("-")),
        SendOutcome::Retry { after_ms, .. } => format!("retry {}", after_ms.map_or("-".to_owned(), |after| after.to_string())),
        SendOutcome::Unknown => "unknown".to_owned(),
        SendOutcome::Refused(kind, _) => format!("{kind:?}"),
    }
}

#[tokio::test]
async fn twilio_sends_a_form_and_asks_to_be_told() {
    let reply = json_reply(201, json!({"sid": "SM1", "status": "queued"}));
    let (outcome, peer) = send(Platform::WhatsappTwilio, "/twilio", &message(PHONE, "¿hola & adiós? 👋"), reply).await;
    let SendOutcome::Accepted(accepted) = &outcome else { panic!("{outcome:?}") };
    assert_eq!((accepted.external_id.as_deref(), accepted.status), (Some("SM1"), DeliveryStatus::Sent));
    assert_eq!(
        (accepted.sent_to.as_str(), accepted.sent_from.as_deref()),
        ("whatsapp:+5215512345678", Some("whatsapp:+15551234567"))
    );
    let [request] = &peer.requests()[..] else { panic!("one request") };
    assert_eq!(request.line, "POST /twilio HTTP/1.1");
    assert_eq!(
        request.header("authorization"),
        "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDp0d2lsaW9fdGVzdF9hdXRoX3Rva2Vu"
    );
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let callback = "https://hub.example.org/webhooks/inbound/whatsapp_twilio/channel_2345678abc?message=message_23456789ab";
    let expected = [
        ("To", "whatsapp:+5215512345678"),
        ("From", "whatsapp:+15551234567"),
        ("Body", "¿hola & adiós? 👋"),
        ("StatusCallback", callback),
    ];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn twilio_sends_templates_media_and_sms() {
    let mut template = message(PHONE, "Your order is ready");
    template.template = json!({"content_sid": "HX1", "variables": {"1": "Ana"}}).as_object().cloned();
    let (_, peer) = send(Platform::WhatsappTwilio, "/", &template, Vec::new()).await;
    let body = peer.requests()[0].text();
    assert!(body.contains("ContentSid=HX1&ContentVariables=%7B%221%22%3A%22Ana%22%7D") && !body.contains("Body="), "{body}");

    let mut sms = message(PHONE, "hi");
    sms.media = vec![MediaLink { url: "https://a.example/1.jpg".into(), mime_type: "image/jpeg".into(), name: None }];
    let (_, peer) = send(Platform::SmsTwilio, "/", &sms, Vec::new()).await;
    let body = peer.requests()[0].text();
    assert!(
        body.starts_with("To=%2B5215512345678&From=%2B15551234567&Body=hi&MediaUrl=https%3A%2F%2Fa.example%2F1.jpg"),
        "{body}"
    );
}

#[tokio::test]
async fn every_code_of_twilios_has_its_outcome() {
    for (status, code, expected) in [
        (429, 0, "retry -"),
        (400, 20429, "retry -"),
        (400, 63018, "retry -"),
        (500, 0, "retry -"),
        (503, 21211, "Permanent"),
        (401, 20003, "Auth"),
        (401, 0, "Auth"),
        (400, 21211, "Permanent"),
        (400, 21614, "Permanent"),
        (400, 21201, "Permanent"),
        (400, 63024, "Permanent"),
        (400, 63003, "Permanent"),
        (400, 21606, "Permanent"),
        (404, 20404, "Permanent"),
        (400, 21610, "OptedOut"),
        (400, 21617, "Permanent"),
        (400, 63016, "WindowClosed"),
        (400, 63038, "retry 49170000"),
        (400, 63049, "Permanent"),
        (400, 63032, "Permanent"),
        (400, 99999, "Permanent"),
        (302, 0, "retry -"),
    ] {
        let reply = json_reply(status, json!({"code": code, "message": "what it says", "status": status}));
        let (outcome, _peer) = send(Platform::WhatsappTwilio, "/", &message(PHONE, "hi"), reply).await;
        assert_eq!(told(&outcome), expected, "{status} {code}");
        if let SendOutcome::Refused(_, refusal) = outcome {
            assert_eq!(refusal.text, "what it says");
        }
    }
}

/// For every platform: what may have arrived is unknown, what did not leave is repeated, `Retry-After` is kept.
#[tokio::test]
async fn what_goes_wrong_on_the_way_is_told_apart() {
    let limited = |seconds: &str| {
        Reply::Raw(format!("HTTP/1.1 429 X\r\nretry-after: {seconds}\r\ncontent-length: 2\r\n\r\n{{}}").into_bytes())
    };
    let large = [b"HTTP/1.1 200 OK\r\ncontent-length: 5242880\r\n\r\n".to_vec(), vec![b' '; 5 * 1024 * 1024]].concat();
    for platform in [Platform::WhatsappTwilio, Platform::Telegram, Platform::Whatsapp, Platform::Slack, Platform::Webhook] {
        let to = if platform == Platform::Telegram { "4242" } else { PHONE };
        for (reply, expected) in [
            (Reply::Reset, "unknown"),
            (Reply::Raw(large.clone()), "unknown"),
            (Reply::Json(500, "oops".into()), "retry -"),
            (Reply::Json(429, "{}".into()), "retry -"),
        ] {
            let (outcome, peer) = send(platform, "", &message(to, "hi"), vec![reply]).await;
            assert_eq!((told(&outcome).as_str(), peer.requests().len()), (expected, 1), "{platform}");
        }
        if platform != Platform::Telegram {
            let (outcome, _peer) = send(platform, "", &message(to, "hi"), vec![limited("7")]).await;
            assert_eq!(told(&outcome), "retry 7000", "{platform}");
        }
        let inner = Peer::start([]).await;
        let moved = format!("HTTP/1.1 302 X\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", inner.url("/"));
        let (outcome, _peer) = send(platform, "", &message(to, "hi"), vec![Reply::Raw(moved.into_bytes())]).await;
        assert!(told(&outcome).starts_with("retry") && inner.requests().is_empty(), "{platform} {outcome:?}");

        let gone = connector(platform, "127.0.0.1:9");
        let outcome = gone.send(&access(platform, Some("http://127.0.0.1:9".into())), &message(to, "hi")).await;
        assert_eq!(told(&outcome), "retry -", "{platform}");
        let outcome = gone.send(&access(platform, Some("http://127.0.0.1:10".into())), &message(to, "hi")).await;
        let SendOutcome::Refused(RefusalKind::Permanent, refusal) = outcome else { panic!("{platform} {outcome:?}") };
        assert_eq!(refusal.text, "address not allowed");
    }
}

#[tokio::test]
async fn telegram_sends_html_and_falls_back_to_plain_text() {
    let accepted = json!({"ok": true, "result": {"message_id": 101}});
    let (outcome, peer) =
        send(Platform::Telegram, "", &message("4242", "¡hola <Zoe>! **a**"), json_reply(200, accepted.clone())).await;
    assert_eq!(told(&outcome), "accepted 101");
    let request = &peer.requests()[0];
    assert_eq!(request.path(), "/bot123:ABC/sendMessage");
    assert_eq!(request.json(), json!({"chat_id": 4242, "text": "¡hola &lt;Zoe&gt;! <b>a</b>", "parse_mode": "HTML"}));

    let refused = json!({"ok": false, "error_code": 400, "description": "Bad Request: can't parse entities: x"});
    let replies = vec![Reply::Json(400, refused.to_string()), Reply::Json(200, accepted.to_string())];
    let (outcome, peer) = send(Platform::Telegram, "", &message("4242", "**a**"), replies).await;
    assert_eq!(told(&outcome), "accepted 101");
    assert_eq!(peer.requests()[1].json(), json!({"chat_id": 4242, "text": "**a**"}));

    let moved = json!({"ok": false, "error_code": 400, "description": "x", "parameters": {"migrate_to_chat_id": -1001}});
    let replies = vec![Reply::Json(400, moved.to_string()), Reply::Json(200, accepted.to_string())];
    let (outcome, peer) = send(Platform::Telegram, "", &message("-7", "a"), replies).await;
    let SendOutcome::Accepted(accepted) = outcome else { panic!("{outcome:?}") };
    assert_eq!(accepted.moved_to.as_deref(), Some("-1001"));
    assert_eq!(peer.requests()[1].json()["chat_id"], json!(-1001));
}

#[tokio::test]
async fn every_refusal_of_telegrams_has_its_outcome() {
    for (code, description, parameters, expected) in [
        (429, "Too Many Requests: retry after 5", json!({"retry_after": 5}), "retry 5000"),
        (403, "Forbidden: bot was blocked by the user", json!({}), "OptedOut"),
        (400, "Bad Request: chat not found", json!({}), "OptedOut"),
        (403, "Forbidden: user is deactivated", json!({}), "OptedOut"),
        (401, "Unauthorized", json!({}), "Auth"),
        (404, "Not Found", json!({}), "Auth"),
        (400, "Bad Request: message is too long", json!({}), "Permanent"),
        (502, "Bad Gateway", json!({}), "retry -"),
    ] {
        let body = json!({"ok": false, "error_code": code, "description": description, "parameters": parameters});
        let (outcome, _peer) = send(Platform::Telegram, "", &message("4242", "hi"), json_reply(code, body)).await;
        assert_eq!(told(&outcome), expected, "{description}");
    }
}

#[tokio::test]
async fn whatsapp_cloud_sends_json_and_reads_codes() {
    let reply = json_reply(200, json!({"messages": [{"id": "wamid.1"}]}));
    let (outcome, peer) = send(Platform::Whatsapp, "", &message(PHONE, "hi"), reply).await;
    assert_eq!(told(&outcome), "accepted wamid.1");
    let request = &peer.requests()[0];
    assert_eq!((request.path(), request.header("authorization")), ("/1065/messages", "Bearer EAAtoken"));
    let expected = json!({"messaging_product": "whatsapp", "recipient_type": "individual", "to": PHONE, "type": "text", "text": {"body": "hi"}});
    assert_eq!(request.json(), expected);
    for (status, code, expected) in [
        (400, 130_429, "retry -"),
        (400, 131_056, "retry -"),
        (400, 131_000, "retry -"),
        (400, 131_047, "WindowClosed"),
        (400, 131_050, "OptedOut"),
        (400, 131_026, "Permanent"),
        (400, 131_049, "Permanent"),
        (401, 190, "Auth"),
        (400, 100, "Permanent"),
    ] {
        let reply = json_reply(status, json!({"error": {"code": code, "message": "m", "error_data": {"details": "d"}}}));
        let (outcome, _peer) = send(Platform::Whatsapp, "", &message(PHONE, "hi"), reply).await;
        assert_eq!(told(&outcome), expected, "{code}");
    }
}

#[tokio::test]
async fn slack_refuses_with_status_200() {
    let reply = json_reply(200, json!({"ok": true, "ts": "1.2"}));
    let (outcome, peer) = send(Platform::Slack, "/api", &message("C1:1700.1", "a <b> & c"), reply).await;
    assert_eq!(told(&outcome), "accepted 1.2");
    let request = &peer.requests()[0];
    assert_eq!((request.path(), request.header("authorization")), ("/api/chat.postMessage", "Bearer xoxb-1"));
    assert_eq!(request.json(), json!({"channel": "C1", "text": "a &lt;b&gt; &amp; c", "thread_ts": "1700.1"}));
    for (error, expected) in [
        ("ratelimited", "retry -"),
        ("channel_not_found", "Permanent"),
        ("not_in_channel", "Permanent"),
        ("is_archived", "Permanent"),
        ("msg_too_long", "Permanent"),
        ("invalid_auth", "Auth"),
        ("account_inactive", "Auth"),
        ("token_revoked", "Auth"),
    ] {
        let reply = json_reply(200, json!({"ok": false, "error": error}));
        let (outcome, _peer) = send(Platform::Slack, "", &message("C1", "hi"), reply).await;
        assert_eq!(told(&outcome), expected, "{error}");
    }
}

#[tokio::test]
async fn a_webhook_is_signed_and_keeps_its_id() {
    let mut second = message("customer-1", "two");
    second.part = 1;
    for (message, id) in [(message("customer-1", "one"), "message_23456789ab"), (second, "message_23456789ab-1")] {
        let (outcome, peer) = send(Platform::Webhook, "/hook", &message, json_reply(200, json!({"id": "theirs"}))).await;
        assert_eq!(told(&outcome), "accepted theirs");
        let request = &peer.requests()[0];
        assert_eq!(request.header("webhook-id"), id);
        let seconds = (NOW.0 / 1000).to_string();
        assert_eq!(request.header("webhook-timestamp"), seconds);
        let signature = request.header("webhook-signature");
        assert!(channels::signature::standard_webhook_is_genuine(
            &[WEBHOOK_SECRET],
            id,
            &seconds,
            signature,
            &request.body,
            NOW.0 / 1000
        ));
        let body = request.json();
        assert_eq!((&body["type"], &body["timestamp"]), (&json!("message"), &json!("2026-11-20T10:20:30Z")));
        assert_eq!(body["data"]["contact"], json!({"id": "customer-1"}));
    }
    let (outcome, _peer) = send(Platform::Webhook, "/", &message("c", "x"), json_reply(410, json!({}))).await;
    assert_eq!(told(&outcome), "ChannelGone");
    let (outcome, _peer) = send(Platform::Webhook, "/", &message("c", "x"), json_reply(404, json!({"secret": "page"}))).await;
    let SendOutcome::Retry { refusal, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(refusal.text, "The receiver answered 404");
}
