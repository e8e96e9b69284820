//! An engine whose jobs do what a test has written down for them, and whose clock a test turns.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{AccountId, Clock, Job, JobState, ModelName, Principal, Timestamp};
use engine::jobs::{Attempt, BackOff, Completed, JobError, Kinds, Policy, Queue, Work};
use engine::{Catalogue, Engine, Error, HubSettings, Parts, RulesSetup, Settings};
use models::{Demo, DemoPace};
use serde::{Deserialize, Serialize};
use store::request_keys::{self, Remembered};
use store::{DatabaseUrl, Store, StoreError, Tx};

/// Far more than anything here takes on a machine with other work.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const AT_ONCE: u32 = 3;

/// What one attempt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    Complete,
    Retry,
    RetryAfter(u64),
    Fail,
    Panic,
    /// Never ends by itself.
    Hang,
    Take(u64),
}

/// A job of a test: attempt number n does step number n, or the last one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Act {
    pub world: String,
    pub name: String,
    pub lane: Option<String>,
    pub steps: Vec<Step>,
}

/// What the jobs of a world have done so far: `begin NAME ATTEMPT`, `end NAME ATTEMPT`.
static DIARY: Mutex<Option<HashMap<String, Vec<String>>>> = Mutex::new(None);

fn note(world: &str, line: String) {
    let mut diary = DIARY.lock().unwrap_or_else(PoisonError::into_inner);
    diary.get_or_insert_default().entry(world.to_owned()).or_default().push(line);
}

#[async_trait]
impl Work for Act {
    const KIND: &'static str = "act";
    const POLICY: Policy = Policy { back_off: BackOff(&[1000, 60_000]), at_once: AT_ONCE, time_limit_ms: 60_000, lease_ms: 600 };

    fn lane(&self) -> Option<String> {
        self.lane.clone()
    }

    async fn run(self, attempt: &Attempt) -> Result<Completed, JobError> {
        let number = attempt.number();
        note(&self.world, format!("begin {} {number}", self.name));
        let step = self.steps[(number as usize - 1).min(self.steps.len() - 1)];
        match step {
            Step::Complete => {}
            Step::Retry => return Err(JobError::retry("Not yet.")),
            Step::RetryAfter(ms) => return Err(JobError::Retry { reason: "Not yet.".to_owned(), after_ms: Some(ms) }),
            Step::Fail => return Err(JobError::fail("Never.")),
            Step::Panic => panic!("planted"),
            Step::Hang => std::future::pending().await,
            Step::Take(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
        let name = self.name.clone();
        let done = attempt.complete(move |tx| Ok(mark(tx, &name)?)).await?;
        note(&self.world, format!("end {} {number}", self.name));
        Ok(done)
    }
}

/// The effect of a job: a second time it would be refused.
fn mark(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    let remembered = Remembered { fingerprint: String::new(), answer: String::new() };
    request_keys::insert(tx, AccountId::OWNER, name, &remembered, Timestamp(0))
}

/// A clock that stands still until it is turned.
#[derive(Debug, Clone)]
pub struct Hand(Arc<AtomicI64>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

pub struct World {
    pub name: String,
    pub engine: Engine,
    pub store: Store,
    pub clock: Hand,
    directory: std::path::PathBuf,
}

impl World {
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
        let clock = Hand(Arc::new(AtomicI64::new(1_000_000_000_000)));
        Self {
            name: directory.to_string_lossy().into_owned(),
            engine: engine(store.clone(), clock.clone(), directory).await,
            store,
            clock,
            directory: directory.to_owned(),
        }
    }

    /// Another node on the same database.
    pub async fn another_engine(&self) -> Engine {
        engine(self.store.clone(), self.clock.clone(), &self.directory).await
    }

    pub fn turn_clock(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
        self.engine.wake_jobs();
    }

    pub fn act(&self, name: &str, lane: Option<&str>, steps: &[Step]) -> Act {
        Act { world: self.name.clone(), name: name.to_owned(), lane: lane.map(str::to_owned), steps: steps.to_vec() }
    }

    pub async fn enqueue(&self, name: &str, lane: Option<&str>, steps: &[Step]) {
        let act = self.act(name, lane, steps);
        self.write(move |tx, queue| queue.enqueue(tx, &act, queue.now(), None).map(|_| ())).await;
    }

    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx, &Queue) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> T {
        let queue = self.engine.queue();
        self.store.write(move |tx| work(tx, &queue)).await.expect("a transaction")
    }

    pub fn diary(&self) -> Vec<String> {
        let diary = DIARY.lock().unwrap_or_else(PoisonError::into_inner);
        diary.as_ref().and_then(|diary| diary.get(&self.name)).cloned().unwrap_or_default()
    }

    pub async fn until(&self, what: &str, enough: impl AsyncFn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !enough(self).await {
            let jobs = self.all_jobs().await;
            assert!(tokio::time::Instant::now() < deadline, "{what}: {:?} {jobs:#?}", self.diary());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until this line is in the diary.
    pub async fn read(&self, line: &str) {
        self.until(line, async |world| world.diary().iter().any(|written| written == line)).await;
    }

    pub async fn jobs(&self, state: JobState) -> Vec<Job> {
        self.engine.jobs(Principal::Owner, state, 1000).await.expect("the jobs")
    }

    /// Waits until this many jobs are in this state.
    pub async fn has(&self, state: JobState, count: usize) {
        self.until(&format!("{count} {state:?}"), async |world| world.jobs(state).await.len() == count).await;
    }

    pub async fn marks(&self) -> i64 {
        let count = |tx: &mut Tx| tx.query_one("SELECT count(*) FROM request_key", &[])?.map_or(Ok(0), |row| row.get(0));
        self.store.read::<_, StoreError>(count).await.expect("a count")
    }

    /// Every test world ends here: a job that nobody has expected is a failure.
    pub async fn close(self) {
        self.until("a job is left over", async |world| world.all_jobs().await.is_empty()).await;
        self.engine.drain(1000).await;
    }

    async fn all_jobs(&self) -> Vec<Job> {
        let mut all = Vec::new();
        for state in JobState::ALL {
            all.extend(self.jobs(state).await);
        }
        all
    }
}

async fn engine(store: Store, clock: Hand, directory: &Path) -> Engine {
    let demo = ModelName::new("demo", "demo");
    let catalogue = Catalogue::new(vec![Arc::new(Demo::new(DemoPace::AT_ONCE))], Vec::new(), demo);
    let hub = HubSettings::new([0; 32]);
    let settings = Settings {
        workdir: directory.to_owned(),
        data_dir: None,
        projects: Vec::new(),
        owner_token_hash: String::new(),
        hub,
        rules: RulesSetup::sample(directory),
    };
    let parts = Parts { store, clock: Arc::new(clock), catalogue, settings };
    let started: Result<_, Error> = Engine::start_with(parts, Kinds::default().with::<Act>()).await;
    started.expect("the engine starts")
}
