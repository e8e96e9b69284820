use std::fs::File;
use std::time::Duration;

use serde_json::json;

use crate::support::Place;

#[tokio::test]
async fn matches_are_written_like_ripgrep_does() {
    let place = Place::with(&[("b.rs", "fn b() {}\r\nlet fnord;\n"), ("a/x.txt", "one\nfn a\n"), ("a.txt", "nothing\n")]);
    assert_eq!(place.output("grep", json!({"pattern": "fn"})).await, "a/x.txt:2:fn a\nb.rs:1:fn b() {}\nb.rs:2:let fnord;");
    assert_eq!(place.output("grep", json!({"pattern": r"\bfn\b", "glob": "*.rs"})).await, "b.rs:1:fn b() {}");
    assert_eq!(place.output("grep", json!({"pattern": "(?i)FN A", "glob": "a/**"})).await, "a/x.txt:2:fn a");
    assert_eq!(place.output("grep", json!({"pattern": "absent"})).await, "No matches.");
    assert_eq!(place.output("grep", json!({"pattern": "fn", "glob": "*.py"})).await, "No matches.");
}

#[tokio::test]
async fn context_is_set_apart_and_groups_are_separated() {
    let place = Place::with(&[("a", "1\n2\nhit\n4\n5\n6\n7\nhit\n9\n"), ("b", "hit\n2\n")]);
    let output = place.output("grep", json!({"pattern": "hit", "context_lines": 1})).await;
    assert_eq!(output, "a-2-2\na:3:hit\na-4-4\n--\na-7-7\na:8:hit\na-9-9\n--\nb:1:hit\nb-2-2");
}

#[tokio::test]
async fn patterns_beyond_the_limits_are_errors() {
    let place = Place::with(&[("a", "x")]);
    for (pattern, says) in [
        (r"\w{1000}{100}", "compiled regex exceeds size limit"),
        (r"\w{200}", "compiled regex exceeds size limit"),
        ("a\nb", r#"the literal "\n" is not allowed in a regex"#),
        ("(?=a)", "look-around"),
        (r"(a)\1", "backreferences are not supported"),
    ] {
        let reason = place.error("grep", json!({"pattern": pattern})).await;
        assert!(reason.starts_with("Invalid input: `pattern`: ") && reason.contains(says), "{reason}");
        assert!(!reason.contains('\n'), "{reason}");
    }
    assert_eq!(place.output("grep", json!({"pattern": r"\w{30}|x"})).await, "a:1:x");
    let reason = place.error("grep", json!({"pattern": "(".repeat(900)})).await;
    assert!(reason.starts_with("Invalid input: `pattern`: "), "{reason}");
}

#[tokio::test]
async fn binary_files_are_passed_over_and_other_encodings_searched() {
    let place = Place::with(&[("text", "needle\n")]);
    place.write("nul", b"needle\n\0");
    place.write("late", format!("needle\n{}\0", "x\n".repeat(100_000)).as_bytes());
    place.write("latin1", b"caf\xe9 needle\n");
    let utf16: Vec<u8> = "\u{feff}needle ä\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    place.write("utf16", &utf16);
    let output = place.output("grep", json!({"pattern": "needle"})).await;
    assert_eq!(output, "latin1:1:caf\u{fffd} needle\ntext:1:needle\nutf16:1:needle ä");
}

#[tokio::test]
async fn large_files_are_counted_unless_they_are_binary() {
    let place = Place::with(&[("a", "needle\n")]);
    place.write("long-line", format!("needle\n{}", "x".repeat(1024 * 1024 + 1)).as_bytes());
    place.write("large", "needle\n".repeat(3_000_000).as_bytes());
    File::create(place.root().join("hole")).unwrap().set_len(10_000_000_000).unwrap();
    let reply = place.run("grep", json!({"pattern": "needle"})).await.unwrap();
    let expected = "a:1:needle\n[Files over 16 MiB, or with a line over 1 MiB, were not searched: 2.]";
    assert_eq!((reply.output.as_str(), reply.truncated), (expected, true));
}

#[tokio::test]
async fn ten_thousand_matches_are_the_limit() {
    let place = Place::with(&[("a", &"x\n".repeat(10_000))]);
    let reply = place.run("grep", json!({"pattern": "x"})).await.unwrap();
    assert_eq!((reply.output.lines().count(), reply.truncated), (10_000, false));
    place.write("b", b"x\n");
    let reply = place.run("grep", json!({"pattern": "x"})).await.unwrap();
    assert_eq!((reply.output.lines().count(), reply.truncated), (10_001, true));
    let last = reply.output.lines().last().unwrap();
    assert_eq!(last, "[Stopped at the limit of 10,000 matches: there are more. Use a narrower pattern or glob.]");
}

#[tokio::test]
async fn long_lines_are_cut_and_one_mebibyte_is_the_limit() {
    let place = Place::with(&[("a", &format!("{}\n{}\n", "ä".repeat(500), "ä".repeat(501)))]);
    let output = place.output("grep", json!({"pattern": "ä"})).await;
    assert_eq!(output, format!("a:1:{0}\na:2:{0} [line cut]", "ä".repeat(500)));

    place.write("b", format!("{}\n", "y".repeat(400)).repeat(9_000).as_bytes());
    let reply = place.run("grep", json!({"pattern": "y"})).await.unwrap();
    assert!(reply.truncated && reply.output.len() <= 1024 * 1024 && reply.output.len() > 1_000_000);
    let last = reply.output.lines().last().unwrap();
    assert_eq!(last, "[Stopped at the limit of 1 MiB of output: there are more. Use a narrower pattern or glob.]");
}

/// The worst that fits the limits: no cache of states helps, so that every letter costs hundreds of steps.
#[tokio::test]
async fn a_slow_search_is_cancelled_at_once() {
    let place = Place::with(&[("a", &random_letters())]);
    let input = json!({"pattern": r"([ab]*a[ab]{60}){8}[^ab0-9]"});
    place.assert_cancels("grep", input, Duration::from_millis(300)).await;
}

/// 3 MB of `a` and `b` without order, in lines of 600.
fn random_letters() -> String {
    let mut state: u32 = 1;
    let letter = |index: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if index.is_multiple_of(600) {
            '\n'
        } else if state >> 31 == 0 {
            'a'
        } else {
            'b'
        }
    };
    (0..3_000_000).map(letter).collect()
}
