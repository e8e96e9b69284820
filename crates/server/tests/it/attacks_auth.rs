//! Sign-in and its end (G4).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::attacks_routes::ROUTES;
use crate::harness::{Setup, TestServer, new_chat, new_session, sign_in};
use crate::harness_http::{Answer, Client, Request};
use crate::harness_sse::EventStream;
use crate::harness_ws::{Said, Socket};

const SIGNED_OUT_WITHIN: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 10;
/// This machine under another of its addresses.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

async fn attempt(client: &Client, proof: &Value) -> Answer {
    client.send(Request::post("/api/sign-in", proof)).await
}

fn code_of(server: &TestServer) -> String {
    let link = server.running.sign_in_link.as_ref().expect("a link");
    link.split_once("#code=").expect("a code").1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s30_signing_in_gives_a_new_cookie_each_time() {
    let server = Setup::with_sign_in().start().await;
    let token = json!({"token": server.token});
    let planted = "colloquy=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let first = sign_in(&server.client().with("Cookie", planted), &token).await;
    let second = sign_in(&server.client().with("Cookie", &first), &token).await;
    let third = sign_in(&server.client(), &json!({"code": code_of(&server)})).await;
    let all = [planted, &first, &second, &third];
    for (index, cookie) in all.iter().enumerate() {
        assert!(!all[index + 1..].contains(cookie), "{all:?}");
    }
    let status = async |cookie: &str| server.client().with("Cookie", cookie).send(Request::get("/api/me")).await.status();
    assert_eq!(status(planted).await, 401, "what was planted was never made good");
    assert_eq!(status(&first).await, 401, "the old one ends when its browser signs in anew");
    assert_eq!((status(&second).await, status(&third).await), (200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s30_the_cookie_is_kept_from_scripts_and_other_sites() {
    let server = Setup::with_sign_in().start().await;
    let answer = attempt(&server.client(), &json!({"token": server.token})).await;
    let cookie = answer.header("set-cookie").expect("a cookie").to_ascii_lowercase();
    for wanted in ["httponly", "samesite=strict", "path=/"] {
        assert!(cookie.split("; ").any(|part| part == wanted), "{wanted} in {cookie}");
    }
    assert!(!cookie.contains("domain="), "{cookie}");
    let value = cookie.split(['=', ';']).nth(1).expect("a value");
    assert!(value.len() >= 32 && !server.token.contains(value), "at least 128 bits, and none of the token's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_code_is_good_once() {
    let server = Setup::with_sign_in().start().await;
    let code = json!({"code": code_of(&server)});
    assert_eq!(attempt(&server.client(), &code).await.status(), 204);
    assert_eq!(attempt(&server.client(), &code).await.status(), 401);
    let more = server.owner().send(Request::new("POST", "/api/sign-in-codes")).await.expect(200)["code"].clone();
    let used = (0..8).map(|_| {
        let (client, proof) = (server.client(), json!({"code": more}));
        tokio::spawn(async move { attempt(&client, &proof).await.status() })
    });
    let mut statuses = Vec::new();
    for used in used.collect::<Vec<_>>() {
        statuses.push(used.await.expect("no panic"));
    }
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s31_signing_out_ends_open_sockets_and_streams() {
    let server = Setup::with_sign_in().start().await;
    let browser = server.browser().await;
    let session = new_session(&browser).await;
    let mut socket = Socket::greeted(&browser).await;
    let mut untouched = Socket::greeted(&server.owner()).await;
    let mut streams = Vec::new();
    for path in [format!("/api/sessions/{session}/events"), "/api/events".to_owned()] {
        let (head, body) = browser.open(Request::get(&path)).await;
        assert_eq!(head.status, 200);
        let mut stream = EventStream::new(body);
        assert_eq!(stream.next().await.expect("an event").name, "connected");
        streams.push(stream);
    }
    let began = Instant::now();
    assert_eq!(browser.send(Request::new("POST", "/api/sign-out")).await.status(), 204);
    assert_eq!(socket.close_code(SIGNED_OUT_WITHIN).await, Some(4401));
    for mut stream in streams {
        let left = SIGNED_OUT_WITHIN.saturating_sub(began.elapsed());
        let ended = timeout(left, async { while stream.next().await.is_some() {} }).await;
        assert!(ended.is_ok() && stream.has_ended_well(), "a stream goes on after sign-out");
    }
    assert_eq!(browser.send(Request::get("/api/me")).await.status(), 401);
    assert!(untouched.is_alive().await, "who has another proof stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s32_a_token_in_the_query_is_no_proof() {
    let server = Setup::with_sign_in().start().await;
    let (chat, session) = (new_chat(&server.owner()).await, new_session(&server.owner()).await);
    for route in ROUTES {
        for name in ["token", "access_token", "Token", "authorization"] {
            let mut request = route.request(&chat, &session);
            let glue = if request.target.contains('?') { '&' } else { '?' };
            request.target += &format!("{glue}{name}={}", server.token);
            assert_eq!(server.client().send(request).await.status(), 401, "{route:?} ?{name}=");
        }
    }
    let refused = Socket::open(&server.client(), &format!("/ws?access_token={}", server.token), &[]).await;
    assert_eq!(refused.err(), Some(401), "the socket knows one name only");
    // The header wins over the query, the query over the cookie.
    let (good, wrong) = (format!("/ws?token={}", server.token), "/ws?token=wrong");
    let bad_header = server.client().with_token("clq_wrong");
    assert_eq!(Socket::open(&bad_header, &good, &[]).await.err(), Some(401));
    assert!(Socket::open(&server.owner(), wrong, &[]).await.expect("it opens").is_alive().await);
    let mut by_cookie = Socket::open(&server.browser().await, wrong, &[]).await.expect("it opens");
    assert_eq!(by_cookie.said_within(SIGNED_OUT_WITHIN).await, Some(Said::Closed(4401)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s33_the_eleventh_wrong_attempt_has_to_wait() {
    let wrong = [json!({"token": "clq_wrong"}), json!({"code": "0".repeat(32)})];
    let server = Setup::with_sign_in().start().await;
    let right = json!({"token": server.token});
    let mut bodies = Vec::new();
    for attempt_number in 0..ATTEMPTS {
        let answer = attempt(&server.client(), &wrong[attempt_number % wrong.len()]).await;
        assert_eq!(answer.status(), 401, "attempt {attempt_number}");
        bodies.push(answer.text());
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "every wrong proof is answered alike: {bodies:?}");
    for proof in wrong.iter().chain([&right]) {
        let answer = attempt(&server.client(), proof).await;
        assert_eq!((answer.status(), answer.json()["code"].clone()), (429, json!("rate_limited")), "{proof}");
        let wait: u64 = answer.header("retry-after").and_then(|wait| wait.parse().ok()).expect("Retry-After");
        assert!((1..=15 * 60).contains(&wait), "{wait}");
    }
    // Who is right is not locked out elsewhere, nor with a proof that is there already.
    assert_eq!(attempt(&server.client().from(ELSEWHERE), &right).await.status(), 204);
    server.owner().send(Request::get("/api/me")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s33_wrong_passwords_are_counted_for_each_name_and_address() {
    let server = Setup::with_sign_in().start().await;
    for name in ["ana", "beto"] {
        let signed_up = json!({"username": name, "password": "correct horse"});
        let path = if name == "ana" { "/auth/signup" } else { "/auth/users" };
        server.owner().send(Request::post(path, &signed_up)).await.expect(200);
    }
    let proof = |name: &str, password: &str| json!({"username": name, "password": password});
    for attempt_number in 0..ATTEMPTS {
        // The hub's sign-in and the web app's count together.
        let status = if attempt_number % 2 == 0 {
            attempt(&server.client(), &proof("ana", "wrong")).await.status()
        } else {
            server.client().send(Request::post("/auth/token", &proof("ana", "wrong"))).await.status()
        };
        assert_eq!(status, 401, "attempt {attempt_number}");
    }
    for password in ["wrong", "correct horse"] {
        assert_eq!(attempt(&server.client(), &proof("ana", password)).await.status(), 429);
        let answer = server.client().send(Request::post("/auth/token", &proof("ana", password))).await;
        assert_eq!((answer.status(), answer.json()), (429, json!({"detail": "Too many requests"})));
    }
    assert_eq!(attempt(&server.client(), &proof("beto", "correct horse")).await.status(), 204, "others are not affected");
    assert_eq!(attempt(&server.client().from(ELSEWHERE), &proof("ana", "correct horse")).await.status(), 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s33_attempts_side_by_side_do_not_get_past_the_limit() {
    let server = Setup::with_sign_in().start().await;
    let attempts: Vec<_> = (0..40)
        .map(|number| {
            let client = server.client();
            tokio::spawn(async move { attempt(&client, &json!({"code": format!("{number:032x}")})).await.status() })
        })
        .collect();
    let mut heard = 0;
    for attempt in attempts {
        heard += usize::from(attempt.await.expect("no panic") == 401);
    }
    assert!(heard <= ATTEMPTS, "{heard} wrong attempts were looked at");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s35_nobody_changes_their_own_role() {
    let server = Setup::with_sign_in().start().await;
    let before = server.owner().send(Request::get("/api/me")).await.expect(200);
    for method in ["PATCH", "PUT", "POST"] {
        let request = Request::new(method, "/api/me").json(&json!({"role": "MEMBER", "name": "root"}));
        let status = server.owner().send(request).await.status();
        assert!([404, 405, 422].contains(&status), "{method}: {status}");
    }
    assert_eq!(server.owner().send(Request::get("/api/me")).await.expect(200), before);
}

/// A cookie that was stolen cannot renew itself for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_token_itself_makes_sign_in_codes() {
    let server = Setup::with_sign_in().start().await;
    let answer = server.browser().await.send(Request::new("POST", "/api/sign-in-codes")).await;
    assert_eq!((answer.status(), answer.json()["code"].clone()), (403, json!("forbidden")));
    let open = Setup::new().start().await;
    assert_eq!(open.client().send(Request::new("POST", "/api/sign-in-codes")).await.status(), 403);
}
