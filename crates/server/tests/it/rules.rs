//! Rules, as a client sees them beyond the transcripts.

use serde_json::{Value, json};

use crate::harness::{Setup, new_chat};
use crate::harness_http::{Client, Request};
use crate::harness_ws::Socket;

fn sql(sql: &str) -> Value {
    json!({"tool": {"id": "t", "name": "answer_rule", "input": {"sql": sql, "title": "T", "explanation": "x", "assumptions": ["y"]}}})
}

/// Keeps steps apart that would otherwise be parallel calls of one request.
fn requests(answers: &[&str]) -> Vec<Value> {
    answers.iter().flat_map(|answer| [json!({"text": ["."]}), sql(answer)]).collect()
}

async fn run(client: &Client, wish: &Value) -> Value {
    client.send(Request::post("/rules/run", wish)).await.expect(200)
}

async fn get(client: &Client, path: &str) -> Value {
    client.send(Request::get(path)).await.expect(200)
}

/// The evaluation's questions, answered by a model that knows: every known answer comes out of the API as it stands there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_questions_have_their_known_answers() {
    let questions: Vec<Value> = include_str!("../../../../bench/rules/questions.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a question"))
        .collect();
    assert_eq!(questions.len(), 40);
    let known: Vec<&str> = questions.iter().map(|question| question["sql"].as_str().expect("SQL")).collect();
    let server = Setup::new().script(&requests(&known)).start().await;
    let client = server.client();
    for question in &questions {
        let answer = run(&client, &json!({"rule_code": question["question"], "fresh": true})).await;
        assert_eq!(answer["status"], "done", "{answer}");
        let rows = get(&client, &format!("/query/{}?limit=1000", answer["view"].as_str().expect("a view"))).await;
        let rows: Vec<Vec<Value>> = rows
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row.as_object().expect("a row").values().cloned().collect())
            .collect();
        assert_eq!(json!(rows), question["expected"], "{}", question["question"]);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_model_knows_the_rules_that_come_with_the_sample() {
    let server = Setup::new().setting("COLLOQUY_MODEL", "demo").start().await;
    let client = server.client();
    for code in ["ORGS_BY_STAGE", "PATTERNS_IN_EPISODES", "GUESTS_BY_PATTERN", "TIME_TO_FUNDING", "Find all patterns"] {
        let answer = run(&client, &json!({"rule_code": code})).await;
        assert_eq!((answer["status"].as_str(), answer["repairs"].as_u64()), (Some("done"), Some(0)), "{answer}");
        assert!(answer["rows"].as_u64().is_some_and(|rows| rows > 3), "{answer}");
        assert!(answer["explanation"].as_str().expect("words").contains("demo"));
    }
    let asked = run(&client, &json!({"rule_code": "the meaning of it all"})).await;
    assert_eq!(asked["status"], "question");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_file_is_read_again_when_it_changes() {
    let file = "RULES:\n  - {rule_code: A, name: First, logic: all guests}\n";
    let server = Setup::new().rules_file(file).script(&requests(&["select name from guests"])).start().await;
    let client = server.client();
    let path = server.place.data_dir().join("rules.yaml");
    assert_eq!(get(&client, "/rules/A").await["name"], "First");
    std::fs::write(&path, "RULES:\n  - {rule_code: A, name: First}\n").expect("a file");
    assert_eq!(get(&client, "/rules/A").await["name"], "First");
    let fault = get(&client, "/rules/dataset").await["file_fault"].clone();
    assert_eq!(fault, "line 2: RULES[0].logic: is missing");
    std::fs::write(&path, "RULES:\n  - {rule_code: A, name: Second, logic: all the guests}\n").expect("a file");
    assert_eq!(get(&client, "/rules/A").await["name"], "Second");
    assert_eq!(get(&client, "/rules/dataset").await["file_fault"], Value::Null);
    assert_eq!(run(&client, &json!({"rule_code": "a"})).await["rows"], 7);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_the_file_names_can_be_read() {
    let file = "DATA:\n  tables:\n    patterns: [id, name]\n    nothing:\n";
    let answers =
        ["select * from patterns order by id limit 1", "select kind from patterns", "select name from guests", "select 1 as one"];
    let server = Setup::new().rules_file(file).script(&requests(&answers)).start().await;
    let client = server.client();
    let all = run(&client, &json!({"rule_code": "all"})).await;
    assert_eq!(all["preview"], json!([{"id": 1, "name": "Founder-led sales"}]));
    let repaired = run(&client, &json!({"rule_code": "kinds"})).await;
    assert_eq!((repaired["status"].as_str(), repaired["repairs"].as_u64()), (Some("done"), Some(2)), "{repaired}");
    assert_eq!(client.send(Request::get("/query/guests")).await.status(), 404);
    let row = get(&client, "/query/patterns?limit=1").await;
    assert_eq!(row, json!([{"id": 1, "name": "Founder-led sales"}]));
    server.stop().await;
}

/// The model would answer again, and better; it is not asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forbidden_is_never_tried_again_and_is_written_down() {
    let answers = ["delete from guests", "select nom from guests", "select name from guests", "select name from sqlite_master"];
    let server = Setup::new().script(&requests(&answers)).start().await;
    let client = server.client();
    let refused = client.send(Request::post("/rules/run", &json!({"rule_code": "clear the guests"}))).await;
    assert_eq!(refused.json()["code"], "forbidden_sql", "{}", refused.json());
    assert_eq!(server.model.requests().len(), 1, "nobody asks again for what was forbidden");
    let repaired = run(&client, &json!({"rule_code": "names of the guests"})).await;
    assert_eq!((repaired["status"].as_str(), repaired["repairs"].as_u64()), (Some("done"), Some(1)), "{repaired}");
    let refused = client.send(Request::post("/rules/run", &json!({"rule_code": "what else is there"}))).await;
    assert_eq!(refused.json()["code"], "forbidden_sql", "{}", refused.json());
    assert_eq!(server.model.requests().len(), 4);

    let audit = get(&client, "/rules/dataset/audit").await;
    let noted: Vec<_> =
        audit.as_array().expect("entries").iter().map(|entry| (&entry["kind"], &entry["rule"], &entry["detail"])).collect();
    let table = repaired["table"].clone();
    let expected = [
        (json!("forbidden"), json!("what_else_is_there"), json!("select name from sqlite_master")),
        (json!("stored"), json!("names_of_the_guests"), table),
        (json!("forbidden"), json!("clear_the_guests"), json!("delete from guests")),
    ];
    assert_eq!(noted, expected.iter().map(|(kind, rule, detail)| (kind, rule, detail)).collect::<Vec<_>>(), "{audit}");
    assert_eq!(audit[0]["account"], "owner");
    assert_eq!(get(&client, "/rules/dataset/audit?limit=1").await.as_array().map(Vec::len), Some(1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_stores_nothing_until_somebody_approves() {
    let server = Setup::new().script(&requests(&["select name from guests order by name"])).start().await;
    let client = server.client();
    let shown = run(&client, &json!({"rule_code": "guests please", "preview": true})).await;
    assert_eq!((shown["status"].as_str(), shown["rows"].as_u64()), (Some("pending"), Some(7)), "{shown}");
    assert_eq!(get(&client, "/query/views_registry").await, json!([]));
    let versions = get(&client, "/rules/guests_please/versions").await;
    let approval = Request::post("/rules/guests_please/versions/1/approve", &json!({"hash": versions[0]["hash"]}));
    let approved = client.send(approval).await.expect(200);
    assert_eq!((approved["state"].as_str(), approved["rows"].as_i64()), (Some("done"), Some(7)), "{approved}");
    let refreshed = client.send(Request::post("/rules/guests_please/refresh", &json!({}))).await.expect(200);
    assert_eq!(refreshed["relations"], json!({"guests": 7}));
    assert_eq!(get(&client, "/rules/guests_please/runs").await.as_array().map(Vec::len), Some(2));
    client.send(Request::delete("/rules/guests_please")).await.expect(200);
    assert_eq!(client.send(Request::get("/query/rule_guests_please")).await.status(), 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_runs_can_be_cancelled_and_does_not_hold_up_the_socket() {
    let script = [json!({"text": [{"pause": "never"}]})];
    let server = Setup::new().script(&script).start().await;
    let mut socket = Socket::greeted(&server.client()).await;
    socket.send(&json!({"type": "run_rule", "rule_code": "wait", "rule_id": "rule_1732430862456", "progress": true})).await;
    assert_eq!(socket.frame_of("rule_progress").await["stage"], "queued");
    assert!(socket.is_alive().await);
    socket.send(&json!({"type": "cancel_rule", "rule_id": "rule_1732430862456"})).await;
    let error = socket.frame_of("error").await;
    assert_eq!((&error["message"], &error["code"]), (&json!("Cancelled"), &json!("cancelled")));
    let unknown = socket.ask(&json!({"type": "cancel_rule", "rule_id": "rule_1732430862456"})).await;
    assert_eq!(unknown["message"], "Run not found");
    let envelope = socket.ask(&json!({"type": "request", "version": 2})).await;
    assert_eq!(envelope["message"], "Send run_rule");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_by_client_id_is_answered_and_another_rule_is_a_conflict() {
    let server = Setup::new().script(&requests(&["select 1 as one"])).start().await;
    let client = server.client();
    let first = run(&client, &json!({"rule_code": "one", "client_id": "c"})).await;
    let again = run(&client, &json!({"rule_code": " one ", "client_id": "c"})).await;
    assert_eq!((first["run_id"].clone(), first["table"].clone()), (again["run_id"].clone(), again["table"].clone()));
    let other = client.send(Request::post("/rules/run", &json!({"rule_code": "two", "client_id": "c"}))).await;
    assert_eq!(other.expect(422)["code"], "conflict");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_asks_the_data_with_a_tool() {
    let script = [
        json!({"tool": {"id": "call", "name": "ask_data", "input": {"question": "how many guests"}}}),
        json!({"text": ["```sql\nselect count(*) as guests from guests\n```"]}),
        json!({"text": ["There are seven."]}),
    ];
    let server = Setup::new().script(&script).start().await;
    let client = server.client();
    let chat = new_chat(&client).await;
    let mut socket = Socket::greeted(&client).await;
    socket.send(&json!({"type": "subscribe", "chatId": chat})).await;
    socket.send(&json!({"type": "chat", "chatId": chat, "content": "how many guests are there?"})).await;
    socket.frame_of("result").await;
    let seen = server.model.requests();
    let output = seen.last().expect("a request").last[0].as_str().expect("a result").to_owned();
    assert!(output.ends_with("guests\n7"), "{output}");
    assert_eq!(get(&client, "/query/views_registry").await, json!([]));
    server.stop().await;
}
