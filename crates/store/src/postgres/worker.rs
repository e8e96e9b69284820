//! A thread with a connection of its own. What breaks is mended here: a lost connection is made anew, a transaction that
//! another one was in the way of is repeated, and a commit whose answer was lost is looked up.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::pool::Pool;
use super::session::{Access, Connection, End, Mark, Session};
use super::statement::{Cause, Failure};
use crate::work::{Attempt, Job};
use crate::{StoreError, Tx};

/// How often a transaction is repeated because another one was in its way. Each time at least one other has succeeded.
const CONFLICTS: u32 = 100;
/// How often it is repeated because the connection was lost. One that brings the server down must end.
const LOSSES: u32 = 5;
/// Pause before it is repeated, times the attempts so far and a number between 0 and 1; at most [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_micros(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// How long the server may take to know how a transaction has ended whose connection broke: it ends what hangs after 4 s.
const VERDICT: Duration = Duration::from_secs(8);
const ASK_AGAIN: Duration = Duration::from_millis(50);

pub(super) struct Worker {
    pub(super) pool: Arc<Pool>,
    runtime: Runtime,
    connection: Option<Connection>,
}

impl Worker {
    pub(super) const fn new(pool: Arc<Pool>, runtime: Runtime) -> Self {
        Self { pool, runtime, connection: None }
    }

    /// Runs the job, again and again if something came in between, and answers it.
    pub(super) fn serve(&mut self, access: Access, mut job: Box<dyn Job>) {
        let mut attempts = 0;
        let answer = loop {
            attempts += 1;
            match self.attempt(access, job.as_mut()) {
                Ok(End::Committed | End::GivenUp) => break Ok(()),
                Ok(End::Failed(failure)) if may_repeat(&failure, attempts) => pause(attempts),
                Ok(End::Unknown(mark)) => match self.verdict(mark) {
                    Verdict::Committed => break Ok(()),
                    Verdict::RolledBack if attempts < LOSSES => pause(attempts),
                    Verdict::RolledBack => break Err(StoreError::Unreachable("the connection breaks each time".to_owned())),
                    Verdict::Unknown => {
                        let sentence = "the connection broke, and whether the change was stored is not known";
                        break Err(StoreError::Unreachable(sentence.to_owned()));
                    }
                },
                Ok(End::Failed(failure)) if failure.cause == Cause::Conflict => {
                    tracing::error!(
                        attempts,
                        reason = failure.sentence(),
                        "a transaction was given up because others were in its way"
                    );
                    break Err(failure.into_error());
                }
                Ok(End::Failed(failure)) | Err(failure) => break Err(failure.into_error()),
            }
        };
        job.answer(answer);
    }

    fn attempt(&mut self, access: Access, job: &mut dyn Job) -> Result<End, Failure> {
        let mut connection = self.connected()?;
        let mut tx = Tx::on_postgres(Session::new(&self.runtime, &mut connection, access));
        let keep = job.run(&mut tx, Attempt::PerhapsOneOfMany);
        let end = tx.into_session().map_or(End::GivenUp, |session| session.end(keep));
        self.connection = Some(connection);
        Ok(end)
    }

    /// The thread's connection, made anew if it is not good any more.
    fn connected(&mut self) -> Result<Connection, Failure> {
        match self.connection.take() {
            Some(connection) if connection.is_good(&self.runtime) => Ok(connection),
            _ => self.pool.link.connect(&self.runtime),
        }
    }

    /// Asks how a transaction has ended whose connection broke while it was being committed.
    fn verdict(&mut self, mark: Mark) -> Verdict {
        let give_up = Instant::now() + VERDICT;
        while Instant::now() < give_up {
            let Ok(connection) = self.connected() else { return Verdict::Unknown };
            let committed = self.runtime.block_on(connection.was_committed(mark));
            self.connection = Some(connection);
            match committed {
                Ok(Some(true)) => return Verdict::Committed,
                Ok(Some(false)) => return Verdict::RolledBack,
                Ok(None) => return Verdict::Unknown,
                Err(_) => thread::sleep(ASK_AGAIN),
            }
        }
        Verdict::Unknown
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.pool.ended();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Committed,
    RolledBack,
    Unknown,
}

fn may_repeat(failure: &Failure, attempts: u32) -> bool {
    match failure.cause {
        // It was not committed, because it had not come to that.
        Cause::Broken => attempts < LOSSES,
        Cause::Conflict => attempts < CONFLICTS,
        // Whoever was first has committed by now, so that the second attempt sees it and can answer accordingly.
        Cause::Duplicate => attempts < 2,
        Cause::Unreachable | Cause::Full | Cause::Other => false,
    }
}

/// Those who were in each other's way must not meet again at once.
fn pause(attempts: u32) {
    let mut random = [0; 1];
    // Without randomness they do meet, which costs time and nothing else.
    let _ = getrandom::fill(&mut random);
    if attempts > 1 {
        let pause = (PAUSE * attempts).min(LONGEST_PAUSE);
        thread::sleep(pause * u32::from(random[0]) / 255);
    }
}
