//! Hostile HTTP (G3).

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::attacks_routes::{OPEN_ROUTES, ROUTES};
use crate::harness::{Setup, TestServer, new_chat, new_session};
use crate::harness_http::{Client, Connection, Request};
use crate::harness_luck::{Luck, rounds};
use crate::harness_process::Process;

/// No answer may take longer.
const SLOWEST: Duration = Duration::from_secs(1);
const HEADER_LIMIT: Duration = Duration::from_secs(15);
const DRIPPING: usize = 1000;

async fn with_conversations() -> (TestServer, String, String) {
    let server = Setup::new().start().await;
    let (chat, session) = (new_chat(&server.client()).await, new_session(&server.client()).await);
    (server, chat, session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s21_a_body_over_the_limit_is_refused_early() {
    let (server, chat, session) = with_conversations().await;
    let client = server.client();
    for route in ROUTES.iter().chain(OPEN_ROUTES).filter(|route| !route.body.is_empty() && !route.path.contains("approvals")) {
        let bare = Request::new(route.method, &route.target(&chat, &session)).header("Content-Type", "application/json");
        let announced = bare.clone().header("Content-Length", "1048577");
        assert_eq!(early_answer(&client, &announced, b"{").await, 413, "{route:?}: announced");
        let huge = bare.clone().header("Content-Length", "18446744073709551615");
        let status = early_answer(&client, &huge, b"{").await;
        assert!((400..500).contains(&status), "{route:?}: huge: {status}");
        let chunked = bare.header("Transfer-Encoding", "chunked");
        let mut chunks = Vec::new();
        for _ in 0..17 {
            chunks.extend(b"10000\r\n");
            chunks.extend(vec![b' '; 0x10000]);
            chunks.extend(b"\r\n");
        }
        assert_eq!(early_answer(&client, &chunked, &chunks).await, 413, "{route:?}: in chunks, without an end");
    }
    let title = "a".repeat(900);
    let padded = format!("{{\"title\":\"{title}\"}}{}", " ".repeat(1024 * 1024 - title.len() - 12));
    client.send(Request::new("POST", "/api/chats").bytes("application/json", padded.as_bytes())).await.expect(201);
}

/// The status of an answer that comes although the body is not whole.
async fn early_answer(client: &Client, request: &Request, body: &[u8]) -> u16 {
    let mut connection = client.connect().await;
    connection.write(&request.encode(&client.host())).await;
    connection.write(body).await;
    connection.head().await.expect("an answer").status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s22_heads_that_never_end_are_cut_off_and_block_nobody() {
    let server = Process::start(Setup::new()).await;
    let began = Instant::now();
    let mut drips = Vec::with_capacity(DRIPPING);
    for _ in 0..DRIPPING {
        drips.push(tokio::spawn(drip(server.client().connect().await)));
    }
    let mut slowest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(5) {
        let asked = Instant::now();
        server.client().send(Request::get("/health")).await.expect(200);
        slowest = slowest.max(asked.elapsed());
        sleep(Duration::from_millis(50)).await;
    }
    assert!(slowest < SLOWEST, "an honest request took {slowest:?}");
    for drip in drips {
        let lived = drip.await.expect("no panic");
        assert!(lived < HEADER_LIMIT, "a dripping connection lived for {lived:?}");
    }
}

/// Sends a head with one byte a second until the server has had enough of it, and says when that was.
async fn drip(mut connection: Connection) -> Duration {
    let began = Instant::now();
    for byte in b"GET /health HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaa" {
        connection.write(&[*byte]).await;
        if connection.closes_within(Duration::from_secs(1)).await {
            break;
        }
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s23_a_request_whose_end_is_doubtful_is_refused_and_closes() {
    let (server, chat, _) = with_conversations().await;
    let client = server.client();
    let host = client.host();
    let smuggled = format!("DELETE /api/chats/{chat} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for lengths in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "transfer-encoding:chunked\r\nX: y\r\ncontent-length:0",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length : 5",
        "Transfer-Encoding: identity, chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding : chunked",
        "Content-Length: 5\r\n Transfer-Encoding: chunked",
    ] {
        let request =
            format!("POST /api/chats HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{lengths}\r\n\r\n0\r\n\r\n");
        for before in [String::new(), format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n")] {
            let mut connection = client.connect().await;
            connection.write(format!("{before}{request}{smuggled}").as_bytes()).await;
            let everything = timeout(Duration::from_secs(5), rest_of(&mut connection)).await;
            let everything = everything.unwrap_or_else(|_| panic!("{lengths:?}: the connection stays open"));
            let statuses: Vec<_> =
                everything.match_indices("HTTP/1.1 ").map(|(at, _)| everything[at + 9..at + 12].to_owned()).collect();
            let expected: Vec<_> = if before.is_empty() { vec!["400"] } else { vec!["200", "400"] };
            assert_eq!(statuses, expected, "{lengths:?}: {everything}");
        }
    }
    client.send(Request::get(&format!("/api/chats/{chat}"))).await.expect(200);
}

async fn rest_of(connection: &mut Connection) -> String {
    let mut bytes = Vec::new();
    while let Some(byte) = connection.exactly(1).await {
        bytes.extend(byte);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s24_a_path_that_means_another_one_leads_nowhere() {
    let (server, ..) = with_conversations().await;
    for up in [
        "..%2f..%2f",
        "../../",
        "%2e%2e/%2e%2e/",
        "..%5c..%5c",
        "..\\..\\",
        "..%252f..%252f",
        "..;/..;/",
        "%c0%ae%c0%ae/",
        "....//",
    ] {
        for start in ["/", "/assets/", "/api/", "/api/chats/", "/api/sessions/", "/api/providers/", "/ws/"] {
            for end in ["etc/passwd", "Cargo.toml", "data/token", "api/chats"] {
                for accept in ["*/*", "text/html"] {
                    let target = format!("{start}{up}{end}");
                    let answer = server.client().send(Request::get(&target).header("Accept", accept)).await;
                    let text = answer.text();
                    assert!([400, 404].contains(&answer.status()), "{target}: {} {text}", answer.status());
                    assert!(!text.contains("root:") && !text.contains(&server.token) && !text.contains("[package]"), "{target}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s25_what_is_no_id_is_not_found() {
    let (server, chat, session) = with_conversations().await;
    let odd = [
        "nope",
        "1",
        "0",
        "-1",
        "%20",
        "%00",
        "%ff",
        "null",
        "undefined",
        "00000000-0000-0000-0000-000000000000",
        "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5",
        "{0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b}",
        "urn:uuid:0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
        "'%20OR%201=1--",
        "%F0%9F%A6%86",
        "..",
        "a%2Fb",
    ];
    let long = "a".repeat(8000);
    for route in ROUTES.iter().filter(|route| route.path.contains('{')) {
        for id in odd.into_iter().chain([long.as_str()]) {
            let answer = server.client().send(route.request(id, id)).await;
            assert_eq!(answer.status(), 404, "{route:?} {id}: {}", answer.text());
            assert_eq!(answer.json()["code"], "not_found", "{route:?} {id}");
        }
    }
    let pages = [format!("/api/chats/{chat}/messages"), format!("/api/sessions/{session}/messages")];
    for path in pages.iter().map(String::as_str).chain(["/api/chats", "/api/sessions"]) {
        for id in odd {
            let status = server.client().send(Request::get(&format!("{path}?before={id}"))).await.status();
            assert!((400..500).contains(&status), "{path}?before={id}: {status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s26_nul_is_refused_wherever_text_is_taken() {
    let (server, chat, session) = with_conversations().await;
    let client = server.client();
    for route in ROUTES.iter().chain(OPEN_ROUTES).filter(|route| !route.body.is_empty() && !route.path.contains("approvals")) {
        let body = route.json();
        for field in body.as_object().expect("an object").iter().filter(|(_, value)| value.is_string()).map(|(name, _)| name) {
            // A word from a closed list is a wrong word first.
            if ["mode", "whenBusy"].contains(&field.as_str()) {
                continue;
            }
            let mut body = body.clone();
            body[field] = json!("a\u{0}b");
            let answer = client.send(Request::new(route.method, &route.target(&chat, &session)).json(&body)).await;
            assert_eq!(answer.status(), 422, "{route:?} {field}: {}", answer.text());
            assert_eq!(answer.json()["code"], "invalid_text", "{route:?} {field}");
        }
    }
    for (path, field) in [("/api/sessions", "workingDirectory"), ("/api/sessions", "provider"), ("/api/sessions", "apiKey")] {
        let answer = client.send(Request::post(path, &json!({field: "a\u{0}b"}))).await;
        assert_eq!((answer.status(), answer.json()["code"].clone()), (422, json!("invalid_text")), "{field}");
    }
    let import = |text: &str, id: &str, path: &str| {
        json!({"version": 1, "session": {"title": "T"}, "messages": [{"role": "assistant", "parts": [
            {"type": "text", "content": {"text": text}},
            {"type": "tool_use", "content": {"id": id, "name": "read_file", "input": {"path": path}}},
        ]}]})
    };
    for body in [import("\u{0}", "t", "a"), import("a", "\u{0}", "a"), import("a", "t", "\u{0}")] {
        let answer = client.send(Request::post("/api/sessions/import", &body)).await;
        assert_eq!((answer.status(), answer.json()["code"].clone()), (422, json!("invalid_text")), "{body}");
    }
    for path in ["/api/chats?q=a%00b", "/api/sessions?q=a%00b", "/api/sessions/search?q=a%00b"] {
        let answer = client.send(Request::get(path)).await;
        assert_eq!((answer.status(), answer.json()["code"].clone()), (422, json!("invalid_text")), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_that_a_path_does_not_have_are_refused_in_its_words() {
    let (server, chat, session) = with_conversations().await;
    let known = |path: &str, method: &str| {
        let mut all = ROUTES.iter().chain(OPEN_ROUTES);
        all.any(|route| {
            route.target(&chat, &session) == path && (route.method == method || method == "HEAD" && route.method == "GET")
        })
    };
    for route in ROUTES.iter().chain(OPEN_ROUTES) {
        let path = route.target(&chat, &session);
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "X"] {
            if known(&path, method) && method != "HEAD" {
                continue;
            }
            // An endless answer has no end; its head is enough.
            let (head, mut body) = server.client().open(Request::new(method, &path)).await;
            if known(&path, method) {
                assert!(head.status < 400, "{method} {path}: {}", head.status);
                assert_eq!(timeout(SLOWEST, body.rest()).await.expect("an end"), b"", "{method} {path}");
                continue;
            }
            assert!((400..500).contains(&head.status), "{method} {path}: {}", head.status);
            let text = String::from_utf8(timeout(SLOWEST, body.rest()).await.expect("an end")).expect("UTF-8");
            if method == "HEAD" {
                assert_eq!(text, "", "{method} {path}");
            } else if head.status == 405 && path.starts_with("/api/chats") {
                assert_eq!(text, r#"{"detail":"Method Not Allowed","code":"method_not_allowed"}"#, "{method} {path}");
            } else if head.status == 405 && path.starts_with("/api/sessions") {
                assert_eq!(text, r#"{"error":"Method not allowed","code":"method_not_allowed"}"#, "{method} {path}");
            }
            assert!(head.status == 405 || method == "CONNECT", "{method} {path}: {} {text}", head.status);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_targets_get_an_answer_and_do_no_harm() {
    let (server, chat, session) = with_conversations().await;
    let client = server.client();
    let mut luck = Luck::new(24);
    let known: Vec<String> = ROUTES.iter().map(|route| route.target(&chat, &session)).collect();
    let pieces = [
        "/",
        "//",
        "..",
        "%2f",
        "%2e",
        "%00",
        "%",
        "%zz",
        "?",
        "&",
        "=",
        "#",
        ";",
        "a",
        "\u{1F986}",
        "limit=",
        "before=",
        "since=",
        "~",
    ];
    for round in 0..rounds(1500) {
        let mut target = if luck.one_in(3) { "/".to_owned() } else { known[luck.below(known.len())].clone() };
        for _ in 0..luck.below(6) {
            let at = luck.below(target.chars().count());
            let at = target.char_indices().nth(at).map_or(target.len(), |(at, _)| at).max(1);
            target.insert_str(at, luck.of(&pieces));
        }
        let mut head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", client.host()).into_bytes();
        if luck.one_in(4) {
            // Anywhere within the target, but not a byte that ends it.
            let at = 5 + luck.below(target.len().saturating_sub(1));
            head[at] = luck.byte() | 0x80;
        }
        let began = Instant::now();
        let mut connection = client.connect().await;
        connection.write(&head).await;
        let shown = String::from_utf8_lossy(&head).into_owned();
        let answer = timeout(SLOWEST, connection.head()).await.unwrap_or_else(|_| panic!("round {round}: {shown}"));
        let status = answer.unwrap_or_else(|| panic!("round {round}: no answer to {shown}")).status;
        assert!(status < 500, "round {round}: {status} to {shown}");
        assert!(began.elapsed() < SLOWEST, "round {round}: {shown}");
    }
    client.send(Request::get(&format!("/api/chats/{chat}"))).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_queries_get_an_answer_and_do_no_harm() {
    let (server, chat, session) = with_conversations().await;
    let client = server.client();
    let long = "9".repeat(4000);
    let odd = [
        "",
        "0",
        "-1",
        "+5",
        "1e3",
        "0x10",
        "1.5",
        "99999999999999999999",
        "x",
        "%00",
        "%",
        "%zz",
        "%ff",
        "%F0%9F%A6%86",
        "１",
        " 5 ",
        "1&limit=2",
        "null",
        "true",
        "[]",
        "..",
        "'%20OR%201=1--",
        "\"",
        "*",
        "a%20AND%20(",
        long.as_str(),
    ];
    for route in ROUTES.iter().filter(|route| !route.is_unsafe()) {
        for name in ["limit", "before", "since", "q", "format", "include", "session", "status", "limit%00"] {
            for value in odd {
                let path = route.target(&chat, &session);
                let glue = if path.contains('?') { '&' } else { '?' };
                let target = format!("{path}{glue}{name}={}", value.replace(' ', "%20").replace('"', "%22"));
                let began = Instant::now();
                let (head, _) = client.open(Request::get(&target)).await;
                assert!(head.status < 500, "{target}: {}", head.status);
                assert!(began.elapsed() < SLOWEST, "{target}: {:?}", began.elapsed());
            }
        }
    }
    for (path, limit) in [("/api/chats", 500), ("/api/sessions", 500), (&format!("/api/chats/{chat}/messages"), 1000)] {
        for (value, status) in [(1, 200), (limit, 200), (0, 422), (limit + 1, 422)] {
            let answer = client.send(Request::get(&format!("{path}?limit={value}"))).await;
            assert_eq!(answer.status(), status, "{path}?limit={value}");
        }
    }
}
