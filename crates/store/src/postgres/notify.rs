//! Letters between nodes over LISTEN and NOTIFY, on a connection of their own.
//!
//! A NOTIFY inside the transactions that write would halve their rate; here letters are gathered and sent beside them.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Carrier, CarrierError, Heard, Subject};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client};

use super::PostgresUrl;
use super::statement::sentence;
use super::tls;

/// Nodes on the same database hear each other, whatever else listens there.
const CHANNEL: &str = "colloquy";
/// PostgreSQL takes less than 8,000 bytes.
const LIMIT: usize = 7900;
/// A commit that notifies waits for all others that do, so there are few of them.
const GATHER: Duration = Duration::from_millis(12);
/// How long the server may take to answer on this connection.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// A connection on which nothing comes may be dead without anybody knowing. It is tried so often.
const TRY_EVERY: Duration = Duration::from_secs(3);
/// Between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(500);

/// The line to the other nodes. It comes back by itself when it breaks.
pub struct Notify {
    client: Arc<Mutex<Option<Arc<Client>>>>,
    inbox: tokio::sync::Mutex<UnboundedReceiver<Heard>>,
    running: AbortHandle,
}

impl Notify {
    /// Must be called in a runtime. The server need not be there yet.
    #[must_use]
    pub fn start(url: &PostgresUrl) -> Arc<Self> {
        let client = Arc::new(Mutex::new(None));
        let (deliver, inbox) = mpsc::unbounded_channel();
        let running = tokio::spawn(run(url.clone(), Arc::clone(&client), deliver)).abort_handle();
        Arc::new(Self { client, inbox: tokio::sync::Mutex::new(inbox), running })
    }
}

#[async_trait]
impl Carrier for Notify {
    fn limit(&self) -> usize {
        LIMIT
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    fn has_subjects(&self) -> bool {
        false
    }

    async fn send(&self, _: Subject, letter: String) -> Result<(), CarrierError> {
        let client = lock(&self.client).clone();
        let client = client.ok_or_else(|| CarrierError("the database cannot be reached".to_owned()))?;
        let values: [&(dyn ToSql + Sync); 2] = [&CHANNEL, &letter];
        let sending = client.execute("SELECT pg_notify($1, $2)", &values);
        match timeout(ANSWERED_WITHIN, sending).await {
            Ok(sent) => sent.map(drop).map_err(|error| CarrierError(sentence(&error))),
            Err(_) => {
                // Whoever runs the connection finds out as well; until then nothing more is tried on it.
                lock(&self.client).take_if(|current| Arc::ptr_eq(current, &client));
                Err(CarrierError("the database does not answer".to_owned()))
            }
        }
    }

    async fn follow(&self, _: Subject) {}

    async fn unfollow(&self, _: Subject) {}

    async fn next(&self) -> Heard {
        match self.inbox.lock().await.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl std::fmt::Debug for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notify").field("is_open", &lock(&self.client).is_some()).finish_non_exhaustive()
    }
}

async fn run(url: PostgresUrl, shared: Arc<Mutex<Option<Arc<Client>>>>, deliver: UnboundedSender<Heard>) {
    loop {
        let reason = listen(&url, &shared, &deliver).await;
        lock(&shared).take();
        tracing::debug!(server = %url, reason, "the line to other nodes is broken; trying again");
        if deliver.send(Heard::Deaf).is_err() {
            return;
        }
        sleep(RECONNECT).await;
    }
}

/// Listens until the connection breaks; says why it did.
async fn listen(url: &PostgresUrl, shared: &Mutex<Option<Arc<Client>>>, deliver: &UnboundedSender<Heard>) -> String {
    let tls = match tls::connector(url) {
        Ok(tls) => tls,
        Err(reason) => return reason,
    };
    let (client, mut connection) = match url.config.connect(tls).await {
        Ok(connected) => connected,
        Err(error) => return sentence(&error),
    };
    let client = Arc::new(client);
    let used = Arc::clone(&client);
    let using = async {
        let begin = format!("SET client_min_messages = 'error'; LISTEN {CHANNEL}");
        match timeout(ANSWERED_WITHIN, used.batch_execute(&begin)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return sentence(&error),
            Err(_) => return "the database does not answer".to_owned(),
        }
        *lock(shared) = Some(Arc::clone(&used));
        // Nobody listens any more when the server ends.
        let _ = deliver.send(Heard::Hearing);
        loop {
            sleep(TRY_EVERY).await;
            match timeout(ANSWERED_WITHIN, used.batch_execute("")).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return sentence(&error),
                Err(_) => return "the database does not answer".to_owned(),
            }
        }
    };
    let hearing = async {
        loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(letter))) => {
                    let _ = deliver.send(Heard::Letter(letter.payload().to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return sentence(&error),
                None => return "it was closed".to_owned(),
            }
        }
    };
    let began = Instant::now();
    let reason = tokio::select! {
        reason = hearing => reason,
        reason = using => reason,
    };
    drop(client);
    format!("{reason} (after {} s)", began.elapsed().as_secs())
}

/// A panic elsewhere leaves nothing half done behind this lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
