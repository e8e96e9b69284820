use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::Place;

#[tokio::test]
async fn matching_files_are_listed_sorted_by_their_whole_path() {
    let place =
        Place::with(&[("b.rs", ""), ("src/a.rs", ""), ("src/deep/er/x.rs", ""), ("src-x.rs", ""), ("src.rs", ""), ("a.txt", "")]);
    let all = "b.rs\nsrc-x.rs\nsrc.rs\nsrc/a.rs\nsrc/deep/er/x.rs";
    for pattern in ["**/*.rs", "*.rs"] {
        assert_eq!(place.output("glob", json!({"pattern": pattern})).await, all);
    }
    assert_eq!(place.output("glob", json!({"pattern": "./*.rs"})).await, "b.rs\nsrc-x.rs\nsrc.rs");
    assert_eq!(place.output("glob", json!({"pattern": "src/*.rs"})).await, "src/a.rs");
    assert_eq!(place.output("glob", json!({"pattern": "src/deep/"})).await, "src/deep/er/x.rs");
    assert_eq!(place.output("glob", json!({"pattern": "{a,b}.*"})).await, "a.txt\nb.rs\nsrc/a.rs");
    let absolute = format!("{}/src/**", place.root().display());
    assert_eq!(place.output("glob", json!({"pattern": absolute})).await, "src/a.rs\nsrc/deep/er/x.rs");
    assert_eq!(place.output("glob", json!({"pattern": "*.py"})).await, "No files match.");
}

#[tokio::test]
async fn directories_are_listed_when_asked_for() {
    let place = Place::with(&[("src/deep/x.rs", ""), ("src.rs", ""), ("src-a/b", "")]);
    let output = place.output("glob", json!({"pattern": "src*", "include_directories": true})).await;
    assert_eq!(output, "src-a/\nsrc.rs\nsrc/");
    let output = place.output("glob", json!({"pattern": "**", "include_directories": true})).await;
    assert_eq!(output, "src-a/\nsrc-a/b\nsrc.rs\nsrc/\nsrc/deep/\nsrc/deep/x.rs");
}

#[tokio::test]
async fn gitignore_files_are_respected_without_a_repository() {
    let place = Place::with(&[
        (".gitignore", "\u{feff}*.log\n/build/\n!keep.log\ntarget\n# comment\n[broken\n"),
        ("a.log", ""),
        ("keep.log", ""),
        ("build/out", ""),
        ("sub/build/in", ""),
        ("sub/.gitignore", "!b.log\n/local\ndeep/*.tmp\n"),
        ("sub/a.log", ""),
        ("sub/b.log", ""),
        ("sub/local", ""),
        ("sub/other/local", ""),
        ("sub/deep/x.tmp", ""),
        ("sub/deep/x.txt", ""),
        ("sub/target/.gitignore", "!*"),
        ("sub/target/x", ""),
    ]);
    let output = place.output("glob", json!({"pattern": "**"})).await;
    assert_eq!(output, "keep.log\nsub/b.log\nsub/build/in\nsub/deep/x.txt\nsub/other/local");
}

#[tokio::test]
async fn hidden_files_are_listed_when_asked_for_and_git_never() {
    let place =
        Place::with(&[(".env", ""), (".github/ci.yml", ""), ("a", ""), (".git/config", ""), ("sub/.git", ""), ("sub/.x/y", "")]);
    assert_eq!(place.output("glob", json!({"pattern": "**"})).await, "a");
    assert_eq!(place.output("glob", json!({"pattern": ".*"})).await, ".env");
    assert_eq!(place.output("glob", json!({"pattern": ".github/**"})).await, ".github/ci.yml");
    assert_eq!(place.output("glob", json!({"pattern": "**/.x/*"})).await, "sub/.x/y");
    assert_eq!(place.output("glob", json!({"pattern": ".git/**"})).await, "No files match.");
}

#[tokio::test]
async fn names_that_are_no_text_do_no_harm() {
    let place = Place::with(&[("a", "x")]);
    let odd = place.root().join(OsStr::from_bytes(b"caf\xe9\nfake"));
    std::fs::create_dir(&odd).unwrap();
    std::fs::write(odd.join(OsStr::from_bytes(b"\xff\x1b[2J")), "x\n").unwrap();
    let path = "caf\u{fffd}\\nfake/\u{fffd}\\u{1b}[2J";
    assert_eq!(place.output("glob", json!({"pattern": "**"})).await, format!("a\n{path}"));
    assert_eq!(place.output("grep", json!({"pattern": "x"})).await, format!("a:1:x\n{path}:1:x"));
}

#[tokio::test]
async fn very_deep_directories_end_in_a_note() {
    let place = Place::new();
    let path: PathBuf = std::iter::repeat_n("d", 300).collect();
    std::fs::create_dir_all(place.root().join(&path)).unwrap();
    let reachable: PathBuf = path.iter().take(255).collect();
    std::fs::write(place.root().join(&reachable).join("found"), "").unwrap();
    std::fs::write(place.root().join(&path).join("lost"), "").unwrap();
    let reply = place.run("glob", json!({"pattern": "*"})).await.unwrap();
    let expected = format!("{}/found\n[Directories nested deeper than 256 levels were not entered: 1.]", reachable.display());
    assert_eq!((reply.output, reply.truncated), (expected, true));
}

#[tokio::test]
async fn ten_thousand_paths_are_the_limit_and_fifty_thousand_files_are_quick() {
    let place = Place::new();
    many_files(&place.root(), 50, 200);
    let reply = place.run("glob", json!({"pattern": "**/*.txt"})).await.unwrap();
    assert_eq!((reply.output.lines().count(), reply.truncated), (10_000, false));

    many_files(&place.root(), 250, 200);
    let started = Instant::now();
    let reply = place.run("glob", json!({"pattern": "**/*7.txt"})).await.unwrap();
    let elapsed = started.elapsed();
    println!("glob over 50,000 files in 250 directories: {elapsed:?}");
    assert_eq!((reply.output.lines().count(), reply.truncated), (5_000, false));
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");

    let reply = place.run("glob", json!({"pattern": "*.txt"})).await.unwrap();
    assert_eq!((reply.output.lines().count(), reply.truncated), (10_001, true));
    let last = reply.output.lines().last().unwrap();
    assert_eq!(last, "[Stopped at the limit of 10,000 paths: there are more. Use a narrower pattern.]");

    let started = Instant::now();
    let reply = place.run("grep", json!({"pattern": "text 7$"})).await.unwrap();
    println!("grep over 50,000 files in 250 directories: {:?}", started.elapsed());
    assert_eq!(reply.output.lines().count(), 250);

    place.assert_cancels("grep", json!({"pattern": "none"}), Duration::from_millis(20)).await;
}

fn many_files(root: &Path, directories: usize, files: usize) {
    for directory in 0..directories {
        let directory = root.join(format!("d{directory:03}"));
        if std::fs::create_dir(&directory).is_ok() {
            for file in 0..files {
                std::fs::write(directory.join(format!("{file:03}.txt")), format!("text {file}\n")).unwrap();
            }
        }
    }
}
