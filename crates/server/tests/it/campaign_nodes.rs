//! P5, P7, P10, P11: several nodes, of which any may be killed, stopped, cut off or restarted at any moment.

use std::time::{Duration, Instant};

use crate::campaign_kill::settle;
use crate::campaign_support::{Api, PATIENCE, dashed, luck, sized};
use crate::checker::{Evidence, check};
use crate::harness_http::{Client, Request};
use crate::harness_luck::Luck;
use crate::ledger::{Face, Fact, Fate, Ledger, Manner, PLAIN, Reader, Seen};
use crate::nodes_cluster::{Cluster, Line, State};
use crate::upstream::{Tale, Upstream};

const CONVERSATIONS: usize = 9;
/// Two lease lengths, and what it takes to see it.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(10);
/// By the promise.
const ENDS_WITHIN: Duration = Duration::from_secs(31);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_nodes_die_with_notify() {
    nothing_is_lost(Line::Notify).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_nodes_die_with_nats() {
    nothing_is_lost(Line::Nats).await;
}

async fn nothing_is_lost(line: Line) {
    let time = Duration::from_secs(sized(15, 300));
    let mut luck = luck("nodes");
    let upstream = Upstream::start().await;
    let mut cluster = Cluster::start(&upstream, 3, line).await;
    let apis = cluster.apis();
    let ledger = Ledger::default();
    let until = Instant::now() + time;
    let (mut followed, mut writing) = (Vec::new(), Vec::new());
    for number in 0..CONVERSATIONS {
        let conversation = apis[number % 3].conversation().await;
        // Nobody follows on the node on which most is said.
        let readers = [(Face::Session, 1), (Face::Socket, 2)]
            .map(|(face, away)| Reader::start(apis[(number + away) % 3], face, &conversation, format!("{face:?} {number}")));
        for reader in &readers {
            assert!(reader.sees(&conversation, PATIENCE, |seen| !seen.is_empty()).await, "a reader begins");
        }
        let home = [apis[number % 3], apis[number % 3], apis[(number + 1) % 3]];
        writing.push(tokio::spawn(write(ledger.clone(), home, conversation.clone(), until, luck.clone(), number)));
        luck.below(1000);
        followed.push((conversation, readers));
    }
    let faults = disturb(&mut cluster, &mut luck, until).await;
    for writing in writing {
        writing.await.expect("no panic");
    }
    let (mut acknowledged, mut unknown, mut resumed, mut refused, mut turns) = (0, 0, 0, 0, 0);
    for (number, (conversation, readers)) in followed.into_iter().enumerate() {
        let api = apis[number % 3];
        let mut ended = settle(api, &conversation).await;
        for (nth, reader) in readers.iter().enumerate() {
            if came_back_to_silence(reader, &conversation, &ended).await {
                // All was over when its position was refused. What is said next it hears.
                let story = Tale { id: (number * 100_000 + 99_000 + nth) as u64, ..Tale::default() };
                ledger.send(api, &conversation, &story.message(), PLAIN).await;
                ended = settle(api, &conversation).await;
            }
            let seen = reader.sees(&conversation, PATIENCE, |seen| has_ended(seen, &ended)).await;
            assert!(seen, "a reader does not come to the end: {:#?}", reader.look(&conversation, <[Seen]>::to_vec));
            resumed += reader.resumes();
        }
        turns += ended.len();
        let readings: Vec<_> = readers.into_iter().flat_map(Reader::stop).collect();
        let is_refused = |seen: &&Seen| matches!(seen, Seen::Snapshot(snapshot) if snapshot.refused);
        refused += readings.iter().flat_map(|reading| &reading.seen).filter(is_refused).count();
        let sent = ledger.of(&conversation);
        acknowledged += sent.iter().filter(|sent| matches!(sent.fate, Fate::Acknowledged(_))).count();
        unknown += sent.iter().filter(|sent| sent.fate == Fate::Unknown).count();
        // Every node tells the same story.
        for api in &apis {
            check(&Evidence::gather(*api, &conversation, sent.clone(), readings.clone(), true).await);
        }
    }
    assert_eq!(upstream.complaints(), Vec::<String>::new());
    println!(
        "{line:?}: {time:?} with {faults:?}: {acknowledged} messages acknowledged, {unknown} without an answer, {turns} turns; \
         {resumed} times followers came back, {refused} times to a fresh snapshot"
    );
    cluster.end().await;
}

/// Whether the reader was shown the end of the last turn.
fn has_ended(seen: &[Seen], ended: &[String]) -> bool {
    let last = Fact::Finished(ended.last().expect("a turn").clone());
    seen.iter().any(|seen| matches!(seen, Seen::Fact { fact, .. } if *fact == last))
}

/// Waits for the reader's end of the last turn. `true`: its position was refused when nothing ran any more, so that it has the
/// end in what it was given anew.
async fn came_back_to_silence(reader: &Reader, conversation: &str, ended: &[String]) -> bool {
    let is_silent = |seen: &[Seen]| matches!(seen.last(), Some(Seen::Snapshot(last)) if last.refused && last.turn.is_none());
    let either = |seen: &[Seen]| has_ended(seen, ended) || is_silent(seen);
    reader.sees(conversation, PATIENCE, either).await && !reader.look(conversation, |seen| has_ended(seen, ended))
}

/// Says one thing after another, here and there.
async fn write(ledger: Ledger, apis: [Api; 3], conversation: String, until: Instant, mut luck: Luck, writer: usize) {
    for nth in 0.. {
        if Instant::now() > until {
            return;
        }
        let story = Tale {
            id: (writer * 100_000 + nth) as u64,
            rounds: luck.below(3),
            calls: 1 + luck.below(2),
            pieces: 5 + luck.below(60),
            pace_us: 500 + luck.below(8000) as u64,
            silence_ms: if luck.one_in(3) { luck.below(400) as u64 } else { 0 },
            ..Tale::default()
        };
        let manner = Manner { insist: (!luck.one_in(4)).then_some(PATIENCE), ..PLAIN };
        let api = apis[luck.below(3)];
        let fate = ledger.send(api, &conversation, &story.message(), manner).await;
        let pause = if fate == Fate::Refused { 1000 } else { 100 + luck.below(900) };
        tokio::time::sleep(Duration::from_millis(pause as u64)).await;
    }
}

#[derive(Debug, Default)]
struct Faults {
    kills: usize,
    stops: usize,
    cuts: usize,
    silences: usize,
    clocks_set: usize,
    restarts: usize,
    nats_restarts: usize,
}

/// Does harm to one node after another, sometimes to two at once; in the end all are well.
async fn disturb(cluster: &mut Cluster, luck: &mut Luck, until: Instant) -> Faults {
    let mut faults = Faults::default();
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(luck.below(1500) as u64)).await;
        let (victim, other) = (luck.below(3), luck.below(3));
        // Sometimes it is back before anybody has noticed, sometimes long after.
        let time = Duration::from_millis(if luck.one_in(2) { luck.below(1500) } else { 5000 + luck.below(4000) } as u64);
        if luck.one_in(4) && other != victim {
            faults.stops += 1;
            cluster.machines[other].freeze();
        }
        match luck.below(6) {
            0 | 1 => {
                faults.kills += 1;
                cluster.machines[victim].kill().await;
                tokio::time::sleep(time).await;
                cluster.machines[victim].start().await;
            }
            2 => {
                faults.stops += 1;
                cluster.machines[victim].freeze();
                tokio::time::sleep(time).await;
                cluster.machines[victim].thaw();
            }
            3 => {
                let silent = luck.one_in(2);
                let state = if silent { State::Silent } else { State::Cut };
                *(if silent { &mut faults.silences } else { &mut faults.cuts }) += 1;
                cluster.links[victim].set(state);
                tokio::time::sleep(time).await;
                cluster.links[victim].set(State::Open);
            }
            4 => {
                faults.clocks_set += 1;
                let hours = [-1, 0, 1][luck.below(3)];
                cluster.clocks[victim].iter().for_each(|clock| clock.set_ahead(hours * 60 * 60));
                tokio::time::sleep(time).await;
            }
            _ => match &mut cluster.nats {
                Some(nats) if luck.one_in(2) => {
                    faults.nats_restarts += 1;
                    nats.restart().await;
                }
                _ => {
                    faults.restarts += 1;
                    cluster.machines[victim].thaw();
                    cluster.machines[victim].terminate();
                    let status = cluster.machines[victim].ended(ENDS_WITHIN).await.expect("it ends in time");
                    assert_eq!(status.code(), Some(0), "{}", cluster.machines[victim].errors());
                    cluster.machines[victim].start().await;
                }
            },
        }
        cluster.machines[other].thaw();
    }
    faults
}

/// One after another stops and starts again, while all talk: nobody who follows misses or repeats anything, and no position
/// is ever refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing() {
    for line in [Line::Notify, Line::Nats] {
        let rounds = sized(1, 5);
        let mut luck = luck("rolling restart");
        let upstream = Upstream::start().await;
        let mut cluster = Cluster::start(&upstream, 3, line).await;
        let api = cluster.balancer.api();
        let ledger = Ledger::default();
        let (mut followed, mut writing) = (Vec::new(), Vec::new());
        let (stop, stopped) = tokio::sync::watch::channel(false);
        for number in 0..CONVERSATIONS {
            let conversation = api.conversation().await;
            let readers =
                [Face::Session, Face::Socket].map(|face| Reader::start(api, face, &conversation, format!("{face:?} {number}")));
            for reader in &readers {
                assert!(reader.sees(&conversation, PATIENCE, |seen| !seen.is_empty()).await, "a reader begins");
            }
            let (ledger, conversation_in, stopped) = (ledger.clone(), conversation.clone(), stopped.clone());
            let mut own = luck.clone();
            writing.push(tokio::spawn(async move {
                for nth in 0.. {
                    if *stopped.borrow() {
                        return;
                    }
                    let id = (number * 100_000 + nth) as u64;
                    let pace_us = 1000 + own.below(15_000) as u64;
                    let story = Tale { id, rounds: own.below(3), pieces: 20 + own.below(100), pace_us, ..Tale::default() };
                    let manner = Manner { insist: Some(PATIENCE), ..PLAIN };
                    let fate = ledger.send(api, &conversation_in, &story.message(), manner).await;
                    assert!(matches!(fate, Fate::Acknowledged(_)), "{fate:?}");
                    tokio::time::sleep(Duration::from_millis(500 + own.below(1500) as u64)).await;
                }
            }));
            followed.push((conversation, readers));
            luck.below(1000);
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..rounds {
            for machine in &mut cluster.machines {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let began = Instant::now();
                machine.terminate();
                let status = machine.ended(ENDS_WITHIN).await.expect("it ends in time");
                slowest = slowest.max(began.elapsed());
                assert_eq!(status.code(), Some(0), "{}", machine.errors());
                machine.start().await;
            }
        }
        stop.send_replace(true);
        for writing in writing {
            writing.await.expect("no panic");
        }
        let (mut turns, mut resumed) = (0, 0);
        for (conversation, readers) in followed {
            let ended = settle(api, &conversation).await;
            turns += ended.len();
            let last = Fact::Finished(ended.last().expect("a turn").clone());
            for reader in &readers {
                let ends = |seen: &[Seen]| seen.iter().any(|seen| matches!(seen, Seen::Fact { fact, .. } if *fact == last));
                assert!(reader.sees(&conversation, PATIENCE, ends).await, "a reader does not come to the end");
                resumed += reader.resumes();
            }
            let readings = readers.into_iter().flat_map(Reader::stop).collect();
            check(&Evidence::gather(api, &conversation, ledger.of(&conversation), readings, false).await);
        }
        assert_eq!(upstream.complaints(), Vec::<String>::new());
        println!(
            "{line:?}: {} restarts, {turns} turns, {resumed} times followers came back; slowest stop {slowest:?}",
            rounds * 3
        );
        cluster.end().await;
    }
}

/// Whoever cannot be served because the database is away is told that, and when to come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_no_fault_of_the_server() {
    let upstream = Upstream::start().await;
    let cluster = Cluster::start(&upstream, 1, Line::Notify).await;
    let api = cluster.apis()[0];
    let conversation = api.conversation().await;
    cluster.links[0].set(State::Cut);
    let client = Client::new(api.address);
    let path = format!("/api/sessions/{}/messages", dashed(&conversation));
    let refused = client.send(Request::get(&path)).await;
    assert_eq!((refused.status(), refused.header("retry-after")), (503, Some("1")), "{}", refused.text());
    assert_eq!(refused.json()["code"], "unavailable");
    cluster.links[0].set(State::Open);
    let mut status = 503;
    while status == 503 {
        status = client.send(Request::get(&path)).await.status();
    }
    assert_eq!(status, 200);
    cluster.end().await;
}

/// The turns of a node that is killed are another's soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_of_a_dead_node_are_taken_over_in_time() {
    let upstream = Upstream::start().await;
    let mut cluster = Cluster::start(&upstream, 2, Line::Notify).await;
    let apis = cluster.apis();
    let ledger = Ledger::default();
    let mut slowest = Duration::ZERO;
    for trial in 0..sized(1, 10) {
        let conversation = apis[0].conversation().await;
        let story = Tale { id: trial, rounds: 0, pieces: 3, silence_ms: 60_000, silent_once: true, ..Tale::default() };
        let fate = ledger.send(apis[0], &conversation, &story.message(), PLAIN).await;
        assert!(matches!(fate, Fate::Acknowledged(_)), "{fate:?}");
        while upstream.asked(trial, 0) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cluster.machines[0].kill().await;
        let began = Instant::now();
        while upstream.asked(trial, 0) < 2 {
            assert!(began.elapsed() < TAKEN_OVER_WITHIN, "nobody has taken the turn over");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        slowest = slowest.max(began.elapsed());
        settle(apis[1], &conversation).await;
        check(&Evidence::gather(apis[1], &conversation, ledger.of(&conversation), Vec::new(), true).await);
        cluster.machines[0].start().await;
    }
    println!("taken over after at most {slowest:?}");
    cluster.end().await;
}

/// What one, two and three nodes on this machine carry: text that comes as fast as it can, each conversation followed on
/// another node than the one that answers. A measurement: it fails only if something is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_over_several_nodes() {
    const PIECES: usize = 500;
    for line in [Line::Notify, Line::Nats] {
        for count in 1..=sized(2, 3) {
            let upstream = Upstream::start().await;
            let cluster = Cluster::start(&upstream, count, line).await;
            let apis = cluster.apis();
            let (conversations, ledger) = (sized(4, 60), Ledger::default());
            let mut readers = Vec::new();
            for number in 0..conversations {
                let conversation = apis[number % count].conversation().await;
                let reader = Reader::start(apis[(number + 1) % count], Face::Session, &conversation, format!("reader {number}"));
                assert!(reader.sees(&conversation, PATIENCE, |seen| !seen.is_empty()).await, "a reader begins");
                readers.push((conversation, reader));
            }
            let began = Instant::now();
            let sending = readers.iter().enumerate().map(|(number, (conversation, _))| {
                let story = Tale { id: number as u64, rounds: 0, pieces: PIECES, pace_us: 0, ..Tale::default() };
                let (ledger, api, conversation) = (ledger.clone(), apis[number % count], conversation.clone());
                tokio::spawn(async move { ledger.send(api, &conversation, &story.message(), PLAIN).await })
            });
            for sent in sending.collect::<Vec<_>>() {
                assert!(matches!(sent.await.expect("no panic"), Fate::Acknowledged(_)));
            }
            for (conversation, reader) in &readers {
                assert!(reader.sees_ends(conversation, 1, PATIENCE * 4).await, "a reader does not come to the end");
            }
            let took = began.elapsed();
            println!(
                "{line:?}, {count} nodes, {conversations} conversations: {:.0} deltas/s",
                (conversations * PIECES) as f64 / took.as_secs_f64()
            );
            for (number, (conversation, reader)) in readers.into_iter().enumerate() {
                let api = apis[number % count];
                check(&Evidence::gather(api, &conversation, ledger.of(&conversation), reader.stop(), false).await);
            }
            cluster.end().await;
        }
    }
}
