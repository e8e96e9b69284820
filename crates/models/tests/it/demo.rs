//! What the demo model says, and which tools it drives.

use std::time::{Duration, Instant};

use domain::ToolOutcome::{Completed, Failed};
use domain::sockets::language_model::{ModelEvent, ModelRequest, PromptMessage, StopReason};
use domain::{Provider, Usage};
use models::{Demo, DemoPace};
use serde_json::{Value, json};

use crate::support::{assistant, call, collect, prompt, result, said, text, tool, user};

async fn answer(request: ModelRequest) -> Vec<ModelEvent> {
    let model = Demo::new(DemoPace::AT_ONCE).model("demo").expect("its only model");
    let (events, error) = collect(model.ask(request.clone()).await.expect("it always answers")).await;
    assert_eq!(error, None);
    let again = collect(model.ask(request).await.expect("it always answers")).await;
    assert_eq!(again.0, events, "the same prompt has the same answer");
    events
}

async fn says(messages: Vec<PromptMessage>) -> String {
    let events = answer(prompt(messages)).await;
    assert_eq!(events.last(), Some(&ModelEvent::Finished(StopReason::EndTurn)));
    said(&events)
}

async fn calls(words: &str) -> Vec<(String, Value)> {
    let events = answer(prompt(vec![user(&[text(words)])])).await;
    assert_eq!(events.last(), Some(&ModelEvent::Finished(StopReason::ToolUse)));
    let call = |event| match event {
        ModelEvent::ToolCall { name, input, .. } => Some((name, Value::Object(input))),
        _ => None,
    };
    events.into_iter().filter_map(call).collect()
}

#[tokio::test]
async fn it_says_what_it_is_and_how_to_get_a_real_one() {
    for words in ["Hello", "help", "What is the meaning of life?"] {
        let said = says(vec![user(&[text(words)])]).await;
        assert!(said.lines().next().is_some_and(|line| line.contains("demo model") && line.contains("ANTHROPIC_API_KEY")));
        assert!(said.contains("- `list files`"), "{said}");
    }
}

#[tokio::test]
async fn it_calls_the_tools_that_fit() {
    assert_eq!(calls("list files").await, [("glob".to_owned(), json!({"pattern": "**/*"}))]);
    assert_eq!(calls("search TODO in *.rs").await, [("grep".to_owned(), json!({"pattern": "TODO", "glob": "*.rs"}))]);
    let read = |path: &str| ("read_file".to_owned(), json!({"path": path}));
    assert_eq!(calls("read a.txt and b.txt").await, [read("a.txt"), read("b.txt")]);
}

#[tokio::test]
async fn ids_of_calls_differ_within_a_conversation() {
    let mut messages = vec![user(&[text("read a and b")])];
    let mut ids = std::collections::HashSet::new();
    for _ in 0..3 {
        for event in answer(prompt(messages.clone())).await {
            if let ModelEvent::ToolCall { id, .. } = event {
                assert!(ids.insert(id.clone()), "{id} twice");
            }
        }
        messages.extend([assistant(&[text("…")]), user(&[text("read a and b")])]);
    }
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn a_tool_that_is_not_offered_is_not_called() {
    let request = ModelRequest { tools: vec![], ..prompt(vec![user(&[text("list files")])]) };
    let events = answer(request).await;
    assert!(said(&events).contains("`glob`"));
    assert!(!events.iter().any(|event| matches!(event, ModelEvent::ToolCall { .. })));
}

#[tokio::test]
async fn results_are_summed_up() {
    let after = |name: &str, output: &str, outcome| {
        let asked = [user(&[text("list files")]), assistant(&[call("d1", name, json!({}))])];
        [asked.as_slice(), &[user(&[result("d1", name, output, outcome)])]].concat()
    };
    let many: String = (0..40).map(|number| format!("src/f{number}.rs\n")).collect();
    let files = says(after("glob", &many, Completed)).await;
    assert!(files.starts_with("I found 40 files:\n\n- `src/f0.rs`\n") && files.ends_with("… and 28 more."), "{files}");
    for nothing in ["", "No files match.\n"] {
        assert_eq!(says(after("glob", nothing, Completed)).await, "I found no files.");
    }
    assert_eq!(says(after("grep", "No matches.\n", Completed)).await, "Nothing matches.");
    let read = says(after("read_file", "# Title\n```sh\nls\n```\n", Completed)).await;
    assert_eq!(read, "The file has 4 lines. It begins:\n\n````\n# Title\n```sh\nls\n```\n````");
    let failed = says(after("read_file", "File not found: x", Failed)).await;
    assert!(failed.contains("did not succeed") && failed.contains("File not found: x"), "{failed}");
}

#[tokio::test]
async fn what_a_search_found_is_cited_by_path_and_line() {
    let after = |output: &str| {
        let asked = [user(&[text("search main")]), assistant(&[call("d1", "grep", json!({}))])];
        [asked.as_slice(), &[user(&[result("d1", "grep", output, Completed)])]].concat()
    };
    let found = says(after("src/main.rs:1:fn main() {\nREADME.md:12:\n")).await;
    assert_eq!(found, "The search gave 2 lines:\n\n- `src/main.rs:1` `fn main() {`\n- `README.md:12`");
    // What is no place, or would end its own quotation, is shown as it is.
    for line in ["no place in here", "a.md:3:a `word`"] {
        assert_eq!(says(after(&format!("{line}\n"))).await, format!("The search gave 1 line:\n\n```\n{line}\n```"));
    }
}

#[tokio::test]
async fn it_asks_where_it_may_and_does_what_is_chosen() {
    assert!(says(vec![user(&[text("ask me")])]).await.contains("`ask_user`"), "it is not offered");
    let offered = |messages| ModelRequest { tools: vec![tool("ask_user"), tool("grep")], ..prompt(messages) };
    let events = answer(offered(vec![user(&[text("ask me")])])).await;
    let Some(ModelEvent::ToolCall { id, name, input }) = events.iter().rev().nth(2) else { panic!("{events:?}") };
    assert_eq!((name.as_str(), input["questions"][0]["options"][2]["label"].as_str()), ("ask_user", Some("search main")));
    let asked = [user(&[text("ask me")]), assistant(&[call(id, "ask_user", Value::Object(input.clone()))])];
    let chosen = [asked.as_slice(), &[user(&[result(id, "ask_user", "search main", Completed)])]].concat();
    let events = answer(offered(chosen)).await;
    assert!(said(&events).starts_with("You chose: search main."), "{}", said(&events));
    assert!(events.iter().any(|event| matches!(event, ModelEvent::ToolCall { name, .. } if name == "grep")));
    assert!(said(&answer(offered(vec![user(&[text("help")])])).await).contains("`ask me`"));
}

#[tokio::test]
async fn a_word_said_beside_the_results_is_obeyed_too() {
    let request = prompt(vec![
        user(&[text("list files")]),
        assistant(&[call("d1", "glob", json!({}))]),
        user(&[result("d1", "glob", "a.txt\n", Completed), text("count to 3")]),
    ]);
    assert_eq!(said(&answer(request).await), "I found 1 file:\n\n- `a.txt`1 2 3");
}

#[tokio::test]
async fn it_counts_and_goes_on_counting() {
    assert_eq!(says(vec![user(&[text("count to 5 slowly")])]).await, "1 2 3 4 5");
    let mut messages = vec![user(&[text("count to 9 slowly")]), assistant(&[text("1 2 3")]), user(&[text("continue")])];
    assert_eq!(says(messages.clone()).await, "4 5 6 7 8 9");
    messages.extend([assistant(&[text("4 5")]), user(&[text("Continue.")])]);
    assert_eq!(says(messages.clone()).await, "6 7 8 9");
    messages.extend([assistant(&[text("6 7 8 9")]), user(&[text("continue")])]);
    assert!(says(messages).await.contains("no unfinished count"));
    assert_eq!(says(vec![user(&[text("count to 100000")])]).await.split(' ').count(), 1_000);
}

#[tokio::test]
async fn it_thinks_when_asked_to() {
    let events = answer(prompt(vec![user(&[text("think")])])).await;
    assert!(matches!(events.first(), Some(ModelEvent::Reasoning(_))));
    assert!(events.contains(&ModelEvent::ReasoningDone { verbatim: None }));
}

#[tokio::test]
async fn any_prompt_has_an_answer() {
    for messages in [vec![], vec![assistant(&[text("Hm.")])], vec![user(&[])], vec![user(&[text("continue")])]] {
        assert!(!says(messages).await.is_empty());
    }
}

#[tokio::test]
async fn numbers_of_a_slow_count_are_paced() {
    let pace = DemoPace { number: Duration::from_millis(20), ..DemoPace::AT_ONCE };
    let model = Demo::new(pace).model("demo").expect("its only model");
    let began = Instant::now();
    collect(model.ask(prompt(vec![user(&[text("count to 11 slowly")])])).await.expect("it answers")).await;
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_list_is_closed_and_costs_nothing() {
    let demo = Demo::default();
    assert!(demo.model("other").is_none() && demo.list_is_closed() && demo.is_configured());
    assert_eq!(demo.live_models().await.expect("it is no network"), ["demo"]);
    let model = demo.model("demo").expect("its only model");
    assert_eq!(model.name().to_string(), "demo/demo");
    assert_eq!(model.cost(&Usage { output: 5, ..Usage::default() }), Some(0.0));
    let began = Instant::now();
    drop(model.ask(prompt(vec![user(&[text("count to 1000 slowly")])])).await.expect("it answers"));
    assert!(began.elapsed() < Duration::from_secs(1));
}
