//! From the bytes of a Chat Completions answer to [`ModelEvent`]s. Pure: no clock, no connection.

use std::collections::VecDeque;
use std::mem;

use domain::Usage;
use domain::sockets::language_model::{ModelError, ModelEvent, StopReason};
use serde_json::Value;

use super::calls::{Calls, TooMuch};
use super::errors::status_of;
use crate::errors;
use crate::retry::RetryAdvice;
use crate::sse::{EventTooLarge, SseReader};

/// Bytes of an answer that comes in one piece.
const MAX_WHOLE_BYTES: usize = 16 * 1024 * 1024;
const DONE: &str = "[DONE]";

/// Reads one answer, streamed or in one piece: a body that begins with a brace is one JSON object, whatever was asked for.
/// What it does not know is passed over.
#[derive(Debug)]
pub struct AnswerReader {
    form: Form,
    answer: Answer,
}

#[derive(Debug)]
enum Form {
    Unknown,
    Stream(SseReader),
    Whole(Vec<u8>),
}

#[derive(Debug)]
struct Answer {
    /// Unique among the answers of this server.
    id: String,
    display_name: String,
    open: Open,
    calls: Calls,
    usage: Usage,
    stop: Option<StopReason>,
    spoke: bool,
    complete: bool,
}

/// The block that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    Thought,
}

#[derive(Debug)]
enum Trouble {
    Unreadable,
    Told(ModelError),
}

impl From<EventTooLarge> for Trouble {
    fn from(_: EventTooLarge) -> Self {
        Self::Unreadable
    }
}

impl From<TooMuch> for Trouble {
    fn from(_: TooMuch) -> Self {
        Self::Unreadable
    }
}

impl From<serde_json::Error> for Trouble {
    fn from(_: serde_json::Error) -> Self {
        Self::Unreadable
    }
}

impl AnswerReader {
    /// `id` is unique to this answer, `display_name` stands in sentences.
    #[must_use]
    pub fn new(id: &str, display_name: &str) -> Self {
        let answer = Answer {
            id: id.to_owned(),
            display_name: display_name.to_owned(),
            open: Open::Nothing,
            calls: Calls::default(),
            usage: Usage::default(),
            stop: None,
            spoke: false,
            complete: false,
        };
        Self { form: Form::Unknown, answer }
    }

    /// Takes the next bytes of the response and gives what they complete to `out`.
    ///
    /// # Errors
    /// The server told of a failure, or what it sends cannot be read.
    pub fn push(&mut self, bytes: &[u8], out: &mut impl Extend<ModelEvent>) -> Result<(), ModelError> {
        if matches!(self.form, Form::Unknown) {
            let Some(first) = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) else { return Ok(()) };
            self.form = if *first == b'{' { Form::Whole(Vec::new()) } else { Form::Stream(SseReader::default()) };
        }
        let answer = &mut self.answer;
        let taken = match &mut self.form {
            Form::Stream(sse) => sse.push(bytes, |event| answer.take(event.data, out)),
            Form::Whole(body) if body.len() + bytes.len() <= MAX_WHOLE_BYTES => {
                body.extend_from_slice(bytes);
                Ok(())
            }
            Form::Whole(_) | Form::Unknown => Err(Trouble::Unreadable),
        };
        answer.settle(taken, out)
    }

    /// The response ended in good order. Without a reason to stop the answer is not whole, and that is an error.
    ///
    /// # Errors
    /// The answer is not whole.
    pub fn end(&mut self, out: &mut impl Extend<ModelEvent>) -> Result<(), ModelError> {
        let foreign = match &self.form {
            Form::Unknown => false,
            Form::Stream(sse) => sse.is_foreign(),
            Form::Whole(_) => true,
        };
        if let Form::Whole(body) = mem::replace(&mut self.form, Form::Unknown) {
            let taken = match std::str::from_utf8(&body) {
                Ok(text) => self.answer.take(text.trim(), out),
                Err(_) => Err(Trouble::Unreadable),
            };
            self.answer.settle(taken, out)?;
        }
        let name = &self.answer.display_name;
        let error = if self.answer.spoke {
            errors::truncated(name)
        } else if foreign {
            errors::unreadable(name)
        } else {
            errors::broken(name)
        };
        self.end_with(error, out)
    }

    /// The connection failed with `error`, which stands unless the answer had its end already.
    ///
    /// # Errors
    /// `error`.
    pub fn end_with(&mut self, error: ModelError, out: &mut impl Extend<ModelEvent>) -> Result<(), ModelError> {
        if self.answer.complete {
            return Ok(());
        }
        if self.answer.stop.is_none() {
            return Err(error);
        }
        self.answer.finish(out);
        Ok(())
    }

    /// [`ModelEvent::Finished`] was given; nothing comes after it.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.answer.complete
    }

    /// The reason to stop was read: only usage and the formal end are missing.
    #[must_use]
    pub const fn is_nearly_complete(&self) -> bool {
        self.answer.stop.is_some()
    }
}

impl Answer {
    fn settle(&mut self, taken: Result<(), Trouble>, out: &mut impl Extend<ModelEvent>) -> Result<(), ModelError> {
        match taken {
            Ok(()) => Ok(()),
            // The answer is whole already: trouble behind it changes nothing.
            Err(_) if self.stop.is_some() => {
                self.finish(out);
                Ok(())
            }
            Err(Trouble::Unreadable) => Err(errors::unreadable(&self.display_name)),
            Err(Trouble::Told(error)) => Err(error),
        }
    }

    fn take(&mut self, data: &str, out: &mut impl Extend<ModelEvent>) -> Result<(), Trouble> {
        // Some proxies keep a connection alive with events that are empty.
        if self.complete || data.trim().is_empty() {
            return Ok(());
        }
        if data.trim() == DONE {
            return self.done(out);
        }
        let chunk: Value = serde_json::from_str(data)?;
        if chunk["error"].is_object() || chunk["error"].is_string() {
            return Err(Trouble::Told(self.told(&chunk)));
        }
        for choice in chunk["choices"].as_array().into_iter().flatten().take(1) {
            self.take_choice(choice, out)?;
        }
        self.count(&chunk["usage"], out);
        Ok(())
    }

    /// The formal end. Some servers forget the reason; what was said then counts as all there is.
    fn done(&mut self, out: &mut impl Extend<ModelEvent>) -> Result<(), Trouble> {
        if self.stop.is_none() {
            if !self.spoke && self.calls.is_empty() {
                return Err(Trouble::Told(errors::broken(&self.display_name)));
            }
            self.stop = Some(StopReason::EndTurn);
        }
        self.finish(out);
        Ok(())
    }

    fn take_choice(&mut self, choice: &Value, out: &mut impl Extend<ModelEvent>) -> Result<(), Trouble> {
        let said = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
        for name in ["reasoning_content", "reasoning"] {
            if let Some(text) = said[name].as_str().filter(|text| !text.is_empty()) {
                self.say(Open::Thought, text, out);
                break;
            }
        }
        self.take_content(&said["content"], out);
        if let Some(text) = said["refusal"].as_str().filter(|text| !text.is_empty()) {
            self.say(Open::Text, text, out);
            self.stop.get_or_insert(StopReason::Refused);
        }
        for call in said["tool_calls"].as_array().into_iter().flatten() {
            self.calls.add(call)?;
        }
        if said["function_call"].is_object() {
            self.calls.add(&serde_json::json!({"index": 0, "function": said["function_call"]}))?;
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            let told = stop_reason(reason);
            let refused = self.stop == Some(StopReason::Refused) && told == StopReason::EndTurn;
            self.stop = Some(if refused { StopReason::Refused } else { told });
        }
        Ok(())
    }

    /// A text, or a list of parts with texts.
    fn take_content(&mut self, content: &Value, out: &mut impl Extend<ModelEvent>) {
        match content {
            Value::String(text) => self.say(Open::Text, text, out),
            Value::Array(parts) => {
                for text in parts.iter().filter_map(|part| part["text"].as_str()) {
                    self.say(Open::Text, text, out);
                }
            }
            _ => {}
        }
    }

    fn say(&mut self, what: Open, text: &str, out: &mut impl Extend<ModelEvent>) {
        if text.is_empty() {
            return;
        }
        if self.open != what {
            self.close(out);
            self.open = what;
        }
        self.spoke = true;
        let text = text.to_owned();
        out.extend([if what == Open::Thought { ModelEvent::Reasoning(text) } else { ModelEvent::Text(text) }]);
    }

    fn close(&mut self, out: &mut impl Extend<ModelEvent>) {
        match mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => {}
            Open::Text => out.extend([ModelEvent::TextDone]),
            Open::Thought => out.extend([ModelEvent::ReasoningDone { verbatim: None }]),
        }
    }

    /// What the cache served is part of the prompt's tokens here.
    fn count(&mut self, usage: &Value, out: &mut impl Extend<ModelEvent>) {
        let Some(prompt) = usage["prompt_tokens"].as_u64() else { return };
        let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0).min(prompt);
        let output = usage["completion_tokens"].as_u64().unwrap_or(self.usage.output);
        let counted = Usage { input: prompt - cached, output, cache_read: cached, cache_write: 0 };
        if counted != self.usage {
            self.usage = counted;
            out.extend([ModelEvent::Usage(counted)]);
        }
    }

    fn finish(&mut self, out: &mut impl Extend<ModelEvent>) {
        let Some(stop) = self.stop.clone() else { return };
        if mem::replace(&mut self.complete, true) {
            return;
        }
        self.close(out);
        let calls: Vec<ModelEvent> = mem::take(&mut self.calls).finish(&self.id).collect();
        // A call wants its result, whatever the server calls the reason.
        let stop = match (stop, calls.is_empty()) {
            (StopReason::EndTurn, false) => StopReason::ToolUse,
            (StopReason::ToolUse, true) => StopReason::EndTurn,
            (stop, _) => stop,
        };
        out.extend(calls);
        out.extend([ModelEvent::Finished(stop)]);
    }

    fn told(&self, body: &Value) -> ModelError {
        let status = status_of(body).unwrap_or(errors::STATUS_UNKNOWN);
        errors::refused(&self.display_name, status, RetryAdvice::of_status(status))
    }
}

impl crate::answer::Reader for AnswerReader {
    fn push(&mut self, bytes: &[u8], out: &mut VecDeque<ModelEvent>) -> Result<(), ModelError> {
        Self::push(self, bytes, out)
    }

    fn end(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), ModelError> {
        Self::end(self, out)
    }

    fn end_with(&mut self, error: ModelError, out: &mut VecDeque<ModelEvent>) -> Result<(), ModelError> {
        Self::end_with(self, error, out)
    }

    fn is_complete(&self) -> bool {
        Self::is_complete(self)
    }

    fn is_nearly_complete(&self) -> bool {
        Self::is_nearly_complete(self)
    }
}

fn stop_reason(reason: &str) -> StopReason {
    match reason {
        "length" => StopReason::MaxTokens,
        "tool_calls" | "function_call" => StopReason::ToolUse,
        "content_filter" => StopReason::Refused,
        // `stop`, and whatever comes later: the model has stopped.
        _ => StopReason::EndTurn,
    }
}
