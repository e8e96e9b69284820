//! S38, S39 and S41: whatever path a model gives, nothing outside is read and nothing waits.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tools::{Workdir, WorkdirError};

use crate::support::{DENIED, Place, SECRET};

/// S38.
#[tokio::test]
async fn paths_that_lead_outside_are_denied() {
    let place = Place::with(&[("dir/a.txt", "inside")]);
    let secret = place.outside().join("secret.txt");
    let around = place.root().join("../outside/secret.txt");
    for path in [
        "../outside/secret.txt",
        "dir/../../outside/secret.txt",
        "..",
        "/etc/passwd",
        "//etc/passwd",
        "/",
        "file:///etc/passwd",
        "FILE://localhost/etc/passwd",
        "~",
        "~/.ssh/id_rsa",
        secret.to_str().unwrap(),
        around.to_str().unwrap(),
        &format!("file://{}", place.root().join("dir/a.txt").display()),
    ] {
        assert_eq!(place.error("read_file", json!({"path": path})).await, DENIED, "{path}");
    }
    for pattern in ["../*", "dir/../../**", "/etc/*", "~/*", "file:///etc/*", &format!("{}/*", place.outside().display())] {
        for (tool, input) in [("glob", json!({"pattern": pattern})), ("grep", json!({"pattern": "x", "glob": pattern}))] {
            assert!(place.error(tool, input).await.starts_with("Access denied: "), "{tool} {pattern}");
        }
    }
}

#[tokio::test]
async fn a_directory_whose_name_begins_alike_is_outside() {
    let place = Place::new();
    let path = place.twin().join("secret.txt");
    assert_eq!(place.error("read_file", json!({"path": path})).await, DENIED);
    assert_eq!(place.error("read_file", json!({"path": "../root-twin/secret.txt"})).await, DENIED);
    let pattern = format!("{}/*", place.twin().display());
    assert!(place.error("glob", json!({"pattern": pattern})).await.starts_with("Access denied: "));
}

/// S39.
#[tokio::test]
async fn links_that_leave_are_denied_and_links_that_stay_are_followed() {
    let place = Place::with(&[("dir/a.txt", "inside")]);
    place.link("etc", "/etc");
    place.link("passwd", "/etc/passwd");
    place.link("up", "..");
    place.link("chain", "up/outside/secret.txt");
    place.link("dir/deep", "../../outside");
    for path in ["etc/passwd", "passwd", "up/outside/secret.txt", "chain", "dir/deep/secret.txt"] {
        assert_eq!(place.error("read_file", json!({"path": path})).await, DENIED, "{path}");
    }

    place.link("same", "dir/a.txt");
    place.link("dir/back", "../dir");
    place.link("absolute", place.root().join("dir/a.txt"));
    place.link("absolute-dir", place.root().join("dir"));
    for path in ["same", "dir/back/a.txt", "dir/back/back/a.txt", "absolute", "absolute-dir/a.txt"] {
        assert_eq!(place.output("read_file", json!({"path": path})).await, "inside", "{path}");
    }

    place.link("circle", "circle");
    place.link("dangling", "nothing");
    let reason = place.error("read_file", json!({"path": "circle"})).await;
    assert_eq!(reason, "Failed to read file: too many symbolic links");
    assert_eq!(place.error("read_file", json!({"path": "dangling"})).await, "File not found: dangling");
}

#[tokio::test]
async fn searches_follow_no_links() {
    let place = Place::with(&[("dir/a.txt", "inside")]);
    place.link("dir/out", place.outside());
    place.link("dir/circle", ".");
    place.link("dir/secret.txt", "../../outside/secret.txt");
    let listed = place.output("glob", json!({"pattern": "**", "include_directories": true})).await;
    assert_eq!(listed, "dir/\ndir/a.txt\ndir/circle\ndir/out\ndir/secret.txt");
    assert_eq!(place.output("grep", json!({"pattern": SECRET})).await, "No matches.");
    assert_eq!(place.output("grep", json!({"pattern": "inside"})).await, "dir/a.txt:1:inside");
}

#[tokio::test]
async fn a_working_directory_reached_through_a_link_knows_both_of_its_paths() {
    let place = Place::with(&[("a.txt", "inside")]);
    let alias = place.outside().join("alias");
    std::os::unix::fs::symlink(place.root(), &alias).unwrap();
    for path in ["a.txt".into(), alias.join("a.txt"), place.root().join("a.txt")] {
        let reply = place.run_in(&alias, "read_file", json!({"path": path}), CancellationToken::new()).await;
        assert_eq!(reply.unwrap().output, "inside", "{}", path.display());
    }
}

/// S41.
#[tokio::test]
async fn only_regular_files_are_read_and_nothing_waits() {
    let place = Place::new();
    mknodat(CWD, place.root().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _listener = UnixListener::bind(place.root().join("socket")).unwrap();
    place.link("zero", "/dev/zero");
    place.link("environ", "/proc/self/environ");

    for (path, reason) in [
        ("fifo", "Failed to read file: fifo is not a regular file"),
        ("socket", "Failed to read file: socket is not a regular file"),
        ("zero", DENIED),
        ("environ", DENIED),
    ] {
        let started = Instant::now();
        assert_eq!(place.error("read_file", json!({"path": path})).await, reason);
        assert!(started.elapsed() < Duration::from_millis(100), "{path}");
    }
    let started = Instant::now();
    assert_eq!(place.output("glob", json!({"pattern": "*"})).await, "environ\nzero");
    assert_eq!(place.output("grep", json!({"pattern": "."})).await, "No matches.");
    assert!(started.elapsed() < Duration::from_millis(200));
}

/// S41, for who makes everything the working directory.
#[tokio::test]
async fn the_kernels_files_are_not_regular_even_inside() {
    let place = Place::new();
    for path in ["dev/zero", "dev/tty", "proc/self/environ", "proc/self/root/proc/self/environ", "/proc/self/mem"] {
        let started = Instant::now();
        let reply = place.run_in(Path::new("/"), "read_file", json!({"path": path}), CancellationToken::new()).await;
        let reason = reply.unwrap_err().0;
        assert!(!reason.contains('='), "{path}: {reason}");
        assert!(reason.starts_with("Failed to read file: ") || reason.starts_with("File not found: "), "{path}: {reason}");
        assert!(started.elapsed() < Duration::from_millis(100), "{path}");
    }
}

#[test]
fn a_directory_can_be_validated() {
    let place = Place::with(&[("a.txt", "")]);
    assert!(Workdir::open(&place.root()).is_ok());
    assert!(matches!(Workdir::open(Path::new("relative")), Err(WorkdirError::NotAbsolute)));
    assert!(matches!(Workdir::open(&place.root().join("none")), Err(WorkdirError::NotFound)));
    assert!(matches!(Workdir::open(&place.root().join("a.txt")), Err(WorkdirError::NotADirectory)));
    mknodat(CWD, place.root().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert!(matches!(Workdir::open(&place.root().join("fifo")), Err(WorkdirError::NotADirectory)));
}
