//! What a restart and a crash leave of conversations about projects.

use serde_json::json;

use crate::assistant_world::{Projects, asking, detail, eventually, joined, open, started, text, turn};
use crate::harness::Setup;
use crate::harness_http::Request;
use crate::harness_process::Process;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_and_a_session_outlive_the_program() {
    let (projects, data) = (Projects::new(&[("demo", "README.md", "hi")]), tempfile::tempdir().unwrap());
    let setup = |script: &[serde_json::Value]| {
        projects.named_in(Setup::new().setting("COLLOQUY_DATA_DIR", data.path().to_str().unwrap()).script(script))
    };
    let server = setup(&[json!({"text": ["Well."]}), asking("q1")]).start().await;
    let (mut socket, number) = started(&server.client(), "demo").await;
    socket.send(&json!({"type": "message", "content": "Plan"})).await;
    let asked = turn(&mut socket).await;
    let question = asked.iter().find(|frame| frame["type"] == "question").unwrap().clone();
    drop(socket);
    server.stop().await;

    let server = setup(&[json!({"text": ["Noted."]})]).start().await;
    let client = server.client();
    let session = client.send(Request::get("/api/assistant/sessions/demo")).await.expect(200);
    assert_eq!(session, json!({"project_name": "demo", "conversation_id": number, "is_active": true}));
    let mut socket = open(&client, "demo").await;
    socket.send(&json!({"type": "start", "conversation_id": number})).await;
    let again = socket.frame().await;
    assert_eq!((&again["question_id"], &again["questions"]), (&question["question_id"], &question["questions"]));
    assert_eq!(socket.frame().await["type"], "response_done");
    // Another socket, which never started anything, answers for the session.
    let mut other = open(&client, "demo").await;
    other.send(&json!({"type": "answer", "answers": {"0": "B"}})).await;
    assert_eq!(text(&turn(&mut other).await), "Noted.");
    assert_eq!(text(&turn(&mut socket).await), "Noted.");
    assert_eq!(server.model.requests()[0].last, json!(["B"]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_in_mid_answer_loses_nothing_that_was_stored() {
    let (projects, data) = (Projects::new(&[("demo", "README.md", "hi")]), tempfile::tempdir().unwrap());
    let setup = || {
        let setup = Setup::new().setting("COLLOQUY_DATA_DIR", data.path().to_str().unwrap());
        projects.named_in(setup.setting("COLLOQUY_MODEL", "demo/demo"))
    };
    let process = Process::start(setup()).await;
    let (mut socket, number) = started(&process.client(), "demo").await;
    socket.send(&json!({"type": "message", "content": "count to 1000 slowly"})).await;
    socket.send(&json!({"type": "message", "content": "read README.md", "client_id": "second"})).await;
    let mut seen = String::new();
    while !seen.contains("5") {
        seen += socket.frame_of("text").await["content"].as_str().unwrap();
    }
    process.kill();

    let mut process = Process::start(setup()).await;
    let client = process.client();
    // The message that waited is answered without anybody asking for it.
    let shown = eventually(&client, "demo", number, |shown| shown["messages"].as_array().unwrap().len() == 5).await;
    let rows = shown["messages"].as_array().unwrap();
    let cut = rows.iter().find(|row| row["outcome"] == "interrupted").expect("the first answer");
    assert!(cut["content"].as_str().unwrap().contains('1'), "{cut}");
    let ids: Vec<i64> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
    // A repeat of what was sent before the crash is no second message.
    let mut socket = joined(&client, "demo", number).await;
    let repeated = socket.ask(&json!({"type": "message", "content": "read README.md", "client_id": "second"})).await;
    assert_eq!((repeated["type"].as_str(), repeated["duplicate"].as_bool()), (Some("user_message"), Some(true)));
    assert_eq!(detail(&client, "demo", number).await["messages"].as_array().unwrap().len(), 5);
    drop(socket);
    process.stop().await;
}
