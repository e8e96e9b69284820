//! One flusher for all open parts of the node: at most one row for each part every 40 ms, all in one transaction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::deltas::{self, StoredDelta};
use store::{Store, StoreError};
use tokio::sync::Notify;

use super::live::{Live, OpenPart};

/// With the commit, a crash costs about the last 50 ms of an unfinished text.
const INTERVAL: Duration = Duration::from_millis(40);
/// How long to wait when the database refuses.
const RETRY: Duration = Duration::from_secs(1);
/// Flushes between two sweeps. A sweep reads the whole (small) table, so it is not done for every part.
const SWEEP_EVERY: u32 = 40;

/// The list of live logs with text that is not in the store yet.
#[derive(Debug)]
pub(super) struct Flusher {
    list: Arc<List>,
    store: Store,
}

#[derive(Debug, Default)]
struct List {
    dirty: Mutex<Vec<Arc<Live>>>,
    wake: Notify,
    closed: AtomicBool,
    /// Held while text is on its way to the store, so that a second flush returns only when the first one is done too.
    flushing: tokio::sync::Mutex<()>,
}

impl Flusher {
    /// Starts the task; it ends when the flusher is dropped.
    pub(super) fn spawn(store: Store) -> Self {
        let list = Arc::new(List::default());
        tokio::spawn(run(Arc::clone(&list), store.clone()));
        Self { list, store }
    }

    /// Puts the log on the list if it is not there.
    pub(super) fn mark(&self, live: &Arc<Live>) {
        self.list.mark(live);
    }

    /// Stores what is open now.
    pub(super) async fn flush_now(&self) {
        flush(&self.list, &self.store).await;
    }
}

impl List {
    fn mark(&self, live: &Arc<Live>) {
        if live.dirty.swap(true, Ordering::AcqRel) {
            return;
        }
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(live));
        self.wake.notify_one();
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.list.closed.store(true, Ordering::Release);
        self.list.wake.notify_one();
    }
}

async fn run(list: Arc<List>, store: Store) {
    let mut flushes = 0;
    while !list.closed.load(Ordering::Acquire) {
        list.wake.notified().await;
        tokio::time::sleep(INTERVAL).await;
        if !flush(&list, &store).await {
            tokio::time::sleep(RETRY).await;
        }
        flushes += 1;
        if flushes % SWEEP_EVERY == 0
            && let Err::<(), StoreError>(error) = store.write(deltas::sweep).await
        {
            tracing::error!(%error, "pieces of finished parts could not be swept");
        }
    }
}

/// `false`: the database refused, and what is open is still to be stored.
async fn flush(list: &List, store: &Store) -> bool {
    let _flushing = list.flushing.lock().await;
    let dirty = std::mem::take(&mut *list.dirty.lock().unwrap_or_else(PoisonError::into_inner));
    let taken: Vec<(Arc<Live>, StoredDelta)> = dirty.into_iter().filter_map(|live| take(&live).map(|row| (live, row))).collect();
    if taken.is_empty() {
        return true;
    }
    let rows: Vec<StoredDelta> = taken.iter().map(|(_, row)| row.clone()).collect();
    let stored = store.write(move |tx| rows.iter().try_for_each(|row| deltas::insert(tx, row))).await;
    if let Err::<(), StoreError>(error) = &stored {
        tracing::error!(%error, "unfinished text could not be stored; trying again");
        for (live, row) in &taken {
            live.put_back(row.part, row.start);
            list.mark(live);
        }
    }
    stored.is_ok()
}

fn take(live: &Live) -> Option<StoredDelta> {
    live.dirty.store(false, Ordering::Release);
    let (OpenPart { turn, message, part, ordinal, kind, place, at, text }, start, epoch) = live.take_unflushed()?;
    Some(StoredDelta { conversation: live.conversation, epoch, turn, message, part, ordinal, kind, place, at, start, text })
}
