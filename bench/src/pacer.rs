//! Says when each delta is due. A thread of its own, because the runtime's timer has a grain of a millisecond: 200 turns
//! at 50 deltas/s would come in bursts of ten.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clock::now_ns;

/// A handle on the thread, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct Pacer {
    new: Sender<Beat>,
}

/// One turn's beat.
#[derive(Debug)]
struct Beat {
    due_ns: u64,
    period_ns: u64,
    tick: UnboundedSender<()>,
}

impl Pacer {
    pub fn start() -> std::io::Result<Self> {
        let (new, beats) = channel();
        std::thread::Builder::new().name("pacer".to_owned()).spawn(move || run(&beats))?;
        Ok(Self { new })
    }

    /// Ticks each period until the receiver is dropped; the first tick comes after `phase_ns`.
    #[must_use]
    pub fn beat(&self, period_ns: u64, phase_ns: u64) -> UnboundedReceiver<()> {
        let (tick, ticks) = unbounded_channel();
        // The thread lives as long as this handle.
        let _ = self.new.send(Beat { due_ns: now_ns() + phase_ns, period_ns, tick });
        ticks
    }
}

fn run(new: &Receiver<Beat>) {
    let mut beats: BinaryHeap<Reverse<Beat>> = BinaryHeap::new();
    loop {
        let wait_ns = beats.peek().map_or(u64::MAX, |next| next.0.due_ns.saturating_sub(now_ns()));
        if wait_ns > 0 {
            match new.recv_timeout(Duration::from_nanos(wait_ns)) {
                Ok(beat) => beats.push(Reverse(beat)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            continue;
        }
        if let Some(Reverse(mut beat)) = beats.pop()
            && beat.tick.send(()).is_ok()
        {
            beat.due_ns += beat.period_ns;
            beats.push(Reverse(beat));
        }
    }
}

impl PartialEq for Beat {
    fn eq(&self, other: &Self) -> bool {
        self.due_ns == other.due_ns
    }
}

impl Eq for Beat {}

impl PartialOrd for Beat {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Beat {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due_ns.cmp(&other.due_ns)
    }
}
