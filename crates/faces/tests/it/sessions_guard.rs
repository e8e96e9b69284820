//! Who is let in, from where, and what every answer carries.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use faces::{AuthMode, Boundary};
use serde_json::{Value, json};

use crate::sessions_world::{TOKEN, World, read, request};

const BEARER: (&str, &str) = ("authorization", "Bearer owner-token");

async fn status(world: &World, method: Method, path: &str, headers: &[(&str, &str)]) -> StatusCode {
    world.send(request(method, path, headers, None)).await.status()
}

#[tokio::test]
async fn only_our_hosts_are_answered() {
    let world = World::new(json!([])).await;
    for (host, expected) in [
        ("localhost:8000", StatusCode::OK),
        ("LOCALHOST:8000", StatusCode::OK),
        ("127.0.0.1:8000", StatusCode::OK),
        ("chat.example", StatusCode::OK),
        ("chat.example:443", StatusCode::OK),
        ("localhost:3000", StatusCode::OK),
        ("localhost", StatusCode::MISDIRECTED_REQUEST),
        ("localhost:8001", StatusCode::MISDIRECTED_REQUEST),
        ("rebind.test:8000", StatusCode::MISDIRECTED_REQUEST),
        ("127.0.0.2:8000", StatusCode::MISDIRECTED_REQUEST),
        ("evil@localhost:8000", StatusCode::MISDIRECTED_REQUEST),
        ("localhost:8000.evil.test", StatusCode::MISDIRECTED_REQUEST),
        ("", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let mut request = request(Method::GET, "/api/sessions", &[], None);
        request.headers_mut().insert("host", host.parse().unwrap());
        let (status, _, body) = read(world.send(request).await).await;
        assert_eq!(status, expected, "{host}: {}", String::from_utf8_lossy(&body));
    }
    let mut without = request(Method::GET, "/health", &[], None);
    without.headers_mut().remove("host");
    assert_eq!(world.send(without).await.status(), StatusCode::MISDIRECTED_REQUEST);
    let absolute = request(Method::GET, "http://rebind.test:8000/health", &[], None);
    assert_eq!(world.send(absolute).await.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn who_listens_everywhere_is_reached_by_number_only() {
    let boundary = Boundary::new(AuthMode::Token, None, &[]).unwrap();
    boundary.set_listening(&["0.0.0.0:8000".parse().unwrap()]);
    let world = World::within(boundary, json!([])).await;
    for (host, expected) in [
        ("192.0.2.7:8000", StatusCode::OK),
        ("[2001:db8::1]:8000", StatusCode::OK),
        ("localhost:8000", StatusCode::OK),
        ("192.0.2.7:8001", StatusCode::MISDIRECTED_REQUEST),
        ("rebind.test:8000", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let mut request = request(Method::GET, "/health", &[], None);
        request.headers_mut().insert("host", host.parse().unwrap());
        assert_eq!(world.send(request).await.status(), expected, "{host}");
    }
}

#[test]
fn settings_that_are_no_addresses_are_refused() {
    for bad in ["chat.example", "ftp://chat.example", "http://", "http://a b"] {
        assert!(Boundary::new(AuthMode::Token, Some(bad), &[]).is_err(), "{bad}");
        assert!(Boundary::new(AuthMode::Token, None, &[bad.to_owned()]).is_err(), "{bad}");
    }
    assert!(Boundary::new(AuthMode::Token, None, &["http://a.test/path".to_owned()]).is_err());
}

#[tokio::test]
async fn what_changes_something_must_come_from_our_own_page() {
    let world = World::new(json!([])).await;
    for (origin, expected) in [
        ("http://localhost:8000", StatusCode::OK),
        ("https://chat.example", StatusCode::OK),
        ("http://localhost:3000", StatusCode::OK),
        ("http://evil.test", StatusCode::FORBIDDEN),
        ("http://127.0.0.1:8000", StatusCode::FORBIDDEN),
        ("https://localhost:8000", StatusCode::FORBIDDEN),
        ("http://localhost:8001", StatusCode::FORBIDDEN),
        ("http://localhost:8000/", StatusCode::FORBIDDEN),
        ("http://chat.example", StatusCode::FORBIDDEN),
        ("null", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(status(&world, Method::POST, "/api/sessions", &[("origin", origin)]).await, expected, "{origin}");
    }
    let foreign = ("origin", "http://evil.test");
    let (code, _, body) = read(world.send(request(Method::POST, "/api/sessions", &[foreign], None)).await).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((code, body), (StatusCode::FORBIDDEN, json!({"error": "Origin not allowed", "code": "origin_forbidden"})));
    let upgrade = [foreign, ("upgrade", "websocket"), ("connection", "upgrade")];
    let (code, _, body) = read(world.send(request(Method::GET, "/ws", &upgrade, None)).await).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((code, body), (StatusCode::FORBIDDEN, json!({"detail": "Origin not allowed", "code": "origin_forbidden"})));
    assert_eq!(world.get("/api/sessions").await.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn only_listed_origins_learn_anything_from_their_browser() {
    let world = World::new(json!([])).await;
    let asks = ("access-control-request-method", "POST");
    let listed = ("origin", "http://localhost:3000");
    let (code, headers, _) = read(world.send(request(Method::OPTIONS, "/api/sessions", &[listed, asks], None)).await).await;
    assert_eq!(
        (code, &headers["access-control-allow-origin"]),
        (StatusCode::NO_CONTENT, &"http://localhost:3000".parse().unwrap())
    );
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert!(headers["access-control-allow-headers"].to_str().unwrap().contains("Last-Event-ID"));
    let (_, headers, _) = read(world.send(request(Method::GET, "/api/sessions/none", &[listed], None)).await).await;
    assert_eq!(headers["access-control-allow-origin"], "http://localhost:3000");
    assert_eq!(headers["vary"], "Origin");
    for origin in ["http://evil.test", "http://localhost:8000", "https://chat.example"] {
        let (_, headers, _) =
            read(world.send(request(Method::OPTIONS, "/api/sessions", &[("origin", origin), asks], None)).await).await;
        assert!(!headers.contains_key("access-control-allow-origin"), "{origin}");
    }
}

#[tokio::test]
async fn every_answer_says_what_may_be_done_with_it() {
    let world = World::new(json!([])).await;
    for path in ["/api/sessions", "/api/nothing", "/health", "/ws", "/page"] {
        let (_, headers, _) = read(world.send(request(Method::GET, path, &[], None)).await).await;
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers.contains_key("cache-control"), path != "/page", "{path}");
    }
}

#[tokio::test]
async fn without_a_proof_nothing_of_the_apis_answers() {
    let world = World::with(AuthMode::Token, json!([])).await;
    let secret_path = format!("/api/sessions?token={TOKEN}");
    for path in ["/api/sessions", "/api/chats", "/api/nothing", "/api", "/api/events", "/api/me", "/ws", "/ws/x", &secret_path] {
        assert_eq!(status(&world, Method::GET, path, &[]).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(status(&world, Method::GET, "/health", &[]).await, StatusCode::OK);
    assert_eq!(status(&world, Method::GET, "/page", &[]).await, StatusCode::OK);
    assert_eq!(status(&world, Method::GET, "/api/sessions", &[BEARER]).await, StatusCode::OK);
    let wrong = ("authorization", "Bearer wrong");
    assert_eq!(status(&world, Method::GET, "/api/sessions", &[wrong]).await, StatusCode::UNAUTHORIZED);
    let open = World::new(json!([])).await;
    assert_eq!(status(&open, Method::GET, "/api/sessions", &[wrong]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&open, Method::GET, "/api/sessions", &[("cookie", "colloquy=old")]).await, StatusCode::OK);
    let mut far = request(Method::GET, "/api/sessions", &[], None);
    far.extensions_mut().insert(faces::Peer("192.0.2.1:5000".parse().unwrap()));
    let answer = tower::ServiceExt::oneshot(open.router.clone(), far).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_browser_signs_in_and_out() {
    let world = World::with(AuthMode::Token, json!([])).await;
    let (code, body) = ask_with(&world, "/api/sign-in-codes", &[BEARER], None).await;
    assert_eq!(code, StatusCode::OK, "{body}");
    let link = Some(json!({"code": body["code"]}));
    let answer = world.send(request(Method::POST, "/api/sign-in", &[], link.clone())).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    let (pair, rest) = set.split_once(';').unwrap();
    assert!(pair.starts_with("colloquy=") && rest.contains("HttpOnly") && rest.contains("SameSite=Strict"), "{set}");
    assert!(!rest.contains("Secure"), "{set}");

    let cookie = ("cookie", pair);
    let (code, _, me) = read(world.send(request(Method::GET, "/api/me", &[cookie], None)).await).await;
    assert_eq!((code, me.as_slice()), (StatusCode::OK, br#"{"name":"owner","role":"ADMIN"}"#.as_slice()));
    assert_eq!(ask_with(&world, "/api/sign-in-codes", &[cookie], None).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ask_with(&world, "/api/sign-in", &[], link).await.0, StatusCode::UNAUTHORIZED, "a code is good once");

    assert_eq!(ask_with(&world, "/api/sign-out", &[cookie], None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(status(&world, Method::GET, "/api/me", &[cookie]).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn over_https_the_cookie_is_the_hosts_own() {
    let world = World::with(AuthMode::Token, json!([])).await;
    let origin = ("origin", "https://chat.example");
    let answer = world.send(request(Method::POST, "/api/sign-in", &[origin], Some(json!({"token": TOKEN})))).await;
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("__Host-colloquy=") && set.ends_with("; Secure") && set.contains("Path=/;"), "{set}");
    let pair = set.split(';').next().unwrap();
    assert_eq!(status(&world, Method::GET, "/api/me", &[("cookie", pair)]).await, StatusCode::OK);
}

#[tokio::test]
async fn wrong_sign_ins_are_counted() {
    let world = World::with(AuthMode::Token, json!([])).await;
    for attempt in [json!({"code": "x"}), json!({"token": "x"})].iter().cycle().take(10) {
        let (code, body) = ask_with(&world, "/api/sign-in", &[], Some(attempt.clone())).await;
        assert_eq!((code, &body["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthenticated")));
    }
    let answer = world.send(request(Method::POST, "/api/sign-in", &[], Some(json!({"token": TOKEN})))).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_in_the_words_of_their_api() {
    let world = World::new(json!([])).await;
    for (method, path, status, body) in [
        (Method::GET, "/api/sessions/a/b/c", 404, json!({"error": "Not found", "code": "not_found"})),
        (Method::GET, "/api/chats/a/b/c", 404, json!({"detail": "Not Found", "code": "not_found"})),
        (Method::GET, "/ws/more", 404, json!({"detail": "Not Found", "code": "not_found"})),
        (Method::GET, "/api/more", 404, json!({"type": "about:blank", "title": "Not found", "status": 404, "code": "not_found"})),
        (Method::PUT, "/api/sessions", 405, json!({"error": "Method not allowed", "code": "method_not_allowed"})),
        (Method::PUT, "/api/chats/", 405, json!({"detail": "Method Not Allowed", "code": "method_not_allowed"})),
    ] {
        let (code, _, bytes) = read(world.send(request(method, path, &[], None)).await).await;
        assert_eq!((code.as_u16(), serde_json::from_slice::<Value>(&bytes).unwrap()), (status, body), "{path}");
    }
    let answer = world.send(request(Method::PUT, "/api/sessions", &[], None)).await;
    assert_eq!(answer.headers()["allow"], "GET,HEAD,POST");
    let page = world.send(request(Method::GET, "/sessions/x", &[], None)).await;
    assert_eq!(read(page).await.2, b"the web app");
    let (code, _, body) = read(world.send(request(Method::GET, "/", &[("accept", "application/json")], None)).await).await;
    assert_eq!((code, body.as_slice()), (StatusCode::OK, br#"{"message":"Colloquy is running"}"#.as_slice()));
    assert_eq!(read(world.send(request(Method::GET, "/", &[("accept", "text/html")], None)).await).await.2, b"the web app");
}

#[tokio::test]
async fn bodies_have_a_limit_and_a_type() {
    let world = World::new(json!([])).await;
    let send = async |content_type: Option<&str>, length: Option<&str>, body: Body| {
        let mut request = request(Method::POST, "/api/sessions", &[], None);
        *request.body_mut() = body;
        if let Some(content_type) = content_type {
            request.headers_mut().insert("content-type", content_type.parse().unwrap());
        }
        if let Some(length) = length {
            request.headers_mut().insert("content-length", length.parse().unwrap());
        }
        world.send(request).await.status().as_u16()
    };
    let json_type = Some("application/json; charset=utf-8");
    assert_eq!(send(json_type, None, Body::from("{\"title\":\"x\"}")).await, 200);
    assert_eq!(send(Some("application/vnd.x+json"), None, Body::from("{}")).await, 200);
    assert_eq!(send(Some("text/plain"), None, Body::from("{}")).await, 415);
    assert_eq!(send(None, None, Body::from("{}")).await, 415);
    assert_eq!(send(json_type, None, Body::from("null")).await, 200);
    assert_eq!(send(json_type, None, Body::empty()).await, 200);
    assert_eq!(send(json_type, Some("1048577"), Body::empty()).await, 413);
    assert_eq!(send(json_type, None, Body::from(vec![b' '; 1_048_577])).await, 413);
    assert_eq!(send(json_type, None, Body::from("{\"title\":1,\"title\":2}")).await, 400);
    assert_eq!(send(json_type, None, Body::from("[]")).await, 422);
    assert_eq!(send(json_type, None, Body::from(b"{\"title\":\"\xff\"}".to_vec())).await, 400);
}

async fn ask_with(world: &World, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> (StatusCode, Value) {
    let (status, _, body) = read(world.send(request(Method::POST, path, headers, body)).await).await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}
