//! P1: the program dies at every single sync, and at every single write, of one story: enumerated, not drawn.

use std::time::Duration;

use crate::campaign_kill::settle;
use crate::campaign_support::{Machine, PATIENCE, is_long};
use crate::checker::{Evidence, check};
use crate::ledger::{Face, Fate, Ledger, Manner, PLAIN, Reader};
use crate::upstream::{Tale, Upstream};

/// More than the story has, so that the enumeration has an end even if it never reaches the story's.
const MOST: usize = 2000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sync_may_be_the_last() {
    enumerate("fsync,fdatasync", &[1, 2, 4, 8, 14, 22]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_may_be_the_last() {
    enumerate("pwrite64", &[1, 4, 11, 30, 70, 120]).await;
}

/// The program is killed as it enters the call of this name for the `n`th time in one thread: the writer's, because no other
/// makes many. In a sample for some `n`, in the whole campaign for all, until the story ends before it comes to that.
async fn enumerate(call: &str, sample: &[usize]) {
    if !can_trace().await {
        println!("SKIPPED: strace is not installed, or may not trace here");
        return;
    }
    let upstream = Upstream::start().await;
    let mut machine = Machine::started(&upstream).await;
    let (mut tale, mut died, mut survived) = (0, 0, 0);
    let points: Vec<usize> = if is_long() { (1..MOST).collect() } else { sample.to_vec() };
    for n in points {
        machine.kill().await;
        if one_crash(&mut machine, call, n, &mut tale).await {
            died += 1;
        } else {
            survived += 1;
            println!("{call}: the story ends before its call number {n}");
        }
        assert_eq!(upstream.complaints(), Vec::<String>::new(), "{call} number {n}");
        // A story may take a few calls more or less, so one that survives is not yet the end of them.
        if survived == 5 {
            break;
        }
    }
    println!("{call}: killed at {died} points");
    assert!(died >= sample.len() / 2, "only {died} points were reached");
    machine.end().await;
}

/// Says whether the program came to that point.
async fn one_crash(machine: &mut Machine, call: &str, n: usize, tale: &mut u64) -> bool {
    let inject = format!("inject={call}:signal=KILL:when={n}");
    let trace = format!("trace={call}");
    // Its faster way of looking at a few calls only (--seccomp-bpf) does not deliver the signal.
    let wrapper = ["strace", "-f", "-qq", "-e", &trace, "-e", &inject, "-o", "/dev/null"];
    let (api, ledger) = (machine.api(), Ledger::default());
    let mut followed = None;
    let mut sending = Vec::new();
    if machine.start_under(&wrapper).await.is_some()
        && let Ok(conversation) = api.try_conversation().await
    {
        let readers = [Face::Session, Face::Socket].map(|face| Reader::start(api, face, &conversation, format!("{face:?}")));
        for reader in &readers {
            // Which it may not, if the program dies first.
            let _ = reader.sees(&conversation, Duration::from_secs(2), |seen| !seen.is_empty()).await;
        }
        for (nth, rounds) in [(0, 2), (1, 0)] {
            *tale += 1;
            let story = Tale { id: *tale, rounds, calls: 3, pieces: 25, pace_us: 2500, ..Tale::default() };
            let (ledger, conversation) = (ledger.clone(), conversation.clone());
            let manner = Manner { insist: (nth == 0).then_some(PATIENCE), ..PLAIN };
            sending.push(tokio::spawn(async move { ledger.send(api, &conversation, &story.message(), manner).await }));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while machine.is_running() && readers[0].look(&conversation, crate::ledger::ends) < 2 {
            assert!(tokio::time::Instant::now() < deadline, "neither does the story end nor the program");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        followed = Some((conversation, readers));
    }
    // It is dead when it could not say that it listens, or ends by itself within a moment.
    let has_died = !machine.is_running() || machine.ended(Duration::from_millis(100)).await.is_some();
    machine.kill().await;
    machine.start().await;
    for sending in sending {
        assert_ne!(sending.await.expect("no panic"), Fate::Refused);
    }
    let Some((conversation, readers)) = followed else { return has_died };
    settle(api, &conversation).await;
    *tale += 1;
    let next = Tale { id: *tale, rounds: 1, pieces: 2, ..Tale::default() };
    let fate = ledger.send(api, &conversation, &next.message(), PLAIN).await;
    assert!(matches!(fate, Fate::Acknowledged(_)), "{call} number {n}: the next message: {fate:?}");
    settle(api, &conversation).await;
    let last_words = next.end();
    for reader in &readers {
        let says = |seen: &[crate::ledger::Seen]| format!("{seen:?}").contains(last_words.trim());
        assert!(reader.sees(&conversation, PATIENCE, says).await, "{call} number {n}: a reader does not come to the end");
    }
    let readings = readers.into_iter().flat_map(Reader::stop).collect();
    println!("{call} number {n}: died: {has_died}");
    check(&Evidence::gather(api, &conversation, ledger.of(&conversation), readings, true).await);
    has_died
}

async fn can_trace() -> bool {
    let run = tokio::process::Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).status().await;
    run.is_ok_and(|status| status.success())
}
