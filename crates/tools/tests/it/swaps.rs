//! S40: while a directory and a file are swapped with links to the outside as fast as the disk can, no tool ever sees
//! anything outside. The same harness does catch the usual way, looking first and opening later, so it can fail.
//!
//! 20,000 attempts per tool, or 100,000 with `COLLOQUY_LONG=1`.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use crate::support::{Place, SECRET};

/// A file that exists only outside.
const ONLY_OUTSIDE: &str = "only-outside.txt";

/// How often the usual way is tried before the harness counts as broken. It escapes within some hundred attempts.
const CONTROL_ATTEMPTS: usize = 500_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_below_a_swapped_directory_never_escapes() {
    never_escapes("read_file", json!({"path": "dir/secret.txt"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_a_swapped_file_never_escapes() {
    never_escapes("read_file", json!({"path": "file.txt"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listing_a_swapped_directory_never_escapes() {
    never_escapes("glob", json!({"pattern": "**/*.txt"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searching_swapped_files_never_escapes() {
    never_escapes("grep", json!({"pattern": "inside|secret"})).await;
}

async fn never_escapes(tool: &str, input: Value) {
    let swapped = Swapped::start();
    let attempts = if std::env::var_os("COLLOQUY_LONG").is_some() { 100_000 } else { 20_000 };
    let mut kinds = std::collections::HashSet::new();
    for _ in 0..attempts {
        let answer = match swapped.place.run(tool, input.clone()).await {
            Ok(reply) => reply.output,
            Err(error) => error.0,
        };
        assert!(!escaped(&answer), "{answer}");
        if kinds.len() < 2 {
            kinds.insert(answer);
        }
    }
    assert!(kinds.len() > 1, "the swapper never came between: {kinds:?}");
}

#[test]
fn looking_first_and_opening_later_escapes_in_this_harness() {
    let swapped = Swapped::start();
    let root = swapped.place.root();
    let ways: [(&str, &dyn Fn() -> Option<String>); 4] = [
        ("read below directory", &|| naive_read(&root, "dir/secret.txt")),
        ("read file", &|| naive_read(&root, "file.txt")),
        ("list", &|| Some(naive_walk(&root)?.iter().map(|path| format!("{}\n", path.display())).collect())),
        ("search", &|| naive_walk(&root)?.iter().map(|path| std::fs::read_to_string(path).ok()).collect()),
    ];
    for (name, way) in ways {
        let escapes = (0..CONTROL_ATTEMPTS).any(|_| way().is_some_and(|answer| escaped(&answer)));
        assert!(escapes, "{name}");
    }
}

fn escaped(answer: &str) -> bool {
    answer.contains(SECRET) || answer.contains(ONLY_OUTSIDE)
}

fn naive_read(root: &Path, path: &str) -> Option<String> {
    let path = root.join(path);
    if !path.canonicalize().ok()?.starts_with(root) {
        return None;
    }
    std::fs::read_to_string(path).ok()
}

fn naive_walk(root: &Path) -> Option<Vec<PathBuf>> {
    let directory = root.join("dir");
    if !directory.symlink_metadata().ok()?.is_dir() {
        return None;
    }
    Some(directory.read_dir().ok()?.flatten().map(|entry| entry.path()).collect())
}

/// A place with a thread that swaps `dir` and `file.txt` with links to the outside until it is dropped.
struct Swapped {
    place: Place,
    over: Arc<AtomicBool>,
    swapper: Option<JoinHandle<()>>,
}

impl Swapped {
    fn start() -> Self {
        let place = Place::with(&[("dir/secret.txt", "inside"), ("file.txt", "inside")]);
        let (root, outside) = (place.root(), place.outside());
        std::fs::write(outside.join(ONLY_OUTSIDE), SECRET).unwrap();
        symlink(&outside, outside.join("dir")).unwrap();
        symlink(outside.join("secret.txt"), outside.join("file.txt")).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let swapper = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                for name in ["dir", "file.txt"] {
                    renameat_with(CWD, root.join(name), CWD, outside.join(name), RenameFlags::EXCHANGE).unwrap();
                }
            }
        });
        Self { place, over, swapper: Some(swapper) }
    }
}

impl Drop for Swapped {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.swapper.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking());
    }
}
