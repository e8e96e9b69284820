//! Small libraries that stand between the program and the system (`LD_PRELOAD`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// A library that is built when it is first asked for, once in a run.
pub struct Library {
    source: &'static str,
    built: OnceLock<Option<(TempDir, PathBuf)>>,
}

impl Library {
    pub const fn of(source: &'static str) -> Self {
        Self { source, built: OnceLock::new() }
    }

    /// `None` where there is no C compiler.
    pub fn path(&self) -> Option<&Path> {
        self.built.get_or_init(|| self.build()).as_ref().map(|(_, library)| library.as_path())
    }

    fn build(&self) -> Option<(TempDir, PathBuf)> {
        let directory = tempfile::tempdir().expect("a directory");
        let (source, library) = (directory.path().join("source.c"), directory.path().join("library.so"));
        std::fs::write(&source, self.source).expect("a file");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).args(["-ldl", "-lpthread"]);
        match compiler.output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => {
                println!("SKIPPED: there is no C compiler: {error}");
                return None;
            }
        }
        Some((directory, library))
    }
}
