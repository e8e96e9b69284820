//! P5: whoever is cut off, at whatever byte, comes back and has seen everything once. No trial kills the server, so no position
//! may ever be refused.

use std::time::Duration;

use crate::campaign_support::{Machine, PATIENCE, luck, sized};
use crate::checker::{Evidence, check};
use crate::harness_luck::Luck;
use crate::ledger::{Face, Fate, Ledger, PLAIN, Reader, Seen};
use crate::proxy::{End, Fault, Proxy};
use crate::upstream::{Tale, Upstream};

const CONVERSATIONS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_cut_off_comes_back_and_misses_nothing() {
    let trials = sized(100, 10_000);
    let mut luck = luck("cut and resume");
    let upstream = Upstream::start().await;
    let machine = Machine::started(&upstream).await;
    let mut planner = luck.clone();
    let proxy = Proxy::start(machine.address, move || fault(&mut planner)).await;
    let api = machine.api();
    let cut = crate::campaign_support::Api { via: proxy.address, ..api };
    let ledger = Ledger::default();
    let (mut resumes, mut tale) = (0, 0);
    while resumes < trials {
        let everything = Reader::start(cut, Face::Everything, "", "everything".to_owned());
        // Who follows everything from now on must have begun before anything happens.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut followed = Vec::new();
        for _ in 0..CONVERSATIONS {
            let conversation = api.conversation().await;
            let readers: Vec<Reader> = [Face::Session, Face::Socket, Face::Session, Face::Socket]
                .into_iter()
                .enumerate()
                .map(|(number, face)| Reader::start(cut, face, &conversation, format!("{face:?} {number}")))
                .collect();
            followed.push((conversation, readers));
        }
        for turn in 0..2 {
            for (conversation, _) in &followed {
                tale += 1;
                let story =
                    Tale { id: tale, rounds: 1 + turn, calls: 2, pieces: 40 + luck.below(30), pace_us: 2000, ..Tale::default() };
                let fate = ledger.send(api, conversation, &story.message(), PLAIN).await;
                assert!(matches!(fate, Fate::Acknowledged(_)), "{fate:?}");
            }
        }
        for (conversation, readers) in &followed {
            for reader in readers.iter().chain([&everything]) {
                let seen = reader.sees_ends(conversation, 2, PATIENCE).await;
                assert!(seen, "a reader does not come to the end: {:#?}", reader.look(conversation, <[Seen]>::to_vec));
            }
        }
        let all = everything.resumes();
        let everything = everything.stop();
        for (conversation, readers) in followed {
            resumes += readers.iter().map(Reader::resumes).sum::<usize>();
            let mut readings: Vec<_> = readers.into_iter().flat_map(Reader::stop).collect();
            readings.extend(everything.iter().filter(|reading| reading.conversation == conversation).cloned());
            assert_eq!(readings.len(), 5);
            check(&Evidence::gather(api, &conversation, ledger.of(&conversation), readings, false).await);
        }
        resumes += all;
    }
    assert_eq!(upstream.complaints(), Vec::<String>::new());
    println!("{resumes} resumes after {} cuts, {tale} turns", proxy.broken());
    machine.end().await;
}

/// Mostly a cut at any byte of what a turn takes; sometimes the connection is only slow.
fn fault(luck: &mut Luck) -> Fault {
    match luck.below(20) {
        0 => Fault::Delay(Duration::from_millis(30)),
        1 => Fault::Drip { bytes: 700, pause: Duration::from_millis(5) },
        _ => Fault::Cut { after: 1 + luck.below(8000), end: if luck.one_in(2) { End::Fin } else { End::Rst } },
    }
}
