//! P2: the power goes. What the program has told its disk is written down, and from that the disk is made as a power cut may
//! leave it at any moment: what was not synced is there, is not there, or is there in part. Nothing that was acknowledged
//! before may be missing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::campaign_kill::settle;
use crate::campaign_support::{Api, Machine, PATIENCE, dashed, faults_of_database, hex, luck, sized};
use crate::checker::{Evidence, check};
use crate::disk::{Act, Disk, Entry, Place, clock_ns};
use crate::harness_luck::Luck;
use crate::ledger::{Events, Fate, Ledger, PLAIN, Sent};
use crate::upstream::{Tale, Upstream};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
const WRITERS: usize = 12;
const CONVERSATIONS: usize = 4;
/// One image of so many is given to the whole program; the others to its store.
const WHOLE_PROGRAM_EVERY: usize = 100;

/// What somebody was told, and when at the earliest they knew it.
#[derive(Debug, Clone)]
struct Told {
    at: u64,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Message {
        conversation: String,
        id: String,
        text: String,
    },
    /// By the id of the reply.
    TurnEnded {
        reply: String,
    },
}

/// A run under load, as its disk and its clients saw it.
struct Recording {
    entries: Vec<Entry>,
    told: Vec<Told>,
    sent: Vec<(u64, Sent)>,
    /// From here on the program served.
    served_from: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_power_cut() {
    let (seeds, images) = sized((1, 40), (3, 1000));
    for seed in 0..seeds {
        let mut luck = luck(&format!("power {seed}"));
        let upstream = Upstream::start().await;
        let Some(recording) = record(&upstream, &mut luck).await else { return };
        let cut = cut(&recording, &upstream, images, &mut luck, Syncs::AsTheyWere).await;
        println!("seed {seed}: {} calls, {images} images: {cut:?}", recording.entries.len());
        assert_eq!(cut.damaged + cut.losing, 0, "{:#?}", cut.complaints);
        assert!(cut.torn > 0, "nothing was ever torn, so nothing was tried");
        // The control: SQLite's synchronous=NORMAL leaves out the syncs that make a commit last.
        let normal = self::cut(&recording, &upstream, images.min(100), &mut luck, Syncs::OfNormal).await;
        println!("seed {seed}: without the syncs of each commit: {} of {} images lose something", normal.losing, images.min(100));
        assert!(normal.losing > images.min(100) / 4, "the check would not notice a loss: {normal:?}");
        assert_eq!(normal.damaged, 0, "NORMAL loses, but it does not damage: {:#?}", normal.complaints);
    }
}

async fn record(upstream: &Upstream, luck: &mut Luck) -> Option<Recording> {
    let mut machine = Machine::new(upstream);
    let disk = Disk::below(&mut machine, true)?;
    machine.start().await;
    let served_from = clock_ns();
    let (api, ledger, told) = (machine.api(), Ledger::default(), Arc::new(Mutex::new(Vec::new())));
    let began = clock_ns() - u64::try_from(ledger.now().as_nanos()).expect("a time");
    let mut conversations = Vec::new();
    for _ in 0..CONVERSATIONS {
        conversations.push(api.conversation().await);
    }
    let watching = tokio::spawn(watch(api, Arc::clone(&told)));
    let stop = tokio::time::Instant::now() + Duration::from_millis(sized(4000, 15_000) + luck.below(500) as u64);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (ledger, conversation) = (ledger.clone(), conversations[writer % CONVERSATIONS].clone());
            let seed = luck.below(1000) as u64;
            tokio::spawn(async move {
                for id in 0.. {
                    if tokio::time::Instant::now() > stop {
                        break;
                    }
                    let id = 1 + writer as u64 * 100_000 + id;
                    let (rounds, pieces) = (usize::from((id + seed).is_multiple_of(5)), 1 + (id + seed) as usize % 20);
                    let tale = Tale { id, rounds, calls: 2, pieces, bytes: 200, pace_us: 2000, ..Tale::default() };
                    if ledger.send(api, &conversation, &tale.message(), PLAIN).await == Fate::Refused {
                        // Too many wait.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    machine.kill().await;
    watching.abort();
    let mut told = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
    let mut sent = Vec::new();
    for conversation in &conversations {
        for one in ledger.of(conversation) {
            let at = began + u64::try_from(one.ended.as_nanos()).expect("a time");
            if let Fate::Acknowledged(id) = &one.fate {
                let what = What::Message { conversation: conversation.clone(), id: id.clone(), text: one.text.clone() };
                told.push(Told { at, what });
            }
            sent.push((at, one));
        }
    }
    assert!(told.len() > 50, "only {} things were acknowledged", told.len());
    Some(Recording { entries: disk.log(), told, sent, served_from })
}

/// Writes down when it was told that a turn has ended.
async fn watch(api: Api, told: Arc<Mutex<Vec<Told>>>) {
    let Ok(mut events) = Events::open(api, "/api/events", None).await else { return };
    while let Some(event) = events.next().await {
        if event.name == "message.done" {
            let what = What::TurnEnded { reply: hex(&event.data["messageId"]) };
            told.lock().unwrap_or_else(PoisonError::into_inner).push(Told { at: clock_ns(), what });
        }
    }
}

/// Which syncs count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syncs {
    AsTheyWere,
    /// Those of the write-ahead log only before the database is written to from it.
    OfNormal,
}

#[derive(Debug, Default)]
struct Cuts {
    /// Images in which something is missing that somebody had been told.
    losing: usize,
    /// Images that are no sound database.
    damaged: usize,
    /// Writes that were there in part.
    torn: usize,
    complaints: Vec<String>,
}

/// Makes as many images as are asked for, at moments drawn from the whole time in which the program served.
async fn cut(recording: &Recording, upstream: &Upstream, images: usize, luck: &mut Luck, syncs: Syncs) -> Cuts {
    let entries = &recording.entries;
    let first = entries.iter().position(|entry| entry.began > recording.served_from).expect("it has written something");
    let mut moments: Vec<usize> = (0..images).map(|_| first + luck.below(entries.len() - first + 1)).collect();
    moments.sort_unstable();
    let (mut cuts, mut disk, mut done) = (Cuts::default(), Platter::default(), 0);
    for (number, moment) in moments.into_iter().enumerate() {
        for (index, entry) in entries.iter().enumerate().take(moment).skip(done) {
            let counts = match (syncs, entry.place) {
                (Syncs::AsTheyWere, _) | (_, Place::Database) => true,
                (Syncs::OfNormal, Place::Wal) => {
                    entries.get(index + 1).is_some_and(|next| next.place == Place::Database && next.act != Act::Sync)
                }
            };
            disk.take(entry, counts);
        }
        done = moment;
        let directory = tempfile::tempdir().expect("a directory");
        cuts.torn += disk.after_the_cut(entries.get(moment), luck, directory.path());
        let at = entries.get(moment).map_or(u64::MAX, |next| next.began);
        look(recording, directory.path(), at, number, &mut cuts);
        if syncs == Syncs::AsTheyWere && number % WHOLE_PROGRAM_EVERY == WHOLE_PROGRAM_EVERY / 2 {
            run_on(recording, upstream, directory.path(), at).await;
        }
    }
    cuts
}

/// A disk, file by file: what is on it for certain, and what may be.
#[derive(Default)]
struct Platter {
    certain: [Vec<u8>; 2],
    perhaps: [Vec<Entry>; 2],
}

impl Platter {
    fn take(&mut self, entry: &Entry, sync_counts: bool) {
        let file = entry.place as usize;
        if entry.act != Act::Sync {
            self.perhaps[file].push(entry.clone());
        } else if sync_counts {
            for entry in std::mem::take(&mut self.perhaps[file]) {
                apply(&mut self.certain[file], &entry.act, |_| true);
            }
        }
    }

    /// Writes the files as they may be found; says how many writes are there in part.
    fn after_the_cut(&self, in_work: Option<&Entry>, luck: &mut Luck, directory: &Path) -> usize {
        let mut torn = 0;
        for (file, name) in ["colloquy.db", "colloquy.db-wal"].into_iter().enumerate() {
            let mut bytes = self.certain[file].clone();
            let in_work = in_work.filter(|entry| entry.place as usize == file && entry.act != Act::Sync);
            for entry in self.perhaps[file].iter().chain(in_work) {
                match luck.below(3) {
                    0 => {}
                    1 => apply(&mut bytes, &entry.act, |_| true),
                    _ => {
                        torn += 1;
                        apply(&mut bytes, &entry.act, |_| luck.one_in(2));
                    }
                }
            }
            if file == 0 || !bytes.is_empty() {
                std::fs::write(directory.join(name), bytes).expect("a file");
            }
        }
        torn
    }
}

/// `keeps` is asked for every sector.
fn apply(bytes: &mut Vec<u8>, act: &Act, mut keeps: impl FnMut(usize) -> bool) {
    match act {
        Act::Sync => {}
        Act::Truncate { length } => bytes.resize(*length, 0),
        Act::Write { offset, data } => {
            let end = offset + data.len();
            let mut at = *offset;
            while at < end {
                let next = ((at / SECTOR + 1) * SECTOR).min(end);
                if keeps(at / SECTOR) {
                    if bytes.len() < next {
                        bytes.resize(next, 0);
                    }
                    bytes[at..next].copy_from_slice(&data[at - offset..next - offset]);
                }
                at = next;
            }
        }
    }
}

/// Opens the image as the program does, and looks for everything that was told before `at`.
fn look(recording: &Recording, directory: &Path, at: u64, number: usize, cuts: &mut Cuts) {
    let path = directory.join("colloquy.db");
    let opened = store::Store::open(&store::DatabaseUrl::Sqlite(path.clone()));
    let faults = match opened {
        Ok(store) => {
            drop(store);
            faults_of_database(&path)
        }
        Err(error) => vec![error.to_string()],
    };
    if !faults.is_empty() {
        cuts.damaged += 1;
        cuts.complaints.push(format!("image {number}: {faults:?}"));
        return;
    }
    let lost = lost(recording, &path, at);
    if !lost.is_empty() {
        cuts.losing += 1;
        cuts.complaints.extend(lost.into_iter().take(3).map(|lost| format!("image {number}: {lost}")));
    }
}

fn lost(recording: &Recording, path: &Path, at: u64) -> Vec<String> {
    let database = rusqlite::Connection::open(path).expect("the database opens");
    let mut messages: HashMap<String, Vec<String>> = HashMap::new();
    let mut query = database
        .prepare("SELECT lower(hex(m.id)), p.text FROM message m JOIN part p ON p.message_id = m.id WHERE m.author = 'person'")
        .expect("a query");
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).expect("rows");
    for (id, text) in rows.map(|row| row.expect("a row")) {
        messages.entry(text).or_default().push(id);
    }
    let mut query = database.prepare("SELECT lower(hex(reply_id)) FROM turn WHERE state = 'finished'").expect("a query");
    let ended: Vec<String> = query.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("a row")).collect();
    let ended: std::collections::HashSet<&String> = ended.iter().collect();
    let mut lost = Vec::new();
    for told in recording.told.iter().filter(|told| told.at < at) {
        match &told.what {
            What::Message { id, text, .. } if messages.get(text).is_none_or(|ids| ids.as_slice() != std::slice::from_ref(id)) => {
                lost.push(format!("an acknowledged message: {id} {text}, but {:?}", messages.get(text)));
            }
            What::TurnEnded { reply } if !ended.contains(reply) => lost.push(format!("the end of the turn {reply}")),
            What::Message { .. } | What::TurnEnded { .. } => {}
        }
    }
    lost.extend(messages.iter().filter(|(_, ids)| ids.len() > 1).map(|(text, ids)| format!("doubled: {ids:?} {text}")));
    lost
}

/// The whole program starts on the image, takes up what it finds, and the one checker looks at what comes of it.
async fn run_on(recording: &Recording, upstream: &Upstream, image: &Path, at: u64) {
    let mut machine = Machine::new(upstream);
    std::fs::create_dir_all(machine.data_dir()).expect("a directory");
    for name in ["colloquy.db", "colloquy.db-wal"] {
        if image.join(name).exists() {
            std::fs::copy(image.join(name), machine.data_dir().join(name)).expect("a file");
        }
    }
    machine.start().await;
    let api = machine.api();
    let mut conversations: Vec<String> = recording.told.iter().filter_map(|told| conversation_of(told, at)).collect();
    conversations.sort();
    conversations.dedup();
    for conversation in conversations {
        answered(api, &conversation).await;
        settle(api, &conversation).await;
        let sent = recording.sent.iter().filter(|(_, sent)| sent.conversation == conversation);
        // What was acknowledged only after the cut may be there or not.
        let known = |(ended, sent): &(u64, Sent)| {
            let fate = if *ended < at { sent.fate.clone() } else { Fate::Unknown };
            Sent { fate, ..sent.clone() }
        };
        check(&Evidence::gather(api, &conversation, sent.map(known).collect(), Vec::new(), true).await);
    }
    machine.end().await;
}

/// Waits until there is hardly anything left to answer: the queue may be long.
async fn answered(api: Api, conversation: &str) {
    let deadline = tokio::time::Instant::now() + 20 * PATIENCE;
    let mut idle = 0;
    while idle < 3 {
        assert!(tokio::time::Instant::now() < deadline, "the turns do not come to an end");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let busy = api.get(&format!("/api/sessions/{}", dashed(conversation))).await["busy"] == true;
        idle = if busy { 0 } else { idle + 1 };
    }
}

fn conversation_of(told: &Told, at: u64) -> Option<String> {
    match &told.what {
        What::Message { conversation, .. } if told.at < at => Some(conversation.clone()),
        What::Message { .. } | What::TurnEnded { .. } => None,
    }
}

/// The planted faults: a sync too many believed, and a write too many kept.
#[test]
fn a_platter_keeps_what_was_synced_and_nothing_else_for_certain() {
    let entry = |place, act| Entry { began: 0, ended: 0, place, act };
    let write = |offset, byte: u8| entry(Place::Wal, Act::Write { offset, data: vec![byte; 1024] });
    let mut luck = Luck::new(7);
    let mut disk = Platter::default();
    disk.take(&write(0, 1), true);
    disk.take(&entry(Place::Database, Act::Sync), true);
    assert!(disk.certain[1].is_empty(), "another file's sync");
    disk.take(&entry(Place::Wal, Act::Sync), false);
    assert!(disk.certain[1].is_empty(), "a sync that does not count");
    disk.take(&entry(Place::Wal, Act::Sync), true);
    assert_eq!(disk.certain[1], vec![1; 1024]);
    disk.take(&write(512, 2), true);
    let mut found = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let directory = tempfile::tempdir().expect("a directory");
        disk.after_the_cut(None, &mut luck, directory.path());
        let bytes = std::fs::read(directory.path().join("colloquy.db-wal")).expect("a file");
        assert_eq!(bytes[..512], [1; 512]);
        found.insert((bytes[512], bytes[1023], bytes.get(1024).copied()));
    }
    assert_eq!(found.len(), 4, "each sector by itself: {found:?}");
}
