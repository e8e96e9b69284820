//! Real connections to a Chat Completions server.

use std::time::Duration;

use domain::Provider;
use domain::sockets::language_model::{ModelErrorKind, ModelEvent, StopReason};
use models::openai_chat::{OpenAiChat, OpenAiConfig, Vendor};
use serde_json::{Value, json};

use crate::http::{Act, OK_HEAD, StoppedClock, header, serve};
use crate::support::{Answer, collect, openai_fixture, prompt, said, text, user};

const KEY: &str = "sk-openai-test-0123456789";

fn config(address: &str) -> OpenAiConfig {
    OpenAiConfig {
        api_key: Some(KEY.to_owned()),
        base_url: Some(address.to_owned()),
        idle_timeout: Duration::from_secs(5),
        ..OpenAiConfig::default()
    }
}

async fn ask(config: OpenAiConfig) -> Answer {
    let provider = OpenAiChat::new(config, std::sync::Arc::new(StoppedClock)).expect("a good address");
    let model = provider.model("model-under-test").expect("every model is offered");
    match model.ask(prompt(vec![user(&[text("Hi.")])])).await {
        Ok(stream) => collect(stream).await,
        Err(error) => (Vec::new(), Some(error)),
    }
}

#[tokio::test]
async fn an_answer_is_streamed_and_the_key_stays_in_its_header() {
    let mut server = serve(vec![Act::Send([OK_HEAD.as_bytes(), b"\r\n", &openai_fixture("text")].concat())]).await;
    let (events, error) = ask(config(&server.address)).await;
    assert_eq!(error, None);
    assert_eq!(said(&events), "Hello wörld, € 😀\nand \"quotes\".");
    let (head, body) = server.requests.recv().await.expect("a request");
    assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
    assert_eq!(header(&head, "authorization"), Some("Bearer sk-openai-test-0123456789"));
    assert!(!String::from_utf8_lossy(&body).contains(KEY));
}

#[tokio::test]
async fn a_server_without_key_and_stream_is_read_as_well() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    let mut server = serve(vec![Act::Send([head.as_bytes(), &openai_fixture("whole")].concat())]).await;
    let vendor = Vendor::named("ollama").expect("a vendor");
    let (events, error) = ask(OpenAiConfig { api_key: None, vendor, ..config(&server.address) }).await;
    assert_eq!((events.last(), error), (Some(&ModelEvent::Finished(StopReason::ToolUse)), None));
    let (head, body) = server.requests.recv().await.expect("a request");
    assert_eq!(header(&head, "authorization"), None);
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON")["stream"], json!(false));
}

#[tokio::test]
async fn refusals_are_told_by_status_and_code() {
    for (status, body, kind, sentence) in [
        (401, r#"{"error":{"message":"sk-secret","code":"invalid_api_key"}}"#, ModelErrorKind::Auth, "the API key is not valid"),
        (400, r#"{"error":{"code":"context_length_exceeded"}}"#, ModelErrorKind::Rejected, "the request is too large"),
        (429, r#"{"error":{"code":"insufficient_quota"}}"#, ModelErrorKind::Auth, "the account has a billing problem"),
        (503, "<html>", ModelErrorKind::Unavailable, "it is not available now"),
    ] {
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let server = serve(vec![Act::Send(answer.into_bytes())]).await;
        let error = ask(config(&server.address)).await.1.expect("an error");
        assert_eq!((error.kind, error.sentence), (kind, format!("OpenAI answered {status}: {sentence}.")));
    }
    let keyless = ask(OpenAiConfig { api_key: None, ..config("http://127.0.0.1:9") }).await.1.expect("an error");
    assert_eq!((keyless.kind, keyless.sentence.as_str()), (ModelErrorKind::Auth, "OpenAI has no API key in the settings."));
}
