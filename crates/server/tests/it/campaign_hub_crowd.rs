//! A thousand contacts write at once to one node: each message is answered soon, before any model or service has anything to
//! say, none is lost, and those of one contact stay in their order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::hub::{ChatId, HubId as _};
use serde_json::json;

use crate::campaign_hub_stage::{Stage, WAYS, Way, database, id, insist};
use crate::campaign_support::sized;
use crate::hub_peer::Plan;
use crate::hub_world::{contact, fresh};
use crate::upstream::Tale;

const MESSAGES: usize = 3;
/// Services that take their time must not make anybody wait who writes.
const SERVICES_TAKE: Duration = Duration::from_secs(2);
/// In the sample, whose calls go out eight at a time as well.
const SERVICES_TAKE_IN_SAMPLE: Duration = Duration::from_millis(500);
/// By the promise, for a machine that has nothing else to do.
const WITHIN: Duration = Duration::from_secs(1);
/// So that a busy machine passes too.
const WITHIN_ANYWHERE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_heard_at_once_and_in_order() {
    let (contacts, services_take) = (sized(100, 1000), sized(SERVICES_TAKE_IN_SAMPLE, SERVICES_TAKE));
    let agent = json!({"buffer_time_seconds": 1, "model": "anthropic/tale"});
    let stage = Stage::begun(|_, _| Plan::ok(&json!({})), move |_| services_take, &json!({}), &agent).await;
    let writing: Vec<_> = (0..contacts)
        .map(|number| {
            let (api, way) = (stage.api(), WAYS[number % WAYS.len()]);
            let (line, who) = (stage.line(way).clone(), fresh("contact"));
            tokio::spawn(async move {
                let (mut times, mut chat) = (Vec::new(), String::new());
                for nth in 0..MESSAGES {
                    let tale = Tale { id: (number * MESSAGES + nth) as u64, rounds: 0, ..Tale::default() }.message();
                    let words = format!("{nth} of {who} {}", if way == Way::Ours { tale } else { String::new() });
                    let id = format!("{who}-{nth}");
                    let asked = Instant::now();
                    chat = insist(api, || line.message(&contact(&who), &id, &words)).await;
                    times.push(asked.elapsed());
                }
                (who, chat, times)
            })
        })
        .collect();
    let began = Instant::now();
    let (mut times, mut chats) = (Vec::new(), BTreeMap::new());
    for writing in writing {
        let (who, chat, took) = writing.await.expect("everybody is heard");
        times.extend(took);
        assert!(chats.insert(chat, who).is_none(), "each contact has a chat of its own");
    }
    let took = began.elapsed();
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!(
        "{contacts} contacts, {} messages in {took:?}: p50 {:?}, p99 {:?}, slowest {:?}",
        times.len(),
        at(50),
        at(99),
        at(100)
    );
    assert!(at(99) < sized(WITHIN_ANYWHERE, WITHIN), "p99 is {:?}", at(99));

    let stored = stored(&stage);
    assert_eq!(stored.len(), contacts);
    for (chat, said) in &stored {
        let who = &chats[chat];
        let expected: Vec<String> = (0..MESSAGES).map(|nth| format!("{nth} of {who} ")).collect();
        assert_eq!(said.len(), MESSAGES, "{who}");
        assert!(said.iter().zip(&expected).all(|(said, expected)| said.starts_with(expected)), "{who}: {said:?}");
    }
    stage.settled().await;
    let calls = stage.agent.calls();
    let again = calls.iter().filter(|call| call.attempt > 1).count();
    assert_eq!(again, 0, "{} calls: waiting for a place at the service is no failure of a call", calls.len());
    for way in [Way::InTheAnswer, Way::ByPost] {
        let path = if way == Way::ByPost { "/by-post" } else { "/in-the-answer" };
        let new = stage
            .agent
            .calls()
            .into_iter()
            .filter(|call| call.path == path)
            .map(|call| call.body["messages"].as_array().into_iter().flatten().filter(|said| said["is_new"] == true).count());
        let contacts = WAYS.iter().cycle().take(contacts).filter(|of| **of == way).count();
        assert_eq!(new.sum::<usize>(), contacts * MESSAGES, "{way:?}: every message is in one call");
    }
    stage.end().await;
}

/// What contacts have said in each chat, in its order.
fn stored(stage: &Stage) -> BTreeMap<String, Vec<String>> {
    let database = database(&stage.machine);
    let query = "SELECT chat_id, content FROM chat_message WHERE sender = 'CONTACT' ORDER BY place";
    let mut select = database.prepare(query).expect("a query");
    let rows = select.query_map([], |row| Ok((id(row, 0)?, row.get::<_, String>(1)?))).expect("rows");
    let mut stored: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        let (chat, content) = row.expect("a row");
        stored.entry(ChatId::from_uuid(chat).spelled()).or_default().push(content);
    }
    stored
}
