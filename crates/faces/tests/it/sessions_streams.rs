//! The streams of the sessions API: one turn, one session, all sessions.

use axum::http::{Method, StatusCode};
use faces::AuthMode;
use serde_json::json;

use crate::sessions_world::{Event, World, names, read, request, text};

#[tokio::test]
async fn a_message_is_answered_as_a_stream_and_stored_with_parts() {
    let script = json!([
        {"reasoning": ["hm"]}, {"text": ["Fi", "rst"]}, {"tool": {"id": "t1", "name": "read_file", "input": {"path": "a.txt"}}},
        {"tool": {"id": "t2", "name": "read_file", "input": {"path": "none"}}}, {"text": ["done"]}
    ]);
    let world = World::new(script).await;
    std::fs::write(world.workdir.path().join("a.txt"), "alpha\n").unwrap();
    let id = world.new_session().await;
    let mut stream = world.say(&id, "read it").await;
    let events = stream.until("message.done").await;
    stream.end().await;
    let start = &events[0];
    assert_eq!(start.name, "message.start");
    assert_eq!(events.last().unwrap().data["messageId"], start.data["messageId"]);
    assert_eq!(events.last().unwrap().data["status"], "completed");
    assert_eq!(text(&events), "Firstdone");
    assert!(!names(&events).contains(&"message.reasoning"));
    let failed = events.iter().find(|event| event.name == "tool.result" && event.data["toolId"] == "t2").unwrap();
    assert_eq!(failed.data["result"], "Tool execution failed: File not found: none");
    assert_eq!(failed.data["isError"], true);
    assert!(events.iter().all(|event| event.data["sessionId"] == json!(id) && event.data["type"] == json!(event.name)));

    let path = format!("/api/sessions/{id}/messages");
    let (_, headers, body) = read(world.send(request(Method::GET, &path, &[], None)).await).await;
    let cursor = headers["colloquy-cursor"].to_str().unwrap().to_owned();
    let messages: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let roles: Vec<_> = messages.as_array().unwrap().iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
    let types = |index: usize| -> Vec<_> {
        let parts = messages[index]["parts"].as_array().unwrap();
        parts.iter().map(|part| (part["type"].as_str().unwrap().to_owned(), part["order"].as_u64().unwrap())).collect()
    };
    let part = |kind: &str, order: u64| (kind.to_owned(), order);
    assert_eq!(types(1), [part("text", 0), part("tool_use", 1), part("tool_use", 2)]);
    assert_eq!(types(2), [part("tool_result", 0), part("tool_result", 1)]);
    assert_eq!(messages[2]["parts"][1]["content"]["is_error"], true);
    assert_eq!(messages[1]["id"], start.data["messageId"]);

    let mut events = world.follow(&id, &cursor).await;
    assert_eq!(events.expect("connected").await.id, Some(cursor));
    world.ask(Method::PATCH, &format!("/api/sessions/{id}"), Some(json!({"title": "T"}))).await;
    assert_eq!(events.expect("session.updated").await.data["session"]["title"], "T");
}

#[tokio::test]
async fn thoughts_are_for_who_asks_for_them() {
    let world = World::new(json!([{"reasoning": ["hm", "m"]}, {"text": ["ok"]}])).await;
    let id = world.new_session().await;
    let path = format!("/api/sessions/{id}/messages?include=reasoning");
    let mut stream = world.open(Method::POST, &path, &[], Some(json!({"content": "x"}))).await;
    let events = stream.until("message.done").await;
    let thoughts: String =
        events.iter().filter(|event| event.name == "message.reasoning").filter_map(|event| event.data["text"].as_str()).collect();
    assert_eq!(thoughts, "hmm");
    let messages = world.get(&format!("/api/sessions/{id}/messages")).await;
    assert_eq!(messages[1]["parts"].as_array().unwrap().len(), 1);
    assert_eq!(messages[1]["parts"][0]["order"], 0);
}

#[tokio::test]
async fn who_comes_while_it_is_busy_waits_in_a_stream_of_its_own() {
    let world = World::new(json!([{"text": ["One", {"pause": "g"}, "."]}, {"text": ["Two."]}])).await;
    let id = world.new_session().await;
    let path = format!("/api/sessions/{id}/messages");
    let key = [("idempotency-key", "k-1")];
    let first = Some(json!({"content": "first"}));
    let mut p = world.open(Method::POST, &path, &key, first.clone()).await;
    p.expect("message.start").await;
    p.expect("message.delta").await;
    let mut q = world.say(&id, "second").await;
    assert_eq!(q.expect("message.queued").await.data["position"], 1);
    let mut again = world.open(Method::POST, &path, &key, first).await;
    assert_eq!(names(&again.until("message.delta").await), ["message.start", "message.delta"]);
    let reject = Some(json!({"content": "third", "whenBusy": "reject"}));
    let busy = json!({"error": "The session is busy", "code": "busy"});
    assert_eq!(world.ask(Method::POST, &path, reject).await, (StatusCode::CONFLICT, busy));
    assert_eq!(world.get(&format!("/api/sessions/{id}")).await["busy"], true);
    world.model.release("g");
    for stream in [&mut p, &mut again] {
        assert_eq!(text(&stream.until("message.done").await), ".");
        stream.end().await;
    }
    let second = q.until("message.done").await;
    assert_eq!((second[0].name.as_str(), text(&second).as_str()), ("message.start", "Two."));
    q.end().await;
    let other = request(Method::POST, &path, &key, Some(json!({"content": "other"})));
    assert_eq!(world.send(other).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_steering_message_is_answered_by_the_rest_of_the_running_turn() {
    let script = json!([
        {"text": ["Be", {"pause": "g"}, "gin"]}, {"tool": {"id": "t", "name": "glob", "input": {"pattern": "*"}}}, {"text": ["End"]}
    ]);
    let world = World::new(script).await;
    let id = world.new_session().await;
    let mut p = world.say(&id, "go").await;
    let begun = p.until("message.delta").await;
    let body = Some(json!({"content": "and hurry", "whenBusy": "steer"}));
    let mut q = world.open(Method::POST, &format!("/api/sessions/{id}/messages"), &[], body).await;
    world.model.release("g");
    let rest = q.until("message.done").await;
    q.end().await;
    assert_eq!(names(&rest)[0], "message.delta");
    assert_eq!(text(&rest), "ginEnd");
    assert_eq!(rest.last().unwrap().data["messageId"], begun[0].data["messageId"]);
    assert_eq!(text(&p.until("message.done").await), "ginEnd");
}

#[tokio::test]
async fn the_events_stream_resumes_behind_the_last_id() {
    let world = World::new(json!([{"text": ["Hel", {"pause": "g"}, "lo"]}])).await;
    let id = world.new_session().await;
    let mut live = world.follow(&id, "").await;
    let connected = live.expect("connected").await;
    assert_eq!((&connected.data["busy"], connected.id.is_some()), (&json!(false), true));
    assert!(connected.data.get("type").is_none());
    drop(world.say(&id, "hi").await);
    let seen = live.until("message.delta").await;
    assert_eq!(names(&seen), ["message.user", "session.updated", "message.start", "message.delta"]);
    let place = seen.last().unwrap().id.clone().unwrap();

    let mut late = world.follow(&id, "").await;
    let shown = late.until("message.delta").await;
    assert_eq!(names(&shown), ["connected", "message.start", "message.delta"]);
    assert_eq!(ids(&shown), [None, None, Some(place.as_str())]);
    assert_eq!((&shown[0].data["busy"], text(&shown).as_str()), (&json!(true), "Hel"));
    world.model.release("g");
    assert_eq!(text(&late.until("message.done").await), "lo");

    let path = format!("/api/events?session={id}&since=0");
    let mut back = world.open(Method::GET, &path, &[("last-event-id", &place)], None).await;
    assert_eq!(back.expect("connected").await.id, Some(place));
    assert_eq!(text(&back.until("message.done").await), "lo");

    let mut whole = world.follow(&id, "0").await;
    let all = whole.until("message.done").await;
    let mut once = names(&all);
    once.dedup();
    assert_eq!(
        once,
        ["connected", "session.created", "message.user", "session.updated", "message.start", "message.delta", "message.done"]
    );
    assert_eq!(text(&all), "Hello");

    for lost in ["no-such-place", "9.9.9", "1.2.999"] {
        let mut stream = world.follow(&id, lost).await;
        assert_eq!(stream.expect("connected").await.id, None);
        assert!(stream.expect("session.reset").await.id.is_some(), "{lost}");
    }
}

#[tokio::test]
async fn a_failed_turn_says_why_and_keeps_its_reason() {
    let world = World::new(json!([{"error": {"status": 400, "message": "bad request"}}])).await;
    let id = world.new_session().await;
    let mut stream = world.say(&id, "one").await;
    let events = stream.until("message.done").await;
    assert_eq!(names(&events), ["message.start", "message.error", "message.done"]);
    assert_eq!(
        (&events[1].data["code"], events[1].id.is_some(), events[2].id.is_some()),
        (&json!("provider_rejected"), false, true)
    );
    let messages = world.get(&format!("/api/sessions/{id}/messages")).await;
    assert_eq!((&messages[1]["status"], &messages[1]["parts"]), (&json!("failed"), &json!([])));
    assert_eq!((&messages[1]["error"], &messages[1]["errorCode"]), (&events[1].data["error"], &json!("provider_rejected")));
}

#[tokio::test]
async fn a_page_is_full_and_only_what_is_being_written_is_called_so() {
    let call = json!({"id": "t", "name": "glob", "input": {"pattern": "*"}});
    let world = World::new(json!([{"tool": call}, {"text": [{"pause": "never"}]}])).await;
    let id = world.new_session().await;
    world.say(&id, "look").await.until("tool.result").await;
    let path = format!("/api/sessions/{id}/messages");
    let list = async |query: &str| -> Vec<(String, bool)> {
        let messages = world.get(&format!("{path}{query}")).await;
        let one = |message: &serde_json::Value| (message["role"].as_str().unwrap().to_owned(), message["streaming"] == true);
        messages.as_array().unwrap().iter().map(one).collect()
    };
    let (user, agent) = (("user".to_owned(), false), ("assistant".to_owned(), false));
    let all = world.get(&path).await;
    let written = all[3]["id"].as_str().unwrap();
    assert_eq!(list("?limit=1").await, [("assistant".to_owned(), true)]);
    assert_eq!(list(&format!("?limit=2&before={written}")).await, [agent.clone(), user.clone()]);
    world.ask(Method::POST, &format!("/api/sessions/{id}/cancel"), None).await;
    // The message in which nothing was written is gone, and another one has its place.
    assert_eq!(list("?limit=1").await, std::slice::from_ref(&user));
    assert_eq!(list("?limit=2").await, [agent.clone(), user.clone()]);
    assert_eq!(list("?limit=9").await, [user.clone(), agent, user]);
}

#[tokio::test]
async fn cancelling_and_deleting_end_every_stream() {
    let world = World::new(json!([{"text": ["a", {"pause": "never"}]}, {"text": ["b", {"pause": "never"}]}])).await;
    let id = world.new_session().await;
    let mut running = world.say(&id, "one").await;
    running.until("message.delta").await;
    let cancel = format!("/api/sessions/{id}/cancel");
    assert_eq!(world.ask(Method::POST, &cancel, None).await, (StatusCode::OK, json!({"cancelled": true})));
    let done = running.expect("message.done").await.data;
    assert_eq!((&done["status"], &done["usage"]["inputTokens"]), (&json!("cancelled"), &json!(10)), "the prompt was paid for");
    running.end().await;

    let mut running = world.say(&id, "two").await;
    running.until("message.delta").await;
    let mut waiting = world.say(&id, "three").await;
    waiting.expect("message.queued").await;
    let mut events = world.follow(&id, "").await;
    events.until("message.delta").await;
    let (status, _) = world.ask(Method::DELETE, &format!("/api/sessions/{id}"), None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(running.expect("message.done").await.data["status"], "cancelled");
    running.end().await;
    waiting.expect("message.start").await;
    assert_eq!(waiting.expect("message.done").await.data["status"], "cancelled");
    waiting.end().await;
    assert_eq!(events.until("session.deleted").await.last().unwrap().data["sessionId"], json!(id));
    events.end().await;
}

#[tokio::test]
async fn one_stream_carries_all_sessions() {
    let world = World::new(json!([{"text": ["a", {"pause": "g"}, "b"]}])).await;
    let mut all = world.open(Method::GET, "/api/events", &[], None).await;
    let connected = all.expect("connected").await;
    assert!(connected.id.is_some());
    let id = world.new_session().await;
    assert_eq!(all.expect("session.created").await.data["session"]["id"], json!(id));
    drop(world.say(&id, "x").await);
    let seen = all.until("message.delta").await;
    assert!(seen.iter().all(|event| event.data["sessionId"] == json!(id)));

    let mut late = world.open(Method::GET, "/api/events", &[], None).await;
    let shown = late.until("message.delta").await;
    assert_eq!((names(&shown), text(&shown).as_str()), (vec!["connected", "message.start", "message.delta"], "a"));
    world.model.release("g");
    assert_eq!(text(&late.until("message.done").await), "b");
    assert!(all.until("message.done").await.iter().any(|event| event.id.is_some()));
    let mut lost = world.open(Method::GET, "/api/events?since=no-such-place", &[], None).await;
    lost.expect("connected").await;
    lost.expect("session.reset").await;
}

#[tokio::test]
async fn the_stream_of_all_sessions_resumes_behind_the_last_id() {
    let world = World::new(json!([])).await;
    let mut all = world.open(Method::GET, "/api/events", &[], None).await;
    let place = all.expect("connected").await.id.unwrap();
    let id = world.new_session().await;
    all.expect("session.created").await;
    let mut back = world.open(Method::GET, "/api/events", &[("last-event-id", &place)], None).await;
    assert_eq!(back.expect("connected").await.id, Some(place));
    assert_eq!(back.expect("session.created").await.data["session"]["id"], json!(id));
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let world = World::new(json!([{"text": [{"pause": "never"}]}])).await;
    let id = world.new_session().await;
    let mut streams = vec![world.follow(&id, "").await, world.say(&id, "x").await];
    streams.push(world.open(Method::GET, "/api/events", &[], None).await);
    world.drain.cancel();
    for mut stream in streams {
        while stream.next().await.is_some() {}
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_browser_signs_out() {
    let world = World::with(AuthMode::Token, json!([])).await;
    let answer = world.send(request(Method::POST, "/api/sign-in", &[], Some(json!({"token": "owner-token"})))).await;
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    let cookie = [("cookie", set.split(';').next().unwrap())];
    let mut stream = world.open(Method::GET, "/api/events", &cookie, None).await;
    stream.expect("connected").await;
    let begun = tokio::time::Instant::now();
    assert_eq!(world.send(request(Method::POST, "/api/sign-out", &cookie, None)).await.status(), StatusCode::NO_CONTENT);
    stream.end().await;
    assert!(begun.elapsed().as_secs() < 5);
}

fn ids(events: &[Event]) -> Vec<Option<&str>> {
    events.iter().map(|event| event.id.as_deref()).collect()
}
