//! What clients did and saw, written down as they did and saw it, for the checker.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::campaign_support::{Api, Broken, Chunks, PATIENCE, dashed, hex, read_answer};
use crate::harness_http::Request;

/// A message that somebody sent, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub conversation: String,
    pub text: String,
    /// It may have joined a running turn, and need not have one of its own.
    pub may_join: bool,
    /// Since the ledger was opened.
    pub invoked: Duration,
    pub ended: Duration,
    pub fate: Fate,
}

/// What the sender knows of its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is stored, under this id.
    Acknowledged(String),
    /// It is not stored.
    Refused,
    Unknown,
}

/// What one client sent. Several write into one.
#[derive(Debug, Clone)]
pub struct Ledger {
    began: Instant,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { began: Instant::now(), sent: Arc::default() }
    }
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    pub when_busy: &'static str,
    /// Whether to ask again, under the same name, when the answer does not come; for so long.
    pub insist: Option<Duration>,
}

pub const PLAIN: Manner = Manner { when_busy: "queue", insist: None };

impl Ledger {
    pub fn of(&self, conversation: &str) -> Vec<Sent> {
        lock(&self.sent).iter().filter(|sent| sent.conversation == conversation).cloned().collect()
    }

    /// Sends a message over REST and writes down what came of it. Each text must be one that nobody else sends.
    pub async fn send(&self, api: Api, conversation: &str, text: &str, manner: Manner) -> Fate {
        let invoked = self.began.elapsed();
        let give_up = Instant::now() + manner.insist.unwrap_or_default();
        let target = format!("/api/chats/{conversation}/messages");
        let body = json!({"content": text, "clientId": client_id(text), "whenBusy": manner.when_busy});
        let mut fate = Fate::Unknown;
        loop {
            match api.send(Request::post(&target, &body)).await {
                Ok((202, answer)) => fate = Fate::Acknowledged(hex(&answer["message"]["id"])),
                Ok((400..500, _)) if fate == Fate::Unknown => fate = Fate::Refused,
                Ok(_) | Err(Broken) if Instant::now() < give_up => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                Ok(_) | Err(Broken) => {}
            }
            break;
        }
        self.note(conversation, text, manner, invoked, fate.clone());
        fate
    }

    pub fn note(&self, conversation: &str, text: &str, manner: Manner, invoked: Duration, fate: Fate) {
        let sent = Sent {
            conversation: conversation.to_owned(),
            text: text.to_owned(),
            may_join: manner.when_busy == "steer",
            invoked,
            ended: self.began.elapsed(),
            fate,
        };
        lock(&self.sent).push(sent);
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

/// The name under which a text is sent, again and again.
pub fn client_id(text: &str) -> String {
    text.chars().filter(|char| char.is_ascii_alphanumeric()).take(100).collect()
}

/// One thing that a reader was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// What there was when it came, or when its position was refused: it replaces all that was shown before.
    Snapshot(Snapshot),
    /// It came back, and its position was taken.
    Resumed,
    Fact {
        fact: Fact,
        cursor: Option<String>,
    },
    /// The next piece of what the agent writes.
    Text {
        /// The row it belongs to, where the wire says so.
        row: Option<String>,
        text: String,
        cursor: String,
    },
    /// What no server may send.
    Strange(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The position that the reader asked for was refused.
    pub refused: bool,
    /// The turn that is running.
    pub turn: Option<String>,
    /// All of its text so far.
    pub text: String,
    /// The agent's rows, where the wire has rows.
    pub rows: Vec<(String, String)>,
}

/// A fact, by what makes it different from all others. The ids are those of the messages, turns and calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fact {
    Said(String),
    Queued(String),
    Started(String),
    Called(String),
    Returned(String),
    Failed,
    Finished(String),
    /// Something that may happen again and again.
    Other(String),
}

/// Which wire a reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Face {
    /// `GET /api/sessions/:id/events`
    Session,
    /// `GET /api/events`
    Everything,
    /// `subscribe` on `/ws`
    Socket,
}

/// What one reader was shown of one conversation, from its first moment to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub reader: String,
    pub face: Face,
    pub conversation: String,
    pub seen: Vec<Seen>,
}

/// A reader that comes back whenever its connection breaks, until it is told to stop.
pub struct Reader {
    name: String,
    face: Face,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<BTreeMap<String, Vec<Seen>>>,
    grown: Notify,
    /// How often it came back with a position.
    resumes: std::sync::atomic::AtomicUsize,
}

impl Reader {
    /// Follows one conversation; with [`Face::Everything`], all of them.
    pub fn start(api: Api, face: Face, conversation: &str, name: String) -> Self {
        Self::begin(api, face, conversation, name, None)
    }

    /// Begins behind this position.
    pub fn from(api: Api, face: Face, conversation: &str, name: String, position: String) -> Self {
        Self::begin(api, face, conversation, name, Some(position))
    }

    fn begin(api: Api, face: Face, conversation: &str, name: String, position: Option<String>) -> Self {
        let shared = Arc::new(Shared::default());
        let task = match face {
            Face::Session => tokio::spawn(read_events(api, Some(conversation.to_owned()), position, Arc::clone(&shared))),
            Face::Everything => tokio::spawn(read_events(api, None, position, Arc::clone(&shared))),
            Face::Socket => tokio::spawn(read_socket(api, conversation.to_owned(), position, Arc::clone(&shared))),
        };
        Self { name, face, shared, task }
    }

    /// Looks at what it was shown of a conversation so far.
    pub fn look<T>(&self, conversation: &str, at: impl Fn(&[Seen]) -> T) -> T {
        at(lock(&self.shared.seen).get(conversation).map(Vec::as_slice).unwrap_or_default())
    }

    /// Waits until it was shown enough; `false` if that takes too long.
    pub async fn sees(&self, conversation: &str, patience: Duration, enough: impl Fn(&[Seen]) -> bool) -> bool {
        let waiting = async {
            loop {
                let mut grown = std::pin::pin!(self.shared.grown.notified());
                grown.as_mut().enable();
                if self.look(conversation, &enough) {
                    return;
                }
                grown.await;
            }
        };
        timeout(patience, waiting).await.is_ok()
    }

    /// Waits until it has seen so many turns of the conversation end.
    pub async fn sees_ends(&self, conversation: &str, count: usize, patience: Duration) -> bool {
        self.sees(conversation, patience, |seen| ends(seen) >= count).await
    }

    pub fn resumes(&self) -> usize {
        self.shared.resumes.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Ends it; gives what it was shown of each conversation.
    pub fn stop(self) -> Vec<Reading> {
        self.task.abort();
        let all = std::mem::take(&mut *lock(&self.shared.seen));
        let reading = |(conversation, seen)| Reading { reader: self.name.clone(), face: self.face, conversation, seen };
        all.into_iter().map(reading).collect()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn ends(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| matches!(seen, Seen::Fact { fact: Fact::Finished(_), .. })).count()
}

impl Shared {
    fn push(&self, conversation: &str, seen: Seen) {
        lock(&self.seen).entry(conversation.to_owned()).or_default().push(seen);
        self.grown.notify_waiters();
    }

    fn count_resume(&self) {
        self.resumes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// A stream of events, read until it breaks.
pub struct Events {
    stream: TcpStream,
    chunks: Chunks,
    text: Vec<u8>,
    ahead: std::collections::VecDeque<Event>,
}

#[derive(Debug, Clone)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

impl Events {
    pub async fn open(api: Api, target: &str, position: Option<&str>) -> Result<Self, Broken> {
        let request = Request::get(target);
        let request = match position {
            Some(position) => request.header("Last-Event-ID", position),
            None => request,
        };
        match Self::send(api, request).await? {
            Ok(events) => Ok(events),
            // The database is away, and whoever waits for it too long is told so.
            Err((503, _)) => Err(Broken),
            Err((status, answer)) => panic!("no stream of events: {status} {answer}"),
        }
    }

    /// The error is status and body of an answer that is no stream.
    pub async fn send(api: Api, request: Request) -> Result<Result<Self, (u16, Value)>, Broken> {
        Self::send_on(api, api.connect().await?, request).await
    }

    pub async fn send_on(api: Api, mut stream: TcpStream, request: Request) -> Result<Result<Self, (u16, Value)>, Broken> {
        stream.write_all(&request.encode(&api.address.to_string())).await.map_err(|_| Broken)?;
        let mut ahead = Vec::new();
        let reading = async {
            loop {
                if stream.read_buf(&mut ahead).await.map_err(|_| Broken)? == 0 {
                    return Err(Broken);
                }
                if let Some(end) = ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                    return Ok(end);
                }
            }
        };
        let end = timeout(PATIENCE, reading).await.unwrap_or(Err(Broken))?;
        if !ahead.starts_with(b"HTTP/1.1 200") {
            return read_answer(&ahead).map(Err).ok_or(Broken);
        }
        let mut events = Self { stream, chunks: Chunks::default(), text: Vec::new(), ahead: [].into() };
        events.take(&ahead[end + 4..]);
        Ok(Ok(events))
    }

    /// The next event that came whole; `None` when nothing more can come.
    pub async fn next(&mut self) -> Option<Event> {
        let mut bytes = Vec::with_capacity(64 * 1024);
        loop {
            if let Some(event) = self.ahead.pop_front() {
                return Some(event);
            }
            bytes.clear();
            if self.chunks.ended || self.stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
            self.take(&bytes);
        }
    }

    /// Whether the server has ended it, rather than just gone away.
    pub const fn has_ended_well(&self) -> bool {
        self.chunks.ended
    }

    fn take(&mut self, bytes: &[u8]) {
        self.chunks.push(bytes, &mut self.text);
        let mut taken = 0;
        while let Some(end) = self.text[taken..].windows(2).position(|pair| pair == b"\n\n") {
            let block = std::str::from_utf8(&self.text[taken..taken + end]).expect("UTF-8");
            taken += end + 2;
            self.ahead.extend(parse(block));
        }
        self.text.drain(..taken);
    }
}

fn parse(block: &str) -> Option<Event> {
    let (mut name, mut id, mut data) = (None, None, Value::Null);
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("event", value)) => name = Some(value.to_owned()),
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("data", value)) => data = serde_json::from_str(value).unwrap_or_else(|error| panic!("{error} in {value}")),
            _ => {}
        }
    }
    Some(Event { name: name?, id, data })
}

/// A log that says nothing for so long has nothing more to say.
const QUIET: Duration = Duration::from_secs(3);

/// Before a reader that was cut off comes back.
const PAUSE: Duration = Duration::from_millis(5);

async fn read_events(api: Api, conversation: Option<String>, mut position: Option<String>, shared: Arc<Shared>) {
    let target = match &conversation {
        Some(conversation) => format!("/api/sessions/{}/events", dashed(conversation)),
        None => "/api/events".to_owned(),
    };
    let mut listeners: HashMap<String, Listener> = HashMap::new();
    loop {
        if let Ok(mut events) = Events::open(api, &target, position.as_deref()).await {
            listeners.values_mut().for_each(|listener| listener.reconnect(position.is_some()));
            let mut opened = false;
            while let Some(event) = events.next().await {
                if !opened {
                    opened = true;
                    if position.is_some() {
                        shared.count_resume();
                    }
                }
                let of =
                    if event.data["sessionId"].is_string() { Some(hex(&event.data["sessionId"])) } else { conversation.clone() };
                if let Some(of) = of {
                    let new = || Listener::new(conversation.is_some(), position.is_some());
                    let listener = listeners.entry(of.clone()).or_insert_with(new);
                    listener.take(&event).into_iter().for_each(|seen| shared.push(&of, seen));
                } else if event.name == "session.reset" {
                    listeners.values_mut().for_each(|listener| listener.reconnect(false));
                }
                if let Some(id) = event.id {
                    position = Some(id);
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Every event of a conversation, from its beginning.
#[derive(Debug, Default)]
pub struct WholeLog {
    pub seen: Vec<Seen>,
    /// Turns, each with the message that it answers.
    pub answered: Vec<(String, String)>,
    /// Turns, each with how it ended.
    pub outcomes: Vec<(String, String)>,
}

/// Every event of a conversation so far; `None` while a turn runs.
pub async fn whole_log(api: Api, conversation: &str) -> Option<WholeLog> {
    let target = format!("/api/sessions/{}/events", dashed(conversation));
    let end = api.conversation_end(conversation).await?;
    let mut events = Events::open(api, &target, Some("0")).await.expect("the server answers");
    let mut listener = Listener::new(true, true);
    let mut log = WholeLog::default();
    // The last facts of a log may be ones that this wire has no word for; then nothing comes with the last position. But every
    // log has a beginning, for which a busy machine is given time.
    let mut patience = PATIENCE;
    while let Ok(event) = timeout(patience, events.next()).await {
        let event = event.expect("the log does not break off");
        patience = QUIET;
        for seen in listener.take(&event) {
            if let Seen::Fact { fact: Fact::Finished(turn), .. } = &seen {
                log.outcomes.push((turn.clone(), name(&event.data["status"])));
            }
            log.seen.push(seen);
        }
        if event.name == "message.start" {
            log.answered.push((hex(&event.data["turnId"]), hex(&event.data["userMessageId"])));
        }
        if event.id.as_ref() == Some(&end) {
            break;
        }
    }
    assert_eq!(patience, QUIET, "the log says nothing at all");
    Some(log)
}

/// Makes of the events of one conversation what a reader has seen.
struct Listener {
    /// What has come of a snapshot that is not whole yet.
    opening: Option<Snapshot>,
    /// Facts whose position has not come yet: if the connection breaks before it does, they come again.
    unplaced: Vec<Fact>,
    /// The turn of each reply.
    turns: HashMap<String, String>,
}

impl Listener {
    /// `whole`: the conversation has a stream of its own, which begins with a snapshot unless it is resumed.
    fn new(whole: bool, resumed: bool) -> Self {
        let opening = (whole && !resumed).then(Snapshot::default);
        Self { opening, unplaced: Vec::new(), turns: HashMap::new() }
    }

    fn reconnect(&mut self, resumed: bool) {
        self.unplaced.clear();
        self.opening = (!resumed).then(Snapshot::default);
    }

    fn take(&mut self, event: &Event) -> Vec<Seen> {
        let mut seen = Vec::new();
        let data = &event.data;
        match event.name.as_str() {
            "connected" if self.opening.is_none() => seen.push(Seen::Resumed),
            "connected" => {}
            "session.reset" => self.opening = Some(Snapshot { refused: true, ..Snapshot::default() }),
            "message.delta" => {
                let text = data["text"].as_str().unwrap_or_default();
                match (&mut self.opening, &event.id) {
                    (Some(opening), _) => opening.text += text,
                    (None, Some(cursor)) => {
                        if !self.unplaced.is_empty() {
                            seen.push(Seen::Strange(format!("facts without a position: {:?}", self.unplaced)));
                        }
                        seen.push(Seen::Text { row: None, text: text.to_owned(), cursor: cursor.clone() });
                    }
                    (None, None) => seen.push(Seen::Strange(format!("a piece of text without a position: {text}"))),
                }
            }
            _ => {
                let fact = self.fact(event);
                match (&mut self.opening, fact) {
                    (Some(opening), Fact::Started(turn)) => opening.turn = Some(turn),
                    (Some(_), _) => {}
                    (None, fact) => self.unplaced.push(fact),
                }
            }
        }
        if let Some(id) = &event.id {
            if let Some(opening) = self.opening.take() {
                seen.push(Seen::Snapshot(opening));
            }
            let last = self.unplaced.len().saturating_sub(1);
            for (index, fact) in self.unplaced.drain(..).enumerate() {
                // Only what says no more than the fact behind it may lack a position.
                if index != last && !matches!(fact, Fact::Said(_) | Fact::Failed) {
                    seen.push(Seen::Strange(format!("a fact without a position: {fact:?}")));
                }
                let cursor = (index == last).then(|| id.clone());
                seen.push(Seen::Fact { fact, cursor });
            }
        }
        seen
    }

    fn fact(&mut self, event: &Event) -> Fact {
        let data = &event.data;
        match event.name.as_str() {
            "message.user" => Fact::Said(hex(&data["messageId"])),
            "message.queued" => Fact::Queued(hex(&data["userMessageId"])),
            "message.start" => {
                let turn = hex(&data["turnId"]);
                self.turns.insert(hex(&data["messageId"]), turn.clone());
                Fact::Started(turn)
            }
            "tool.start" => Fact::Called(name(&data["toolId"])),
            "tool.result" => Fact::Returned(name(&data["toolId"])),
            "message.error" => Fact::Failed,
            "message.done" => {
                let reply = hex(&data["messageId"]);
                Fact::Finished(self.turns.get(&reply).cloned().unwrap_or(reply))
            }
            other => Fact::Other(other.to_owned()),
        }
    }
}

type Stream = tokio_tungstenite::WebSocketStream<TcpStream>;

/// Opens `/ws`.
pub async fn open_socket(api: Api) -> Result<Stream, Broken> {
    open_socket_on(api, api.connect().await?).await
}

pub async fn open_socket_on(api: Api, connection: TcpStream) -> Result<Stream, Broken> {
    let uri = format!("ws://{}/ws", api.address).parse().map_err(|_| Broken)?;
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let opening = tokio_tungstenite::client_async_with_config(ClientRequestBuilder::new(uri), connection, Some(config));
    let (stream, _) = timeout(PATIENCE, opening).await.map_err(|_| Broken)?.map_err(|_| Broken)?;
    Ok(stream)
}

async fn read_socket(api: Api, conversation: String, mut position: Option<String>, shared: Arc<Shared>) {
    loop {
        // Whatever ends it, it comes back.
        let _ = read_one_socket(api, &conversation, &mut position, &shared).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read_one_socket(api: Api, conversation: &str, position: &mut Option<String>, shared: &Shared) -> Result<(), Broken> {
    let mut socket = open_socket(api).await?;
    let mut subscribe = json!({"type": "subscribe", "chatId": conversation});
    if let Some(position) = position.as_ref() {
        subscribe["since"] = json!(position);
    }
    socket.send(Message::text(subscribe.to_string())).await.map_err(|_| Broken)?;
    let mut refused = false;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let frame: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        if frame["type"] == "subscribed" {
            shared.count_resume();
        }
        refused |= frame["code"] == "bad_cursor";
        if let Some(seen) = read_frame(&frame, refused) {
            shared.push(conversation, seen);
        }
        if let Some(seq) = frame["seq"].as_str() {
            *position = Some(seq.to_owned());
        }
    }
    Err(Broken)
}

/// What a frame shows; `None` for those that do not belong to the log.
fn read_frame(frame: &Value, refused: bool) -> Option<Seen> {
    let cursor = || frame["seq"].as_str().map(str::to_owned);
    let fact = match frame["type"].as_str()? {
        "history" => {
            let rows = frame["messages"].as_array()?.iter().filter(|row| row["role"] == "assistant");
            let rows = rows.map(|row| (hex(&row["id"]), row["content"].as_str().unwrap_or_default().to_owned())).collect();
            let turn = frame["turn"]["turnId"].as_str().map(str::to_owned);
            return Some(Seen::Snapshot(Snapshot { refused, turn, text: String::new(), rows }));
        }
        "subscribed" => return Some(Seen::Resumed),
        "assistant_message" => {
            let text = frame["content"].as_str().unwrap_or_default().to_owned();
            return Some(match cursor() {
                Some(cursor) => Seen::Text { row: Some(hex(&frame["messageId"])), text, cursor },
                None => Seen::Strange(format!("a piece of text without a position: {text}")),
            });
        }
        "user_message" => Fact::Said(hex(&frame["messageId"])),
        "turn_started" => Fact::Started(hex(&frame["turnId"])),
        "tool_use" => Fact::Called(name(&frame["toolId"])),
        "tool_result" => Fact::Returned(name(&frame["toolId"])),
        "result" => Fact::Finished(hex(&frame["turnId"])),
        "error" if frame["turnId"].is_string() => Fact::Finished(hex(&frame["turnId"])),
        other @ ("chat_renamed" | "chat_removed") => Fact::Other(other.to_owned()),
        _ => return None,
    };
    Some(match cursor() {
        Some(cursor) => Seen::Fact { fact, cursor: Some(cursor) },
        None => Seen::Strange(format!("a fact without a position: {fact:?}")),
    })
}

/// Everything of a conversation so far, as a socket is told it that has seen nothing yet.
pub async fn whole_socket_log(api: Api, conversation: &str, turns: usize) -> Vec<Seen> {
    let mut socket = open_socket(api).await.expect("the socket opens");
    let subscribe = json!({"type": "subscribe", "chatId": conversation, "since": "0"});
    socket.send(Message::text(subscribe.to_string())).await.expect("the server reads");
    let mut seen = Vec::new();
    let reading = async {
        while ends(&seen) < turns {
            let Some(Ok(message)) = socket.next().await else { panic!("the log breaks off") };
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap_or_default();
            seen.extend(read_frame(&frame, frame["code"] == "bad_cursor"));
        }
    };
    let _ = timeout(PATIENCE, reading).await;
    seen
}

impl Api {
    /// The position of the end of the log; `None` while a turn runs.
    async fn conversation_end(&self, conversation: &str) -> Option<String> {
        let target = format!("/api/sessions/{}/events", dashed(conversation));
        let mut events = Events::open(*self, &target, None).await.expect("the server answers");
        timeout(QUIET, events.next()).await.ok().flatten().and_then(|connected| connected.id)
    }
}

fn name(id: &Value) -> String {
    id.as_str().unwrap_or_default().to_owned()
}

/// A panic elsewhere leaves nothing half done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
