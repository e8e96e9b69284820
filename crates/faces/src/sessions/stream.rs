//! The three streams: one turn (the answer to a POST), one session, all sessions.
//!
//! Each takes what has happened into a queue and encodes from its front, so that a future that is dropped in between loses
//! nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use axum::body::Bytes;
use axum::response::Response;
use domain::{Conversation, ConversationId, Cursor, EventKind, MessageId, PartKind, Principal, TurnId};
use engine::{Engine, Entry, Error, Feed, Follow, From, OpenPart, Opened, Paging, Post, RunningTurn, What};

use super::outgoing::{self, FEED_SLOT, Projection, SLOT, project};
use super::wire::{Connected, Event, Session};
use crate::App;
use crate::kit::auth::Caller;
use crate::kit::error::SessionsError;
use crate::kit::sse::{self, CHUNK_BYTES, Source};

/// Where a reader wants to go on, in its own words, and whether it wants thoughts.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    pub position: Option<String>,
    pub reasoning: bool,
}

const RESET: Event<'static> = Event::SessionReset { reason: "The position is unknown; load the messages again" };

/// Posts a message; the answer is its turn, from the message on.
pub async fn turn(app: &App, caller: Caller, post: Post, reasoning: bool) -> Result<Response, SessionsError> {
    let (who, session) = (caller.principal(), post.conversation);
    let (posted, follow) = app.engine.post_and_follow(who, post).await?;
    let source = OneTurn {
        follow,
        pending: VecDeque::new(),
        begun: false,
        session,
        message: posted.message.id,
        turn: posted.turn,
        reply: None,
        reasoning,
        ended: false,
    };
    Ok(sse::answer(app, caller.0, source))
}

/// Everything that happens in one session.
pub async fn session(app: &App, caller: Caller, id: ConversationId, wish: Wish) -> Result<Response, SessionsError> {
    let (opened, resumed, reset) = open(&app.engine, caller.principal(), id, wish.position.as_deref()).await?;
    let source = OneSession {
        opening: opening(&opened, resumed, reset, wish.reasoning),
        engine: app.engine.clone(),
        who: caller.principal(),
        follow: opened.follow,
        pending: VecDeque::new(),
        chunk: Vec::new(),
        reasoning: wish.reasoning,
    };
    Ok(sse::answer(app, caller.0, source))
}

/// Everything that happens in all sessions of the caller.
pub async fn all(app: &App, caller: Caller, wish: Wish) -> Result<Response, SessionsError> {
    let who = caller.principal();
    let mut feed = app.engine.feed(who);
    let resumed = wish.position.as_deref().is_some_and(|position| feed.resume(position));
    let (opening, shown) = feed_opening(&app.engine, who, &feed, resumed, &wish).await?;
    let source = AllSessions {
        opening,
        engine: app.engine.clone(),
        who,
        feed,
        shown,
        pending: VecDeque::new(),
        chunk: Vec::new(),
        reasoning: wish.reasoning,
    };
    Ok(sse::answer(app, caller.0, source))
}

struct OneTurn {
    follow: Follow,
    pending: VecDeque<Arc<Entry>>,
    /// The message itself has come by; nothing before it belongs to the answer.
    begun: bool,
    session: ConversationId,
    message: MessageId,
    turn: TurnId,
    /// The first assistant message, once the turn has begun.
    reply: Option<MessageId>,
    reasoning: bool,
    ended: bool,
}

impl Source for OneTurn {
    async fn next(&mut self) -> Option<Bytes> {
        let mut chunk = Vec::new();
        while chunk.is_empty() && !self.ended {
            if self.pending.is_empty() {
                match self.follow.next().await {
                    Ok(Some(entries)) => self.pending.extend(entries),
                    Ok(None) => self.end_without_done(&mut chunk),
                    // It has been logged, and the turn goes on; the client can come back for the rest.
                    Err(_) => self.ended = true,
                }
            }
            while chunk.len() < CHUNK_BYTES
                && !self.ended
                && let Some(entry) = self.pending.pop_front()
            {
                self.push(&mut chunk, &entry);
            }
        }
        (!chunk.is_empty()).then(|| chunk.into())
    }
}

impl OneTurn {
    fn push(&mut self, chunk: &mut Vec<u8>, entry: &Entry) {
        if let What::Fact(fact) = &entry.what
            && let EventKind::MessageAdded { part, queued, steered, .. } = &fact.kind
        {
            if part.message == self.message {
                self.begun = true;
                let waits = outgoing::queued_event(self.message, *queued, *steered);
                waits.iter().for_each(|event| outgoing::push(chunk, self.session, event, Some(&entry.cursor)));
            }
            return;
        }
        if !self.begun || entry.turn() != Some(self.turn) || is_hidden(entry, self.reasoning) {
            return;
        }
        if let What::Fact(fact) = &entry.what {
            if let EventKind::TurnStarted { reply, .. } = &fact.kind {
                self.reply = Some(*reply);
            }
            self.ended = matches!(fact.kind, EventKind::TurnFinished { .. });
        }
        if let Some(bytes) = entry.encoded(SLOT, encode) {
            chunk.extend_from_slice(&bytes);
        }
    }

    /// The session was deleted before the turn could end. Clients wait for `message.done` and for nothing else.
    fn end_without_done(&mut self, chunk: &mut Vec<u8>) {
        self.ended = true;
        let reply = self.reply.map_or_else(|| self.message.to_string(), |reply| reply.to_string());
        outgoing::push(chunk, self.session, &outgoing::deleted_done(reply), None);
    }
}

struct OneSession {
    opening: Vec<u8>,
    engine: Engine,
    who: Principal,
    follow: Follow,
    pending: VecDeque<Arc<Entry>>,
    chunk: Vec<u8>,
    reasoning: bool,
}

impl Source for OneSession {
    async fn next(&mut self) -> Option<Bytes> {
        if !self.opening.is_empty() {
            return Some(std::mem::take(&mut self.opening).into());
        }
        while self.chunk.is_empty() || (!self.pending.is_empty() && self.chunk.len() < CHUNK_BYTES) {
            let Some(entry) = self.pending.front().cloned() else {
                self.pending.extend(self.follow.next().await.ok()??);
                continue;
            };
            if !is_hidden(&entry, self.reasoning) {
                match entry.encoded(SLOT, encode) {
                    Some(bytes) => self.chunk.extend_from_slice(&bytes),
                    None => push_session(&self.engine, self.who, &entry, Some(&entry.cursor), &mut self.chunk).await,
                }
            }
            self.pending.pop_front();
        }
        Some(std::mem::take(&mut self.chunk).into())
    }
}

struct AllSessions {
    opening: Vec<u8>,
    engine: Engine,
    who: Principal,
    feed: Feed,
    /// The positions at which running turns were shown when the stream began; what the feed says about before is known.
    shown: HashMap<ConversationId, Cursor>,
    pending: VecDeque<(u64, Arc<Entry>)>,
    chunk: Vec<u8>,
    reasoning: bool,
}

impl Source for AllSessions {
    async fn next(&mut self) -> Option<Bytes> {
        if !self.opening.is_empty() {
            return Some(std::mem::take(&mut self.opening).into());
        }
        loop {
            if self.pending.is_empty() {
                self.pending.extend(self.feed.next().await?);
            }
            while let Some((place, entry)) = self.pending.front().cloned() {
                if !is_hidden(&entry, self.reasoning) && !self.is_shown(&entry) {
                    let before = self.chunk.len();
                    match entry.encoded(FEED_SLOT, encode_without_id) {
                        Some(bytes) => self.chunk.extend_from_slice(&bytes),
                        None => push_session(&self.engine, self.who, &entry, None, &mut self.chunk).await,
                    }
                    if self.chunk.len() > before {
                        // Each entry has a place of its own, so that a break between any two repeats nothing.
                        sse::set_last_id(&mut self.chunk, &self.feed.position_of(place));
                    }
                }
                self.pending.pop_front();
            }
            if !self.chunk.is_empty() {
                return Some(std::mem::take(&mut self.chunk).into());
            }
        }
    }
}

impl AllSessions {
    fn is_shown(&self, entry: &Entry) -> bool {
        let place = |cursor: &Cursor| (cursor.epoch, cursor.seq, cursor.offset);
        self.shown.get(&entry.conversation()).is_some_and(|shown| place(&entry.cursor) <= place(shown))
    }
}

/// Attaches at the wished position, and says whether it was found. An unknown one counts as none.
async fn open(
    engine: &Engine,
    who: Principal,
    id: ConversationId,
    position: Option<&str>,
) -> Result<(Opened, bool, bool), SessionsError> {
    let Some(text) = position else { return Ok((engine.follow(who, id, From::Now).await?, false, false)) };
    if let Ok(cursor) = Engine::parse_cursor(text) {
        match engine.follow(who, id, From::Cursor(cursor)).await {
            Ok(opened) => return Ok((opened, true, false)),
            Err(Error::BadCursor) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((engine.follow(who, id, From::Now).await?, false, true))
}

/// What a session's stream begins with. Of several events only the last has the position, so that a break in between
/// shows all of them again.
fn opening(opened: &Opened, resumed: bool, reset: bool, reasoning: bool) -> Vec<u8> {
    let id = opened.conversation.id;
    let mut events = Vec::new();
    if reset {
        events.push(RESET);
    }
    if let (Some(running), false) = (&opened.running, resumed) {
        events.extend(outgoing::running_turn(running, opened.open.as_ref(), reasoning));
    }
    let mut out = Vec::new();
    let connected = Connected { session_id: Some(id.to_string()), busy: opened.conversation.busy };
    sse::push_event(&mut out, "connected", None, &connected);
    for event in &events {
        outgoing::push(&mut out, id, event, None);
    }
    sse::set_last_id(&mut out, &opened.cursor.to_string());
    out
}

async fn feed_opening(
    engine: &Engine,
    who: Principal,
    feed: &Feed,
    resumed: bool,
    wish: &Wish,
) -> Result<(Vec<u8>, HashMap<ConversationId, Cursor>), SessionsError> {
    let busy = engine.conversations(who, Paging::default()).await?.into_iter().filter(|conversation| conversation.busy);
    let busy: Vec<Conversation> = busy.collect();
    let mut out = Vec::new();
    sse::push_event(&mut out, "connected", None, &Connected { session_id: None, busy: !busy.is_empty() });
    if wish.position.is_some() && !resumed {
        sse::push_event(&mut out, RESET.name(), None, &RESET);
    }
    let mut shown = HashMap::new();
    for conversation in busy.into_iter().filter(|_| !resumed) {
        if let Some((cursor, running, open)) = look(engine, who, conversation.id).await? {
            for event in outgoing::running_turn(&running, open.as_ref(), wish.reasoning) {
                outgoing::push(&mut out, conversation.id, &event, None);
            }
            shown.insert(conversation.id, cursor);
        }
    }
    if shown.is_empty() {
        // Turns are shown as they are a little after this position. A reader that breaks off must not come back to it and
        // get the difference twice; without a position it is shown the turns again.
        sse::set_last_id(&mut out, &feed.position());
    }
    Ok((out, shown))
}

/// The running turn of a session, if it still runs, and the position at which it was seen.
async fn look(
    engine: &Engine,
    who: Principal,
    id: ConversationId,
) -> Result<Option<(Cursor, RunningTurn, Option<OpenPart>)>, SessionsError> {
    match engine.follow(who, id, From::Now).await {
        Ok(opened) => Ok(opened.running.map(|running| (opened.cursor, running, opened.open))),
        // It was deleted since the list was made.
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Thoughts are for those only who asked for them.
fn is_hidden(entry: &Entry, reasoning: bool) -> bool {
    match &entry.what {
        What::Delta(delta) => delta.kind == PartKind::Reasoning && !reasoning,
        What::Fact(_) => false,
    }
}

/// Shows the session as it is now, if that is what the entry says. One that is gone meanwhile is not shown; its
/// `session.deleted` follows.
async fn push_session(engine: &Engine, who: Principal, entry: &Entry, id: Option<&Cursor>, chunk: &mut Vec<u8>) {
    let make: fn(Session) -> Event<'static> = match project(entry) {
        Projection::Created => |session| Event::SessionCreated { session },
        Projection::Updated => |session| Event::SessionUpdated { session },
        Projection::Nothing | Projection::One(_) | Projection::Two(..) => return,
    };
    let Ok(conversation) = engine.conversation(who, entry.conversation()).await else { return };
    outgoing::push(chunk, conversation.id, &make(outgoing::session(&conversation)), id);
}

fn encode(entry: &Entry) -> Option<Bytes> {
    encode_with(entry, Some(&entry.cursor))
}

fn encode_without_id(entry: &Entry) -> Option<Bytes> {
    encode_with(entry, None)
}

fn encode_with(entry: &Entry, id: Option<&Cursor>) -> Option<Bytes> {
    let mut out = Vec::new();
    match project(entry) {
        Projection::Nothing | Projection::Created | Projection::Updated => return None,
        Projection::One(event) => outgoing::push(&mut out, entry.conversation(), &event, id),
        Projection::Two(first, second) => {
            outgoing::push(&mut out, entry.conversation(), &first, None);
            outgoing::push(&mut out, entry.conversation(), &second, id);
        }
    }
    Some(out.into())
}
