//! The body of one answer, as the Messages API streams it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::clock::now_ns;
use crate::pacer::Pacer;
use crate::plan::Plan;
use crate::record;

const HEAD: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_bench","type":"message","role":"assistant","content":[],"model":"bench","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type":"ping"}

"#;
const DELTA_START: &str = r#"event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""#;
const DELTA_END: &str = "\"}}\n\n";
const TAIL: &str = r#"event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":100}}

event: message_stop
data: {"type":"message_stop"}

"#;

/// Gives the head, each delta and the tail as frames of their own, as a provider sends them.
#[derive(Debug)]
pub struct Answer {
    plan: Plan,
    /// The first delta comes at once and is no tick.
    ticks: Option<UnboundedReceiver<()>>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Head,
    Delta(u32),
    Tail,
    End,
}

impl Answer {
    pub fn new(plan: Plan, pacer: &Pacer) -> Self {
        let ticks = (plan.deltas_per_s > 0).then(|| {
            let period_ns = 1_000_000_000 / u64::from(plan.deltas_per_s);
            pacer.beat(period_ns, phase_ns(period_ns))
        });
        Self { plan, ticks, stage: Stage::Head }
    }

    const fn after(&self, delta: u32) -> Stage {
        if delta < self.plan.deltas { Stage::Delta(delta) } else { Stage::Tail }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (bytes, stage) = match self.stage {
            Stage::Head => (Bytes::from_static(HEAD.as_bytes()), self.after(0)),
            Stage::Delta(seq) => {
                if let Some(ticks) = self.ticks.as_mut().filter(|_| seq > 0) {
                    ready!(ticks.poll_recv(cx));
                }
                (delta(seq), self.after(seq + 1))
            }
            Stage::Tail => (Bytes::from_static(TAIL.as_bytes()), Stage::End),
            Stage::End => return Poll::Ready(None),
        };
        self.stage = stage;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

fn delta(seq: u32) -> Bytes {
    let mut event = Vec::with_capacity(DELTA_START.len() + record::RECORD_BYTES + DELTA_END.len());
    event.extend_from_slice(DELTA_START.as_bytes());
    record::write(&mut event, seq, now_ns());
    event.extend_from_slice(DELTA_END.as_bytes());
    event.into()
}

/// Where in the period a turn's ticks lie: spread evenly, however many turns there are, by steps of the golden ratio.
fn phase_ns(period_ns: u64) -> u64 {
    static TURNS: AtomicU64 = AtomicU64::new(0);
    let step = TURNS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9) & 0xffff_ffff;
    (period_ns * step) >> 32
}
