use std::collections::HashMap;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use channels::egress::{GuardedClient, Resolve, SystemResolver};
use domain::egress::{AddressNotAllowed, ChosenBy, EgressRules};
use domain::sockets::egress::{Call, CallError, Egress, Method, Resolution};

use crate::peer::{Peer, Reply};

const REFUSED: CallError = CallError::NotAllowed(AddressNotAllowed);

/// Names and, in turn, what they stand for; the last one stays.
#[derive(Debug, Default)]
struct Names {
    table: Mutex<HashMap<&'static str, Vec<Vec<IpAddr>>>>,
    asked: AtomicUsize,
}

impl Names {
    fn of(entries: &[(&'static str, &[&[&str]])]) -> Arc<Self> {
        let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect();
        let table = entries.iter().map(|(name, turns)| (*name, turns.iter().map(|texts| ips(texts)).collect())).collect();
        Arc::new(Self { table: Mutex::new(table), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut table = self.table.lock().expect("names");
        let turns = table.get_mut(name).ok_or(std::io::ErrorKind::NotFound)?;
        Ok(if turns.len() > 1 { turns.remove(0) } else { turns[0].clone() })
    }
}

fn guarded(allow: &str, resolver: Arc<dyn Resolve>) -> GuardedClient {
    GuardedClient::new(EgressRules::new(allow.parse().expect("a list"), Vec::new()), resolver).expect("a client")
}

fn client_for(peer: &Peer) -> GuardedClient {
    guarded(&peer.address.to_string(), Arc::new(SystemResolver))
}

fn get(url: impl Into<String>) -> Call {
    Call::new(Method::Get, url, ChosenBy::Other, Duration::from_secs(20))
}

#[tokio::test]
async fn an_allowed_address_is_called_and_answers() {
    let peer = Peer::start([Reply::Json(418, r#"{"a":1}"#.into())]).await;
    let call = Call::new(Method::Post, peer.url("/hook?x=1"), ChosenBy::Other, Duration::from_secs(20))
        .header("x-own", "yes")
        .body("application/json", r#"{"b":2}"#);
    let answer = client_for(&peer).call(call).await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_slice()), (418, br#"{"a":1}"#.as_slice()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let [request] = &peer.requests()[..] else { panic!("one request") };
    assert_eq!(request.line, "POST /hook?x=1 HTTP/1.1");
    assert_eq!(
        (request.header("x-own"), request.header("accept-encoding"), request.text().as_str()),
        ("yes", "identity", r#"{"b":2}"#)
    );
    assert!(request.header("user-agent").starts_with("colloquy/"));
}

#[tokio::test]
async fn what_the_rules_refuse_is_refused_before_anything_is_sent() {
    let peer = Peer::start([]).await;
    let client = guarded("", Arc::new(SystemResolver));
    let port = peer.address.port();
    for url in [
        peer.url("/"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("https://0x7f.1:{port}/"),
        format!("https://localhost.:{port}/"),
        "http://169.254.169.254/latest/".into(),
        "https://[fd00::1]/".into(),
        "https://user@host/".into(),
        "file:///etc/passwd".into(),
        "gopher://x/".into(),
    ] {
        assert_eq!(client.call(get(&url)).await, Err(REFUSED), "{url}");
        assert_eq!(client.check(&url, ChosenBy::Admin).await, Err(AddressNotAllowed), "{url}");
    }
    assert!(peer.requests().is_empty());
}

#[tokio::test]
async fn a_name_with_one_private_address_is_refused_and_one_without_any_is_kept_with_a_warning() {
    let names = Names::of(&[("two.example", &[&["93.184.216.34", "127.0.0.1"]]), ("fine.example", &[&["93.184.216.34"]])]);
    let client = guarded("", names);
    assert_eq!(client.call(get("https://two.example/")).await, Err(REFUSED));
    assert_eq!(client.check("https://two.example/", ChosenBy::Admin).await, Err(AddressNotAllowed));
    assert_eq!(client.check("https://fine.example/", ChosenBy::Admin).await, Ok(Resolution::Resolved));
    assert_eq!(client.check("https://none.example/", ChosenBy::Admin).await, Ok(Resolution::Unresolved));
    assert_eq!(client.call(get("https://none.example/")).await, Err(CallError::Unreachable));
}

/// A name that is public when it is looked at and private when it is called: the rebinding attack.
#[tokio::test]
async fn a_name_is_resolved_once_for_each_call_and_checked_each_time() {
    let names = Names::of(&[("turns.example", &[&["93.184.216.34"], &["127.0.0.1"]])]);
    let client = guarded("", names.clone());
    assert_eq!(client.check("https://turns.example/", ChosenBy::Admin).await, Ok(Resolution::Resolved));
    assert_eq!(client.call(get("https://turns.example/")).await, Err(REFUSED));
    assert_eq!(names.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_checked_under_the_original_name() {
    let peer = Peer::start([]).await;
    let names = Names::of(&[("agent.example", &[&["127.0.0.1"], &["127.0.0.1"], &["192.0.2.1"]])]);
    let authority = format!("agent.example:{}", peer.address.port());
    let client = guarded(&authority, names.clone());
    for _ in 0..2 {
        assert!(client.call(get(format!("http://{authority}/"))).await.expect("an answer").is_success());
    }
    assert_eq!(names.asked.load(Ordering::SeqCst), 2, "once for each call");
    assert!(peer.requests().iter().all(|request| request.header("host") == authority));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_no_second_request() {
    let inner = Peer::start([]).await;
    for status in [301, 302, 303, 307, 308] {
        let head = format!("HTTP/1.1 {status} X\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", inner.url("/secret"));
        let peer = Peer::start([Reply::Raw(head.into_bytes())]).await;
        let client = guarded(&format!("{},{}", peer.address, inner.address), Arc::new(SystemResolver));
        assert_eq!(client.call(get(peer.url("/"))).await.expect("an answer").status, status);
    }
    assert!(inner.requests().is_empty());
}

#[tokio::test]
async fn an_answer_is_bounded_in_size() {
    let large = |chunked: bool| {
        let body = vec![b'x'; 5 * 1024 * 1024];
        let head = match chunked {
            false => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()),
            true => format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len()),
        };
        Reply::Raw([head.into_bytes(), body].concat())
    };
    let headers = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", format!("a: {}\r\n", "x".repeat(7000)).repeat(10));
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(200_000));
    for (reply, expected) in [
        (large(false), CallError::TooLarge),
        (large(true), CallError::TooLarge),
        (Reply::Raw(headers.into_bytes()), CallError::TooLarge),
        (Reply::Raw(endless.into_bytes()), CallError::NoAnswer),
    ] {
        let peer = Peer::start([reply]).await;
        assert_eq!(client_for(&peer).call(get(peer.url("/"))).await, Err(expected));
    }
}

/// Whether a request may have had its effect decides whether it may be repeated.
#[tokio::test]
async fn what_was_not_sent_is_told_from_what_was_not_answered() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec();
    for reply in [Reply::Reset, Reply::Raw(cut), Reply::Hang, Reply::Raw(b"nonsense\r\n\r\n".to_vec())] {
        let peer = Peer::start([reply.clone()]).await;
        let mut call = get(peer.url("/"));
        call.timeout = Duration::from_secs(2);
        assert_eq!(client_for(&peer).call(call).await, Err(CallError::NoAnswer), "{reply:?}");
        assert_eq!(peer.requests().len(), 1, "{reply:?} is not repeated");
    }
    let gone = Peer::start([]).await.address;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let client = guarded(&gone.to_string(), Arc::new(SystemResolver));
    assert_eq!(client.call(get(format!("http://{gone}/"))).await, Err(CallError::Unreachable));
}

#[tokio::test]
async fn at_most_eight_calls_go_to_one_host_at_once() {
    let peer = Peer::start(vec![Reply::Late(Duration::from_millis(300)); 20]).await;
    let client = Arc::new(client_for(&peer));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let (client, call) = (Arc::clone(&client), get(peer.url("/")));
                async move { client.call(call).await }
            })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic").expect("an answer");
    }
    assert_eq!((peer.requests().len(), peer.most_open()), (20, 8));
}

/// A host that takes all its places must not hold a caller longer than the caller's own time, and has then been sent nothing.
#[tokio::test]
async fn waiting_for_a_place_counts_as_not_sent() {
    let peer = Peer::start(vec![Reply::Hang; 8]).await;
    let client = Arc::new(client_for(&peer));
    let hanging: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn({
                let (client, call) = (Arc::clone(&client), get(peer.url("/")));
                async move { client.call(call).await }
            })
        })
        .collect();
    let since = Instant::now();
    while peer.requests().len() < 8 && since.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut call = get(peer.url("/"));
    call.timeout = Duration::from_millis(300);
    assert_eq!(client.call(call).await, Err(CallError::Unreachable));
    assert_eq!(peer.requests().len(), 8);
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Runs itself with a proxy in the environment that nobody listens on.
#[test]
fn proxies_of_the_environment_are_ignored() {
    let mut again = Command::new(std::env::current_exe().expect("this program"));
    again.args(["egress::an_allowed_address_is_called_and_answers", "--exact"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(name, "http://127.0.0.1:9");
    }
    let output = again.env_remove("no_proxy").env_remove("NO_PROXY").output().expect("a run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
