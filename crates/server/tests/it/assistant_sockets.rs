//! Several sockets, several projects, and what happens between them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::assistant_world::{Projects, asking, detail, eventually, joined, open, started, text, turn};
use crate::harness::Setup;
use crate::harness_http::Request;

/// What a ping may take while an answer streams. A machine that is busy with something else may make one of them late.
const PONG: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_reaches_a_wrong_place() {
    let words = [("red", "the word is vermilion"), ("blue", "the word is ultramarine")];
    let projects = Projects::new(&words.map(|(project, word)| (project, "WORD.md", word)));
    let server = projects.named_in(Setup::new().setting("COLLOQUY_MODEL", "demo/demo")).start().await;
    let client = server.client();
    let mut talks = Vec::new();
    for (project, word) in words {
        let (first, number) = started(&client, project).await;
        let mut sockets = vec![first];
        for _ in 0..2 {
            sockets.push(joined(&client, project, number).await);
        }
        talks.push((project, word, number, sockets));
    }
    for round in 0..4 {
        // The messages of a round come from all sockets at once, and each socket sees the turns of all.
        for (_, _, _, sockets) in &mut talks {
            for (index, socket) in sockets.iter_mut().enumerate() {
                let client_id = format!("{round}-{index}");
                socket.send(&json!({"type": "message", "content": "read WORD.md", "client_id": client_id})).await;
            }
        }
        for (project, word, number, sockets) in &mut talks {
            let mut seen: Vec<Vec<Value>> = Vec::new();
            for socket in sockets.iter_mut() {
                let mut frames = Vec::new();
                for _ in 0..3 {
                    frames.extend(turn(socket).await);
                }
                seen.push(frames);
            }
            for frames in &seen {
                assert!(frames.iter().all(|frame| frame["conversation_id"] == *number), "{project}: {frames:?}");
                let previews: Vec<&str> = frames.iter().filter_map(|frame| frame["preview"].as_str()).collect();
                assert_eq!(previews, [*word; 3], "{project}");
                let ids: BTreeSet<&str> = frames.iter().filter_map(|frame| frame["client_id"].as_str()).collect();
                assert_eq!(ids.len(), 3, "{project}: {ids:?}");
            }
            // The same frames in the same order, up to how text is cut into pieces.
            let shape = |frames: &[Value]| {
                let others = frames.iter().filter(|frame| frame["type"] != "text").cloned().collect::<Vec<_>>();
                (text(frames), others)
            };
            assert!(seen.windows(2).all(|pair| shape(&pair[0]) == shape(&pair[1])), "{project}: sockets differ");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_does_not_wait_for_the_answer() {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let server =
        projects.named_in(Setup::new().setting("COLLOQUY_MODEL", "demo/demo").setting("COLLOQUY_SOCKET_RATE", "0")).start().await;
    let (mut socket, _) = started(&server.client(), "demo").await;
    socket.send(&json!({"type": "message", "content": "count to 1000 slowly"})).await;
    socket.frame_of("text").await;
    let mut waits = Vec::new();
    for _ in 0..50 {
        let asked = Instant::now();
        socket.send(&json!({"type": "ping"})).await;
        socket.frame_of("pong").await;
        waits.push(asked.elapsed());
    }
    waits.sort();
    assert!(waits[waits.len() * 3 / 4] < PONG, "{waits:?}");
    socket.send(&json!({"type": "cancel"})).await;
    assert_eq!(turn(&mut socket).await.last().unwrap()["outcome"], "cancelled");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_ascend_and_are_never_used_again() {
    let projects = Projects::new(&[("demo", "README.md", "hi"), ("other", "README.md", "hi")]);
    let server = projects.named_in(Setup::new().setting("COLLOQUY_MODEL", "demo/demo")).start().await;
    let client = server.client();
    let mut last = 0;
    let mut last_row = 0;
    for project in ["demo", "other", "demo", "demo"] {
        let (mut socket, number) = started(&client, project).await;
        assert!(number > last, "{number} after {last}");
        last = number;
        // A second message while the first is answered: its answer begins later, and has the larger number.
        for content in ["count to 3", "hello"] {
            socket.send(&json!({"type": "message", "content": content})).await;
        }
        for _ in 0..2 {
            turn(&mut socket).await;
        }
        let shown = eventually(&client, project, number, |shown| shown["messages"].as_array().unwrap().len() == 5).await;
        for row in shown["messages"].as_array().unwrap() {
            let id = row["id"].as_i64().unwrap();
            assert!(id > last_row, "{id} after {last_row}: {shown}");
            last_row = id;
        }
        client.send(Request::delete(&format!("/api/assistant/conversations/{project}/{number}"))).await.expect(200);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_answer_wins_from_whichever_socket() {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let script = [asking("q1"), json!({"text": ["Noted."]}), json!({"text": ["Later."]})];
    let server = projects.named_in(Setup::new().script(&script)).start().await;
    let client = server.client();
    let (mut one, number) = started(&client, "demo").await;
    let mut two = joined(&client, "demo", number).await;
    one.send(&json!({"type": "message", "content": "Plan"})).await;
    // What was written before the question was seen waits for its answer.
    one.frame_of("question").await;
    two.frame_of("question").await;
    one.frame_of("response_done").await;
    two.frame_of("response_done").await;
    let answer = |value: &str| json!({"type": "answer", "answers": {"0": value}, "client_id": value});
    one.send(&answer("A")).await;
    two.send(&answer("B")).await;
    let mut refused = 0;
    for socket in [&mut one, &mut two] {
        let mut frames = turn(socket).await;
        if !frames.iter().any(|frame| frame["type"] == "error") {
            // The refusal may come behind the turn.
            let late = socket.said_within(Duration::from_millis(300)).await.map(crate::harness_ws::Said::json);
            frames.extend(late);
        }
        assert_eq!(text(&frames), "Noted.");
        let errors = frames.iter().filter(|frame| frame["content"] == "No question is waiting for an answer");
        refused += errors.count();
    }
    assert_eq!(refused, 1);
    let shown = detail(&client, "demo", number).await;
    let rows = shown["messages"].as_array().unwrap();
    let said: Vec<&str> = rows.iter().filter_map(|row| row["content"].as_str()).skip(1).collect();
    assert!(said[0] == "Plan" && said[1].contains("Which?") && ["A", "B"].contains(&said[2]) && said[3] == "Noted.", "{said:?}");
    assert_eq!((rows[2]["outcome"].as_str(), shown["question"].is_null()), (Some("question"), true));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_over_rest_counts_once_and_under_one_name() {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let script = [asking("q1"), json!({"text": ["Noted."]})];
    let server = projects.named_in(Setup::new().script(&script)).start().await;
    let client = server.client();
    let (mut socket, number) = started(&client, "demo").await;
    let path = format!("/api/assistant/conversations/demo/{number}/answer");
    let answer = |answers: Value| Request::post(&path, &json!({"answers": answers, "client_id": "a1"}));
    let early = client.send(answer(json!({"0": "A"}))).await.expect(409);
    assert_eq!(early["code"], "no_question");
    socket.send(&json!({"type": "message", "content": "Plan"})).await;
    assert_eq!(turn(&mut socket).await.last().unwrap()["outcome"], "question");
    for bad in [json!("A"), json!({"x": "A"}), json!({"0": 1}), json!({"0": [1]}), json!({}), json!({"0": "a\u{0}b"})] {
        client.send(answer(bad)).await.expect(422);
    }
    let first = client.send(answer(json!({"0": ["A"]}))).await.expect(202);
    let shown = turn(&mut socket).await;
    assert_eq!((shown[0]["content"].as_str(), text(&shown)), (Some("A"), "Noted.".to_owned()));
    assert_eq!(first["message_id"], shown[0]["message_id"]);
    let again = client.send(answer(json!({"0": ["A"]}))).await.expect(202);
    assert_eq!(again["message_id"], first["message_id"], "a repeat is the same answer");
    let late = json!({"answers": {"0": "B"}, "client_id": "b1"});
    assert_eq!(client.send(Request::post(&path, &late)).await.expect(409)["code"], "no_question");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_beginning_a_position_brings_the_whole_conversation() {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let script = [json!({"text": ["One."]}), asking("q1"), json!({"text": ["Three."]})];
    let server = projects.named_in(Setup::new().script(&script)).start().await;
    let client = server.client();
    let (mut socket, number) = started(&client, "demo").await;
    let mut live = Vec::new();
    for content in ["a", "b", "c"] {
        socket.send(&json!({"type": "message", "content": content})).await;
        live.extend(turn(&mut socket).await);
    }
    let mut late = open(&client, "demo").await;
    late.send(&json!({"type": "start", "conversation_id": number, "since": "0"})).await;
    let mut again = turn(&mut late).await;
    let greeting = text(&again);
    assert!(greeting.contains("**demo**"), "{greeting}");
    again.clear();
    for _ in 0..3 {
        again.extend(turn(&mut late).await);
    }
    assert_eq!(text(&again), text(&live));
    let bones = |frames: &[Value]| {
        let whole = frames.iter().filter(|frame| frame["type"] != "text");
        whole.map(|frame| (frame["type"].clone(), frame["turn_id"].clone(), frame["message_id"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(bones(&again), bones(&live));
    let messages = again.iter().filter(|frame| frame["type"] == "user_message");
    assert!(messages.into_iter().all(|frame| frame["turn_id"].is_string()), "a message names the turn that answers it");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_behind_a_question_is_answered_after_it() {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let first = json!({"text": ["One", {"pause": "g"}, "."]});
    let script = [first, asking("q1"), json!({"text": ["Noted."]}), json!({"text": ["Second."]})];
    let server = projects.named_in(Setup::new().script(&script)).start().await;
    let client = server.client();
    let (mut socket, number) = started(&client, "demo").await;
    for content in ["one", "two"] {
        socket.send(&json!({"type": "message", "content": content})).await;
        socket.frame_of("user_message").await;
    }
    server.model.release("g");
    let frames = turn(&mut socket).await;
    assert_eq!(frames.last().unwrap()["outcome"], "question");
    // Nothing runs, so there is nothing to cancel, and the second message stays.
    assert_eq!(socket.ask(&json!({"type": "cancel"})).await["content"], "Nothing to cancel");
    assert_eq!(detail(&client, "demo", number).await["question"]["questions"][0]["multiSelect"], false);
    socket.send(&json!({"type": "message", "content": "neither"})).await;
    assert_eq!(text(&turn(&mut socket).await), "Noted.");
    assert_eq!(text(&turn(&mut socket).await), "Second.");
    let seen = server.model.requests();
    assert_eq!(seen[1].last, json!(["neither"]), "the answer is the result of the call");
    assert_eq!(seen[2].last, json!("two"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_a_session_and_deleting_end_the_answer_and_say_why() {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let script = [json!({"text": ["Half", {"pause": "never"}]}), json!({"text": ["Half", {"pause": "never"}]})];
    let server = projects.named_in(Setup::new().script(&script)).start().await;
    let client = server.client();
    for (path, why) in [("/api/assistant/sessions/demo", "Session closed"), ("", "Conversation deleted")] {
        let (mut socket, number) = started(&client, "demo").await;
        socket.send(&json!({"type": "message", "content": "go"})).await;
        socket.frame_of("text").await;
        let path = if path.is_empty() { format!("/api/assistant/conversations/demo/{number}") } else { path.to_owned() };
        client.send(Request::delete(&path)).await.expect(200);
        let end = turn(&mut socket).await.pop().unwrap();
        assert_eq!((end["type"].as_str(), end["content"].as_str()), (Some("error"), Some(why)));
        assert!(end["turn_id"].is_string());
        // The socket lives, and is bound to nothing.
        let refused = socket.ask(&json!({"type": "message", "content": "x"})).await;
        assert_eq!(refused["content"], "No active session. Send 'start' first.");
        client.send(Request::get("/api/assistant/sessions/demo")).await.expect(404);
        if why == "Session closed" {
            let kept = detail(&client, "demo", number).await;
            assert_eq!(kept["messages"][2]["content"], "Half", "what was said is kept");
        }
    }
    // Where nothing runs, those who asked for notices are told as well, and nobody else.
    let (mut plain, number) = started(&client, "demo").await;
    let mut watching = open(&client, "demo").await;
    watching.send(&json!({"type": "start", "conversation_id": number, "notices": true})).await;
    watching.frame_of("response_done").await;
    client.send(Request::delete(&format!("/api/assistant/conversations/demo/{number}"))).await.expect(200);
    assert_eq!(watching.frame_of("conversation_deleted").await["conversation_id"], number);
    assert_eq!(plain.ask(&json!({"type": "ping"})).await["type"], "pong");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_brings_everything_after_it_once() {
    let projects = Projects::new(&[("demo", "README.md", "hi")]);
    let server = projects.named_in(Setup::new().setting("COLLOQUY_MODEL", "demo/demo")).start().await;
    let client = server.client();
    let (mut socket, number) = started(&client, "demo").await;
    socket.send(&json!({"type": "message", "content": "read README.md"})).await;
    let whole = turn(&mut socket).await;
    for cut in 0..whole.len() - 1 {
        let Some(since) = whole[cut]["seq"].as_str() else { continue };
        let mut late = open(&client, "demo").await;
        late.send(&json!({"type": "start", "conversation_id": number, "since": since})).await;
        let rest = turn(&mut late).await;
        assert_eq!(text(&whole[..=cut]) + &text(&rest), text(&whole), "behind {cut}");
        let kinds = |frames: &[Value]| {
            frames.iter().filter(|frame| frame["type"] != "text").map(|frame| frame["type"].clone()).collect::<Vec<_>>()
        };
        assert_eq!([kinds(&whole[..=cut]), kinds(&rest)].concat(), kinds(&whole));
        assert!(late.frame().await["turn_id"].is_null(), "and then the answer to start");
    }
    let mut lost = open(&client, "demo").await;
    lost.send(&json!({"type": "start", "conversation_id": number, "since": "99.99.99"})).await;
    assert_eq!(lost.frame().await["code"], "bad_cursor");
    assert_eq!(lost.frame().await["type"], "response_done");
    server.stop().await;
}
