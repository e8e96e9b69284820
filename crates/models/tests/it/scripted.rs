//! How a script becomes requests and answers.

use std::time::Duration;

use domain::Provider;
use domain::ToolOutcome::Completed;
use domain::sockets::language_model::{ModelErrorKind, ModelEvent, StopReason};
use futures_util::StreamExt;
use models::scripted::SeenRequest;
use models::{Script, Scripted};
use serde_json::{Value, json};

use crate::support::{Answer, assistant, call, collect, prompt, result, said, text, user};

fn scripted(steps: &Value) -> Scripted {
    Scripted::new(Script::from_json(steps.as_array().expect("steps are a list")).expect("the script is sound"))
}

async fn ask(scripted: &Scripted) -> Answer {
    let model = scripted.model("scripted").expect("every model is offered");
    match model.ask(prompt(vec![user(&[text("Hi.")])])).await {
        Ok(stream) => collect(stream).await,
        Err(error) => (Vec::new(), Some(error)),
    }
}

/// What each request in turn said and called, and its end.
async fn play(steps: Value) -> Vec<(String, Vec<String>, StopReason)> {
    let scripted = scripted(&steps);
    let mut requests = Vec::new();
    while scripted.steps_left() > 0 {
        let (events, error) = ask(&scripted).await;
        assert_eq!(error, None);
        let ids = events.iter().filter_map(|event| match event {
            ModelEvent::ToolCall { id, .. } => Some(id.clone()),
            _ => None,
        });
        let Some(ModelEvent::Finished(stop)) = events.last() else { panic!("{events:?}") };
        requests.push((said(&events), ids.collect(), stop.clone()));
    }
    requests
}

fn tool(id: &str) -> Value {
    json!({"tool": {"id": id, "name": "glob", "input": {"pattern": "*"}}})
}

#[tokio::test]
async fn a_text_after_a_text_or_after_tools_belongs_to_the_next_request() {
    use StopReason::{EndTurn, MaxTokens, ToolUse};
    let steps = json!([
        {"text": ["Let me", " look."]}, tool("a"), tool("b"), {"text": ["One."]}, {"text": ["Two."]}, tool("c"),
        {"reasoning": ["Hm."]}, {"text": ["Three."]}, {"stop": "max_tokens"}, {"text": ["Four."]}
    ]);
    let said = |text: &str, ids: &[&str], stop| (text.to_owned(), ids.iter().map(|id| (*id).to_owned()).collect(), stop);
    assert_eq!(
        play(steps).await,
        [
            said("Let me look.", &["a", "b"], ToolUse),
            said("One.", &[], EndTurn),
            said("Two.", &["c"], ToolUse),
            said("Three.", &[], MaxTokens),
            said("Four.", &[], EndTurn),
        ]
    );
}

#[tokio::test]
async fn an_error_is_a_request_that_fails() {
    let steps = json!([
        {"text": ["Fine."]},
        {"error": {"status": 400, "message": "key sk-secret is bad"}},
        {"error": {"status": 529, "message": "overloaded", "after": ["Par", "t"]}}
    ]);
    let scripted = scripted(&steps);
    assert_eq!(ask(&scripted).await.1, None);
    let (events, error) = ask(&scripted).await;
    let error = error.expect("it fails");
    assert_eq!((events.len(), error.kind, error.retryable), (0, ModelErrorKind::Rejected, false));
    assert_eq!(error.sentence, "The scripted model answered 400: it did not accept the request.");
    let (events, error) = ask(&scripted).await;
    let error = error.expect("it fails");
    assert_eq!(events, [ModelEvent::Text("Par".to_owned()), ModelEvent::Text("t".to_owned())]);
    assert_eq!((error.kind, error.retryable), (ModelErrorKind::Unavailable, true));
    let error = ask(&scripted).await.1.expect("nothing is left");
    assert_eq!((error.kind, error.retryable), (ModelErrorKind::Rejected, false));
    scripted.push_steps(&[json!({"text": ["More."]})]).expect("the step is sound");
    assert_eq!(said(&ask(&scripted).await.0), "More.");
}

#[tokio::test]
async fn a_pause_waits_for_its_release_and_a_release_is_remembered() {
    let scripted = scripted(&json!([{"text": ["A", {"pause": "g"}, "B", {"sleep_ms": 1}, {"pause": "early"}, "C"]}]));
    scripted.release("early");
    let model = scripted.model("scripted").expect("every model is offered");
    let mut stream = model.ask(prompt(vec![user(&[text("Hi.")])])).await.expect("it answers");
    assert!(matches!(stream.next().await, Some(Ok(ModelEvent::Usage(_)))), "the prompt is counted first");
    assert_eq!(stream.next().await, Some(Ok(ModelEvent::Text("A".to_owned()))));
    scripted.release("other");
    let blocked = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
    assert!(blocked.is_err(), "{blocked:?}");
    let waiting = tokio::spawn(async move { stream.next().await.into_iter().chain(stream.collect::<Vec<_>>().await).count() });
    tokio::time::sleep(Duration::from_millis(20)).await;
    scripted.release("g");
    let rest = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("it goes on").expect("it ends");
    assert_eq!(rest, 5, "B, C, the end of the text, the usage, the end");
}

#[tokio::test]
async fn it_remembers_what_it_saw() {
    let scripted = scripted(&json!([{"text": ["One."]}]));
    let model = scripted.model("scripted").expect("every model is offered");
    drop(model.ask(prompt(vec![user(&[text("Hi.")])])).await);
    let results = user(&[result("t1", "glob", "alpha\n", Completed), result("t2", "glob", "beta\n", Completed)]);
    drop(model.ask(prompt(vec![user(&[text("Hi.")]), assistant(&[call("t1", "glob", json!({}))]), results])).await);
    assert_eq!(
        scripted.requests(),
        [
            SeenRequest { roles: vec!["user"], last: json!("Hi.") },
            SeenRequest { roles: vec!["user", "assistant", "user"], last: json!(["alpha\n", "beta\n"]) },
        ]
    );
    assert_eq!(scripted.full_requests()[0].system, "Be brief.");
}

#[test]
fn a_script_in_another_form_is_an_error() {
    for steps in [json!([{"text": "no list"}]), json!([{"song": []}]), json!([{"text": [{"pause": 1}]}]), json!(["text"])] {
        assert!(Script::from_json(steps.as_array().expect("a list")).is_err(), "{steps}");
    }
}
