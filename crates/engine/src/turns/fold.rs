//! The model's stream becomes deltas that everybody sees at once, and parts that are stored.
//!
//! A part stays open until something else follows it, so that the last text of an answer is stored in the same transaction
//! as the answer's end.

use std::sync::Arc;

use domain::sockets::language_model::{ModelEvent, StopReason, Verbatim};
use domain::{EventKind, MessageId, Part, PartBody, PartId, PartKind, Place, Timestamp, ToolCall, TurnId, Usage};
use store::Tx;

use super::run::Run;
use crate::events::{Append, AppendError, Live, OpenPart, PartName};
use crate::{Error, Result};

/// One answer of the model, as far as it has come.
pub(super) struct Fold {
    live: Arc<Live>,
    turn: TurnId,
    message: MessageId,
    ordinal: u32,
    open: Option<Open>,
    /// Parts that are whole and not stored yet.
    ready: Vec<Draft>,
    /// Calls behind which the model went on to speak. They are announced, like all calls, when its answer is whole.
    held: Vec<Draft>,
    usage: Usage,
    stop: Option<StopReason>,
    visible: bool,
    shown_text: bool,
}

/// The part that deltas go to.
struct Open {
    name: PartName,
    /// Nothing will be added to it any more.
    whole: bool,
    verbatim: Option<Verbatim>,
}

/// A part to be stored.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    id: PartId,
    message: MessageId,
    ordinal: u32,
    /// Where it began; `None`: where it is stored.
    place: Option<Place>,
    at: Timestamp,
    pub(super) body: PartBody,
}

impl Fold {
    pub(super) fn new(run: &Run) -> Self {
        Self {
            live: Arc::clone(run.live()),
            turn: run.turn().id,
            message: run.message(),
            ordinal: 0,
            open: None,
            ready: Vec::new(),
            held: Vec::new(),
            usage: Usage::default(),
            stop: None,
            visible: false,
            shown_text: false,
        }
    }

    /// Whether anybody may have seen something of the answer.
    pub(super) const fn is_visible(&self) -> bool {
        self.visible
    }

    /// Whether it shows any text. Thoughts may be thought again.
    pub(super) const fn has_shown_text(&self) -> bool {
        self.shown_text
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.stop.is_some()
    }

    pub(super) fn stop(&self) -> StopReason {
        self.stop.clone().unwrap_or(StopReason::EndTurn)
    }

    pub(super) const fn usage(&self) -> Usage {
        self.usage
    }

    pub(super) fn has_calls(&self) -> bool {
        self.ready.iter().chain(&self.held).any(Draft::is_call)
    }

    pub(super) async fn take(&mut self, run: &Run, event: ModelEvent) -> Result<()> {
        match event {
            ModelEvent::Text(text) => self.write(run, PartKind::Text, &storable(text)).await?,
            ModelEvent::Reasoning(text) => self.write(run, PartKind::Reasoning, &storable(text)).await?,
            ModelEvent::TextDone => self.end_open(PartKind::Text, None),
            ModelEvent::ReasoningDone { verbatim } => self.end_thought(run, verbatim),
            ModelEvent::ToolCall { id, name, input } => {
                let call = ToolCall { id: storable(id), name: storable(name), input };
                self.push(run, PartBody::ToolCall(call));
            }
            ModelEvent::Opaque(verbatim) => self.push(run, PartBody::Opaque(verbatim)),
            ModelEvent::Usage(usage) => self.usage = plausible(usage),
            ModelEvent::Finished(stop) => self.stop = Some(stop),
        }
        Ok(())
    }

    /// Everything that is not stored yet, in order; nothing is open afterwards.
    pub(super) fn take_rest(&mut self) -> Vec<Draft> {
        self.close();
        let ready = std::mem::take(&mut self.ready);
        if self.held.is_empty() {
            return ready;
        }
        let (calls, mut rest): (Vec<Draft>, Vec<Draft>) = ready.into_iter().partition(Draft::is_call);
        for call in std::mem::take(&mut self.held).into_iter().chain(calls) {
            rest.push(Draft { ordinal: self.next_ordinal(), ..call });
        }
        rest
    }

    async fn write(&mut self, run: &Run, kind: PartKind, text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let name = match &self.open {
            Some(open) if open.name.kind == kind && !open.whole => open.name,
            _ => self.begin(run, kind).await?,
        };
        // What is shown while the lease is over might be taken back by whoever has taken the turn over.
        let lease = &run.engine.inner.lease;
        if !lease.holds(&run.claimed.held) && !lease.regained(&run.claimed.held).await {
            return Err(Error::NotFound);
        }
        self.visible = true;
        self.shown_text |= kind == PartKind::Text;
        let written = run.engine.inner.bus.write(&self.live, self.turn, &name, text);
        if written { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Only one part is open at a time: what came before is stored first, so that the log keeps the order.
    async fn begin(&mut self, run: &Run, kind: PartKind) -> Result<PartName> {
        self.close();
        let (calls, drafts): (Vec<Draft>, Vec<Draft>) = std::mem::take(&mut self.ready).into_iter().partition(Draft::is_call);
        self.held.extend(calls);
        if !drafts.is_empty() {
            let (append, turn) = (run.append(), self.turn);
            run.engine.inner.store.write(move |tx| store_parts(tx, &append, turn, drafts)).await?;
        }
        // A part stands behind everything that is in the log before it, also where others have written that.
        run.engine.inner.bus.close_gaps(&self.live).await?;
        let at = run.engine.inner.clock.now();
        let (message, epoch) = (self.message, run.claimed.epoch);
        let name = PartName { message, part: PartId::new(), ordinal: self.next_ordinal(), kind, at, epoch };
        self.open = Some(Open { name, whole: false, verbatim: None });
        Ok(name)
    }

    fn end_open(&mut self, kind: PartKind, verbatim: Option<Verbatim>) {
        if let Some(open) = self.open.as_mut().filter(|open| open.name.kind == kind) {
            open.whole = true;
            open.verbatim = verbatim;
        }
    }

    fn end_thought(&mut self, run: &Run, verbatim: Option<Verbatim>) {
        let is_open = self.open.as_ref().is_some_and(|open| open.name.kind == PartKind::Reasoning && !open.whole);
        if is_open {
            self.end_open(PartKind::Reasoning, verbatim);
        } else {
            self.push(run, PartBody::Reasoning { text: String::new(), verbatim });
        }
    }

    fn push(&mut self, run: &Run, body: PartBody) {
        self.close();
        let (ordinal, at) = (self.next_ordinal(), run.engine.inner.clock.now());
        self.ready.push(Draft { id: PartId::new(), message: self.message, ordinal, place: None, at, body });
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let Some(written) = self.live.open_part().filter(|written| written.part == open.name.part) else { return };
        self.ready.push(Draft::of(written, open.verbatim));
    }

    const fn next_ordinal(&mut self) -> u32 {
        self.ordinal += 1;
        self.ordinal - 1
    }
}

/// Tokens that nobody can have used in one request. Sums of more would not fit into the database.
const MOST_TOKENS: u64 = 1_000_000_000_000;

fn plausible(usage: Usage) -> Usage {
    let Usage { input, output, cache_read, cache_write } = usage;
    let [input, output, cache_read, cache_write] = [input, output, cache_read, cache_write].map(|count| count.min(MOST_TOKENS));
    Usage { input, output, cache_read, cache_write }
}

/// What models say and tools bring may hold anything; U+0000 cannot be stored everywhere.
pub(super) fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text }
}

impl Draft {
    const fn is_call(&self) -> bool {
        matches!(self.body, PartBody::ToolCall(_))
    }

    /// The open part as it will be stored.
    pub(super) fn of(open: OpenPart, verbatim: Option<Verbatim>) -> Self {
        let body = match open.kind {
            PartKind::Text => PartBody::Text { text: open.text },
            PartKind::Reasoning => PartBody::Reasoning { text: open.text, verbatim },
        };
        Self { id: open.part, message: open.message, ordinal: open.ordinal, place: Some(open.place), at: open.at, body }
    }
}

/// Stores parts, each with its event.
pub(super) fn store_parts(tx: &mut Tx, append: &Append, turn: TurnId, drafts: Vec<Draft>) -> Result<(), AppendError> {
    for Draft { id, message, ordinal, place, at, body } in drafts {
        append.event(tx, Some(turn), |seq| {
            let part = Part { id, message, ordinal, place: place.unwrap_or(Place::at(seq)), body, created_at: at };
            match part.body {
                PartBody::ToolCall(_) => EventKind::ToolCalled { part },
                PartBody::ToolResult(_) => EventKind::ToolReturned { part },
                PartBody::Text { .. } | PartBody::Reasoning { .. } | PartBody::Opaque(_) => EventKind::PartCompleted { part },
            }
        })?;
    }
    Ok(())
}
