//! What faces call: each asks for the right first.

use std::sync::Arc;

use domain::{Principal, Rule, RuleRun, RuleVersion, RunId};
use store::rules::{self, AuditEntry};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::{
    Answer, DataSetView, NewVersion, NotRead, Query, QueryRows, Registered, RuleNews, RuleView, RunRule, Started, VersionRefusal,
    decide, read, start, work,
};
use crate::access::{decides_rules, runs_rules};
use crate::{Engine, Result};

impl Engine {
    /// Takes a rule in. When this returns, the run is on disk, and goes on whatever happens to whoever asked; but not before
    /// `after` is cancelled.
    ///
    /// # Errors
    /// [`Error::Forbidden`](crate::Error::Forbidden), or the database's; all else is the run's own answer.
    pub async fn run_rule(
        &self,
        who: Principal,
        wish: RunRule,
        with_progress: bool,
        after: Option<CancellationToken>,
    ) -> Result<Started> {
        runs_rules(who)?;
        start::start(self, who, wish, with_progress, after).await
    }

    /// Stops a run that waits or runs, by its id or by the name that the client gave it: one of this account, or of a rule that
    /// `who` may change. One on another node is asked to stop, and may not hear of it.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound), or the database's.
    pub async fn cancel_rule(&self, who: Principal, name: &str) -> Result<()> {
        runs_rules(who)?;
        super::nodes::cancel(self, who, name).await
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

    /// Approves a version by its hash; the run that stores its rows has begun when this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound), [`Error::Forbidden`](crate::Error::Forbidden).
    pub async fn approve_rule(
        &self,
        who: Principal,
        name: &str,
        version: i64,
        hash: String,
    ) -> Result<Result<Started, VersionRefusal>> {
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

    /// Runs the newest approved version again, without a model; the run has begun when this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound), [`Error::Forbidden`](crate::Error::Forbidden).
    pub async fn refresh_rule(&self, who: Principal, name: &str) -> Result<Result<Started, VersionRefusal>> {
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

    /// What was forbidden, probed, decided, stored or removed: the newest `limit` entries, the newest first.
    ///
    /// # Errors
    /// [`Error::Forbidden`](crate::Error::Forbidden) to whoever may not approve, or the database's.
    pub async fn rule_audit(&self, who: Principal, limit: u32) -> Result<Vec<AuditEntry>> {
        decides_rules(who)?;
        Ok(self.inner.store.read(move |tx| rules::audit_log(tx, limit.into())).await?)
    }

    /// Rows of a result, or of a relation that may be read. The inner error says why none come.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::InvalidValue`](crate::Error::InvalidValue): there is no such column
    /// to order by.
    pub async fn query(&self, who: Principal, query: Query) -> Result<Result<QueryRows, NotRead>> {
        runs_rules(who)?;
        super::query::open(self, query).await
    }
}
