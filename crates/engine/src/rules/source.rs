//! The data set as it is now: its shape, the rules file, and what of it may be read.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use domain::RulePolicy;
use store::dataset::{DataSet, Role, RunError, Schema, SqliteSet, create_sample};

use super::file::{FileRule, RulesFile};
use super::{Rules, RulesData};

/// One look at the data set, for one run.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub data: DataSet,
    pub file: Arc<RulesFile>,
    pub schema: Arc<Schema>,
    pub is_sample: bool,
    /// The reader can do nothing but read.
    pub fenced: bool,
    /// What is wrong with the file as it is now, while the former one is in force.
    pub file_fault: Option<String>,
}

impl Source {
    /// A reader that is not fenced turns `auto` into `approve`.
    pub(super) fn policy(&self) -> RulePolicy {
        match self.file.policy {
            RulePolicy::Auto if !self.fenced && !self.file.allow_writable_role => RulePolicy::Approve,
            policy => policy,
        }
    }

    pub(super) fn schema_hash(&self) -> String {
        self.schema.hash()
    }
}

/// The rules file as it was read last.
#[derive(Debug)]
pub(super) struct Cache {
    file: Mutex<Read>,
}

impl Cache {
    /// `at_start` is in force until a better one is read: whatever happens to the file, nothing beyond it is ever offered.
    pub(super) fn new(at_start: Option<RulesFile>) -> Self {
        Self { file: Mutex::new(Read { stamp: None, file: Arc::new(at_start.unwrap_or_default()), fault: None }) }
    }
}

#[derive(Debug, Clone)]
struct Read {
    stamp: Option<(SystemTime, u64)>,
    file: Arc<RulesFile>,
    fault: Option<String>,
}

impl Read {
    /// The same file in force, although there is a broken one now.
    fn broken(&self, stamp: Option<(SystemTime, u64)>, fault: String) -> Self {
        if self.fault.as_ref() != Some(&fault) {
            tracing::error!(fault, "the rules file is broken; the former one stays in force");
        }
        Self { stamp, file: Arc::clone(&self.file), fault: Some(fault) }
    }
}

impl Rules {
    /// # Errors
    /// Why the data set is not available, in words that name no address.
    pub(super) async fn source(&self) -> Result<Source, String> {
        let (file, file_fault) = self.file();
        let (data, is_sample) = self.data(&file).await?;
        let mut schema = data.schema().await.map_err(|error| reason(&error))?;
        let role = role(&data).await?;
        let fenced = role.as_ref().is_none_or(Role::is_fenced);
        if role.as_ref().is_some_and(|role| role.superuser) {
            return Err("the role that reads it is a superuser".to_owned());
        }
        if !file.tables.is_empty() {
            let missing = schema.allow(&file.wanted());
            if !missing.is_empty() {
                tracing::warn!(?missing, "the rules file names what the data set lacks");
            }
        } else if role.is_none() {
            schema.allow_everything();
        } else if !fenced && !file.allow_writable_role {
            return Err("the role that reads it may do more than read, and the rules file names no tables".to_owned());
        }
        Ok(Source { data, file, schema: Arc::new(schema), is_sample, fenced, file_fault })
    }

    /// The file that is in force. A broken one leaves the former in force.
    pub(super) fn file(&self) -> (Arc<RulesFile>, Option<String>) {
        let Some((path, _)) = &self.setup.file else {
            return (Arc::new(without_file(matches!(self.setup.data, RulesData::Sample(_)))), None);
        };
        let mut cached = self.source.file.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(path);
        let is_known = stamp.is_some() && cached.stamp == stamp;
        if !is_known {
            *cached = match RulesFile::load(path) {
                Ok(file) => Read { stamp, file: Arc::new(file), fault: None },
                Err(error) => cached.broken(stamp, error.to_string()),
            };
        }
        (Arc::clone(&cached.file), cached.fault.clone())
    }

    async fn data(&self, file: &RulesFile) -> Result<(DataSet, bool), String> {
        match &self.setup.data {
            RulesData::Sample(path) => {
                let written = path.clone();
                let created = tokio::task::spawn_blocking(move || create_sample(&written)).await;
                created.map_err(|_| "the sample cannot be written".to_owned())??;
                Ok((DataSet::Sqlite(SqliteSet::new(path.clone())), true))
            }
            RulesData::Own(DataSet::Postgres(set)) => {
                let schema = file.schema.as_deref().unwrap_or("public");
                Ok((DataSet::Postgres(set.clone().in_schema(schema)), false))
            }
            RulesData::Own(set) => Ok((set.clone(), false)),
        }
    }
}

async fn role(data: &DataSet) -> Result<Option<Role>, String> {
    match data {
        DataSet::Sqlite(_) => Ok(None),
        DataSet::Postgres(set) => set.role().await.map(Some).map_err(|error| reason(&error)),
    }
}

fn reason(error: &RunError) -> String {
    error.to_string()
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The rules that come with the sample data set.
fn without_file(is_sample: bool) -> RulesFile {
    let rule = |code: &str, name: &str, logic: &str| FileRule {
        code: code.to_owned(),
        name: name.to_owned(),
        description: String::new(),
        logic: logic.to_owned(),
        refresh_ms: None,
    };
    let rules = [
        rule(
            "ORGS_BY_STAGE",
            "Organisations by stage",
            "list the organisations with stage, date founded and date funded, newest first",
        ),
        rule(
            "PATTERNS_IN_EPISODES",
            "Patterns in episodes",
            "list the patterns with the episodes they appear in, with kind and address of the episode",
        ),
        rule("GUESTS_BY_PATTERN", "Guests by pattern", "for each pattern the names of the guests who speak about it"),
        rule("TIME_TO_FUNDING", "Time to funding", "years from founding to funding for each organisation"),
    ];
    RulesFile { rules: if is_sample { rules.to_vec() } else { Vec::new() }, ..RulesFile::default() }
}
