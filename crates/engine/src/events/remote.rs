//! What other nodes write, brought into the live logs of this one: by letters if there is a carrier, and by looking now and
//! then in any case.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use domain::{Carrier, ConversationId, Event, Heard, NodeId, PartId, Seq, Subject, TurnState};
use store::{StoreError, Tx, conversations, events, messages, turns};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::bus::{Attached, Bus};
use super::live::{Live, OpenPart};
use super::mail::{Item, Letter, Order, Outbox, Span};
use super::open_parts;
use crate::{Error, Result};

/// How often followed conversations are looked at, in case a letter was lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same while there is no carrier.
const LOOK_WHILE_DEAF: Duration = Duration::from_millis(200);
/// How long it may take until there is word of the carrier.
const HEARING_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait when the database refuses.
const RETRY: Duration = Duration::from_millis(250);
/// A fact often comes from another thread in this moment, and need not be read then.
const BEFORE_READING: Duration = Duration::from_millis(2);
/// Text that is missing is on its way to the store for so long.
const TEXT_IS_STORED_WITHIN: Duration = Duration::from_millis(50);
/// Facts that a live log takes from the store. Whoever is further behind reads for itself.
const FACTS: u32 = 256;
/// Conversations that are read at once.
const AT_ONCE: usize = 64;
/// How long a conversation that nobody follows by itself is kept for those who follow everything.
const KEPT_FOR_THE_FEED: Duration = Duration::from_secs(60);
/// Topics that may wait for somebody who listens slowly.
const TOPICS: usize = 1024;

/// The part of the bus that talks to other nodes.
#[derive(Debug)]
pub(super) struct Remote {
    me: NodeId,
    carrier: Option<Arc<dyn Carrier>>,
    outbox: Arc<Outbox>,
    /// Live logs that are behind the store, and whether text is missing too.
    stale: Mutex<HashMap<ConversationId, bool>>,
    wake: Notify,
    deaf: AtomicBool,
    /// The number of the last letter of each node.
    numbers: Mutex<HashMap<NodeId, u64>>,
    orders: mpsc::UnboundedSender<Order>,
    topics: broadcast::Sender<String>,
    /// Held for those who follow everything, since when.
    kept: Mutex<HashMap<ConversationId, (Attached, Instant)>>,
    ended: CancellationToken,
    _end: DropGuard,
}

impl Remote {
    pub(super) fn new(me: NodeId, carrier: Option<Arc<dyn Carrier>>) -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (orders, ordered) = mpsc::unbounded_channel();
        let ended = CancellationToken::new();
        let remote = Self {
            me,
            deaf: AtomicBool::new(true),
            carrier,
            outbox: Arc::new(Outbox::new(me)),
            stale: Mutex::default(),
            wake: Notify::new(),
            numbers: Mutex::default(),
            orders,
            topics: broadcast::channel(TOPICS).0,
            kept: Mutex::default(),
            _end: ended.clone().drop_guard(),
            ended,
        };
        (remote, ordered)
    }

    pub(super) fn topics(&self) -> broadcast::Receiver<String> {
        self.topics.subscribe()
    }

    /// The live log does not know everything. It will be read.
    pub(super) fn mark(&self, conversation: ConversationId, text: bool) {
        *lock(&self.stale).entry(conversation).or_default() |= text;
        self.wake.notify_one();
    }

    /// Where to put what others should know; `None`: there is nothing to carry it.
    pub(super) fn outbox(&self) -> Option<&Outbox> {
        self.carrier.is_some().then_some(&*self.outbox)
    }

    /// Sends what waits, without waiting for more.
    pub(super) async fn send_what_waits(&self) {
        if let Some(carrier) = &self.carrier {
            self.outbox.send(carrier).await;
        }
    }

    /// Forgets what is kept for the feed: it holds the bus, which holds this.
    pub(super) fn let_go(&self) {
        let kept = std::mem::take(&mut *lock(&self.kept));
        drop(kept);
    }
}

/// Starts what runs for as long as the bus does.
pub(super) fn start(bus: &Arc<Bus>) {
    let Some(remote) = &bus.remote else { return };
    let weak = Arc::downgrade(bus);
    if let Some(carrier) = &remote.carrier {
        tokio::spawn(remote.ended.clone().run_until_cancelled_owned(send(Arc::clone(&remote.outbox), Arc::clone(carrier))));
        tokio::spawn(remote.ended.clone().run_until_cancelled_owned(listen(weak.clone(), Arc::clone(carrier))));
    }
    tokio::spawn(remote.ended.clone().run_until_cancelled_owned(read(weak.clone())));
    tokio::spawn(remote.ended.clone().run_until_cancelled_owned(look(weak)));
}

async fn send(outbox: Arc<Outbox>, carrier: Arc<dyn Carrier>) {
    loop {
        outbox.wake.notified().await;
        if !carrier.gather().is_zero() {
            sleep(carrier.gather()).await;
        }
        outbox.send(&carrier).await;
    }
}

async fn listen(bus: Weak<Bus>, carrier: Arc<dyn Carrier>) {
    let mut patience = Some(HEARING_WITHIN);
    loop {
        let heard = match patience {
            None => carrier.next().await,
            Some(patience) => timeout(patience, carrier.next()).await.unwrap_or(Heard::Deaf),
        };
        let is_first = patience.take().is_some();
        let Some(bus) = bus.upgrade() else { return };
        let Some(remote) = &bus.remote else { return };
        match heard {
            Heard::Letter(text) => match serde_json::from_str::<Letter>(&text) {
                Ok(letter) if letter.from == remote.me => {}
                Ok(letter) => bus.take(remote, letter),
                Err(error) => tracing::warn!(%error, "a letter of another node cannot be read; is it of another version?"),
            },
            Heard::Deaf => {
                if !remote.deaf.swap(true, Ordering::AcqRel) || is_first {
                    tracing::warn!("news of other nodes does not come any more; it is looked for in the database until it does");
                }
            }
            Heard::Hearing => {
                if remote.deaf.swap(false, Ordering::AcqRel) {
                    tracing::info!("news of other nodes comes in");
                }
                bus.missed_something(remote);
            }
        }
    }
}

impl Bus {
    fn take(self: &Arc<Self>, remote: &Remote, letter: Letter) {
        if letter.number > 0 {
            let before = lock(&remote.numbers).insert(letter.from, letter.number);
            if before.is_some_and(|before| letter.number > before + 1) {
                tracing::debug!(node = %letter.from, "letters of a node are lost");
                self.missed_something(remote);
            }
        }
        for item in letter.items {
            match item {
                Item::Facts(conversation, span) => self.heard_of(remote, conversation, span),
                Item::Deleted(conversation) => {
                    if self.find(conversation).is_some() {
                        remote.mark(conversation, false);
                    }
                }
                Item::Text(piece) => {
                    if let Some(live) = self.find(piece.conversation)
                        && !live.receive(piece)
                    {
                        remote.mark(live.conversation, true);
                    }
                }
                // Nobody takes orders once the engine ends.
                Item::Order(order) => drop(remote.orders.send(order)),
                // Nobody listens yet.
                Item::Topic(topic) => drop(remote.topics.send(topic)),
            }
        }
    }

    fn heard_of(self: &Arc<Self>, remote: &Remote, conversation: ConversationId, span: Span) {
        if self.feed.is_wanted() {
            self.keep_for_the_feed(remote, conversation, span.epoch, Seq(span.first - 1));
        }
        if self.find(conversation).is_some_and(|live| live.head().is_none_or(|(_, seq)| seq.0 < span.last)) {
            remote.mark(conversation, false);
        }
    }

    /// Those who follow everything are to see what happens after `seq`.
    fn keep_for_the_feed(self: &Arc<Self>, remote: &Remote, conversation: ConversationId, epoch: i64, seq: Seq) {
        let mut kept = lock(&remote.kept);
        let (attached, since) = kept.entry(conversation).or_insert_with(|| (self.hold(conversation), Instant::now()));
        *since = Instant::now();
        // Unless somebody else has loaded it already.
        attached.live.load(epoch, seq, None);
    }

    /// Letters may be lost: whatever is followed is read.
    fn missed_something(&self, remote: &Remote) {
        self.feed.break_off();
        self.all_live().into_iter().for_each(|live| remote.mark(live.conversation, true));
    }
}

/// Reads what live logs do not know.
async fn read(bus: Weak<Bus>) {
    loop {
        let Some(wake) = bus.upgrade() else { return };
        let Some(remote) = &wake.remote else { return };
        let waiting = async {
            remote.wake.notified().await;
            sleep(BEFORE_READING).await;
        };
        // The bus must not be kept alive by somebody who only waits; it ends this task when it goes.
        let woken = timeout(LOOK_EVERY, waiting).await.is_ok();
        if !woken && lock(&remote.stale).is_empty() {
            continue;
        }
        let stale: Vec<(ConversationId, bool)> = std::mem::take(&mut *lock(&remote.stale)).into_iter().collect();
        for some in stale.chunks(AT_ONCE) {
            if let Err(error) = wake.catch_up_with(some).await {
                tracing::warn!(%error, "what other nodes have written could not be read; trying again");
                some.iter().for_each(|(conversation, text)| remote.mark(*conversation, *text));
                sleep(RETRY).await;
            }
        }
    }
}

/// What the store knows of a conversation and a live log does not.
struct Found {
    live: Arc<Live>,
    head: Option<conversations::Head>,
    facts: Vec<Event>,
    open: Option<OpenPart>,
    complete: Vec<PartId>,
}

impl Bus {
    /// Brings live logs up to what the store knows; the flag says whether text is missing too.
    pub(super) async fn catch_up_with(&self, stale: &[(ConversationId, bool)]) -> Result<()> {
        let wanted: Vec<(Arc<Live>, bool)> =
            stale.iter().filter_map(|(conversation, text)| Some((self.find(*conversation)?, *text))).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let reading = self.store.read(move |tx| {
            wanted.into_iter().map(|(live, text)| look_up(tx, live, text)).collect::<Result<Vec<Found>, StoreError>>()
        });
        let at = self.clock.now();
        for Found { live, head, facts, open, complete } in reading.await.map_err(Error::from)? {
            let Some(head) = head else {
                live.delete(at);
                continue;
            };
            if facts.len() > FACTS as usize {
                live.jump(head.epoch, head.seq);
            } else {
                for fact in facts {
                    live.publish(fact);
                }
            }
            live.restore(head.epoch, head.seq, open, &complete);
            if !live.unplaced().is_empty() {
                self.look_again_soon(live.conversation);
            }
        }
        Ok(())
    }

    fn look_again_soon(&self, conversation: ConversationId) {
        let Some(weak) = self.itself.upgrade().map(|bus| Arc::downgrade(&bus)) else { return };
        tokio::spawn(async move {
            sleep(TEXT_IS_STORED_WITHIN).await;
            let Some(bus) = weak.upgrade() else { return };
            let is_missing = bus.find(conversation).is_some_and(|live| !live.unplaced().is_empty());
            if let Some(remote) = bus.remote.as_ref().filter(|_| is_missing) {
                remote.mark(conversation, true);
            }
        });
    }
}

fn look_up(tx: &mut Tx, live: Arc<Live>, text: bool) -> Result<Found, StoreError> {
    let conversation = live.conversation;
    let (head, known) = (conversations::head(tx, conversation)?, live.head());
    let (Some(end), Some((_, last))) = (head, known) else {
        return Ok(Found { live, head, facts: Vec::new(), open: None, complete: Vec::new() });
    };
    let facts = if end.seq > last { events::range(tx, conversation, last, end.seq, FACTS + 1)? } else { Vec::new() };
    let unplaced = live.unplaced();
    let complete = if unplaced.is_empty() { Vec::new() } else { messages::existing_parts(tx, &unplaced)? };
    let open = if text || !unplaced.is_empty() { part_being_written(tx, conversation)? } else { None };
    Ok(Found { live, head, facts, open, complete })
}

/// The part that is open now, as far as it is stored.
pub(super) fn part_being_written(tx: &mut Tx, conversation: ConversationId) -> Result<Option<OpenPart>, StoreError> {
    let running = turns::open(tx, conversation)?.into_iter().find(|turn| turn.state == TurnState::Running);
    match running {
        Some(turn) => Ok(open_parts(tx, turn.id)?.pop()),
        None => Ok(None),
    }
}

/// Looks now and then whether followed conversations have gone on, because letters may be lost.
async fn look(bus: Weak<Bus>) {
    loop {
        let deaf = {
            let Some(bus) = bus.upgrade() else { return };
            bus.remote.as_ref().is_some_and(|remote| remote.deaf.load(Ordering::Acquire))
        };
        sleep(if deaf { LOOK_WHILE_DEAF } else { LOOK_EVERY }).await;
        let Some(bus) = bus.upgrade() else { return };
        if let Err(error) = bus.look_once(deaf).await {
            tracing::warn!(%error, "followed conversations could not be looked at; trying again");
            sleep(RETRY).await;
        }
    }
}

impl Bus {
    async fn look_once(&self, deaf: bool) -> Result<(), StoreError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let old: Vec<(Attached, Instant)> = {
            let mut kept = lock(&remote.kept);
            kept.extract_if(|_, (_, since)| since.elapsed() > KEPT_FOR_THE_FEED).map(|(_, old)| old).collect()
        };
        drop(old);
        let followed = self.all_live();
        for some in followed.chunks(AT_ONCE) {
            let ids: Vec<ConversationId> = some.iter().map(|live| live.conversation).collect();
            let heads: HashMap<_, _> = self.store.read(move |tx| conversations::heads(tx, &ids)).await?.into_iter().collect();
            for live in some {
                let Some((epoch, seq)) = live.head() else { continue };
                let is_behind = match heads.get(&live.conversation) {
                    Some(head) => (head.epoch, head.seq) > (epoch, seq),
                    None => true,
                };
                if is_behind || deaf || !live.unplaced().is_empty() {
                    remote.mark(live.conversation, deaf);
                }
            }
        }
        Ok(())
    }

    pub(super) fn follow_text(&self, conversation: ConversationId, follow: bool) {
        if let Some(outbox) = self.outbox() {
            outbox.follow(Subject::Text(conversation), follow);
        }
    }
}

/// A panic elsewhere leaves nothing half done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
