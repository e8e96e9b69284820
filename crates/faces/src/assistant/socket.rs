//! One connection, in one task. Reading never waits for answering: what needs no waiting is answered at once, one wish is
//! worked on at a time, and what happens in the bound conversation is forwarded all the while.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::ws::{Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::response::{IntoResponse, Response};
use domain::ProjectName;
use engine::Error;
use tokio::time::{Instant, sleep};

use super::incoming::{self, Asker, Done, Read, Refused, Wish};
use super::outgoing;
use super::stream::{Bound, Came};
use crate::App;
use crate::kit::auth::{Caller, Proof, recheck};
use crate::kit::error::{AssistantError, Refusal};
use crate::kit::rate::{Rate, Verdict};
use crate::kit::ws::{self, Close, Incoming, Line, retry_in_ms};

/// Frames that are read ahead of the one being worked on. Behind these the client has to wait.
const MAX_FRAMES: usize = 64;
/// Bytes that are read ahead, likewise: one frame of the largest size.
const MAX_BYTES: usize = 1024 * 1024;

/// How long a client may be silent before it is shown again what a lost connection has cut off, by the contract.
const SILENCE: Duration = Duration::from_secs(1);

/// `GET /api/assistant/ws/{p}`: 101 also where it is closed at once, because a browser cannot see why an upgrade is refused.
pub(super) async fn open(
    State(app): State<App>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &app).await else {
        return AssistantError(Refusal::UpgradeRequired).into_response();
    };
    let upgrade = ws::limited(upgrade);
    let close = match path.ok().and_then(|Path(name)| ProjectName::parse(&name)) {
        None => Close::Refused { code: 4000, reason: "Invalid project name" },
        Some(project) => match app.engine.project(caller.principal(), &project).await {
            Ok(_) => return upgrade.on_upgrade(move |socket| serve(socket, app, caller.0, project)),
            Err(Error::ProjectNotFound) => Close::Refused { code: 4004, reason: "Project not found in registry" },
            Err(Error::ProjectGone) => Close::Refused { code: 4004, reason: "Project directory not found" },
            Err(error) => return AssistantError::from(error).into_response(),
        },
    };
    upgrade.on_upgrade(move |socket| refuse(socket, close))
}

async fn refuse(socket: WebSocket, close: Close) {
    let mut line = Line::new(socket);
    line.send(outgoing::error(&close.reason(), "not_found"));
    line.close(close).await;
}

fn serve(socket: WebSocket, app: App, proof: Proof, project: ProjectName) -> impl Future<Output = ()> + Send + 'static {
    let asker = Asker::new(&app.engine, proof.principal, project);
    let mut connection = Box::new(Connection {
        line: Line::new(socket),
        inbox: Inbox::default(),
        bound: None,
        work: None,
        starting: false,
        heard: false,
        rate: Rate::new(app.socket_rate, Instant::now()),
        asker,
        app,
        proof,
    });
    async move {
        let close = connection.run().await;
        Box::pin(connection.end(close)).await;
    }
}

struct Connection {
    line: Line,
    inbox: Inbox,
    bound: Option<Bound>,
    work: Option<Work>,
    /// The work may bind the socket to another conversation: nothing of the present one is sent meanwhile.
    starting: bool,
    /// The client has sent something, or has been silent for long enough.
    heard: bool,
    rate: Rate,
    asker: Asker,
    app: App,
    proof: Proof,
}

type Work = Pin<Box<dyn Future<Output = Result<Done, Refused>> + Send>>;

/// The frames that wait, in the order in which they came.
#[derive(Debug, Default)]
struct Inbox {
    wishes: VecDeque<(Wish, usize)>,
    bytes: usize,
}

impl Inbox {
    fn has_room(&self) -> bool {
        self.wishes.len() < MAX_FRAMES && self.bytes < MAX_BYTES
    }

    fn put(&mut self, wish: Wish, size: usize) {
        self.bytes += size;
        self.wishes.push_back((wish, size));
    }

    fn take(&mut self) -> Option<Wish> {
        let (wish, size) = self.wishes.pop_front()?;
        self.bytes -= size;
        Some(wish)
    }
}

impl Connection {
    /// Why to close the connection; `None` if it is closed already.
    async fn run(&mut self) -> Option<Close> {
        let drain = self.app.drain.clone();
        let mut drained = pin!(drain.cancelled());
        let mut rechecked = pin!(recheck(self.app.engine.clone(), self.proof.clone()));
        let mut silence = pin!(sleep(SILENCE));
        loop {
            self.begin_next();
            self.line.set_reading(self.inbox.has_room());
            let has_room = self.line.has_room();
            let follows = has_room && !self.starting;
            tokio::select! {
                biased;
                () = &mut drained => return Some(Close::Restart { retry_in_ms: retry_in_ms() }),
                now = &mut rechecked => match now {
                    Some(principal) => {
                        self.proof.principal = principal;
                        self.asker.who = principal;
                        rechecked.set(recheck(self.app.engine.clone(), self.proof.clone()));
                    }
                    None => return Some(Close::SignedOut),
                },
                done = working(&mut self.work) => self.finish(done),
                came = following(&mut self.bound), if follows => self.forward(came),
                () = &mut silence, if !self.heard => self.hear(None),
                incoming = self.line.next() => match incoming {
                    Incoming::Text(text) => match self.rate.take(Instant::now()) {
                        Verdict::Taken => self.take(&text),
                        Verdict::Refused { .. } => self.line.send(outgoing::error("Too many requests", "rate_limited")),
                        Verdict::CutOff => return Some(Close::TooManyFrames),
                    },
                    Incoming::Room => {}
                    Incoming::Close(close) => return Some(close),
                    Incoming::Gone => return None,
                },
            }
        }
    }

    fn take(&mut self, text: &Utf8Bytes) {
        match incoming::read(text) {
            Read::AtOnce(answer) => {
                self.line.send(answer);
                self.hear(None);
            }
            Read::InTurn(wish) => {
                self.hear(Some(&wish));
                self.inbox.put(wish, text.len());
            }
        }
    }

    /// The first thing that comes of the client decides whether it is shown again what was cut off.
    fn hear(&mut self, first: Option<&Wish>) {
        if std::mem::replace(&mut self.heard, true) || matches!(first, Some(Wish::Start { .. })) {
            return;
        }
        let left = self.app.assistant.reconnects.take(self.proof.principal.account(), &self.asker.project);
        if let Some(left) = left {
            self.inbox.put(Wish::GoOn(left), 0);
        }
    }

    fn forward(&mut self, came: Came) {
        match came {
            Came::Entries => {
                let stays = self.bound.as_mut().is_none_or(|bound| bound.feed(&mut self.line));
                if !stays {
                    self.unbind();
                }
            }
            Came::Frame(frame) => self.line.send(frame),
            Came::Nothing => {}
            Came::Over => self.unbind(),
            Came::Broken(error) => {
                self.line.send(Refused::from(error).frame());
                self.unbind();
            }
        }
    }

    fn begin_next(&mut self) {
        if self.work.is_some() || !self.line.has_room() {
            return;
        }
        let Some(wish) = self.inbox.take() else { return };
        self.begin(wish);
    }

    fn begin(&mut self, wish: Wish) {
        self.starting = matches!(wish, Wish::Start { .. } | Wish::GoOn(_));
        let bound = self.bound.as_ref().map(|bound| (bound.conversation, bound.number()));
        self.work = Some(Box::pin(self.asker.clone().done(wish, bound)));
    }

    fn finish(&mut self, done: Result<Done, Refused>) {
        self.work = None;
        self.starting = false;
        match done {
            Ok(Done { frames, bound }) => {
                frames.into_iter().for_each(|frame| self.line.send(frame));
                if let Some(bound) = bound {
                    self.unbind();
                    self.app.assistant.reconnects.bind(self.proof.principal.account(), &self.asker.project);
                    self.bound = Some(bound);
                }
            }
            Err(refused) => self.line.send(refused.frame()),
        }
    }

    fn unbind(&mut self) {
        if self.bound.take().is_some() {
            self.app.assistant.reconnects.unbind(self.proof.principal.account(), &self.asker.project, None);
        }
    }

    async fn end(mut self: Box<Self>, close: Option<Close>) {
        if close != Some(Close::SignedOut) {
            self.finish_frames().await;
        }
        if let Some(bound) = self.bound.take() {
            let account = self.proof.principal.account();
            self.app.assistant.reconnects.unbind(account, &self.asker.project, bound.left());
        }
        let Self { line, .. } = *self;
        if let Some(close) = close {
            line.close(close).await;
        }
    }

    /// Does what the client has asked for before the connection ended: it may have said goodbye right behind its message.
    async fn finish_frames(&mut self) {
        loop {
            if self.work.is_some() {
                let done = working(&mut self.work).await;
                self.work = None;
                // Whoever would be bound is gone.
                drop(done);
            }
            match self.inbox.take() {
                Some(Wish::Start { .. } | Wish::GoOn(_)) => {}
                Some(wish) => self.begin(wish),
                None => return,
            }
        }
    }
}

/// Waits for the wish that is being worked on; for ever, if there is none.
async fn working(work: &mut Option<Work>) -> Result<Done, Refused> {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

async fn following(bound: &mut Option<Bound>) -> Came {
    match bound {
        Some(bound) => bound.next().await,
        None => std::future::pending().await,
    }
}
