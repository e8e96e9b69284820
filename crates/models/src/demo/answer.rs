//! What the demo model says to a prompt: a pure function of it.

use domain::sockets::language_model::{ModelEvent, ModelRequest, PromptMessage, Role, StopReason};
use domain::{PartBody, ToolResult, Usage};
use serde_json::{Map, Value, json};

use super::command::Command;
use super::{rules, summary};

/// One event, and how it is paced.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Beat {
    pub pause: Pause,
    pub event: ModelEvent,
}

/// What to wait before an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    None,
    Word,
    /// Between the numbers of a slow count.
    Number,
}

const ABOUT: &str = "I am the **demo model**: no AI, just a few fixed answers. Set `ANTHROPIC_API_KEY` or `OPENAI_API_KEY` and restart to talk to a real one.";

const ABILITIES: &str = "\n\nI do drive the real tools, so try:\n\n\
    - `list files`, or `list files in src`\n\
    - `read README.md`\n\
    - `search main`\n\
    - `count to 20 slowly`, to see streaming, stopping and `continue`\n\
    - `think`, to see a thought\n";

/// Where questions can be asked.
const ASKING: &str = "- `ask me`, to see a question\n";

/// The engine's tool that asks people.
pub(super) const ASK_USER: &str = "ask_user";

/// Labels that are commands themselves, and what they do.
const OPTIONS: [(&str, &str); 3] = [
    ("list files", "Which files there are."),
    ("read README.md", "How the description begins."),
    ("search main", "Where it stands."),
];

/// Characters of a token, roughly, as everybody counts them.
const CHARS_PER_TOKEN: usize = 4;

pub(super) fn answer(request: &ModelRequest) -> Vec<Beat> {
    let mut answer = Writer { request, beats: Vec::new(), calls: 0, chars: 0 };
    if request.forced_tool.as_deref() == Some(rules::TOOL) {
        answer.push_call(rules::TOOL, rules::answer(request));
        return answer.finish();
    }
    let said = match request.messages.last() {
        Some(last) if last.role == Role::User => last.parts.as_slice(),
        _ => &[],
    };
    let results: Vec<&ToolResult> = said.iter().filter_map(as_result).collect();
    if !results.is_empty() {
        answer.say(&summary::of(&results));
    }
    let chosen = results.iter().filter(|result| result.name == ASK_USER && !result.is_error());
    let chosen = chosen.map(|result| result.output.as_str());
    match texts(said).chain(chosen).rev().find_map(Command::parse) {
        Some(command) => answer.obey(&command),
        None if results.is_empty() => {
            let asking = if answer.offers(ASK_USER) { ASKING } else { "" };
            answer.say(&format!("{ABOUT}{ABILITIES}{asking}"));
        }
        None => {}
    }
    answer.finish()
}

struct Writer<'a> {
    request: &'a ModelRequest,
    beats: Vec<Beat>,
    calls: usize,
    chars: usize,
}

impl Writer<'_> {
    fn obey(&mut self, command: &Command) {
        match command {
            Command::List { glob } => {
                self.call("I look which files there are.", "glob", &[[("pattern", glob.as_str())].as_slice()]);
            }
            Command::Read { paths } => {
                let inputs: Vec<[(&str, &str); 1]> = paths.iter().map(|path| [("path", path.as_str())]).collect();
                let inputs: Vec<&[(&str, &str)]> = inputs.iter().map(<[_; 1]>::as_slice).collect();
                self.call("I read it.", "read_file", &inputs);
            }
            Command::Search { pattern, glob } => {
                let mut input = vec![("pattern", pattern.as_str())];
                input.extend(glob.as_deref().map(|glob| ("glob", glob)));
                self.call("I search for it.", "grep", &[&input]);
            }
            Command::Count { to, slowly } => self.count(1, *to, *slowly),
            Command::Continue => match unfinished_count(&self.request.messages) {
                Some((next, to, slowly)) => self.count(next, to, slowly),
                None => self.say("There is no unfinished count to go on with. Try `count to 20 slowly`."),
            },
            Command::Think => self.think(),
            Command::Ask => self.ask(),
        }
    }

    /// One call per input, all at once.
    fn call(&mut self, words: &str, tool: &str, inputs: &[&[(&str, &str)]]) {
        if !self.announce(words, tool) {
            return;
        }
        for input in inputs {
            let fields = input.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
            self.push_call(tool, Map::from_iter(fields));
        }
    }

    /// A question whose options are what the demo model understands.
    fn ask(&mut self) {
        if !self.announce("I do what you choose.", ASK_USER) {
            return;
        }
        let option = |(label, description)| json!({"label": label, "description": description});
        let options: Vec<Value> = OPTIONS.map(option).to_vec();
        let question = json!({"question": "What shall I do?", "header": "Next", "options": options, "multiSelect": false});
        self.push_call(ASK_USER, Map::from_iter([("questions".to_owned(), json!([question]))]));
    }

    /// Says what comes, if the tool for it is offered; else that it is not.
    fn announce(&mut self, words: &str, tool: &str) -> bool {
        let is_offered = self.offers(tool);
        match is_offered {
            true => self.say(words),
            false => self.say(&format!("For that I would call the tool `{tool}`, but it is not offered here.")),
        }
        is_offered
    }

    fn offers(&self, tool: &str) -> bool {
        self.request.tools.iter().any(|spec| spec.name == tool)
    }

    fn push_call(&mut self, tool: &str, input: Map<String, Value>) {
        self.calls += 1;
        let id = format!("demo_{}_{}", self.request.messages.len(), self.calls);
        self.push(Pause::Word, ModelEvent::ToolCall { id, name: tool.to_owned(), input });
    }

    fn count(&mut self, from: u32, to: u32, slowly: bool) {
        if from > to {
            return self.say("I am there already.");
        }
        for number in from..=to {
            let pause = match (slowly, number == from) {
                (_, true) => Pause::None,
                (true, false) => Pause::Number,
                (false, false) => Pause::Word,
            };
            self.write(pause, if number == from { number.to_string() } else { format!(" {number}") });
        }
        self.push(Pause::None, ModelEvent::TextDone);
    }

    fn think(&mut self) {
        for word in words("The person wants to see me think. I have no thoughts, but I can show where they would stand.") {
            self.push(Pause::Word, ModelEvent::Reasoning(word.to_owned()));
        }
        self.push(Pause::None, ModelEvent::ReasoningDone { verbatim: None });
        self.say("That was a thought, as a real model would show it.");
    }

    /// A text part, word by word.
    fn say(&mut self, text: &str) {
        for word in words(text) {
            self.write(Pause::Word, word.to_owned());
        }
        self.push(Pause::None, ModelEvent::TextDone);
    }

    fn write(&mut self, pause: Pause, text: String) {
        self.chars += text.chars().count();
        self.push(pause, ModelEvent::Text(text));
    }

    fn push(&mut self, pause: Pause, event: ModelEvent) {
        self.beats.push(Beat { pause, event });
    }

    fn finish(mut self) -> Vec<Beat> {
        let tokens = |chars: usize| u64::try_from(chars.div_ceil(CHARS_PER_TOKEN)).unwrap_or(u64::MAX);
        let prompt = self.request.messages.iter().flat_map(|message| &message.parts).map(chars_of).sum();
        let usage = Usage { input: tokens(prompt), output: tokens(self.chars), ..Usage::default() };
        let stop = if self.calls > 0 { StopReason::ToolUse } else { StopReason::EndTurn };
        self.push(Pause::None, ModelEvent::Usage(usage));
        self.push(Pause::None, ModelEvent::Finished(stop));
        self.beats
    }
}

/// The next number, the last one, and the pace of the count that the newest answer broke off.
fn unfinished_count(messages: &[PromptMessage]) -> Option<(u32, u32, bool)> {
    let (_, before) = messages.split_last()?;
    let (newest, earlier) = before.split_last()?;
    let (to, slowly) = earlier.iter().rev().filter(|message| message.role == Role::User).find_map(|message| {
        match texts(&message.parts).rev().find_map(Command::parse) {
            Some(Command::Count { to, slowly }) => Some((to, slowly)),
            _ => None,
        }
    })?;
    let reached = match newest.role {
        Role::Assistant => texts(&newest.parts).rev().find_map(last_number)?,
        Role::User => return None,
    };
    (reached < to).then_some((reached + 1, to, slowly))
}

fn last_number(text: &str) -> Option<u32> {
    text.split_whitespace().next_back()?.parse().ok()
}

fn texts(parts: &[PartBody]) -> impl DoubleEndedIterator<Item = &str> {
    parts.iter().filter_map(|part| match part {
        PartBody::Text { text } => Some(text.as_str()),
        _ => None,
    })
}

fn as_result(part: &PartBody) -> Option<&ToolResult> {
    match part {
        PartBody::ToolResult(result) => Some(result),
        _ => None,
    }
}

fn chars_of(part: &PartBody) -> usize {
    match part {
        PartBody::ToolResult(result) => result.output.len(),
        other => other.text().map_or(0, str::len),
    }
}

/// Words with the white space before them: joined, they are the text again.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let word = rest.find(|char: char| !char.is_whitespace()).unwrap_or(rest.len());
        let end = rest[word..].find(char::is_whitespace).map_or(rest.len(), |length| word + length);
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_joined_are_the_text() {
        for text in ["", " ", "a", " a b\n\n- c ", "ä  €\n"] {
            assert_eq!(words(text).collect::<String>(), text);
        }
    }
}
