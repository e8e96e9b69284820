//! Runs of rules that wait for one another, are asked about, break off, or lose what they read.

use serde_json::{Value, json};

use crate::harness::{Setup, new_chat};
use crate::harness_http::{Client, Request};
use crate::harness_process::Process;
use crate::harness_upstream::Upstream;
use crate::harness_ws::Socket;

fn sql(sql: &str) -> Value {
    json!({"tool": {"id": "t", "name": "answer_rule", "input": {"sql": sql, "title": "T", "explanation": "x", "assumptions": []}}})
}

/// Steps of a script that are requests of their own.
fn apart(steps: &[Value]) -> Vec<Value> {
    steps.iter().flat_map(|step| [json!({"text": ["."]}), step.clone()]).collect()
}

async fn run(client: &Client, wish: &Value) -> Value {
    client.send(Request::post("/rules/run", wish)).await.expect(200)
}

async fn get(client: &Client, path: &str) -> Value {
    client.send(Request::get(path)).await.expect(200)
}

fn wish(text: &str, id: u64) -> Value {
    json!({"type": "run_rule", "rule_code": text, "rule_id": format!("rule_{id}")})
}

const ID: u64 = 1_732_430_862_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_on_a_socket_is_on_disk_and_can_be_stopped_from_another() {
    let script =
        [json!({"text": [{"pause": "g"}, "```sql\nselect 1 as one\n```"]}), json!({"text": ["```sql\nselect 2 as two\n```"]})];
    let server = Setup::new().script(&script).start().await;
    let client = server.client();
    let (mut socket, mut other) = (Socket::greeted(&client).await, Socket::greeted(&client).await);
    for (text, id) in [("first", ID + 1), ("second", ID + 2), ("third", ID + 3)] {
        socket.send(&wish(text, id)).await;
    }
    let mut runs = json!([]);
    while runs[0]["state"] != "waiting" {
        let answer = client.send(Request::get("/rules/third/runs")).await;
        runs = if answer.status() == 200 { answer.json() } else { json!([]) };
    }
    other.send(&json!({"type": "cancel_rule", "rule_id": format!("rule_{}", ID + 2)})).await;
    let stopped = socket.frame_of("error").await;
    assert_eq!((&stopped["message"], &stopped["rule"]), (&json!("Cancelled"), &json!("second")));
    server.model.release("g");
    assert_eq!(socket.frame_of("rule_result").await["rule"], "first");
    assert_eq!(socket.frame_of("event").await["payload"]["table"], "rule_first");
    assert_eq!(socket.frame_of("rule_result").await["rule"], "third");
    // Another socket hears of both, and of nothing else.
    assert_eq!(other.frame_of("event").await["payload"]["table"], "rule_first");
    assert_eq!(other.frame_of("event").await["payload"]["table"], "rule_third");
    let unknown = other.ask(&json!({"type": "cancel_rule", "run_id": "Überblick"})).await;
    assert_eq!(
        (&unknown["code"], &unknown["run_id"], &unknown["rule"]),
        (&json!("not_found"), &json!("Überblick"), &json!("uberblick"))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_when_the_program_died_is_done_and_what_ran_says_so() {
    let (upstream, data) = (
        Upstream::start(&[json!({"text": [{"pause": "never"}]}), json!({"text": ["```sql\nselect name from guests\n```"]})])
            .await,
        tempfile::tempdir().expect("a directory"),
    );
    let setup = || Setup::new().setting("COLLOQUY_DATA_DIR", data.path().to_str().expect("a path")).upstream(&upstream);
    let process = Process::start(setup()).await;
    let client = process.client();
    let mut socket = Socket::greeted(&client).await;
    socket.send(&wish("first", ID + 1)).await;
    socket.send(&wish("second", ID + 2)).await;
    while upstream.requests().is_empty() || client.send(Request::get("/rules/second")).await.status() != 200 {}
    process.kill();

    let mut process = Process::start(setup()).await;
    let client = process.client();
    let mut registry = json!([]);
    while registry[0].is_null() {
        registry = get(&client, "/query/views_registry").await;
    }
    assert_eq!((&registry[0]["table_name"], &registry[0]["rows"]), (&json!("rule_second"), &json!(7)));
    assert_eq!(get(&client, "/rules/first/runs").await[0]["state"], "interrupted");
    // The one that has ended is told again, as it was told to nobody.
    let told = run(&client, &json!({"rule_code": "second", "rule_id": format!("rule_{}", ID + 2)})).await;
    assert_eq!(told["table"], json!(format!("rule_second_{}", ID + 2)), "{told}");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_one_rule_do_not_overlap_and_the_second_needs_no_model() {
    let script = [json!({"text": [{"pause": "g"}, "```sql\nselect 1 as one\n```"]})];
    let server = Setup::new().script(&script).start().await;
    let client = server.client();
    let (mut one, mut other) = (Socket::greeted(&client).await, Socket::greeted(&client).await);
    for (socket, id) in [(&mut one, ID + 1), (&mut other, ID + 2)] {
        let mut wish = wish("the one", id);
        wish["progress"] = json!(true);
        assert_eq!(socket.ask(&wish).await["stage"], "queued");
    }
    server.model.release("g");
    for (socket, id) in [(&mut one, ID + 1), (&mut other, ID + 2)] {
        let done = socket.frame_of("rule_result").await;
        assert_eq!(done["table"], json!(format!("rule_the_one_{id}")), "{done}");
    }
    assert_eq!(server.model.requests().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_is_removed_while_it_runs_leaves_nothing() {
    let server = Setup::new().script(&[json!({"text": [{"pause": "never"}]})]).start().await;
    let client = server.client();
    let mut socket = Socket::greeted(&client).await;
    let mut asked = wish("for ever", ID);
    asked["progress"] = json!(true);
    assert_eq!(socket.ask(&asked).await["stage"], "queued");
    while server.model.requests().is_empty() {
        assert!(socket.is_alive().await);
    }
    client.send(Request::delete("/rules/for_ever")).await.expect(200);
    assert_eq!(socket.frame_of("error").await["message"], "Cancelled");
    assert_eq!(client.send(Request::get("/rules/for_ever")).await.status(), 404);
    server.stop().await;
}

/// The committed client of the original names no run: its `rule_id` is the code, or absent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_the_name_of_a_run_goes_on_with_its_question() {
    let question = json!({"tool": {"id": "q", "name": "answer_rule", "input": {"clarify": "Which?"}}});
    let server = Setup::new().script(&apart(&[question, sql("select name from guests")])).start().await;
    let client = server.client();
    assert_eq!(run(&client, &json!({"rule_code": "best"})).await["status"], "question");
    let done = run(&client, &json!({"rule_code": "best", "answer": "the guests"})).await;
    assert_eq!((&done["status"], &done["rows"]), (&json!("done"), &json!(7)), "{done}");
    let seen = server.model.requests()[1].last.as_str().expect("a task").to_owned();
    assert!(seen.ends_with("## Question\nWhich?\n## Answer\nthe guests"), "{seen}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_stale_while_what_they_were_read_from_is_gone() {
    let data = tempfile::tempdir().expect("a directory");
    let path = data.path().join("own.db");
    let change = |text: &str| rusqlite::Connection::open(&path).expect("a file").execute_batch(text).expect("a change");
    change("create table sales (id integer primary key, at datetime, note text)");
    change("insert into sales values (1, '2025-01-14 09:00:00', 'x')");
    let own = format!("sqlite:{}", path.display());
    let script = apart(&[sql("select id, at, note from sales")]);
    let server = Setup::new().setting("COLLOQUY_RULES_DATABASE_URL", &own).script(&script).start().await;
    let client = server.client();
    let done = run(&client, &json!({"rule_code": "sales"})).await;
    assert_eq!(done["preview"], json!([{"id": 1, "at": "2025-01-14T09:00:00", "note": "x"}]));
    let refresh = async || client.send(Request::post("/rules/sales/refresh", &json!({}))).await.expect(200);
    change("alter table sales drop column note");
    let failed = refresh().await;
    assert_eq!(failed["state"], "failed", "{failed}");
    assert!(failed["error"].as_str().is_some_and(|error| error.starts_with("Invalid SQL generated: ")), "{failed}");
    assert_eq!(get(&client, "/rules/sales").await["status"], "stale");
    assert_eq!(get(&client, "/query/views_registry").await[0]["stale"], true);
    assert_eq!(get(&client, "/query/rule_sales").await, done["preview"]);
    change("alter table sales add column note text");
    assert_eq!(refresh().await["state"], "done");
    assert_eq!(get(&client, "/rules/sales").await["status"], "approved");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_everything_is_approved_the_tool_asks_nothing() {
    let call = json!({"tool": {"id": "call", "name": "ask_data", "input": {"question": "how many guests"}}});
    let server =
        Setup::new().rules_file("DATASET:\n  policy: approve\n").script(&[call, json!({"text": ["I may not."]})]).start().await;
    let client = server.client();
    let chat = new_chat(&client).await;
    let mut socket = Socket::greeted(&client).await;
    socket.send(&json!({"type": "subscribe", "chatId": chat})).await;
    socket.send(&json!({"type": "chat", "chatId": chat, "content": "how many guests are there?"})).await;
    socket.frame_of("result").await;
    let seen = server.model.requests();
    assert_eq!(seen.len(), 2, "no model was asked for SQL");
    assert!(seen[1].last[0].as_str().expect("a result").contains("needs an approval"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_of_the_file_has_its_own_name_and_may_be_written_before_it_ran() {
    let file = "RULES:\n  - {rule_code: ALL_GUESTS, name: Guests, logic: all guests}\n";
    let server = Setup::new().rules_file(file).script(&apart(&[sql("select 1 as one")])).start().await;
    let client = server.client();
    // Somebody's text has taken the name that the code would have.
    assert_eq!(run(&client, &json!({"rule_code": "all, guests"})).await["view"], "rule_all_guests");
    let listed = get(&client, "/rules").await;
    assert_eq!((&listed[0]["rule_code"], &listed[0]["status"]), (&json!("ALL_GUESTS"), &json!("new")));
    assert_ne!(listed[0]["slug"], listed[1]["slug"]);
    for path in ["/rules/ALL_GUESTS/versions", "/rules/ALL_GUESTS/runs"] {
        assert_eq!(get(&client, path).await, json!([]));
    }
    let refused = client.send(Request::post("/rules/ALL_GUESTS/refresh", &json!({}))).await;
    assert_eq!(refused.expect(409)["detail"], "No approved version");
    let own = Request::post("/rules/ALL_GUESTS/versions", &json!({"sql": "select name from guests order by name"}));
    assert_eq!(client.send(own).await.expect(201)["version"], 1);
    let done = run(&client, &json!({"rule_code": "all_guests"})).await;
    assert_eq!((&done["rows"], &done["version"]), (&json!(7), &json!(1)), "{done}");
    assert_eq!(done["rule"], listed[0]["slug"]);
    assert_eq!(get(&client, "/rules/ALL_GUESTS").await["name"], "Guests");
    assert_eq!(get(&client, "/query/rule_all_guests").await, json!([{"one": 1}]));
    let view = done["view"].as_str().expect("a view");
    for (path, status) in [
        (format!("/query/{view}?order=-name&limit=1"), 200),
        (format!("/query/{view}?order=nothing"), 422),
        ("/query/guests?order=nothing".to_owned(), 422),
        (format!("/query/{view}?limit=10001"), 422),
    ] {
        let answer = client.send(Request::get(&path)).await;
        assert_eq!((answer.status(), answer.json().is_array() || answer.json()["detail"].is_array()), (status, true), "{path}");
    }
    let approve = Request::post("/rules/ALL_GUESTS/versions/x/approve", &json!({"hash": ""}));
    assert_eq!(client.send(approve).await.status(), 422);
    server.stop().await;
}
