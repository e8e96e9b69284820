//! How anything is called: names are folded as the engine folds them, and written so that they cannot mean something else.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use super::Refusal;
use super::query::Walk;
use crate::dataset::schema::Engine;

/// Words that PostgreSQL takes for a function's call even without parentheses. As columns they would have to be quoted.
const CALLS_IN_DISGUISE: [&str; 10] = [
    "current_catalog",
    "current_role",
    "current_schema",
    "current_time",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "system_user",
    "user",
];

/// Words that neither engine takes for a name unless they are quoted. The parser does, where nothing else makes sense to it,
/// and what it reads would not be what the database reads.
const NEVER_NAMES: [&str; 36] = [
    "all",
    "and",
    "as",
    "case",
    "check",
    "collate",
    "constraint",
    "create",
    "default",
    "distinct",
    "else",
    "except",
    "foreign",
    "from",
    "group",
    "having",
    "in",
    "intersect",
    "into",
    "join",
    "limit",
    "not",
    "null",
    "on",
    "or",
    "order",
    "primary",
    "references",
    "select",
    "table",
    "then",
    "to",
    "union",
    "using",
    "when",
    "where",
];

impl Walk<'_> {
    /// Folds a name and normalises its quotes; gives it as the engine will compare it.
    pub(super) fn name(&mut self, ident: &mut Ident) -> Result<String, Refusal> {
        let odd = |char: char| matches!(char, '"' | '\'' | '`' | '\\') || char.is_control();
        if ident.value.is_empty() || ident.value.chars().any(odd) {
            return Err(Refusal::unsupported("a name with quotes, backslashes or control characters"));
        }
        if ident.quote_style.is_none() && NEVER_NAMES.contains(&ident.value.to_lowercase().as_str()) {
            return Err(Refusal::syntax(&format!("{} is no name unless it is quoted", ident.value)));
        }
        match (ident.quote_style, self.schema.engine) {
            (None, Engine::Postgres) => {
                ident.value = ident.value.to_lowercase();
                if CALLS_IN_DISGUISE.contains(&ident.value.as_str()) {
                    return Err(Refusal::function(&ident.value));
                }
            }
            (None, Engine::Sqlite) => {}
            (Some(_), _) => ident.quote_style = Some('"'),
        }
        self.identifiers.insert(ident.value.to_lowercase());
        Ok(ident.value.clone())
    }

    /// The parts of a name that may have dots in it.
    pub(super) fn parts(&mut self, name: &mut ObjectName) -> Result<Vec<String>, Refusal> {
        name.0
            .iter_mut()
            .map(|part| match part {
                ObjectNamePart::Identifier(ident) => self.name(ident),
                ObjectNamePart::Function(_) => Err(Refusal::unsupported("a name made by a function")),
            })
            .collect()
    }

    /// A column of two parts stays; one with the data set's schema in front loses it, as the relation is in scope by its name.
    pub(super) fn compound(&mut self, idents: &mut Vec<Ident>) -> Result<(), Refusal> {
        let names = idents.iter_mut().map(|ident| self.name(ident)).collect::<Result<Vec<_>, _>>()?;
        match names.as_slice() {
            [_] | [_, _] => Ok(()),
            [schema, relation, _] if self.schema.same(schema, &self.schema.name) && self.schema.allowed(relation).is_some() => {
                idents.remove(0);
                Ok(())
            }
            _ => Err(Refusal::forbidden("relation", format!("relation {} is not available", names[..names.len() - 1].join(".")))),
        }
    }
}
