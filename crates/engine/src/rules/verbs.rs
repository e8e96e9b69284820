//! What faces call: each asks for the right first.

use std::sync::Arc;

use domain::{Principal, Rule, RuleRun, RuleVersion, RunId};
use tokio::sync::broadcast;

use super::{
    Answer, DataSetView, NewVersion, Query, QueryRows, Registered, RuleNews, RuleView, RunRule, Started, VersionRefusal, decide,
    read, start, work,
};
use crate::access::runs_rules;
use crate::{Engine, Result};

impl Engine {
    /// Takes a rule in. When this returns, the run is on disk, and goes on whatever happens to whoever asked.
    ///
    /// # Errors
    /// [`Error::Forbidden`](crate::Error::Forbidden), or the database's; all else is the run's own answer.
    pub async fn run_rule(&self, who: Principal, wish: RunRule, with_progress: bool) -> Result<Started> {
        runs_rules(who)?;
        start::start(self, who, wish, with_progress).await
    }

    /// Stops a run of this account that waits or runs: by its id, or by the name that the client gave it.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound).
    pub fn cancel_rule(&self, who: Principal, name: &str) -> Result<()> {
        runs_rules(who)?;
        work::cancel(self, who.account(), name)
    }

    /// The same, if it may run on another node, which is asked to stop it. It may not hear of it.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound), or the database's.
    pub async fn cancel_rule_anywhere(&self, who: Principal, name: &str) -> Result<()> {
        match self.cancel_rule(who, name) {
            Err(crate::Error::NotFound) if !self.inner.lease.is_alone() => super::nodes::cancel(self, who.account(), name).await,
            done => done,
        }
    }

    /// Every stored result from now on.
    ///
    /// # Errors
    /// [`Error::Forbidden`](crate::Error::Forbidden).
    pub fn follow_rules(&self, who: Principal) -> Result<broadcast::Receiver<RuleNews>> {
        runs_rules(who)?;
        Ok(self.inner.rules.follow())
    }

    /// All rules, those of the file first; with `words`, those in which they occur.
    ///
    /// # Errors
    /// [`Error::Forbidden`](crate::Error::Forbidden), or the database's.
    pub async fn rules(&self, who: Principal, words: Option<String>) -> Result<Vec<RuleView>> {
        runs_rules(who)?;
        read::all(self, words).await
    }

    /// The rule of that code or slug.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound).
    pub async fn rule(&self, who: Principal, name: &str) -> Result<RuleView> {
        runs_rules(who)?;
        read::one(self, name).await
    }

    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound).
    pub async fn rule_versions(&self, who: Principal, name: &str) -> Result<Vec<RuleVersion>> {
        runs_rules(who)?;
        read::versions(self, name).await
    }

    /// Checks a query that a person wrote for a rule, and keeps it as a version.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound), [`Error::Forbidden`](crate::Error::Forbidden). The inner error says why it
    /// is refused.
    pub async fn new_rule_version(
        &self,
        who: Principal,
        name: &str,
        new: NewVersion,
    ) -> Result<Result<RuleVersion, VersionRefusal>> {
        runs_rules(who)?;
        decide::new_version(self, who, name, new).await
    }

    /// Approves a version by its hash, runs it, and stores its rows.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound), [`Error::Forbidden`](crate::Error::Forbidden).
    pub async fn approve_rule(
        &self,
        who: Principal,
        name: &str,
        version: i64,
        hash: String,
    ) -> Result<Result<RuleRun, VersionRefusal>> {
        decide::approve(self, who, name, version, hash).await
    }

    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound), [`Error::Forbidden`](crate::Error::Forbidden).
    pub async fn reject_rule(
        &self,
        who: Principal,
        name: &str,
        version: i64,
        hash: String,
    ) -> Result<Result<RuleVersion, VersionRefusal>> {
        decide::reject(self, who, name, version, hash).await
    }

    /// Runs the newest approved version again, without a model.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound), [`Error::Forbidden`](crate::Error::Forbidden).
    pub async fn refresh_rule(&self, who: Principal, name: &str) -> Result<Result<RuleRun, VersionRefusal>> {
        runs_rules(who)?;
        decide::refresh(self, who, name).await
    }

    /// Removes a rule with its versions, runs, tables and view.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound), [`Error::Forbidden`](crate::Error::Forbidden).
    pub async fn delete_rule(&self, who: Principal, name: &str) -> Result<()> {
        runs_rules(who)?;
        decide::delete(self, who, name).await
    }

    /// The newest runs of a rule.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound).
    pub async fn rule_runs(&self, who: Principal, name: &str, limit: u32) -> Result<Vec<(RuleRun, Rule)>> {
        runs_rules(who)?;
        read::runs(self, name, limit).await
    }

    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound).
    pub async fn rule_run(&self, who: Principal, id: RunId) -> Result<(RuleRun, Rule)> {
        runs_rules(who)?;
        read::run(self, id).await
    }

    /// The terminal answer of a run, if it has one.
    #[must_use]
    pub fn answer_of(run: &RuleRun) -> Option<Arc<Answer>> {
        work::read_answer(run)
    }

    /// The rules that have stored rows, the oldest first.
    ///
    /// # Errors
    /// [`Error::Forbidden`](crate::Error::Forbidden), or the database's.
    pub async fn registered_rules(&self, who: Principal) -> Result<Vec<Registered>> {
        runs_rules(who)?;
        read::registry(self).await
    }

    /// What the model is told of the data set. The inner error says why it is not available.
    ///
    /// # Errors
    /// [`Error::Forbidden`](crate::Error::Forbidden).
    pub async fn data_set(&self, who: Principal) -> Result<Result<DataSetView, String>> {
        runs_rules(who)?;
        Ok(read::data_set(self).await)
    }

    /// Rows of a result, or of a relation that may be read. The inner error says why the data set is not available.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound).
    pub async fn query(&self, who: Principal, query: Query) -> Result<Result<QueryRows, String>> {
        runs_rules(who)?;
        super::query::open(self, query).await
    }
}
