//! The program itself: what it prints, what it leaves on disk, and what its other commands say.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::serve_kit::{Answer, Program};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn stdout(program: &Program, arguments: &[&str]) -> String {
    let output = program.output(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn serve_says_where_it_is_and_how_to_sign_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let program = Program::new(&data);
    let mut serving = program.serve();
    let link = format!("sign in: http://{}/#code=", serving.address);
    let line = serving.next_line();
    assert!(line.strip_prefix(&link).is_some_and(|code| code.len() == 32), "{line}");
    assert!(serving.next_line().starts_with("model: the demo answers"));

    for (name, expected) in [(".", 0o700), ("token", 0o600), ("address", 0o600), ("colloquy.db", 0o600)] {
        assert_eq!(mode(&data.join(name)), expected, "{name}");
    }
    let token = stdout(&program, &["token"]);
    assert_eq!(token.trim().len(), "clq_".len() + 64);
    let me = get(&serving, "/api/me", &format!("Authorization: Bearer {}\r\n", token.trim())).await;
    assert_eq!((me.status, me.text().contains("ADMIN")), (200, true));
    // S06
    assert_eq!(get(&serving, "/api/me", "").await.status, 401);
    assert_eq!(get(&serving, "/api/me", &format!("Authorization: Bearer clq_{}\r\n", "0".repeat(64))).await.status, 401);

    let link = stdout(&program, &["token", "--link"]);
    assert!(link.starts_with(&format!("http://{}/#code=", serving.address)), "{link}");

    let report = stdout(&program, &["doctor"]);
    assert!(report.contains(&format!("ok    server: is running on http://{}", serving.address)), "{report}");
    assert!(report.contains("is in use by the running server"), "{report}");

    serving.signal(Signal::TERM);
    assert_eq!(serving.wait(), Some(0));
    assert!(!data.join("address").exists());
    assert_eq!(stdout(&program, &["token"]), token, "the token stays the same");
}

#[test]
fn in_memory_is_said_aloud() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = Program::new(directory.path()).environment(&[("DATABASE_URL", "sqlite::memory:"), ("COLLOQUY_AUTH", "off")]);
    let mut serving = program.serve();
    assert_eq!(serving.next_line(), "database: in memory only, so everything is lost when the server stops");
}

#[test]
fn a_second_server_on_the_same_database_does_not_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = Program::new(directory.path());
    let _serving = program.serve();
    let output = program.output(&["serve", "--listen", ":0"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("DATABASE_URL: ") && error.contains("in use"), "{error}");
}

#[test]
fn token_explains_what_is_missing() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = Program::new(directory.path());
    let output = program.output(&["token"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no token"));

    drop(program.serve());
    // Killed without a word: the address is still noted, but nobody is there.
    let output = program.output(&["token", "--link"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the server is not running"));
}

#[test]
fn doctor_fails_if_something_configured_is_broken() {
    let directory = tempfile::tempdir().expect("a directory");
    let healthy = Program::new(directory.path()).environment(&[("COLLOQUY_LISTEN", ":0")]);
    let report = stdout(&healthy, &["doctor"]);
    assert!(report.lines().all(|line| line.starts_with("ok  ") || line.starts_with("warn")), "{report}");

    // Nothing listens on port 1.
    let broken = healthy.environment(&[("ANTHROPIC_API_KEY", "sk-test"), ("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")]);
    let output = broken.output(&["doctor"]);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("fail  models of anthropic: ") && !report.contains("sk-test"), "{report}");
}

#[test]
fn version_and_help_come_from_the_definitions() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = Program::new(directory.path());
    assert_eq!(stdout(&program, &["--version"]), format!("colloquy {}\n", env!("CARGO_PKG_VERSION")));
    let help = stdout(&program, &["serve", "--help"]);
    assert!(help.contains("--public-url <URL>") && help.contains("COLLOQUY_PUBLIC_URL"), "{help}");
    assert!(!help.contains("--anthropic-api-key"), "a key on a command line is seen by everybody");
}

async fn get(serving: &crate::serve_kit::Serving, path: &str, headers: &str) -> Answer {
    use tokio::io::AsyncWriteExt;
    let mut stream = TcpStream::connect(serving.address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}Connection: close\r\n\r\n", serving.address);
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    Answer::read(&mut stream).await
}
