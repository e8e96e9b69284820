//! Running blocking work for a call: on a thread of its own, few at a time, within a time limit, and given up on cancel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::sockets::tool::{ToolContext, ToolError};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Searches keep a core busy. More of them at once would take the machine from the conversations.
const SEARCHES_AT_ONCE: usize = 4;

/// Reads are short, but each holds up to 2 MiB: together 32 MiB.
const READS_AT_ONCE: usize = 16;

/// Work notices its own time limit. This much later it is given up from outside, which happens when the disk itself does
/// not answer.
const GRACE: Duration = Duration::from_secs(2);

/// How many calls of a kind may work at the same time; the others wait for their turn.
#[derive(Debug, Clone)]
pub(crate) struct Slots(Arc<Semaphore>);

impl Slots {
    pub(crate) fn for_searches() -> Self {
        Self(Arc::new(Semaphore::new(SEARCHES_AT_ONCE)))
    }

    pub(crate) fn for_reads() -> Self {
        Self(Arc::new(Semaphore::new(READS_AT_ONCE)))
    }

    /// Runs `work`. Answers at once when the call is cancelled; `work` learns of it through its [`Stop`] and keeps its slot
    /// until it has ended.
    pub(crate) async fn run<T, F>(&self, context: ToolContext, limit: Duration, work: F) -> Result<T, ToolError>
    where
        T: Send + 'static,
        F: FnOnce(&ToolContext, &Stop) -> Result<T, ToolError> + Send + 'static,
    {
        let cancel = context.cancel.clone();
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(ToolError("Cancelled".to_owned())),
            reply = self.run_to_end(context, limit, work) => reply,
        }
    }

    async fn run_to_end<T, F>(&self, context: ToolContext, limit: Duration, work: F) -> Result<T, ToolError>
    where
        T: Send + 'static,
        F: FnOnce(&ToolContext, &Stop) -> Result<T, ToolError> + Send + 'static,
    {
        let slot = Arc::clone(&self.0).acquire_owned().await.map_err(|_| ToolError("The server is stopping".to_owned()))?;
        let job = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let stop = Stop::new(context.cancel.clone(), limit);
            work(&context, &stop)
        });
        match timeout(limit + GRACE, job).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                tracing::error!(%error, "A tool ended without an answer");
                Err(ToolError("The tool failed unexpectedly".to_owned()))
            }
            Err(_) => Err(ToolError(format!("The disk did not answer within {} s", limit.as_secs()))),
        }
    }
}

/// Tells work when to end.
#[derive(Debug)]
pub(crate) struct Stop {
    cancel: CancellationToken,
    deadline: Instant,
}

impl Stop {
    pub(crate) fn new(cancel: CancellationToken, limit: Duration) -> Self {
        Self { cancel, deadline: Instant::now() + limit }
    }

    /// Whether the call was cancelled or its time is up. Costs some 30 ns: ask per file or per few hundred names.
    pub(crate) fn is_due(&self) -> bool {
        self.cancel.is_cancelled() || Instant::now() >= self.deadline
    }
}
