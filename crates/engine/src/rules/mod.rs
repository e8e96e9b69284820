//! Rules: a sentence in plain language becomes one checked query, and its rows a table with a stable name.
//!
//! `start.rs` takes a rule in and knows a repeat; `work.rs` is the way from there to an answer (`ask.rs`, `context.rs`, and the
//! guard in `store::dataset`); `keep.rs` stores rows; `decide.rs` approves; `nodes.rs` is about several nodes; `read.rs` shows what there is; `file.rs` reads the
//! rules file, `source.rs` the data set as it is now.

mod ask;
mod context;
mod decide;
mod file;
mod keep;
mod names;
mod nodes;
mod outcome;
mod query;
mod read;
mod schedule;
mod source;
mod start;
mod tool;
mod verbs;
mod work;
mod yaml;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use domain::{RuleId, RunId};
use store::PostgresUrl;
use store::dataset::DataSet;
use store::results::Results;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;

pub use decide::{NewVersion, VersionRefusal};
pub use file::{FileRule, RulesFile};
pub use names::slug as rule_slug;
pub use outcome::{Answer, Ended, Made, Refreshed, RuleErrorCode, RuleNews, Stage};
pub use query::{NotRead, Query, QueryRows};
pub use read::{DataSetView, Registered, RuleStatus, RuleView};
pub use start::{RunRule, Started};
pub use yaml::FileError;

pub(crate) use nodes::{listen, take_up};
pub(crate) use schedule::{RefreshRule, spawn as spawn_schedule};
pub(crate) use tool::AskData;

/// Rules of one data set that run at once, by the contract.
const AT_ONCE: usize = 4;
/// Rules that wait for a place, by the contract.
const MAX_WAITING: usize = 50;
/// News that a slow follower may be behind. One that is further behind reads the registry.
const NEWS: usize = 256;

/// Where the data of the rules is, and what is said about it.
#[derive(Debug, Clone)]
pub struct RulesSetup {
    pub data: RulesData,
    /// Where the rules file is, and what it said at the start.
    pub file: Option<(PathBuf, RulesFile)>,
    pub results: RulesResults,
}

/// Where results are kept.
#[derive(Debug, Clone)]
pub enum RulesResults {
    File(PathBuf),
    /// In a schema beside the server's own, which every node sees.
    Postgres(Box<PostgresUrl>),
}

#[derive(Debug, Clone)]
pub enum RulesData {
    /// The sample data set, written to this file at first use.
    Sample(PathBuf),
    Own(DataSet),
}

impl RulesSetup {
    /// The sample data set and its results, in files of this directory.
    #[must_use]
    pub fn sample(directory: &std::path::Path) -> Self {
        Self {
            data: RulesData::Sample(directory.join("sample.db")),
            file: None,
            results: RulesResults::File(directory.join("results.db")),
        }
    }
}

/// The rules of this server.
pub(crate) struct Rules {
    setup: RulesSetup,
    source: source::Cache,
    results: tokio::sync::OnceCell<Results>,
    places: Semaphore,
    active: Mutex<HashMap<RunId, Active>>,
    news: broadcast::Sender<RuleNews>,
    /// One load, one decision and one removal at a time touch the tables of results.
    keeping: tokio::sync::Mutex<()>,
    /// Runs of one rule never overlap, by the contract: whoever runs it, or removes it, holds its turn.
    turns: Mutex<HashMap<RuleId, Weak<tokio::sync::Mutex<()>>>>,
}

/// A run that has not ended.
struct Active {
    cancel: CancellationToken,
    answer: watch::Receiver<Option<Arc<Answer>>>,
    rule: RuleId,
    account: domain::AccountId,
    rule_id: Option<String>,
    waiting: bool,
}

impl Rules {
    pub(crate) fn new(setup: RulesSetup) -> Self {
        Self {
            source: source::Cache::new(setup.file.as_ref().map(|(_, file)| file.clone())),
            setup,
            results: tokio::sync::OnceCell::new(),
            places: Semaphore::new(AT_ONCE),
            active: Mutex::default(),
            news: broadcast::Sender::new(NEWS),
            keeping: tokio::sync::Mutex::new(()),
            turns: Mutex::default(),
        }
    }

    /// Everything that is stored from now on.
    pub(crate) fn follow(&self) -> broadcast::Receiver<RuleNews> {
        self.news.subscribe()
    }

    /// The results store, opened at first use.
    async fn results(&self) -> crate::Result<&Results> {
        let place = self.setup.results.clone();
        let open = async || {
            let opened = tokio::task::spawn_blocking(move || match place {
                RulesResults::File(path) => Results::in_file(&path),
                RulesResults::Postgres(url) => Results::in_postgres(&url),
            });
            let opened = opened.await;
            opened.map_err(|error| crate::Error::Internal(error.to_string()))?.map_err(crate::Error::from)
        };
        self.results.get_or_try_init(open).await
    }

    /// Does something with the results where blocking is allowed.
    async fn with_results<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Results) -> Result<T, store::StoreError> + Send + 'static,
    ) -> crate::Result<T> {
        let results = self.results().await?.clone();
        let done = tokio::task::spawn_blocking(move || work(&results)).await;
        Ok(done.map_err(|error| crate::Error::Internal(error.to_string()))??)
    }

    /// What one run of this rule at a time holds.
    fn turn_of(&self, rule: RuleId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&rule).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(rule, Arc::downgrade(&turn));
        turn
    }

    fn active(&self) -> MutexGuard<'_, HashMap<RunId, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
