//! P8: a tool that must not run twice is never run twice by itself, wherever the program dies; and whoever is to decide what
//! comes next is told that it may have run.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::sockets::tool::{ToolContext, ToolError, ToolReply, ToolSpec};
use domain::{Effect, Mode, Tool};
use serde_json::{Map, Value, json};
use server::settings::Sources;

use crate::campaign_kill::settle;
use crate::campaign_support::{Api, Machine, PATIENCE, dashed, luck, sized};
use crate::checker::{Evidence, Ran, check};
use crate::harness_http::Request;
use crate::harness_luck::Luck;
use crate::ledger::{Face, Fact, Fate, Ledger, PLAIN, Reader, Seen};
use crate::upstream::{Tale, Upstream};

/// Talks that are cut off together.
const TALKS: usize = 8;
/// Where the tool writes down that it has run; names the variable.
const NOTES: &str = "NOTES_UNDER_TEST";

/// Writes its call down, once for each run, and takes a while before and after.
struct Note {
    spec: ToolSpec,
    path: PathBuf,
}

impl Note {
    fn new(path: PathBuf) -> Self {
        let spec = ToolSpec {
            name: "note".to_owned(),
            description: "Writes something down.".to_owned(),
            input_schema: json!({"type": "object", "properties": {"id": {"type": "string"}}}),
            effect: Effect::AtMostOnce,
            modes: Mode::ALL.to_vec(),
        };
        Self { spec, path }
    }
}

#[async_trait]
impl Tool for Note {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, _context: ToolContext, input: Map<String, Value>) -> Result<ToolReply, ToolError> {
        let id = input.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut file = std::fs::File::options().append(true).create(true).open(&self.path).expect("a file");
        file.write_all(format!("{id}\n").as_bytes()).expect("a line");
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(ToolReply { output: format!("noted {id}"), truncated: false })
    }
}

/// The program with the tool in it: this binary, started once more. In any other run there is nothing to do here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_the_program() {
    let Some(notes) = std::env::var_os(NOTES) else { return };
    let ours = |name: &std::ffi::OsString| {
        name.to_str().is_some_and(|name| name.starts_with("COLLOQUY_") || name.starts_with("ANTHROPIC_"))
    };
    let environment = std::env::vars_os().filter(|(name, _)| ours(name)).collect();
    let mut config = Sources { environment, ..Sources::default() }.read().expect("settings that are right").config;
    config.extra_tools.push(Arc::new(Note::new(notes.into())));
    let running = server::start(config).await.expect("the server starts");
    println!("\nlistening on {}", running.url());
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_not_run_twice_does_not() {
    let wanted = sized(20, 1000);
    let mut luck = luck("effects");
    let upstream = Upstream::start().await;
    let mut machine = Machine::new(&upstream);
    let notes = machine.root().join("notes");
    std::fs::write(&notes, "").expect("a file");
    machine.set(NOTES, &notes);
    let this = std::env::current_exe().expect("this program").into_os_string();
    let words = ["--exact", "campaign_effects::as_the_program", "--nocapture", "--test-threads", "1"];
    machine.runs([this].into_iter().chain(words.map(Into::into)).collect());
    machine.start().await;
    let mut tally = Tally::default();
    let mut tale = 0;
    while tally.cut_off < wanted {
        one_kill(&mut machine, &mut luck, &mut tale, &mut tally).await;
        assert_eq!(upstream.complaints(), Vec::<String>::new());
        assert!(tally.kills < wanted * 2, "hardly a call is ever cut off: {tally:?}");
    }
    println!("{tally:?}");
    assert!(tally.had_run > 0 && tally.had_not > 0, "the window was not hit on both sides: {tally:?}");
    machine.end().await;
}

#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    calls: usize,
    /// Begun and without a result when the program died: a person was asked.
    cut_off: usize,
    /// Of these, such that had done what they do, and such that had not.
    had_run: usize,
    had_not: usize,
    rerun: usize,
    done: usize,
    skipped: usize,
}

async fn one_kill(machine: &mut Machine, luck: &mut Luck, tale: &mut u64, tally: &mut Tally) {
    let (api, ledger) = (machine.api(), Ledger::default());
    tally.kills += 1;
    let mut talks = Vec::new();
    for _ in 0..TALKS {
        let conversation = api.conversation().await;
        *tale += 1;
        let story = Tale { id: *tale, rounds: 1, calls: 2, pieces: 2, pace_us: 500, note: true, ..Tale::default() };
        let reader = Reader::start(api, Face::Socket, &conversation, "reader".to_owned());
        assert!(reader.sees(&conversation, PATIENCE, |seen| !seen.is_empty()).await, "a reader begins");
        ledger.send(api, &conversation, &story.message(), PLAIN).await;
        talks.push((conversation, reader));
    }
    let called = |seen: &[Seen]| seen.iter().any(|seen| matches!(seen, Seen::Fact { fact: Fact::Called(_), .. }));
    let (conversation, reader) = &talks[luck.below(TALKS)];
    assert!(reader.sees(conversation, PATIENCE, called).await, "tools are called");
    tokio::time::sleep(Duration::from_millis(luck.below(45) as u64)).await;
    machine.kill().await;
    let before = runs(machine);
    machine.start().await;
    for (conversation, reader) in talks {
        let mut allowed: HashMap<String, usize> = HashMap::new();
        for question in questions(api, &conversation).await {
            let call = question["call"]["id"].as_str().expect("a call").to_owned();
            let words = question["text"].as_str().expect("a sentence");
            assert!(words.contains("may have run"), "{question}");
            assert_eq!(question["choices"], json!(["rerun", "mark_done", "skip"]));
            tally.cut_off += 1;
            let ran = before.get(&call).copied().unwrap_or(0);
            tally.had_run += usize::from(ran > 0);
            tally.had_not += usize::from(ran == 0);
            let answer = ["rerun", "mark_done", "skip"][luck.below(3)];
            *match answer {
                "rerun" => &mut tally.rerun,
                "mark_done" => &mut tally.done,
                _ => &mut tally.skipped,
            } += 1;
            if answer == "rerun" {
                *allowed.entry(call).or_insert(1) += 1;
            }
            let target = format!("/api/questions/{}", question["id"].as_str().expect("an id"));
            let (status, said) = api.send(Request::post(&target, &json!({"answer": answer}))).await.expect("an answer");
            assert_eq!(status, 200, "{said}");
            let (again, _) = api.send(Request::post(&target, &json!({"answer": answer}))).await.expect("an answer");
            assert_eq!(again, 409, "it is answered once");
        }
        settle(api, &conversation).await;
        *tale += 1;
        let next = Tale { id: *tale, rounds: 0, pieces: 1, ..Tale::default() };
        let fate = ledger.send(api, &conversation, &next.message(), PLAIN).await;
        assert!(matches!(fate, Fate::Acknowledged(_)), "the next message: {fate:?}");
        settle(api, &conversation).await;
        let mut evidence = Evidence::gather(api, &conversation, ledger.of(&conversation), reader.stop(), true).await;
        let after = runs(machine);
        let facts = evidence.log.iter();
        let calls =
            facts.filter_map(|seen| if let Seen::Fact { fact: Fact::Called(call), .. } = seen { Some(call) } else { None });
        evidence.ran = calls
            .map(|call| Ran {
                call: call.clone(),
                times: after.get(call).copied().unwrap_or(0),
                allowed: allowed.get(call).copied().unwrap_or(1),
            })
            .collect();
        tally.calls += evidence.ran.len();
        check(&evidence);
    }
}

/// How often each call has run so far.
fn runs(machine: &Machine) -> HashMap<String, usize> {
    let mut runs = HashMap::new();
    for line in std::fs::read_to_string(machine.root().join("notes")).expect("the notes").lines() {
        *runs.entry(line.to_owned()).or_default() += 1;
    }
    runs
}

/// What waits for a person in a conversation, once nothing else happens there.
async fn questions(api: Api, conversation: &str) -> Vec<Value> {
    let target = format!("/api/questions?conversation={}", dashed(conversation));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let asked = api.get(&target).await.as_array().cloned().expect("a list");
        let messages = api.get(&format!("/api/sessions/{}/messages", dashed(conversation))).await;
        let parts =
            || messages.as_array().into_iter().flatten().flat_map(|message| message["parts"].as_array().into_iter().flatten());
        let count = |kind: &str| parts().filter(|part| part["type"] == kind).count();
        let busy = api.get(&format!("/api/sessions/{}", dashed(conversation))).await["busy"] == true;
        // Every call has a result or is asked about, or there is nothing to wait for.
        if !busy || (count("tool_use") > 0 && count("tool_use") == count("tool_result") + asked.len()) {
            return asked;
        }
        assert!(tokio::time::Instant::now() < deadline, "neither results nor questions: {messages:#} {asked:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
