//! Files in and out: what each platform is asked for and told, whom credentials are shown to, and what hostile files become.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use channels::connectors;
use domain::Platform;
use domain::egress::{AddressNotAllowed, ChosenBy, EgressRules};
use domain::sockets::channel::{Channel, Media, MediaError, MediaLink, MediaRef, MessageKind, RefusalKind, SendOutcome};
use domain::sockets::egress::{Answer, Call, CallError, Egress, Resolution};
use serde_json::json;

use crate::peer::{Peer, Reply};
use crate::world::{access, connector, message, send};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";
const LIMIT: usize = 20 * 1024 * 1024;

fn file(handle: &str) -> MediaRef {
    MediaRef { handle: handle.to_owned(), shown: handle.to_owned(), mime_type: None, file_name: None, kind: MessageKind::Image }
}

fn raw(status: u16, headers: &str, body: &[u8]) -> Reply {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
    Reply::Raw([head.as_bytes(), body].concat())
}

/// A way out that obeys the rules, calls nobody, and gives what was scripted.
#[derive(Default)]
struct Scripted {
    rules: EgressRules,
    answers: Mutex<Vec<Answer>>,
    /// Address, and authorization if there was one.
    asked: Mutex<Vec<(String, String)>>,
}

#[async_trait]
impl Egress for Scripted {
    async fn check(&self, url: &str, chosen_by: ChosenBy) -> Result<Resolution, AddressNotAllowed> {
        self.rules.check_url(url, chosen_by).map(|_| Resolution::Resolved)
    }

    async fn call(&self, call: Call) -> Result<Answer, CallError> {
        self.rules.check_url(&call.url, call.chosen_by)?;
        let authorization = call.headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.clone());
        self.asked.lock().expect("calls").push((call.url, authorization.unwrap_or_default()));
        Ok(self.answers.lock().expect("answers").remove(0))
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Answer { status, headers, body: body.to_vec() }
}

/// What fetching gives with these answers, and who was asked.
async fn fetched(platform: Platform, handle: &str, answers: Vec<Answer>) -> (Result<Media, MediaError>, Vec<(String, String)>) {
    let scripted = Arc::new(Scripted { answers: Mutex::new(answers), ..Scripted::default() });
    let egress: Arc<dyn Egress> = Arc::clone(&scripted) as Arc<dyn Egress>;
    let connector: Arc<dyn Channel> =
        connectors(&egress).into_iter().find(|one| one.platform() == platform).expect("a connector");
    let got = connector.fetch(&access(platform, None), &file(handle)).await;
    let asked = scripted.asked.lock().expect("calls").clone();
    (got, asked)
}

#[tokio::test]
async fn each_platform_shows_its_credentials_to_its_own_hosts_alone() {
    let png = || vec![answer(200, &[], PNG)];
    for (platform, handle, is_shown) in [
        (Platform::WhatsappTwilio, "https://api.twilio.com/Media/ME1", true),
        (Platform::SmsTwilio, "https://media.us1.twilio.com/ME1", true),
        (Platform::SmsTwilio, "https://twilio.com.evil.example/ME1", false),
        (Platform::Slack, "https://files.slack.com/files-pri/T-F/a.png", true),
        (Platform::Slack, "https://files.slack.com.evil.example/a.png", false),
        (Platform::Webhook, "https://anywhere.example/a.png", false),
    ] {
        let (got, asked) = fetched(platform, handle, png()).await;
        assert_eq!(got.map(|media| media.mime_type), Ok("image/png".to_owned()), "{platform}");
        assert_eq!((asked.len(), !asked[0].1.is_empty()), (1, is_shown), "{platform} {handle}");
    }
    let page = b"<!DOCTYPE html><title>Sign in</title>";
    let (got, _) = fetched(Platform::Slack, "https://files.slack.com/a.png", vec![answer(200, &[], page)]).await;
    assert_eq!(got, Err(MediaError::Gone), "a token without the right gets Slack's page for signing in");
    let place = |url: &str| answer(200, &[], json!({"url": url}).to_string().as_bytes());
    for (url, is_shown) in [("https://lookaside.fbsbx.com/m/1", true), ("https://elsewhere.example/1", false)] {
        let (got, asked) = fetched(Platform::Whatsapp, "77", vec![place(url), answer(200, &[], PNG)]).await;
        assert!(got.is_ok());
        assert_eq!(asked[0], ("https://graph.facebook.com/v23.0/77".to_owned(), "Bearer EAAtoken".to_owned()));
        assert_eq!((asked[1].0.as_str(), asked[1].1.is_empty()), (url, !is_shown));
    }
}

#[tokio::test]
async fn twilio_may_send_us_on_but_nowhere_private_and_without_credentials() {
    let on = |place: &str| answer(307, &[("location", place)], b"");
    let start = "https://api.twilio.com/Media/ME1";
    let cdn = "https://mms.twiliocdn.com/AC/ME1?sig=1";
    let (got, asked) = fetched(Platform::WhatsappTwilio, start, vec![on(cdn), answer(200, &[], PNG)]).await;
    assert!(got.is_ok());
    assert_eq!(asked[1], (cdn.to_owned(), String::new()));
    for inner in ["http://169.254.169.254/latest/", "https://127.0.0.1/", "https://localhost/", "file:///etc/passwd", "//[::1]/"]
    {
        let (got, asked) = fetched(Platform::WhatsappTwilio, start, vec![on(inner)]).await;
        assert_eq!((got, asked.len()), (Err(MediaError::NotAllowed), 1), "{inner}");
    }
    let for_ever = vec![on(start), on(start), on(start)];
    let (got, asked) = fetched(Platform::WhatsappTwilio, start, for_ever).await;
    assert_eq!((got, asked.len()), (Err(MediaError::Gone), 3), "it ends");
    for platform in [Platform::WhatsappTwilio, Platform::Slack, Platform::Webhook] {
        let (got, asked) = fetched(platform, "https://elsewhere.example/1", vec![on("https://there.example/")]).await;
        assert_eq!((got, asked.len()), (Err(MediaError::Gone), 1), "nobody else is followed");
    }
}

#[tokio::test]
async fn telegrams_files_are_below_its_api_and_nowhere_else() {
    let of = |path: &str| Reply::Json(200, json!({"ok": true, "result": {"file_path": path}}).to_string());
    let fetch = async |replies: Vec<Reply>| {
        let peer = Peer::start(replies).await;
        let telegram = connector(Platform::Telegram, &peer.address.to_string());
        let got = telegram.fetch(&access(Platform::Telegram, Some(peer.url(""))), &file("AgAD")).await;
        let paths: Vec<String> = peer.requests().iter().map(|request| request.path().to_owned()).collect();
        (got, paths)
    };
    let (got, paths) = fetch(vec![of("photos/file_1.jpg"), raw(200, "", PNG)]).await;
    assert_eq!(got.map(|media| media.bytes), Ok(PNG.to_vec()));
    assert_eq!(paths, ["/bot123:ABC/getFile", "/file/bot123:ABC/photos/file_1.jpg"]);
    for path in ["../../other", "a//b", "/etc/passwd", "a?b", "a#b", "http://evil.example/", ""] {
        let (got, paths) = fetch(vec![of(path)]).await;
        assert_eq!((got, paths.len()), (Err(MediaError::Gone), 1), "{path}");
    }
    let large = json!({"ok": false, "error_code": 400, "description": "Bad Request: file is too big"});
    assert_eq!(fetch(vec![Reply::Json(400, large.to_string())]).await.0, Err(MediaError::TooLarge));
    let gone = json!({"ok": false, "error_code": 400, "description": "Bad Request: wrong file_id"});
    assert_eq!(fetch(vec![Reply::Json(400, gone.to_string())]).await.0, Err(MediaError::Gone));
    assert_eq!(fetch(vec![Reply::Json(500, "{}".into())]).await.0, Err(MediaError::TryAgain));
}

#[tokio::test]
async fn hostile_files_become_nothing_or_harmless() {
    let page = b"<!doctype html><script>alert(1)</script>";
    let inner = Peer::start([]).await;
    let moved = format!("location: {}\r\n", inner.url("/"));
    let announced = Reply::Raw(format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n", LIMIT + 1).into_bytes());
    let endless = Reply::Raw([b"HTTP/1.1 200 X\r\n\r\n".as_slice(), &vec![0_u8; LIMIT + 1]].concat());
    let cut_off = Reply::Raw(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\nonly this".to_vec());
    for (reply, expected) in [
        (raw(200, "content-type: image/png\r\n", page), Ok("text/plain")),
        (raw(200, "content-type: image/svg+xml\r\n", b"<svg onload='x'/>"), Ok("text/plain")),
        (raw(200, "content-type: text/html\r\n", PNG), Ok("image/png")),
        (endless, Err(MediaError::TooLarge)),
        (announced, Err(MediaError::TooLarge)),
        (cut_off, Err(MediaError::TryAgain)),
        (Reply::Reset, Err(MediaError::TryAgain)),
        (raw(302, &moved, b""), Err(MediaError::Gone)),
        (raw(404, "", b""), Err(MediaError::Gone)),
        (raw(503, "", b""), Err(MediaError::TryAgain)),
    ] {
        let shown = format!("{reply:?}").chars().take(80).collect::<String>();
        let peer = Peer::start([reply]).await;
        let webhook = connector(Platform::Webhook, &peer.address.to_string());
        let got = webhook.fetch(&access(Platform::Webhook, None), &file(&peer.url("/a.png"))).await;
        assert_eq!(got.map(|media| media.mime_type), expected.map(str::to_owned), "{shown}");
    }
    assert_eq!(inner.requests().len(), 0, "no redirect is followed");
    let webhook = connector(Platform::Webhook, "");
    for url in
        ["http://127.0.0.1/a", "https://10.0.0.1/a", "https://[::ffff:127.0.0.1]/", "http://a.example/", "file:///etc/passwd"]
    {
        let got = webhook.fetch(&access(Platform::Webhook, None), &file(url)).await;
        assert_eq!(got, Err(MediaError::NotAllowed), "{url}");
    }
}

fn link(url: &str, mime_type: &str) -> MediaLink {
    MediaLink { url: url.to_owned(), mime_type: mime_type.to_owned(), name: Some("bill.pdf".to_owned()) }
}

/// Text and addresses of each portion.
fn dealt(platform: Platform, text: &str, media: &[MediaLink]) -> Vec<(String, Vec<String>)> {
    let portions = connector(platform, "").portions(text, media).into_iter();
    portions.map(|portion| (portion.text, portion.media.into_iter().map(|link| link.url).collect())).collect()
}

#[tokio::test]
async fn each_platform_gets_as_many_files_and_words_as_it_takes() {
    let images = ["a", "b"].map(|name| link(&format!("https://f.example/{name}"), "image/png"));
    let one = |text: &str, urls: &[&str]| (text.to_owned(), urls.iter().map(|url| format!("https://f.example/{url}")).collect());
    for platform in [Platform::WhatsappTwilio, Platform::Whatsapp, Platform::Telegram] {
        assert_eq!(dealt(platform, "hi", &images), [one("hi", &["a"]), one("", &["b"])], "{platform}");
    }
    for platform in [Platform::SmsTwilio, Platform::Webhook] {
        assert_eq!(dealt(platform, "hi", &images), [one("hi", &["a", "b"])], "{platform}");
    }
    let shown = "hi\nhttps://f.example/a\nhttps://f.example/b";
    assert_eq!(dealt(Platform::Slack, "hi", &images), [one(shown, &[])]);
    let long = "x".repeat(1025);
    for platform in [Platform::Whatsapp, Platform::Telegram] {
        assert_eq!(dealt(platform, &long, &images[..1]), [one(&long, &[]), one("", &["a"])], "{platform}: a caption has a limit");
    }
    let voice = [link("https://f.example/v", "audio/ogg")];
    assert_eq!(dealt(Platform::Whatsapp, "hi", &voice), [one("hi", &[]), one("", &["v"])]);
    let table = [link("https://f.example/t", "text/csv"), images[0].clone()];
    assert_eq!(
        dealt(Platform::Telegram, "hi", &table),
        [one("hi\nhttps://f.example/t", &["a"])],
        "what it does not fetch is a link"
    );
}

#[tokio::test]
async fn files_go_out_in_each_platforms_words() {
    let with = |to: &str, text: &str, mime_type: &str| {
        let mut message = message(to, text);
        message.media = vec![link("https://f.example/a", mime_type)];
        message
    };
    let accepted = json!({"ok": true, "result": {"message_id": 7}}).to_string();
    for (mime_type, method, parameter) in [
        ("image/jpeg", "sendPhoto", "photo"),
        ("image/gif", "sendAnimation", "animation"),
        ("audio/ogg", "sendVoice", "voice"),
        ("audio/mpeg", "sendAudio", "audio"),
        ("video/mp4", "sendVideo", "video"),
        ("application/pdf", "sendDocument", "document"),
    ] {
        let reply = vec![Reply::Json(200, accepted.clone())];
        let (_, peer) = send(Platform::Telegram, "", &with("42", "a *b*", mime_type), reply).await;
        let request = &peer.requests()[0];
        assert_eq!(request.path(), format!("/bot123:ABC/{method}"));
        let expected = json!({"chat_id": 42, parameter: "https://f.example/a", "caption": "a <i>b</i>", "parse_mode": "HTML"});
        assert_eq!(request.json(), expected);
    }
    for (mime_type, expected) in [
        ("image/png", json!({"type": "image", "image": {"link": "https://f.example/a", "caption": "hi"}})),
        (
            "application/pdf",
            json!({"type": "document", "document": {"link": "https://f.example/a", "caption": "hi", "filename": "bill.pdf"}}),
        ),
    ] {
        let (_, peer) = send(Platform::Whatsapp, "", &with("+1", "hi", mime_type), Vec::new()).await;
        let body = peer.requests()[0].json();
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(&body[name], value, "{mime_type}");
        }
    }
    let (outcome, peer) = send(Platform::Whatsapp, "", &with("+1", "hi", "image/gif"), Vec::new()).await;
    let SendOutcome::Refused(RefusalKind::NotSupported, refusal) = outcome else { panic!("{outcome:?}") };
    assert_eq!((refusal.text.as_str(), peer.requests().len()), ("WhatsApp takes no files of type image/gif", 0));
    let (_, peer) = send(Platform::Webhook, "/", &with("c", "", "image/png"), Vec::new()).await;
    let attachment = json!({"url": "https://f.example/a", "mime_type": "image/png", "name": "bill.pdf"});
    assert_eq!(peer.requests()[0].json()["data"]["attachments"], json!([attachment]));
}

#[tokio::test]
async fn typing_is_shown_in_each_platforms_words_and_fails_silently() {
    let signs = async |platform: Platform, replies: Vec<Reply>| {
        let peer = Peer::start(replies).await;
        let connector = connector(platform, &peer.address.to_string());
        connector.typing(&access(platform, Some(peer.url(""))), "42", Some("wamid.9")).await;
        peer.requests().into_iter().map(|request| (request.path().to_owned(), request.json())).collect::<Vec<_>>()
    };
    let told = json!({"chat_id": 42, "action": "typing"});
    for reply in [Reply::Json(200, "{}".into()), Reply::Json(500, "{}".into()), Reply::Reset] {
        assert_eq!(signs(Platform::Telegram, vec![reply]).await, [("/bot123:ABC/sendChatAction".to_owned(), told.clone())]);
    }
    let read = json!({
        "messaging_product": "whatsapp", "status": "read", "message_id": "wamid.9", "typing_indicator": {"type": "text"},
    });
    assert_eq!(signs(Platform::Whatsapp, Vec::new()).await, [("/1065/messages".to_owned(), read)]);
    for platform in [Platform::SmsTwilio, Platform::Slack, Platform::Webhook] {
        assert_eq!(signs(platform, Vec::new()).await, [], "{platform}");
        assert_eq!(connector(platform, "").limits().typing, None, "{platform}");
    }
}
