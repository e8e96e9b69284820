//! Bursts and `kill -9`: three messages of a contact are one call and one answer. A call is repeated only if the program died
//! while its outcome was unknown, at most once for each death, as the same delivery.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::campaign_hub_stage::{Stage, WAYS, Way, answer_to, insist, open_deliveries};
use crate::campaign_support::{PATIENCE, luck, sized};
use crate::harness_luck::Luck;
use crate::hub_peer::{Call, Plan, now};
use crate::hub_world::{contact, fresh, text};
use crate::upstream::Tale;

/// Messages of a contact in quick succession.
const MESSAGES: usize = 3;

/// When the program dies.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So many messages of the trial are taken.
    Taken(usize),
    /// The service has got a call, and has not answered.
    Called,
    /// The service has answered a call.
    Answered,
    /// The platform has got an answer.
    Sent,
    After(Duration),
}

impl Moment {
    fn any(luck: &mut Luck) -> Self {
        match luck.below(8) {
            0 => Self::Taken(1 + luck.below(MESSAGES * WAYS.len())),
            1 => Self::Called,
            2 => Self::Answered,
            3 => Self::Sent,
            _ => Self::After(Duration::from_millis(luck.below(700) as u64)),
        }
    }
}

/// How much happened.
struct Tally {
    calls: usize,
    repeated_calls: usize,
    repeated_sends: usize,
}

/// A death of the program.
#[derive(Debug, Clone)]
struct Death {
    at: usize,
    /// Calls of which it did not know what came.
    open: HashSet<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_answered_once_however_often_the_program_dies() {
    let trials = sized(10, 200);
    let mut luck = luck("hub");
    // The third message ends a burst, so that it never depends on a clock whether there is one burst or two.
    let channel = json!({"buffer_max_messages": MESSAGES});
    let agent = json!({"buffer_time_seconds": 60, "model": "anthropic/tale"});
    let think = |call: &Call| Duration::from_millis(call.raw.iter().map(|byte| u64::from(*byte)).sum::<u64>() % 60);
    let mut stage = Stage::begun(|_, _| Plan::ok(&json!({})), think, &channel, &agent).await;
    let (mut deaths, mut contacts) = (Vec::new(), Vec::new());
    for trial in 0..trials {
        let moment = Moment::any(&mut luck);
        println!("trial {trial}: {moment:?}");
        contacts.extend(one_trial(&mut stage, &mut luck, moment, trial as u64, &mut deaths).await);
        if trial % 20 == 19 || trial + 1 == trials {
            stage.settled().await;
        }
    }
    let (calls, sends) = (stage.agent.calls(), stage.platform.calls());
    let evidence = Evidence { calls: &calls, sends: &sends, deaths: &deaths, contacts: &contacts };
    let (tally, faults) = evidence.judged();
    let Tally { calls: called, repeated_calls, repeated_sends } = tally;
    println!(
        "{trials} trials, {} deaths, {} bursts: {called} calls, {repeated_calls} calls and {repeated_sends} sends repeated",
        deaths.len(),
        contacts.len()
    );
    assert_eq!(faults, Vec::<String>::new());
    finds_planted_faults(evidence);
    stage.end().await;
}

/// Three contacts write three messages each, and the program dies meanwhile. Gives who wrote, and on which way.
async fn one_trial(
    stage: &mut Stage,
    luck: &mut Luck,
    moment: Moment,
    trial: u64,
    deaths: &mut Vec<Death>,
) -> Vec<(Way, String)> {
    let (called, sent) = (stage.agent.calls().len(), stage.platform.calls().len());
    let taken = Arc::new(AtomicUsize::new(0));
    let (mut contacts, mut writing) = (Vec::new(), Vec::new());
    for way in WAYS {
        let (api, line, who) = (stage.api(), stage.line(way).clone(), fresh("contact"));
        contacts.push((way, who.clone()));
        let pauses: Vec<u64> = (0..MESSAGES).map(|_| luck.below(25) as u64).collect();
        let tale = Tale { id: trial, rounds: 0, pieces: 1 + luck.below(12), pace_us: 4000, ..Tale::default() }.message();
        let taken = Arc::clone(&taken);
        writing.push(tokio::spawn(async move {
            for (nth, pause) in pauses.into_iter().enumerate() {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let id = format!("{who}-{nth}");
                let words = if way == Way::Ours && nth + 1 == MESSAGES { tale.clone() } else { format!("{nth} of {who}") };
                insist(api, || line.message(&contact(&who), &id, &words)).await;
                taken.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    match moment {
        Moment::Taken(count) => {
            while taken.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Moment::Called => stage.agent.until("a call", PATIENCE, |calls| calls.len() > called).await,
        Moment::Answered => {
            let is_answered = |calls: &[Call]| calls[called..].iter().any(|call| call.answered.is_some());
            stage.agent.until("an answer", PATIENCE, is_answered).await;
        }
        Moment::Sent => stage.platform.until("something sent", PATIENCE, |calls| calls.len() > sent).await,
        Moment::After(time) => tokio::time::sleep(time).await,
    }
    die(stage, deaths).await;
    // Sometimes it dies again while it gets up.
    if luck.one_in(4) {
        stage.machine.start_and_kill(Duration::from_millis(luck.below(250) as u64)).await;
        deaths.push(Death { at: now(), open: open_deliveries(&stage.machine) });
    }
    stage.machine.start().await;
    for writing in writing {
        writing.await.expect("every message is taken in the end");
    }
    contacts
}

async fn die(stage: &mut Stage, deaths: &mut Vec<Death>) {
    stage.machine.kill().await;
    deaths.push(Death { at: now(), open: open_deliveries(&stage.machine) });
}

/// What the service and the platform were told, when the program died, and who wrote on which way.
#[derive(Debug, Clone, Copy)]
struct Evidence<'e> {
    calls: &'e [Call],
    sends: &'e [Call],
    deaths: &'e [Death],
    contacts: &'e [(Way, String)],
}

impl Evidence<'_> {
    /// How much happened, and what must not have.
    fn judged(self) -> (Tally, Vec<String>) {
        let (calls, sends) = (by_id(self.calls), by_id(self.sends));
        let mut faults = Vec::new();
        let repeated_calls = calls.values().map(|calls| self.repeats(calls, true, &mut faults)).sum();
        let repeated_sends = sends.values().map(|sends| self.repeats(sends, false, &mut faults)).sum();
        for (way, who) in self.contacts {
            faults.extend(of_contact(*way, who, &calls, &sends).into_iter().map(|fault| format!("{way:?} {who}: {fault}")));
        }
        (Tally { calls: self.calls.len(), repeated_calls, repeated_sends }, faults)
    }

    /// Requests with one id are the same, and between two of them the program died without knowing what came of the first.
    fn repeats(self, same: &[&Call], is_call: bool, faults: &mut Vec<String>) -> usize {
        for pair in same.windows(2) {
            let id = &pair[0].id;
            let between = self.deaths.iter().filter(|death| (pair[0].at..pair[1].at).contains(&death.at));
            let between: Vec<&Death> = between.collect();
            let (first, second) = (&pair[0].body, &pair[1].body);
            let is_same = if is_call { pair[0].raw == pair[1].raw } else { first["data"] == second["data"] };
            if !is_same {
                faults.push(format!("{id} is repeated with other words"));
            }
            if between.is_empty() {
                faults.push(format!("{id} is repeated although nobody died"));
            }
            if is_call && !between.iter().all(|death| death.open.contains(id)) {
                faults.push(format!("{id} is repeated although its outcome was known"));
            }
            if is_call && pair[0].attempt >= pair[1].attempt {
                faults.push(format!("{id}: attempts are not counted"));
            }
        }
        same.len() - 1
    }
}

fn by_id(calls: &[Call]) -> BTreeMap<&str, Vec<&Call>> {
    let mut found: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        found.entry(call.id.as_str()).or_default().push(call);
    }
    found
}

/// One burst is one delivery with all of its messages, and one answer.
fn of_contact(way: Way, who: &str, calls: &BTreeMap<&str, Vec<&Call>>, sends: &BTreeMap<&str, Vec<&Call>>) -> Vec<String> {
    let to_them = sends.values().filter(|sends| sends[0].body["data"]["contact"]["id"] == who);
    let answers: Vec<&str> = to_them.map(|sends| text(&sends[0].body["data"]["text"])).collect();
    let mut faults = Vec::new();
    if answers.len() != 1 {
        faults.push(format!("{} answers: {answers:?}", answers.len()));
    }
    if way == Way::Ours {
        return faults;
    }
    let new = |calls: &[&Call]| -> Vec<String> {
        let shown = calls[0].body["messages"].as_array().into_iter().flatten();
        shown.filter(|said| said["is_new"] == true).map(|said| text(&said["content"]).to_owned()).collect()
    };
    let all: Vec<String> = (0..MESSAGES).map(|nth| format!("{nth} of {who}")).collect();
    let theirs: Vec<(&str, Vec<String>)> =
        calls.iter().map(|(id, calls)| (*id, new(calls))).filter(|(_, new)| new.contains(&all[0])).collect();
    match &theirs[..] {
        [(id, new)] => {
            if *new != all {
                faults.push(format!("{id} holds {new:?}"));
            }
            if answers.first() != Some(&answer_to(id).as_str()) {
                faults.push(format!("{id} is answered by {answers:?}"));
            }
        }
        others => faults.push(format!("{} deliveries: {others:?}", others.len())),
    }
    faults
}

/// The judge finds what it is for, in evidence in which it has found nothing.
fn finds_planted_faults(evidence: Evidence<'_>) {
    let finds = |changed: Evidence<'_>, words: &str| {
        let (_, faults) = changed.judged();
        assert!(faults.iter().any(|fault| fault.contains(words)), "{words:?} is not among {faults:?}");
    };
    let mut again = evidence.calls.to_vec();
    let copy = Call { at: usize::MAX, attempt: usize::MAX, ..again[0].clone() };
    again.push(copy.clone());
    finds(Evidence { calls: &again, deaths: &[], ..evidence }, "although nobody died");
    let dead = [Death { at: usize::MAX - 1, open: HashSet::new() }];
    finds(Evidence { calls: &again, deaths: &dead, ..evidence }, "although its outcome was known");
    let last = again.len() - 1;
    again[last] = Call { id: "dlv_2222222222".to_owned(), ..copy };
    finds(Evidence { calls: &again, ..evidence }, "2 deliveries");
    finds(Evidence { calls: &evidence.calls[..0], ..evidence }, "0 deliveries");
    let mut twice = evidence.sends.to_vec();
    twice.push(Call { id: "message_2222222222".to_owned(), ..twice[0].clone() });
    finds(Evidence { sends: &twice, ..evidence }, "2 answers");
    // It may have been sent twice.
    let unsent: Vec<Call> = evidence.sends.iter().filter(|send| send.id != evidence.sends[0].id).cloned().collect();
    finds(Evidence { sends: &unsent, ..evidence }, "0 answers");
}
