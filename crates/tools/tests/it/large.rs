//! A project of fifty thousand files. The figures are those of an optimised build; a debug build is given ten times as long, so
//! that the test says when the work itself grows.

use std::path::Path;
use std::time::{Duration, Instant};

use domain::Surveyor;
use domain::sockets::tool::{Hidden, ToolContext};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const FILES: usize = 50_000;
/// The first answer's preparation, and what a search may take.
const PREPARED_WITHIN: Duration = Duration::from_secs(2);
const FOUND_WITHIN: Duration = Duration::from_millis(500);
const SLACK: u32 = if cfg!(debug_assertions) { 10 } else { 1 };
/// What all of it may add to the memory that is in use.
const MEMORY_KIB: u64 = 64 * 1024;

fn plant(root: &Path) {
    for directory in 0..500 {
        let path = root.join(format!("area{}/module{directory}/src", directory % 25));
        std::fs::create_dir_all(&path).unwrap();
        for file in 0..FILES / 500 {
            let text =
                format!("pub fn item_{directory}_{file}() -> usize {{\n    {file}\n}}\n{}", "// a line of text\n".repeat(20));
            std::fs::write(path.join(format!("file{file}.rs")), text).unwrap();
        }
    }
    std::fs::write(root.join("README.md"), "# Large\n").unwrap();
}

fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn search(root: &Path, tool: &str, input: Value) -> (Duration, String) {
    let tools = tools::read_tools();
    let tool = tools.iter().find(|candidate| candidate.spec().name == tool).unwrap();
    let hidden = Hidden { secrets: true, ..Hidden::default() };
    let context = ToolContext { workdir: root.to_owned(), hidden, cancel: CancellationToken::new() };
    let started = Instant::now();
    let output = tool.run(context, input.as_object().unwrap().clone()).await.unwrap().output;
    (started.elapsed(), output)
}

#[tokio::test]
#[ignore = "makes fifty thousand files; make test-long runs it"]
async fn fifty_thousand_files_are_surveyed_and_searched_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    plant(root);
    let before = memory_kib("VmRSS");

    let surveyor = tools::ProjectSurveyor::default();
    let started = Instant::now();
    let survey = surveyor.survey(root, &Hidden { secrets: true, ..Hidden::default() }).await.unwrap();
    let first = started.elapsed();
    assert_eq!((survey.files, survey.truncated), (FILES as u64 + 1, false));
    assert_eq!(survey.languages[0], ("Rust".to_owned(), FILES as u64));
    assert!(survey.tree.len() < 16 * 1024, "{}", survey.tree.len());
    let started = Instant::now();
    assert_eq!(surveyor.survey(root, &Hidden { secrets: true, ..Hidden::default() }).await.unwrap(), survey);
    let second = started.elapsed();

    let (rare, found) = search(root, "grep", json!({"pattern": "item_499_99\\b"})).await;
    assert!(found.contains("file99.rs:1:"), "{found}");
    let (none, found) = search(root, "grep", json!({"pattern": "nobody wrote this"})).await;
    assert_eq!(found, "No matches.");
    let (narrow, _) = search(root, "grep", json!({"pattern": "item_3_", "glob": "area3/**/*.rs"})).await;
    let (listed, found) = search(root, "glob", json!({"pattern": "**/file7.rs"})).await;
    assert_eq!(found.lines().count(), 500);
    let grown = memory_kib("VmHWM").saturating_sub(before);
    eprintln!(
        "{FILES} files: survey {first:?}, kept {second:?}; grep for one line {rare:?}, for none {none:?}, in one part {narrow:?}; glob {listed:?}; +{grown} KiB"
    );
    assert!(first < PREPARED_WITHIN * SLACK, "{first:?}");
    assert!(second < FOUND_WITHIN, "{second:?}");
    for (what, took) in [("one line", rare), ("none", none), ("one part", narrow), ("glob", listed)] {
        assert!(took < FOUND_WITHIN * SLACK, "{what}: {took:?}");
    }
    assert!(grown < MEMORY_KIB, "{grown} KiB");
}
