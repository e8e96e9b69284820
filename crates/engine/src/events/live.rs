//! The live log of one conversation: an append-only buffer, and a `watch` that says how long it is.
//!
//! Each follower keeps its own place in the buffer, so a publisher does the same little work for one follower as for ten
//! thousand, and a slow one holds up nobody: if the buffer has moved on, it reads from the store what it has missed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use domain::{
    ConversationId, Cursor, Delta, Event, EventKind, MessageId, PartBody, PartId, PartKind, Place, Seq, Timestamp, TurnId,
};
use tokio::sync::watch;

use super::feed::FeedLog;
use super::pieces::{self, Piece, Unplaced};

/// Encodings that an entry can remember: one for each face that streams.
pub const SLOTS: usize = 4;

/// Entries that one conversation keeps for its followers. Who is further behind reads from the store.
const ENTRIES: usize = 8192;
/// What is said in them, in bytes: a few results of tools may be as large as all words of a long talk. With the encodings for
/// each face it may be four times as much in memory.
const BYTES: usize = 8 * 1024 * 1024;

/// One thing that happened, with the position that a follower has reached once it has seen it.
#[derive(Debug)]
pub struct Entry {
    pub cursor: Cursor,
    pub what: What,
    encoded: [OnceLock<Option<Bytes>>; SLOTS],
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// It is on disk.
    Fact(Event),
    /// It will be within 50 ms.
    Delta(Delta),
}

impl Entry {
    pub(crate) fn new(cursor: Cursor, what: What) -> Arc<Self> {
        Arc::new(Self { cursor, what, encoded: Default::default() })
    }

    #[must_use]
    pub const fn conversation(&self) -> ConversationId {
        match &self.what {
            What::Fact(event) => event.conversation,
            What::Delta(delta) => delta.conversation,
        }
    }

    #[must_use]
    pub const fn turn(&self) -> Option<TurnId> {
        match &self.what {
            What::Fact(event) => event.turn,
            What::Delta(delta) => Some(delta.turn),
        }
    }

    /// Bytes of what it says, about.
    pub(crate) fn size(&self) -> usize {
        let part = match &self.what {
            What::Delta(delta) => return delta.text.len(),
            What::Fact(event) => match &event.kind {
                EventKind::MessageAdded { part, .. }
                | EventKind::PartCompleted { part }
                | EventKind::ToolCalled { part }
                | EventKind::ToolReturned { part } => part,
                EventKind::ConversationCreated
                | EventKind::ConversationRenamed { .. }
                | EventKind::ConversationChanged
                | EventKind::ConversationDeleted
                | EventKind::ConversationClosed { .. }
                | EventKind::TurnStarted { .. }
                | EventKind::TurnResumed
                | EventKind::StatusNoted { .. }
                | EventKind::QuestionAsked { .. }
                | EventKind::QuestionAnswered { .. }
                | EventKind::TurnFinished { .. } => return 0,
            },
        };
        match &part.body {
            PartBody::Text { text } | PartBody::Reasoning { text, .. } => text.len(),
            PartBody::ToolCall(call) => call.input.values().map(size_of_json).sum(),
            PartBody::ToolResult(result) => result.output.len(),
            PartBody::Opaque(verbatim) => size_of_json(&verbatim.block),
        }
    }

    /// The entry in the words of the face that owns `slot` (below [`SLOTS`]). It is encoded once, and every follower gets
    /// the same bytes; `None` if the face has no words for it.
    pub fn encoded(&self, slot: usize, encode: impl FnOnce(&Self) -> Option<Bytes>) -> Option<Bytes> {
        match self.encoded.get(slot) {
            Some(cell) => cell.get_or_init(|| encode(self)).clone(),
            None => encode(self),
        }
    }
}

/// The part that is being written, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPart {
    pub turn: TurnId,
    pub message: MessageId,
    pub part: PartId,
    pub ordinal: u32,
    pub kind: PartKind,
    pub place: Place,
    /// When it began.
    pub at: Timestamp,
    pub text: String,
}

/// The live log of one conversation.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) conversation: ConversationId,
    state: Mutex<State>,
    /// Entries ever appended here; followers wait for it to grow.
    length: watch::Sender<u64>,
    /// Set while the flusher has this log on its list.
    pub(crate) dirty: std::sync::atomic::AtomicBool,
    feed: Arc<FeedLog>,
}

#[derive(Debug, Default)]
struct State {
    /// The end of the log as far as it has been published; `None` until the store has told it.
    head: Option<(i64, Seq)>,
    /// Facts that came before one with a smaller number: commits answer in order, threads do not.
    early: BTreeMap<Seq, Event>,
    /// The number of the first entry still kept.
    base: u64,
    entries: VecDeque<Arc<Entry>>,
    /// Of all entries.
    bytes: usize,
    open: Option<OpenPart>,
    /// Bytes of the open part that are in the store, or are for another node to store.
    flushed: usize,
    /// Text that another node writes and that does not fit yet.
    unplaced: Unplaced,
    ended: bool,
}

/// Where a follower stands when it attaches.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) index: u64,
    pub(crate) cursor: Cursor,
    pub(crate) open: Option<OpenPart>,
}

/// What a follower finds at its place in the buffer.
pub(crate) enum Found {
    Entries(Vec<Arc<Entry>>),
    /// The buffer has moved on; the store knows the rest.
    TooFarBehind,
    /// Nothing will come any more.
    Ended,
}

impl Live {
    pub(super) fn new(conversation: ConversationId, feed: Arc<FeedLog>) -> Self {
        Self {
            conversation,
            feed,
            state: Mutex::default(),
            length: watch::channel(0).0,
            dirty: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Tells the log where it ends in the store. Facts that were published meanwhile are taken up or dropped.
    /// `open`: the part that another node is writing.
    /// `false`: it has been told already.
    pub(crate) fn load(&self, epoch: i64, seq: Seq, open: Option<OpenPart>) -> bool {
        let mut state = self.lock();
        if state.head.is_some() {
            return false;
        }
        state.head = Some((epoch, seq));
        state.flushed = open.as_ref().map_or(0, |open| open.text.len());
        state.open = open;
        self.take_early(&mut state);
        self.place_pieces(&mut state);
        true
    }

    /// The end of the log, once it is loaded.
    pub(crate) fn head(&self) -> Option<(i64, Seq)> {
        self.lock().head
    }

    /// Whether facts wait for one before them that has not come.
    pub(crate) fn has_gap(&self) -> bool {
        let state = self.lock();
        state.head.is_some() && !state.early.is_empty()
    }

    /// Publishes a fact that is on disk. Facts may come in any order, and more than once. `false`: those before it have not
    /// come yet.
    pub(crate) fn publish(&self, event: Event) -> bool {
        let mut state = self.lock();
        state.early.insert(event.seq, event);
        self.take_early(&mut state);
        self.place_pieces(&mut state);
        state.head.is_none() || state.early.is_empty()
    }

    /// Takes a piece of text that another node writes, if it is not known yet. `false`: something before it is missing.
    pub(crate) fn receive(&self, piece: Piece) -> bool {
        let mut state = self.lock();
        state.unplaced.add(piece);
        state.head.is_none() || self.place_pieces(&mut state)
    }

    /// Takes what the store has of the part that another node writes, as of event `seq`. `known`: what is known of pieces
    /// that do not fit.
    pub(crate) fn restore(&self, epoch: i64, seq: Seq, open: Option<OpenPart>, complete: &[PartId]) {
        let mut state = self.lock();
        state.unplaced.forget(complete);
        if state.head.is_some_and(|(now, last)| now == epoch && last >= seq)
            && let Some(open) = open
        {
            let is_new = state.open.as_ref().is_none_or(|ours| ours.part != open.part);
            // A part that is new here may have been completed since the store was read.
            if !is_new || (state.head == Some((epoch, seq)) && !state.unplaced.has_closed(open.part)) {
                self.append_rest(&mut state, &open);
            }
        }
        self.place_pieces(&mut state);
    }

    /// Parts of which there are pieces that do not fit.
    pub(crate) fn unplaced(&self) -> Vec<PartId> {
        self.lock().unplaced.parts()
    }

    /// The conversation is deleted, by another node that could not tell more.
    pub(crate) fn delete(&self, at: Timestamp) {
        let mut state = self.lock();
        let Some((epoch, seq)) = state.head.filter(|_| !state.ended) else { return };
        let kind = EventKind::ConversationDeleted;
        let event = Event { conversation: self.conversation, seq: Seq(seq.0 + 1), epoch, at, turn: None, kind };
        state.head = Some((epoch, event.seq));
        self.push_fact(&mut state, event);
    }

    /// Goes on from another end of the log; followers read from the store what lies between.
    pub(crate) fn jump(&self, epoch: i64, seq: Seq) {
        let mut state = self.lock();
        if state.head.is_some_and(|(_, last)| last < seq) {
            self.begin_anew(&mut state, epoch, seq);
            self.take_early(&mut state);
        }
    }

    /// Publishes the next piece of a part, which it opens if it is not open.
    pub(crate) fn write(&self, turn: TurnId, part: &PartName, text: &str) -> Option<Arc<Entry>> {
        let mut state = self.lock();
        // Another epoch is another node's.
        let (epoch, seq) = state.head.filter(|(epoch, _)| *epoch == part.epoch)?;
        if state.open.as_ref().is_none_or(|open| open.part != part.part) {
            state.flushed = 0;
            state.open = Some(OpenPart {
                turn,
                message: part.message,
                part: part.part,
                ordinal: part.ordinal,
                kind: part.kind,
                place: Place::behind(seq),
                at: part.at,
                text: String::new(),
            });
        }
        let open = state.open.as_mut()?;
        let offset = open.text.len();
        open.text.push_str(text);
        let delta = Delta {
            conversation: self.conversation,
            turn,
            message: part.message,
            part: part.part,
            ordinal: part.ordinal,
            kind: part.kind,
            place: open.place,
            offset,
            text: text.into(),
        };
        let entry = Entry::new(Cursor { epoch, seq, offset: offset + text.len() }, What::Delta(delta));
        self.push(&mut state, Arc::clone(&entry));
        Some(entry)
    }

    /// The part that is being written.
    pub(crate) fn open_part(&self) -> Option<OpenPart> {
        self.lock().open.clone()
    }

    /// What of the open part is not in the store yet, where it begins, and the epoch. It is taken to be stored from now on.
    pub(crate) fn take_unflushed(&self) -> Option<(OpenPart, usize, i64)> {
        let mut state = self.lock();
        let start = state.flushed;
        let (epoch, _) = state.head?;
        let open = state.open.as_ref().filter(|open| open.text.len() > start)?;
        let unflushed = OpenPart { text: open.text[start..].to_owned(), ..open.clone_without_text() };
        state.flushed = start + unflushed.text.len();
        Some((unflushed, start, epoch))
    }

    /// What of this part lies behind `start` could not be stored after all.
    pub(crate) fn put_back(&self, part: PartId, start: usize) {
        let mut state = self.lock();
        if state.open.as_ref().is_some_and(|open| open.part == part) {
            state.flushed = state.flushed.min(start);
        }
    }

    /// The end of the log, for a follower that attaches now.
    pub(crate) fn mark(&self) -> Mark {
        let state = self.lock();
        let (epoch, seq) = state.head.unwrap_or_default();
        let offset = state.open.as_ref().map_or(0, |open| open.text.len());
        let index = state.base + state.entries.len() as u64;
        Mark { index, cursor: Cursor { epoch, seq, offset }, open: state.open.clone() }
    }

    /// The number of the entry of the fact behind `seq`; `None` if it is not here.
    pub(crate) fn index_behind(&self, seq: Seq) -> Option<u64> {
        let state = self.lock();
        let index = state.entries.partition_point(|entry| entry.cursor.seq <= seq);
        let next = state.entries.get(index)?;
        let is_it = matches!(&next.what, What::Fact(event) if event.seq.0 == seq.0 + 1);
        is_it.then_some(state.base + index as u64)
    }

    /// At most `limit` entries from number `index` on; possibly none.
    pub(crate) fn entries(&self, index: u64, limit: usize) -> Found {
        let state = self.lock();
        let Some(start) = index.checked_sub(state.base) else { return Found::TooFarBehind };
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(state.entries.len());
        let end = start.saturating_add(limit).min(state.entries.len());
        if start == end && state.ended {
            return Found::Ended;
        }
        Found::Entries(state.entries.range(start..end).cloned().collect())
    }

    /// Wakes whenever the log has grown.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.length.subscribe()
    }

    fn take_early(&self, state: &mut State) {
        let Some((mut epoch, mut seq)) = state.head else { return };
        while let Some(first) = state.early.first_entry() {
            if first.key().0 > seq.0 + 1 {
                return;
            }
            let event = first.remove();
            if event.seq <= seq {
                continue;
            }
            let is_new_epoch = event.epoch > epoch && seq > Seq(0);
            (epoch, seq) = (event.epoch, event.seq);
            if is_new_epoch {
                self.begin_anew(state, epoch, seq);
                self.feed.push(|| Entry::new(Cursor { epoch, seq, offset: 0 }, What::Fact(event)));
                continue;
            }
            // The rest of a part that the fact completes stands before it.
            self.push_fact(state, event);
            state.head = Some((epoch, seq));
        }
    }

    /// What was shown may be more than what is left of it. Every follower has to look, in the store, whether its position is
    /// still good, and where it leads.
    fn begin_anew(&self, state: &mut State, epoch: i64, seq: Seq) {
        state.head = Some((epoch, seq));
        state.open = None;
        state.base += state.entries.len() as u64 + 1;
        state.entries.clear();
        state.bytes = 0;
        self.length.send_replace(state.base);
    }

    fn push_fact(&self, state: &mut State, event: Event) {
        if let EventKind::PartCompleted { part } = &event.kind {
            // Who writes a part has shown all of it. Here some of what another node has shown may not have come yet.
            if let Some(whole) = pieces::as_open(part, &event) {
                self.append_rest(state, &whole);
            }
            state.unplaced.close(part.id);
        }
        if state.open.as_ref().is_some_and(|open| closes(&event, open)) {
            state.open = None;
        }
        let offset = state.open.as_ref().map_or(0, |open| open.text.len());
        state.ended |= event.kind == EventKind::ConversationDeleted;
        let cursor = Cursor { epoch: event.epoch, seq: event.seq, offset };
        self.push(state, Entry::new(cursor, What::Fact(event)));
    }

    /// Shows what `whole` has more than is shown already; it is opened if it is not open.
    fn append_rest(&self, state: &mut State, whole: &OpenPart) {
        let known = state.open.as_ref().filter(|open| open.part == whole.part).map_or(0, |open| open.text.len());
        if let Some(rest) = whole.text.get(known..) {
            self.append(state, whole, rest);
        }
    }

    /// Shows the next text of a part that another node writes, which is opened if it is not open. The text of `part` itself
    /// is ignored.
    fn append(&self, state: &mut State, part: &OpenPart, text: &str) {
        let Some((epoch, seq)) = state.head else { return };
        if state.open.as_ref().is_none_or(|open| open.part != part.part) {
            state.open = Some(part.clone_without_text());
        }
        for piece in pieces::split(text) {
            let Some(open) = state.open.as_mut() else { return };
            let offset = open.text.len();
            open.text.push_str(piece);
            let delta = open.delta(self.conversation, offset, piece);
            state.flushed = open.text.len();
            self.push(state, Entry::new(Cursor { epoch, seq, offset: offset + piece.len() }, What::Delta(delta)));
        }
    }

    /// `false`: some do not fit because something is missing.
    fn place_pieces(&self, state: &mut State) -> bool {
        let Some((epoch, seq)) = state.head else { return false };
        while let Some((part, text)) = state.unplaced.next(epoch, seq, state.open.as_ref()) {
            self.append(state, &part, &text);
        }
        state.unplaced.is_empty()
    }

    fn push(&self, state: &mut State, entry: Arc<Entry>) {
        self.feed.push(|| Arc::clone(&entry));
        state.bytes += entry.size();
        state.entries.push_back(entry);
        while state.entries.len() > ENTRIES || (state.bytes > BYTES && state.entries.len() > 1) {
            let Some(oldest) = state.entries.pop_front() else { break };
            state.bytes -= oldest.size();
            state.base += 1;
        }
        let length = state.base + state.entries.len() as u64;
        self.length.send_replace(length);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which part a piece of text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartName {
    pub(crate) message: MessageId,
    pub(crate) part: PartId,
    pub(crate) ordinal: u32,
    pub(crate) kind: PartKind,
    /// When it began.
    pub(crate) at: Timestamp,
    /// The epoch in which it may be written.
    pub(crate) epoch: i64,
}

impl OpenPart {
    /// The piece of it that begins at `offset`.
    pub(crate) fn delta(&self, conversation: ConversationId, offset: usize, text: &str) -> Delta {
        let Self { turn, message, part, ordinal, kind, place, .. } = *self;
        Delta { conversation, turn, message, part, ordinal, kind, place, offset, text: text.into() }
    }

    pub(super) const fn clone_without_text(&self) -> Self {
        Self {
            turn: self.turn,
            message: self.message,
            part: self.part,
            ordinal: self.ordinal,
            kind: self.kind,
            place: self.place,
            at: self.at,
            text: String::new(),
        }
    }
}

fn size_of_json(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => 8,
        serde_json::Value::String(text) => text.len(),
        serde_json::Value::Array(items) => items.iter().map(size_of_json).sum(),
        serde_json::Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size_of_json(value)).sum(),
    }
}

/// A resumed turn voids what it had open; the end of a turn leaves nothing of it open. A turn that is ended while it waits
/// says nothing about the one that runs.
fn closes(event: &Event, open: &OpenPart) -> bool {
    match &event.kind {
        EventKind::PartCompleted { part } => open.part == part.id,
        EventKind::TurnResumed | EventKind::TurnFinished { .. } => event.turn == Some(open.turn),
        EventKind::ConversationDeleted => true,
        EventKind::ConversationCreated
        | EventKind::ConversationRenamed { .. }
        | EventKind::ConversationChanged
        | EventKind::ConversationClosed { .. }
        | EventKind::MessageAdded { .. }
        | EventKind::TurnStarted { .. }
        | EventKind::ToolCalled { .. }
        | EventKind::ToolReturned { .. }
        | EventKind::QuestionAsked { .. }
        | EventKind::QuestionAnswered { .. }
        | EventKind::StatusNoted { .. } => false,
    }
}
