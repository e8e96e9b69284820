//! The hand-off race: a person takes over while an agent is answering. Nothing that an agent says is sent afterwards, whatever
//! it is that it was doing: thinking, writing, or waiting for a platform that had refused or not answered.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::hub::{ChatId, ChatMessageId, HubId as _};
use serde_json::json;

use crate::campaign_hub_stage::{Stage, WAYS, Way, database, id, insist};
use crate::campaign_support::{PATIENCE, luck, sized};
use crate::harness_http::Request;
use crate::harness_luck::Luck;
use crate::hub_peer::{Call, Plan, now};
use crate::hub_world::{contact, fresh, patiently, text};
use crate::upstream::Tale;

/// Trials that run side by side.
const AT_ONCE: usize = 10;
const OPERATOR: &str = "an operator writes";

/// What the platform does with an agent's words at first. Contacts are called after it.
const MOODS: [&str; 4] = ["taking", "slow", "refusing", "silent"];

/// One trial, and what came of it.
#[derive(Debug)]
struct Trial {
    way: Way,
    who: String,
    chat: String,
    /// When the person knew that they had the floor, in the order of things.
    taken: usize,
    /// By writing, and not by taking the floor.
    by_message: bool,
}

fn mood(call: &Call) -> &'static str {
    let who = text(&call.body["data"]["contact"]["id"]);
    MOODS.into_iter().find(|mood| who.starts_with(mood)).expect("a contact with a mood")
}

fn is_an_operators(call: &Call) -> bool {
    call.body["data"]["text"] == OPERATOR
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_agents_is_sent_when_a_person_has_taken_over() {
    let trials = sized(20, 500);
    let mut luck = luck("hand-off");
    let platform = |call: &Call, before: usize| match mood(call) {
        _ if is_an_operators(call) => Plan::ok(&json!({})),
        "slow" => Plan::ok(&json!({})).after(Duration::from_millis(60)),
        "refusing" if before == 0 => Plan::status(503, &json!({})),
        "silent" if before == 0 => Plan::silence(),
        _ => Plan::ok(&json!({})),
    };
    let think = |call: &Call| Duration::from_millis(call.raw.iter().map(|byte| u64::from(*byte)).sum::<u64>() % 50);
    let agent = json!({"buffer_time_seconds": 0, "model": "anthropic/tale"});
    let stage = Stage::begun(platform, think, &json!({}), &agent).await;
    let mut done = Vec::new();
    while done.len() < trials {
        let batch = (0..AT_ONCE.min(trials - done.len())).map(|nth| one_trial(&stage, &mut luck, done.len() + nth));
        let running: Vec<_> = batch.collect();
        done.extend(futures_util::future::join_all(running).await);
    }
    stage.settled().await;
    let (calls, begun) = (stage.platform.calls(), when_first_tried(&stage));
    let (tally, faults) = judged(&calls, &done, &begun);
    println!("{trials} trials: {tally:#?}");
    assert_eq!(faults, Vec::<String>::new());
    finds_a_planted_fault(&calls, &done, &begun);
    stage.end().await;
}

/// A contact writes, the agent begins to answer, and a person takes over at some moment.
fn one_trial<'s>(stage: &'s Stage, luck: &mut Luck, number: usize) -> impl Future<Output = Trial> + use<'s> {
    let way = WAYS[number % WAYS.len()];
    let who = fresh(luck.of(&MOODS));
    let by_message = luck.one_in(2);
    // Some wait until the platform has been asked for the first time, or until the service has been called.
    let (first, pause) = (luck.below(3), Duration::from_millis(luck.below(250) as u64));
    let tale = Tale { id: number as u64, rounds: 0, pieces: 1 + luck.below(12), pace_us: 4000, ..Tale::default() };
    async move {
        let (line, api) = (stage.line(way), stage.api());
        let words = tale.message();
        let id = fresh("message");
        let chat = insist(api, || line.message(&contact(&who), &id, &words)).await;
        match first {
            0 => {
                let is_theirs = |call: &Call| call.body["data"]["contact"]["id"] == who.as_str();
                stage.platform.until("an answer", PATIENCE, |calls| calls.iter().any(is_theirs)).await;
            }
            1 if way != Way::Ours => {
                let is_theirs = |call: &Call| call.body["chat"]["id"] == chat.as_str();
                stage.agent.until("a call", PATIENCE, |calls| calls.iter().any(is_theirs)).await;
            }
            _ => {}
        }
        tokio::time::sleep(pause).await;
        let place = line.chat(&chat);
        let take = if by_message {
            Request::post(&format!("{place}/messages"), &json!({"content": OPERATOR}))
        } else {
            Request::post(&format!("{place}/take"), &json!({}))
        };
        let answer = patiently(&stage.hub.admin, take).await;
        let taken = now();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        Trial { way, who, chat, taken, by_message }
    }
}

/// When each message's first attempt began, and when its chat was taken, on the program's clock.
fn when_first_tried(stage: &Stage) -> BTreeMap<String, (i64, i64)> {
    let database = database(&stage.machine);
    let mut taken = database.prepare("SELECT chat_id, min(at) FROM activity WHERE kind = 'floor_taken' GROUP BY chat_id");
    let rows = taken.as_mut().expect("a query").query_map([], |row| Ok((id(row, 0)?, row.get::<_, i64>(1)?)));
    let taken: BTreeMap<_, _> = rows.expect("rows").collect::<Result<_, _>>().expect("rows");
    let mut tried = database.prepare("SELECT message_id, chat_id, first_tried_at FROM outbox WHERE first_tried_at IS NOT NULL");
    let rows = tried.as_mut().expect("a query").query_map([], |row| {
        let (message, chat) = (id(row, 0)?, id(row, 1)?);
        Ok((ChatMessageId::from_uuid(message).spelled(), (row.get::<_, i64>(2)?, taken.get(&chat).copied().unwrap_or(i64::MAX))))
    });
    rows.expect("rows").collect::<Result<_, _>>().expect("rows")
}

#[derive(Debug, Default)]
struct Tally {
    /// Chats to which an agent's words went before anybody took over.
    answered_before: usize,
    /// Chats in which the agent's words never went out.
    never_answered: usize,
    /// Words that were on their way to the platform when the floor was taken, and came there after the person knew.
    under_way: usize,
}

fn judged(calls: &[Call], trials: &[Trial], begun: &BTreeMap<String, (i64, i64)>) -> (Tally, Vec<String>) {
    let (mut tally, mut faults) = (Tally::default(), Vec::new());
    for trial in trials {
        let theirs: Vec<&Call> = calls.iter().filter(|call| call.body["data"]["contact"]["id"] == trial.who.as_str()).collect();
        let (operators, agents): (Vec<&Call>, Vec<&Call>) = theirs.into_iter().partition(|call| is_an_operators(call));
        assert!(ChatId::read(&trial.chat).is_some(), "{trial:?}");
        let mut before = false;
        for (index, call) in agents.iter().enumerate() {
            let is_first = !agents[..index].iter().any(|earlier| earlier.id == call.id);
            let was_under_way = begun.get(&call.id).is_some_and(|(tried, taken)| tried <= taken);
            match call.at < trial.taken {
                true => before = true,
                false if is_first && was_under_way => tally.under_way += 1,
                false => faults.push(format!("{:?}, {trial:?}: {} is sent afterwards", trial.way, call.body["data"])),
            }
        }
        if operators.len() != usize::from(trial.by_message) {
            faults.push(format!("{trial:?}: what the operator said was sent {} times", operators.len()));
        }
        tally.answered_before += usize::from(before);
        tally.never_answered += usize::from(agents.is_empty());
    }
    (tally, faults)
}

fn finds_a_planted_fault(calls: &[Call], trials: &[Trial], begun: &BTreeMap<String, (i64, i64)>) {
    let agents = calls.iter().find(|call| !is_an_operators(call)).expect("agents have answered");
    let mut late = calls.to_vec();
    late.push(Call { at: usize::MAX, ..agents.clone() });
    let (_, faults) = judged(&late, trials, begun);
    assert_eq!(faults.len(), 1, "{faults:?}");
}
