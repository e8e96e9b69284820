//! The only file that knows how databases differ: what the common SQL text becomes, and full-text search.

use std::borrow::Cow;

use uuid::Uuid;

/// The common text, as SQLite wants it: it has no arrays, so a list of ids comes as JSON and is read as a table.
pub(crate) fn sqlite_text(sql: &str) -> Cow<'_, str> {
    let Some((before, rest)) = sql.split_once("= ANY(") else { return Cow::Borrowed(sql) };
    let Some((parameter, after)) = rest.split_once(')') else { return Cow::Borrowed(sql) };
    Cow::Owned(format!("{before}IN (SELECT unhex(value) FROM json_each({parameter})){}", sqlite_text(after)))
}

/// A list of ids, as [`sqlite_text`] reads it.
pub(crate) fn sqlite_list(ids: &[Uuid]) -> String {
    let quoted: Vec<String> = ids.iter().map(|id| format!("\"{}\"", id.simple())).collect();
    format!("[{}]", quoted.join(","))
}

/// The present time by the database's clock, in milliseconds since 1970.
pub(crate) const NOW: &str = "SELECT CAST(round(unixepoch('subsec') * 1000) AS bigint)";

/// Behind a query for rows that are about to be changed: those that another node is changing are left out. SQLite has one
/// writer, who sees what all others have done.
pub(crate) const SKIP_LOCKED: &str = "";

/// The index holds no second copy of the words: it points to the rows of `part`.
pub(crate) const CREATE_SEARCH: &str = "CREATE VIRTUAL TABLE part_search USING fts5(text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2')";

pub(crate) const INDEX_PART: &str = "INSERT INTO part_search (rowid, text) SELECT rowid, text FROM part WHERE id = $1";

pub(crate) const UNINDEX_CONVERSATION: &str =
    "DELETE FROM part_search WHERE rowid IN (SELECT rowid FROM part WHERE conversation_id = $1 AND kind = 'text')";

/// `$1` is the query, `$2` the owner, `$3` the home, `$4` the limit.
pub(crate) const SEARCH: &str = "
    SELECT p.conversation_id, p.message_id, p.text, p.created_at
    FROM part_search s JOIN part p ON p.rowid = s.rowid JOIN conversation c ON c.id = p.conversation_id
    WHERE s.part_search MATCH $1 AND c.owner_id = $2 AND c.home = $3
    ORDER BY s.rank, p.place DESC LIMIT $4";

/// Condition for a conversation `c` in whose transcript the query `$3` occurs.
pub(crate) const CONVERSATION_MATCHES: &str =
    "c.id IN (SELECT p.conversation_id FROM part_search s JOIN part p ON p.rowid = s.rowid WHERE s.part_search MATCH $3)";

/// Turns what a person typed into a query: every word must occur, the last one may be the beginning of a word.
/// `None` if there is no word in it.
pub(crate) fn search_query(typed: &str) -> Option<String> {
    let words: Vec<&str> = typed.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let query = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" ");
    (!words.is_empty()).then(|| query + "*")
}

#[cfg(test)]
mod tests {
    use super::{search_query, sqlite_text};

    #[test]
    fn what_people_type_is_never_query_syntax() {
        assert_eq!(search_query("heron AND \"x* NEAR("), Some("\"heron\" \"AND\" \"x\" \"NEAR\"*".to_owned()));
        assert_eq!(search_query(" -*\" "), None);
    }

    #[test]
    fn a_list_becomes_a_table() {
        assert_eq!(sqlite_text("SELECT 1 WHERE id = ANY($1)"), "SELECT 1 WHERE id IN (SELECT unhex(value) FROM json_each($1))");
    }
}
