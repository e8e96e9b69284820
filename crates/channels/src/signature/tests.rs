//! The vectors are the vendors' own, or were computed with their official libraries.

use super::TwilioAlgorithm::{HmacSha1, HmacSha256};
use super::{
    hex, hmac_sha256, meta_is_genuine, slack, slack_is_genuine, standard_webhook_is_genuine, standard_webhooks, twilio,
    webhook_key,
};

fn form(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn twilio_vectors() {
    let documented = form(&[
        ("CallSid", "CA1234567890ABCDE"),
        ("Caller", "+14158675309"),
        ("Digits", "1234"),
        ("From", "+14158675309"),
        ("To", "+18005551212"),
    ]);
    let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
    assert_eq!(twilio(HmacSha1, "12345", url, &documented), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    let blank = form(&[("B", "1"), ("A", "")]);
    assert_eq!(twilio(HmacSha1, "12345", "https://x/y", &blank), "nETEIRXpJUJvwjud1ygwu2k5VHY=");
    assert_eq!(twilio(HmacSha1, "12345", "https://x/y", &form(&[("B", "1")])), "i4V3JEGtsCFG4iIulR5nI+DBNJg=");
    assert_eq!(twilio(HmacSha256, "12345", "https://x/y", &form(&[("A", "1")])), "mGfktc3GYpuMx0OKruey6q7b44Tgs+t8ZvMCRJve/Tc=");

    let url = "https://hub.example.org/webhooks/inbound/whatsapp_twilio/channel_2345678abc";
    let mut message = form(&[
        ("AccountSid", "AC00000000000000000000000000000000"),
        ("MessageSid", "SM00000000000000000000000000000001"),
        ("From", "whatsapp:+5215512345678"),
        ("To", "whatsapp:+15551234567"),
        ("Body", "hello"),
        ("NumMedia", "0"),
        ("MessagingServiceSid", ""),
    ]);
    assert_eq!(twilio(HmacSha1, "twilio_test_auth_token", url, &message), "c/60VP8+QXe1XGzpetg1AtseKXI=");
    message.pop();
    assert_eq!(twilio(HmacSha1, "twilio_test_auth_token", url, &message), "e1hNmtfHFjQ3YytjTkHvyAY1FcA=");
}

#[test]
fn twilio_signs_repeated_parameters_once_for_each_value_in_order() {
    let repeated = form(&[("MediaUrl", "b"), ("MediaUrl", "a"), ("MediaUrl", "b")]);
    let once = form(&[("MediaUrl", "a"), ("MediaUrl", "b")]);
    assert_eq!(twilio(HmacSha1, "k", "https://x/", &repeated), twilio(HmacSha1, "k", "https://x/", &once));
}

#[test]
fn meta_vector_holds_an_emoji() {
    let body =
        r#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"text":"👋"}}]}]}"#;
    assert_eq!(body.len(), 116);
    let mac = "5e2433f8e0909a70e35d6d7ef0786be17c18269da2c457f173a636b90954f974";
    assert_eq!(hex(&hmac_sha256(b"app-secret-1", body.as_bytes())), mac);
    assert!(meta_is_genuine("app-secret-1", &format!("sha256={mac}"), body.as_bytes()));
    for wrong in
        [mac.to_owned(), format!("sha256={}", mac.to_uppercase()), format!("sha1={mac}"), String::new(), "sha256=".to_owned()]
    {
        assert!(!meta_is_genuine("app-secret-1", &wrong, body.as_bytes()), "{wrong}");
    }
    assert!(!meta_is_genuine("app-secret-2", &format!("sha256={mac}"), body.as_bytes()));
}

#[test]
fn slack_vectors() {
    let (secret, at, body) =
        ("8f742231b10e8888abcd99yyyzzz85a5", "1531420618", r#"{"type":"url_verification","challenge":"abc"}"#);
    let signature = "v0=ae6e383ee58dd0c92dd248df269b7153bdd89895087b58885a6703496ce22369";
    let command = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
                   &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
                   &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
                   &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    assert_eq!(slack(secret, at, command.as_bytes()), "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503");
    for (now, expected) in
        [(1_531_420_618, true), (1_531_420_918, true), (1_531_420_919, false), (1_531_420_318, true), (1_531_420_317, false)]
    {
        assert_eq!(slack_is_genuine(secret, at, signature, body.as_bytes(), now), expected, "{now}");
    }
    for at in ["+1531420618", "1531420618 ", "", "x", "99999999999999999999"] {
        assert!(!slack_is_genuine(secret, at, &slack(secret, at, body.as_bytes()), body.as_bytes(), 1_531_420_618), "{at:?}");
    }
}

#[test]
fn standard_webhooks_vector_both_ways() {
    let (secret, id) = ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk");
    let (at, body) = (1_649_367_553, br#"{"email":"test@example.com","username":"test_user"}"#);
    let signature = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
    assert_eq!(standard_webhooks(&[secret], id, at, body), signature);
    let accepts = |signatures: &str, now: i64| standard_webhook_is_genuine(&[secret], id, "1649367553", signatures, body, now);
    assert!(accepts(signature, at));
    assert!(accepts(&format!("v1,AAAA {signature}"), at), "any entry may match");
    assert!(accepts(&format!("v1a,xx v2,yy {signature}"), at), "unknown versions are skipped");
    assert!(accepts(signature, at + 300) && accepts(signature, at - 300));
    assert!(!accepts(signature, at + 301) && !accepts(signature, at - 301));
    assert!(!accepts(&signature.replacen("v1", "v2", 1), at));
    assert!(!accepts("", at) && !accepts("v1,", at));
    let far_behind = format!("{}{signature}", "v1,AAAA ".repeat(40));
    assert!(!accepts(&far_behind, at), "a list without end is not searched");
}

#[test]
fn a_rotation_signs_with_both_secrets_and_accepts_either() {
    let old = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let new = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let both = standard_webhooks(&[new, old], "dlv_a", 1000, b"{}");
    assert_eq!(both.split(' ').count(), 2);
    for secrets in [vec![old], vec![new], vec![new, old]] {
        assert!(standard_webhook_is_genuine(&secrets, "dlv_a", "1000", &both, b"{}", 1000));
    }
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(!standard_webhook_is_genuine(&[other], "dlv_a", "1000", &both, b"{}", 1000));
    assert!(!standard_webhook_is_genuine(&[new], "dlv.a", "1000", &standard_webhooks(&[new], "dlv.a", 1000, b"{}"), b"{}", 1000));
}

#[test]
fn a_secret_that_is_none_opens_nothing() {
    for secret in ["", "whsec_", "whsec_AAAA", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_***"] {
        assert_eq!(webhook_key(secret), None, "{secret}");
        assert!(!standard_webhook_is_genuine(&[secret], "a", "1000", "v1,", b"", 1000));
    }
    assert_eq!(standard_webhooks(&[""], "a", 1, b""), "");
}
