//! P3: the disk fails or is full. Nothing that was not stored is acknowledged, reading goes on, and writing goes on by itself
//! as soon as the disk lets it.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::campaign_kill::settle;
use crate::campaign_support::{Api, Machine, PATIENCE, dashed, is_long, sized};
use crate::checker::{Evidence, check};
use crate::disk::Disk;
use crate::harness_http::Request;
use crate::ledger::{Face, Fact, Fate, Ledger, Manner, PLAIN, Reader, Seen, client_id, ends, open_socket};
use crate::upstream::{Tale, Upstream};

/// By the promise.
const RESUMES_WITHIN: Duration = Duration::from_secs(5);

/// Of the text of a turn that speaks while nothing can be stored: at one every 10 ms.
const PIECES: usize = 300;

const INSIST: Manner = Manner { insist: Some(PATIENCE), ..PLAIN };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_is_never_called_a_success() {
    every_nth_fails("sync", "EIO", &[1, 2, 3, 5, 8]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_room_is_never_called_a_success() {
    every_nth_fails("write", "ENOSPC", &[1, 2, 4, 9, 20, 40]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_is_never_called_a_success() {
    every_nth_fails("write", "EIO", &[1, 3, 11, 33]).await;
}

/// The `n`th call in the middle of a story fails, for every `n`; once, so that all that comes behind it must work.
async fn every_nth_fails(call: &str, error: &str, sample: &[usize]) {
    let upstream = Upstream::start().await;
    let mut machine = Machine::new(&upstream);
    let Some(disk) = Disk::below(&mut machine, false) else { return };
    machine.start().await;
    let api = machine.api();
    let points: Vec<usize> = if is_long() { (1..=100).collect() } else { sample.to_vec() };
    let (mut acknowledged, mut refused, mut all) = (0, 0, Vec::new());
    for (trial, n) in points.iter().enumerate() {
        let ledger = Ledger::default();
        let conversation = api.conversation().await;
        let readers = [Face::Session, Face::Socket].map(|face| Reader::start(api, face, &conversation, format!("{face:?}")));
        for reader in &readers {
            assert!(reader.sees(&conversation, PATIENCE, |seen| !seen.is_empty()).await, "a reader begins");
        }
        disk.fail(call, error, *n, 1);
        let tale =
            |nth: u64| Tale { id: trial as u64 * 10 + nth, rounds: 2, calls: 3, pieces: 8, pace_us: 4000, ..Tale::default() };
        for nth in 0..3 {
            match ledger.send(api, &conversation, &tale(nth).message(), PLAIN).await {
                Fate::Acknowledged(_) => acknowledged += 1,
                Fate::Refused | Fate::Unknown => refused += 1,
            }
            api.get(&format!("/api/chats/{conversation}/messages")).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        settle(api, &conversation).await;
        disk.heal();
        let fate = ledger.send(api, &conversation, &tale(9).message(), PLAIN).await;
        assert!(matches!(fate, Fate::Acknowledged(_)), "{call} {error} {n}: the next message: {fate:?}");
        settle(api, &conversation).await;
        let words = tale(9).end();
        for reader in &readers {
            let says = |seen: &[Seen]| format!("{seen:?}").contains(words.trim());
            assert!(reader.sees(&conversation, PATIENCE, says).await, "{call} {error} {n}: a reader does not come to the end");
        }
        let readings = readers.into_iter().flat_map(Reader::stop).collect::<Vec<_>>();
        check(&Evidence::gather(api, &conversation, ledger.of(&conversation), readings.clone(), false).await);
        assert_eq!(upstream.complaints(), Vec::<String>::new(), "{call} {error} {n}");
        all.push((conversation, ledger, readings));
    }
    println!("{call} {error} at {} points: {acknowledged} messages acknowledged, {refused} not", points.len());
    // What was acknowledged is on the disk, and not only in somebody's memory.
    machine.kill().await;
    machine.start().await;
    for (conversation, ledger, readings) in all {
        check(&Evidence::gather(api, &conversation, ledger.of(&conversation), readings, true).await);
    }
    machine.end().await;
}

/// Reading from the disk fails for a moment: whoever asked is told, and the next one is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_fails_harms_nobody_else() {
    let upstream = Upstream::start().await;
    let mut machine = Machine::new(&upstream);
    let Some(disk) = Disk::below(&mut machine, false) else { return };
    machine.start().await;
    let (api, ledger) = (machine.api(), Ledger::default());
    let conversation = api.conversation().await;
    let target = format!("/api/chats/{conversation}/messages");
    let mut failed = 0;
    for n in 1..=sized(10, 100) {
        let tale = Tale { id: n, rounds: 1, calls: 2, pieces: 3, ..Tale::default() };
        ledger.send(api, &conversation, &tale.message(), INSIST).await;
        settle(api, &conversation).await;
        // A connection that is opened anew has nothing in memory yet, so that reads reach the disk.
        machine.kill().await;
        machine.start().await;
        disk.fail("read", "EIO", 1, 3);
        let began = Instant::now();
        loop {
            let (status, answer) = api.send(Request::get(&target)).await.expect("an answer");
            if status == 200 {
                break;
            }
            failed += 1;
            assert_eq!((status, &answer["code"]), (500, &json!("internal")), "{answer}");
            assert!(began.elapsed() < RESUMES_WITHIN, "reading does not go on");
        }
        disk.heal();
    }
    println!("{failed} reads failed");
    let tale = Tale { id: 1000, ..Tale::default() };
    let fate = ledger.send(api, &conversation, &tale.message(), PLAIN).await;
    assert!(matches!(fate, Fate::Acknowledged(_)), "{fate:?}");
    settle(api, &conversation).await;
    check(&Evidence::gather(api, &conversation, ledger.of(&conversation), Vec::new(), true).await);
    machine.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_to_everybody_and_got_over() {
    let upstream = Upstream::start().await;
    let mut machine = Machine::new(&upstream);
    let Some(disk) = Disk::below(&mut machine, false) else { return };
    machine.start().await;
    for round in 0..sized(1, 20) {
        stand_still(&mut machine, round, Some("storage_full"), || disk.fail("write", "ENOSPC", 1, 0), || disk.heal()).await;
        stand_still(&mut machine, 1000 + round, None, || disk.fail("sync", "EIO", 1, 0), || disk.heal()).await;
    }
    assert_eq!(upstream.complaints(), Vec::<String>::new());
    machine.end().await;
}

/// The same with a file system that is really full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_without_room_is_got_over() {
    let upstream = Upstream::start().await;
    let mut machine = Machine::new(&upstream);
    let data = machine.data_dir();
    std::fs::create_dir_all(&data).expect("a directory");
    let mount = format!("mount -t tmpfs -o size=12m,mode=700 tmpfs {} && exec \"$@\"", data.display());
    let wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &mount, "sh"];
    if !can_mount(&wrapper[..5]).await {
        println!("SKIPPED: no file system may be mounted here, not even in a namespace of our own");
        return;
    }
    machine.start_under(&wrapper).await.expect("it listens");
    for round in 0..sized(1, 10) {
        let filler = std::path::PathBuf::from(format!("/proc/{}/root{}/filler", machine.pid(), data.display()));
        let fill = || {
            let mut file = std::fs::File::create(&filler).expect("a file");
            let block = vec![1; 64 * 1024];
            while std::io::Write::write_all(&mut file, &block).is_ok() {}
            // Down to the last byte.
            while std::io::Write::write_all(&mut file, &[1]).is_ok() {}
        };
        stand_still(&mut machine, round, Some("storage_full"), fill, || std::fs::remove_file(&filler).expect("our own file"))
            .await;
    }
    assert_eq!(upstream.complaints(), Vec::<String>::new());
    assert!(!machine.errors().contains("panicked"), "{}", machine.errors());
}

async fn can_mount(wrapper: &[&str]) -> bool {
    let mut command = tokio::process::Command::new(wrapper[0]);
    let run = command.args(&wrapper[1..]).args(["-c", "mount -t tmpfs tmpfs /mnt"]).output().await;
    run.is_ok_and(|output| output.status.success())
}

/// A turn runs, another waits, and then nothing can be stored for a while. `code`: what those who write are told.
async fn stand_still(machine: &mut Machine, round: u64, code: Option<&str>, stop: impl FnOnce(), go_on: impl FnOnce()) {
    let (api, ledger) = (machine.api(), Ledger::default());
    let tale = |nth: u64, pieces| Tale { id: round * 10 + nth, rounds: 0, pieces, pace_us: 10_000, ..Tale::default() };
    let conversation = api.conversation().await;
    let reader = Reader::start(api, Face::Session, &conversation, "reader".to_owned());
    // Long enough to be still speaking when nothing can be stored any more, also on a busy machine.
    ledger.send(api, &conversation, &tale(0, PIECES).message(), PLAIN).await;
    let says = |words: String| move |seen: &[Seen]| format!("{seen:?}").contains(words.trim());
    let texts = |seen: &[Seen]| seen.iter().filter(|seen| matches!(seen, Seen::Text { .. })).count();
    assert!(reader.sees(&conversation, PATIENCE, |seen| texts(seen) >= 5).await, "the turn speaks");
    stop();
    let before = reader.look(&conversation, texts);
    everybody_is_told(api, &conversation, code).await;
    let lost = ledger.send(api, &conversation, &tale(1, 3).message(), PLAIN).await;
    assert!(!matches!(lost, Fate::Acknowledged(_)), "{lost:?}");
    // Whoever reads goes on reading, also what the running turn says meanwhile.
    for target in ["", "/messages"] {
        api.get(&format!("/api/chats/{conversation}{target}")).await;
    }
    assert!(reader.sees(&conversation, PATIENCE, |seen| texts(seen) > before + 5).await, "what is said is still shown");
    // Until it has said everything, and waits for its end to be stored.
    assert!(reader.sees(&conversation, PATIENCE, says(tale(0, PIECES).end())).await, "it comes to its last words");
    assert_eq!(reader.look(&conversation, ends), 0, "its end is not stored");
    go_on();
    let freed = Instant::now();
    let again = ledger.send(api, &conversation, &tale(2, 3).message(), Manner { insist: Some(RESUMES_WITHIN), ..PLAIN }).await;
    assert!(matches!(again, Fate::Acknowledged(_)), "writing does not go on: {again:?}");
    let took = freed.elapsed();
    assert!(took < RESUMES_WITHIN, "writing goes on after {took:?}");
    println!("round {round}: writing went on after {took:?}");
    assert!(reader.sees_ends(&conversation, 2, PATIENCE).await, "both turns end");
    let stored = took_end(&reader, &conversation);
    assert!(stored, "the end of the turn that had to wait is shown");
    settle(api, &conversation).await;
    check(&Evidence::gather(api, &conversation, ledger.of(&conversation), reader.stop(), false).await);
}

fn took_end(reader: &Reader, conversation: &str) -> bool {
    reader.look(conversation, |seen| {
        seen.iter().any(|seen| matches!(seen, Seen::Fact { fact: Fact::Finished(_), cursor: Some(_) }))
    })
}

/// Each API says in its own form that nothing can be stored, and nothing of it is.
async fn everybody_is_told(api: Api, conversation: &str, code: Option<&str>) {
    let (status, code) = code.map_or((500, "internal"), |code| (507, code));
    let chats = format!("/api/chats/{conversation}/messages");
    let sessions = format!("/api/sessions/{}/messages", dashed(conversation));
    let body = json!({"content": "nobody hears this"});
    for (target, text) in [(chats.as_str(), "detail"), (&sessions, "error"), ("/api/chats", "detail"), ("/api/sessions", "error")]
    {
        let (answered, answer) = api.send(Request::post(target, &body)).await.expect("an answer");
        assert_eq!((answered, &answer["code"]), (status, &json!(code)), "{target}: {answer}");
        assert!(answer[text].as_str().is_some_and(|text| !text.is_empty()), "{target}: {answer}");
    }
    let frame = json!({"type": "chat", "chatId": conversation, "content": "nor this", "clientId": client_id("nor this")});
    let mut socket = open_socket(api).await.expect("a socket opens");
    socket.send(Message::text(frame.to_string())).await.expect("the server reads");
    let told = async {
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            if frame["type"] == "error" {
                return frame;
            }
        }
        Value::Null
    };
    let told = tokio::time::timeout(PATIENCE, told).await.expect("the socket is told");
    assert_eq!((&told["code"], &told["retryable"]), (&json!(code), &json!(true)), "{told}");
}
