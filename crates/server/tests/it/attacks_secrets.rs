//! Secrets stay where they belong (P20): a whole server at its most talkative is given canaries, and nothing that it writes
//! has one of them in it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use crate::harness::{Setup, new_chat, new_session, sign_in};
use crate::harness_http::Request;
use crate::harness_process::Process;
use crate::harness_sse::EventStream;
use crate::harness_upstream::Upstream;
use crate::harness_ws::Socket;

const KEY: &str = "sk-ant-canary-0123456789abcdef";
const FOREIGN_KEY: &str = "sk-ant-canary-of-somebody-else";
const MESSAGE: &str = "canary in what a person wrote";
const ANSWER: &str = "canary in what the model said";
const VENDOR_WORDS: &str = "canary in the words of the vendor";
const WRONG_TOKEN: &str = "clq_canary_in_a_wrong_token";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_ever_written_down() {
    for format in ["text", "json"] {
        check(format).await;
    }
}

async fn check(format: &str) {
    let script = [
        json!({"text": [ANSWER]}),
        json!({"error": {"status": 401, "message": format!("{VENDOR_WORDS} {KEY}")}}),
        json!({"error": {"status": 529, "message": VENDOR_WORDS, "after": [ANSWER]}}),
    ];
    let upstream = Upstream::start_with_key(&script, KEY).await;
    let setup = Setup::with_sign_in().upstream(&upstream).setting("COLLOQUY_LOG", "trace").setting("COLLOQUY_LOG_FORMAT", format);
    let mut server = Process::start(setup).await;
    let (token, code) = (server.token.clone(), server.code.clone().expect("a code"));
    let mut answers = Vec::new();
    let cookie = sign_in(&server.client(), &json!({"code": code})).await;
    let more = server.owner().send(Request::new("POST", "/api/sign-in-codes")).await.expect(200)["code"].clone();
    let browser = server.client().with("Cookie", &cookie).with("Origin", &server.client().origin());

    // Every kind of proof, right and wrong, in every place.
    for client in [server.owner(), browser.clone(), server.client().with_token(WRONG_TOKEN)] {
        for path in ["/api/me", "/api/chats", "/api/nothing", &format!("/api/chats?token={token}")] {
            answers.push(client.send(Request::get(path)).await.text());
        }
    }
    for proof in [json!({"token": WRONG_TOKEN}), json!({"code": WRONG_TOKEN}), json!({"username": "x", "password": WRONG_TOKEN})]
    {
        answers.push(server.client().send(Request::post("/api/sign-in", &proof)).await.text());
    }
    for query in [token.as_str(), WRONG_TOKEN] {
        let mut socket = Socket::open(&server.client(), &format!("/ws?token={query}"), &[]).await.expect("it opens");
        socket.is_alive().await;
    }

    // A message that is answered, one that is refused, one that breaks off, over both faces.
    let session = new_session(&server.owner()).await;
    for _ in 0..3 {
        let path = format!("/api/sessions/{session}/messages");
        let (_, body) = browser.open(Request::post(&path, &json!({"content": MESSAGE}))).await;
        let mut stream = EventStream::new(body);
        while let Some(event) = stream.next().await {
            answers.push(event.data.to_string().replace(MESSAGE, "").replace(ANSWER, ""));
        }
    }
    let chat = new_chat(&server.owner()).await;
    let mut socket = Socket::greeted(&server.owner()).await;
    socket.send(&json!({"type": "chat", "chatId": chat, "content": MESSAGE})).await;
    answers.push(socket.frame_of("error").await.to_string());
    socket.send_text(&format!("{{\"broken\": \"{MESSAGE}")).await;
    answers.push(socket.frame().await.to_string());

    // Keys that are asked about, tried, and given along.
    for path in ["/api/providers", "/api/providers/anthropic/api-key", "/api/providers/anthropic/models"] {
        answers.push(server.owner().send(Request::get(path)).await.text());
    }
    let key = json!({"provider": "anthropic", "apiKey": FOREIGN_KEY});
    answers.push(server.owner().send(Request::post("/api/providers/validate", &key)).await.text());
    answers.push(server.owner().send(Request::post("/api/sessions", &key)).await.text());
    answers.push(browser.send(Request::new("POST", "/api/sign-out")).await.text());
    assert!(upstream.requests().len() >= 3, "the model was asked");

    let command_line = String::from_utf8_lossy(&server.command_line()).into_owned();
    assert!(server.stop().await.success());
    let logs = server.errors.text();
    assert!(logs.contains("TRACE"), "the program was to be talkative");
    let cookie = cookie.split_once('=').expect("a value").1.to_owned();
    let more = more.as_str().expect("a code").to_owned();
    let proofs = [token.as_str(), &code, &more, &cookie, KEY, FOREIGN_KEY, WRONG_TOKEN];

    let written = proofs.into_iter().chain([MESSAGE, ANSWER, VENDOR_WORDS]);
    let leaks: Vec<_> = written.filter_map(|canary| logs.lines().find(|line| line.contains(canary))).collect();
    assert_eq!(leaks, Vec::<&str>::new(), "the {format} log has canaries in it");
    for canary in [KEY, FOREIGN_KEY, WRONG_TOKEN, VENDOR_WORDS] {
        let told = answers.iter().find(|answer| answer.contains(canary));
        assert_eq!(told, None, "an answer has {canary:?} in it");
    }
    let said = server.output.text();
    for canary in proofs.into_iter().filter(|canary| **canary != *code) {
        assert!(!said.contains(canary) && !command_line.contains(canary), "{canary:?} in {said} or {command_line}");
    }
    let at_rest = files(&server.place.data_dir());
    for canary in proofs {
        let holders: Vec<_> =
            at_rest.iter().filter(|(_, bytes)| contains(bytes, canary.as_bytes())).map(|(name, _)| name.as_str()).collect();
        let expected: &[&str] = if canary == token { &["token"] } else { &[] };
        assert_eq!(holders, expected, "{canary:?} at rest");
    }
    assert!(at_rest.iter().any(|(_, bytes)| contains(bytes, MESSAGE.as_bytes())), "the search does find what is there");
}

/// Every file of the data directory, which only its owner may read.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).expect("the data directory");
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.expect("readable");
        let metadata = entry.metadata().expect("readable");
        let is_private = metadata.permissions().mode() & 0o077 == 0;
        assert!(is_private || metadata.len() == 0, "{:?} may be read by others", entry.file_name());
        files.push((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("readable")));
    }
    files
}

fn contains(bytes: &[u8], canary: &[u8]) -> bool {
    bytes.windows(canary.len()).any(|window| window == canary)
}
