//! The one checker, used after every campaign: what clients did and saw, against what the server says happened.
//!
//! It knows nothing of how the server works. It takes the log of a conversation as it reads today over each face, the stored
//! messages, and the ledgers of all clients, and complains of everything that cannot all be true.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use crate::campaign_support::{Api, dashed, hex};
use crate::ledger::{Face, Fact, Fate, Reading, Seen, Sent, Snapshot, WholeLog, whole_log, whole_socket_log};

/// Everything that is known of one conversation when nothing happens in it any more.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    pub conversation: String,
    pub sent: Vec<Sent>,
    pub readings: Vec<Reading>,
    /// The log, as the events stream tells it from the beginning.
    pub log: Vec<Seen>,
    /// The same, as a socket is told it.
    pub socket_log: Vec<Seen>,
    /// `GET /api/sessions/:id/messages`
    pub messages: Vec<Value>,
    /// `GET /api/chats/:id/messages`
    pub rows: Vec<Value>,
    pub busy: bool,
    /// By `message.start`: the message that each turn answers.
    pub answered: Vec<(String, String)>,
    /// What calls with side effects have left behind in the world.
    pub ran: Vec<Ran>,
    /// Positions may be refused, because the server was killed in between.
    pub crashed: bool,
}

/// How often a call of a tool that must not run twice by itself has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub call: String,
    pub times: usize,
    /// Once, and once more for each time that a person said so.
    pub allowed: usize,
}

impl Evidence {
    /// Asks the server for its side of the story.
    pub async fn gather(api: Api, conversation: &str, sent: Vec<Sent>, readings: Vec<Reading>, crashed: bool) -> Self {
        let session = dashed(conversation);
        let WholeLog { seen: log, answered, .. } = whole_log(api, conversation).await.expect("nothing happens any more");
        let turns = log.iter().filter(|seen| matches!(seen, Seen::Fact { fact: Fact::Finished(_), .. })).count();
        let list = |value: Value| value.as_array().cloned().unwrap_or_default();
        Self {
            conversation: conversation.to_owned(),
            sent,
            readings,
            socket_log: whole_socket_log(api, conversation, turns).await,
            messages: list(api.get(&format!("/api/sessions/{session}/messages")).await),
            rows: list(api.get(&format!("/api/chats/{conversation}/messages")).await),
            busy: api.get(&format!("/api/sessions/{session}")).await["busy"] == true,
            answered,
            log,
            ran: Vec::new(),
            crashed,
        }
    }
}

/// Everything that cannot be true together; empty if all is well.
pub fn complaints(evidence: &Evidence) -> Vec<String> {
    let mut all = Vec::new();
    let log = Log::read(&evidence.log, &mut all);
    about_messages(evidence, &log, &mut all);
    about_turns(evidence, &log, &mut all);
    about_stored_texts(evidence, &log, &mut all);
    about_effects(evidence, &log, &mut all);
    about_the_two_logs(evidence, &log, &mut all);
    for reading in &evidence.readings {
        let mut found = Vec::new();
        match reading.face {
            Face::Session | Face::Everything => about_events(reading, &log, &mut found),
            Face::Socket => about_frames(reading, evidence, &mut found),
        }
        about_order(reading, evidence, &mut found);
        all.extend(found.into_iter().map(|complaint| format!("reader {}: {complaint}", reading.reader)));
    }
    all
}

/// Fails with everything there is to complain of.
#[track_caller]
pub fn check(evidence: &Evidence) {
    let complaints = complaints(evidence);
    assert!(complaints.is_empty(), "conversation {}:\n{}", evidence.conversation, complaints.join("\n"));
}

/// The log with the text of each turn put together.
#[derive(Default)]
struct Log {
    facts: Vec<Fact>,
    /// For each turn its text between tool calls: one more than it has calls.
    texts: HashMap<String, Vec<String>>,
}

impl Log {
    fn read(log: &[Seen], complaints: &mut Vec<String>) -> Self {
        let mut read = Self::default();
        let mut running = Running::default();
        for seen in log {
            match seen {
                Seen::Fact { fact, .. } => {
                    running.take(fact);
                    match fact {
                        Fact::Started(turn) => {
                            read.texts.insert(turn.clone(), vec![String::new()]);
                        }
                        Fact::Called(_) => {
                            if let Some(texts) = running.now().and_then(|turn| read.texts.get_mut(turn)) {
                                texts.push(String::new());
                            }
                        }
                        _ => {}
                    }
                    read.facts.push(fact.clone());
                }
                Seen::Text { text, .. } => {
                    match running.now().and_then(|turn| read.texts.get_mut(turn)).and_then(|texts| texts.last_mut()) {
                        Some(last) => last.push_str(text),
                        None => complaints.push(format!("the log has text of no turn: {text:?}")),
                    }
                }
                Seen::Resumed => {}
                Seen::Snapshot(_) => complaints.push("the log does not begin at its beginning".to_owned()),
                Seen::Strange(what) => complaints.push(format!("the log: {what}")),
            }
        }
        read
    }

    fn text_of(&self, turn: &str) -> String {
        self.texts.get(turn).map(|texts| texts.concat()).unwrap_or_default()
    }
}

/// Which turn runs. One that is ended while it waits starts and ends while another one runs.
#[derive(Debug, Default, Clone)]
struct Running(Vec<String>);

impl Running {
    fn take(&mut self, fact: &Fact) {
        match fact {
            Fact::Started(turn) => self.0.push(turn.clone()),
            Fact::Finished(turn) => self.0.retain(|running| running != turn),
            _ => {}
        }
    }

    fn now(&self) -> Option<&String> {
        self.0.first()
    }
}

fn about_messages(evidence: &Evidence, log: &Log, complaints: &mut Vec<String>) {
    let users = |message: &&Value| message["role"] == "user" && message["parts"][0]["type"] == "text";
    let stored: Vec<(String, String)> = evidence
        .messages
        .iter()
        .filter(users)
        .map(|message| (hex(&message["id"]), message["parts"][0]["content"]["text"].as_str().unwrap_or_default().to_owned()))
        .collect();
    let rows: Vec<(String, String)> = evidence
        .rows
        .iter()
        .filter(|row| row["role"] == "user")
        .map(|row| (hex(&row["id"]), row["content"].as_str().unwrap_or_default().to_owned()))
        .collect();
    if stored != rows {
        complaints.push(format!("sessions and chats disagree about what was said: {stored:?} and {rows:?}"));
    }
    let said: Vec<&String> =
        log.facts.iter().filter_map(|fact| if let Fact::Said(id) = fact { Some(id) } else { None }).collect();
    if said != stored.iter().map(|(id, _)| id).collect::<Vec<_>>() {
        complaints.push("the log and the list of messages disagree about what was said".to_owned());
    }
    for sent in &evidence.sent {
        let with_text: Vec<&String> = stored.iter().filter(|(_, text)| *text == sent.text).map(|(id, _)| id).collect();
        match (&sent.fate, with_text.as_slice()) {
            (Fate::Acknowledged(id), [stored]) if *stored == id => {}
            (Fate::Acknowledged(id), []) => complaints.push(format!("an acknowledged message is lost: {id} {}", sent.text)),
            (Fate::Acknowledged(id), [_]) => complaints.push(format!("an acknowledged message has another id: {id}")),
            (Fate::Refused, [_, ..]) => complaints.push(format!("a refused message is stored: {}", sent.text)),
            (Fate::Refused, []) | (Fate::Unknown, [] | [_]) => {}
            (_, [_, _, ..]) => complaints.push(format!("a message is stored {} times: {}", with_text.len(), sent.text)),
        }
        if sent.ended < sent.invoked {
            complaints.push(format!("the ledger's time runs backwards: {}", sent.text));
        }
    }
    // What one client has acknowledged before it sends the next stands before the next.
    let place = |id: &String| stored.iter().position(|(stored, _)| stored == id);
    let acknowledged: Vec<(&Sent, usize)> = evidence
        .sent
        .iter()
        .filter_map(|sent| match &sent.fate {
            Fate::Acknowledged(id) => Some((sent, place(id)?)),
            Fate::Refused | Fate::Unknown => None,
        })
        .collect();
    for (earlier, before) in &acknowledged {
        for (later, behind) in &acknowledged {
            if earlier.ended < later.invoked && before > behind {
                complaints
                    .push(format!("acknowledged before it was sent, and yet behind it: {} and {}", earlier.text, later.text));
            }
        }
    }
    let texts: HashSet<&String> = evidence.sent.iter().map(|sent| &sent.text).collect();
    for (id, text) in stored.iter().filter(|(_, text)| !texts.contains(text)) {
        complaints.push(format!("a message that nobody sent: {id} {text}"));
    }
    let joined: HashSet<&String> = evidence.sent.iter().filter(|sent| sent.may_join).map(|sent| &sent.text).collect();
    for (id, text) in &stored {
        let turns = evidence.answered.iter().filter(|(_, message)| message == id).count();
        if turns > 1 || (turns == 0 && !joined.contains(text)) {
            complaints.push(format!("a message has {turns} turns: {id} {text}"));
        }
    }
}

fn about_turns(evidence: &Evidence, log: &Log, complaints: &mut Vec<String>) {
    if evidence.busy {
        complaints.push("a turn is stuck: the conversation is still busy".to_owned());
    }
    let mut started = HashSet::new();
    let mut finished = HashSet::new();
    let mut open_calls: BTreeMap<String, String> = BTreeMap::new();
    let mut called = HashSet::new();
    let mut running = Running::default();
    for fact in &log.facts {
        match fact {
            Fact::Started(turn) if !started.insert(turn) => complaints.push(format!("the turn {turn} starts twice")),
            Fact::Finished(turn) if !started.contains(turn) => complaints.push(format!("the turn {turn} ends before it starts")),
            Fact::Finished(turn) => {
                if !finished.insert(turn) {
                    complaints.push(format!("the turn {turn} ends twice"));
                }
                open_calls.retain(|call, of| {
                    if of == turn {
                        complaints.push(format!("the call {call} has no result when its turn ends"));
                    }
                    of != turn
                });
            }
            Fact::Called(call) => match running.now() {
                Some(turn) if called.insert(call.clone()) => drop(open_calls.insert(call.clone(), turn.clone())),
                Some(_) => complaints.push(format!("the call {call} is announced twice")),
                None => complaints.push(format!("the call {call} belongs to no turn")),
            },
            Fact::Returned(call) if open_calls.remove(call).is_none() => {
                complaints.push(format!("the call {call} has a result without being open"));
            }
            _ => {}
        }
        running.take(fact);
    }
    for turn in started.difference(&finished) {
        complaints.push(format!("the turn {turn} never ends"));
    }
    for call in open_calls.keys() {
        complaints.push(format!("the call {call} never returns"));
    }
    if evidence.messages.iter().any(|message| message["streaming"] == true)
        || evidence.rows.iter().any(|row| row["streaming"] == true)
    {
        complaints.push("a message is still being written though nothing happens any more".to_owned());
    }
}

/// What must not happen twice by itself does not; and nothing happens that nobody has called for.
fn about_effects(evidence: &Evidence, log: &Log, complaints: &mut Vec<String>) {
    for Ran { call, times, allowed } in &evidence.ran {
        if times > allowed {
            complaints.push(format!("the call {call} has run {times} times, and might have {allowed} times"));
        }
        if *times > 0 && !log.facts.contains(&Fact::Called(call.clone())) {
            complaints.push(format!("the call {call} has run, and the log does not know it"));
        }
    }
}

/// The stored messages of both faces, against the texts of the log.
fn about_stored_texts(evidence: &Evidence, log: &Log, complaints: &mut Vec<String>) {
    let mut stored: HashMap<String, Vec<String>> = HashMap::new();
    let (mut calls, mut results) = (Vec::new(), Vec::new());
    for message in &evidence.messages {
        let turn = hex(&message["turnId"]);
        for part in message["parts"].as_array().into_iter().flatten() {
            let content = &part["content"];
            match (part["type"].as_str(), message["role"].as_str()) {
                (Some("text"), Some("assistant")) => {
                    let texts = stored.entry(turn.clone()).or_insert_with(|| vec![String::new()]);
                    texts.last_mut().expect("one").push_str(content["text"].as_str().unwrap_or_default());
                }
                (Some("tool_use"), Some("assistant")) => {
                    stored.entry(turn.clone()).or_insert_with(|| vec![String::new()]).push(String::new());
                    calls.push(content["id"].as_str().unwrap_or_default().to_owned());
                }
                (Some("tool_result"), _) => results.push(content["tool_use_id"].as_str().unwrap_or_default().to_owned()),
                _ => {}
            }
        }
    }
    for (turn, texts) in &log.texts {
        let found = stored.remove(turn).unwrap_or_else(|| vec![String::new()]);
        if found != *texts {
            complaints.push(format!("of the turn {turn} in the log {}", differ(&texts.join("|"), &found.join("|"))));
        }
    }
    for turn in stored.keys() {
        complaints.push(format!("messages of a turn that the log does not know: {turn}"));
    }
    calls.sort();
    results.sort();
    if calls != results {
        complaints.push(format!("the stored calls are {calls:?}, and the results {results:?}"));
    }
    for turn in log.texts.keys() {
        let rows = evidence.rows.iter().filter(|row| row["role"] == "assistant" && hex(&row["turnId"]) == *turn);
        let text: String = rows.filter_map(|row| row["content"].as_str()).collect();
        if text != log.text_of(turn) {
            complaints.push(format!("of the turn {turn} in the log {}", differ(&log.text_of(turn), &text)));
        }
    }
}

/// Both faces tell the same facts in the same order; each has some that the other has no word for.
fn about_the_two_logs(evidence: &Evidence, log: &Log, complaints: &mut Vec<String>) {
    let is_shared = |fact: &&Fact| !matches!(fact, Fact::Queued(_) | Fact::Failed | Fact::Other(_));
    let events: Vec<&Fact> = log.facts.iter().filter(is_shared).collect();
    let socket = facts(&evidence.socket_log);
    let frames: Vec<&Fact> = socket.iter().filter(is_shared).collect();
    if events != frames {
        complaints.push(format!("the faces tell different stories: {events:?} and {frames:?}"));
    }
    let rows = texts_by_row(&evidence.socket_log);
    for row in evidence.rows.iter().filter(|row| row["role"] == "assistant") {
        let (id, content) = (hex(&row["id"]), row["content"].as_str().unwrap_or_default());
        if rows.get(&id).map(String::as_str) != Some(content) {
            let told = rows.get(&id).map(String::as_str).unwrap_or_default();
            complaints.push(format!("of the row {id} in the socket's log {}", differ(told, content)));
        }
    }
}

fn facts(seen: &[Seen]) -> Vec<Fact> {
    seen.iter().filter_map(|seen| if let Seen::Fact { fact, .. } = seen { Some(fact.clone()) } else { None }).collect()
}

fn texts_by_row(seen: &[Seen]) -> HashMap<String, String> {
    let mut rows: HashMap<String, String> = HashMap::new();
    for seen in seen {
        match seen {
            Seen::Text { row: Some(row), text, .. } => rows.entry(row.clone()).or_default().push_str(text),
            Seen::Snapshot(snapshot) => rows = snapshot.rows.iter().cloned().collect(),
            _ => {}
        }
    }
    rows
}

/// Without a gap, without a repeat, in the one order: what a reader saw from one snapshot to the next is a stretch of the log.
fn about_order(reading: &Reading, evidence: &Evidence, complaints: &mut Vec<String>) {
    let log = match reading.face {
        Face::Session | Face::Everything => facts(&evidence.log),
        Face::Socket => facts(&evidence.socket_log),
    };
    for stretch in stretches(&reading.seen) {
        let seen = facts(stretch.seen);
        let unique = |fact: &Fact| !matches!(fact, Fact::Other(_) | Fact::Failed);
        let Some(anchor) = seen.iter().position(unique) else { continue };
        let Some(start) = log.iter().position(|fact| *fact == seen[anchor]).and_then(|at| at.checked_sub(anchor)) else {
            complaints.push(format!("it saw {:?}, which the log does not know there", seen[anchor]));
            continue;
        };
        for (index, fact) in seen.iter().enumerate() {
            if log.get(start + index) != Some(fact) {
                let expected = log.get(start + index);
                complaints.push(format!("a gap, a repeat or another order: it saw {fact:?} where the log has {expected:?}"));
                break;
            }
        }
        let mut cursors = HashSet::new();
        for cursor in stretch.seen.iter().filter_map(cursor) {
            if !cursors.insert(cursor) {
                complaints.push(format!("the position {cursor} came twice"));
            }
        }
    }
    let refused = reading.seen.iter().filter(|seen| matches!(seen, Seen::Snapshot(snapshot) if snapshot.refused)).count();
    if refused > 0 && !evidence.crashed {
        complaints.push(format!("{refused} of its positions were refused though the server was never killed"));
    }
    complaints
        .extend(reading.seen.iter().filter_map(|seen| if let Seen::Strange(what) = seen { Some(what.clone()) } else { None }));
}

fn cursor(seen: &Seen) -> Option<&String> {
    match seen {
        Seen::Fact { cursor, .. } => cursor.as_ref(),
        Seen::Text { cursor, .. } => Some(cursor),
        Seen::Snapshot(_) | Seen::Resumed | Seen::Strange(_) => None,
    }
}

/// What a reader saw from one snapshot to the next.
struct Stretch<'s> {
    snapshot: Option<&'s Snapshot>,
    seen: &'s [Seen],
    /// Its reader came back, was refused, and knows that what it was shown of an unfinished text is void.
    is_void: bool,
}

fn stretches(seen: &[Seen]) -> Vec<Stretch<'_>> {
    let mut starts: Vec<usize> = (0..seen.len()).filter(|at| matches!(seen[*at], Seen::Snapshot(_))).collect();
    if starts.first() != Some(&0) {
        starts.insert(0, 0);
    }
    let ends = starts.iter().skip(1).copied().chain([seen.len()]);
    let stretch = |(start, end): (&usize, usize)| {
        let is_void = matches!(seen.get(end), Some(Seen::Snapshot(next)) if next.refused);
        match seen.get(*start) {
            Some(Seen::Snapshot(snapshot)) => Stretch { snapshot: Some(snapshot), seen: &seen[start + 1..end], is_void },
            _ => Stretch { snapshot: None, seen: &seen[*start..end], is_void },
        }
    };
    starts.iter().zip(ends).map(stretch).collect()
}

/// The pieces of text that a reader of events saw, put together, are the stored text.
fn about_events(reading: &Reading, log: &Log, complaints: &mut Vec<String>) {
    for stretch in stretches(&reading.seen) {
        let mut running = Running::default();
        let mut texts: HashMap<String, Vec<String>> = HashMap::new();
        let mut ended: HashSet<String> = HashSet::new();
        // A turn that was shown in its middle: its calls so far are not all shown, so only the whole of its text counts.
        let shown = stretch.snapshot.and_then(|snapshot| snapshot.turn.clone());
        if let (Some(turn), Some(snapshot)) = (&shown, stretch.snapshot) {
            running.take(&Fact::Started(turn.clone()));
            texts.insert(turn.clone(), vec![snapshot.text.clone()]);
        }
        for seen in stretch.seen {
            match seen {
                Seen::Fact { fact, .. } => {
                    running.take(fact);
                    match fact {
                        Fact::Started(turn) => drop(texts.insert(turn.clone(), vec![String::new()])),
                        Fact::Finished(turn) => drop(ended.insert(turn.clone())),
                        Fact::Called(_) => {
                            if let Some(texts) = running.now().and_then(|turn| texts.get_mut(turn)) {
                                texts.push(String::new());
                            }
                        }
                        _ => {}
                    }
                }
                Seen::Text { text, .. } => {
                    match running.now().and_then(|turn| texts.get_mut(turn)).and_then(|texts| texts.last_mut()) {
                        Some(last) => last.push_str(text),
                        None => complaints.push(format!("text of no turn: {text:?}")),
                    }
                }
                Seen::Snapshot(_) | Seen::Resumed | Seen::Strange(_) => {}
            }
        }
        for (turn, texts) in texts {
            let is_whole = ended.contains(&turn);
            let expected = log.texts.get(&turn).cloned().unwrap_or_default();
            let fits = if shown.as_ref() == Some(&turn) {
                fits(&texts.concat(), &expected.concat(), is_whole)
            } else if is_whole {
                texts == expected
            } else {
                // All but the last are whole.
                texts.len() <= expected.len()
                    && texts
                        .iter()
                        .zip(&expected)
                        .enumerate()
                        .all(|(at, (text, expected))| fits(text, expected, at + 1 < texts.len()))
            };
            if !fits && (is_whole || !stretch.is_void) {
                complaints.push(format!("of the turn {turn} {}", differ(&texts.join("|"), &expected.join("|"))));
            }
        }
    }
}

/// The pieces of each row that a socket saw, put together, are the stored row.
fn about_frames(reading: &Reading, evidence: &Evidence, complaints: &mut Vec<String>) {
    let stored: HashMap<String, (String, String)> = evidence
        .rows
        .iter()
        .filter(|row| row["role"] == "assistant")
        .map(|row| (hex(&row["id"]), (hex(&row["turnId"]), row["content"].as_str().unwrap_or_default().to_owned())))
        .collect();
    for stretch in stretches(&reading.seen) {
        let mut rows: HashMap<String, String> = stretch.snapshot.map(|s| s.rows.iter().cloned().collect()).unwrap_or_default();
        rows.extend(texts_by_row_after(stretch.seen, &rows));
        let facts = facts(stretch.seen);
        let ended: HashSet<&String> =
            facts.iter().filter_map(|fact| if let Fact::Finished(turn) = fact { Some(turn) } else { None }).collect();
        for (row, text) in &rows {
            match stored.get(row) {
                Some((turn, content)) if fits(text, content, ended.contains(turn)) => {}
                Some((turn, _)) if stretch.is_void && !ended.contains(turn) => {}
                Some((_, content)) => complaints.push(format!("of the row {row} {}", differ(text, content))),
                None if stretch.is_void => {}
                None => complaints.push(format!("it saw a row that is not stored: {row} {text:?}")),
            }
        }
        // A row whose turn it saw from the start to the end was seen.
        for (row, (turn, _)) in &stored {
            let from_the_start = facts.contains(&Fact::Started(turn.clone()));
            if from_the_start && ended.contains(turn) && !rows.contains_key(row) {
                complaints.push(format!("it never saw the row {row}"));
            }
        }
    }
}

fn texts_by_row_after(seen: &[Seen], before: &HashMap<String, String>) -> HashMap<String, String> {
    let mut rows = before.clone();
    for seen in seen {
        if let Seen::Text { row: Some(row), text, .. } = seen {
            rows.entry(row.clone()).or_default().push_str(text);
        }
    }
    rows
}

/// Where two texts part.
fn differ(seen: &str, stored: &str) -> String {
    let same = seen.bytes().zip(stored.bytes()).take_while(|(seen, stored)| seen == stored).count();
    let start = seen.floor_char_boundary(same.saturating_sub(30));
    let part = |text: &str| text[start.min(text.len())..].chars().take(80).collect::<String>();
    let (lengths, at) = ((seen.len(), stored.len()), same);
    format!("was seen {:?}, and stored is {:?} (lengths {lengths:?}, different from byte {at})", part(seen), part(stored))
}

fn fits(text: &str, expected: &str, is_whole: bool) -> bool {
    if is_whole { text == expected } else { expected.starts_with(text) }
}

/// Every kind of fault is planted, and must be found.
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{Evidence, Ran, complaints};
    use crate::ledger::{Face, Fact, Fate, Reading, Seen, Sent, Snapshot};

    fn id(letter: char) -> String {
        letter.to_string().repeat(32)
    }

    fn fact(fact: Fact, at: &str) -> Seen {
        Seen::Fact { fact, cursor: Some(at.to_owned()) }
    }

    fn text(row: Option<char>, text: &str, at: &str) -> Seen {
        Seen::Text { row: row.map(id), text: text.to_owned(), cursor: at.to_owned() }
    }

    /// Two messages; the first is answered with a call in the middle, the second waits meanwhile.
    fn story(rows: bool) -> Vec<Seen> {
        let row = |row: char| rows.then_some(row);
        let mut seen = vec![
            fact(Fact::Said(id('a')), "1.2.0"),
            fact(Fact::Started(id('1')), "1.3.0"),
            text(row('c'), "Let me ", "1.3.7"),
            fact(Fact::Said(id('b')), "1.4.7"),
            text(row('c'), "see.", "1.4.11"),
            fact(Fact::Called("call-1".to_owned()), "1.6.0"),
            fact(Fact::Returned("call-1".to_owned()), "1.7.0"),
            text(row('d'), "It is so.", "1.7.9"),
            fact(Fact::Finished(id('1')), "1.9.0"),
            fact(Fact::Started(id('2')), "1.10.0"),
            text(row('e'), "Yes.", "1.10.4"),
            fact(Fact::Finished(id('2')), "1.12.0"),
        ];
        if !rows {
            // This wire has one more word for a message that waits.
            seen[3] = Seen::Fact { fact: Fact::Said(id('b')), cursor: None };
            seen.insert(4, fact(Fact::Queued(id('b')), "1.4.7"));
        }
        seen
    }

    fn sent(text: &str, fate: Fate, at: u64) -> Sent {
        let (invoked, ended) = (Duration::from_secs(at), Duration::from_secs(at + 1));
        Sent { conversation: String::new(), text: text.to_owned(), may_join: false, invoked, ended, fate }
    }

    fn said(who: char, text: &str) -> Value {
        json!({"id": id(who), "role": "user", "parts": [{"type": "text", "content": {"text": text}}]})
    }

    fn good() -> Evidence {
        let part = |text: &str| json!({"type": "text", "content": {"text": text}});
        let call = json!({"type": "tool_use", "content": {"id": "call-1", "name": "grep", "input": {}}});
        let result = json!({"type": "tool_result", "content": {"tool_use_id": "call-1", "content": "x"}});
        let agent = |turn: char, parts: Value| json!({"id": id('9'), "role": "assistant", "turnId": id(turn), "parts": parts});
        let row =
            |row: char, turn: char, text: &str| json!({"id": id(row), "role": "assistant", "turnId": id(turn), "content": text});
        let user_row = |row: char, text: &str| json!({"id": id(row), "role": "user", "content": text});
        let reading = |reader: &str, face, seen| Reading { reader: reader.to_owned(), face, conversation: String::new(), seen };
        let (events, frames) = (story(false), story(true));
        // Each came a little later or left a little earlier, and came back in between.
        let mut resumed = events.clone();
        resumed.insert(6, Seen::Resumed);
        let shown = Snapshot { turn: Some(id('1')), text: "Let me see.It".to_owned(), ..Snapshot::default() };
        let mut late = vec![Seen::Snapshot(shown), text(None, " is so.", "1.7.9")];
        late.extend_from_slice(&events[9..]);
        let shown = Snapshot { turn: Some(id('1')), rows: vec![(id('c'), "Let".to_owned())], ..Snapshot::default() };
        let mut socket = vec![Seen::Snapshot(shown), text(Some('c'), " me ", "1.3.7")];
        socket.extend_from_slice(&frames[3..11]);
        Evidence {
            sent: vec![
                sent("one", Fate::Acknowledged(id('a')), 1),
                sent("two", Fate::Acknowledged(id('b')), 3),
                sent("never", Fate::Unknown, 5),
            ],
            readings: vec![
                reading("whole", Face::Session, events.clone()),
                reading("resumed", Face::Everything, resumed),
                reading("late", Face::Session, late),
                reading("socket", Face::Socket, socket),
            ],
            ran: vec![Ran { call: "call-1".to_owned(), times: 1, allowed: 1 }],
            log: events,
            socket_log: frames,
            messages: vec![
                said('a', "one"),
                agent('1', json!([part("Let me see."), call])),
                said('b', "two"),
                json!({"id": id('8'), "role": "user", "parts": [result]}),
                agent('1', json!([part("It is so.")])),
                agent('2', json!([part("Yes.")])),
            ],
            rows: vec![
                user_row('a', "one"),
                row('c', '1', "Let me see."),
                user_row('b', "two"),
                row('d', '1', "It is so."),
                row('e', '2', "Yes."),
            ],
            answered: vec![(id('1'), id('a')), (id('2'), id('b'))],
            ..Evidence::default()
        }
    }

    #[test]
    fn what_is_good_is_good() {
        assert_eq!(complaints(&good()), Vec::<String>::new());
    }

    /// Changes what one of the readers saw, and no more.
    fn seen(evidence: &mut Evidence, reader: usize) -> &mut Vec<Seen> {
        &mut evidence.readings[reader].seen
    }

    #[test]
    fn every_planted_fault_is_found() {
        type Plant = fn(&mut Evidence);
        let faults: Vec<(&str, Plant)> = vec![
            ("an acknowledged message is lost", |e| {
                e.messages.remove(2);
                e.rows.remove(2);
            }),
            ("an acknowledged message is stored twice", |e| {
                e.messages.push(said('f', "one"));
                e.rows.push(json!({"id": id('f'), "role": "user", "content": "one"}));
            }),
            ("an acknowledged message has another id", |e| e.sent[0].fate = Fate::Acknowledged(id('7'))),
            ("an unknown message is stored twice", |e| {
                e.sent[0].fate = Fate::Unknown;
                e.messages.push(said('f', "one"));
                e.rows.push(json!({"id": id('f'), "role": "user", "content": "one"}));
            }),
            ("a refused message is stored", |e| e.sent[1].fate = Fate::Refused),
            ("a message that nobody sent", |e| drop(e.sent.remove(1))),
            ("what was acknowledged first stands last", |e| {
                e.sent[1].invoked = Duration::ZERO;
                e.sent[1].ended = Duration::ZERO;
            }),
            ("two turns for one message", |e| e.answered.push((id('3'), id('a')))),
            ("no turn for a message", |e| drop(e.answered.remove(1))),
            ("a turn is stuck", |e| e.busy = true),
            ("a turn has no end", |e| {
                e.log.pop();
                e.socket_log.pop();
                seen(e, 0).pop();
                seen(e, 1).pop();
                seen(e, 2).pop();
            }),
            ("a turn has two ends", |e| {
                let end = fact(Fact::Finished(id('2')), "1.13.0");
                e.log.push(end.clone());
                e.socket_log.push(end);
            }),
            ("a call has no result", |e| {
                e.log.retain(|seen| !matches!(seen, Seen::Fact { fact: Fact::Returned(_), .. }));
                e.socket_log.retain(|seen| !matches!(seen, Seen::Fact { fact: Fact::Returned(_), .. }));
                e.readings.clear();
            }),
            ("a call has two results", |e| {
                e.log.insert(8, fact(Fact::Returned("call-1".to_owned()), "1.8.0"));
                e.socket_log.insert(7, fact(Fact::Returned("call-1".to_owned()), "1.8.0"));
                e.readings.clear();
            }),
            ("a stored call has no result", |e| drop(e.messages.remove(3))),
            ("a gap in the facts", |e| drop(seen(e, 0).remove(6))),
            ("a fact comes twice", |e| {
                let again = seen(e, 0)[6].clone();
                seen(e, 0).insert(7, again);
            }),
            ("facts change places", |e| seen(e, 0).swap(6, 7)),
            ("a gap in the text", |e| drop(seen(e, 0).remove(2))),
            ("a piece of text comes twice", |e| {
                let again = seen(e, 1)[2].clone();
                seen(e, 1).insert(3, again);
            }),
            ("pieces of text change places", |e| seen(e, 0).swap(2, 5)),
            ("a gap behind a snapshot", |e| drop(seen(e, 2).remove(1))),
            ("a snapshot with too much text", |e| {
                let Seen::Snapshot(shown) = &mut seen(e, 2)[0] else { return };
                shown.text.push_str(" is");
            }),
            ("a position comes twice", |e| {
                let Seen::Text { cursor, .. } = &mut seen(e, 0)[2] else { return };
                *cursor = "1.3.0".to_owned();
            }),
            ("a gap in a row", |e| drop(seen(e, 3).remove(1))),
            ("a piece of a row comes twice", |e| {
                let again = seen(e, 3)[1].clone();
                seen(e, 3).insert(2, again);
            }),
            ("a row that is not stored", |e| seen(e, 3).push(text(Some('f'), "what?", "1.13.0"))),
            ("a position is refused without a crash", |e| {
                let Seen::Snapshot(shown) = &mut seen(e, 2)[0] else { return };
                shown.refused = true;
            }),
            ("something strange", |e| seen(e, 0).push(Seen::Strange("no position".to_owned()))),
            ("the stored text is shorter than the log's", |e| {
                e.messages[5]["parts"][0]["content"]["text"] = json!("Ye");
            }),
            ("a row is shorter than the log's", |e| e.rows[4]["content"] = json!("Ye")),
            ("a message is still being written", |e| e.rows[4]["streaming"] = json!(true)),
            ("a call runs twice by itself", |e| e.ran[0].times = 2),
            ("a call runs that nobody has made", |e| e.ran[0].call = "call-2".to_owned()),
            ("the faces disagree", |e| {
                e.socket_log.swap(5, 6);
                e.readings.pop();
            }),
        ];
        for (name, plant) in faults {
            let mut evidence = good();
            plant(&mut evidence);
            assert!(!complaints(&evidence).is_empty(), "{name}: it was not noticed");
        }
    }

    /// After a crash a position may be refused; what was shown of an unfinished text is void then, and only then.
    #[test]
    fn a_refused_position_makes_unfinished_text_void() {
        let mut evidence = good();
        evidence.crashed = true;
        let story = story(false);
        let shown = Snapshot { refused: true, turn: Some(id('2')), text: "Y".to_owned(), ..Snapshot::default() };
        let after = [Seen::Snapshot(shown), text(None, "es.", "2.10.4"), story[12].clone()];
        evidence.readings[0].seen = story[..11].iter().cloned().chain([text(None, "No, wait", "1.10.8")]).chain(after).collect();
        assert_eq!(complaints(&evidence), Vec::<String>::new());
        // The same without having been told.
        let Seen::Snapshot(shown) = &mut evidence.readings[0].seen[12] else { panic!("a snapshot") };
        shown.refused = false;
        assert!(!complaints(&evidence).is_empty());
        // A mix of both.
        let Seen::Snapshot(shown) = &mut evidence.readings[0].seen[12] else { panic!("a snapshot") };
        shown.refused = true;
        shown.text = "No, wait".to_owned();
        assert!(!complaints(&evidence).is_empty());
    }
}
