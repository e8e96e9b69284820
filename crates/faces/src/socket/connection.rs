//! One connection, in one task: it takes frames, has them handled one at a time, and forwards what happens in the chats it
//! follows. Nothing here waits for a model, and nothing is done for a peer that does not read.

use std::pin::{Pin, pin};

use axum::extract::ws::{Utf8Bytes, WebSocket};
use domain::ConversationId;
use tokio::time::Instant;

use super::hub::HubLine;
use super::inbox::{self, Inbox, Item, Read};
use super::streams::{MAX_CHATS, News, Streams, broken};
use super::{Echo, Refused};
use crate::App;
use crate::chats::incoming::{Done, Request, Wish as ChatsWish};
use crate::hub::Counted;
use crate::hub::incoming::greeting;
use crate::kit::auth::{How, Proof, recheck};
use crate::kit::rate::{Rate, Verdict};
use crate::kit::ws::{Close, Incoming, Line, retry_in_ms};
use crate::rules::incoming::Wish;
use crate::rules::lane::Lane;

const GREETING: Utf8Bytes = Utf8Bytes::from_static(r#"{"type":"connected","message":"Connected to chat server"}"#);

/// Speaks with the peer until either side has enough. What a connection needs while it is idle counts, as there may be ten
/// thousand of them: so it is kept once, on the heap, and what is seldom needed is not kept at all.
pub(super) fn serve(socket: WebSocket, app: App, proof: Proof) -> impl Future<Output = ()> + Send + 'static {
    let mut connection = Box::new(Connection {
        line: Line::new(socket),
        inbox: Inbox::default(),
        streams: Streams::default(),
        rules: None,
        step: Step::Free,
        rate: Rate::new(app.socket_rate, Instant::now()),
        hub: HubLine::Off,
        counted: app.hub.sockets.enter(proof.principal),
        app,
        proof,
    });
    async move {
        connection.hub = Box::pin(hub_line(&connection.app, &connection.proof)).await;
        let close = connection.run().await;
        Box::pin(connection.end(close)).await;
    }
}

struct Connection {
    line: Line,
    inbox: Inbox,
    streams: Streams,
    /// From the first frame about rules on.
    rules: Option<Box<Lane>>,
    /// The frame that is being handled.
    step: Step,
    rate: Rate,
    hub: HubLine,
    counted: Counted,
    app: App,
    proof: Proof,
}

/// How far the handling of one frame has come. Before a frame about a chat is handled, and before it is refused, the peer
/// is sent what has already happened there, so that no answer overtakes what came before it.
enum Step {
    Free,
    CatchingUp(Item),
    Working { chat: ConversationId, echo: Echo, work: Work },
}

type Work = Pin<Box<dyn Future<Output = Result<Done, Refused>> + Send>>;

impl Connection {
    /// Why to close the connection; `None` if it is closed already.
    async fn run(&mut self) -> Option<Close> {
        let drain = self.app.drain.clone();
        let mut drained = pin!(drain.cancelled());
        let mut rechecked = pin!(recheck(self.app.engine.clone(), self.proof.clone()));
        let greeting = if self.proof.hub_only { greeting(self.counted.of_same()) } else { GREETING };
        self.line.send(greeting);
        loop {
            for (chat, with_reasoning) in self.streams.take_outdated() {
                self.inbox.put(Item::Chats(Request::anew(chat, with_reasoning)), 0);
            }
            self.advance().await;
            self.line.set_reading(self.inbox.has_room());
            let has_room = self.line.has_room();
            let held = self.step.chat_at_work();
            let who = self.proof.principal;
            tokio::select! {
                biased;
                () = &mut drained => return Some(Close::Restart { retry_in_ms: retry_in_ms() }),
                now = &mut rechecked => match now {
                    Some(principal) => {
                        self.proof.principal = principal;
                        rechecked.set(recheck(self.app.engine.clone(), self.proof.clone()));
                    }
                    None => return Some(Close::SignedOut),
                },
                result = self.step.work() => self.finish(result),
                news = self.streams.next(held), if has_room => self.forward(news),
                frames = next_of(&mut self.rules), if has_room => frames.into_iter().for_each(|frame| self.line.send(frame)),
                frames = self.hub.next(who), if has_room => frames.into_iter().for_each(|frame| self.line.send(frame)),
                incoming = self.line.next() => match incoming {
                    Incoming::Text(text) => match self.rate.take(Instant::now()) {
                        Verdict::Taken => self.take(inbox::read(&text, self.app.engine.clock()), text.len()),
                        Verdict::Refused { retry_after_ms } => self.take(inbox::read_too_many(&text, retry_after_ms), text.len()),
                        Verdict::CutOff => return Some(Close::TooManyFrames),
                    },
                    Incoming::Room => {}
                    Incoming::Close(close) => return Some(close),
                    Incoming::Gone => return None,
                },
            }
        }
    }

    fn take(&mut self, read: Read, size: usize) {
        match read {
            Read::AtOnce(answer) => self.line.send(answer),
            Read::Nothing => {}
            Read::InTurn(item) => self.inbox.put(item, size),
            Read::Both(first, second) => {
                self.inbox.put(first, size);
                self.inbox.put(second, 0);
            }
        }
    }

    fn forward(&mut self, news: News) {
        match news {
            News::Entries(chat) => self.streams.feed(chat, &mut self.line),
            News::Over => {}
            News::Broken(chat, error) => self.line.send(broken(chat, error)),
        }
    }

    /// Goes on with the frames that wait, as far as that needs no long waiting.
    async fn advance(&mut self) {
        while self.line.has_room() {
            match std::mem::replace(&mut self.step, Step::Free) {
                Step::Free => match self.inbox.take() {
                    Some(item) => self.step = Step::CatchingUp(item),
                    None => return,
                },
                Step::CatchingUp(item) => {
                    let caught_up = item.chat().is_none_or(|chat| self.streams.catch_up(chat, &mut self.line));
                    if caught_up {
                        self.begin(item).await;
                    } else {
                        self.step = Step::CatchingUp(item);
                    }
                }
                working @ Step::Working { .. } => {
                    self.step = working;
                    return;
                }
            }
        }
    }

    async fn end(mut self: Box<Self>, close: Option<Close>) {
        if close == Some(Close::SignedOut) {
            self.forget_frames();
        }
        self.finish_frames().await;
        let Self { line, streams, .. } = *self;
        // Closing may take a while; nothing is followed in the meantime.
        drop(streams);
        if let Some(close) = close {
            line.close(close).await;
        }
    }

    /// What has not begun is not done for somebody who is no longer let in.
    fn forget_frames(&mut self) {
        self.inbox = Inbox::default();
        if matches!(self.step, Step::CatchingUp(_)) {
            self.step = Step::Free;
        }
    }

    /// Does what the peer has asked for before the connection ended: it may have said goodbye right behind its message.
    async fn finish_frames(&mut self) {
        loop {
            match std::mem::replace(&mut self.step, Step::Free) {
                Step::Free => match self.inbox.take() {
                    Some(item) => self.step = Step::CatchingUp(item),
                    None => return,
                },
                Step::CatchingUp(Item::Chats(request)) if request.changes_the_chat() => self.begin_chats(request),
                Step::CatchingUp(Item::Rules(wish)) => self.begin_rules(wish),
                Step::CatchingUp(Item::Chats(_) | Item::Hub(_) | Item::Refused { .. }) => {}
                working @ Step::Working { .. } => {
                    self.step = working;
                    let done = self.step.work().await;
                    self.finish(done);
                }
            }
        }
    }

    async fn begin(&mut self, item: Item) {
        match item {
            Item::Refused { chat: _, answer } => self.line.send(answer),
            Item::Chats(request) => self.begin_chats(request),
            Item::Rules(wish) => self.begin_rules(wish),
            Item::Hub(subscribe) => {
                Box::pin(self.hub.subscribe(&self.app.engine, &subscribe)).await;
                self.line.send(subscribe.ack());
            }
        }
    }

    /// Rules have a lane of their own, so that nothing else waits for them.
    fn begin_rules(&mut self, wish: Wish) {
        if self.proof.hub_only {
            self.line.send(Refused::because("forbidden", "Not allowed").frame(&Echo::default()));
            return;
        }
        self.hub.end_unasked();
        let who = self.proof.principal;
        let lane = match self.rules.take() {
            Some(lane) => Ok(lane),
            None => Lane::new(&self.app.engine, who).map(Box::new),
        };
        match lane {
            Ok(mut lane) => {
                let answer = lane.take(who, wish);
                answer.into_iter().for_each(|frame| self.line.send(frame));
                self.rules = Some(lane);
            }
            Err(error) => self.line.send(Refused::from(error).frame(&Echo::default())),
        }
    }

    fn begin_chats(&mut self, request: Request) {
        let (chat, echo) = (request.chat, request.echo.clone());
        if self.proof.hub_only {
            self.line.send(Refused::because("forbidden", "Not allowed").frame(&echo));
            return;
        }
        self.hub.end_unasked();
        let is_followed = self.streams.has(chat);
        if request.follows() && !is_followed && self.streams.len() >= MAX_CHATS {
            self.line.send(Refused::because("too_many_subscriptions", "Too many subscriptions").frame(&echo));
            return;
        }
        match &request.wish {
            // The old stream ends before the new one begins, so that nothing comes twice.
            ChatsWish::Subscribe(_) | ChatsWish::Unsubscribe => self.streams.remove(chat),
            ChatsWish::Chat(_) | ChatsWish::Cancel { .. } => {}
        }
        let work = Box::pin(request.done(self.app.engine.clone(), self.proof.principal, is_followed));
        self.step = Step::Working { chat, echo, work };
    }

    fn finish(&mut self, (chat, echo, result): (ConversationId, Echo, Result<Done, Refused>)) {
        self.step = match result {
            Ok(Done { frames, followed }) => {
                frames.into_iter().for_each(|frame| self.line.send(frame));
                if let Some(followed) = followed {
                    self.streams.put(chat, followed);
                }
                Step::Free
            }
            Err(refused) => Step::CatchingUp(Item::Refused { chat: Some(chat), answer: refused.frame(&echo) }),
        };
    }
}

impl Step {
    const fn chat_at_work(&self) -> Option<ConversationId> {
        match self {
            Self::Working { chat, .. } => Some(*chat),
            Self::Free | Self::CatchingUp(_) => None,
        }
    }

    /// Waits for the frame that is being handled; for ever, if there is none.
    async fn work(&mut self) -> (ConversationId, Echo, Result<Done, Refused>) {
        match self {
            Self::Working { chat, echo, work } => {
                let result = work.await;
                (*chat, std::mem::take(echo), result)
            }
            Self::Free | Self::CatchingUp(_) => std::future::pending().await,
        }
    }
}

impl Item {
    const fn chat(&self) -> Option<ConversationId> {
        match self {
            Self::Chats(request) => Some(request.chat),
            Self::Rules(_) | Self::Hub(_) => None,
            Self::Refused { chat, answer: _ } => *chat,
        }
    }
}

/// Who proved itself with a hub token gets the hub's events at once. So does who had to prove nothing, because the hub's own
/// client never sends a token; until its first frame shows that it is another client.
async fn hub_line(app: &App, proof: &Proof) -> HubLine {
    match proof.how {
        _ if proof.hub_only => HubLine::on(&app.engine).await,
        How::Local => HubLine::unasked(&app.engine).await,
        How::Header(_) | How::Query(_) | How::Cookie(_) => HubLine::Off,
    }
}

/// What the rules have to say next; for ever nothing, if there are none.
async fn next_of(rules: &mut Option<Box<Lane>>) -> Vec<Utf8Bytes> {
    match rules {
        Some(lane) => lane.next().await,
        None => std::future::pending().await,
    }
}
