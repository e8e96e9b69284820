//! What the product does. [`Engine`] has the verbs that every face calls, a folder for each noun and a file for each verb.
//!
//! "What happens when a message arrives?" is answered by `messages/post.rs`, and from there by `turns/run.rs`.

mod access;
mod accounts;
mod agents;
mod audiences;
mod catalogue;
mod conversations;
mod error;
mod events;
mod hub;
pub mod jobs;
mod messages;
mod nodes;
mod outside;
mod projects;
mod questions;
mod refused;
mod request_key;
mod rules;
mod seal;
mod turns;

use std::sync::Arc;

use domain::sockets::tool::ToolReply;
use domain::{
    Clock, Conversation, ConversationId, Cursor, Home, Job, JobId, JobState, LanguageModel, Principal, Project, ProjectName,
    Question, QuestionId, TurnId,
};
use store::Store;

pub use accounts::{
    AccountChange, Cookie, MAX_PASSWORD_BYTES, NewAccount, PersonalToken, Proven, Secret, Session, SignInCode, TokenView,
};
pub use catalogue::{Catalogue, ProviderView};
pub use conversations::{Change, ImportedMessage, NewConversation, Paging, SearchHit, TITLES_TO_REPLACE};
pub use error::{Error, Result};
pub use events::{Entry, Feed, Follow, From, OpenPart, Opened, RunningTurn, SLOTS, What};
pub use hub::{
    Activity, AgentChange, AgentToken, CannedChange, ChannelChange, ChatAct, ChatFilter, ChatPost, ContactView, Draft,
    FileReader, HubEntry, HubFeed, HubNews, Knock, MessagePage, NewAgent, NotReceived, NotePage, OutboxPart, OutboxState, Passed,
    Permission, Received, SendTest, StoredFile, Taken, Tested, TokenRef, window_of,
};
pub use messages::{Answering, Post, Posted, Row, TitleRule, Transcript, TranscriptMessage, WhenBusy};
pub use nodes::{Nodes, Sharing};
pub use outside::Outside;
pub use projects::{NewProjectConversation, ProjectConversation, ProjectDetail, ProjectPaging, ProjectRow, RowBody, Said};
pub use questions::Reply;
pub use refused::{Refused, RefusedKind};
pub use request_key::RequestKey;
pub use rules::{
    Answer, DataSetView, Ended, FileError, FileRule, Made, NewVersion, NotRead, Query, QueryRows, Refreshed, Registered,
    RuleErrorCode, RuleNews, RuleStatus, RuleView, RulesData, RulesFile, RulesResults, RulesSetup, RunRule, Stage, Started,
    VersionRefusal, rule_slug,
};
pub use seal::SEAL_KEY_BYTES;
pub use store::dataset::{BadAddress, Cell, CellType, DataSet, Limits, PostgresSet, ResultColumn, SqliteSet};
pub use store::rules::AuditEntry;
pub use turns::MAX_STEPS;

/// What the engine needs from the floors above and below it.
#[derive(Debug)]
pub struct Parts {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub catalogue: Catalogue,
    pub settings: Settings,
}

/// How the owner set the engine up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory that a conversation's tools work in unless it has one of its own.
    pub workdir: std::path::PathBuf,
    /// Never a working directory: it holds the database and the token.
    pub data_dir: Option<std::path::PathBuf>,
    /// Projects that the settings name.
    pub projects: Vec<Project>,
    /// SHA-256 of the owner's token, in lower-case hex.
    pub owner_token_hash: String,
    pub hub: HubSettings,
    pub rules: RulesSetup,
}

/// What the hub must know of the server around it.
#[derive(Clone)]
pub struct HubSettings {
    /// Encrypts what is stored of credentials.
    pub seal_key: [u8; SEAL_KEY_BYTES],
    /// Everybody on this machine is the owner.
    pub is_sign_in_off: bool,
    /// Others than this machine can reach the server, so passwords must not be guessable.
    pub is_reachable_by_others: bool,
    pub outside: Outside,
    /// Under which address others reach the server.
    pub public_url: Option<String>,
}

impl HubSettings {
    /// For a server that only this machine can reach, and whose users sign in.
    #[must_use]
    pub fn new(seal_key: [u8; SEAL_KEY_BYTES]) -> Self {
        Self { seal_key, is_sign_in_off: false, is_reachable_by_others: false, outside: Outside::closed(), public_url: None }
    }
}

impl std::fmt::Debug for HubSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubSettings").field("is_sign_in_off", &self.is_sign_in_off).finish_non_exhaustive()
    }
}

/// The product's verbs. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
    /// Whose conversations it makes, lists and sees.
    home: Home,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("catalogue", &self.inner.catalogue).finish_non_exhaustive()
    }
}

struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    catalogue: Catalogue,
    /// Answers when a conversation's own model is gone: it says so.
    default_model: Arc<dyn LanguageModel>,
    settings: Settings,
    bus: Arc<events::Bus>,
    lease: nodes::Lease,
    runners: turns::Runners,
    histories: turns::Histories,
    audiences: audiences::Audiences,
    /// Somebody has answered a question for which a turn waits.
    answers: tokio::sync::Notify,
    accounts: accounts::Accounts,
    workers: jobs::Workers,
    rights: access::Rights,
    hub_log: hub::HubLog,
    pace: hub::Pace,
    signs: hub::Signs,
    knocks: hub::Knocks,
    seal: seal::Seal,
    rules: rules::Rules,
}

impl Engine {
    /// Takes up every turn that an earlier run left unfinished: it goes on where that is safe, or ends as interrupted.
    ///
    /// # Errors
    /// The default model is none of the catalogue's; or the database's.
    pub async fn start(parts: Parts) -> Result<Self> {
        Self::start_with(parts, jobs::Kinds::ours()).await
    }

    /// As [`Self::start`], with these kinds of job.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(parts: Parts, kinds: jobs::Kinds) -> Result<Self> {
        Self::start_among(parts, kinds, Nodes::default()).await
    }

    /// As [`Self::start_with`], among these nodes.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_among(mut parts: Parts, kinds: jobs::Kinds, nodes: Nodes) -> Result<Self> {
        let ask_data = Arc::new(rules::AskData::default());
        parts.catalogue.add_tool(Arc::clone(&ask_data) as Arc<dyn domain::Tool>);
        let (bus, orders) = events::Bus::new(parts.store.clone(), Arc::clone(&parts.clock), &nodes.sharing);
        let engine = Self {
            home: Home::Direct,
            inner: Arc::new(Inner {
                bus,
                lease: nodes::Lease::new(nodes.sharing.id()),
                store: parts.store,
                clock: parts.clock,
                default_model: parts.catalogue.model(parts.catalogue.default_model())?,
                catalogue: parts.catalogue,
                runners: turns::Runners::default(),
                histories: turns::Histories::default(),
                audiences: audiences::Audiences::default(),
                answers: tokio::sync::Notify::new(),
                accounts: accounts::Accounts::default(),
                workers: jobs::Workers::new(kinds),
                rights: access::Rights::default(),
                hub_log: hub::HubLog::default(),
                pace: hub::Pace::default(),
                signs: hub::Signs::default(),
                knocks: hub::Knocks::default(),
                seal: seal::Seal::new(&parts.settings.hub.seal_key)?,
                rules: rules::Rules::new(parts.settings.rules.clone()),
                settings: parts.settings,
            }),
        };
        nodes::enter(&engine, &nodes).await?;
        if let Some(orders) = orders {
            nodes::keep(&engine, nodes.address, orders);
        }
        turns::resume_all(&engine).await?;
        ask_data.give(&engine);
        rules::take_up(&engine).await?;
        rules::listen(&engine);
        rules::spawn_schedule(&engine);
        hub::start(&engine).await?;
        jobs::start(&engine).await;
        Ok(engine)
    }

    /// Tells all other nodes that something has changed which is no conversation. They may not hear of it.
    pub fn announce(&self, topic: impl Into<String>) {
        self.inner.bus.announce(topic.into());
    }

    /// What other nodes announce from now on; `None` if there can be no others.
    #[must_use]
    pub fn announcements(&self) -> Option<tokio::sync::broadcast::Receiver<String>> {
        self.inner.bus.announcements()
    }

    /// The same engine, as the API of `home` sees it: with that home's conversations and no others.
    #[must_use]
    pub fn of(&self, home: Home) -> Self {
        Self { inner: Arc::clone(&self.inner), home }
    }

    /// Stops claiming turns and jobs, lets those that run finish until `patience_ms` is over, and stores what is open.
    pub async fn drain(&self, patience_ms: u64) {
        tokio::join!(turns::drain(self, patience_ms), jobs::drain(self, patience_ms));
    }

    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.inner.catalogue
    }

    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    /// Other programs: agents, platforms, and the guarded way to them.
    pub(crate) fn outside(&self) -> &Outside {
        &self.inner.settings.hub.outside
    }

    pub(crate) fn rights(&self) -> access::Rights {
        self.inner.rights.clone()
    }

    // Conversations.

    /// Makes a conversation. A repeat with the same key gives the first one.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::InvalidText`], [`Error::BadWorkdir`], [`Error::UnknownProvider`], [`Error::InvalidModel`].
    pub async fn create_conversation(
        &self,
        who: Principal,
        new: NewConversation,
        key: Option<RequestKey>,
    ) -> Result<Conversation> {
        conversations::create(self, who, new, key).await
    }

    /// Makes a conversation with finished messages in it, with new ids.
    ///
    /// # Errors
    /// As [`Self::create_conversation`].
    pub async fn import_conversation(
        &self,
        who: Principal,
        new: NewConversation,
        messages: Vec<ImportedMessage>,
        key: Option<RequestKey>,
    ) -> Result<Conversation> {
        conversations::import(self, who, new, messages, key).await
    }

    /// # Errors
    /// [`Error::NotFound`].
    pub async fn conversation(&self, who: Principal, id: ConversationId) -> Result<Conversation> {
        conversations::get(self, who, id).await
    }

    /// Those that `who` may see, the one that changed last first.
    ///
    /// # Errors
    /// The database's.
    pub async fn conversations(&self, who: Principal, paging: Paging) -> Result<Vec<Conversation>> {
        conversations::list(self, who, paging).await
    }

    /// # Errors
    /// [`Error::NotFound`], and as [`Self::create_conversation`]. Nothing is changed then.
    pub async fn change_conversation(&self, who: Principal, id: ConversationId, change: Change) -> Result<Conversation> {
        conversations::change(self, who, id, change).await
    }

    /// Cancels what runs (its terminal event is still sent), then removes everything.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_conversation(&self, who: Principal, id: ConversationId) -> Result<()> {
        conversations::delete(self, who, id).await
    }

    /// Text parts in which the words occur, best first.
    ///
    /// # Errors
    /// The database's.
    pub async fn search(&self, who: Principal, words: String, limit: u32) -> Result<Vec<SearchHit>> {
        conversations::search(self, who, words, limit).await
    }

    // Messages and turns.

    /// Stores a message and sees to it that it is answered. When this returns, the message is on disk.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::EmptyMessage`], [`Error::InvalidText`], [`Error::Conflict`], [`Error::Busy`],
    /// [`Error::QueueFull`], [`Error::BadWorkdir`]. Nothing is stored then.
    pub async fn post_message(&self, who: Principal, post: Post) -> Result<Posted> {
        messages::post(self, who, post).await
    }

    /// The same, and everything in the conversation from that message on.
    ///
    /// # Errors
    /// As [`Self::post_message`].
    pub async fn post_and_follow(&self, who: Principal, post: Post) -> Result<(Posted, Follow)> {
        messages::post_and_follow(self, who, post).await
    }

    /// Answers the open choice of a conversation: stores the answer as a message, which starts the next turn. Who posts a
    /// message while a choice is open answers it as well.
    ///
    /// # Errors
    /// [`Error::NoQuestion`]: none is open, or somebody was faster; and as [`Self::post_message`].
    pub async fn answer_question(&self, who: Principal, answering: Answering) -> Result<Posted> {
        messages::answer(self, who, answering).await
    }

    /// What waits for an answer in a conversation, the oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn questions(&self, who: Principal, id: ConversationId) -> Result<Vec<Question>> {
        questions::open(self, who, id).await
    }

    /// Calls of a conversation's tools that were cut off and may have run: each waits for [`Self::answer_unknown`].
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn unknown_calls(&self, who: Principal, id: ConversationId) -> Result<Vec<Question>> {
        questions::unknown_calls(self, who, id).await
    }

    /// Says what comes of a call that may have run: [`domain::Answer::Rerun`], [`domain::Answer::MarkDone`] or
    /// [`domain::Answer::Skip`]. Its turn goes on.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NoQuestion`]: somebody was faster.
    pub async fn answer_unknown(&self, who: Principal, id: QuestionId, answer: domain::Answer) -> Result<Question> {
        questions::answer_unknown(self, who, id, answer).await
    }

    /// The newest `limit` text blocks (before the block or message `before`), oldest first, each as one row.
    ///
    /// # Errors
    /// [`Error::NotFound`]: the conversation, or `before` is not in it.
    pub async fn rows(
        &self,
        who: Principal,
        id: ConversationId,
        before: Option<uuid::Uuid>,
        limit: Option<u32>,
    ) -> Result<Vec<Row>> {
        messages::rows(self, who, id, before, limit).await
    }

    /// The newest `limit` messages (before `before`), oldest first, with all their parts, and the position they stand for.
    ///
    /// # Errors
    /// [`Error::NotFound`]: the conversation, or `before` is not in it.
    pub async fn transcript(
        &self,
        who: Principal,
        id: ConversationId,
        before: Option<uuid::Uuid>,
        limit: Option<u32>,
    ) -> Result<Transcript> {
        messages::transcript(self, who, id, before, limit).await
    }

    /// Ends the running turn (or the given one, which may also wait in the queue). `false`: there was nothing to end.
    /// When this returns, the end is on disk; what the turn has said so far is kept.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`].
    pub async fn cancel(
        &self,
        who: Principal,
        id: ConversationId,
        turn: Option<TurnId>,
        key: Option<RequestKey>,
    ) -> Result<bool> {
        turns::cancel(self, who, id, turn, key).await
    }

    // Jobs.

    /// What it takes to enqueue a job inside a transaction.
    #[must_use]
    pub fn queue(&self) -> jobs::Queue {
        self.inner.workers.queue(Arc::clone(&self.inner.clock))
    }

    /// Looks for due jobs now: for whoever has turned the clock.
    pub fn wake_jobs(&self) {
        self.inner.workers.wake();
    }

    /// The jobs in this state, those that were due last first. For the owner only.
    ///
    /// # Errors
    /// The database's.
    pub async fn jobs(&self, who: Principal, state: JobState, limit: u32) -> Result<Vec<Job>> {
        jobs::jobs(self, who, state, limit).await
    }

    /// Lets a dead job wait again, due now and with all its attempts before it. For the owner only.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is no such dead job.
    pub async fn retry_job(&self, who: Principal, id: JobId) -> Result<Job> {
        jobs::retry_job(self, who, id).await
    }

    // Projects.

    /// The projects that `who` may see, by name. Their directories may be gone.
    ///
    /// # Errors
    /// The database's.
    pub async fn projects(&self, who: Principal) -> Result<Vec<Project>> {
        projects::all(self, who).await
    }

    /// The project, whose directory is there.
    ///
    /// # Errors
    /// [`Error::ProjectNotFound`], [`Error::ProjectGone`].
    pub async fn project(&self, who: Principal, name: &ProjectName) -> Result<Project> {
        projects::find(self, who, name).await
    }

    /// # Errors
    /// [`Error::Forbidden`], [`Error::BadWorkdir`], [`Error::ProjectExists`].
    pub async fn add_project(&self, who: Principal, name: ProjectName, path: &std::path::Path) -> Result<Project> {
        projects::add(self, who, name, path).await
    }

    /// Forgets the registration of a project; the conversations about it stay.
    ///
    /// # Errors
    /// [`Error::Forbidden`], also for a project of the settings; [`Error::ProjectNotFound`].
    pub async fn remove_project(&self, who: Principal, name: ProjectName) -> Result<()> {
        projects::remove(self, who, name).await
    }

    /// A text file of the project, read as its agent reads it. The inner error is a sentence for people.
    ///
    /// # Errors
    /// As [`Self::project`].
    pub async fn project_file(&self, who: Principal, name: &ProjectName, path: String) -> Result<Result<ToolReply, String>> {
        projects::file(self, who, name, path).await
    }

    /// Makes a conversation about a project, together with its greeting. A repeat with the same key gives the first one.
    ///
    /// # Errors
    /// As [`Self::project`]; [`Error::Conflict`], [`Error::InvalidText`].
    pub async fn create_project_conversation(
        &self,
        who: Principal,
        name: &ProjectName,
        new: NewProjectConversation,
        key: Option<RequestKey>,
    ) -> Result<ProjectConversation> {
        projects::create(self, who, name, new, key).await
    }

    /// The conversations about a project, the one that changed last first.
    ///
    /// # Errors
    /// As [`Self::project`]; [`Error::NotFound`]: the one to page from.
    pub async fn project_conversations(
        &self,
        who: Principal,
        name: &ProjectName,
        paging: ProjectPaging,
    ) -> Result<Vec<ProjectConversation>> {
        projects::list(self, who, name, paging).await
    }

    /// # Errors
    /// As [`Self::project`]; [`Error::NotFound`].
    pub async fn project_conversation(&self, who: Principal, name: &ProjectName, number: i64) -> Result<ProjectConversation> {
        projects::by_number(self, who, name, number).await
    }

    /// The number of a conversation about a project; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn project_number(&self, who: Principal, id: ConversationId) -> Result<Option<i64>> {
        projects::number_of(self, who, id).await
    }

    /// A conversation with its whole transcript.
    ///
    /// # Errors
    /// As [`Self::project_conversation`].
    pub async fn project_detail(&self, who: Principal, name: &ProjectName, number: i64) -> Result<ProjectDetail> {
        projects::detail(self, who, name, number).await
    }

    /// The names of the projects in which `who` has a session, sorted.
    ///
    /// # Errors
    /// The database's.
    pub async fn project_sessions(&self, who: Principal) -> Result<Vec<ProjectName>> {
        projects::names(self, who).await
    }

    /// The conversation that `who` last started in the project, whether the project still exists or not.
    ///
    /// # Errors
    /// The database's.
    pub async fn project_session(&self, who: Principal, name: &ProjectName) -> Result<Option<ProjectConversation>> {
        projects::by_session(self, who, name).await
    }

    /// Makes it the conversation that `who` last started in the project.
    ///
    /// # Errors
    /// The database's.
    pub async fn start_project_session(&self, who: Principal, name: &ProjectName, id: ConversationId) -> Result<()> {
        projects::start(self, who, name, id).await
    }

    /// Ends the session, and cancels what runs in its conversation. `false`: there was none.
    ///
    /// # Errors
    /// The database's.
    pub async fn close_project_session(&self, who: Principal, name: &ProjectName) -> Result<bool> {
        projects::close(self, who, name).await
    }

    // Following.

    /// Follows a conversation: what there is at the position, and then everything after it, once, in order.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::BadCursor`] if the position is none of this log.
    pub async fn follow(&self, who: Principal, id: ConversationId, from: From) -> Result<Opened> {
        events::follow(self, who, id, from).await
    }

    /// The rows that stand for exactly the position at which `opened` begins to follow: rows and what follows is everything.
    /// The `bool` says that there are older rows.
    ///
    /// # Errors
    /// The database's.
    pub async fn rows_at(&self, opened: &Opened, limit: u32) -> Result<(Vec<Row>, bool)> {
        messages::rows_at(self, opened, limit).await
    }

    /// Everything that happens from now on in the conversations that `who` may see.
    #[must_use]
    pub fn feed(&self, who: Principal) -> Feed {
        events::feed(self, who)
    }

    /// The position `text` stands for.
    ///
    /// # Errors
    /// [`Error::BadCursor`].
    pub fn parse_cursor(text: &str) -> Result<Cursor> {
        text.parse().map_err(|_| Error::BadCursor)
    }
}

/// An engine that others keep alive.
#[derive(Clone)]
pub(crate) struct WeakEngine(std::sync::Weak<Inner>);

impl WeakEngine {
    pub(crate) fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(|inner| Engine { inner, home: Home::Direct })
    }
}

impl std::fmt::Debug for WeakEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakEngine")
    }
}

impl Engine {
    pub(crate) fn downgrade(&self) -> WeakEngine {
        WeakEngine(Arc::downgrade(&self.inner))
    }
}

/// Does work of several steps to its end, also when the caller is dropped: a request is, whenever its client leaves.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a request broke down");
            Err(Error::Internal("the request broke down".to_owned()))
        }
    }
}
