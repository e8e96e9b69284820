//! The sessions API without its streams.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::sessions_world::{World, read, request};

const UNKNOWN: &str = "00000000-0000-0000-0000-000000000000";

fn error(text: &str, code: &str) -> Value {
    json!({"error": text, "code": code})
}

#[tokio::test]
async fn a_session_is_made_changed_and_deleted() {
    let world = World::new(json!([])).await;
    let id = world.new_session().await;
    let session = world.get(&format!("/api/sessions/{id}/")).await;
    assert_eq!(session["title"], "New Conversation");
    assert_eq!(session["workingDirectory"], world.workdir.path().canonicalize().unwrap().to_str().unwrap());
    assert_eq!(
        (&session["provider"], &session["model"], &session["mode"]),
        (&json!("scripted"), &json!("scripted"), &json!("build"))
    );
    assert_eq!((&session["busy"], &session["pendingApprovals"]), (&json!(false), &json!(0)));

    let path = format!("/api/sessions/{id}");
    let (code, changed) =
        world.ask(Method::PATCH, &path, Some(json!({"title": "Birds", "mode": "plan", "model": "scripted"}))).await;
    assert_eq!((code, &changed["title"], &changed["mode"]), (StatusCode::OK, &json!("Birds"), &json!("plan")));
    for (body, status, text) in [
        (json!({"title": 1}), 422, "title: expected a string"),
        (json!({"mode": "x"}), 422, "mode: expected one of ask, plan, build"),
        (json!({"provider": "nope"}), 400, "Unknown provider"),
        (json!({"workingDirectory": "/no/such/place"}), 400, "Working directory does not exist or is not accessible"),
        (json!({"workingDirectory": "relative"}), 400, "Working directory does not exist or is not accessible"),
        (json!({"title": "a\u{0}b"}), 422, "Text must not contain U+0000"),
    ] {
        let (code, answer) = world.ask(Method::PATCH, &path, Some(body.clone())).await;
        assert_eq!((code.as_u16(), &answer["error"]), (status, &json!(text)), "{body}");
    }
    assert_eq!(world.get(&path).await["title"], "Birds");

    assert_eq!(world.ask(Method::DELETE, &path, None).await, (StatusCode::OK, json!({"success": true})));
    let gone = (StatusCode::NOT_FOUND, error("Session not found", "not_found"));
    assert_eq!(world.ask(Method::GET, &path, None).await, gone);
    assert_eq!(world.ask(Method::DELETE, &path, None).await, gone);
}

#[tokio::test]
async fn unknown_sessions_are_unknown_however_they_are_spelled() {
    let world = World::new(json!([])).await;
    let gone = (StatusCode::NOT_FOUND, error("Session not found", "not_found"));
    for id in [UNKNOWN, "nope", "..%2f..%2fetc", "%ff", "%00"] {
        for rest in ["", "/messages", "/events", "/export"] {
            assert_eq!(world.ask(Method::GET, &format!("/api/sessions/{id}{rest}"), None).await, gone, "{id}{rest}");
        }
        let messages = format!("/api/sessions/{id}/messages");
        assert_eq!(world.ask(Method::POST, &messages, Some(json!({"content": "hi"}))).await, gone, "{id}");
        assert_eq!(world.ask(Method::POST, &format!("/api/sessions/{id}/cancel"), None).await, gone, "{id}");
        assert_eq!(world.ask(Method::GET, &format!("/api/events?session={id}"), None).await, gone, "{id}");
    }
    let unknown_turn = Some(json!({"turnId": "nope"}));
    let path = format!("/api/sessions/{}/cancel", world.new_session().await);
    assert_eq!(world.ask(Method::POST, &path, unknown_turn).await, (StatusCode::OK, json!({"cancelled": false})));
    assert_eq!(world.ask(Method::POST, &path, None).await, (StatusCode::OK, json!({"cancelled": false})));
}

#[tokio::test]
async fn a_repeated_request_is_done_once() {
    let world = World::new(json!([])).await;
    let create = async |body: Value| {
        let request = request(Method::POST, "/api/sessions", &[("idempotency-key", "k")], Some(body));
        let (status, _, body) = read(world.send(request).await).await;
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (_, first) = create(json!({"title": "a"})).await;
    let path = format!("/api/sessions/{}", first["id"].as_str().unwrap());
    let renamed = world.send(request(Method::PATCH, &path, &[], Some(json!({"title": "c"})))).await;
    assert_eq!(renamed.status(), StatusCode::OK);
    assert_eq!(create(json!({"title": "a"})).await.1, first, "the first answer, whatever has changed since");
    let (status, body) = create(json!({"title": "b"})).await;
    assert_eq!((status.as_u16(), &body["code"]), (422, &json!("conflict")));
    assert_eq!(world.get("/api/sessions").await.as_array().unwrap().len(), 1);
    let long = "k".repeat(129);
    let request = request(Method::POST, "/api/sessions", &[("idempotency-key", &long)], None);
    assert_eq!(world.send(request).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_list_has_pages() {
    let world = World::new(json!([])).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(0, json!(world.new_session().await));
    }
    let listed = async |query: &str| -> Vec<Value> {
        let list = world.get(&format!("/api/sessions{query}")).await;
        list.as_array().unwrap().iter().map(|session| session["id"].clone()).collect()
    };
    assert_eq!(listed("").await, ids);
    assert_eq!(listed("?limit=2").await, ids[..2]);
    assert_eq!(listed(&format!("?limit=2&before={}", ids[0].as_str().unwrap())).await, ids[1..]);
    for query in ["?limit=0", "?limit=501", "?limit=x", "?limit=-1"] {
        let (code, body) = world.ask(Method::GET, &format!("/api/sessions{query}"), None).await;
        assert_eq!((code.as_u16(), &body["error"]), (422, &json!("limit: expected an integer from 1 to 500")), "{query}");
    }
}

#[tokio::test]
async fn messages_that_make_no_sense_are_refused_before_the_stream() {
    let world = World::new(json!([])).await;
    let path = format!("/api/sessions/{}/messages", world.new_session().await);
    for (body, code, text) in [
        (json!({}), "invalid_field", "content: expected a string"),
        (json!({"content": 1}), "invalid_field", "content: expected a string"),
        (json!({"content": " \n"}), "empty_message", "Empty message"),
        (json!({"content": "a\u{0}"}), "invalid_text", "Text must not contain U+0000"),
        (json!({"content": "a", "clientId": ""}), "invalid_field", "clientId: expected 1 to 128 characters"),
        (json!({"content": "a", "whenBusy": "x"}), "invalid_field", "whenBusy: expected one of queue, steer, interrupt, reject"),
    ] {
        let (status, answer) = world.ask(Method::POST, &path, Some(body.clone())).await;
        assert_eq!((status.as_u16(), answer), (422, error(text, code)), "{body}");
    }
    let (status, answer) = world.ask(Method::POST, &path, Some(json!({"content": "a", "workingDir": "/no/such"}))).await;
    assert_eq!((status.as_u16(), &answer["error"]), (400, &json!("Working directory does not exist or is not accessible")));
    assert_eq!(world.get(&path).await, json!([]));
}

#[tokio::test]
async fn providers_and_tools_are_told() {
    let world = World::new(json!([])).await;
    let providers = world.get("/api/providers").await;
    assert_eq!(providers[0]["name"], "scripted");
    assert_eq!((&providers[0]["isConfigured"], &providers[0]["isDefault"]), (&json!(true), &json!(true)));
    assert!(world.get("/api/providers/scripted/models").await["models"].is_array());
    assert!(world.get("/api/providers/scripted/api-key").await.as_object().unwrap().contains_key("apiKey"));
    for path in ["/api/providers/nope/models", "/api/providers/nope/api-key"] {
        let (status, body) = world.ask(Method::GET, path, None).await;
        assert_eq!((status.as_u16(), &body["error"]), (400, &json!("Unknown provider")), "{path}");
    }
    let check = Some(json!({"provider": "nope", "apiKey": "k"}));
    let (status, body) = world.ask(Method::POST, "/api/providers/validate", check).await;
    assert_eq!((status.as_u16(), body), (400, json!({"valid": false, "error": "Unknown provider"})));
    let empty = Some(json!({"provider": "scripted", "apiKey": ""}));
    let (status, body) = world.ask(Method::POST, "/api/providers/validate", empty).await;
    assert_eq!((status.as_u16(), body), (400, json!({"valid": false, "error": "The API key is empty."})));
    let tools = world.get("/api/tools").await;
    let read = tools.as_array().unwrap().iter().find(|tool| tool["name"] == "read_file").unwrap().clone();
    assert_eq!((&read["effect"], &read["modes"]), (&json!("pure"), &json!(["ask", "plan", "build"])));
    assert!(read["inputSchema"].is_object());
}

#[tokio::test]
async fn there_are_no_approvals() {
    let world = World::new(json!([])).await;
    assert_eq!(world.get("/api/approvals?status=all").await, json!([]));
    let answer = world.ask(Method::POST, &format!("/api/approvals/{UNKNOWN}"), Some(json!({"approved": true}))).await;
    assert_eq!(answer, (StatusCode::NOT_FOUND, error("Approval not found", "not_found")));
    let files = format!("/api/sessions/{}/files", world.new_session().await);
    assert_eq!(world.ask(Method::GET, &files, None).await, (StatusCode::NOT_FOUND, error("Not found", "not_found")));
}

#[tokio::test]
async fn what_is_exported_can_be_imported() {
    let script = json!([
        {"text": ["Let me see."]}, {"tool": {"id": "t1", "name": "read_file", "input": {"path": "a.txt"}}}, {"text": ["A ```heron```."]},
        {"error": {"status": 400, "message": "x"}}, {"stop": "refusal"}, {"text": ["Cut"]}, {"stop": "max_tokens"}
    ]);
    let world = World::new(script).await;
    std::fs::write(world.workdir.path().join("a.txt"), "heron\n").unwrap();
    let id = world.new_session().await;
    for question in ["what is in a.txt?", "fail", "refuse", "go on"] {
        world.say(&id, question).await.until("message.done").await;
    }

    let exported = world.get(&format!("/api/sessions/{id}/export")).await;
    assert_eq!((&exported["version"], &exported["session"]["title"]), (&json!(1), &json!("what is in a.txt?")));
    let (status, copy) = world.ask(Method::POST, "/api/sessions/import", Some(exported.clone())).await;
    assert_eq!((status, &copy["title"]), (StatusCode::OK, &json!("what is in a.txt?")));
    assert_ne!(copy["id"], id);
    let again = world.get(&format!("/api/sessions/{}/export", copy["id"].as_str().unwrap())).await;
    assert_eq!(spoken(&again), spoken(&exported));

    let (_, headers, text) =
        read(world.send(request(Method::GET, &format!("/api/sessions/{id}/export?format=markdown"), &[], None)).await).await;
    assert_eq!(headers["content-type"], "text/markdown; charset=utf-8");
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("# what is in a.txt?\n") && text.contains("**Tool result**\n\n```\nheron\n```"), "{text}");

    let hits = world.get("/api/sessions/search?q=heron").await;
    assert_eq!(hits[0]["session"]["title"], "what is in a.txt?");
    assert_eq!(world.ask(Method::GET, "/api/sessions/search", None).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_file_that_is_no_export_is_not_imported() {
    let world = World::new(json!([])).await;
    let file =
        |messages: Value| json!({"version": 1, "session": {"title": "x", "workingDirectory": "/no/such"}, "messages": messages});
    let text = json!({"type": "text", "content": {"text": "hi"}});
    let result = json!({"type": "tool_result", "content": {"tool_use_id": "t", "content": "x"}});
    for (body, expected) in [
        (json!({}), "version: expected an integer"),
        (json!({"version": 2}), "version: expected an integer from 1 to 1"),
        (json!({"version": 1}), "session: expected an object"),
        (json!({"version": 1, "session": {}}), "messages: expected a list"),
        (json!({"version": 1, "session": {"mode": "x"}}), "session.mode: expected one of ask, plan, build"),
        (file(json!([1])), "messages.0: expected an object"),
        (file(json!([{"role": "x", "parts": []}])), "messages.0.role: expected one of user, assistant"),
        (
            file(json!([{"role": "user", "parts": [text, {"type": "image"}]}])),
            "messages.0.parts.1.type: expected one of text, tool_use, tool_result",
        ),
        (file(json!([{"role": "user", "parts": [result]}])), "messages.0.parts.0.content.tool_use_id: expected a string"),
        (file(json!([{"role": "assistant", "parts": [result]}])), "messages.0.parts.0.type: expected one of text, tool_use"),
    ] {
        let (status, answer) = world.ask(Method::POST, "/api/sessions/import", Some(body.clone())).await;
        assert_eq!((status.as_u16(), &answer["error"]), (422, &json!(expected)), "{body}");
    }
    let good = file(json!([{"role": "user", "parts": [text]}, {"role": "assistant", "parts": [text]}]));
    assert_eq!(
        world.ask(Method::POST, "/api/sessions/import", Some(good)).await.0,
        StatusCode::OK,
        "another machine's directory"
    );
}

/// Roles, types, contents and how it ended, which a copy has too.
fn spoken(export: &Value) -> Vec<Value> {
    let part = |part: &Value| json!([part["type"], part["content"]]);
    let one = |message: &Value| {
        let parts: Vec<Value> = message["parts"].as_array().unwrap().iter().map(part).collect();
        json!([message["role"], parts, message["status"], message["error"], message["errorCode"]])
    };
    export["messages"].as_array().unwrap().iter().map(one).collect()
}
