//! How many frames one socket may send.

use std::time::Duration;

use tokio::time::Instant;

/// A client may send faster than the rate for so long before its frames are refused.
const BURST: Duration = Duration::from_secs(2);

/// A client that was over the rate for so long, refusals or not, is cut off.
const PATIENCE: Duration = Duration::from_secs(10);

/// A token bucket that holds the frames of one [`BURST`].
#[derive(Debug)]
pub(crate) struct Rate {
    /// Frames per second; 0 is no limit.
    per_second: u32,
    tokens: f64,
    filled_at: Instant,
    /// The first and the last refusal of a row of refusals.
    refusing: Option<(Instant, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Taken,
    Refused { retry_after_ms: u64 },
    CutOff,
}

impl Rate {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, tokens: capacity(per_second), filled_at: now, refusing: None }
    }

    /// Asks for one more frame.
    pub(crate) fn take(&mut self, now: Instant) -> Verdict {
        if self.per_second == 0 {
            return Verdict::Taken;
        }
        let rate = f64::from(self.per_second);
        let earned = now.duration_since(self.filled_at).as_secs_f64() * rate;
        self.tokens = (self.tokens + earned).min(capacity(self.per_second));
        self.filled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Verdict::Taken;
        }
        self.refuse(now, Duration::from_secs_f64((1.0 - self.tokens) / rate))
    }

    fn refuse(&mut self, now: Instant, wait: Duration) -> Verdict {
        let since = match self.refusing {
            Some((since, last)) if now.duration_since(last) < BURST => since,
            Some(_) | None => now,
        };
        self.refusing = Some((since, now));
        if now.duration_since(since) + BURST >= PATIENCE {
            return Verdict::CutOff;
        }
        Verdict::Refused { retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) + 1 }
    }
}

fn capacity(per_second: u32) -> f64 {
    f64::from(per_second) * BURST.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Rate, Verdict};

    /// What becomes of frames that come `per_second` for `seconds`: when the first was refused, and when it was cut off.
    fn send(rate: &mut Rate, start: Instant, per_second: u32, seconds: u32) -> (Option<f64>, Option<f64>) {
        let mut refused = None;
        for frame in 0..per_second * seconds {
            let after = Duration::from_secs(1) * frame / per_second;
            match rate.take(start + after) {
                Verdict::Taken => {}
                Verdict::Refused { retry_after_ms } => {
                    assert!((1..=1000).contains(&retry_after_ms));
                    refused.get_or_insert(after.as_secs_f64());
                }
                Verdict::CutOff => return (refused, Some(after.as_secs_f64())),
            }
        }
        (refused, None)
    }

    #[test]
    fn the_rate_itself_is_never_too_much() {
        let now = Instant::now();
        assert_eq!(send(&mut Rate::new(50, now), now, 50, 30), (None, None));
        assert_eq!(send(&mut Rate::new(0, now), now, 5000, 20), (None, None));
    }

    #[test]
    fn twice_the_rate_is_refused_after_two_seconds_and_cut_off_after_ten() {
        let now = Instant::now();
        let (refused, cut) = send(&mut Rate::new(50, now), now, 100, 12);
        assert!(refused.is_some_and(|at| (1.9..2.1).contains(&at)), "{refused:?}");
        assert!(cut.is_some_and(|at| (9.9..10.1).contains(&at)), "{cut:?}");
    }

    #[test]
    fn who_slows_down_is_forgiven() {
        let now = Instant::now();
        let mut rate = Rate::new(50, now);
        assert!(send(&mut rate, now, 100, 5).0.is_some());
        let later = now + Duration::from_secs(8);
        let (refused, cut) = send(&mut rate, later, 100, 5);
        assert!(refused.is_some() && cut.is_none(), "{refused:?} {cut:?}");
    }
}
