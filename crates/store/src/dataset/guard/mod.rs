//! From a model's text to the one statement that may run: pure, needs no database, and refuses whatever it does not know.
//!
//! The text is parsed, every node of the tree is looked at against a list of what is allowed, names are qualified, and the
//! statement is written anew from the tree; only that is ever executed. What stands in `text.rs` sees tokens, `query.rs` and
//! `tables.rs` see queries, `expr.rs`, `calls.rs` and `types.rs` what they compute, `names.rs` how anything is called.

mod calls;
mod expr;
mod names;
mod query;
mod refusal;
mod tables;
mod text;
mod types;

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use sqlparser::ast::{Query, Statement};

pub use refusal::{Class, Refusal};
pub(crate) use text::MAX_BYTES as MAX_SQL_BYTES;

use super::schema::Schema;
use query::Walk;

/// Stack for parsing and walking: far more than the deepest tree that [`text`] lets through needs.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// A statement that passed: the only text that is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    sql: String,
    pub relations: Vec<String>,
    pub functions: Vec<String>,
    /// `relation.column` of the allowed columns that the statement names.
    pub columns: Vec<String>,
}

impl Checked {
    /// The canonical text.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// SHA-256 of the canonical text, in lower-case hex: what an approval names.
    #[must_use]
    pub fn hash(&self) -> String {
        Sha256::digest(&self.sql).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Looks at a model's text.
///
/// # Errors
/// [`Refusal`]: why it may not run, in a sentence for people.
pub fn check(text: &str, schema: &Schema) -> Result<Checked, Refusal> {
    std::thread::scope(|scope| {
        let work = || look(text, schema);
        let spawned = std::thread::Builder::new().name("rule-guard".to_owned()).stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let result = spawned.map(std::thread::ScopedJoinHandle::join);
        result.map_or_else(|_| Err(Refusal::broken()), |joined| joined.unwrap_or_else(|_| Err(Refusal::broken())))
    })
}

fn look(text: &str, schema: &Schema) -> Result<Checked, Refusal> {
    let mut query = text::parse(text, schema.engine)?;
    let mut walk = Walk::new(schema);
    walk.query(&mut query)?;
    let sql = query.to_string();
    reads_the_same(&sql, &query, schema)?;
    let columns = named_columns(schema, &walk);
    Ok(Checked { sql, relations: walk.relations.into_iter().collect(), functions: walk.functions.into_iter().collect(), columns })
}

/// What is written must mean what was looked at: reading it again gives the same tree.
fn reads_the_same(sql: &str, query: &Query, schema: &Schema) -> Result<(), Refusal> {
    let again = text::parse(sql, schema.engine).map_err(|_| Refusal::unsupported("this way of writing it"))?;
    if Statement::Query(Box::new(again)) == Statement::Query(Box::new(query.clone())) {
        Ok(())
    } else {
        Err(Refusal::unsupported("this way of writing it"))
    }
}

fn named_columns(schema: &Schema, walk: &Walk<'_>) -> Vec<String> {
    let mut columns = BTreeSet::new();
    for relation in walk.relations.iter().filter_map(|name| schema.allowed(name)) {
        let named =
            relation.readable().filter(|column| walk.everything || walk.identifiers.contains(&column.name.to_lowercase()));
        columns.extend(named.map(|column| format!("{}.{}", relation.name, column.name)));
    }
    columns.into_iter().collect()
}
