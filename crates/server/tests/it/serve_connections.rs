//! What is refused, or cut off, before the router sees it.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::serve_kit::{Answer, PATIENCE, TestServer};

/// What the attack list allows for a head that never ends.
const HEADER_LIMIT: Duration = Duration::from_secs(15);
const DRIPPING: usize = 1000;

/// S22: a thousand connections that send a byte a second are closed in time, and meanwhile nobody waits for them.
#[tokio::test]
async fn slow_heads_are_cut_off_and_block_nobody() {
    let server = TestServer::start().await;
    let began = Instant::now();
    let mut drips = Vec::with_capacity(DRIPPING);
    for _ in 0..DRIPPING {
        drips.push(tokio::spawn(drip(server.connect().await)));
    }
    let mut slowest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(5) {
        let asked = Instant::now();
        assert_eq!(server.get("/health", "").await.status, 200);
        slowest = slowest.max(asked.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    assert!(slowest < Duration::from_secs(2), "an honest request took {slowest:?}");
    for drip in drips {
        let lived = drip.await.expect("no panic");
        assert!(lived < HEADER_LIMIT, "a dripping connection lived for {lived:?}");
    }
}

/// Sends a head byte by byte until the server has had enough of it, and says when that was.
async fn drip(mut stream: TcpStream) -> Duration {
    let began = Instant::now();
    let mut answer = [0; 64];
    for byte in b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa".iter().cycle() {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        if let Ok(Ok(0) | Err(_)) = timeout(Duration::from_secs(1), stream.read(&mut answer)).await {
            break;
        }
    }
    began.elapsed()
}

/// S23: whoever names the end of a request twice is told so, and the connection ends before anything behind it counts.
#[tokio::test]
async fn a_request_with_two_lengths_is_refused() {
    let server = TestServer::start().await;
    let smuggled = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for lengths in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "transfer-encoding:chunked\r\nX: y\r\ncontent-length:0",
    ] {
        let address = server.address();
        let request = format!("POST /api/sign-in HTTP/1.1\r\nHost: {address}\r\n{lengths}\r\n\r\n0\r\n\r\n{smuggled}");
        for request in [request.clone(), format!("GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n{request}")] {
            let mut stream = server.connect().await;
            stream.write_all(request.as_bytes()).await.expect("the request is sent");
            let mut bytes = Vec::new();
            let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection is closed");
            let text = String::from_utf8_lossy(&bytes);
            let statuses: Vec<_> = text.match_indices("HTTP/1.1 ").filter_map(|(at, _)| text.get(at + 9..at + 12)).collect();
            assert_eq!(statuses.last(), Some(&"400"), "{lengths}: {text}");
        }
    }
}

#[tokio::test]
async fn an_honest_chunked_request_is_served() {
    let server = TestServer::start().await;
    let body = format!("{{\"token\":\"{}\"}}", server.running.owner_token);
    let request = format!(
        "POST /api/sign-in HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        server.address(),
        body.len(),
    );
    assert_eq!(server.send(&request).await.status, 204, "the connection is closed, so this returns");
}

/// S21: a body over the limit is refused by its announced length, before it is sent.
#[tokio::test]
async fn a_body_over_the_limit_is_refused_early() {
    let server = TestServer::start().await;
    let token = &server.running.owner_token;
    let request = format!(
        "POST /api/chats HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n{{",
        server.address(),
    );
    let mut stream = server.connect().await;
    stream.write_all(request.as_bytes()).await.expect("the head is sent");
    let mut bytes = vec![0; 1024];
    let read = timeout(Duration::from_secs(5), stream.read(&mut bytes)).await.expect("an early answer").expect("an answer");
    assert_eq!(Answer::parse(&bytes[..read]).status, 413);
}

/// S24: a path that means another path leads nowhere.
#[tokio::test]
async fn encoded_parents_lead_nowhere() {
    let server = TestServer::start().await;
    let proof = format!("Authorization: Bearer {}\r\nAccept: text/html\r\n", server.running.owner_token);
    for path in [
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/../../etc/passwd",
        "/assets/..%2f..%2fCargo.toml",
        "/api/chats/..%2f..%2fetc",
        "/api/sessions/..%2f..%2fetc",
        "/c/..%5c..%5cetc",
    ] {
        assert_eq!(server.get(path, &proof).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let server = TestServer::start().await;
    let answer = server.get("/health", &format!("X-Long: {}\r\n", "a".repeat(40 * 1024))).await;
    assert_eq!(answer.status, 431);
    let many: String = (0..200).map(|number| format!("X-{number}: a\r\n")).collect();
    assert_eq!(server.get("/health", &many).await.status, 431);
}

/// S03: before anything else, and for the web app as well.
#[tokio::test]
async fn a_foreign_host_is_refused_everywhere() {
    let server = TestServer::start().await;
    for path in ["/", "/health", "/api/chats", "/favicon.svg"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: rebind.test:{}\r\nConnection: close\r\n\r\n", server.address().port());
        assert_eq!(server.send(&request).await.status, 421, "{path}");
    }
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = TestServer::start().await;
    let mut stream = server.connect().await;
    let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        let mut bytes = vec![0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut bytes)).await.expect("in time").expect("an answer");
        assert_eq!(Answer::parse(&bytes[..read]).status, 200);
    }
}
