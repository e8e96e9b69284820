//! The sample data set as the guard sees it, the lists of hostile statements, and ways to spoil a statement.

use store::dataset::{Column, Engine, Relation, Schema};

const TABLES: [(&str, &str); 9] = [
    ("patterns", "id name description kind created_at updated_at"),
    ("orgs", "id name description stage funding date_founded date_funded country"),
    ("guests", "id name job_description org_id"),
    ("episodes", "id name description episode_url minutes published_at"),
    ("posts", "id name description post_url published_at"),
    ("pattern_org_link", "pattern_id org_id"),
    ("pattern_guest_link", "pattern_id guest_id"),
    ("pattern_episode_link", "pattern_id episode_id"),
    ("pattern_post_link", "pattern_id post_id"),
];

const FORBIDDEN: [(&str, &str); 3] = [("accounts", "id email password_hash"), ("secrets", "token"), ("leak", "token")];

pub fn schema(engine: Engine) -> Schema {
    let relation = |(name, columns): &(&str, &str), allowed| Relation {
        name: (*name).to_owned(),
        is_view: false,
        allowed,
        columns: columns.split(' ').map(|name| column(name, allowed)).collect(),
        comment: None,
        rows: None,
    };
    let name = match engine {
        Engine::Sqlite => "main",
        Engine::Postgres => "data",
    };
    let open = TABLES.iter().map(|table| relation(table, true));
    let shut = FORBIDDEN.iter().map(|table| relation(table, false));
    Schema { engine, name: name.to_owned(), relations: open.chain(shut).collect() }
}

fn column(name: &str, allowed: bool) -> Column {
    Column {
        name: name.to_owned(),
        data_type: "text".to_owned(),
        not_null: false,
        primary_key: false,
        references: None,
        allowed,
        comment: None,
    }
}

/// Statement and class of each line.
pub fn hostile(engine: Engine) -> Vec<(String, String)> {
    let list = match engine {
        Engine::Sqlite => include_str!("../hostile/hostile_sql_sqlite.sql.txt"),
        Engine::Postgres => include_str!("../hostile/hostile_sql_postgres.sql.txt"),
    };
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let statements: Vec<_> = lines
        .map(|line| {
            let (statement, rest) = line.split_once("\t-- ").unwrap();
            (statement.to_owned(), rest.split(':').next().unwrap().to_owned())
        })
        .collect();
    assert!(statements.len() >= 60, "{}", statements.len());
    statements
}

/// Numbers that are random enough, and the same in every run.
pub struct Luck(u64);

impl Luck {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit.max(1)
    }
}

/// Pieces that turn one statement into another.
const PIECES: [&str; 36] = [
    "select ",
    " from ",
    " union all ",
    "(",
    ")",
    ",",
    ";",
    "--",
    "/*",
    "*/",
    "'",
    "\"",
    "`",
    "[",
    "]",
    " as ",
    " with x as (",
    " secrets",
    " accounts",
    " patterns",
    "main.",
    "data.",
    "pg_catalog.",
    "sqlite_master",
    "pg_sleep(1)",
    "randomblob(9)",
    " * ",
    "::text",
    "\\",
    "\u{0}",
    "é",
    "$1",
    "?1",
    " limit 1",
    " where 1=1",
    "U&\"",
];

/// Another statement near this one.
pub fn mutated(statements: &[String], luck: &mut Luck) -> String {
    let mut text: Vec<char> = statements[luck.below(statements.len())].chars().collect();
    for _ in 0..=luck.below(3) {
        let at = luck.below(text.len() + 1);
        match luck.below(6) {
            0 => drop(text.splice(at..at, PIECES[luck.below(PIECES.len())].chars())),
            1 => {
                let end = (at + luck.below(6)).min(text.len());
                text.drain(at..end);
            }
            2 => {
                let other: Vec<char> = statements[luck.below(statements.len())].chars().collect();
                let from = luck.below(other.len());
                let to = (from + luck.below(40)).min(other.len());
                text.splice(at..at, other[from..to].iter().copied());
            }
            3 => {
                if let Some(char) = text.get_mut(at) {
                    *char = if char.is_uppercase() { char.to_ascii_lowercase() } else { char.to_ascii_uppercase() };
                }
            }
            4 => {
                let other: Vec<char> = statements[luck.below(statements.len())].chars().collect();
                text.extend(" union select * from (".chars());
                text.extend(other);
                text.push(')');
            }
            _ => {
                let end = (at + luck.below(30)).min(text.len());
                let piece = text[at..end].to_vec();
                text.splice(at..at, piece);
            }
        }
    }
    text.into_iter().collect()
}
