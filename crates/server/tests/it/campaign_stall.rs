//! P6: readers that never read slow down nobody, are cut off in time, cost little memory, and miss nothing when they come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::campaign_kill::settle;
use crate::campaign_support::{Api, Machine, PATIENCE, dashed, is_long, sized};
use crate::checker::{Evidence, check};
use crate::harness_http::Request;
use crate::harness_ws::{FINAL, TEXT, frame, upgrade};
use crate::ledger::{Events, Face, Fact, Fate, Ledger, PLAIN, Reader, Seen, open_socket_on};
use crate::upstream::{Tale, Upstream};

const GOOD: usize = 100;
const STALLED: usize = 10;
/// What a stalled reader's own machine takes for it.
const RECEIVE_BUFFER_BYTES: u32 = 4096;
/// Large enough to fill the buffers of a connection within seconds.
const PIECE_BYTES: usize = 4096;
const PACE: Duration = Duration::from_millis(15);
/// What is measured at once. All turns are of this length, because a longer one has a longer text.
const TURN: Duration = Duration::from_secs(4);
/// Turns without and with stalled readers, in one round. The latter take longer than it takes to be cut off.
const CALM_TURNS: usize = 2;
const STALLING_TURNS: usize = 3;
/// Filling the buffers, being stalled for ten seconds, and two in which to say goodbye.
const CUT_WITHIN: Duration = Duration::from_secs(17);
const KIB_FOR_A_STALLED_READER: u64 = 2048;
/// A socket that says nothing for a minute is taken for dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
const PONG: u8 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_harms_nobody() {
    let upstream = Upstream::start().await;
    let machine = Machine::started(&upstream).await;
    let (api, ledger) = (machine.api(), Ledger::default());
    let conversation = api.conversation().await;
    let latencies = Arc::new(Latencies::default());
    let mut readers = Vec::new();
    for number in 0..GOOD {
        let is_socket = number % 2 == 0;
        let stream = if is_socket { good_socket(api, &conversation).await } else { good_stream(api, &conversation).await };
        readers.push(tokio::spawn(measure(stream, is_socket, upstream.clock(), Arc::clone(&latencies))));
    }
    let mut watchers: Vec<Reader> =
        [Face::Session, Face::Socket].map(|face| Reader::start(api, face, &conversation, format!("good {face:?}"))).into();
    for watcher in &watchers {
        assert!(watcher.sees(&conversation, PATIENCE, |seen| !seen.is_empty()).await);
    }
    let stage = Stage { machine, api, ledger, conversation, latencies, tales: AtomicU64::new(1) };
    // Everything is used once before anything is measured.
    stage.turns(1).await;

    let rounds = sized(1, 5);
    let (mut calm, mut stalling, mut cuts) = (Vec::new(), Vec::new(), Vec::new());
    let mut round = 0;
    // A busy machine is noise in both; more rounds tell it from a difference.
    while round < rounds || (!is_fair(&calm, &stalling) && round < rounds + 3) {
        round += 1;
        let before = stage.machine.memory_kib();
        calm.extend(stage.turns(CALM_TURNS).await);
        let usual = stage.machine.memory_kib().saturating_sub(before) * (STALLING_TURNS as u64) / (CALM_TURNS as u64);

        let stalled = stage.stalled().await;
        let before = stage.machine.memory_kib();
        let watching = watch_cuts(stage.api, stalled.iter().map(|stalled| stalled.port).collect());
        let (measured, (times, peak)) = tokio::join!(stage.turns(STALLING_TURNS), stage.peak_while(watching));
        let each = peak.saturating_sub(before + usual) / STALLED as u64;
        println!("round {round}: p99 {calm:?} without, now {measured:?}, and {each} KiB for each");
        assert!(each <= KIB_FOR_A_STALLED_READER, "a stalled reader costs {each} KiB: {before} + {usual} became {peak}");
        stalling.extend(measured);
        cuts.extend(times);
        for (number, stalled) in stalled.into_iter().enumerate() {
            watchers.push(Reader::from(
                stage.api,
                stalled.face,
                &stage.conversation,
                format!("stalled {number}"),
                stalled.position,
            ));
            drop(stalled.connection);
        }
        // They have much to read, which is not what the next round is about.
        stage.all_see_the_end(&watchers).await;
    }
    assert!(is_fair(&calm, &stalling), "p99 of the good readers: {calm:?} without and {stalling:?} with stalled ones");
    assert!(cuts.iter().all(|cut| *cut < CUT_WITHIN), "stalled readers are cut off after {cuts:?}");
    assert_eq!(cuts.len(), round * STALLED);

    readers.into_iter().for_each(|reader| reader.abort());
    let expected = stage.latencies.expected.load(Ordering::Relaxed) * GOOD;
    assert_eq!(stage.latencies.all.load(Ordering::Relaxed), expected, "a good reader misses something");
    let readings = watchers.into_iter().flat_map(Reader::stop).collect();
    let Stage { machine, api, ledger, conversation, .. } = stage;
    check(&Evidence::gather(api, &conversation, ledger.of(&conversation), readings, false).await);
    let (shortest, longest) = (cuts.iter().min(), cuts.iter().max());
    println!(
        "{round} rounds: p99 {:?} without and {:?} with, cut off after {shortest:?} to {longest:?}",
        median(&calm),
        median(&stalling)
    );
    machine.end().await;
}

/// By the promise: at most a fifth more, and in the sample, which has few numbers, also at most 5 ms more.
fn is_fair(calm: &[Duration], stalling: &[Duration]) -> bool {
    let (calm, stalling) = (median(calm), median(stalling));
    stalling <= calm * 12 / 10 || (!is_long() && stalling <= calm + Duration::from_millis(5))
}

fn median(all: &[Duration]) -> Duration {
    let mut all = all.to_vec();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

struct Stage {
    machine: Machine,
    api: Api,
    ledger: Ledger,
    conversation: String,
    latencies: Arc<Latencies>,
    tales: AtomicU64,
}

/// From the model's mouth to the reader's ear, in microseconds.
#[derive(Default)]
struct Latencies {
    now: Mutex<Vec<u64>>,
    all: AtomicUsize,
    /// For each reader.
    expected: AtomicUsize,
}

/// A reader that never reads.
struct Stalled {
    face: Face,
    position: String,
    port: u16,
    connection: Connection,
}

#[expect(dead_code, reason = "they are held, and dropped in the end")]
enum Connection {
    Socket(Box<tokio_tungstenite::WebSocketStream<TcpStream>>),
    Stream(Box<Events>),
}

impl Stage {
    /// So many turns; gives the good readers' p99 in each.
    async fn turns(&self, count: usize) -> Vec<Duration> {
        let mut measured = Vec::new();
        for _ in 0..count {
            measured.push(self.turn().await);
        }
        measured
    }

    async fn all_see_the_end(&self, readers: &[Reader]) {
        let turns = settle(self.api, &self.conversation).await;
        let last = Fact::Finished(turns.last().expect("a turn").clone());
        let ends = |seen: &[Seen]| seen.iter().any(|seen| matches!(seen, Seen::Fact { fact, .. } if *fact == last));
        for reader in readers {
            assert!(reader.sees(&self.conversation, PATIENCE, ends).await, "a reader does not come to the end");
        }
    }

    async fn turn(&self) -> Duration {
        let id = self.tales.fetch_add(1, Ordering::Relaxed);
        let pieces = usize::try_from(TURN.as_millis() / PACE.as_millis()).expect("few");
        let pace_us = PACE.as_micros() as u64;
        let tale = Tale { id, rounds: 0, pieces, bytes: PIECE_BYTES, pace_us, stamped: true, ..Tale::default() };
        self.latencies.now.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let expected = self.latencies.expected.fetch_add(pieces, Ordering::Relaxed) + pieces;
        let fate = self.ledger.send(self.api, &self.conversation, &tale.message(), PLAIN).await;
        assert!(matches!(fate, Fate::Acknowledged(_)), "{fate:?}");
        let deadline = Instant::now() + TURN + PATIENCE;
        while self.latencies.all.load(Ordering::Relaxed) < expected * GOOD {
            assert!(Instant::now() < deadline, "a good reader is left behind");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut all = std::mem::take(&mut *self.latencies.now.lock().unwrap_or_else(PoisonError::into_inner));
        all.sort_unstable();
        Duration::from_micros(all.get(all.len() * 99 / 100).copied().unwrap_or_default())
    }

    /// They come before the turn begins, so that their position is before all of it.
    async fn stalled(&self) -> Vec<Stalled> {
        let mut stalled = Vec::new();
        for number in 0..STALLED {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).expect("a small buffer");
            let stream = socket.connect(self.api.address).await.expect("a connection");
            let port = stream.local_addr().expect("an address").port();
            stalled.push(if number % 2 == 0 {
                let mut socket = open_socket_on(self.api, stream).await.expect("the socket opens");
                let subscribe = json!({"type": "subscribe", "chatId": self.conversation, "limit": 1});
                socket.send(Message::text(subscribe.to_string())).await.expect("the server reads");
                let position = loop {
                    let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("no history") };
                    let frame: Value = serde_json::from_str(&text).expect("JSON");
                    if let Some(seq) = frame["seq"].as_str() {
                        break seq.to_owned();
                    }
                };
                Stalled { face: Face::Socket, position, port, connection: Connection::Socket(Box::new(socket)) }
            } else {
                let target = format!("/api/sessions/{}/events", dashed(&self.conversation));
                let mut events =
                    Events::send_on(self.api, stream, Request::get(&target)).await.expect("an answer").expect("a stream");
                let position = events.next().await.and_then(|connected| connected.id).expect("a position");
                Stalled { face: Face::Session, position, port, connection: Connection::Stream(Box::new(events)) }
            });
        }
        stalled
    }

    /// Waits for `work`; also gives the most memory that was used meanwhile.
    async fn peak_while<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        let mut work = std::pin::pin!(work);
        let mut peak = 0;
        loop {
            peak = peak.max(self.machine.memory_kib());
            if let Ok(done) = tokio::time::timeout(Duration::from_millis(100), &mut work).await {
                return (done, peak);
            }
        }
    }
}

/// After how long the server gives up each connection from one of these ports.
async fn watch_cuts(api: Api, ports: Vec<u16>) -> Vec<Duration> {
    let began = Instant::now();
    let mut left = ports;
    let mut cuts = Vec::new();
    while !left.is_empty() && began.elapsed() < CUT_WITHIN + Duration::from_secs(5) {
        let open = open_connections(api.address.port());
        let before = left.len();
        left.retain(|port| open.contains(port));
        cuts.extend(std::iter::repeat_n(began.elapsed(), before - left.len()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(left.is_empty(), "{} stalled readers are never cut off", left.len());
    cuts
}

/// The ports of the peers of this server, by what the kernel says of its side.
fn open_connections(port: u16) -> Vec<u16> {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table of connections");
    let port_of = |address: &str| address.split_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, peer, state) = (fields.next()?, fields.next()?, fields.next()?);
            (port_of(local) == Some(port) && state == ESTABLISHED).then(|| port_of(peer)).flatten()
        })
        .collect()
}

async fn good_socket(api: Api, conversation: &str) -> TcpStream {
    let mut stream = api.connect().await.expect("a connection");
    let request = upgrade("/ws");
    stream.write_all(&request.encode(&api.address.to_string())).await.expect("the server reads");
    let subscribe = json!({"type": "subscribe", "chatId": conversation}).to_string();
    stream.write_all(&frame(FINAL | TEXT, subscribe.as_bytes())).await.expect("the server reads");
    until(&mut stream, b"history").await;
    stream
}

async fn good_stream(api: Api, conversation: &str) -> TcpStream {
    let mut stream = api.connect().await.expect("a connection");
    let request = Request::get(&format!("/api/sessions/{}/events", dashed(conversation)));
    stream.write_all(&request.encode(&api.address.to_string())).await.expect("the server reads");
    until(&mut stream, b"connected").await;
    stream
}

async fn until(stream: &mut TcpStream, word: &[u8]) {
    let mut read = Vec::new();
    let reading = async {
        while memchr::memmem::find(&read, word).is_none() {
            assert!(stream.read_buf(&mut read).await.expect("it begins") > 0, "the connection ends");
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("it begins in time");
}

/// Reads as fast as it comes, and looks only at the stamps: `@microseconds@`.
async fn measure(stream: TcpStream, is_socket: bool, clock: impl Fn() -> u64, latencies: Arc<Latencies>) {
    let (mut read, mut write) = stream.into_split();
    let mut alive = tokio::time::interval(SIGN_OF_LIFE);
    let mut ahead: Vec<u8> = Vec::with_capacity(64 * 1024);
    loop {
        tokio::select! {
            read = read.read_buf(&mut ahead) => {
                if !matches!(read, Ok(1..)) {
                    return;
                }
            }
            _ = alive.tick(), if is_socket => {
                let _ = write.write_all(&frame(FINAL | PONG, b"")).await;
                continue;
            }
        }
        let now = clock();
        let (mut found, mut from) = (Vec::new(), 0);
        while let Some(start) = memchr::memchr(b'@', &ahead[from..]).map(|at| from + at) {
            let Some(end) = memchr::memchr(b'@', &ahead[start + 1..]).map(|at| start + 1 + at) else {
                from = start;
                break;
            };
            let stamp = std::str::from_utf8(&ahead[start + 1..end]).ok().and_then(|stamp| stamp.parse::<u64>().ok());
            found.extend(stamp.map(|stamp| now.saturating_sub(stamp)));
            from = end + 1;
        }
        if memchr::memchr(b'@', &ahead[from..]).is_none() {
            from = ahead.len();
        }
        ahead.drain(..from);
        let count = found.len();
        latencies.now.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        latencies.all.fetch_add(count, Ordering::Relaxed);
    }
}
