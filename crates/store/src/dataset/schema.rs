//! What a data set holds, and what of it rules may read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The database engine of a data set, and so the dialect of its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// A look at the data set: every relation of its one schema, allowed or not, so that a name can be told from a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    pub engine: Engine,
    /// `main` in SQLite.
    pub name: String,
    pub relations: Vec<Relation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub name: String,
    pub is_view: bool,
    pub allowed: bool,
    pub columns: Vec<Column>,
    pub comment: Option<String>,
    /// Estimated.
    pub rows: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// As the database spells it.
    pub data_type: String,
    pub not_null: bool,
    pub primary_key: bool,
    /// `table.column`
    pub references: Option<String>,
    pub allowed: bool,
    pub comment: Option<String>,
}

impl Schema {
    /// The relation that an unquoted or quoted name stands for, as this engine compares names.
    #[must_use]
    pub fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| self.same(&relation.name, name))
    }

    #[must_use]
    pub fn allowed(&self, name: &str) -> Option<&Relation> {
        self.relation(name).filter(|relation| relation.allowed)
    }

    pub fn all_allowed(&self) -> impl Iterator<Item = &Relation> {
        self.relations.iter().filter(|relation| relation.allowed)
    }

    /// SQLite compares names without regard to case; PostgreSQL exactly, once unquoted ones are folded.
    #[must_use]
    pub fn same(&self, one: &str, other: &str) -> bool {
        match self.engine {
            Engine::Sqlite => one.eq_ignore_ascii_case(other),
            Engine::Postgres => one == other,
        }
    }

    /// Allows what is named: all columns of a relation if none are given. Returns the names that the database lacks.
    pub fn allow(&mut self, wanted: &BTreeMap<String, Vec<String>>) -> Vec<String> {
        let engine = self.engine;
        let same = |one: &str, other: &str| match engine {
            Engine::Sqlite => one.eq_ignore_ascii_case(other),
            Engine::Postgres => one == other,
        };
        let mut missing = Vec::new();
        for relation in &mut self.relations {
            relation.allowed = false;
        }
        for (name, columns) in wanted {
            let Some(relation) = self.relations.iter_mut().find(|relation| same(&relation.name, name)) else {
                missing.push(name.clone());
                continue;
            };
            relation.allowed = true;
            for column in &mut relation.columns {
                column.allowed = columns.is_empty() || columns.iter().any(|wanted| same(wanted, &column.name));
            }
            let lacking = columns.iter().filter(|wanted| !relation.columns.iter().any(|column| same(wanted, &column.name)));
            missing.extend(lacking.map(|column| format!("{name}.{column}")));
        }
        missing
    }

    /// Allows every relation and column.
    pub fn allow_everything(&mut self) {
        for relation in &mut self.relations {
            relation.allowed = true;
            relation.columns.iter_mut().for_each(|column| column.allowed = true);
        }
    }

    /// SHA-256 over all that rules may read, in lower-case hex: it changes when an approved query may no longer mean the same.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.engine.as_str());
        let mut relations: Vec<_> = self.all_allowed().collect();
        relations.sort_by(|one, other| one.name.cmp(&other.name));
        for relation in relations {
            hash.update(format!("\n{}", relation.name));
            for column in relation.readable() {
                hash.update(format!("\t{} {}", column.name, column.data_type));
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The names of the relations and columns that rules may read, nearest first to one that does not exist.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Vec<String> {
        let columns = self.all_allowed().flat_map(|relation| relation.readable().map(|column| column.name.as_str()));
        let names: BTreeSet<&str> = self.all_allowed().map(|relation| relation.name.as_str()).chain(columns).collect();
        let wanted = name.to_lowercase();
        let mut ranked: Vec<_> = names.into_iter().map(|known| (distance(&wanted, &known.to_lowercase()), known)).collect();
        ranked.sort_unstable();
        ranked.into_iter().take(NEAREST).filter(|(far, known)| *far <= known.len()).map(|(_, known)| known.to_owned()).collect()
    }
}

/// Names that a repair is offered.
const NEAREST: usize = 3;
/// Longer names than any database has are compared by their beginning.
const COMPARED_CHARS: usize = 64;

impl Relation {
    pub fn readable(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.allowed)
    }

    /// Whether some of its columns may not be read.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        self.columns.iter().any(|column| !column.allowed)
    }
}

/// Insertions, deletions and replacements of characters between two names.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(COMPARED_CHARS).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, c) in one.chars().take(COMPARED_CHARS).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, d) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(c != *d);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn names_are_as_far_apart_as_they_look() {
        for (one, other, expected) in
            [("", "", 0), ("titel", "title", 2), ("name", "names", 1), ("abc", "", 3), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
