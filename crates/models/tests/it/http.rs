//! Real connections: what is sent, and what every kind of failure becomes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::sockets::language_model::{ModelErrorKind, ModelEvent, StopReason};
use domain::{Clock, Provider, Timestamp, Usage};
use futures_util::StreamExt;
use models::anthropic::{Anthropic, AnthropicConfig, Prices};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::{Answer, collect, fixture, prompt, said, text, user};

const KEY: &str = "sk-ant-test-0123456789";
/// Long enough for a busy machine, short enough to wait for.
const IDLE_TIMEOUT: Duration = Duration::from_millis(600);
const NOW: Timestamp = Timestamp(1_795_000_000_000);
pub const OK_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

#[derive(Debug)]
pub struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// What the server does with a connection, once it has read the request.
#[derive(Clone)]
pub enum Act {
    Send(Vec<u8>),
    Wait(Duration),
    /// Waits until the client is gone, and tells so.
    WaitForTheEnd,
    /// Ends the connection with a TCP reset.
    Reset,
}

pub struct Server {
    pub address: String,
    /// Head and body of every request, as they came.
    pub requests: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
    /// One message for each connection whose client went away.
    gone: mpsc::UnboundedReceiver<()>,
}

pub async fn serve(acts: Vec<Act>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (seen, requests) = mpsc::unbounded_channel();
    let (left, gone) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = seen.send(read_request(&mut stream).await);
            tokio::spawn(play(stream, acts.clone(), left.clone()));
        }
    });
    Server { address, requests, gone }
}

async fn read_request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = header(&head, "content-length").map_or(0, |length| length.parse().expect("a number"));
            let mut body = bytes.split_off(end + 4);
            while body.len() < length {
                assert_ne!(stream.read_buf(&mut body).await.expect("the client writes"), 0);
            }
            return (head, body);
        }
        assert_ne!(stream.read_buf(&mut bytes).await.expect("the client writes"), 0);
    }
}

async fn play(mut stream: TcpStream, acts: Vec<Act>, left: mpsc::UnboundedSender<()>) {
    for act in acts {
        match act {
            Act::Send(bytes) => stream.write_all(&bytes).await.expect("the client reads"),
            Act::Wait(pause) => tokio::time::sleep(pause).await,
            Act::WaitForTheEnd => {
                while stream.read(&mut [0; 64]).await.unwrap_or(0) > 0 {}
                let _ = left.send(());
            }
            Act::Reset => stream.set_zero_linger().expect("the socket is open"),
        }
    }
}

pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(": ")).find_map(|(key, value)| (key == name).then_some(value))
}

fn config(address: &str) -> AnthropicConfig {
    AnthropicConfig {
        api_key: Some(KEY.to_owned()),
        base_url: address.to_owned(),
        idle_timeout: IDLE_TIMEOUT,
        connect_timeout: Duration::from_secs(2),
        ..AnthropicConfig::default()
    }
}

fn provider(config: AnthropicConfig) -> Anthropic {
    Anthropic::new(config, Arc::new(StoppedClock)).expect("the settings are sound")
}

async fn ask(config: AnthropicConfig) -> Answer {
    let model = provider(config).model("model-under-test").expect("the list is open");
    match model.ask(prompt(vec![user(&[text("Hi.")])])).await {
        Ok(stream) => collect(stream).await,
        Err(error) => (Vec::new(), Some(error)),
    }
}

/// A response whose end is the end of the connection.
fn closing(body: &[u8]) -> Act {
    Act::Send([OK_HEAD.as_bytes(), b"connection: close\r\n\r\n", body].concat())
}

/// The beginning of a response whose end would be marked.
fn chunked(body: &[u8]) -> Act {
    let size = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len());
    Act::Send([OK_HEAD.as_bytes(), size.as_bytes(), body, b"\r\n"].concat())
}

#[tokio::test]
async fn a_request_carries_key_version_and_body() {
    let mut server = serve(vec![closing(&fixture("text"))]).await;
    let betas = vec!["one-2026".to_owned(), "two-2026".to_owned()];
    let (events, error) = ask(AnthropicConfig { betas, ..config(&format!("{}/proxy/v1/", server.address)) }).await;
    assert_eq!(error, None);
    assert_eq!(said(&events), "Hello wörld, € 😀\nand \"quotes\".");
    assert_eq!(events.last(), Some(&ModelEvent::Finished(StopReason::EndTurn)));
    let (head, body) = server.requests.recv().await.expect("a request came");
    assert!(head.starts_with("POST /proxy/v1/messages HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("x-api-key", KEY),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "one-2026,two-2026"),
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
    ] {
        assert_eq!(header(&head, name), Some(value), "{name}");
    }
    assert_eq!(header(&head, "accept-encoding"), None);
    let body: Value = serde_json::from_slice(&body).expect("the body is JSON");
    assert_eq!((&body["model"], &body["stream"]), (&json!("model-under-test"), &json!(true)));
    assert_eq!(body["messages"][0]["content"][0]["text"], "Hi.");
}

#[tokio::test]
async fn a_refusal_tells_kind_and_advice_and_nothing_of_the_vendors_words() {
    use ModelErrorKind::{Auth, RateLimited, Rejected, Unavailable};
    for (status, error_type, headers, kind, retryable, wait) in [
        (400, "invalid_request_error", "", Rejected, false, None),
        (401, "authentication_error", "", Auth, false, None),
        (403, "permission_error", "", Auth, false, None),
        (404, "not_found_error", "", Rejected, false, None),
        (429, "rate_limit_error", "retry-after: 3\r\n", RateLimited, true, Some(3_000)),
        (429, "rate_limit_error", "retry-after: Wed, 18 Nov 2026 11:06:50 GMT\r\n", RateLimited, true, Some(10_000)),
        (429, "rate_limit_error", "x-should-retry: false\r\n", RateLimited, false, None),
        (500, "api_error", "", Unavailable, true, None),
        (529, "overloaded_error", "retry-after-ms: 750\r\nretry-after: 9\r\n", Unavailable, true, Some(750)),
        (400, "overloaded_error", "x-should-retry: true\r\n", Unavailable, true, None),
        (502, "<html>", "", Unavailable, true, None),
        (307, "<html>", "location: http://127.0.0.1:1/\r\n", Rejected, false, None),
    ] {
        let body = json!({"type": "error", "error": {"type": error_type, "message": "key sk-secret at /srv/x"}}).to_string();
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
        let server = serve(vec![Act::Send([head, body].concat().into_bytes())]).await;
        let error = ask(config(&server.address)).await.1.expect("it was refused");
        assert_eq!((error.kind, error.retryable, error.retry_after_ms), (kind, retryable, wait), "{status} {headers}");
        assert!(error.sentence.starts_with(&format!("Anthropic answered {status}: ")), "{}", error.sentence);
        assert!(!error.sentence.contains("secret") && !error.sentence.contains('/'), "{}", error.sentence);
    }
}

#[tokio::test]
async fn a_body_that_never_comes_does_not_hide_the_status() {
    let head = b"HTTP/1.1 429 X\r\ncontent-length: 100\r\nretry-after: 1\r\n\r\n".to_vec();
    let server = serve(vec![Act::Send(head), Act::WaitForTheEnd]).await;
    let error = ask(config(&server.address)).await.1.expect("it was refused");
    assert_eq!((error.kind, error.retry_after_ms), (ModelErrorKind::RateLimited, Some(1_000)));
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_by_what_was_seen() {
    use ModelErrorKind::{Truncated, Unavailable};
    for (acts, kind, spoken) in [
        (vec![closing(&fixture("cut_in_text"))], Truncated, "First.Sec"),
        (vec![closing(&fixture("cut_before_text"))], Unavailable, ""),
        (vec![closing(b"")], Unavailable, ""),
        // The end was to be marked and is not: that is a broken connection, not an ended answer.
        (vec![chunked(&fixture("cut_in_text"))], Unavailable, "First.Sec"),
        (vec![chunked(&fixture("cut_in_text")), Act::Wait(Duration::from_millis(50)), Act::Reset], Unavailable, "First.Sec"),
        (vec![Act::Reset], Unavailable, ""),
        (vec![Act::Send(b"HTTP/1.1 200".to_vec())], Unavailable, ""),
    ] {
        let server = serve(acts).await;
        let (events, error) = ask(config(&server.address)).await;
        let error = error.expect("it broke");
        assert_eq!((error.kind, error.retryable, said(&events).as_str()), (kind, true, spoken), "{}", error.sentence);
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    drop(listener);
    let error = ask(config(&address)).await.1.expect("nobody is there");
    assert_eq!((error.kind, error.retryable), (ModelErrorKind::Unavailable, true));
    assert_eq!(error.sentence, "Anthropic could not be reached.");
}

#[tokio::test]
async fn silence_is_a_broken_connection_and_pings_are_not_silence() {
    for acts in [vec![Act::WaitForTheEnd], vec![chunked(&fixture("cut_in_text")), Act::WaitForTheEnd]] {
        let mut server = serve(acts).await;
        let began = Instant::now();
        let error = ask(config(&server.address)).await.1.expect("it was silent");
        assert_eq!((error.kind, error.retryable), (ModelErrorKind::Unavailable, true));
        assert!(error.sentence.contains("silent"), "{}", error.sentence);
        assert!(began.elapsed() >= IDLE_TIMEOUT && began.elapsed() < IDLE_TIMEOUT * 10);
        server.gone.recv().await.expect("the connection is closed");
    }
    let mut acts = vec![closing(b"")];
    for _ in 0..5 {
        acts.extend([Act::Wait(IDLE_TIMEOUT / 4), Act::Send(b": ping\n\n".to_vec())]);
    }
    acts.push(Act::Send(fixture("text")));
    let server = serve(acts).await;
    assert_eq!(ask(config(&server.address)).await.1, None);
}

#[tokio::test]
async fn an_answer_that_has_its_stop_reason_does_not_wait_for_the_end() {
    for last in [Act::WaitForTheEnd, Act::Reset] {
        let server = serve(vec![chunked(&fixture("no_message_stop")), Act::Wait(Duration::from_millis(50)), last]).await;
        let (events, error) = ask(config(&server.address)).await;
        assert_eq!((said(&events).as_str(), error), ("Whole.", None));
        assert_eq!(events.last(), Some(&ModelEvent::Finished(StopReason::EndTurn)));
    }
}

#[tokio::test]
async fn pieces_arrive_while_the_answer_is_written_and_dropping_it_hangs_up() {
    let mut server = serve(vec![chunked(&fixture("cut_in_text")), Act::WaitForTheEnd]).await;
    let patient = AnthropicConfig { idle_timeout: Duration::from_secs(60), ..config(&server.address) };
    let model = provider(patient).model("m").expect("the list is open");
    let mut stream = model.ask(prompt(vec![user(&[text("Hi.")])])).await.expect("it answers");
    let seen: Vec<_> = stream.by_ref().take(4).collect().await;
    assert!(matches!(seen.last(), Some(Ok(ModelEvent::Text(piece))) if piece == "Sec"), "{seen:?}");
    drop(stream);
    tokio::time::timeout(Duration::from_secs(5), server.gone.recv()).await.expect("the client hung up").expect("it tells");
}

#[tokio::test]
async fn models_and_keys_are_looked_up() {
    let list = json!({"data": [{"type": "model", "id": "a"}, {"id": "b"}, {"name": "no id"}], "has_more": false}).to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", list.len());
    let mut server = serve(vec![Act::Send([head, list].concat().into_bytes())]).await;
    let anthropic = provider(config(&server.address));
    assert_eq!(anthropic.live_models().await.expect("a list"), ["a", "b"]);
    let (head, _) = server.requests.recv().await.expect("a request came");
    assert!(head.starts_with("GET /v1/models?limit=1000 HTTP/1.1\r\n"), "{head}");
    anthropic.check_key("sk-other").await.expect("the key is taken");
    let (head, _) = server.requests.recv().await.expect("a request came");
    assert_eq!(header(&head, "x-api-key"), Some("sk-other"));
    let error = anthropic.check_key("line\nbreak").await.expect_err("no header can hold it");
    assert_eq!(error.kind, ModelErrorKind::Auth);

    let server = serve(vec![Act::Send(b"HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n".to_vec())]).await;
    let error = provider(config(&server.address)).check_key("sk-wrong").await.expect_err("the key is refused");
    assert_eq!(
        (error.kind, error.sentence.as_str()),
        (ModelErrorKind::Auth, "Anthropic answered 401: the API key is not valid.")
    );

    let server = serve(vec![closing(b"{}")]).await;
    provider(config(&server.address)).check_key("sk-other").await.expect("the key is taken");
    let error = provider(config(&server.address)).live_models().await.expect_err("that is no list");
    assert_eq!(error.kind, ModelErrorKind::Unavailable);
}

#[tokio::test]
async fn without_a_key_nothing_is_sent() {
    let mut server = serve(vec![closing(b"")]).await;
    let keyless = AnthropicConfig { api_key: None, ..config(&server.address) };
    assert!(!provider(keyless.clone()).is_configured());
    let error = ask(keyless).await.1.expect("there is no key");
    assert_eq!((error.kind, error.retryable), (ModelErrorKind::Auth, false));
    assert!(server.requests.try_recv().is_err());
}

#[test]
fn the_provider_shows_what_the_settings_say_but_never_the_key() {
    let prices = Prices { input: 1.0, output: 2.0, cache_read: 0.0, cache_write: 0.0 };
    let anthropic = provider(AnthropicConfig {
        default_model: Some("b".to_owned()),
        models: vec!["a".to_owned(), "b".to_owned()],
        prices: [("a".to_owned(), prices)].into(),
        ..config("https://user:secret@models.example/")
    });
    assert_eq!(anthropic.listed_models(), ["b", "a"]);
    assert_eq!(anthropic.masked_key().as_deref(), Some("***6789"));
    assert!(anthropic.is_configured() && !anthropic.list_is_closed());
    let shown = format!("{anthropic:?}");
    assert!(!shown.contains("secret") && !shown.contains("0123"), "{shown}");
    let usage = Usage { input: 1_000_000, output: 1_000_000, ..Usage::default() };
    let cost = |id| anthropic.model(id).expect("the list is open").cost(&usage);
    assert_eq!((cost("a"), cost("b")), (Some(3.0), None));
    assert_eq!(anthropic.model("x/y").expect("the list is open").name().to_string(), "anthropic/x/y");
}

#[tokio::test]
async fn without_a_named_model_the_provider_is_asked_for_one() {
    let list = json!({"data": [{"id": "newest"}, {"id": "older"}]}).to_string();
    for (listing, asked_for) in [(list.as_str(), "newest"), ("{}", "auto")] {
        let mut server = serve(vec![closing(listing.as_bytes())]).await;
        let anthropic = provider(config(&server.address));
        assert_eq!(anthropic.listed_models(), ["auto"]);
        let _ = anthropic.model("auto").expect("the list is open").ask(prompt(vec![user(&[text("Hi.")])])).await;
        let (head, _) = server.requests.recv().await.expect("the models are looked up");
        assert!(head.starts_with("GET /v1/models"), "{head}");
        let (head, body) = server.requests.recv().await.expect("the question came");
        assert!(head.starts_with("POST /v1/messages"), "{head}");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("it is JSON");
        assert_eq!(body["model"], asked_for);
    }
}
