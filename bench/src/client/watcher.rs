//! Many who watch one conversation.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use tokio::task::JoinSet;

use super::events::{Events, Said};
use super::listener::{Heard, Listener};
use super::{PATIENCE, socket, sse};
use crate::Result;
use crate::clock::now_ns;
use crate::plan::Plan;

/// How a watcher follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    Sse,
    Socket,
}

/// Watchers that are attached and wait for one answer.
#[derive(Debug)]
pub struct Watchers {
    all: JoinSet<Result<Heard>>,
    plan: Plan,
}

impl Watchers {
    /// Attaches `count` of them to the session (its id with or without dashes).
    pub async fn attach(address: SocketAddr, session: &str, count: usize, wait: Wait, plan: Plan) -> Result<Self> {
        let mut all = JoinSet::new();
        let chat = session.replace('-', "");
        for _ in 0..count {
            match wait {
                Wait::Sse => {
                    let stream = open_events(address, session).await?;
                    all.spawn(watch_events(stream, plan));
                }
                Wait::Socket => {
                    let mut line = socket::connect(address).await?;
                    socket::subscribe(&mut line, &chat).await?;
                    all.spawn(async move {
                        let mut listener = Listener::new(plan.deltas);
                        socket::listen(&mut line, &mut listener).await?;
                        listener.finish(plan.deltas)
                    });
                }
            }
        }
        Ok(Self { all, plan })
    }

    /// Waits until every one has heard the whole answer.
    pub async fn finish(mut self) -> Result<Vec<Heard>> {
        let limit: Duration = self.plan.duration() + PATIENCE;
        let mut heard = Vec::new();
        let all = async {
            while let Some(one) = self.all.join_next().await {
                heard.push(one??);
            }
            Ok::<_, crate::Error>(())
        };
        tokio::time::timeout(limit, all).await.map_err(|_| format!("a watcher waited longer than {limit:?}"))??;
        Ok(heard)
    }
}

/// A stream of a session's events that has said that it stands.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    events: Events,
    _line: sse::Line,
}

pub async fn open_events(address: SocketAddr, session: &str) -> Result<EventStream> {
    let mut line = sse::connect(address).await?;
    let path = format!("/api/sessions/{session}/events");
    let body = sse::ask(&mut line, address, Method::GET, &path, String::new()).await?.into_body();
    let mut stream = EventStream { body, events: Events::default(), _line: line };
    let mut connected = false;
    while !connected {
        let frame = stream.body.frame().await.ok_or("the events stream ended")??;
        let Ok(bytes) = frame.into_data() else { continue };
        stream.events.push(&bytes, |said| {
            connected |= said == Said::Connected;
            Ok(())
        })?;
    }
    Ok(stream)
}

async fn watch_events(mut stream: EventStream, plan: Plan) -> Result<Heard> {
    let mut listener = Listener::new(plan.deltas);
    while !listener.is_done() {
        let frame = stream.body.frame().await.ok_or("the events stream ended in mid-answer")??;
        let came_ns = now_ns();
        let Ok(bytes) = frame.into_data() else { continue };
        stream.events.push(&bytes, |said| match said {
            Said::Text(text) => listener.text(text, came_ns),
            Said::Done => {
                listener.done(came_ns);
                Ok(())
            }
            Said::Connected => Ok(()),
        })?;
    }
    listener.finish(plan.deltas)
}
