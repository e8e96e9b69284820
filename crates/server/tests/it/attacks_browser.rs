//! Other web pages against the server on this machine (G1).

use serde_json::{Value, json};

use crate::attacks_routes::{OPEN_ROUTES, ROUTES, Route};
use crate::harness::{Setup, TestServer, new_chat, new_session};
use crate::harness_http::{Answer, Client, Request};
use crate::harness_ws::{Socket, upgrade};

const EVIL: &str = "http://evil.test";

async fn statuses_of_upgrade(client: &Client, headers: &[(&str, &str)]) -> u16 {
    let request = headers.iter().fold(upgrade("/ws"), |request, (name, value)| request.header(name, value));
    client.open(request).await.0.status
}

/// Everything that another page could have changed.
async fn state(server: &TestServer) -> Value {
    let owner = server.owner();
    let chats = owner.send(Request::get("/api/chats")).await.expect(200);
    let mut state = vec![chats.clone()];
    for chat in chats.as_array().expect("a list") {
        let path = format!("/api/chats/{}/messages", chat["id"].as_str().expect("an id"));
        state.push(owner.send(Request::get(&path)).await.expect(200));
    }
    Value::from(state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s01_a_post_from_another_origin_changes_nothing() {
    let server = Setup::with_sign_in().start().await;
    let (chat, session) = (new_chat(&server.owner()).await, new_session(&server.owner()).await);
    let browser = server.browser().await;
    let before = state(&server).await;
    for route in ROUTES.iter().chain(OPEN_ROUTES).filter(|route| route.is_unsafe()) {
        let answer = browser.send(route.request(&chat, &session).header("Origin", EVIL)).await;
        assert_eq!(answer.status(), 403, "{route:?}: {}", answer.text());
        assert_eq!(answer.json()["code"], "origin_forbidden", "{route:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{route:?}");
    }
    assert_eq!(state(&server).await, before);
    // The cookie itself is good, so it was the origin that was refused.
    browser.send(Request::get("/api/me")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s02_a_socket_from_another_origin_is_not_opened() {
    let server = Setup::with_sign_in().start().await;
    let browser = server.browser().await;
    assert_eq!(statuses_of_upgrade(&browser, &[]).await, 101);
    let (head, mut body) = browser.open(upgrade("/ws").header("Origin", EVIL)).await;
    assert_eq!(head.status, 403);
    let refusal: Value = serde_json::from_slice(&body.rest().await).expect("JSON");
    assert_eq!(refusal, json!({"detail": "Origin not allowed", "code": "origin_forbidden"}));
    // The token in the query does not help a page that has found it.
    let target = format!("/ws?token={}", server.token);
    let refused = Socket::open(&server.client(), &target, &[("Origin".to_owned(), EVIL.to_owned())]).await;
    assert_eq!(refused.err(), Some(403));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s03_a_foreign_host_is_refused_before_routing() {
    for server in [Setup::with_sign_in().start().await, Setup::new().start().await] {
        let port = server.address().port();
        let foreign = [
            format!("rebind.test:{port}"),
            "127.0.0.1".to_owned(),
            format!("127.0.0.1:{}", port ^ 1),
            format!("127.0.0.2:{port}"),
        ];
        let more = [format!("127.0.0.1:{port}.evil.test"), format!("evil.test@127.0.0.1:{port}"), String::new()];
        for host in foreign.iter().chain(&more) {
            for path in ["/", "/health", "/api/chats", "/api/nothing", "/favicon.svg", "/ws"] {
                for method in ["GET", "POST", "OPTIONS", "NONSENSE"] {
                    let request = Request::new(method, path).header("Host", host);
                    let answer = server.owner().send(request).await;
                    let refused = answer.status() == 421 || (answer.status() == 400 && host.is_empty());
                    assert!(refused, "{method} {path} {host:?}: {} {}", answer.status(), answer.text());
                }
            }
            let (head, _) = server.owner().open(upgrade("/ws").header("Host", host)).await;
            assert!(head.status == 421 || head.status == 400, "{host:?}: {}", head.status);
        }
        for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("LOCALHOST:{port}")] {
            server.owner().send(Request::get("/health").header("Host", &host)).await.expect(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s03_one_request_has_one_host() {
    let server = Setup::new().start().await;
    let host = server.address();
    for head in [
        "GET /health HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET /health HTTP/1.1\r\nHost: {host}\r\nHost: evil.test\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\nHost: evil.test\r\nHost: {host}\r\n\r\n"),
        format!("GET http://evil.test/health HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET http://{host}/health HTTP/1.1\r\nHost: evil.test\r\n\r\n"),
        "GET /health HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let mut connection = server.client().connect().await;
        connection.write(head.as_bytes()).await;
        let status = connection.head().await.expect("an answer").status;
        assert!(status == 421 || status == 400, "{head:?}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s04_json_must_be_called_json() {
    let server = Setup::new().start().await;
    let (chat, session) = (new_chat(&server.client()).await, new_session(&server.client()).await);
    let before = state(&server).await;
    // As long as there are no approvals, none is found before the body is looked at.
    let with_body = |route: &&Route| !route.body.is_empty() && !route.path.starts_with("/api/approvals");
    for route in ROUTES.iter().chain(OPEN_ROUTES).filter(with_body) {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", ""] {
            let request = Request::new(route.method, &route.target(&chat, &session)).bytes(kind, route.body.as_bytes());
            let answer = server.client().send(request).await;
            assert_eq!(answer.status(), 415, "{route:?} as {kind:?}: {}", answer.text());
            assert_eq!(answer.json()["code"], "unsupported_media_type", "{route:?}");
        }
        let mut unnamed = Request::new(route.method, &route.target(&chat, &session));
        unnamed.body = Some(route.body.as_bytes().to_vec());
        assert_eq!(server.client().send(unnamed).await.status(), 415, "{route:?} without a name");
    }
    assert_eq!(state(&server).await, before);
    let named = Request::new("POST", "/api/chats").bytes("application/json; charset=utf-8", b"{}");
    server.client().send(named).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s05_a_preflight_from_another_origin_gets_no_permission() {
    for server in [Setup::new().start().await, Setup::new().setting("COLLOQUY_ORIGINS", "http://good.test:3000").start().await] {
        for origin in
            [EVIL, "null", "http://good.test", "http://good.test:3001", "https://good.test:3000", "http://a.good.test:3000"]
        {
            for path in ["/api/chats", "/api/sessions", "/api/sign-in", "/ws", "/", "/nothing"] {
                let answer = preflight(&server.client(), path, origin).await;
                assert!(answer.status() >= 400, "{path} from {origin}: {}", answer.status());
                let allows =
                    answer.head.headers.iter().find(|(name, _)| name.to_ascii_lowercase().starts_with("access-control-allow"));
                assert_eq!(allows, None, "{path} from {origin}");
            }
        }
    }
}

async fn preflight(client: &Client, path: &str, origin: &str) -> Answer {
    let request = Request::new("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type");
    client.send(request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s06_without_a_proof_nothing_is_told() {
    let server = Setup::with_sign_in().start().await;
    let (chat, session) = (new_chat(&server.owner()).await, new_session(&server.owner()).await);
    let before = state(&server).await;
    let wrong = [
        None,
        Some(("Authorization", "Bearer clq_wrong".to_owned())),
        Some(("Authorization", "Bearer ".to_owned())),
        Some(("Authorization", format!("Basic {}", server.token))),
        Some(("Authorization", server.token.clone())),
        Some(("Authorization", format!("Bearer {} {}", server.token, server.token))),
        Some(("Cookie", format!("colloquy={}", server.token))),
        Some(("Cookie", "colloquy=".to_owned())),
        Some(("X-Forwarded-For", "127.0.0.1".to_owned())),
    ];
    for proof in &wrong {
        let client = proof.iter().fold(server.client(), |client, (name, value)| client.with(name, value));
        for route in ROUTES {
            let answer = client.send(route.request(&chat, &session)).await;
            assert_eq!(answer.status(), 401, "{route:?} with {proof:?}: {}", answer.text());
            assert_eq!(answer.json()["code"], "unauthenticated", "{route:?}");
        }
        for path in ["/api", "/api/", "/api/nothing", "/api/chats/x/y/z", "/api/sessions/x/y", "/api/sign-in/x", "/ws/x"] {
            assert_eq!(client.send(Request::get(path)).await.status(), 401, "{path} with {proof:?}");
        }
        for path in ["/ws", "/ws/"] {
            let (head, _) = client.open(upgrade(path)).await;
            assert_eq!(head.status, 401, "{path} with {proof:?}");
        }
    }
    assert_eq!(state(&server).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s07_nobody_frames_us() {
    let server = Setup::with_sign_in().start().await;
    let paths =
        ["/", "/some/page", "/health", "/api/chats", "/api/sessions", "/api/me", "/api/nothing", "/assets/none.js", "/ws"];
    for path in paths {
        for client in [server.client(), server.owner()] {
            for accept in ["text/html", "*/*"] {
                let answer = client.send(Request::get(path).header("Accept", accept)).await;
                let policy = answer.header("content-security-policy").unwrap_or_default();
                assert!(policy.contains("frame-ancestors 'none'"), "{path} {accept}: {policy:?}");
                assert!(policy.contains("default-src 'none'"), "{path} {accept}: {policy:?}");
                assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path} {accept}");
            }
        }
    }
}

/// Our own page is the one whose origin is exactly the host that the browser has asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_is_compared_exactly() {
    let server = Setup::new().start().await;
    let port = server.address().port();
    let own = format!("http://127.0.0.1:{port}");
    server.client().send(Request::post("/api/chats", &json!({})).header("Origin", &own)).await.expect(201);
    assert_eq!(statuses_of_upgrade(&server.client(), &[("Origin", &own)]).await, 101);
    let others = [
        format!("http://127.0.0.1:{}", port ^ 1),
        "http://127.0.0.1".to_owned(),
        format!("https://127.0.0.1:{port}"),
        format!("ws://127.0.0.1:{port}"),
        format!("http://127.0.0.2:{port}"),
        format!("http://localhost:{port}"),
        format!("http://127.0.0.1:{port}.evil.test"),
        format!("http://127.0.0.1:{port}@evil.test"),
        format!("http://evil.test@127.0.0.1:{port}"),
        format!("http://evil.test/http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}/x"),
        format!("http://127.0.0.1:{port} http://evil.test"),
        format!("127.0.0.1:{port}"),
        "null".to_owned(),
        "file://".to_owned(),
        "chrome-extension://abc".to_owned(),
        String::new(),
        "*".to_owned(),
    ];
    for origin in &others {
        let answer = server.client().send(Request::post("/api/chats", &json!({})).header("Origin", origin)).await;
        assert_eq!(answer.status(), 403, "{origin:?}");
        assert_eq!(statuses_of_upgrade(&server.client(), &[("Origin", origin)]).await, 403, "{origin:?}");
    }
    let twice = Request::post("/api/chats", &json!({})).header("Origin", &own).header("Origin", EVIL);
    assert_eq!(server.client().send(twice).await.status(), 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowed_origin_may_call_and_read() {
    let origin = "http://good.test:3000";
    let server = Setup::new().setting("COLLOQUY_ORIGINS", &format!("{origin},https://also.test")).start().await;
    let client = server.client();
    for origin in [origin, "https://also.test"] {
        let answer = preflight(&client, "/api/chats", origin).await;
        assert_eq!((answer.status(), answer.header("access-control-allow-origin")), (204, Some(origin)));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        let allowed = |name: &str| answer.header(name).unwrap_or_default().to_ascii_lowercase();
        assert!(["post", "patch", "delete"].iter().all(|method| allowed("access-control-allow-methods").contains(method)));
        let needed = ["content-type", "authorization", "idempotency-key", "last-event-id"];
        assert!(needed.iter().all(|name| allowed("access-control-allow-headers").contains(name)));
        for request in [Request::post("/api/chats", &json!({})), Request::get("/api/chats"), Request::get("/api/chats/nope")] {
            let answer = client.send(request.header("Origin", origin)).await;
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
            assert!(answer.header("vary").is_some_and(|vary| vary.to_ascii_lowercase().contains("origin")));
        }
        assert_eq!(statuses_of_upgrade(&client, &[("Origin", origin)]).await, 101);
    }
    // What may be read from elsewhere at all, may be read by nobody else.
    for origin in [EVIL, "null", "http://good.test:3001"] {
        let answer = client.send(Request::get("/api/chats").header("Origin", origin)).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
}
