//! Rules on two nodes with one database: whoever is asked, everybody knows.

use serde_json::{Value, json};

use crate::harness::{Setup, TestServer};
use crate::harness_http::Request;
use crate::harness_ws::Socket;
use crate::postgres_server::fresh_database;

/// What the scripted model says to everything.
fn guests() -> Vec<Value> {
    let input = json!({"sql": "select name from guests order by name", "title": "Guests", "explanation": "x", "assumptions": []});
    vec![json!({"text": ["."]}), json!({"tool": {"id": "t", "name": "answer_rule", "input": input}})]
}

async fn node(database: &str, script: &[Value]) -> TestServer {
    Setup::new().setting("DATABASE_URL", database).script(script).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_one_node_has_stored_are_everywhere() {
    let database = fresh_database().await;
    let (here, there) = (node(&database, &guests()).await, node(&database, &[]).await);
    let mut follower = Socket::greeted(&there.client()).await;
    // Its first frame about rules makes it hear of all of them.
    let unknown = follower.ask(&json!({"type": "cancel_rule", "rule_id": "rule_1732430862456"})).await;
    assert_eq!(unknown["message"], "Run not found");
    let answer = here.client().send(Request::post("/rules/run", &json!({"rule_code": "all guests"}))).await.expect(200);
    assert_eq!((answer["status"].as_str(), answer["rows"].as_u64()), (Some("done"), Some(7)), "{answer}");
    let event = follower.frame().await;
    assert_eq!((event["event"].as_str(), event["payload"]["table"].as_str()), (Some("views:refresh"), Some("rule_all_guests")));
    for server in [&here, &there] {
        let rows = server.client().send(Request::get("/query/rule_all_guests?order=-name&limit=2")).await.expect(200);
        assert_eq!(rows.as_array().map(Vec::len), Some(2), "{rows}");
        let registry = server.client().send(Request::get("/query/views_registry")).await.expect(200);
        assert_eq!(registry[0]["rows"], 7);
    }
    // The other node needs no model for it.
    let refreshed = there.client().send(Request::post("/rules/all_guests/refresh", &json!({}))).await.expect(200);
    assert_eq!((refreshed["state"].as_str(), refreshed["rows"].as_i64()), (Some("done"), Some(7)), "{refreshed}");
    assert_eq!((refreshed["added"].clone(), refreshed["removed"].clone()), (Value::Null, Value::Null));
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_joined_and_cancelled_from_another_node_and_survives_its_start() {
    let database = fresh_database().await;
    let here = node(&database, &[json!({"text": [{"pause": "never"}]})]).await;
    let mut asking = Socket::greeted(&here.client()).await;
    let wish = json!({"type": "run_rule", "rule_code": "for ever", "rule_id": "rule_1732430862456", "progress": true});
    let stage = asking.ask(&wish).await;
    assert_eq!(stage["type"], "rule_progress", "{stage}");
    let run = stage["run_id"].as_str().expect("an id").to_owned();
    // A node that starts takes nothing from one that lives.
    let there = node(&database, &[]).await;
    let (client, path) = (there.client(), format!("/rules/runs/{run}"));
    assert_eq!(client.send(Request::get(&path)).await.expect(200)["state"], "running");
    let joining = async {
        let wish = json!({"rule_code": "for ever", "rule_id": "rule_1732430862456"});
        there.client().send(Request::post("/rules/run?wait=30", &wish)).await.expect(200)
    };
    let cancelling = async {
        client.send(Request::post(&format!("{path}/cancel"), &json!({}))).await.expect(200);
        loop {
            let frame = asking.frame().await;
            if frame["type"] != "rule_progress" {
                return frame;
            }
        }
    };
    let (joined, told) = tokio::join!(joining, cancelling);
    assert_eq!((told["type"].as_str(), told["message"].as_str()), (Some("error"), Some("Cancelled")));
    assert_eq!((joined["code"].as_str(), joined["run_id"].as_str()), (Some("cancelled"), Some(run.as_str())), "{joined}");
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_refreshed_by_the_clock_on_one_node_only() {
    let database = fresh_database().await;
    let file = "RULES:\n  - {rule_code: GUESTS, name: Guests, logic: all guests, refresh: 1s}\n";
    let start =
        async |script: &[Value]| Setup::new().setting("DATABASE_URL", &database).rules_file(file).script(script).start().await;
    let (here, there) = (start(&guests()).await, start(&[]).await);
    let answer = here.client().send(Request::post("/rules/run", &json!({"rule_code": "GUESTS"}))).await.expect(200);
    assert_eq!(answer["status"], "done", "{answer}");
    let runs = async || {
        let runs = there.client().send(Request::get("/rules/GUESTS/runs?limit=50")).await.expect(200);
        runs.as_array().expect("runs").clone()
    };
    let runs = loop {
        let runs = runs().await;
        if runs.len() >= 3 && runs.iter().all(|run| run["state"] == "done") {
            break runs;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    // Both nodes look at the clock every five seconds, and what one has done the other does not do again.
    let mut began: Vec<&str> = runs.iter().map(|run| run["started_at"].as_str().expect("a time")).collect();
    began.sort_unstable();
    began.dedup_by(|later, earlier| later[..19] == earlier[..19]);
    assert_eq!(began.len(), runs.len(), "{runs:#?}");
    here.stop().await;
    there.stop().await;
}
