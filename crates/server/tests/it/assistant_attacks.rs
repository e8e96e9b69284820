//! What must not succeed in a conversation about a project.

use std::time::Duration;

use serde_json::{Value, json};

use crate::assistant_world::{Projects, detail, open, started, turn};
use crate::harness::Setup;
use crate::harness_http::Request;

const SECRET: &str = "the-secret-of-this-server";

/// Calls of a model that wants to write, to leave the project, or to see what it must not.
fn hostile(projects: &Projects) -> Vec<(&'static str, Value)> {
    let inside = projects.path("demo").display().to_string();
    let mut calls = vec![("read_file", json!({"path": "README.md"}))];
    for name in
        ["write_file", "edit_file", "create_file", "delete_file", "move_file", "apply_patch", "bash", "shell", "Write", "Edit"]
    {
        calls.push((name, json!({"path": "README.md", "content": "gone", "command": format!("rm -rf {inside}")})));
    }
    for path in [
        "../other/README.md",
        "../../etc/passwd",
        "/etc/passwd",
        "/proc/self/environ",
        "link-out",
        "file:///etc/passwd",
        "~/.ssh/id_rsa",
        ".env",
        "sub/.env.production",
        "server.key",
        "innocent.txt",
        "data/token",
        "src/../../other/README.md",
        "",
        "README.md\u{0}",
        ".",
    ] {
        calls.push(("read_file", json!({"path": path})));
    }
    calls.push(("read_file", json!({"path": "README.md", "content": "gone", "mode": "w"})));
    for pattern in ["../**/*", "/etc/*", "**/.env", "$(touch x)", "`touch x`", "data/*", "**/*;touch x"] {
        calls.push(("glob", json!({"pattern": pattern})));
    }
    for input in [
        json!({"pattern": SECRET}),
        json!({"pattern": SECRET, "glob": "**/.env*"}),
        json!({"pattern": ".", "glob": "../**"}),
        json!({"pattern": SECRET, "glob": "**/*.key"}),
        json!({"pattern": "(a+)+$", "glob": "*; rm -rf ."}),
        json!({"pattern": SECRET, "write": true}),
    ] {
        calls.push(("grep", input));
    }
    for url in [
        "http://127.0.0.1/",
        "https://localhost/",
        "https://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "https://[::1]/",
        "https://0x7f.1/",
        "gopher://x",
        "https://user:pw@example.test/",
    ] {
        calls.push(("web_fetch", json!({"url": url})));
    }
    for (name, input) in [
        ("ask_user", json!({"questions": []})),
        ("ask_user", json!({"questions": "which?"})),
        ("ask_data", json!({"question": "x"})),
    ] {
        calls.push((name, input));
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_model_changes_no_byte_and_sees_no_secret() {
    let mut projects = Projects::new(&[
        ("demo", "README.md", "# Demo\n"),
        ("demo", "src/main.rs", "fn main() {}\n"),
        ("other", "README.md", SECRET),
    ]);
    for path in [".env", "sub/.env.production", "server.key"] {
        projects.write("demo", path, SECRET.as_bytes());
    }
    std::os::unix::fs::symlink(projects.path("other").join("README.md"), projects.path("demo").join("link-out")).unwrap();
    std::os::unix::fs::symlink(".env", projects.path("demo").join("innocent.txt")).unwrap();
    // The server's own data lies in the project.
    let data = projects.path("demo").join("data");
    std::fs::create_dir(&data).unwrap();
    let calls = hostile(&projects);
    assert!(calls.len() >= 50, "{}", calls.len());
    let mut script: Vec<Value> = Vec::new();
    for (index, (name, input)) in calls.iter().enumerate() {
        // Steps of ten calls, so that the limit of steps is not what stops them.
        if index % 10 == 0 {
            script.push(json!({"text": [format!("Step {index}. ")]}));
        }
        script.push(json!({"tool": {"id": format!("t{index}"), "name": name, "input": input}}));
    }
    script.push(json!({"text": ["I give up."]}));
    let setup = Setup::new().setting("COLLOQUY_DATA_DIR", data.to_str().unwrap()).script(&script);
    let server = projects.named_in(setup).start().await;
    let client = server.client();
    let before = projects.snapshot();
    let (mut socket, number) = started(&client, "demo").await;
    socket.send(&json!({"type": "message", "content": "try"})).await;
    let frames = turn(&mut socket).await;
    assert_eq!(frames.last().unwrap()["outcome"], "done", "{:?}", frames.last());
    let results = frames.iter().filter(|frame| frame["type"] == "tool_result").count();
    let asked = calls.iter().filter(|(name, _)| *name == "ask_user").count();
    assert_eq!(results, calls.len() - asked, "every call has its result");

    let ours = |path: &std::path::Path| path.starts_with(&data);
    let changed: Vec<_> =
        projects.snapshot().into_iter().filter(|(path, bytes)| !ours(path) && before.get(path) != Some(bytes)).collect();
    assert!(changed.is_empty(), "{changed:?}");
    assert_eq!(projects.snapshot().keys().filter(|path| !ours(path)).count(), before.keys().filter(|path| !ours(path)).count());
    let requests = server.model.full_requests();
    let parts = requests.iter().flat_map(|request| &request.messages).flat_map(|message| &message.parts);
    let outputs: Vec<&str> = parts
        .filter_map(|part| match part {
            domain::PartBody::ToolResult(result) => Some(result.output.as_str()),
            _ => None,
        })
        .collect();
    assert!(outputs.contains(&"# Demo\n"), "what may be read was read");
    for output in outputs {
        assert!(!output.contains(SECRET) && !output.contains("root:") && !output.contains(&server.token), "{output}");
    }
    for request in &requests {
        let offered: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(offered, ["read_file", "glob", "grep", "web_fetch", "ask_user"]);
    }
    assert!(!detail(&client, "demo", number).await.to_string().contains(&server.token));
    // The page that shows files lives by the same rules.
    for path in [".env", "innocent.txt", "link-out", "data/token", "../other/README.md", "/etc/passwd"] {
        let path: String = path.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = client.send(Request::get(&format!("/api/projects/demo/file?path={path}"))).await;
        assert_eq!(answer.status(), 404, "{}", answer.text());
        assert!(!answer.text().contains(SECRET) && !answer.text().contains(&server.token));
    }
    let shown = client.send(Request::get("/api/projects/demo/file?path=README.md")).await.expect(200);
    assert_eq!(shown["content"], "# Demo\n");
    drop(socket);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_frames_get_one_error_and_cost_nothing() {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let server = projects.named_in(Setup::new().setting("COLLOQUY_SOCKET_RATE", "0")).start().await;
    let client = server.client();
    let (mut socket, number) = started(&client, "demo").await;
    let long = "x".repeat(200_001);
    for (frame, content) in [
        (json!({"type": "message", "content": "a\u{0}b"}), "Text must not contain U+0000"),
        (json!({"type": "message", "content": long}), "Message is too long"),
        (json!({"type": "message", "content": 3}), "Message content must be text"),
        (json!({"type": "message", "content": "x", "client_id": ""}), "Invalid client_id"),
        (json!({"type": "message", "content": "x", "client_id": "y".repeat(129)}), "Invalid client_id"),
        (json!({"type": "start", "conversation_id": 1.5}), "Invalid conversation_id"),
        (json!({"type": "start", "conversation_id": true}), "Invalid conversation_id"),
        (json!({"type": "start", "conversation_id": -1}), "Conversation not found"),
        (json!({"type": "start", "conversation_id": u64::MAX}), "Conversation not found"),
        (json!({"type": "start", "since": 5}), "Invalid since"),
        (json!({"type": "answer"}), "Invalid answers"),
        (json!({"type": "answer", "answers": {"x": "y"}}), "Invalid answers"),
        (json!({"type": "answer", "answers": {"0": [1]}}), "Invalid answers"),
        (json!({"type": "answer", "answers": {"0": " "}}), "Empty message"),
        (json!({"type": "zap\u{7}\n"}), "Unknown message type: zap"),
        (json!({"type": 5}), "Unknown message type: (none)"),
        (json!({"type": "cancel"}), "Nothing to cancel"),
    ] {
        socket.send(&frame).await;
        let error = socket.frame().await;
        assert_eq!((error["type"].as_str(), error["content"].as_str()), (Some("error"), Some(content)), "{frame}");
        assert!(error["turn_id"].is_null() && error["code"].is_string());
    }
    socket.send_text(r#"{"type":"ping","type":"message"}"#).await;
    assert_eq!(socket.frame().await["content"], "Invalid JSON");
    assert_eq!(detail(&client, "demo", number).await["messages"].as_array().unwrap().len(), 1, "only the greeting");
    drop(socket);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_twenty_messages_do_not_wait() {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let mut script = vec![json!({"text": ["a", {"pause": "g"}]})];
    script.extend((0..20).map(|n| json!({"text": [format!("{n}")]})));
    let server = projects.named_in(Setup::new().setting("COLLOQUY_SOCKET_RATE", "0").script(&script)).start().await;
    let (mut socket, number) = started(&server.client(), "demo").await;
    for n in 0..=20 {
        socket.send(&json!({"type": "message", "content": format!("m{n}")})).await;
        let stored = socket.frame_of("user_message").await;
        assert_eq!(stored["queued"], n);
    }
    socket.send(&json!({"type": "message", "content": "too many"})).await;
    assert_eq!(socket.frame_of("error").await["content"], "Too many messages are waiting");
    let path = format!("/api/assistant/conversations/demo/{number}/messages");
    let refused = server.client().send(Request::post(&path, &json!({"content": "over REST"}))).await;
    assert_eq!((refused.status(), refused.json()["detail"].as_str()), (409, Some("Too many messages are waiting")));
    server.model.release("g");
    for _ in 0..=20 {
        turn(&mut socket).await;
    }
    drop(socket);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_errors_are_those_of_the_contract() {
    let projects = Projects::new(&[("demo", "README.md", "hi"), ("other", "README.md", "hi")]);
    let server = projects.named_in(Setup::new()).start().await;
    let client = server.client();
    let made = client
        .send(Request::post("/api/assistant/conversations/demo", &json!({"title": "T", "client_id": "k"})))
        .await
        .expect(200);
    let again = client
        .send(Request::post("/api/assistant/conversations/demo", &json!({"title": "T", "client_id": "k"})))
        .await
        .expect(200);
    assert_eq!((&made["id"], made["title"].as_str()), (&again["id"], Some("T")));
    let conflict =
        client.send(Request::post("/api/assistant/conversations/demo", &json!({"title": "U", "client_id": "k"}))).await;
    assert_eq!(
        (conflict.status(), conflict.json()["code"].as_str(), conflict.json()["detail"].is_array()),
        (422, Some("conflict"), true)
    );
    let number = made["id"].as_i64().unwrap();
    // What is of another project is what does not exist: the same bytes.
    let foreign = client.send(Request::get(&format!("/api/assistant/conversations/other/{number}"))).await;
    let unknown = client.send(Request::get("/api/assistant/conversations/other/999999")).await;
    assert_eq!((foreign.status(), foreign.text()), (404, unknown.text()));
    let path = format!("/api/assistant/conversations/demo/{number}");
    for (request, status, code) in [
        (Request::post(&format!("{path}/messages"), &json!({"content": " "})), 422, "empty_message"),
        (Request::post(&format!("{path}/messages"), &json!({"content": "a\u{0}"})), 422, "invalid_text"),
        (Request::post(&format!("{path}/messages"), &json!({})), 422, "invalid_field"),
        (Request::post(&format!("{path}/messages"), &json!({"content": "x".repeat(200_001)})), 422, "too_large"),
        (Request::new("PATCH", &path).json(&json!({"title": ""})), 422, "invalid_field"),
        (Request::new("PATCH", &path).json(&json!({})), 422, "invalid_field"),
        (Request::get("/api/assistant/conversations/demo/1e3"), 422, "invalid_field"),
        (Request::get("/api/assistant/conversations/demo/-1"), 404, "not_found"),
        (Request::get("/api/assistant/conversations/bad.name/abc"), 400, "invalid_project_name"),
        (Request::get("/api/assistant/conversations/%FF/1"), 400, "invalid_project_name"),
        (Request::get("/api/assistant/nothing"), 404, "not_found"),
        (Request::get("/api/assistant/ws/demo"), 426, "upgrade_required"),
        (Request::get("/api/assistant/conversations/demo?limit=0"), 422, "invalid_field"),
    ] {
        let shown = format!("{request:?}");
        let answer = client.send(request).await;
        let body = answer.json();
        assert_eq!((answer.status(), body["code"].as_str()), (status, Some(code)), "{shown}: {body}");
        assert!(!body["detail"].is_null(), "{shown}: {body}");
    }
    let renamed = client.send(Request::new("PATCH", &path).json(&json!({"title": "New"}))).await.expect(200);
    assert_eq!(renamed["title"], "New");
    let found = client.send(Request::get("/api/assistant/conversations/demo?q=new")).await.expect(200);
    assert_eq!(found.as_array().map(Vec::len), Some(1));
    // Chats and sessions know nothing of it.
    for list in ["/api/chats", "/api/sessions"] {
        assert!(client.send(Request::get(list)).await.text().matches("\"New\"").count() == 0, "{list}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn projects_come_and_go() {
    let projects = Projects::new(&[("set", "README.md", "hi"), ("later", "README.md", "later")]);
    let setup = Setup::new().setting("COLLOQUY_PROJECTS", &format!("set={}", projects.path("set").display()));
    let server = setup.start().await;
    let client = server.client();
    let add = |name: &str, path: &str| Request::post("/api/projects", &json!({"name": name, "path": path}));
    let later = projects.path("later").display().to_string();
    client.send(add("later", &later)).await.expect(201);
    for (request, status) in [
        (add("later", &later), 409),
        (add("set", &later), 409),
        (add("bad.name", &later), 422),
        (add("x", "relative"), 422),
        (add("x", "/nonexistent/x"), 422),
        (add("x", &format!("{later}/README.md")), 422),
        (add("x", &server.place.data_dir().display().to_string()), 422),
        (Request::delete("/api/projects/set"), 403),
        (Request::delete("/api/projects/nope"), 404),
        (Request::get("/api/projects/nope"), 404),
    ] {
        let shown = format!("{request:?}");
        let answer = client.send(request).await;
        assert_eq!(answer.status(), status, "{shown}: {}", answer.text());
        assert!(answer.header("content-type").unwrap().starts_with("application/problem+json"), "{shown}");
    }
    let names =
        |list: &Value| list.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&client.send(Request::get("/api/projects")).await.expect(200)), ["later", "set"]);
    let (socket, number) = started(&client, "later").await;
    client.send(Request::delete("/api/projects/later")).await.expect(200);
    client.send(Request::get(&format!("/api/assistant/conversations/later/{number}"))).await.expect(404);
    drop(socket);
    client.send(add("later", &later)).await.expect(201);
    assert_eq!(detail(&client, "later", number).await["messages"].as_array().map(Vec::len), Some(1), "the conversation was kept");
    // A directory that goes is noticed when it is used.
    std::fs::rename(&later, format!("{later}-moved")).unwrap();
    let mut socket = open(&client, "later").await;
    assert_eq!(socket.frame().await["content"], "Project directory not found");
    assert_eq!(socket.close_code(Duration::from_secs(5)).await, Some(4004));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_originals_other_panels_answer_only_if_the_owner_wishes() {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let paths = [
        "/api/projects/demo/features",
        "/api/projects/demo/features/graph",
        "/api/projects/demo/agent/status",
        "/api/projects/demo/devserver/status",
        "/api/projects/demo/schedules",
        "/api/projects/demo/schedules/next",
        "/api/terminal/demo",
        "/api/settings",
        "/api/settings/models",
        "/api/settings/providers",
        "/api/setup/status",
        "/api/health",
    ];
    for (compat, status) in [("off", 404), ("on", 200)] {
        let server = projects.named_in(Setup::new().setting("COLLOQUY_ASSISTANT_COMPAT", compat)).start().await;
        let client = server.client();
        for path in paths {
            assert_eq!(client.send(Request::get(path)).await.status(), status, "{path} with {compat}");
        }
        let project = &client.send(Request::get("/api/projects")).await.expect(200)[0];
        assert_eq!((project["name"].as_str(), project["has_spec"].as_bool()), (Some("demo"), (compat == "on").then_some(true)));
        let socket = crate::harness_ws::Socket::open(&client, "/ws/projects/demo", &[]).await;
        assert_eq!(socket.is_ok(), compat == "on");
        if let Ok(mut socket) = socket {
            assert_eq!(socket.frame().await["type"], "agent_status");
            assert_eq!(socket.frame().await["type"], "dev_server_status");
            assert_eq!(socket.ask(&json!({"type": "ping"})).await["type"], "pong");
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_in_without_proof() {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let server = projects.named_in(Setup::with_sign_in()).start().await;
    for path in [
        "/api/assistant/conversations/demo",
        "/api/assistant/sessions",
        "/api/projects",
        "/api/projects/demo/file?path=README.md",
    ] {
        assert_eq!(server.client().send(Request::get(path)).await.status(), 401, "{path}");
        server.owner().send(Request::get(path)).await.expect(200);
    }
    let refused = crate::harness_ws::Socket::open(&server.client(), "/api/assistant/ws/demo", &[]).await;
    assert_eq!(refused.err(), Some(401));
    let evil = [("Origin".to_owned(), "http://evil.test".to_owned())];
    let refused = crate::harness_ws::Socket::open(&server.owner(), "/api/assistant/ws/demo", &evil).await;
    assert_eq!(refused.err(), Some(403));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_shown_as_the_agent_reads_it_or_refused_in_words() {
    const LIMIT: usize = 2 * 1024 * 1024;
    let mut projects = Projects::new(&[("demo", "src/main.rs", "fn main() {}\n")]);
    projects.write("demo", "image.bin", b"\x89PNG\0\0");
    projects.write("demo", "long.txt", &vec![b'x'; LIMIT + 1]);
    projects.write("demo", ".gitignore", b"built.txt\n");
    projects.write("demo", "built.txt", b"built\n");
    let server = projects.named_in(Setup::new()).start().await;
    let client = server.client();
    let file = |path: &str| client.send(Request::get(&format!("/api/projects/demo/file?path={path}")));
    let shown = file("src/main.rs").await.expect(200);
    assert_eq!((shown["content"].as_str(), shown["truncated"].as_bool()), (Some("fn main() {}\n"), Some(false)));
    // A list leaves it out; who names it exactly gets it.
    assert_eq!(file("built.txt").await.expect(200)["content"], "built\n");
    let long = file("long.txt").await.expect(200);
    assert_eq!((long["content"].as_str().map(str::len), long["truncated"].as_bool()), (Some(LIMIT), Some(true)));
    for (path, words) in [("image.bin", "binary"), ("src", "directory"), ("missing.rs", "not found"), ("src/../..", "")] {
        let answer = file(path).await;
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        let problem = answer.expect(404);
        assert_eq!(problem["code"], "file_not_shown");
        assert!(problem["title"].as_str().is_some_and(|title| title.contains(words)), "{problem}");
    }
    assert_eq!(client.send(Request::get("/api/projects/demo/file")).await.status(), 422);
    assert_eq!(client.send(Request::get("/api/projects/other/file?path=a")).await.status(), 404);
    server.stop().await;
}
