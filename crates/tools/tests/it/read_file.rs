use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::Place;

const CAP_BYTES: usize = 2 * 1024 * 1024;

#[tokio::test]
async fn a_file_is_returned_as_it_is() {
    let place = Place::with(&[("a.txt", "alpha\n"), ("dir/b c.txt", "\u{feff}beta\r\n\tä"), ("empty", ""), ("~", "tilde")]);
    assert_eq!(place.output("read_file", json!({"path": "a.txt"})).await, "alpha\n");
    assert_eq!(place.output("read_file", json!({"path": "./dir/../dir/b c.txt"})).await, "\u{feff}beta\r\n\tä");
    assert_eq!(place.output("read_file", json!({"path": "empty"})).await, "");
    assert_eq!(place.output("read_file", json!({"path": "./~"})).await, "tilde");
    let absolute = place.root().join("a.txt");
    assert_eq!(place.output("read_file", json!({"path": absolute})).await, "alpha\n");
}

#[tokio::test]
async fn what_cannot_be_read_is_said_in_the_words_of_the_contract() {
    let place = Place::with(&[("a.txt", "alpha\n"), ("dir/b.txt", "")]);
    place.write("binary", b"ab\0cd");
    place.write("latin1", b"caf\xe9 au lait");
    place.write("cut", "ä".as_bytes().split_last().unwrap().1);
    for (path, reason) in [
        ("missing.txt", "File not found: missing.txt"),
        ("a.txt/b", "File not found: a.txt/b"),
        ("dir", "Failed to read file: dir is a directory"),
        (".", "Failed to read file: . is a directory"),
        ("", "Failed to read file: the path is empty"),
        ("a\0b", "Failed to read file: the path contains a NUL byte"),
        ("binary", "Failed to read file: binary is a binary file of 5 bytes"),
        ("latin1", "Failed to read file: latin1 is a binary file of 12 bytes"),
        ("cut", "Failed to read file: cut is a binary file of 1 bytes"),
    ] {
        assert_eq!(place.error("read_file", json!({"path": path})).await, reason);
    }
    for long in ["a".repeat(300), "a/".repeat(100_000)] {
        let reason = place.error("read_file", json!({"path": long})).await;
        assert!(reason.starts_with("Failed to read file: the path is longer than 4096 bytes"), "{reason}");
    }
}

#[tokio::test]
async fn beyond_the_cap_the_text_is_cut_between_characters_and_flagged() {
    let place = Place::new();
    place.write("exact", "a".repeat(CAP_BYTES).as_bytes());
    let reply = place.run("read_file", json!({"path": "exact"})).await.unwrap();
    assert_eq!((reply.output.len(), reply.truncated), (CAP_BYTES, false));

    place.write("more", "a".repeat(CAP_BYTES + 1).as_bytes());
    let reply = place.run("read_file", json!({"path": "more"})).await.unwrap();
    assert_eq!((reply.output.len(), reply.truncated), (CAP_BYTES, true));

    place.write("wide", format!("a{}", "ä".repeat(CAP_BYTES)).as_bytes());
    let reply = place.run("read_file", json!({"path": "wide"})).await.unwrap();
    assert_eq!((reply.output.len(), reply.truncated), (CAP_BYTES - 1, true));
}

/// S42.
#[tokio::test]
async fn a_sparse_file_of_10_gb_is_not_read_beyond_the_cap() {
    let place = Place::new();
    place.write("sparse", "text\n".repeat(CAP_BYTES / 5 + 1).as_bytes());
    let mut file = File::options().write(true).open(place.root().join("sparse")).unwrap();
    file.seek(SeekFrom::Start(10_000_000_000)).unwrap();
    file.write_all(b"end").unwrap();
    File::create(place.root().join("hole")).unwrap().set_len(10_000_000_000).unwrap();

    let started = Instant::now();
    let reply = place.run("read_file", json!({"path": "sparse"})).await.unwrap();
    assert_eq!((reply.output.len(), reply.truncated), (CAP_BYTES, true));
    let reason = place.error("read_file", json!({"path": "hole"})).await;
    assert_eq!(reason, "Failed to read file: hole is a binary file of 10000000000 bytes");
    assert!(started.elapsed() < Duration::from_secs(2));
}
