//! Engines that share a database in this process, each on a runtime of its own, so that one can be killed or frozen while
//! the others go on; and a carrier between them that treats letters as badly as it may.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Carrier, CarrierError, Heard, NodeId, Subject};
use engine::{Nodes, Sharing};
use store::Store;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::campaign_puppet::Theatre;
use crate::harness_luck::Luck;

/// How letters are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Post {
    /// There is none.
    Nowhere,
    /// All arrive, at once.
    Good,
    /// Some are lost, some come twice, some late, and now and then nothing comes for a while.
    Bad,
    /// All arrive, with another word in them. No carrier may do that; a check that finds nothing then is no check.
    Lying,
}

/// The nodes that can write to each other.
#[derive(Clone)]
pub struct Town {
    post: Post,
    state: Arc<Mutex<State>>,
}

struct State {
    boxes: HashMap<NodeId, mpsc::UnboundedSender<Heard>>,
    luck: Luck,
}

impl Town {
    pub fn new(post: Post, luck: Luck) -> Self {
        Self { post, state: Arc::new(Mutex::new(State { boxes: HashMap::new(), luck })) }
    }

    fn carrier(&self, id: NodeId) -> Option<Arc<dyn Carrier>> {
        if self.post == Post::Nowhere {
            return None;
        }
        let (send, receive) = mpsc::unbounded_channel();
        let _ = send.send(Heard::Hearing);
        self.lock().boxes.insert(id, send);
        Some(Arc::new(Mailbox { town: self.clone(), receive: tokio::sync::Mutex::new(receive) }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Mailbox {
    town: Town,
    receive: tokio::sync::Mutex<mpsc::UnboundedReceiver<Heard>>,
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mailbox")
    }
}

#[async_trait]
impl Carrier for Mailbox {
    fn limit(&self) -> usize {
        1000
    }

    fn gather(&self) -> Duration {
        Duration::from_millis(3)
    }

    fn has_subjects(&self) -> bool {
        false
    }

    async fn send(&self, _: Subject, letter: String) -> Result<(), CarrierError> {
        assert!(letter.len() <= self.limit(), "a letter of {} bytes", letter.len());
        let mut state = self.town.lock();
        let State { boxes, luck } = &mut *state;
        for mailbox in boxes.values() {
            let heard = Heard::Letter(letter.clone());
            match self.town.post {
                Post::Nowhere | Post::Good => {
                    let _ = mailbox.send(heard);
                    continue;
                }
                Post::Lying => {
                    let _ = mailbox.send(Heard::Letter(letter.replace("round", "sound")));
                    continue;
                }
                Post::Bad => {}
            }
            for _ in 0..[0, 1, 1, 1, 1, 2][luck.below(6)] {
                let (mailbox, heard, late) = (mailbox.clone(), heard.clone(), Duration::from_millis(luck.below(30) as u64));
                tokio::spawn(async move {
                    tokio::time::sleep(late).await;
                    let _ = mailbox.send(heard);
                });
            }
            if luck.one_in(200) {
                let _ = (mailbox.send(Heard::Deaf), mailbox.send(Heard::Hearing));
            }
        }
        Ok(())
    }

    async fn follow(&self, _: Subject) {}

    async fn unfollow(&self, _: Subject) {}

    async fn next(&self) -> Heard {
        match self.receive.lock().await.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }
}

/// One node.
pub struct Node {
    pub theatre: Theatre,
    runtime: Option<Runtime>,
}

impl Node {
    pub async fn start(town: &Town, store: Store, directory: &Path) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let id = NodeId::new();
        let sharing = Sharing::Shared { id, earlier: None, carrier: town.carrier(id) };
        let (nodes, directory) = (Nodes { sharing, address: "test".to_owned() }, directory.to_owned());
        let starting = runtime.spawn(async move { Theatre::beside(store, &directory, nodes).await });
        Self { theatre: starting.await.expect("it starts"), runtime: Some(runtime) }
    }

    /// Does something on this node.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime().spawn(work).await.expect("no panic")
    }

    /// As SIGKILL does it: nothing runs any more, and nothing is said.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// As SIGSTOP and later SIGCONT do it.
    pub fn freeze(&self, time: Duration) {
        self.runtime().spawn(async move { std::thread::sleep(time) });
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it was not killed")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
