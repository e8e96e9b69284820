//! From the bytes of a Messages stream to [`ModelEvent`]s. Pure: no clock, no connection.

use std::collections::VecDeque;

use domain::Usage;
use domain::sockets::language_model::{ModelError, ModelEvent, StopReason};
use serde::Deserialize;
use serde_json::Value;

use super::block::Block;
use super::wire::{BlockDelta, DeltaKind};
use crate::errors;
use crate::retry::RetryAdvice;
use crate::sse::{EventTooLarge, SseEvent, SseReader};

/// Blocks that may be open at once. The API writes one after the other; more than a few is a peer gone wrong.
const MAX_OPEN_BLOCKS: usize = 64;

/// Reads one answer. Feed it with [`push`](Self::push) until it [`is_complete`](Self::is_complete) or the stream ends;
/// after an error it must not be fed again. Everything that it does not know is passed over (events, deltas) or kept
/// for sending back (blocks).
#[derive(Debug)]
pub struct AnswerReader {
    sse: SseReader,
    answer: Answer,
}

#[derive(Debug)]
struct Answer {
    /// Names the provider in blocks that are kept for it.
    provider: String,
    /// Names the provider in sentences.
    display_name: String,
    /// In the order in which they began.
    open: Vec<Open>,
    usage: Usage,
    stop: Option<StopReason>,
    /// Something was given that people can see.
    spoke: bool,
    called_a_tool: bool,
    complete: bool,
}

/// A block that has begun and was not given as a whole yet.
#[derive(Debug)]
struct Open {
    /// What the stream calls it.
    index: u64,
    block: Block,
    /// It is whole. A call then waits for those that began before it: their order is the model's.
    stopped: bool,
}

/// The reader's own errors, before they become sentences.
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

impl From<serde_json::Error> for Trouble {
    fn from(_: serde_json::Error) -> Self {
        Self::Unreadable
    }
}

impl AnswerReader {
    /// `provider` marks the blocks that only it understands, `display_name` stands in sentences.
    #[must_use]
    pub fn new(provider: &str, display_name: &str) -> Self {
        let answer = Answer {
            provider: provider.to_owned(),
            display_name: display_name.to_owned(),
            open: Vec::new(),
            usage: Usage::default(),
            stop: None,
            spoke: false,
            called_a_tool: false,
            complete: false,
        };
        Self { sse: SseReader::default(), answer }
    }

    /// Takes the next bytes of the response and gives what they complete to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut impl Extend<ModelEvent>) -> Result<(), ModelError> {
        let Self { sse, answer } = self;
        let taken = sse.push(bytes, |event| answer.take(event, out));
        match taken {
            Ok(()) => Ok(()),
            // The answer is whole already: trouble behind it changes nothing.
            Err(_) if answer.stop.is_some() => {
                answer.finish(out);
                Ok(())
            }
            Err(Trouble::Unreadable) => Err(errors::unreadable(&answer.display_name)),
            Err(Trouble::Told(error)) => Err(error),
        }
    }

    /// The stream ended in good order. Without a stop reason the answer is not whole, and that is an error.
    pub fn end(&mut self, out: &mut impl Extend<ModelEvent>) -> Result<(), ModelError> {
        let name = &self.answer.display_name;
        let error = if self.answer.spoke {
            errors::truncated(name)
        } else if self.sse.is_foreign() {
            errors::unreadable(name)
        } else {
            errors::broken(name)
        };
        self.end_with(error, out)
    }

    /// The connection failed with `error`, which stands unless the stop reason was there already.
    pub fn end_with(&mut self, error: ModelError, out: &mut impl Extend<ModelEvent>) -> Result<(), ModelError> {
        if self.answer.stop.is_none() {
            return Err(error);
        }
        self.answer.finish(out);
        Ok(())
    }

    /// [`ModelEvent::Finished`] was given; nothing comes after it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.answer.complete
    }

    /// The stop reason was read: only the formal end of the stream is missing.
    #[must_use]
    pub fn is_nearly_complete(&self) -> bool {
        self.answer.stop.is_some()
    }
}

impl Answer {
    fn take(&mut self, event: SseEvent<'_>, out: &mut impl Extend<ModelEvent>) -> Result<(), Trouble> {
        if self.complete {
            return Ok(());
        }
        match event.name {
            // Some servers leave the name out; it is in the data as well.
            "" | "message" => match serde_json::from_str::<Named>(event.data) {
                Ok(named) => self.take_named(&named.name, event.data, out),
                Err(_) => Ok(()),
            },
            name => self.take_named(name, event.data, out),
        }
    }

    fn take_named(&mut self, name: &str, data: &str, out: &mut impl Extend<ModelEvent>) -> Result<(), Trouble> {
        match name {
            "content_block_delta" => self.take_delta(data, out),
            "content_block_start" => self.start_block(serde_json::from_str(data)?, out),
            "content_block_stop" => {
                self.stop_block(index_of(&serde_json::from_str(data)?), out);
                Ok(())
            }
            "message_start" => {
                self.count(&serde_json::from_str::<Value>(data)?["message"]["usage"], out);
                Ok(())
            }
            "message_delta" => {
                let event: Value = serde_json::from_str(data)?;
                self.count(&event["usage"], out);
                if let Some(reason) = event["delta"]["stop_reason"].as_str() {
                    self.stop = Some(stop_reason(reason));
                }
                Ok(())
            }
            "message_stop" if self.stop.is_some() => {
                self.finish(out);
                Ok(())
            }
            "message_stop" => Err(Trouble::Told(errors::truncated(&self.display_name))),
            "error" => Err(Trouble::Told(self.told(data))),
            _ => Ok(()),
        }
    }

    fn take_delta(&mut self, data: &str, out: &mut impl Extend<ModelEvent>) -> Result<(), Trouble> {
        let BlockDelta { index, delta } = match serde_json::from_str(data) {
            Ok(delta) => delta,
            Err(_) => return unless_unknown(data),
        };
        if delta.kind == DeltaKind::Other {
            return Ok(());
        }
        let position = match self.position(index) {
            Some(position) => position,
            None => match Block::implied(delta.kind) {
                Some(block) => self.open_block(index, block, out)?,
                None => return Ok(()),
            },
        };
        let Some(open) = self.open.get_mut(position) else { return Ok(()) };
        if let Some(event) = open.block.add(delta).map_err(|_| Trouble::Unreadable)? {
            self.spoke = true;
            out.extend([event]);
        }
        Ok(())
    }

    fn start_block(&mut self, mut event: Value, out: &mut impl Extend<ModelEvent>) -> Result<(), Trouble> {
        let index = index_of(&event);
        self.stop_block(index, out);
        let Some(Value::Object(content)) = event.get_mut("content_block").map(Value::take) else { return Ok(()) };
        let (block, first) = Block::start(content);
        self.open_block(index, block, out)?;
        if let Some(event) = first {
            self.spoke = true;
            out.extend([event]);
        }
        Ok(())
    }

    /// Says where the new block stands among the open ones.
    fn open_block(&mut self, index: u64, block: Block, out: &mut impl Extend<ModelEvent>) -> Result<usize, Trouble> {
        self.end_pieces(out);
        if self.open.len() >= MAX_OPEN_BLOCKS {
            return Err(Trouble::Unreadable);
        }
        self.open.push(Open { index, block, stopped: false });
        Ok(self.open.len() - 1)
    }

    /// Pieces carry no index, so a text or thought that was left open ends where something else begins or is given.
    fn end_pieces(&mut self, out: &mut impl Extend<ModelEvent>) {
        while let Some(at) = self.open.iter().position(Open::is_written_piece_by_piece) {
            let Open { block, .. } = self.open.remove(at);
            out.extend(block.close(&self.provider));
        }
    }

    fn stop_block(&mut self, index: u64, out: &mut impl Extend<ModelEvent>) {
        let Some(position) = self.position(index) else { return };
        if self.open[position].is_written_piece_by_piece() {
            let Open { block, .. } = self.open.remove(position);
            return self.close(block, out);
        }
        self.open[position].stopped = true;
        while let Some(first) = self.open.iter().position(|open| !open.is_written_piece_by_piece())
            && self.open[first].stopped
        {
            let Open { block, .. } = self.open.remove(first);
            self.close(block, out);
        }
    }

    fn position(&self, index: u64) -> Option<usize> {
        self.open.iter().position(|open| open.index == index && !open.stopped)
    }

    fn close(&mut self, block: Block, out: &mut impl Extend<ModelEvent>) {
        if !block.is_written_piece_by_piece() {
            self.end_pieces(out);
        }
        let event = block.close(&self.provider);
        if matches!(event, Some(ModelEvent::ToolCall { .. })) {
            self.called_a_tool = true;
            self.spoke = true;
        }
        out.extend(event);
    }

    /// Counts are cumulative, and an absent or null one means that the last one stands.
    fn count(&mut self, usage: &Value, out: &mut impl Extend<ModelEvent>) {
        let before = self.usage;
        let last = |name: &str, count: &mut u64| *count = usage[name].as_u64().unwrap_or(*count);
        last("input_tokens", &mut self.usage.input);
        last("output_tokens", &mut self.usage.output);
        last("cache_read_input_tokens", &mut self.usage.cache_read);
        last("cache_creation_input_tokens", &mut self.usage.cache_write);
        if self.usage != before {
            out.extend([ModelEvent::Usage(self.usage)]);
        }
    }

    fn finish(&mut self, out: &mut impl Extend<ModelEvent>) {
        let Some(stop) = self.stop.clone() else { return };
        if std::mem::replace(&mut self.complete, true) {
            return;
        }
        self.end_pieces(out);
        for Open { block, .. } in std::mem::take(&mut self.open) {
            self.close(block, out);
        }
        // A call wants its result, whatever the server calls the reason.
        let stop = if stop == StopReason::EndTurn && self.called_a_tool { StopReason::ToolUse } else { stop };
        out.extend([ModelEvent::Finished(stop)]);
    }

    fn told(&self, data: &str) -> ModelError {
        let known = serde_json::from_str::<Value>(data).ok().and_then(|event| super::errors::status_of(&event));
        let status = known.unwrap_or(errors::STATUS_UNKNOWN);
        errors::refused(&self.display_name, status, RetryAdvice::of_status(status))
    }
}

impl Open {
    fn is_written_piece_by_piece(&self) -> bool {
        self.block.is_written_piece_by_piece()
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

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "type")]
    name: String,
}

fn index_of(event: &Value) -> u64 {
    event["index"].as_u64().unwrap_or(0)
}

/// A delta that does not fit is ours to pass over only if its type is one that we do not know.
fn unless_unknown(data: &str) -> Result<(), Trouble> {
    let event: Value = serde_json::from_str(data)?;
    match serde_json::from_value(event["delta"]["type"].clone()) {
        Ok(DeltaKind::Other) => Ok(()),
        _ => Err(Trouble::Unreadable),
    }
}

fn stop_reason(reason: &str) -> StopReason {
    match reason {
        "tool_use" => StopReason::ToolUse,
        "max_tokens" => StopReason::MaxTokens,
        "pause_turn" => StopReason::Paused,
        "refusal" => StopReason::Refused,
        "model_context_window_exceeded" => StopReason::ContextWindowExceeded,
        // `end_turn`, `stop_sequence`, and whatever comes later: the model has stopped.
        _ => StopReason::EndTurn,
    }
}
