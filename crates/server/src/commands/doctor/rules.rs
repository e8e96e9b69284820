//! Whether rules can be run: their file, and the fence around their data.

use engine::{DataSet, PostgresSet, RulesFile};

use super::{Finding, fail, ok, warn};
use crate::config::ServerConfig;

const ABOUT: &str = "rules";

/// What makes a role that may do nothing but read.
const SCRIPT: &str = "create role rules_reader login nosuperuser nocreatedb nocreaterole noinherit noreplication connection limit 8 password '…'; \
grant usage on schema SCHEMA to rules_reader; grant select on TABLES to rules_reader; \
revoke execute on all functions in schema SCHEMA from public; \
alter role rules_reader set default_transaction_read_only = on; alter role rules_reader set statement_timeout = '2s'; \
alter role rules_reader set lock_timeout = '500ms'; alter role rules_reader set idle_in_transaction_session_timeout = '10s'; \
alter role rules_reader set temp_file_limit = '64MB'; alter role rules_reader set work_mem = '16MB';";

pub(super) async fn rules(config: &ServerConfig) -> Finding {
    let file = match &config.rules_file {
        None => RulesFile::default(),
        Some(path) => match RulesFile::load(path) {
            Ok(file) => file,
            Err(error) => return fail(ABOUT, format!("{}: {error}", path.display())),
        },
    };
    let count = format!("{} in the file", file.rules.len());
    match &config.rules_data {
        None => ok(ABOUT, format!("{count}; they read the sample data set")),
        Some(DataSet::Postgres(set)) => {
            let schema = file.schema.as_deref().unwrap_or("public");
            fence(&set.clone().in_schema(schema), schema, file.allow_writable_role).await
        }
        Some(set @ DataSet::Sqlite(_)) => match set.schema().await {
            Ok(schema) => ok(ABOUT, format!("{count}; they read {} tables and views of an SQLite file", schema.relations.len())),
            Err(error) => fail(ABOUT, error.to_string()),
        },
    }
}

async fn fence(set: &PostgresSet, schema: &str, is_allowed: bool) -> Finding {
    let script = SCRIPT.replace("SCHEMA", schema);
    match set.role().await {
        Err(error) => fail(ABOUT, format!("{error}; a reader is made with: {script}")),
        Ok(role) if role.superuser => {
            fail(ABOUT, format!("the role {} is a superuser; a reader is made with: {script}", role.name))
        }
        Ok(role) if role.is_fenced() || is_allowed => {
            ok(ABOUT, format!("the role {} reads the schema {schema}; {}", role.name, role.notes.join("; ")))
        }
        Ok(role) => warn(
            ABOUT,
            format!(
                "the role {} {}, so every rule waits for approval; a reader is made with: {script}",
                role.name,
                role.loose.join(", ")
            ),
        ),
    }
}
