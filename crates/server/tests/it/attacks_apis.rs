//! The attacks of G1 to G5 on the APIs that came after chats and sessions: rules, the assistant and its projects, tokens, the hub.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::assistant_world::Projects;
use crate::attacks_routes::Route;
use crate::harness::{Setup, TestServer, sign_in};
use crate::harness_http::{Answer, Client, Request};
use crate::hub_routes::{ROWS, Rule};
use crate::hub_world::{Hub, PASSWORD, contact, patiently, text};

const EVIL: &str = "http://evil.test";

const fn route(method: &'static str, path: &'static str, body: &'static str) -> Route {
    Route { method, path, body }
}

/// `{session}` stands for whatever the path names.
const LATER: &[Route] = &[
    route("GET", "/query/{session}", ""),
    route("GET", "/query/rules", ""),
    route("GET", "/query/views_registry", ""),
    route("GET", "/patterns", ""),
    route("GET", "/rules", ""),
    route("POST", "/rules/run", r#"{"rule_code":"all guests","rule_id":"r","client_id":"c","answer":"a"}"#),
    route("GET", "/rules/dataset", ""),
    route("GET", "/rules/dataset/audit", ""),
    route("GET", "/rules/runs/{session}", ""),
    route("POST", "/rules/runs/{session}/cancel", ""),
    route("GET", "/rules/{session}", ""),
    route("DELETE", "/rules/{session}", ""),
    route("GET", "/rules/{session}/versions", ""),
    route("POST", "/rules/{session}/versions", r#"{"sql":"select 1"}"#),
    route("POST", "/rules/{session}/versions/1/approve", r#"{"hash":"h"}"#),
    route("POST", "/rules/{session}/versions/1/reject", r#"{"hash":"h"}"#),
    route("POST", "/rules/{session}/refresh", ""),
    route("GET", "/rules/{session}/runs", ""),
    route("GET", "/api/assistant/conversations/demo", ""),
    route("POST", "/api/assistant/conversations/demo", r#"{"title":"T","client_id":"k"}"#),
    route("GET", "/api/assistant/conversations/demo/{session}", ""),
    route("PATCH", "/api/assistant/conversations/demo/{session}", r#"{"title":"T"}"#),
    route("DELETE", "/api/assistant/conversations/demo/{session}", ""),
    route("POST", "/api/assistant/conversations/demo/{session}/messages", r#"{"content":"hi","client_id":"m"}"#),
    route("POST", "/api/assistant/conversations/demo/{session}/answer", r#"{"answers":{"0":"a"}}"#),
    route("POST", "/api/assistant/conversations/demo/{session}/cancel", ""),
    route("GET", "/api/assistant/sessions", ""),
    route("GET", "/api/assistant/sessions/{session}", ""),
    route("DELETE", "/api/assistant/sessions/{session}", ""),
    route("GET", "/api/projects", ""),
    route("POST", "/api/projects", r#"{"name":"other","path":"/"}"#),
    route("GET", "/api/projects/{session}", ""),
    route("DELETE", "/api/projects/{session}", ""),
    route("GET", "/api/projects/{session}/file?path=a", ""),
    route("GET", "/api/tokens", ""),
    route("POST", "/api/tokens", r#"{"name":"t"}"#),
    route("DELETE", "/api/tokens/{session}", ""),
];

fn request(route: &Route, name: &str) -> Request {
    route.request("", name)
}

/// The owner has a token already, and is not asked what another is to be called.
fn takes_text(route: &&Route) -> bool {
    !route.body.is_empty() && route.path != "/api/tokens"
}

async fn server() -> (TestServer, Projects) {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let server = projects.named_in(Setup::with_sign_in()).start().await;
    (server, projects)
}

/// What an attack must not change.
async fn state(server: &TestServer) -> Value {
    let mut state = Vec::new();
    let lists = LATER.iter().filter(|route| route.method == "GET" && !route.path.contains('{')).map(|route| route.path);
    for path in lists.chain(["/auth/users", "/auth/agents", "/channels", "/chats", "/api/jobs"]) {
        let answer = patiently(&server.owner(), Request::get(path)).await;
        state.push(json!([path, answer.status(), answer.text()]));
    }
    Value::from(state)
}

fn allows_nothing(answer: &Answer, what: &str) {
    let header = answer.head.headers.iter().find(|(name, _)| name.to_ascii_lowercase().starts_with("access-control-allow"));
    assert_eq!(header, None, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s01_s05_pages_of_others_change_nothing_and_read_nothing() {
    let (server, projects) = server().await;
    let (browser, files) = (server.browser().await, projects.snapshot());
    let before = state(&server).await;
    let of_hub = ROWS.iter().filter(|row| !matches!(row.rule, Rule::Platform | Rule::AnyPlatform));
    let of_hub = of_hub.map(|row| route(row.method, row.path, row.body));
    for route in LATER.iter().copied().chain(of_hub).filter(Route::is_unsafe) {
        let answer = patiently(&browser, request(&route, "x").header("Origin", EVIL)).await;
        assert_eq!(answer.status(), 403, "{route:?}: {}", answer.text());
        allows_nothing(&answer, route.path);
        let preflight = Request::new("OPTIONS", &route.target("", "x"))
            .header("Origin", EVIL)
            .header("Access-Control-Request-Method", route.method)
            .header("Access-Control-Request-Headers", "content-type");
        let answer = browser.send(preflight).await;
        assert!(answer.status() >= 400, "{route:?}: {}", answer.status());
        allows_nothing(&answer, route.path);
    }
    assert_eq!(state(&server).await, before);
    assert_eq!(projects.snapshot(), files);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s04_s06_s21_without_a_proof_the_right_kind_or_size_nothing_is_done() {
    let (server, _projects) = server().await;
    let number =
        server.owner().send(Request::post("/api/assistant/conversations/demo", &json!({}))).await.expect(200)["id"].to_string();
    let before = state(&server).await;
    for proof in [None, Some("Bearer clq_wrong".to_owned()), Some(format!("Basic {}", server.token)), Some(server.token.clone())]
    {
        let client = proof.iter().fold(server.client(), |client, value| client.with("Authorization", value));
        for route in LATER {
            let answer = client.send(request(route, "x")).await;
            assert_eq!(answer.status(), 401, "{route:?} with {proof:?}: {}", answer.text());
            assert_eq!(answer.json()["code"], "unauthenticated", "{route:?}");
        }
    }
    let owner = server.owner();
    for route in LATER.iter().filter(takes_text) {
        // Of a rule that is not there nobody needs to know the body.
        let may_be_missing = route.path.starts_with("/rules/{");
        let name = number.as_str();
        for kind in ["text/plain", "application/x-www-form-urlencoded", "text/json", ""] {
            let request = Request::new(route.method, &route.target("", name)).bytes(kind, route.body.as_bytes());
            let status = owner.send(request).await.status();
            assert!(status == 415 || (may_be_missing && status == 404), "{route:?} as {kind:?}: {status}");
        }
        let announced = Request::new(route.method, &route.target("", name))
            .header("Content-Type", "application/json")
            .header("Content-Length", "1048577");
        let mut connection = owner.connect().await;
        connection.write(&owner.complete(announced).encode(&owner.host())).await;
        connection.write(b"{").await;
        let status = connection.head().await.expect("an answer").status;
        assert!(status == 413 || (may_be_missing && status == 404), "{route:?}: {status}");
    }
    assert_eq!(state(&server).await, before);
    server.stop().await;
}

/// With `{session}` for every name in the path but the platform's.
fn named(path: &str) -> String {
    let name = |part: &str| match part {
        "{platform}" => "webhook".to_owned(),
        _ if part.starts_with('{') => "{session}".to_owned(),
        _ => part.to_owned(),
    };
    path.split('/').map(name).collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s25_s26_odd_names_and_texts_are_refused_in_the_apis_words() {
    let (server, _projects) = server().await;
    let owner = server.owner();
    let odd = ["nope", "%ff", "'%20OR%201=1--", "9223372036854775808"];
    let of_hub = ROWS.iter().filter(|row| !matches!(row.rule, Rule::Open | Rule::SignUp));
    let of_hub = of_hub.map(|row| (row.method, named(row.path), row.body));
    let later = LATER.iter().map(|route| (route.method, route.path.to_owned(), route.body));
    for (method, path, body) in later.chain(of_hub).filter(|(_, path, _)| path.contains("{session}")) {
        for name in odd {
            let target = path.replace("{session}", name);
            let request = Request::new(method, &target);
            let request = if body.is_empty() { request } else { request.bytes("application/json", body.as_bytes()) };
            let answer = patiently(&owner, request).await;
            assert!((400..500).contains(&answer.status()), "{method} {target}: {} {}", answer.status(), answer.text());
            let words = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
            let has_words = ["detail", "error", "title"].iter().any(|name| !words[name].is_null());
            assert!(has_words, "{method} {target}: {} {}", answer.status(), answer.text());
        }
    }
    let no_number = (422, json!("invalid_field"));
    let nothing = (404, json!("not_found"));
    for (version, expected) in [
        ("0", &nothing),
        ("-1", &no_number),
        ("one", &no_number),
        ("1.5", &no_number),
        ("99999999999999999999", &no_number),
        ("%ff", &nothing),
    ] {
        for verb in ["approve", "reject"] {
            let answer = owner.send(Request::post(&format!("/rules/x/versions/{version}/{verb}"), &json!({"hash": "h"}))).await;
            assert_eq!((answer.status(), answer.json()["code"].clone()), *expected, "{version} {verb}");
        }
    }
    let number = owner.send(Request::post("/api/assistant/conversations/demo", &json!({}))).await.expect(200)["id"].to_string();
    // The texts of an answer stand deeper in its body.
    let is_flat = |route: &&Route| takes_text(route) && !route.path.contains("answer");
    for route in LATER.iter().filter(is_flat) {
        let body = route.json();
        for field in body.as_object().expect("an object").keys() {
            let mut body = body.clone();
            body[field] = json!("a\u{0}b");
            let answer = owner.send(Request::new(route.method, &route.target("", &number)).json(&body)).await;
            assert_eq!(answer.status(), 422, "{route:?} {field}: {}", answer.text());
        }
    }
    for path in ["/rules?q=a%00b", "/query/patterns?order=a%00b", "/api/assistant/conversations/demo?q=a%00b", "/chats?q=a%00b"] {
        assert_eq!(owner.send(Request::get(path)).await.status(), 422, "{path}");
    }
    server.stop().await;
}

/// Names and orders that lead out of what may be read look like names that nothing has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s36_tables_of_others_are_not_there() {
    let server = Setup::new().start().await;
    let client = server.client();
    let nothing = client.send(Request::get("/query/nothing")).await;
    assert_eq!((nothing.status(), nothing.json()["detail"].clone()), (404, json!("Table not found")));
    for name in ["sqlite_master", "sqlite_schema", "pg_class", "account", "event", "conversation", "rule", "rule_version", "job"]
    {
        let answer = client.send(Request::get(&format!("/query/{name}"))).await;
        assert_eq!((answer.status(), answer.text()), (404, nothing.text()), "{name}");
    }
    for name in ["main.guests", "guests;select", "guests--", "\"guests\"", "guests%00", "guests%20", "g%C3%BCests", "1guests"] {
        let answer = client.send(Request::get(&format!("/query/{name}"))).await;
        assert_eq!((answer.status(), answer.json()["code"].clone()), (400, json!("invalid_table_name")), "{name}");
    }
    let all = client.send(Request::get("/query/guests")).await.expect(200);
    for query in [
        "order=no_such_column",
        "order=name;drop%20table%20guests",
        "order=(select%201)",
        "order=1",
        "order=name%20desc,random()",
        "order=%22name%22",
        "limit=0",
        "limit=-1",
        "limit=1;select%201",
        "limit=10001",
        "offset=-1",
        "offset=9223372036854775808",
        "format=xml",
    ] {
        let answer = client.send(Request::get(&format!("/query/guests?{query}"))).await;
        // An order by what is no column is none.
        let is_harmless = [404, 422].contains(&answer.status()) || (answer.status() == 200 && answer.json() == all);
        assert!(is_harmless, "{query}: {} {}", answer.status(), answer.text());
    }
    assert_eq!(client.send(Request::get("/query/guests")).await.expect(200), all);
    server.stop().await;
}

fn rows(sql: &str) -> Value {
    json!({"tool": {"id": "t", "name": "answer_rule", "input": {"sql": sql, "title": "T"}}})
}

async fn at_once(client: &Client, request: &Request) -> Vec<Answer> {
    let sent = (0..8).map(|_| {
        let (client, request) = (client.clone(), request.clone());
        tokio::spawn(async move { client.send(request).await })
    });
    let mut answers = Vec::new();
    for answer in sent.collect::<Vec<_>>() {
        answers.push(answer.await.expect("no panic"));
    }
    answers
}

#[track_caller]
fn agreed(answers: &[Answer], pointer: &str) -> Value {
    let first = answers[0].json().pointer(pointer).cloned().expect("a value");
    for answer in answers {
        assert_eq!((answer.status() / 100, answer.json().pointer(pointer)), (2, Some(&first)), "{}", answer.text());
    }
    first
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s27_s28_a_repeat_is_one_rule_one_conversation_one_message() {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let script = [rows("select name from guests"), json!({"text": ["An answer."]})];
    let server = projects.named_in(Setup::new()).script(&script).start().await;
    let client = server.client();
    let run = |code: &str| Request::post("/rules/run", &json!({"rule_code": code})).header("Idempotency-Key", "k");
    agreed(&at_once(&client, &run("all guests")).await, "/run_id");
    assert_eq!(server.model.requests().len(), 1, "the model is asked once");
    let runs = client.send(Request::get("/rules/all_guests/runs")).await.expect(200);
    assert_eq!(runs.as_array().map(Vec::len), Some(1));
    let other = client.send(run("all the guests")).await;
    assert_eq!((other.status(), other.json()["code"].clone()), (422, json!("conflict")));

    let path = "/api/assistant/conversations/demo";
    let make = |title: &str| Request::post(path, &json!({"title": title})).header("Idempotency-Key", "k");
    let number = agreed(&at_once(&client, &make("T")).await, "/id");
    assert_eq!(client.send(make("U")).await.status(), 422);
    assert_eq!(client.send(Request::get(path)).await.expect(200).as_array().map(Vec::len), Some(1));
    let messages = format!("{path}/{number}/messages");
    let say = |content: &str| Request::post(&messages, &json!({"content": content, "client_id": "m"}));
    for answer in at_once(&client, &say("hi")).await {
        assert_eq!(answer.status(), 202, "{}", answer.text());
    }
    assert_eq!(client.send(say("ho")).await.status(), 422);
    let detail = crate::assistant_world::eventually(&client, "demo", number.as_i64().expect("a number"), |detail| {
        detail["messages"].as_array().is_some_and(|messages| messages.iter().any(|one| one["content"] == "An answer."))
    });
    let said = detail.await["messages"].as_array().expect("messages").iter().filter(|one| one["content"] == "hi").count();
    assert_eq!((said, server.model.requests().len()), (1, 2));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s28_what_an_operator_sends_eight_times_at_once_goes_out_once() {
    let peer = crate::hub_peer::Peer::start(|_, _| crate::hub_peer::Plan::ok(&json!({}))).await;
    let server = Setup::new().setting("COLLOQUY_EGRESS_ALLOW", &peer.host).start().await;
    let hub = Hub::begun(&server.client()).await;
    let line = hub.line("Line", &peer.url, &json!({})).await;
    let heard = hub.hear(&line, &contact("c"), "hola").await;
    let path = format!("{}/messages", line.chat(&heard.chat));
    let say = |content: &str| Request::post(&path, &json!({"content": content})).header("Idempotency-Key", "k");
    agreed(&at_once(&hub.admin, &say("buenas")).await, "/id");
    let other = hub.admin.send(say("malas")).await;
    let words = json!("Idempotency-Key was used with another body");
    assert_eq!((other.status(), other.json()["detail"].clone()), (422, words));
    hub.post(&path, &json!({"content": "fin"})).await;
    let has_end = |calls: &[crate::hub_peer::Call]| calls.iter().any(|call| call.body["data"]["text"] == "fin");
    peer.until("the last one", crate::harness_http::PATIENCE, has_end).await;
    let sent: Vec<Value> = peer.calls().iter().map(|call| call.body["data"]["text"].clone()).collect();
    assert_eq!(sent, ["buenas", "fin"]);
    server.stop().await;
}

/// A name that nobody has takes as long as a wrong password, and so does somebody who may not come in any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s29_nobody_learns_which_names_there_are() {
    /// A hash costs much in a debug build.
    const TRIES: usize = 2;
    let server = Setup::with_sign_in().start().await;
    let owner = server.owner();
    for name in ["known", "gone"] {
        let body = json!({"username": name, "password": PASSWORD});
        let made = owner.send(Request::post("/auth/users", &body)).await.expect(200);
        let path = format!("/auth/users/{}", text(&made["id"]));
        owner.send(Request::new("PUT", &path).json(&json!({"is_active": name == "known"}))).await.expect(200);
    }
    let mut shortest = [Duration::MAX; 3];
    for number in 0..TRIES {
        let unknown = format!("nobody{number}");
        let tried = [("known", "wrong"), (unknown.as_str(), PASSWORD), ("gone", PASSWORD)];
        for (shortest, (name, password)) in shortest.iter_mut().zip(tried) {
            let began = Instant::now();
            let proof = json!({"username": name, "password": password});
            let answer = server.client().send(Request::post("/auth/token", &proof)).await;
            *shortest = (*shortest).min(began.elapsed());
            assert_eq!((answer.status(), answer.json()), (401, json!({"detail": "Invalid credentials"})), "{name}");
        }
    }
    let [known, unknown, gone] = shortest.map(|time| time.as_secs_f64());
    // A hash that is not made would be missing by a factor of a hundred; a busy machine accounts for less.
    for (what, seconds) in [("unknown", unknown), ("inactive", gone)] {
        assert!((0.2..5.0).contains(&(seconds / known)), "{what}: {seconds} s, known: {known} s");
    }
    server.stop().await;
}

/// S57: every address that somebody gives us, wherever it is given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s57_addresses_inside_are_refused_when_they_are_saved() {
    let server = Setup::new().start().await;
    let hub = Hub::begun(&server.client()).await;
    let agent = hub.agent(&json!({"name": "Bot", "webhook_url": "https://agent.example/hook"})).await;
    let line = hub.line("Line", "https://platform.example/", &json!({})).await;
    let own = format!("http://{}/", server.address());
    for address in [
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "http://169.254.169.254/latest/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::1]/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://017700000001/",
        "http://localhost/",
        "http://localhost./",
        "http://[fd00::1]/",
        "https://10.1.2.3/",
        "https://user@host.example/",
        "https://host.example:22/",
        "file:///etc/passwd",
        "gopher://host.example/",
        "//host.example/",
        "",
        &own,
    ] {
        for (method, path, body, field) in [
            ("POST", "/auth/agents".to_owned(), json!({"name": "x", "webhook_url": address}), "webhook_url"),
            ("PUT", format!("/auth/agents/{}", agent.id), json!({"webhook_url": address}), "webhook_url"),
            (
                "POST",
                "/channels".to_owned(),
                json!({"name": "x", "platform": "WEBHOOK", "api_to_send_message": address}),
                "api_to_send_message",
            ),
            ("PUT", format!("/channels/{}", line.id), json!({"api_to_send_message": address}), "api_to_send_message"),
        ] {
            let answer = patiently(&hub.admin, Request::new(method, &path).json(&body)).await;
            // No address at all is none.
            if address.is_empty() && field == "api_to_send_message" {
                continue;
            }
            assert_eq!(answer.status(), 422, "{method} {path} {address}: {}", answer.text());
            assert_eq!(answer.json()["detail"][0]["loc"], json!(["body", field]), "{method} {path} {address}");
        }
    }
    assert_eq!(hub.get(&format!("/auth/agents/{}", agent.id)).await["webhook_url"], "https://agent.example/hook");
    assert_eq!(hub.get("/channels").await.as_array().map(Vec::len), Some(1));
    server.stop().await;
}

/// S31, S34 and S37 for the tokens of the hub, and what an account may do with rules.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s34_s36_s37_rules_are_decided_by_those_who_may() {
    let script = [rows("select name from guests"), rows("select name from orgs"), json!({"text": [{"pause": "never"}]})];
    let file = "DATASET: {policy: approve}\n";
    let server = Setup::with_sign_in().rules_file(file).script(&script).start().await;
    let hub = Hub::begun(&server.owner()).await;
    let (ana, beto) = (hub.user("ana", "MEMBER").await, hub.user("beto", "MEMBER").await);
    let member = async |name: &str| {
        let cookie = sign_in(&server.client(), &json!({"username": name, "password": PASSWORD})).await;
        server.client().with("Origin", &server.client().origin()).with("Cookie", &cookie)
    };
    let (anas, betos) = (member("ana").await, member("beto").await);
    for token in [&ana.token, &beto.token] {
        let answer = server.client().with_token(token).send(Request::get("/rules")).await;
        assert!([401, 403].contains(&answer.status()), "a token of the hub opens nothing else: {}", answer.status());
    }
    let made = anas.send(Request::post("/rules/run", &json!({"rule_code": "anas guests"}))).await.expect(200);
    assert_eq!(made["status"], "pending", "{made}");
    let versions = betos.send(Request::get("/rules/anas_guests/versions")).await.expect(200);
    let hash = json!({"hash": versions[0]["hash"]});
    for client in [&anas, &betos] {
        for verb in ["approve", "reject"] {
            let answer = client.send(Request::post(&format!("/rules/anas_guests/versions/1/{verb}"), &hash)).await;
            assert_eq!((answer.status(), answer.json()["detail"].clone()), (403, json!("Not allowed")), "{verb}");
        }
    }
    for (method, path) in
        [("DELETE", "/rules/anas_guests"), ("POST", "/rules/anas_guests/refresh"), ("POST", "/rules/anas_guests/versions")]
    {
        let answer = betos.send(Request::new(method, path).json(&json!({"sql": "select 1"}))).await;
        assert_eq!(answer.status(), 403, "{method} {path}: {}", answer.text());
    }
    let wrong = server.owner().send(Request::post("/rules/anas_guests/versions/1/approve", &json!({"hash": "0"}))).await;
    assert_eq!((wrong.status(), wrong.json()["detail"].clone()), (409, json!("This version has changed")));
    let fine = server.owner().send(Request::post("/rules/anas_guests/versions/1/approve", &hash)).await.expect(200);
    assert_eq!(fine["state"], "done");

    // A run is stopped by whoever began it; to others it is not there to be stopped.
    anas.send(Request::post("/rules/run", &json!({"rule_code": "orgs"}))).await.expect(200);
    let waiting = anas.send(Request::post("/rules/run?wait=0", &json!({"rule_code": "a long one"}))).await.expect(202);
    let cancel = format!("/rules/runs/{}/cancel", text(&waiting["run_id"]));
    let refused = betos.send(Request::new("POST", &cancel)).await;
    assert!([403, 404].contains(&refused.status()), "{}", refused.text());
    anas.send(Request::new("POST", &cancel)).await.expect(200);
    server.stop().await;
}
