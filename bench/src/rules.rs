//! How well a model writes rules: forty questions over the sample data whose answers are known, asked of a running server.

use std::net::SocketAddr;
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::Result;
use crate::api::Api;

const QUESTIONS: &str = include_str!("../rules/questions.jsonl");
/// Numbers that differ by less are the same: models round as they like.
const TOLERANCE: f64 = 0.051;
/// More rows than any known answer has.
const MAX_ROWS: usize = 1_000;

#[derive(Debug, Deserialize)]
struct Question {
    question: String,
    expected: Vec<Vec<Value>>,
}

/// What came of one question.
struct Outcome {
    question: String,
    verdict: &'static str,
    repairs: u64,
    ms: u128,
    note: String,
}

/// Asks everything and prints a table. The server must answer without a token, and read the sample data.
pub async fn run(address: SocketAddr) -> Result<()> {
    let api = Api::at(address);
    let data: Value = serde_json::from_slice(&api.get("/rules/dataset").await?)?;
    if data["sample"] != true {
        return Err("the server reads other data than the sample".into());
    }
    let mut outcomes = Vec::new();
    for question in questions()? {
        outcomes.push(ask(&api, question).await?);
    }
    print(&outcomes);
    Ok(())
}

fn questions() -> Result<Vec<Question>> {
    QUESTIONS.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

async fn ask(api: &Api, Question { question, expected }: Question) -> Result<Outcome> {
    let began = Instant::now();
    let mut answer = api.post("/rules/run?wait=60", &json!({"rule_code": question, "fresh": true})).await?;
    while let Some(run) = answer["run_id"].as_str().filter(|_| answer["type"].is_null()) {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let shown: Value = serde_json::from_slice(&api.get(&format!("/rules/runs/{run}")).await?)?;
        if shown["result"].is_object() {
            answer = shown["result"].clone();
        }
    }
    let ms = began.elapsed().as_millis();
    let (verdict, note) = match (answer["view"].as_str(), answer["status"].as_str()) {
        (Some(view), _) => {
            let rows: Vec<Value> = serde_json::from_slice(&api.get(&format!("/query/{view}?limit={MAX_ROWS}")).await?)?;
            if fits(&expected, &rows) {
                ("right", String::new())
            } else {
                ("wrong", answer["sql"].as_str().unwrap_or_default().to_owned())
            }
        }
        (None, Some("question")) => ("asked back", answer["question"].as_str().unwrap_or_default().to_owned()),
        (None, _) => ("no answer", answer["message"].as_str().unwrap_or_default().to_owned()),
    };
    Ok(Outcome { question, verdict, repairs: answer["repairs"].as_u64().unwrap_or(0), ms, note })
}

/// As many rows as expected, each with all that is expected in it; further columns and another order are as good.
fn fits(expected: &[Vec<Value>], got: &[Value]) -> bool {
    let mut left: Vec<Vec<&Value>> = got.iter().filter_map(|row| Some(row.as_object()?.values().collect())).collect();
    expected.len() == got.len()
        && expected.iter().all(|wanted| {
            let found = left.iter().position(|row| wanted.iter().all(|cell| row.iter().any(|other| same(cell, other))));
            found.map(|at| left.swap_remove(at)).is_some()
        })
}

fn same(one: &Value, other: &Value) -> bool {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    match (number(one), number(other)) {
        (Some(one), Some(other)) => (one - other).abs() < TOLERANCE,
        _ => one == other,
    }
}

fn print(outcomes: &[Outcome]) {
    println!("| # | question | | repairs | ms | note |\n|---|---|---|---|---|---|");
    for (index, outcome) in outcomes.iter().enumerate() {
        let Outcome { question, verdict, repairs, ms, note } = outcome;
        println!("| {} | {question} | {verdict} | {repairs} | {ms} | {} |", index + 1, note.replace('|', "\\|"));
    }
    let right = outcomes.iter().filter(|outcome| outcome.verdict == "right").count();
    let at_once = outcomes.iter().filter(|outcome| outcome.verdict == "right" && outcome.repairs == 0).count();
    println!("\n{right} of {} right, {at_once} of them at once", outcomes.len());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{fits, questions};

    fn rows(rows: Value) -> Vec<Vec<Value>> {
        serde_json::from_value(rows).unwrap_or_default()
    }

    #[test]
    fn there_are_forty_questions_with_answers() {
        let questions = questions().unwrap_or_default();
        assert_eq!(questions.len(), 40);
        assert!(questions.iter().all(|question| !question.expected.is_empty()));
    }

    #[test]
    fn answers_are_told_from_others() {
        let expected = rows(json!([["a", 1], ["b", 2.5]]));
        for (got, right) in [
            (json!([{"x": "a", "n": 1}, {"x": "b", "n": "2.50"}]), true),
            (json!([{"n": 2.5, "x": "b", "more": null}, {"n": 1, "x": "a"}]), true),
            (json!([{"x": "a", "n": 1}]), false),
            (json!([{"x": "a", "n": 1}, {"x": "a", "n": 1}]), false),
            (json!([{"x": "a", "n": 1}, {"x": "b", "n": 3}]), false),
            (json!([]), false),
        ] {
            let got: Vec<Value> = got.as_array().cloned().unwrap_or_default();
            assert_eq!(fits(&expected, &got), right, "{got:?}");
        }
    }
}
