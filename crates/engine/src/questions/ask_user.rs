//! The tool with which a model asks people. It never runs: its turn ends with the question, and the answer is its result.

use domain::sockets::tool::{Effect, ToolSpec};
use domain::{Choice, ChoiceCall, ChoiceOption, Mode, ToolCall};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) const NAME: &str = "ask_user";

/// More would be a form, not a question.
const MOST_QUESTIONS: usize = 4;
/// Fewer than two is no choice; more do not fit beside each other.
const OPTIONS: std::ops::RangeInclusive<usize> = 2..=4;
/// A header stands over a column of buttons.
const HEADER_CHARACTERS: usize = 12;

const DESCRIPTION: &str = "Asks the person to choose, and waits for the answer. Use it only when the request can be meant in \
    several ways that lead to different answers. 1 to 4 questions, each with 2 to 4 options and a header of at most 12 \
    characters. The person may also answer in own words.";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    questions: Vec<InputQuestion>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputQuestion {
    question: String,
    header: String,
    options: Vec<InputOption>,
    #[serde(default, rename = "multiSelect")]
    multi_select: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputOption {
    label: String,
    #[serde(default)]
    description: String,
}

/// What a call asks, or why it cannot be asked, in a sentence for the model.
pub(crate) fn read(call: &ToolCall) -> Result<ChoiceCall, String> {
    let input: Input = Input::deserialize(Value::Object(call.input.clone())).map_err(|error| wrong(&error.to_string()))?;
    if !(1..=MOST_QUESTIONS).contains(&input.questions.len()) {
        return Err(wrong("`questions` must have 1 to 4 elements"));
    }
    let choices = input.questions.into_iter().map(choice).collect::<Result<_, _>>()?;
    Ok(ChoiceCall { call_id: call.id.clone(), choices })
}

fn choice(question: InputQuestion) -> Result<Choice, String> {
    let InputQuestion { question, header, options, multi_select } = question;
    if question.trim().is_empty() {
        return Err(wrong("`question` must not be empty"));
    }
    if header.chars().count() > HEADER_CHARACTERS {
        return Err(wrong("`header` must have at most 12 characters"));
    }
    if !OPTIONS.contains(&options.len()) {
        return Err(wrong("`options` must have 2 to 4 elements"));
    }
    if options.iter().any(|option| option.label.trim().is_empty()) {
        return Err(wrong("`label` must not be empty"));
    }
    let options = options.into_iter().map(|InputOption { label, description }| ChoiceOption { label, description }).collect();
    Ok(Choice { question, header, options, multi_select })
}

/// serde quotes what does not fit, which a model may have made as long as it likes.
fn wrong(reason: &str) -> String {
    const REASON_CHARACTERS: usize = 300;
    format!("Invalid input: {}", reason.chars().take(REASON_CHARACTERS).collect::<String>())
}

pub(crate) fn spec() -> ToolSpec {
    let text = |description: &str| json!({"type": "string", "description": description});
    let option = json!({
        "type": "object",
        "properties": {"label": text("A few words, shown on a button."), "description": text("What choosing it means.")},
        "required": ["label", "description"],
        "additionalProperties": false
    });
    let question = json!({
        "type": "object",
        "properties": {
            "question": text("The whole question."),
            "header": text("One or two words over it, at most 12 characters."),
            "options": {"type": "array", "items": option, "minItems": OPTIONS.start(), "maxItems": OPTIONS.end()},
            "multiSelect": {"type": "boolean", "description": "Whether several options may be chosen."}
        },
        "required": ["question", "header", "options"],
        "additionalProperties": false
    });
    let input_schema = json!({
        "type": "object",
        "properties": {
            "questions": {"type": "array", "items": question, "minItems": 1, "maxItems": MOST_QUESTIONS}
        },
        "required": ["questions"],
        "additionalProperties": false
    });
    ToolSpec {
        name: NAME.to_owned(),
        description: DESCRIPTION.to_owned(),
        input_schema,
        effect: Effect::Pure,
        modes: Mode::ALL.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read_input(input: Value) -> Result<ChoiceCall, String> {
        let Value::Object(input) = input else { return Err("no object".to_owned()) };
        read(&ToolCall { id: "q".to_owned(), name: NAME.to_owned(), input })
    }

    fn question(header: &str, options: usize) -> Value {
        let options: Vec<Value> = (0..options).map(|n| json!({"label": format!("{n}"), "description": ""})).collect();
        json!({"question": "Which?", "header": header, "options": options})
    }

    #[test]
    fn what_keeps_the_limits_is_asked() {
        for input in [
            json!({"questions": [question("é".repeat(12).as_str(), 2)]}),
            json!({"questions": [question("a", 4), question("b", 2), question("c", 3), question("", 2)]}),
        ] {
            assert!(read_input(input.clone()).is_ok(), "{input}");
        }
    }

    #[test]
    fn what_breaks_a_limit_is_refused() {
        for input in [
            json!({}),
            json!({"questions": []}),
            json!({"questions": "which?"}),
            json!({"questions": [question("thirteen char", 2)]}),
            json!({"questions": [question("a", 1)]}),
            json!({"questions": [question("a", 5)]}),
            json!({"questions": [question("a", 2), question("a", 2), question("a", 2), question("a", 2), question("a", 2)]}),
            json!({"questions": [{"question": " ", "header": "", "options": [{"label": "a"}, {"label": "b"}]}]}),
            json!({"questions": [{"question": "q", "header": "", "options": [{"label": "a"}, {"label": " "}]}]}),
            json!({"questions": [question("a", 2)], "more": 1}),
        ] {
            assert!(read_input(input.clone()).is_err(), "{input}");
        }
        assert!(read_input(json!({"questions": "x".repeat(10_000)})).unwrap_err().chars().count() < 400);
    }
}
