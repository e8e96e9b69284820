//! A server that speaks Anthropic's Messages API and tells stories under load: what it says depends only on what it is asked,
//! so that a request which is repeated after a crash gets the same answer.
//!
//! The newest thing a person said holds the story, as `[[name=value …]]`; see [`Tale`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::harness_etiquette::complaints_about;
use crate::harness_upstream::Asked;

const KEY: &str = "sk-ant-of-the-campaigns";

/// How the model answers one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tale {
    /// Makes this story's words different from all others.
    pub id: u64,
    /// Times that it calls tools before it ends.
    pub rounds: usize,
    /// Tools that it calls at once.
    pub calls: usize,
    /// Pieces of the text of each step.
    pub pieces: usize,
    /// Bytes of a piece, about.
    pub bytes: usize,
    /// Between two pieces.
    pub pace_us: u64,
    /// Before the first piece of each step.
    pub silence_ms: u64,
    /// It is silent only when the step is asked for the first time.
    pub silent_once: bool,
    /// The step in which it falls silent for ever, after its text.
    pub hang: Option<usize>,
    /// Each tool call searches through everything there is.
    pub search: bool,
    /// Each tool call is one of `note`, which writes itself down.
    pub note: bool,
    /// Each piece begins with the time at which it was sent, for those who measure.
    pub stamped: bool,
}

impl Default for Tale {
    fn default() -> Self {
        Self {
            id: 0,
            rounds: 1,
            calls: 1,
            pieces: 10,
            bytes: 20,
            pace_us: 1000,
            silence_ms: 0,
            silent_once: false,
            hang: None,
            search: false,
            note: false,
            stamped: false,
        }
    }
}

impl Tale {
    /// A message that asks for the story. No two stories have the same `id`, so no two messages are alike.
    pub fn message(&self) -> String {
        let Self { id, rounds, calls, pieces, bytes, pace_us, silence_ms, silent_once, hang, search, note, stamped } = self;
        let hang = hang.map_or(String::new(), |step| format!(" hang={step}"));
        format!(
            "Tell me! [[id={id} rounds={rounds} calls={calls} pieces={pieces} bytes={bytes} pace={pace_us} silence={silence_ms} \
             once={} search={} note={} stamped={}{hang}]]",
            u8::from(*silent_once),
            u8::from(*search),
            u8::from(*note),
            u8::from(*stamped),
        )
    }

    fn read(text: &str) -> Option<Self> {
        let inner = text.rsplit_once("[[")?.1.split_once("]]")?.0;
        let mut tale = Self::default();
        for (name, value) in inner.split(' ').filter_map(|pair| pair.split_once('=')) {
            let number: u64 = value.parse().ok()?;
            let count = usize::try_from(number).ok()?;
            match name {
                "id" => tale.id = number,
                "rounds" => tale.rounds = count,
                "calls" => tale.calls = count,
                "pieces" => tale.pieces = count,
                "bytes" => tale.bytes = count,
                "pace" => tale.pace_us = number,
                "silence" => tale.silence_ms = number,
                "once" => tale.silent_once = number == 1,
                "hang" => tale.hang = Some(count),
                "search" => tale.search = number == 1,
                "note" => tale.note = number == 1,
                "stamped" => tale.stamped = number == 1,
                _ => return None,
            }
        }
        Some(tale)
    }

    /// The text of one step, piece by piece. Its words say where they belong, and some are more than a byte a character.
    fn text(&self, step: usize) -> impl Iterator<Item = String> + use<> {
        let (id, bytes) = (self.id, self.bytes);
        (0..self.pieces).map(move |piece| {
            let mut words = format!("{id}.{step}.{piece}é漢😀");
            while words.len() < bytes {
                words.push(char::from(b'a' + u8::try_from(words.len() % 26).unwrap_or(0)));
            }
            words + " "
        })
    }

    /// The last words of the story.
    pub fn end(&self) -> String {
        self.text(self.rounds).last().unwrap_or_default()
    }

    fn calls(&self, step: usize) -> impl Iterator<Item = (String, &'static str, Value)> + use<> {
        let (id, search, note) = (self.id, self.search, self.note);
        (0..self.calls).map(move |call| {
            let name = format!("call-{id}-{step}-{call}");
            match call % 3 {
                _ if note => (name.clone(), "note", json!({"id": name})),
                _ if search => (name, "grep", json!({"pattern": "(s|t)+raw .*[13579]x?$", "context_lines": 2})),
                0 => (name, "read_file", json!({"path": "notes.txt"})),
                1 => (name, "grep", json!({"pattern": "needle"})),
                _ => (name, "glob", json!({"pattern": "*.txt"})),
            }
        })
    }
}

/// Runs until it is dropped.
pub struct Upstream {
    /// For `ANTHROPIC_BASE_URL`.
    pub url: String,
    state: Arc<State>,
    accepting: AbortHandle,
}

struct State {
    complaints: Mutex<Vec<String>>,
    /// How often each step of each story was asked for.
    asked: Mutex<HashMap<(u64, usize), usize>>,
    began: Instant,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State { complaints: Mutex::default(), asked: Mutex::default(), began: Instant::now() });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state))).abort_handle();
        Self { url, state, accepting }
    }

    /// What was wrong with the requests so far.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.state.complaints).clone()
    }

    /// How often this step of a story was asked for.
    pub fn asked(&self, tale: u64, step: usize) -> usize {
        lock(&self.state.asked).get(&(tale, step)).copied().unwrap_or(0)
    }

    /// The clock of the stamps, in microseconds.
    pub fn clock(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let began = self.state.began;
        move || u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        // A client that is killed in mid-answer is what all this is about.
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let _ = serve(stream, &state).await;
        });
    }
}

async fn serve(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut ahead = Vec::new();
    while let Some(asked) = read(&mut stream, &mut ahead).await? {
        if asked.line.starts_with("GET") {
            let body = json!({"data": [{"type": "model", "id": "tale"}]}).to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await?;
            continue;
        }
        let mut complaints = complaints_about(&asked, KEY);
        complaints.extend(about_what_was_said(&asked.body));
        let newest = newest_text(&asked.body);
        let tale = newest.as_ref().and_then(|(text, _)| Tale::read(text));
        let (Some(tale), Some((_, step))) = (tale, newest) else {
            complaints.push("there is no story to tell".to_owned());
            lock(&state.complaints).extend(complaints);
            return Ok(());
        };
        let about = format!("story {} step {step}: ", tale.id);
        lock(&state.complaints).extend(complaints.into_iter().map(|complaint| about.clone() + &complaint));
        let times = {
            let mut asked = lock(&state.asked);
            let times = asked.entry((tale.id, step)).or_default();
            *times += 1;
            *times
        };
        let silence_ms = if tale.silent_once && times > 1 { 0 } else { tale.silence_ms };
        let tale = Tale { silence_ms, ..tale };
        Answer { stream: &mut stream, began: state.began }.tell(&tale, step).await?;
    }
    Ok(())
}

/// What a person says is told once, and a step of the answer is never told twice.
fn about_what_was_said(body: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    for role in ["user", "assistant"] {
        let mut texts: Vec<&str> = messages.iter().filter(|message| message["role"] == role).flat_map(texts).collect();
        texts.sort_unstable();
        for pair in texts.windows(2).filter(|pair| pair[0] == pair[1]) {
            complaints.push(format!("the {role} says twice: {}", pair[0]));
        }
    }
    let calls = messages.iter().flat_map(blocks).filter(|block| block["type"] == "tool_use");
    let mut ids: Vec<&str> = calls.filter_map(|call| call["id"].as_str()).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        complaints.push("a call stands in it twice".to_owned());
    }
    complaints
}

/// The newest text of a person, and how many steps of its answer there are already.
fn newest_text(body: &Value) -> Option<(String, usize)> {
    let messages = body["messages"].as_array()?;
    let said = |message: &&Value| message["role"] == "user" && texts(message).next().is_some();
    let at = messages.iter().rposition(|message| said(&message))?;
    let text = texts(&messages[at]).last()?.to_owned();
    let steps = messages[at..].iter().filter(|message| message["role"] == "assistant").count();
    Some((text, steps))
}

fn blocks(message: &Value) -> &[Value] {
    message["content"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn texts(message: &Value) -> impl Iterator<Item = &str> {
    blocks(message).iter().filter(|block| block["type"] == "text").filter_map(|block| block["text"].as_str())
}

struct Answer<'s> {
    stream: &'s mut TcpStream,
    began: Instant,
}

impl Answer<'_> {
    async fn tell(mut self, tale: &Tale, step: usize) -> std::io::Result<()> {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        self.stream.write_all(head.as_bytes()).await?;
        let usage = json!({"input_tokens": 10, "output_tokens": 1});
        let message =
            json!({"id": "msg", "type": "message", "role": "assistant", "model": "tale", "content": [], "usage": usage});
        self.event(&json!({"type": "message_start", "message": message})).await?;
        self.wait(Duration::from_millis(tale.silence_ms)).await?;
        self.event(&json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})).await?;
        let pace = Duration::from_micros(tale.pace_us);
        let mut due = Instant::now();
        for piece in tale.text(step) {
            due += pace;
            if let Some(early) = due.checked_duration_since(Instant::now()) {
                self.wait(early).await?;
            }
            let stamp = if tale.stamped { format!("@{}@", self.began.elapsed().as_micros()) } else { String::new() };
            let delta = json!({"type": "text_delta", "text": stamp + &piece});
            self.event(&json!({"type": "content_block_delta", "index": 0, "delta": delta})).await?;
        }
        self.event(&json!({"type": "content_block_stop", "index": 0})).await?;
        if tale.hang == Some(step) {
            self.wait(Duration::from_secs(3600)).await?;
        }
        let last = step >= tale.rounds;
        for (index, (id, name, input)) in tale.calls(step).enumerate().filter(|_| !last) {
            let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
            self.event(&json!({"type": "content_block_start", "index": index + 1, "content_block": block})).await?;
            for piece in halves(&input.to_string()) {
                let delta = json!({"type": "input_json_delta", "partial_json": piece});
                self.event(&json!({"type": "content_block_delta", "index": index + 1, "delta": delta})).await?;
                self.wait(pace).await?;
            }
            self.event(&json!({"type": "content_block_stop", "index": index + 1})).await?;
        }
        let stop = if last || tale.calls == 0 { "end_turn" } else { "tool_use" };
        let delta = json!({"stop_reason": stop, "stop_sequence": null});
        self.event(&json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}})).await?;
        self.event(&json!({"type": "message_stop"})).await?;
        self.stream.write_all(b"0\r\n\r\n").await
    }

    async fn event(&mut self, event: &Value) -> std::io::Result<()> {
        let event = format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
        self.stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await
    }

    /// Waits, unless the client leaves meanwhile.
    async fn wait(&mut self, time: Duration) -> std::io::Result<()> {
        if time.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            _ = self.stream.read_u8() => Err(std::io::ErrorKind::ConnectionReset.into()),
        }
    }
}

/// In two, between characters.
fn halves(text: &str) -> [&str; 2] {
    let middle = text.floor_char_boundary(text.len() / 2);
    [&text[..middle], &text[middle..]]
}

/// The next request; `None` when the client has left.
async fn read(stream: &mut TcpStream, ahead: &mut Vec<u8>) -> std::io::Result<Option<Asked>> {
    loop {
        if let Some(end) = ahead.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&ahead[..end]).into_owned();
            let mut lines = head.lines();
            let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
            let length: usize = length.unwrap_or(0);
            if ahead.len() >= end + 4 + length {
                let body = serde_json::from_slice(&ahead[end + 4..end + 4 + length]).unwrap_or_default();
                ahead.drain(..end + 4 + length);
                return Ok(Some(Asked { line, headers, body }));
            }
        }
        if stream.read_buf(ahead).await? == 0 {
            return Ok(None);
        }
    }
}

/// A panic elsewhere leaves nothing half done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Tale, about_what_was_said, newest_text};

    #[test]
    fn a_story_is_read_from_the_message_that_asks_for_it() {
        let tale =
            Tale { id: 7, rounds: 3, calls: 2, hang: Some(1), search: true, stamped: true, silent_once: true, ..Tale::default() };
        assert_eq!(Tale::read(&tale.message()), Some(tale));
        assert_eq!(Tale::read("just talk"), None);
    }

    #[test]
    fn the_step_is_counted_from_the_newest_text() {
        let body = json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": "one"}]},
            {"role": "assistant", "content": []},
            {"role": "user", "content": [{"type": "text", "text": "two"}]},
            {"role": "assistant", "content": []},
            {"role": "user", "content": [{"type": "tool_result"}]},
        ]});
        assert_eq!(newest_text(&body), Some(("two".to_owned(), 1)));
    }

    #[test]
    fn what_is_said_twice_is_noticed() {
        let say = |role: &str, text: &str| json!({"role": role, "content": [{"type": "text", "text": text}]});
        let once = json!({"messages": [say("user", "a"), say("assistant", "a"), say("user", "b")]});
        assert_eq!(about_what_was_said(&once), Vec::<String>::new());
        for twice in ["user", "assistant"] {
            let body = json!({"messages": [say(twice, "a"), say("user", "b"), say(twice, "a")]});
            assert_eq!(about_what_was_said(&body).len(), 1, "{twice}");
        }
        let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "c"}]});
        assert_eq!(about_what_was_said(&json!({"messages": [call, call]})).len(), 1);
    }
}
