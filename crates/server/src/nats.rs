//! Letters between nodes over NATS: without JetStream, because what matters is in the database.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use async_trait::async_trait;
use domain::{Carrier, CarrierError, Heard, Subject};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// What all subjects begin with. Installations that share a NATS server hear each other, which does no harm: they know
/// nothing of each other's conversations.
const PREFIX: &str = "colloquy";
/// NATS takes 1 MiB unless it is told otherwise. Short letters keep the line free for others.
const LIMIT: usize = 64 * 1024;
/// Long enough for the words of one moment to travel together, too short to be seen.
const GATHER: Duration = Duration::from_millis(1);
/// A server that is there answers well within this. It is asked so often, and given up after two silences.
const PING: Duration = Duration::from_secs(5);
/// How long one letter may wait for room on the line.
const SENDING: Duration = Duration::from_secs(1);
/// Between two attempts to reach a server that is away.
const RECONNECT: Duration = Duration::from_millis(500);

/// A line to a NATS server, or to a cluster of them. It comes back by itself when it breaks.
pub struct Nats {
    client: Client,
    inbox: tokio::sync::Mutex<mpsc::UnboundedReceiver<Heard>>,
    deliver: mpsc::UnboundedSender<Heard>,
    /// The tasks that hand on what comes about a subject.
    following: Mutex<HashMap<Subject, AbortHandle>>,
}

impl Nats {
    /// `url`: `nats://HOST:PORT`, several with commas between them, with user and password or a token where needed. The
    /// server need not be there yet.
    ///
    /// # Errors
    /// The address is not understood, in words that do not repeat it.
    pub async fn connect(url: &str) -> Result<Arc<Self>, String> {
        let servers = url.split(',').map(|one| ServerAddr::from_str(one.trim())).collect::<Result<Vec<_>, _>>();
        let servers = servers.map_err(|_| "expected nats://HOST:PORT, or several with commas between them".to_owned())?;
        let (deliver, inbox) = mpsc::unbounded_channel();
        let say = deliver.clone();
        let options = ConnectOptions::new()
            .name("colloquy")
            .retry_on_initial_connect()
            .ping_interval(PING)
            .reconnect_delay_callback(|_| RECONNECT)
            .event_callback(move |event| {
                let say = say.clone();
                async move { tell(&event, &say) }
            });
        let client = options.connect(servers).await.map_err(|error| error.to_string())?;
        let (inbox, following) = (tokio::sync::Mutex::new(inbox), Mutex::default());
        let nats = Arc::new(Self { client, inbox, deliver, following });
        nats.follow(Subject::News).await;
        Ok(nats)
    }

    fn following(&self) -> MutexGuard<'_, HashMap<Subject, AbortHandle>> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(event: &Event, say: &mpsc::UnboundedSender<Heard>) {
    // Nobody listens any more when the server ends.
    let _ = match event {
        Event::Connected => say.send(Heard::Hearing),
        Event::Disconnected | Event::Closed => say.send(Heard::Deaf),
        // Some of what was for us is lost: as if the line had been gone for a moment.
        Event::SlowConsumer(_) => say.send(Heard::Hearing),
        Event::Draining | Event::LameDuckMode => Ok(()),
        Event::ServerError(error) => {
            tracing::warn!(%error, "NATS refuses something");
            Ok(())
        }
        Event::ClientError(error) => {
            tracing::debug!(%error, "NATS cannot be reached");
            Ok(())
        }
    };
}

fn name(subject: Subject) -> String {
    match subject {
        Subject::News => format!("{PREFIX}.news"),
        Subject::Text(conversation) => format!("{PREFIX}.text.{}", conversation.hex()),
        Subject::AllText => format!("{PREFIX}.text.*"),
    }
}

#[async_trait]
impl Carrier for Nats {
    fn limit(&self) -> usize {
        LIMIT
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    fn has_subjects(&self) -> bool {
        true
    }

    async fn send(&self, subject: Subject, letter: String) -> Result<(), CarrierError> {
        // What is sent while the line is gone would arrive much later, and block everything until then.
        if self.client.connection_state() != State::Connected {
            return Err(CarrierError("NATS is away".to_owned()));
        }
        let sending = self.client.publish(name(subject), letter.into());
        match tokio::time::timeout(SENDING, sending).await {
            Ok(sent) => sent.map_err(|error| CarrierError(error.to_string())),
            Err(_) => Err(CarrierError("NATS does not take anything".to_owned())),
        }
    }

    async fn follow(&self, subject: Subject) {
        let mut letters = match self.client.subscribe(name(subject)).await {
            Ok(letters) => letters,
            Err(error) => {
                tracing::warn!(%error, "NATS does not take a subscription");
                return;
            }
        };
        let deliver = self.deliver.clone();
        let handing_on = tokio::spawn(async move {
            while let Some(letter) = letters.next().await {
                let text = String::from_utf8_lossy(&letter.payload).into_owned();
                if deliver.send(Heard::Letter(text)).is_err() {
                    return;
                }
            }
        });
        let before = self.following().insert(subject, handing_on.abort_handle());
        if let Some(before) = before {
            before.abort();
        }
    }

    async fn unfollow(&self, subject: Subject) {
        if let Some(handing_on) = self.following().remove(&subject) {
            handing_on.abort();
        }
    }

    async fn next(&self) -> Heard {
        match self.inbox.lock().await.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.following().values().for_each(AbortHandle::abort);
    }
}

/// Without the address, which may hold a password.
impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats").field("state", &self.client.connection_state()).finish_non_exhaustive()
    }
}
