//! A closure on its way to the database, and its answer on the way back.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use crate::tx::AfterCommit;
use crate::{StoreError, Tx};

/// A closure whose result type only its sender knows.
pub(crate) trait Job: Send {
    /// Runs the closure. Says whether its changes are to be kept.
    fn run(&mut self, tx: &mut Tx<'_>, attempt: Attempt) -> bool;
    /// Answers the sender; with an error if the commit failed after all.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// Whether a closure may have to run once more, in a new transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Only,
    PerhapsOneOfMany,
}

pub(crate) struct Work<F, T, E> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    after_commit: Vec<AfterCommit>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Work<F, T, E> {
    pub(crate) fn new(work: F, answer: oneshot::Sender<Result<T, E>>) -> Self {
        Self { work: Some(work), result: None, after_commit: Vec::new(), answer }
    }
}

impl<F, T, E> Job for Work<F, T, E>
where
    F: FnOnce(&mut Tx) -> Result<T, E> + Clone + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>, attempt: Attempt) -> bool {
        let work = match attempt {
            Attempt::Only => self.work.take(),
            Attempt::PerhapsOneOfMany => self.work.clone(),
        };
        let Some(work) = work else { return false };
        // A closure that panics must cost its own transaction only, never the thread that serves everybody.
        let result = catch_unwind(AssertUnwindSafe(|| work(tx))).unwrap_or_else(|panic| Err(panicked(&*panic).into()));
        let keep = result.is_ok() && !tx.is_poisoned();
        self.result = Some(match result {
            // An error that the closure swallowed would otherwise look like success.
            Ok(_) if tx.is_poisoned() => Err(StoreError::Poisoned.into()),
            result => result,
        });
        self.after_commit = tx.take_hooks();
        keep
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = match (self.result, committed) {
            (Some(Ok(value)), Ok(())) => {
                self.after_commit.into_iter().for_each(|hook| hook());
                Ok(value)
            }
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(_)), Err(error)) => Err(error.into()),
            (None, committed) => Err(committed.err().unwrap_or(StoreError::Poisoned).into()),
        };
        // Nobody waits any more: the caller was dropped, which never undoes a commit.
        let _ = self.answer.send(result);
    }
}

fn panicked(panic: &(dyn Any + Send)) -> StoreError {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    StoreError::Failed(format!("a transaction panicked: {}", message.unwrap_or("no message")))
}
