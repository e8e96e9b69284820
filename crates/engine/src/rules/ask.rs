//! One question to the model, and what it answered: a query, a question of its own, or neither.

use domain::sockets::language_model::{ModelError, ModelErrorKind, ModelEvent, ModelRequest};
use domain::sockets::tool::ToolSpec;
use domain::{Chart, LanguageModel, Mode, sockets::tool::Effect};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::outcome::{Failure, RuleErrorCode, Stage};
use crate::turns::backoff_ms;

/// The tool that the answer must call.
pub(super) const TOOL: &str = "answer_rule";
/// By the contract: what a model writes beyond this is not read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Bytes of a title, of an explanation, and of all assumptions, that are kept.
const MAX_WORDS_BYTES: usize = 4 * 1024;
const MAX_ASSUMPTIONS: usize = 20;
/// As for a turn.
const RETRIES: u32 = 3;
const MAX_WAIT_MS: u64 = 60_000;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    Query(Draft),
    Clarify { question: String, options: Vec<String> },
    Neither,
}

/// A query as the model wrote it, with its own words about it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Draft {
    pub sql: String,
    pub title: String,
    pub explanation: String,
    pub assumptions: Vec<String>,
    pub key_columns: Vec<String>,
    pub chart: Option<Chart>,
}

/// The schema of the answer. Exactly one of `sql` and `clarify` is given.
pub(super) fn tool() -> ToolSpec {
    let text = |description: &str| json!({"type": "string", "description": description});
    ToolSpec {
        name: TOOL.to_owned(),
        description: "Answers the rule: with one query, or with one question to the person if the rule cannot be understood \
            without it. Give either sql with title, explanation and assumptions, or clarify."
            .to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "sql": text("One SELECT, WITH or VALUES query in the dialect of the data set."),
                "title": text("A name for the result, at most six words."),
                "explanation": text("What the query does, for somebody who does not read SQL."),
                "assumptions": {"type": "array", "items": {"type": "string"}, "description": "What you assumed where the rule was open."},
                "key_columns": {"type": "array", "items": {"type": "string"}, "description": "Result columns that identify a row, if there are any."},
                "chart": {
                    "type": "object",
                    "description": "How to draw the result, if a drawing helps.",
                    "properties": {
                        "mark": {"type": "string", "enum": ["bar", "line", "area", "point", "pie"]},
                        "x": text("A result column."),
                        "y": text("A result column with numbers."),
                        "series": text("A result column that tells lines or bars apart."),
                        "title": text("A title for the drawing."),
                    },
                    "required": ["mark", "x", "y"],
                },
                "clarify": text("One short question to the person."),
                "options": {"type": "array", "items": {"type": "string"}, "description": "Two to four answers to choose from."},
            },
        }),
        effect: Effect::Pure,
        modes: Mode::ALL.to_vec(),
    }
}

/// Asks, again where the provider says that this may help.
pub(super) async fn ask(model: &dyn LanguageModel, request: ModelRequest, cancel: &CancellationToken) -> Result<Reply, Failure> {
    let (mut attempt, mut waited_ms) = (0, 0);
    loop {
        let answered = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Failure::cancelled(Stage::Generating)),
            answered = listen(model, request.clone()) => answered,
        };
        let error = match answered {
            Ok(said) => return Ok(said.reply()),
            Err(error) => error,
        };
        let wait_ms = error.retry_after_ms.unwrap_or_else(|| backoff_ms(attempt));
        if !error.retryable || attempt == RETRIES || waited_ms + wait_ms > MAX_WAIT_MS {
            let sentence = error.sentence.trim_end_matches('.');
            return Err(Failure::new(RuleErrorCode::ModelError, format!("Model error: {sentence}"), Stage::Generating));
        }
        (attempt, waited_ms) = (attempt + 1, waited_ms + wait_ms);
        tokio::select! {
            () = cancel.cancelled() => return Err(Failure::cancelled(Stage::Generating)),
            () = tokio::time::sleep(std::time::Duration::from_millis(wait_ms)) => {}
        }
    }
}

#[derive(Default)]
struct Said {
    call: Option<Map<String, Value>>,
    text: String,
}

async fn listen(model: &dyn LanguageModel, request: ModelRequest) -> Result<Said, ModelError> {
    let mut stream = model.ask(request).await?;
    let mut said = Said::default();
    while let Some(event) = stream.next().await {
        match event? {
            ModelEvent::Text(piece) if said.text.len() + piece.len() <= MAX_ANSWER_BYTES => said.text.push_str(&piece),
            // Of several calls the first counts.
            ModelEvent::ToolCall { name, input, .. } if name == TOOL => drop(said.call.get_or_insert(input)),
            ModelEvent::Finished(_) => return Ok(said),
            _ => {}
        }
    }
    Err(ModelError {
        kind: ModelErrorKind::Truncated,
        sentence: "the answer broke off".to_owned(),
        retryable: true,
        retry_after_ms: None,
    })
}

impl Said {
    fn reply(self) -> Reply {
        match self.call {
            Some(input) => reply_of(&input),
            None => of_text(&self.text),
        }
    }
}

/// What is not of the right type is dropped; a query beats a question.
fn reply_of(input: &Map<String, Value>) -> Reply {
    let word = |name: &str| input.get(name).and_then(Value::as_str).map(str::trim).filter(|word| !word.is_empty()).map(cut);
    let words = |name: &str, most: usize| -> Vec<String> {
        let list = input.get(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::trim).filter(|word| !word.is_empty()).map(cut).take(most).collect()
    };
    if let Some(sql) = input.get("sql").and_then(Value::as_str).filter(|sql| !sql.trim().is_empty()) {
        return Reply::Query(Draft {
            sql: sql.to_owned(),
            title: word("title").unwrap_or_default(),
            explanation: word("explanation").unwrap_or_default(),
            assumptions: words("assumptions", MAX_ASSUMPTIONS),
            key_columns: words("key_columns", MAX_ASSUMPTIONS),
            chart: input.get("chart").and_then(|chart| serde_json::from_value(chart.clone()).ok()),
        });
    }
    match word("clarify") {
        Some(question) => Reply::Clarify { question, options: words("options", 4) },
        None => Reply::Neither,
    }
}

/// A model that cannot be told to call a tool: the first JSON object, else the first fenced block, else from the first word
/// that begins a query.
fn of_text(text: &str) -> Reply {
    if let Some(object) = first_object(text) {
        let reply = reply_of(&object);
        if reply != Reply::Neither {
            return reply;
        }
    }
    let sql = first_block(text).or_else(|| first_query(text));
    sql.map_or(Reply::Neither, |sql| Reply::Query(Draft { sql: sql.trim().to_owned(), ..Draft::default() }))
}

fn first_object(text: &str) -> Option<Map<String, Value>> {
    let start = text.find('{')?;
    let mut objects = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
    match objects.next()? {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

fn first_block(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("```")?;
    let (language, body) = rest.split_once('\n')?;
    let is_sql = matches!(language.trim().to_ascii_lowercase().as_str(), "" | "sql" | "sqlite" | "postgres" | "postgresql");
    let body = body.split("```").next()?;
    (is_sql && !body.trim().is_empty()).then_some(body)
}

fn first_query(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    let at_word = |word: &str| {
        lower.match_indices(word).map(|(at, _)| at).find(|at| {
            let before = lower[..*at].chars().next_back();
            let after = lower[at + word.len()..].chars().next();
            !before.is_some_and(char::is_alphanumeric) && after.is_some_and(|char| char.is_whitespace() || char == '(')
        })
    };
    let start = ["select", "with", "values"].into_iter().filter_map(at_word).min()?;
    // "I would rather talk with you about the weather" has a query's first word, but is none.
    let rest = &lower[start..];
    let is_query = rest.starts_with("values") && rest.contains('(') || rest.contains("select");
    is_query.then(|| &text[start..])
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_WORDS_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::{Reply, of_text};

    #[test]
    fn queries_are_found_in_words() {
        for (text, expected) in [
            ("Here:\n```sql\nselect 1\n```\nDone.", Some("select 1")),
            ("```\nselect 2\n```", Some("select 2")),
            ("{\"sql\": \"select 3\", \"title\": \"T\"}", Some("select 3")),
            ("The query is SELECT 4 FROM x", Some("SELECT 4 FROM x")),
            ("with a as (select 5) select * from a", Some("with a as (select 5) select * from a")),
            ("I would rather talk about the weather.", None),
            ("Talk with me.", None),
            ("", None),
        ] {
            let found = match of_text(text) {
                Reply::Query(draft) => Some(draft.sql),
                _ => None,
            };
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        let asked = of_text("{\"clarify\": \"Which?\", \"options\": [\"a\", \"b\"]}");
        assert_eq!(asked, Reply::Clarify { question: "Which?".to_owned(), options: vec!["a".to_owned(), "b".to_owned()] });
    }
}
