use std::collections::HashMap;

use domain::{Conversation, ConversationId, MessageId, Principal, Timestamp};
use store::search;

use crate::{Engine, Error, Result, access};

/// Characters shown before and after the first found word.
const AROUND: usize = 60;

/// A text in which the words occur.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchHit {
    pub conversation: Conversation,
    pub message: MessageId,
    /// The neighbourhood of the first found word, on one line; `…` stands where text is left out.
    pub snippet: String,
    pub at: Timestamp,
}

pub(crate) async fn search(engine: &Engine, who: Principal, words: String, limit: u32) -> Result<Vec<SearchHit>> {
    let home = engine.home;
    engine
        .inner
        .store
        .read(move |tx| {
            let mut conversations: HashMap<ConversationId, Conversation> = HashMap::new();
            let mut found = Vec::new();
            for hit in search::find(tx, who.account(), home, &words, limit)? {
                let conversation = match conversations.get(&hit.conversation) {
                    Some(known) => known.clone(),
                    None => access::conversation(tx, who, home, hit.conversation)?,
                };
                conversations.insert(conversation.id, conversation.clone());
                let snippet = snippet(&hit.text, &words);
                found.push(SearchHit { conversation, message: hit.message, snippet, at: hit.created_at });
            }
            Ok::<_, Error>(found)
        })
        .await
}

fn snippet(text: &str, words: &str) -> String {
    let characters: Vec<char> = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let lower: Vec<char> = characters.iter().map(|c| c.to_lowercase().next().unwrap_or(*c)).collect();
    let first = words
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .filter_map(|word| position(&lower, &word.to_lowercase().chars().collect::<Vec<_>>()))
        .min()
        .unwrap_or(0);
    let start = first.saturating_sub(AROUND);
    let end = (first + AROUND).min(characters.len());
    let middle: String = characters[start..end].iter().collect();
    let (before, after) = (if start > 0 { "…" } else { "" }, if end < characters.len() { "…" } else { "" });
    format!("{before}{}{after}", middle.trim())
}

fn position(text: &[char], word: &[char]) -> Option<usize> {
    if word.is_empty() {
        return None;
    }
    text.windows(word.len()).position(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::snippet;

    #[test]
    fn a_snippet_shows_the_first_word_found() {
        assert_eq!(snippet("The heron\nis a bird.", "HERON"), "The heron is a bird.");
        let long = format!("{} heron {}", "a".repeat(100), "b".repeat(100));
        let shown = snippet(&long, "heron");
        assert!(shown.starts_with('…') && shown.ends_with('…') && shown.contains(" heron "), "{shown}");
        assert_eq!(snippet("", "x"), "");
    }
}
