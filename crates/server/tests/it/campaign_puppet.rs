//! An engine in this process whose model says what the test tells it to, at the moment when the test says so.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::sockets::language_model::{ModelError, ModelErrorKind, ModelEvent, ModelRequest, ModelStream, StopReason};
use domain::sockets::tool::{Effect, ToolContext, ToolError, ToolReply, ToolSpec};
use domain::{
    ConversationId, Cursor, Event, EventKind, LanguageModel, Mode, ModelName, Outcome, PartBody, PartId, Principal, Provider,
    SystemClock, Tool, TurnId, Usage,
};
use engine::jobs::Kinds;
use engine::{
    Catalogue, Engine, From, HubSettings, NewConversation, Nodes, Parts, Post, Posted, RulesSetup, Settings, TitleRule, What,
    WhenBusy,
};
use futures_util::stream;
use serde_json::{Map, Value};
use store::{DatabaseUrl, Store};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

pub const OWNER: Principal = Principal::Owner;
/// Nothing that works takes longer, not even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One request of the engine, and the way to answer it. Dropping it leaves the model silent for ever.
#[derive(Debug)]
pub struct Asked {
    pub request: ModelRequest,
    say: mpsc::UnboundedSender<Cue>,
}

#[derive(Debug)]
enum Cue {
    Say(Result<ModelEvent, ModelError>),
    Panic,
}

impl Asked {
    /// `false`: nobody listens any more.
    pub fn say(&self, event: ModelEvent) -> bool {
        self.say.send(Cue::Say(Ok(event))).is_ok()
    }

    pub fn text(&self, piece: &str) -> bool {
        self.say(ModelEvent::Text(piece.to_owned()))
    }

    pub fn call(&self, id: &str, name: &str) -> bool {
        self.say(ModelEvent::ToolCall { id: id.to_owned(), name: name.to_owned(), input: Map::new() })
    }

    pub fn finish(&self) {
        self.say(ModelEvent::Finished(StopReason::EndTurn));
    }

    /// The provider is overloaded, and says how long.
    pub fn fail(&self, retry_after_ms: u64) {
        let (kind, sentence) = (ModelErrorKind::Unavailable, "Overloaded.".to_owned());
        let error = ModelError { kind, sentence, retryable: true, retry_after_ms: Some(retry_after_ms) };
        let _ = self.say.send(Cue::Say(Err(error)));
    }

    pub fn break_down(&self) {
        let _ = self.say.send(Cue::Panic);
    }
}

/// The provider of the one model there is.
#[derive(Debug, Clone)]
struct Puppet(mpsc::UnboundedSender<Asked>);

#[async_trait]
impl LanguageModel for Puppet {
    fn name(&self) -> &ModelName {
        static NAME: std::sync::OnceLock<ModelName> = std::sync::OnceLock::new();
        NAME.get_or_init(|| ModelName::new("puppet", "puppet"))
    }

    fn context_window(&self) -> u64 {
        200_000
    }

    fn cost(&self, _: &Usage) -> Option<f64> {
        None
    }

    async fn ask(&self, request: ModelRequest) -> Result<ModelStream, ModelError> {
        let (say, said) = mpsc::unbounded_channel();
        let _ = self.0.send(Asked { request, say });
        Ok(Box::pin(stream::unfold(said, |mut said| async move {
            match said.recv().await {
                Some(Cue::Say(event)) => Some((event, said)),
                Some(Cue::Panic) => panic!("the model breaks down, as the test told it to"),
                None => std::future::pending().await,
            }
        })))
    }
}

#[async_trait]
impl Provider for Puppet {
    fn name(&self) -> &str {
        "puppet"
    }

    fn display_name(&self) -> &str {
        "Puppet"
    }

    fn is_configured(&self) -> bool {
        true
    }

    fn listed_models(&self) -> Vec<String> {
        vec!["puppet".to_owned()]
    }

    fn list_is_closed(&self) -> bool {
        true
    }

    fn masked_key(&self) -> Option<String> {
        None
    }

    async fn live_models(&self) -> Result<Vec<String>, ModelError> {
        Ok(self.listed_models())
    }

    async fn check_key(&self, _: &str) -> Result<(), ModelError> {
        Ok(())
    }

    fn model(&self, _: &str) -> Option<Arc<dyn LanguageModel>> {
        Some(Arc::new(self.clone()))
    }
}

/// A tool that waits until the test opens the gate.
struct Gate {
    spec: ToolSpec,
    open: Arc<Notify>,
}

impl Gate {
    fn new(open: Arc<Notify>) -> Self {
        let spec = ToolSpec {
            name: "gate".to_owned(),
            description: "Waits.".to_owned(),
            input_schema: Value::Object(Map::new()),
            effect: Effect::Pure,
            modes: vec![Mode::Ask, Mode::Plan, Mode::Build],
        };
        Self { spec, open }
    }
}

#[async_trait]
impl Tool for Gate {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, context: ToolContext, _: Map<String, Value>) -> Result<ToolReply, ToolError> {
        tokio::select! {
            () = self.open.notified() => Ok(ToolReply { output: "open".to_owned(), truncated: false }),
            () = context.cancel.cancelled() => Err(ToolError("cancelled".to_owned())),
        }
    }
}

/// The engine, and what pulls the strings.
pub struct Theatre {
    pub engine: Engine,
    asked: mpsc::UnboundedReceiver<Asked>,
    /// Lets one waiting call of the tool `gate` end.
    pub gate: Arc<Notify>,
}

impl Theatre {
    /// On a database in this directory, as an earlier engine may have left it.
    pub async fn open(directory: &Path) -> Self {
        let url = DatabaseUrl::Sqlite(directory.join("test.db"));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let store = loop {
            match Store::open(&url) {
                Ok(store) => break store,
                // The engine before this one lets go of it when its last task has ended.
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Self::on(store, directory).await
    }

    pub async fn on(store: Store, directory: &Path) -> Self {
        Self::beside(store, directory, Nodes::default()).await
    }

    /// With other engines on the same database.
    pub async fn beside(store: Store, directory: &Path, nodes: Nodes) -> Self {
        let (ask, asked) = mpsc::unbounded_channel();
        let gate = Arc::new(Notify::new());
        let catalogue = Catalogue::new(
            vec![Arc::new(Puppet(ask))],
            vec![Arc::new(Gate::new(Arc::clone(&gate)))],
            ModelName::new("puppet", "puppet"),
        );
        let hub = HubSettings::new([0; 32]);
        let settings = Settings {
            workdir: directory.to_owned(),
            data_dir: None,
            projects: Vec::new(),
            owner_token_hash: String::new(),
            hub,
            rules: RulesSetup::sample(directory),
        };
        let parts = Parts { store, clock: Arc::new(SystemClock), catalogue, settings };
        let engine = Engine::start_among(parts, Kinds::ours(), nodes).await.expect("the engine starts");
        Self { engine, asked, gate }
    }

    pub async fn conversation(&self) -> ConversationId {
        let new = NewConversation { title: "a talk".to_owned(), model: None, mode: Mode::Build, workdir: None };
        self.engine.create_conversation(OWNER, new, None).await.expect("a conversation").id
    }

    /// The next request to the model.
    pub async fn asked(&mut self) -> Asked {
        timeout(PATIENCE, self.asked.recv()).await.expect("the model is asked in time").expect("an engine")
    }

    /// The next request, if it comes within this time.
    pub async fn asked_within(&mut self, patience: Duration) -> Option<Asked> {
        timeout(patience, self.asked.recv()).await.ok().flatten()
    }

    pub async fn post(&self, id: ConversationId, text: &str, when_busy: WhenBusy) -> Posted {
        self.engine.post_message(OWNER, post(id, text, when_busy)).await.expect("the message is stored")
    }

    /// Every fact of the log so far.
    pub async fn log(&self, id: ConversationId) -> Vec<Event> {
        let end = self.engine.follow(OWNER, id, From::Now).await.expect("a conversation").cursor.seq;
        let mut follow = self.engine.follow(OWNER, id, From::Cursor(Cursor::START)).await.expect("a conversation").follow;
        let mut facts: Vec<Event> = Vec::new();
        while facts.last().is_none_or(|last| last.seq < end) {
            let entries = timeout(PATIENCE, follow.next()).await.expect("in time").expect("a log").expect("no end");
            facts.extend(entries.iter().filter_map(|entry| match &entry.what {
                What::Fact(fact) => Some(fact.clone()),
                What::Delta(_) => None,
            }));
        }
        facts
    }

    /// Waits until a turn has ended, and says how.
    pub async fn outcome(&self, id: ConversationId, turn: TurnId) -> Outcome {
        let mut follow = self.engine.follow(OWNER, id, From::Cursor(Cursor::START)).await.expect("a conversation").follow;
        let ended = async {
            loop {
                for entry in follow.next().await.expect("a log").expect("no end") {
                    if let What::Fact(Event { turn: Some(of), kind: EventKind::TurnFinished { outcome, .. }, .. }) = &entry.what
                        && *of == turn
                    {
                        return outcome.clone();
                    }
                }
            }
        };
        timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("the turn {turn} is stuck"))
    }

    /// Answers whatever is asked until nothing runs and nothing waits.
    pub async fn settle(&mut self, id: ConversationId) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.log(id).await.iter().fold(0, |open, fact| open + change_of_open_turns(fact)) != 0 {
            assert!(tokio::time::Instant::now() < deadline, "a turn is stuck");
            if let Some(asked) = self.asked_within(Duration::from_millis(2)).await {
                asked.text("yes");
                asked.finish();
            }
        }
    }
}

fn change_of_open_turns(fact: &Event) -> i32 {
    match &fact.kind {
        EventKind::MessageAdded { steered: false, .. } => 1,
        EventKind::TurnFinished { .. } => -1,
        _ => 0,
    }
}

pub fn post(conversation: ConversationId, text: &str, when_busy: WhenBusy) -> Post {
    Post {
        conversation,
        text: text.to_owned(),
        client_id: None,
        mode: None,
        workdir: None,
        when_busy,
        title_rule: TitleRule::FirstLine,
    }
}

/// The texts and thoughts of a log that are whole, in the order in which they became so.
pub fn stored_parts(log: &[Event]) -> Vec<(PartId, String)> {
    log.iter()
        .filter_map(|fact| match &fact.kind {
            EventKind::PartCompleted { part } => part.body.text().map(|text| (part.id, text.to_owned())),
            _ => None,
        })
        .collect()
}

/// The results of a log's tool calls, with their call's id.
pub fn results(log: &[Event]) -> Vec<String> {
    log.iter()
        .filter_map(|fact| match &fact.kind {
            EventKind::ToolReturned { part } => match &part.body {
                PartBody::ToolResult(result) => Some(result.call_id.clone()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// What a follower saw: its facts, and its deltas put together.
#[derive(Debug, Default)]
pub struct Seen {
    pub facts: Vec<Event>,
    pub texts: Vec<(PartId, String)>,
    /// The position reached.
    pub cursor: Cursor,
}

impl Seen {
    /// Takes entries as a follower gets them. Panics where a delta does not fit what came before.
    pub fn take(&mut self, entries: &[Arc<engine::Entry>]) {
        for entry in entries {
            self.cursor = entry.cursor;
            match &entry.what {
                What::Fact(fact) => {
                    if let Some(last) = self.facts.last() {
                        assert_eq!(fact.seq.0, last.seq.0 + 1, "a gap or a repeat in the facts");
                    }
                    self.facts.push(fact.clone());
                }
                What::Delta(delta) => self.append(delta.part, delta.offset, &delta.text),
            }
        }
    }

    pub fn append(&mut self, part: PartId, offset: usize, text: &str) {
        if self.texts.last().is_none_or(|(last, _)| *last != part) {
            self.texts.push((part, String::new()));
        }
        let (_, so_far) = self.texts.last_mut().expect("just pushed");
        assert_eq!(offset, so_far.len(), "a gap or a repeat in the text of {part}");
        so_far.push_str(text);
    }
}

/// Collects what a follower sees from here on, until it is told to stop.
pub struct Watcher {
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Watcher {
    pub fn new(mut follow: engine::Follow, start: Seen) -> Self {
        let seen = Arc::new(Mutex::new(start));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok(Some(entries)) = follow.next().await {
                shared.lock().unwrap_or_else(PoisonError::into_inner).take(&entries);
            }
        });
        Self { seen, task }
    }

    pub async fn follow(theatre: &Theatre, id: ConversationId) -> Self {
        let opened = theatre.engine.follow(OWNER, id, From::Now).await.expect("a conversation");
        let mut start = Seen { cursor: opened.cursor, ..Seen::default() };
        if let Some(open) = &opened.open {
            start.append(open.part, 0, &open.text);
        }
        Self::new(opened.follow, start)
    }

    /// Waits until `enough` is seen.
    pub async fn until(&self, enough: impl Fn(&Seen) -> bool) {
        let waiting = async {
            while !self.look(&enough) {
                assert!(!self.task.is_finished(), "the follower has ended");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("it is seen in time");
    }

    pub fn look<T>(&self, at: impl Fn(&Seen) -> T) -> T {
        at(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn stop(self) -> Seen {
        self.task.abort();
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Pieces that cannot be mistaken for one another, with characters of every length.
pub fn pieces(tag: &str, count: usize) -> VecDeque<String> {
    (0..count).map(|number| format!("{tag}{number}é漢😀 ")).collect()
}
