//! Everything that happens on this node, in one buffer: what a stream over all conversations follows.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::Principal;
use tokio::sync::watch;

use super::live::Entry;
use crate::{Engine, access};

/// Entries kept for followers who come back. Who is further behind starts afresh.
const ENTRIES: usize = 16_384;
/// What is said in them, in bytes, likewise.
const BYTES: usize = 16 * 1024 * 1024;
/// Entries handed out at once.
const BATCH: usize = 256;

/// The buffer. It is filled from the moment when somebody first follows it, because who leaves may come back.
#[derive(Debug)]
pub(super) struct FeedLog {
    wanted: AtomicBool,
    state: Mutex<State>,
    length: watch::Sender<u64>,
    /// Tells positions of this run of the program from those of another.
    run: domain::TurnId,
}

#[derive(Debug, Default)]
struct State {
    base: u64,
    entries: VecDeque<Arc<Entry>>,
    /// Of all entries.
    bytes: usize,
}

impl Default for FeedLog {
    fn default() -> Self {
        Self { wanted: AtomicBool::new(false), state: Mutex::default(), length: watch::channel(0).0, run: domain::TurnId::new() }
    }
}

impl FeedLog {
    pub(super) fn push(&self, entry: impl FnOnce() -> Arc<Entry>) {
        if !self.wanted.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.lock();
        let entry = entry();
        state.bytes += entry.size();
        state.entries.push_back(entry);
        while state.entries.len() > ENTRIES || (state.bytes > BYTES && state.entries.len() > 1) {
            let Some(oldest) = state.entries.pop_front() else { break };
            state.bytes -= oldest.size();
            state.base += 1;
        }
        self.length.send_replace(state.base + state.entries.len() as u64);
    }

    /// Whether anybody has ever followed it.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Something may be missing from here on: who follows starts afresh.
    pub(super) fn break_off(&self) {
        let mut state = self.lock();
        state.base += state.entries.len() as u64 + 1;
        state.entries.clear();
        state.bytes = 0;
        self.length.send_replace(state.base);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) -> u64 {
        let state = self.lock();
        state.base + state.entries.len() as u64
    }
}

/// A place in the feed.
#[derive(Debug)]
pub struct Feed {
    engine: Engine,
    who: Principal,
    next: u64,
    grown: watch::Receiver<u64>,
}

pub(crate) fn feed(engine: &Engine, who: Principal) -> Feed {
    let log = &engine.inner.bus.feed;
    if !log.wanted.swap(true, Ordering::AcqRel) {
        engine.inner.bus.follow_all_text();
    }
    Feed { engine: engine.clone(), who, next: log.end(), grown: log.length.subscribe() }
}

impl Feed {
    /// What has happened since, at least one entry, each with the place behind it; `None` if it is too much and the reader
    /// must start afresh. May be dropped and called again without losing anything.
    pub async fn next(&mut self) -> Option<Vec<(u64, Arc<Entry>)>> {
        loop {
            self.grown.mark_unchanged();
            let (found, next) = self.take()?;
            let first = next - found.len() as u64;
            if found.is_empty() {
                // The sender lives as long as the engine that this reader holds.
                self.grown.changed().await.ok()?;
                continue;
            }
            let mut seen = Vec::with_capacity(found.len());
            for (place, entry) in (first + 1..).zip(found) {
                if access::may_see(&self.engine, self.who, entry.conversation()).await {
                    seen.push((place, entry));
                }
            }
            // Only now, so that nothing is lost if this is dropped while it asks.
            self.next = next;
            if !seen.is_empty() {
                return Some(seen);
            }
        }
    }

    /// The present place, to come back to with [`resume`](Self::resume).
    #[must_use]
    pub fn position(&self) -> String {
        self.position_of(self.next)
    }

    /// A place that [`next`](Self::next) named, likewise.
    #[must_use]
    pub fn position_of(&self, place: u64) -> String {
        format!("{}.{place}", self.engine.inner.bus.feed.run.hex())
    }

    /// Goes back to a place that [`position`](Self::position) named. `false`: it is unknown, and nothing has changed.
    pub fn resume(&mut self, position: &str) -> bool {
        let log = &self.engine.inner.bus.feed;
        let Some((run, index)) = position.split_once('.') else { return false };
        let Ok(index) = index.parse::<u64>() else { return false };
        let end = log.end();
        let base = log.lock().base;
        let known = run == log.run.hex() && (base..=end).contains(&index);
        if known {
            self.next = index;
        }
        known
    }

    fn take(&self) -> Option<(Vec<Arc<Entry>>, u64)> {
        let state = self.engine.inner.bus.feed.lock();
        let start = usize::try_from(self.next.checked_sub(state.base)?).ok()?.min(state.entries.len());
        let end = start.saturating_add(BATCH).min(state.entries.len());
        Some((state.entries.range(start..end).cloned().collect(), state.base + end as u64))
    }
}
