//! Following a conversation: a snapshot and the position it stands for, then everything after it, once, in order.
//!
//! Replay and live are one path. Attaching reads the live log first and the store second: what the live log had published
//! is on disk by then, and what came later stands in the live log behind the mark. The words of a part reach a follower as
//! deltas in any case: if the part was complete before the follower came, as one delta with what was still missing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::{
    Author, Conversation, ConversationId, Cursor, Event, EventKind, MessageId, Part, PartBody, Principal, Seq, ToolCall, Turn,
    TurnId,
};
use store::{StoreError, Tx, events, messages, turns};
use tokio::sync::watch;
use tokio::time::Instant;

use super::bus::Attached;
use super::live::{Entry, Found, Mark, OpenPart, What};
use super::pieces::{self, as_open};
use crate::nodes::LEASE;
use crate::{Engine, Error, Result, access};

/// Events read from the store at once.
const REPLAY_PAGE: u32 = 256;
/// How long the text that another node has shown may be on its way to the store, or here: a node that cannot store anything
/// for a lease loses it, and then its text is taken back.
const STORED_WITHIN: Duration = LEASE.saturating_mul(2);
/// Between two looks at the store: at first, and at most.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOK_AT_LEAST: Duration = Duration::from_millis(320);
/// Entries handed out at once.
const BATCH: usize = 256;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Now,
    /// Right behind this position.
    Cursor(Cursor),
    /// Right before this turn started, if it has; otherwise as [`Self::Now`].
    Turn(TurnId),
    /// Right before the turn started that runs now; if none does, as [`Self::Now`].
    RunningTurn,
}

/// What a follower is given when it attaches.
#[derive(Debug)]
pub struct Opened {
    pub conversation: Conversation,
    /// The position behind which `follow` begins.
    pub cursor: Cursor,
    /// The part that was being written when the follower attached, with its text so far.
    pub open: Option<OpenPart>,
    /// The turn that was running when the follower attached. Not for one that resumes: it has seen it, or is about to.
    pub running: Option<RunningTurn>,
    /// Which turn that was, also for one that resumes.
    pub runs: Option<TurnId>,
    pub follow: Follow,
    /// The end of the log when the follower attached.
    pub(crate) as_of: Seq,
}

/// A turn in mid-course.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningTurn {
    pub turn: Turn,
    /// The messages it answers.
    pub answers: Vec<MessageId>,
    /// Turns that wait behind it.
    pub queued: u32,
    /// Its texts that are complete; the one being written is [`Opened::open`].
    pub texts: Vec<Part>,
    /// Its tool calls that have not ended.
    pub open_calls: Vec<ToolCall>,
}

pub(crate) async fn follow(engine: &Engine, who: Principal, id: ConversationId, from: From) -> Result<Opened> {
    let attached = engine.inner.bus.live(id).await?;
    let grown = attached.live.watch();
    let give_up = Instant::now() + STORED_WITHIN;
    let (mut is_current, mut pause) = (!engine.inner.bus.is_shared(), LOOK_AGAIN);
    let (mark, look) = loop {
        let mark = attached.live.mark();
        let (look, standing) = look(engine, who, id, from, mark.clone()).await?;
        match standing {
            Standing::Good => break (mark, look),
            // Facts are in the store before anybody is shown them.
            Standing::BeyondLog if !is_current => {}
            Standing::BeyondText if engine.inner.bus.is_shared() && Instant::now() < give_up => {
                if is_current {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LOOK_AT_LEAST);
                }
            }
            Standing::BeyondLog | Standing::BeyondText | Standing::Nowhere => {
                tracing::info!(conversation = %id, ?from, end = ?mark.cursor, ?standing, "a position is refused");
                return Err(Error::BadCursor);
            }
        }
        engine.inner.bus.catch_up(&attached.live).await?;
        is_current = true;
    };
    let (as_of, open) = (mark.cursor.seq, mark.open.clone());
    let Look { conversation, running, runs, from } = look;
    let (cursor, stage) = match from {
        Some(cursor) => (cursor, Stage::Replaying { until: mark }),
        None => (mark.cursor, Stage::Live { next: mark.index }),
    };
    let follow = Follow { engine: engine.clone(), attached, grown, seen: cursor, stage };
    Ok(Opened { conversation, cursor, open, running, runs, follow, as_of })
}

/// The position right before the turn started; `None`: it has not.
fn before(tx: &mut Tx, id: ConversationId, turn: TurnId) -> Result<Option<Cursor>, StoreError> {
    let Some(started) = turns::started_seq(tx, turn)? else { return Ok(None) };
    let seq = Seq(started.0 - 1);
    let epoch = events::epoch_of(tx, id, seq)?.unwrap_or_default();
    Ok(Some(Cursor { epoch, seq, offset: 0 }))
}

/// What is to be known at the mark.
struct Look {
    conversation: Conversation,
    running: Option<RunningTurn>,
    runs: Option<TurnId>,
    /// The position behind which to begin; `None`: the mark itself.
    from: Option<Cursor>,
}

/// Also says how `from` stands to the log. The rest counts only if that is [`Standing::Good`].
async fn look(engine: &Engine, who: Principal, id: ConversationId, from: From, mark: Mark) -> Result<(Look, Standing)> {
    let (home, as_of) = (engine.home, mark.cursor.seq);
    let look = engine.inner.store.read(move |tx| {
        let conversation = access::conversation(tx, who, home, id)?;
        let mut standing = Standing::Good;
        let (running, from) = match from {
            From::Now => (running_turn(tx, id, as_of)?, None),
            From::Cursor(cursor) => {
                standing = stands(tx, id, cursor, &mark)?;
                (None, Some(cursor))
            }
            From::Turn(turn) => (running_turn(tx, id, as_of)?, before(tx, id, turn)?),
            From::RunningTurn => {
                let running = running_turn(tx, id, as_of)?;
                let from = running.as_ref().map(|running| before(tx, id, running.turn.id)).transpose()?;
                (running, from.flatten())
            }
        };
        let runs = match &running {
            Some(running) => Some(running.turn.id),
            None => turns::running_at(tx, id, as_of)?.map(|turn| turn.id),
        };
        Ok::<_, Error>((Look { conversation, running, runs, from }, standing))
    });
    look.await
}

/// A place in the log of one conversation, and what comes after it.
#[derive(Debug)]
pub struct Follow {
    engine: Engine,
    attached: Attached,
    grown: watch::Receiver<u64>,
    /// The position of the last entry handed out.
    seen: Cursor,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Reading from the store up to the mark.
    Replaying { until: Mark },
    /// Reading from the live log, from this number on.
    Live { next: u64 },
}

impl Opened {
    /// The end of the log when the follower attached: events up to this one had happened before.
    #[must_use]
    pub const fn as_of(&self) -> Seq {
        self.as_of
    }
}

impl Follow {
    /// What comes behind the fact that `cursor` names, if the live log still has all of that.
    pub(crate) fn behind(engine: &Engine, attached: Attached, cursor: Cursor) -> Option<Self> {
        let grown = attached.live.watch();
        let next = attached.live.index_behind(cursor.seq)?;
        Some(Self { engine: engine.clone(), attached, grown, seen: cursor, stage: Stage::Live { next } })
    }

    /// What had happened before the follower attached and is still to be handed out; `None` once there is nothing left, and
    /// [`next`](Self::next) waits for what happens from then on. May be dropped and called again without losing anything.
    ///
    /// # Errors
    /// The database's.
    pub async fn replay_next(&mut self) -> Result<Option<Vec<Arc<Entry>>>> {
        while let Stage::Replaying { until } = &self.stage {
            let (entries, stage) = self.replay(until.clone()).await?;
            self.stage = stage;
            if let Some(last) = entries.last() {
                self.seen = last.cursor;
                return Ok(Some(entries));
            }
        }
        Ok(None)
    }

    /// What comes next: at least one entry; `None` once the conversation is deleted. May be dropped and called again
    /// without losing anything.
    ///
    /// # Errors
    /// [`Error::BadCursor`]: a node has died, and what was shown here of its text is more than what is left of it; or the
    /// database's.
    pub async fn next(&mut self) -> Result<Option<Vec<Arc<Entry>>>> {
        loop {
            let entries = match &self.stage {
                Stage::Replaying { until } => {
                    let until = until.clone();
                    let (entries, stage) = self.replay(until).await?;
                    self.stage = stage;
                    entries
                }
                Stage::Live { next } => {
                    let next = *next;
                    self.grown.mark_unchanged();
                    match self.attached.live.entries(next, BATCH) {
                        Found::Entries(entries) => {
                            self.stage = Stage::Live { next: next + entries.len() as u64 };
                            entries
                        }
                        Found::TooFarBehind => {
                            let mark = self.attached.live.mark();
                            if mark.cursor.epoch > self.seen.epoch {
                                self.check(mark.clone()).await?;
                            }
                            self.stage = Stage::Replaying { until: mark };
                            continue;
                        }
                        Found::Ended => return Ok(None),
                    }
                }
            };
            if let Some(last) = entries.last() {
                self.seen = last.cursor;
                return Ok(Some(entries));
            }
            if matches!(self.stage, Stage::Live { .. }) && self.grown.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Whether what was handed out so far is still part of the log.
    async fn check(&self, mark: Mark) -> Result<()> {
        let (id, seen) = (self.attached.live.conversation, self.seen);
        match self.engine.inner.store.read(move |tx| stands(tx, id, seen, &mark)).await? {
            Standing::Good => Ok(()),
            standing => {
                tracing::info!(conversation = %id, ?seen, ?standing, "what was shown is taken back");
                Err(Error::BadCursor)
            }
        }
    }

    /// One page of the store, and the stage after it.
    async fn replay(&self, until: Mark) -> Result<(Vec<Arc<Entry>>, Stage)> {
        let (id, after, end) = (self.attached.live.conversation, self.seen.seq, until.cursor.seq);
        let page = self.engine.inner.store.read(move |tx| events::range(tx, id, after, end, REPLAY_PAGE)).await;
        let page = page.map_err(Error::from)?;
        let whole = page.len() < REPLAY_PAGE as usize;
        let mut replay = Replay { at: self.seen, entries: VecDeque::new() };
        page.into_iter().for_each(|event| replay.fact(event));
        if !whole {
            return Ok((replay.entries.into(), Stage::Replaying { until }));
        }
        if let Some(open) = &until.open {
            replay.missing(id, open);
        }
        Ok((replay.entries.into(), Stage::Live { next: until.index }))
    }
}

/// Turns stored facts into the entries that a follower at `at` has not seen.
struct Replay {
    at: Cursor,
    entries: VecDeque<Arc<Entry>>,
}

impl Replay {
    fn fact(&mut self, event: Event) {
        let (epoch, seq) = (event.epoch, event.seq);
        let mut offset = self.at.offset;
        match &event.kind {
            EventKind::PartCompleted { part } => {
                if let Some(open) = as_open(part, &event) {
                    self.missing(event.conversation, &open);
                }
                offset = 0;
            }
            EventKind::TurnResumed => offset = 0,
            // What a turn was writing is complete before it finishes; and one that was ended while it waited has written
            // nothing, whereas the one that runs goes on with its text.
            EventKind::TurnFinished { .. }
            | EventKind::ConversationCreated
            | EventKind::ConversationRenamed { .. }
            | EventKind::ConversationChanged
            | EventKind::ConversationDeleted
            | EventKind::ConversationClosed { .. }
            | EventKind::MessageAdded { .. }
            | EventKind::TurnStarted { .. }
            | EventKind::ToolCalled { .. }
            | EventKind::ToolReturned { .. }
            | EventKind::QuestionAsked { .. }
            | EventKind::QuestionAnswered { .. }
            | EventKind::StatusNoted { .. } => {}
        }
        self.at = Cursor { epoch, seq, offset };
        self.entries.push_back(Entry::new(self.at, What::Fact(event)));
    }

    /// The rest of a part, if there is a rest: in pieces, so that a slow reader can be told from a stalled one.
    fn missing(&mut self, conversation: ConversationId, part: &OpenPart) {
        let Some(rest) = part.text.get(self.at.offset..) else { return };
        for text in pieces::split(rest) {
            let delta = part.delta(conversation, self.at.offset, text);
            self.at.offset += text.len();
            self.entries.push_back(Entry::new(self.at, What::Delta(delta)));
        }
    }
}

/// How a position stands to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    /// It lies behind the last fact.
    BeyondLog,
    /// It lies behind the last text of the part that is being written.
    BeyondText,
    /// It is of another log, or of text that was taken back.
    Nowhere,
}

/// How `cursor` stands to this log: its last event must be the one that was numbered so in that epoch, and its offset must lie
/// in the part that was being written then.
fn stands(tx: &mut Tx, id: ConversationId, cursor: Cursor, mark: &Mark) -> Result<Standing> {
    if cursor.epoch > mark.cursor.epoch || cursor.seq > mark.cursor.seq {
        return Ok(Standing::BeyondLog);
    }
    if cursor.seq > Seq(0) && events::epoch_of(tx, id, cursor.seq)?.is_none_or(|epoch| epoch > cursor.epoch) {
        return Ok(Standing::Nowhere);
    }
    if cursor.offset == 0 {
        return Ok(Standing::Good);
    }
    let written = text_being_written(tx, id, cursor.seq, mark)?;
    Ok(match written {
        Written::Text { text, .. } if text.is_char_boundary(cursor.offset) => Standing::Good,
        Written::Text { text, may_grow } if may_grow && cursor.offset > text.len() && cursor.epoch == mark.cursor.epoch => {
            Standing::BeyondText
        }
        Written::Text { .. } | Written::Nothing => Standing::Nowhere,
    })
}

/// What was being written at some time.
enum Written {
    Text {
        text: String,
        may_grow: bool,
    },
    /// There was nothing, or a crash has taken it back.
    Nothing,
}

/// The text of the part that was open right after event `seq`.
fn text_being_written(tx: &mut Tx, id: ConversationId, seq: Seq, mark: &Mark) -> Result<Written, StoreError> {
    let Some(turn) = turns::running_at(tx, id, seq)? else { return Ok(Written::Nothing) };
    let mut after = seq;
    loop {
        let page = events::range(tx, id, after, mark.cursor.seq, REPLAY_PAGE)?;
        let next = page.last().map(|event| event.seq).filter(|_| page.len() == REPLAY_PAGE as usize);
        // Turns that are ended while they wait come in between, and mean nothing to the one that writes.
        for event in page.into_iter().filter(|event| event.turn == Some(turn.id)) {
            match event.kind {
                EventKind::PartCompleted { part } => {
                    let text = part.body.text().map(str::to_owned);
                    return Ok(text.map_or(Written::Nothing, |text| Written::Text { text, may_grow: false }));
                }
                EventKind::TurnStarted { .. }
                | EventKind::TurnResumed
                | EventKind::TurnFinished { .. }
                | EventKind::ToolCalled { .. }
                | EventKind::ToolReturned { .. }
                | EventKind::QuestionAsked { .. }
                | EventKind::ConversationDeleted => return Ok(Written::Nothing),
                EventKind::ConversationCreated
                | EventKind::ConversationRenamed { .. }
                | EventKind::ConversationChanged
                | EventKind::ConversationClosed { .. }
                | EventKind::MessageAdded { .. }
                | EventKind::QuestionAnswered { .. }
                | EventKind::StatusNoted { .. } => {}
            }
        }
        match next {
            Some(last) => after = last,
            None => {
                let open = mark.open.as_ref().filter(|open| open.turn == turn.id);
                return Ok(Written::Text { text: open.map_or_else(String::new, |open| open.text.clone()), may_grow: true });
            }
        }
    }
}

fn running_turn(tx: &mut Tx, id: ConversationId, as_of: Seq) -> Result<Option<RunningTurn>, StoreError> {
    let Some(turn) = turns::running_at(tx, id, as_of)? else { return Ok(None) };
    let queued = turns::open(tx, id)?.iter().filter(|open| open.id != turn.id).count();
    let (mut answers, mut texts) = (Vec::new(), Vec::new());
    let mut open_calls: Vec<ToolCall> = Vec::new();
    for message in messages::of_turn_as_of(tx, turn.id, as_of)? {
        let from_agent = message.author == Author::Agent;
        if matches!(message.author, Author::Person(_)) {
            answers.push(message.id);
        }
        for part in message.parts {
            match &part.body {
                PartBody::Text { .. } if from_agent => texts.push(part),
                PartBody::ToolCall(call) => open_calls.push(call.clone()),
                PartBody::ToolResult(result) => open_calls.retain(|call| call.id != result.call_id),
                PartBody::Text { .. } | PartBody::Reasoning { .. } | PartBody::Opaque(_) => {}
            }
        }
    }
    Ok(Some(RunningTurn { turn, answers, queued: u32::try_from(queued).unwrap_or(u32::MAX), texts, open_calls }))
}
