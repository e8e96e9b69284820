//! P1, P5, P7: the program is killed at any moment of a turn, and starts again on what it has left behind.

use std::time::{Duration, Instant};

use crate::campaign_support::{Api, Machine, PATIENCE, dashed, luck, sized};
use crate::checker::{Evidence, check};
use crate::harness_luck::Luck;
use crate::ledger::{Face, Fact, Fate, Ledger, Manner, PLAIN, Reader, Reading, Seen, ends, whole_log};
use crate::upstream::{Tale, Upstream};

const CONVERSATIONS: usize = 3;
const WRITERS: usize = 32;
/// By the promise: what was running is running again, or has ended, so soon after the program listens.
const BACK_WITHIN: Duration = Duration::from_secs(2);

/// When the program dies.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Accepted,
    Text(usize),
    Called,
    Returned,
    LastWords,
    Ended,
    After(Duration),
}

impl Moment {
    fn any(luck: &mut Luck) -> Self {
        match luck.below(10) {
            0 => Self::Accepted,
            1 => Self::Text(1),
            2 | 3 => Self::Text(1 + luck.below(40)),
            4 => Self::Called,
            5 => Self::Returned,
            6 => Self::LastWords,
            7 => Self::Ended,
            _ => Self::After(Duration::from_millis(luck.below(500) as u64)),
        }
    }

    fn has_come(self, seen: &[Seen], last_words: &str) -> bool {
        let fact = |is: fn(&Fact) -> bool| seen.iter().any(|seen| matches!(seen, Seen::Fact { fact, .. } if is(fact)));
        let texts = || seen.iter().filter_map(|seen| if let Seen::Text { text, .. } = seen { Some(text) } else { None });
        // A story may be too short for it.
        ends(seen) > 0
            || match self {
                Self::Accepted | Self::After(_) => true,
                Self::Text(count) => texts().count() >= count,
                Self::Called => fact(|fact| matches!(fact, Fact::Called(_))),
                Self::Returned => fact(|fact| matches!(fact, Fact::Returned(_))),
                Self::LastWords => texts().any(|text| text.contains(last_words)),
                Self::Ended => false,
            }
    }
}

/// What the trials came to.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: usize,
    unknown: usize,
    completed: usize,
    interrupted: usize,
    /// Positions that were taken, and such that were refused.
    resumed: usize,
    refused: usize,
    slowest_start: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_program_is_killed() {
    let trials = sized(10, 100);
    let mut luck = luck("kill");
    let upstream = Upstream::start().await;
    let mut machine = Machine::started(&upstream).await;
    machine.fill_heap(60);
    let (mut tally, mut tale) = (Tally::default(), 0);
    for trial in 0..trials {
        let moment = Moment::any(&mut luck);
        println!("trial {trial}: {moment:?}");
        one_kill(&mut machine, &mut luck, moment, &mut tale, &mut tally).await;
        assert_eq!(upstream.complaints(), Vec::<String>::new(), "trial {trial}");
    }
    println!("{trials} kills: {tally:#?}");
    machine.end().await;
}

async fn one_kill(machine: &mut Machine, luck: &mut Luck, moment: Moment, tale: &mut u64, tally: &mut Tally) {
    let (api, ledger) = (machine.api(), Ledger::default());
    let mut followed = Vec::new();
    let mut last_words = String::new();
    let mut sending = Vec::new();
    for number in 0..CONVERSATIONS {
        let conversation = api.conversation().await;
        let readers =
            [Face::Session, Face::Socket].map(|face| Reader::start(api, face, &conversation, format!("{face:?} {number}")));
        for reader in &readers {
            assert!(reader.sees(&conversation, PATIENCE, |seen| !seen.is_empty()).await, "a reader begins");
        }
        // The second message waits, and not everybody asks again when the answer does not come.
        for nth in 0..1 + luck.below(2) {
            *tale += 1;
            let story = any_story(*tale, luck);
            if number == 0 && nth == 0 {
                last_words = story.end();
            }
            let insist = (!luck.one_in(3)).then_some(PATIENCE);
            let (ledger, conversation) = (ledger.clone(), conversation.clone());
            let early = Duration::from_millis(luck.below(30) as u64 * nth as u64);
            sending.push(tokio::spawn(async move {
                tokio::time::sleep(early).await;
                ledger.send(api, &conversation, &story.message(), Manner { insist, ..PLAIN }).await
            }));
        }
        followed.push((conversation, readers));
    }
    let (watched, watchers) = &followed[0];
    let accepted = async {
        while matches!(moment, Moment::Accepted) && ledger.of(watched).iter().all(|sent| sent.fate == Fate::Unknown) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, accepted).await.expect("a message is accepted");
    assert!(watchers[0].sees(watched, PATIENCE, |seen| moment.has_come(seen, &last_words)).await, "{moment:?} does not come");
    if let Moment::After(time) = moment {
        tokio::time::sleep(time).await;
    }
    machine.kill().await;
    // Sometimes it dies again while it gets up.
    if luck.one_in(4) {
        machine.start_and_kill(Duration::from_millis(luck.below(120) as u64)).await;
    }
    let began = Instant::now();
    machine.start().await;
    tally.slowest_start = tally.slowest_start.max(began.elapsed());
    for (conversation, _) in &followed {
        is_back(api, conversation, machine.listening_at + BACK_WITHIN).await;
    }
    for sending in sending {
        match sending.await.expect("no panic") {
            Fate::Acknowledged(_) => tally.acknowledged += 1,
            Fate::Unknown => tally.unknown += 1,
            Fate::Refused => panic!("a message is refused"),
        }
    }
    for (conversation, readers) in followed {
        settle(api, &conversation).await;
        *tale += 1;
        let next = Tale { id: *tale, rounds: 1, pieces: 3, ..Tale::default() };
        let fate = ledger.send(api, &conversation, &next.message(), PLAIN).await;
        assert!(matches!(fate, Fate::Acknowledged(_)), "the next message: {fate:?}");
        let last = settle(api, &conversation).await.pop().expect("a turn");
        let rows = api.get(&format!("/api/chats/{conversation}/messages")).await;
        let answer = rows.as_array().and_then(|rows| rows.last()).cloned().unwrap_or_default();
        assert!(
            answer["content"].as_str().is_some_and(|text| text.ends_with(&next.end())),
            "the next message is not answered: {answer}"
        );
        for reader in &readers {
            let end = Fact::Finished(last.clone());
            let sees_end = |seen: &[Seen]| seen.iter().any(|seen| matches!(seen, Seen::Fact { fact, .. } if *fact == end));
            let seen = reader.sees(&conversation, PATIENCE, sees_end).await;
            assert!(seen, "a reader does not come to the end: {:#?}", reader.look(&conversation, <[Seen]>::to_vec));
            tally.resumed += reader.resumes();
        }
        for row in rows.as_array().into_iter().flatten().filter(|row| row["role"] == "assistant") {
            match row["outcome"].as_str() {
                Some("failed") => tally.interrupted += 1,
                _ => tally.completed += 1,
            }
        }
        let readings: Vec<Reading> = readers.into_iter().flat_map(Reader::stop).collect();
        let refused = |seen: &&Seen| matches!(seen, Seen::Snapshot(snapshot) if snapshot.refused);
        tally.refused += readings.iter().flat_map(|reading| &reading.seen).filter(refused).count();
        check(&Evidence::gather(api, &conversation, ledger.of(&conversation), readings, true).await);
    }
}

/// Many write at once, so that many messages share a commit; and then nobody has the power any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_message_is_lost_under_many_writers() {
    let trials = sized(5, 100);
    let mut luck = luck("writers");
    let upstream = Upstream::start().await;
    let mut machine = Machine::started(&upstream).await;
    let (api, mut tale, mut acknowledged, mut unknown) = (machine.api(), 0, 0, 0);
    for trial in 0..trials {
        let ledger = Ledger::default();
        let mut conversations = Vec::new();
        for _ in 0..WRITERS / 4 {
            conversations.push(api.conversation().await);
        }
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (ledger, conversation) = (ledger.clone(), conversations[writer % conversations.len()].clone());
                tale += 1000;
                let first = tale;
                tokio::spawn(async move {
                    for id in first.. {
                        let story = Tale { id, rounds: 0, pieces: 1, pace_us: 0, ..Tale::default() };
                        match ledger.send(api, &conversation, &story.message(), PLAIN).await {
                            // Too many wait.
                            Fate::Refused => tokio::time::sleep(Duration::from_millis(5)).await,
                            Fate::Acknowledged(_) => {}
                            Fate::Unknown => break,
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(10 + luck.below(200) as u64)).await;
        machine.kill().await;
        for writer in writers {
            writer.await.expect("no panic");
        }
        machine.start().await;
        for conversation in &conversations {
            settle(api, conversation).await;
            let sent = ledger.of(conversation);
            acknowledged += sent.iter().filter(|sent| matches!(sent.fate, Fate::Acknowledged(_))).count();
            unknown += sent.iter().filter(|sent| sent.fate == Fate::Unknown).count();
            check(&Evidence::gather(api, conversation, sent, Vec::new(), true).await);
        }
        assert_eq!(upstream.complaints(), Vec::<String>::new(), "trial {trial}");
    }
    println!("{trials} kills under {WRITERS} writers: {acknowledged} messages acknowledged, {unknown} without an answer");
    machine.end().await;
}

/// After a crash under load there are many turns to take up, and all of them are back in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_turns_are_taken_up_at_once() {
    let count = sized(200, 1000);
    let upstream = Upstream::start().await;
    let began = Instant::now();
    let mut machine = Machine::started(&upstream).await;
    let with_nothing_to_do = began.elapsed();
    let (api, ledger) = (machine.api(), Ledger::default());
    let mut conversations = Vec::new();
    for id in 0..count {
        let conversation = api.conversation().await;
        let story = Tale { id, rounds: 0, pieces: 3, silence_ms: 60_000, silent_once: true, ..Tale::default() };
        let fate = ledger.send(api, &conversation, &story.message(), PLAIN).await;
        assert!(matches!(fate, Fate::Acknowledged(_)), "{fate:?}");
        conversations.push(conversation);
    }
    while (0..count).any(|id| upstream.asked(id, 0) == 0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    machine.kill().await;
    let began = Instant::now();
    machine.start().await;
    let took = began.elapsed();
    let mut asked_again = Duration::ZERO;
    while (0..count).any(|id| upstream.asked(id, 0) < 2) {
        asked_again = began.elapsed();
        assert!(asked_again < took + BACK_WITHIN, "some turns are not taken up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Starting takes longer on a machine that is busy, with turns to take up and without.
    let limit = (BACK_WITHIN * sized(1, 2)).max(with_nothing_to_do * 5);
    assert!(took < limit, "with {count} turns to take up it listens after {took:?}");
    println!("{count} open turns: listening after {took:?}, all taken up after {asked_again:?}");
    for conversation in conversations {
        settle(api, &conversation).await;
        check(&Evidence::gather(api, &conversation, ledger.of(&conversation), Vec::new(), true).await);
    }
    machine.end().await;
}

/// A turn that brings the program down each time is not tried for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_is_killed_again_and_again_ends() {
    let upstream = Upstream::start().await;
    let mut machine = Machine::started(&upstream).await;
    let (api, ledger) = (machine.api(), Ledger::default());
    let conversation = api.conversation().await;
    let story = Tale { id: 1, silence_ms: 60_000, ..Tale::default() };
    ledger.send(api, &conversation, &story.message(), PLAIN).await;
    for lives in 1..=4 {
        let deadline = Instant::now() + PATIENCE;
        while upstream.asked(1, 0) < lives {
            assert!(Instant::now() < deadline, "the turn is not taken up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        machine.kill().await;
        machine.start().await;
    }
    settle(api, &conversation).await;
    assert_eq!(upstream.asked(1, 0), 4, "once, and three times again");
    let log = whole_log(api, &conversation).await.expect("nothing happens any more");
    assert_eq!(log.outcomes.iter().map(|(_, outcome)| outcome.as_str()).collect::<Vec<_>>(), ["failed"]);
    check(&Evidence::gather(api, &conversation, ledger.of(&conversation), Vec::new(), true).await);
    machine.end().await;
}

fn any_story(id: u64, luck: &mut Luck) -> Tale {
    Tale {
        id,
        rounds: luck.below(3),
        calls: 1 + luck.below(3),
        pieces: 5 + luck.below(40),
        pace_us: 500 + luck.below(4000) as u64,
        silence_ms: if luck.one_in(3) { luck.below(200) as u64 } else { 0 },
        search: luck.one_in(4),
        ..Tale::default()
    }
}

/// Waits until what is not answered is being answered.
async fn is_back(api: Api, conversation: &str, deadline: Instant) {
    loop {
        if api.get(&format!("/api/sessions/{}", dashed(conversation))).await["busy"] == true {
            return;
        }
        let Some(log) = whole_log(api, conversation).await else { return };
        let said = log.seen.iter().filter(|seen| matches!(seen, Seen::Fact { fact: Fact::Said(_), .. })).count();
        if ends(&log.seen) == said {
            return;
        }
        assert!(Instant::now() < deadline, "a turn is stuck {BACK_WITHIN:?} after the start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until everything is answered; gives the turns in the order in which they ended.
pub async fn settle(api: Api, conversation: &str) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(log) = whole_log(api, conversation).await {
            let (mut waiting, mut ended) = (0, Vec::new());
            for seen in log.seen {
                match seen {
                    Seen::Fact { fact: Fact::Said(_), .. } => waiting += 1,
                    Seen::Fact { fact: Fact::Finished(turn), .. } => ended.push(turn),
                    _ => {}
                }
            }
            if ended.len() == waiting {
                return ended;
            }
        }
        if Instant::now() > deadline {
            let rows = api.get(&format!("/api/chats/{conversation}/messages")).await;
            panic!("a turn is stuck: {:#?} {rows:#}", whole_log(api, conversation).await);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
