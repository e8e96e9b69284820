//! The only file that knows how databases differ: what the common SQL text becomes, what a schema needs beside it, and
//! full-text search.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use uuid::Uuid;

use crate::{StoreError, Tx};

/// Which database a transaction is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// The common text, as SQLite wants it. It needs no casts, and would change an id by one. It has no arrays, so a list of ids
/// comes as JSON and is read as a table.
pub(crate) fn sqlite_text(sql: &str) -> Cow<'_, str> {
    if !sql.contains("::") && !sql.contains(LIST) {
        return Cow::Borrowed(sql);
    }
    let mut text = sql.to_owned();
    for cast in ["::bigint", "::text", "::uuid"] {
        text = text.replace(cast, "");
    }
    let mut whole = String::with_capacity(text.len() + 64);
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(LIST) {
        let Some((parameter, after)) = after.split_once(')') else { break };
        // Writing to a string cannot fail.
        let _ = write!(whole, "{before}IN (SELECT unhex(value) FROM json_each({parameter}))");
        rest = after;
    }
    Cow::Owned(whole + rest)
}

const LIST: &str = "= ANY(";

/// A list of ids, as [`sqlite_text`] reads it.
pub(crate) fn sqlite_list(ids: &[Uuid]) -> String {
    let quoted: Vec<String> = ids.iter().map(|id| format!("\"{}\"", id.simple())).collect();
    format!("[{}]", quoted.join(","))
}

/// The text of a migration, as PostgreSQL wants it: texts are compared byte by byte, as SQLite does it, whatever the language
/// of the database.
pub(crate) fn postgres_schema(sql: &str) -> String {
    let lines = sql.lines().map(|line| {
        let code = line.split_once("--").map_or(line, |(code, _)| code);
        let mut words = code.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_');
        let mut out = String::new();
        let mut is_behind_name = false;
        for word in &mut words {
            let name = word.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '_');
            let is_type = name == "text" && is_behind_name;
            out += if is_type { "text COLLATE \"C\"" } else { name };
            out += &word[name.len()..];
            // A type stands behind the name of its column, except in a cast.
            is_behind_name = match name {
                "" => is_behind_name && word == " ",
                _ => !is_type && name != "AS" && word.ends_with(' '),
            };
        }
        out
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What step `step` of the schema needs beside the common text.
pub(crate) const fn beside(dialect: Dialect, step: i64) -> &'static str {
    match (dialect, step) {
        (Dialect::Sqlite, 1) => CREATE_SQLITE_SEARCH,
        (Dialect::Postgres, 1) => CREATE_POSTGRES_SEARCH,
        (Dialect::Sqlite | Dialect::Postgres, _) => "",
    }
}

/// One node at a time changes the schema. The number is any that nobody else uses in this database.
pub(crate) const LOCK_MIGRATIONS: &str = "SELECT pg_advisory_lock(7237135021)";
pub(crate) const UNLOCK_MIGRATIONS: &str = "SELECT pg_advisory_unlock(7237135021)";

/// The index holds no second copy of the words: it points to the rows of `part`.
const CREATE_SQLITE_SEARCH: &str = "CREATE VIRTUAL TABLE part_search USING fts5(text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2')";

/// The words come from [`words`] and not from a configuration of the server, so that both databases find the same.
const CREATE_POSTGRES_SEARCH: &str = "
    CREATE TABLE schema_version (version bigint NOT NULL PRIMARY KEY);
    CREATE TABLE part_search (part_id uuid NOT NULL PRIMARY KEY, conversation_id uuid NOT NULL, words tsvector NOT NULL);
    CREATE INDEX part_search_by_word ON part_search USING gin (words);
    CREATE INDEX part_search_by_conversation ON part_search (conversation_id)";

/// What only PostgreSQL has. Each connection of a server has a row, and writes into it, with every transaction, which one it is:
/// so a transaction has been committed if its mark is there. The server's own numbers of transactions would not do, because
/// after a crash it gives those that were lost to others.
pub(crate) const CREATE_MARKS: &str =
    "CREATE TABLE IF NOT EXISTS commit_mark (connection uuid NOT NULL PRIMARY KEY, mark bigint NOT NULL, at bigint NOT NULL)";
/// `$1` is the connection, `$2` the mark.
pub(crate) const SET_MARK: &str = "INSERT INTO commit_mark (connection, mark, at) \
     VALUES ($1, $2, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint)) \
     ON CONFLICT (connection) DO UPDATE SET mark = excluded.mark";
/// Waits for a transaction that is still writing its mark.
pub(crate) const GET_MARK: &str = "SELECT mark FROM commit_mark WHERE connection = $1 FOR UPDATE";
/// A connection whose row goes while it lives makes another one with its next transaction.
pub(crate) const FORGET_MARKS: &str =
    "DELETE FROM commit_mark WHERE at < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint) - 86400000";

/// For a database to which rows were written past [`index_part`].
pub(crate) const REBUILD_SQLITE_SEARCH: &str = "INSERT INTO part_search (part_search) VALUES ('delete-all'); \
     INSERT INTO part_search (rowid, text) SELECT rowid, text FROM part WHERE kind = 'text'";

/// Many parts at once: `$1` their ids, `$2` their conversations, `$3` their [`words`].
pub(crate) const INDEX_POSTGRES_PARTS: &str = "INSERT INTO part_search (part_id, conversation_id, words) \
     SELECT i, c, CAST(w AS tsvector) FROM UNNEST($1::uuid[], $2::uuid[], $3::text[]) AS t (i, c, w)";

/// Every connection of a server holds this for as long as it lives, so that nobody replaces the data under it.
pub(crate) const NOTE_SERVER: &str = "SELECT pg_advisory_lock_shared(723713, hashtext(current_schema()::text))";
/// `true` if no server has a connection; none gets one until this one ends.
pub(crate) const KEEP_SERVERS_OUT: &str = "SELECT pg_try_advisory_lock(723713, hashtext(current_schema()::text))";

impl Dialect {
    /// The present time by the database's clock, in milliseconds since 1970.
    pub(crate) const fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT CAST(round(unixepoch('subsec') * 1000) AS bigint)",
            Self::Postgres => "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint)",
        }
    }

    /// Behind a query for rows that are about to be changed: those that another transaction is changing are left out. SQLite
    /// has one writer, who sees what all others have done.
    pub(crate) const fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }

    /// A comparison that does not tell `A` from `a`. SQLite's `LIKE` is one; neither looks beyond ASCII.
    pub(crate) const fn like(self) -> &'static str {
        match self {
            Self::Sqlite => "LIKE",
            Self::Postgres => "ILIKE",
        }
    }

    /// `$1` is the query, `$2` the owner, `$3` the home, `$4` the limit.
    pub(crate) const fn search(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT p.conversation_id, p.message_id, p.text, p.created_at \
                 FROM part_search s JOIN part p ON p.rowid = s.rowid JOIN conversation c ON c.id = p.conversation_id \
                 WHERE s.part_search MATCH $1 AND c.owner_id = $2 AND c.home = $3 \
                 ORDER BY s.rank, p.place DESC LIMIT $4"
            }
            // The rank is divided by the length of the text, which is what makes it much like SQLite's.
            Self::Postgres => {
                "SELECT p.conversation_id, p.message_id, p.text, p.created_at \
                 FROM part_search s JOIN part p ON p.id = s.part_id JOIN conversation c ON c.id = p.conversation_id \
                 WHERE s.words @@ CAST($1::text AS tsquery) AND c.owner_id = $2 AND c.home = $3 \
                 ORDER BY ts_rank(s.words, CAST($1::text AS tsquery), 1) DESC, p.place DESC LIMIT $4"
            }
        }
    }

    /// Condition for a conversation `c` in whose transcript the query `$3` occurs.
    pub(crate) const fn conversation_matches(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "c.id IN (SELECT p.conversation_id FROM part_search s JOIN part p ON p.rowid = s.rowid \
                 WHERE s.part_search MATCH $3)"
            }
            Self::Postgres => "c.id IN (SELECT s.conversation_id FROM part_search s WHERE s.words @@ CAST($3::text AS tsquery))",
        }
    }

    /// Turns what a person typed into a query: every word must occur, the last one may be the beginning of a word.
    /// `None` if there is no word in it.
    pub(crate) fn search_query(self, typed: &str) -> Option<String> {
        let words: Vec<&str> = typed.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let (words, joint, prefix): (Vec<String>, _, _) = match self {
            Self::Sqlite => (words.iter().map(|word| format!("\"{word}\"")).collect(), " ", "*"),
            Self::Postgres => {
                let words = words.iter().map(|word| fold(word)).filter(|word| !word.is_empty());
                (words.map(|word| format!("'{word}'")).collect(), " & ", ":*")
            }
        };
        (!words.is_empty()).then(|| words.join(joint) + prefix)
    }
}

/// Makes a text part, which has been stored, findable.
///
/// # Errors
/// The database's.
pub(crate) fn index_part(tx: &mut Tx, conversation: Uuid, part: Uuid, text: &str) -> Result<(), StoreError> {
    match tx.dialect() {
        Dialect::Sqlite => {
            tx.later("INSERT INTO part_search (rowid, text) SELECT rowid, text FROM part WHERE id = $1", &[part.into()])
        }
        Dialect::Postgres => tx.later(
            "INSERT INTO part_search (part_id, conversation_id, words) VALUES ($1, $2, CAST($3::text AS tsvector))",
            &[part.into(), conversation.into(), words(text).into()],
        ),
    }
}

/// Takes a conversation, whose parts are still there, out of the index.
///
/// # Errors
/// The database's.
pub(crate) fn unindex_conversation(tx: &mut Tx, conversation: Uuid) -> Result<(), StoreError> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => {
            "DELETE FROM part_search WHERE rowid IN (SELECT rowid FROM part WHERE conversation_id = $1 AND kind = 'text')"
        }
        Dialect::Postgres => "DELETE FROM part_search WHERE conversation_id = $1",
    };
    tx.later(sql, &[conversation.into()])
}

/// Bytes of words in one entry of the index; PostgreSQL takes no more than a megabyte, places included.
const INDEXED: usize = 512 * 1024;
/// Bytes of one word; PostgreSQL takes no more than 2,046.
const WORD: usize = 512;
/// Occurrences of one word that count for the order of what is found.
const OCCURRENCES: usize = 32;
/// The last place that PostgreSQL can tell from those behind it.
const LAST_PLACE: usize = 16_383;

/// The words of a text and where they stand, as PostgreSQL reads a `tsvector`.
pub(crate) fn words(text: &str) -> String {
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut left = INDEXED;
    let words = text.split(|c: char| !c.is_alphanumeric()).map(fold).filter(|word| !word.is_empty());
    for (place, word) in (1..).zip(words) {
        let cost = 8 + if places.contains_key(&word) { 0 } else { word.len() };
        if cost > left {
            break;
        }
        let places = places.entry(word).or_default();
        if places.len() < OCCURRENCES {
            left -= cost;
            places.push(place.min(LAST_PLACE));
        }
    }
    let mut vector = String::new();
    for (word, places) in places {
        let places: Vec<String> = places.iter().map(ToString::to_string).collect();
        // Writing to a string cannot fail.
        let _ = write!(vector, "'{word}':{} ", places.join(","));
    }
    vector
}

/// The word in small letters without accents, as SQLite's index folds it.
fn fold(word: &str) -> String {
    let folded = word.nfd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase);
    let mut folded: String = folded.filter(|c| c.is_alphanumeric()).collect();
    let mut end = folded.len().min(WORD);
    while !folded.is_char_boundary(end) {
        end -= 1;
    }
    folded.truncate(end);
    folded
}

#[cfg(test)]
mod tests {
    use super::{Dialect, postgres_schema, sqlite_text, words};

    #[test]
    fn what_people_type_is_never_query_syntax() {
        let query = |dialect: Dialect, typed: &str| dialect.search_query(typed);
        let typed = "Möwe AND \"x* NEAR(";
        assert_eq!(query(Dialect::Sqlite, typed), Some("\"Möwe\" \"AND\" \"x\" \"NEAR\"*".to_owned()));
        assert_eq!(query(Dialect::Postgres, typed), Some("'mowe' & 'and' & 'x' & 'near':*".to_owned()));
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            assert_eq!(query(dialect, " -*\" "), None);
        }
    }

    #[test]
    fn words_are_folded_and_placed() {
        assert_eq!(words("The Möwe, the 'gull'\\"), "'gull':4 'mowe':2 'the':1,3 ");
        assert!(words(&"ä".repeat(10_000)).len() < 600);
        let many: String = (0..1_000_000).map(|n| format!("{n} ")).collect();
        assert!(words(&many).len() < 1_000_000);
    }

    #[test]
    fn a_list_becomes_a_table_and_casts_go() {
        assert_eq!(sqlite_text("SELECT 1 WHERE id = ANY($1)"), "SELECT 1 WHERE id IN (SELECT unhex(value) FROM json_each($1))");
        assert_eq!(sqlite_text("SELECT $1::bigint, $2::uuid"), "SELECT $1, $2");
    }

    #[test]
    fn texts_are_compared_byte_by_byte() {
        let sql = "CREATE TABLE t ( -- a text\n  text   text,\n  body text NOT NULL);\nCREATE INDEX t_by_text ON t (body, text);\n\
                   ALTER TABLE t ADD COLUMN x text;\nCREATE INDEX p ON t (x) WHERE kind = 'text'";
        let expected = "CREATE TABLE t ( \n  text   text COLLATE \"C\",\n  body text COLLATE \"C\" NOT NULL);\n\
                        CREATE INDEX t_by_text ON t (body, text);\nALTER TABLE t ADD COLUMN x text COLLATE \"C\";\n\
                        CREATE INDEX p ON t (x) WHERE kind = 'text'";
        assert_eq!(postgres_schema(sql), expected);
    }
}
