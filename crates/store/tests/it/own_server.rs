//! A PostgreSQL of a test's own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A server for one test only. It goes when this goes.
#[derive(Debug)]
pub struct OwnServer {
    child: Child,
    lines: BufReader<ChildStdout>,
    pub url: String,
}

impl OwnServer {
    /// With options such as `-c fsync=off`.
    pub fn start(options: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/with-services");
        let mut command = Command::new(script);
        command.arg("--serve").args(options).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("scripts/with-services");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut server = Self { child, lines, url: String::new() };
        server.url = server.line();
        server
    }

    /// `stop`, `start` or `restart`; it stops as if its power failed.
    pub fn tell(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().expect("piped"), "{word}").expect("it listens");
        assert_eq!(self.line(), "done");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it speaks");
        assert!(!line.is_empty(), "the server of this test has not started");
        line.trim().to_owned()
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It has been told to end, and ends.
        let _ = self.child.wait();
    }
}
