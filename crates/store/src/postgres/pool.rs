//! Who waits for a connection, and which threads serve them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::session::Access;
use super::worker::Worker;
use super::{Link, runtime};
use crate::StoreError;
use crate::work::Job;

/// Connections. With 32 the slowest answers took longer, because the server's disk and processors are the limit.
const CONNECTIONS: usize = 16;

type Task = (Access, Box<dyn Job>);

/// Threads are started as they are needed: one more whenever somebody waits and none is idle.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) link: Link,
    queue: Mutex<Queue>,
    grown: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Task>,
    threads: usize,
    /// Threads that wait for work, or have been woken for it just now.
    idle: usize,
    closed: bool,
}

impl Pool {
    pub(super) fn new(link: Link) -> Arc<Self> {
        Arc::new(Self { link, queue: Mutex::default(), grown: Condvar::new() })
    }

    pub(super) fn send(self: &Arc<Self>, access: Access, job: Box<dyn Job>) {
        let mut queue = self.lock();
        queue.waiting.push_back((access, job));
        if queue.idle >= queue.waiting.len() || queue.threads == CONNECTIONS {
            drop(queue);
            self.grown.notify_one();
            return;
        }
        match self.start() {
            Ok(()) => queue.threads += 1,
            // Those that there are will come to it.
            Err(reason) if queue.threads > 0 => tracing::warn!(reason, "a thread for the database could not be started"),
            Err(reason) => {
                let unserved = queue.waiting.pop_back();
                drop(queue);
                if let Some((_, job)) = unserved {
                    job.answer(Err(StoreError::Failed(reason)));
                }
            }
        }
    }

    fn start(self: &Arc<Self>) -> Result<(), String> {
        let mut worker = Worker::new(Arc::clone(self), runtime()?);
        let serve = move || {
            while let Some((access, job)) = worker.pool.next() {
                worker.serve(access, job);
            }
        };
        thread::Builder::new().name("store-postgres".to_owned()).spawn(serve).map(drop).map_err(|e| e.to_string())
    }

    /// The next one to be served; `None` when nobody can send any more.
    fn next(&self) -> Option<Task> {
        let mut queue = self.lock();
        loop {
            if let Some(task) = queue.waiting.pop_front() {
                return Some(task);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            queue = self.grown.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }

    /// A thread has ended, for whatever reason.
    pub(super) fn ended(&self) {
        self.lock().threads -= 1;
    }

    /// Nobody will send any more. What waits is still served.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.grown.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.waiting.len()).field("threads", &self.threads).finish_non_exhaustive()
    }
}
