//! What operators see happen, as it happens. Events are stored and numbered with what caused them; this node reads them from
//! the database in their order, once for everybody, and each follower keeps its own place.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use domain::hub::{ChannelId, HubEvent};
use domain::{Principal, Timestamp};
use store::hub::events;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::{Engine, Error, Inner, Result, access};

/// Events kept in memory. Who is further behind reads from the database.
const ENTRIES: usize = 4096;
/// Events read and handed out at once.
const BATCH: i64 = 256;
/// Events kept in the database for those who come back. About a day of a busy team.
const KEPT: i64 = 20_000;
/// How often old ones are swept, in events.
const SWEEP_EVERY: i64 = 1000;
/// How long events of other nodes wait to be looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long somebody who begins to follow waits for the database.
const PRESENT_WITHIN: Duration = Duration::from_secs(1);
/// How long what somebody may see is remembered, although other nodes may have changed it.
const RIGHTS_MS: u64 = 3000;

/// An event, and what it is called on the wire: that is made once for everybody.
#[derive(Debug)]
pub struct HubEntry {
    pub event: HubEvent,
    encoded: OnceLock<Bytes>,
}

impl HubEntry {
    /// The event in the face's words, which are the same for all who see it.
    pub fn encoded(&self, encode: impl FnOnce(&HubEvent) -> Bytes) -> Bytes {
        self.encoded.get_or_init(|| encode(&self.event)).clone()
    }
}

/// This node's copy of the newest events.
#[derive(Debug)]
pub(crate) struct HubLog {
    state: Mutex<State>,
    /// The number of the newest event here; followers wait for it to rise.
    newest: watch::Sender<i64>,
    /// Something was stored.
    hint: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    /// Everything up to this number is not here any more, or never was.
    base: i64,
    entries: VecDeque<Arc<HubEntry>>,
    last_sweep: i64,
}

impl Default for HubLog {
    fn default() -> Self {
        Self { state: Mutex::default(), newest: watch::channel(0).0, hint: Arc::default() }
    }
}

impl HubLog {
    pub(crate) fn hint(&self) -> Arc<Notify> {
        Arc::clone(&self.hint)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, found: Vec<HubEvent>) {
        let Some(newest) = found.last().map(|event| event.seq) else { return };
        let mut state = self.lock();
        state.entries.extend(found.into_iter().map(|event| Arc::new(HubEntry { event, encoded: OnceLock::new() })));
        while state.entries.len() > ENTRIES {
            if let Some(oldest) = state.entries.pop_front() {
                state.base = oldest.event.seq;
            }
        }
        drop(state);
        self.newest.send_replace(newest);
    }

    /// Entries behind `seq`; `None`: they are not here any more.
    fn behind(&self, seq: i64) -> Option<Vec<Arc<HubEntry>>> {
        let state = self.lock();
        if seq < state.base {
            return None;
        }
        let start = state.entries.partition_point(|entry| entry.event.seq <= seq);
        let batch = usize::try_from(BATCH).unwrap_or(usize::MAX);
        Some(state.entries.range(start..).take(batch).cloned().collect())
    }
}

/// Begins to read events as they are stored.
///
/// # Errors
/// The database's.
pub(crate) async fn start(engine: &Engine) -> Result<()> {
    let head = engine.inner.store.read(events::head).await?;
    let log = &engine.inner.hub_log;
    {
        let mut state = log.lock();
        state.base = head;
        state.last_sweep = head;
    }
    log.newest.send_replace(head);
    tokio::spawn(read_on(Arc::downgrade(&engine.inner), log.hint()));
    super::sweep::start(engine);
    super::listen::listen_to_all(engine).await?;
    Ok(())
}

async fn read_on(engine: Weak<Inner>, hint: Arc<Notify>) {
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let alone = inner.store.is_exclusive();
        let newest = *inner.hub_log.newest.borrow();
        match inner.store.read(move |tx| events::after(tx, newest, BATCH)).await {
            Ok(found) if found.is_empty() => {}
            Ok(found) => {
                inner.hub_log.push(found);
                sweep(&inner).await;
                continue;
            }
            Err(error) => tracing::error!(%error, "the hub's events cannot be read; trying again"),
        }
        drop(inner);
        if alone {
            // A hint may be lost with a failed read, so it is not waited for for ever.
            let _ = timeout(Duration::from_secs(1), hint.notified()).await;
        } else {
            let _ = timeout(LOOK_EVERY, hint.notified()).await;
        }
    }
}

async fn sweep(inner: &Inner) {
    let newest = *inner.hub_log.newest.borrow();
    let is_due = {
        let mut state = inner.hub_log.lock();
        let is_due = newest - state.last_sweep >= SWEEP_EVERY;
        if is_due {
            state.last_sweep = newest;
        }
        is_due
    };
    if is_due && let Err(error) = inner.store.write(move |tx| events::sweep(tx, newest - KEPT)).await {
        tracing::warn!(%error, "old events of the hub could not be forgotten");
    }
}

/// A place among the hub's events, of somebody who sees some of them.
#[derive(Debug)]
pub struct HubFeed {
    engine: Engine,
    /// The number of the last event that was looked at.
    place: i64,
    newest: watch::Receiver<i64>,
    /// The channels that were asked for; `None`: all.
    wanted: Option<HashSet<ChannelId>>,
    /// Whether notes were asked for.
    wants_notes: bool,
    /// What is seen, and when that was found out.
    sight: Option<Sight>,
}

#[derive(Debug)]
struct Sight {
    who: Principal,
    channels: Option<HashSet<ChannelId>>,
    version: u64,
    at: Timestamp,
}

/// What a feed has to tell.
#[derive(Debug)]
pub enum HubNews {
    Entries(Vec<Arc<HubEntry>>),
    /// Events are missing that are not kept any more: everything must be read afresh.
    Resync,
}

/// The hub's events.
impl Engine {
    /// Everything that happens from now on.
    pub async fn hub_feed(&self) -> HubFeed {
        let newest = self.inner.hub_log.newest.subscribe();
        HubFeed { engine: self.clone(), place: self.hub_present().await, newest, wanted: None, wants_notes: false, sight: None }
    }

    /// The number of the last event. What is in memory may be behind what somebody has been told already; it has to do while
    /// the database does not answer.
    async fn hub_present(&self) -> i64 {
        let known = *self.inner.hub_log.newest.borrow();
        match timeout(PRESENT_WITHIN, self.inner.store.read(events::head)).await {
            Ok(Ok(head)) => head.max(known),
            Ok(Err(_)) | Err(_) => known,
        }
    }
}

impl HubFeed {
    /// Only these channels from now on (`None`: all), with or without what people tell each other in notes.
    pub fn want(&mut self, channels: Option<Vec<ChannelId>>, notes: bool) {
        self.wanted = channels.map(|channels| channels.into_iter().collect());
        self.wants_notes = notes;
    }

    /// Goes back to behind event number `seq`. A number of the future is the present.
    pub async fn resume(&mut self, seq: i64) {
        self.place = seq.clamp(0, self.engine.hub_present().await);
    }

    /// What has happened since that `who` may see, at least one entry. Rights are those of now. May be dropped and called
    /// again without losing anything.
    ///
    /// # Errors
    /// The database's; it may be called again.
    pub async fn next(&mut self, who: Principal) -> Result<HubNews> {
        loop {
            self.newest.mark_unchanged();
            let found = match self.engine.inner.hub_log.behind(self.place) {
                Some(found) => found,
                None => match self.stored().await? {
                    Some(found) => found,
                    None => {
                        self.place = *self.newest.borrow();
                        return Ok(HubNews::Resync);
                    }
                },
            };
            let Some(last) = found.last().map(|entry| entry.event.seq) else {
                // The sender lives as long as the engine that this reader holds.
                let _ = self.newest.changed().await;
                continue;
            };
            let seen = self.seen(who, found).await?;
            self.place = last;
            if !seen.is_empty() {
                return Ok(HubNews::Entries(seen));
            }
        }
    }

    /// Events from the database; `None`: some are forgotten.
    async fn stored(&self) -> Result<Option<Vec<Arc<HubEntry>>>> {
        let place = self.place;
        let read = move |tx: &mut store::Tx| {
            let known = events::swept(tx)? <= place;
            Ok::<_, Error>(if known { Some(events::after(tx, place, BATCH)?) } else { None })
        };
        let found = self.engine.inner.store.read(read).await?;
        let entry = |event| Arc::new(HubEntry { event, encoded: OnceLock::new() });
        Ok(found.map(|found| found.into_iter().map(entry).collect()))
    }

    async fn seen(&mut self, who: Principal, found: Vec<Arc<HubEntry>>) -> Result<Vec<Arc<HubEntry>>> {
        let (version, now) = (self.engine.rights().version(), self.engine.inner.clock.now());
        let is_good = |sight: &Sight| sight.who == who && sight.version == version && now.millis_since(sight.at) < RIGHTS_MS;
        if !self.sight.as_ref().is_some_and(is_good) {
            let channels = self.engine.inner.store.read(move |tx| access::hub::visible_channels(tx, who)).await?;
            self.sight = Some(Sight { who, channels, version, at: now });
        }
        let channels = self.sight.as_ref().and_then(|sight| sight.channels.as_ref());
        let is_wanted = |entry: &HubEntry| {
            let is_of_channel = self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&entry.event.channel));
            is_of_channel && (self.wants_notes || !entry.event.what.is_internal())
        };
        let is_seen = |entry: &HubEntry| access::hub::sees_event(who, channels, &entry.event);
        Ok(found.into_iter().filter(|entry| is_wanted(entry) && is_seen(entry)).collect())
    }
}
