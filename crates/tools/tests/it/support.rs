//! A working directory with something beside it, and the tools run in it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Tool;
use domain::sockets::tool::{Hidden, ToolContext, ToolError, ToolReply};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// What lies outside the working directory and must never be seen.
pub const SECRET: &str = "the-secret-outside";

pub const DENIED: &str = "Failed to read file: Access denied: cannot read files outside working directory";

/// `root` is the working directory; beside it lie `outside/secret.txt` and `root-twin/secret.txt`.
pub struct Place {
    base: TempDir,
    tools: Vec<Arc<dyn Tool>>,
}

impl Place {
    pub fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        for directory in ["root", "outside", "root-twin"] {
            std::fs::create_dir(base.path().join(directory)).unwrap();
        }
        for secret in ["outside/secret.txt", "root-twin/secret.txt"] {
            std::fs::write(base.path().join(secret), SECRET).unwrap();
        }
        Self { base, tools: tools::read_tools() }
    }

    pub fn with(files: &[(&str, &str)]) -> Self {
        let place = Self::new();
        for (path, text) in files {
            place.write(path, text.as_bytes());
        }
        place
    }

    pub fn root(&self) -> PathBuf {
        self.base.path().join("root")
    }

    pub fn outside(&self) -> PathBuf {
        self.base.path().join("outside")
    }

    pub fn twin(&self) -> PathBuf {
        self.base.path().join("root-twin")
    }

    pub fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn link(&self, path: &str, target: impl AsRef<Path>) {
        symlink(target, self.root().join(path)).unwrap();
    }

    pub async fn run(&self, tool: &str, input: Value) -> Result<ToolReply, ToolError> {
        self.run_in(&self.root(), tool, input, CancellationToken::new()).await
    }

    pub async fn run_in(
        &self,
        workdir: &Path,
        tool: &str,
        input: Value,
        cancel: CancellationToken,
    ) -> Result<ToolReply, ToolError> {
        let tool = self.tools.iter().find(|candidate| candidate.spec().name == tool).unwrap();
        let context = ToolContext { workdir: workdir.to_owned(), hidden: Hidden::default(), cancel };
        tool.run(context, input.as_object().unwrap().clone()).await
    }

    pub async fn output(&self, tool: &str, input: Value) -> String {
        self.run(tool, input).await.unwrap().output
    }

    pub async fn error(&self, tool: &str, input: Value) -> String {
        self.run(tool, input).await.unwrap_err().0
    }

    /// Asserts that the call is still running after `delay` and ends within 100 ms of being cancelled.
    pub async fn assert_cancels(&self, tool: &str, input: Value, delay: Duration) {
        let (root, cancel) = (self.root(), CancellationToken::new());
        let call = self.run_in(&root, tool, input, cancel.clone());
        let cancelled = async {
            tokio::time::sleep(delay).await;
            cancel.cancel();
            Instant::now()
        };
        let (reply, cancelled) = tokio::join!(call, cancelled);
        assert!(cancelled.elapsed() < Duration::from_millis(100));
        assert_eq!(reply.unwrap_err().0, "Cancelled");
    }
}
