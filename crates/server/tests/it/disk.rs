//! A disk that fails on order and writes down what it was told: a small library between the program and the system.

use std::path::PathBuf;

use crate::campaign_support::Machine;
use crate::preload::Library;

/// Bytes of an entry of the log, without the data of a write.
const ENTRY: usize = 40;

static LIBRARY: Library = Library::of(include_str!("preload/disk.c"));

/// The disk below one machine.
pub struct Disk {
    order: PathBuf,
    log: PathBuf,
}

impl Disk {
    /// Puts it below the machine, from its next start on; `None` where that cannot be done. `recording`: writes are logged.
    pub fn below(machine: &mut Machine, recording: bool) -> Option<Self> {
        let library = LIBRARY.path()?;
        let directory = machine.root();
        let disk = Self { order: directory.join("disk-order"), log: directory.join("disk-log") };
        disk.heal();
        machine.set("LD_PRELOAD", library);
        machine.set("DISK_UNDER_TEST_ORDER", &disk.order);
        if recording {
            machine.set("DISK_UNDER_TEST_LOG", &disk.log);
        }
        Some(disk)
    }

    /// The `nth` such call from now on fails, and `times - 1` behind it; for ever if `times` is 0.
    pub fn fail(&self, call: &str, error: &str, nth: usize, times: usize) {
        self.give(&format!("{call} {error} {nth} {times}"));
    }

    pub fn heal(&self) {
        self.give("");
    }

    fn give(&self, order: &str) {
        // In one piece, and with another time than the order before.
        let ahead = self.order.with_extension("new");
        std::fs::write(&ahead, order).expect("a file");
        std::fs::rename(&ahead, &self.order).expect("a file");
    }

    /// What was written and synced so far.
    pub fn log(&self) -> Vec<Entry> {
        read_log(&std::fs::read(&self.log).unwrap_or_default())
    }
}

/// The files of a database that matter after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    Database,
    Wal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Write { offset: usize, data: Vec<u8> },
    Truncate { length: usize },
    Sync,
}

/// One call that succeeded, with its times on the clock that all processes of a machine share, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub began: u64,
    pub ended: u64,
    pub place: Place,
    pub act: Act,
}

fn read_log(bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((head, behind)) = rest.split_at_checked(ENTRY) {
        let word = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let half = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let size = |at: usize| usize::try_from(word(at)).expect("a size");
        let (kind, place) = (half(16), if half(20) == 0 { Place::Database } else { Place::Wal });
        let mut next = behind;
        let act = match kind {
            1 => {
                // The program may have been killed in the middle of an entry.
                let Some((data, behind)) = behind.split_at_checked(size(32)) else { break };
                next = behind;
                Act::Write { offset: size(24), data: data.to_vec() }
            }
            2 => Act::Sync,
            3 => Act::Truncate { length: size(24) },
            other => panic!("an entry of kind {other}"),
        };
        entries.push(Entry { began: word(0), ended: word(8), place, act });
        rest = next;
    }
    entries
}

/// The present time on the clock of the log.
pub fn clock_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).expect("a time") * 1_000_000_000 + u64::try_from(now.tv_nsec).expect("a time")
}
