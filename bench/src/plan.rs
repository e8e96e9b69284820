//! What the upstream is to answer. The plan travels in the words of the message, so that it passes through any proxy.

use std::time::Duration;

use crate::Result;
use crate::record::MAX_RECORDS;

const MARK: &str = "bench-plan:";

/// The answer to one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub deltas: u32,
    /// 0: as fast as they are taken.
    pub deltas_per_s: u32,
}

impl Plan {
    #[must_use]
    pub const fn paced(deltas_per_s: u32, seconds: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a plan is small and positive")]
        let deltas = (deltas_per_s as f64 * seconds) as u32;
        Self { deltas, deltas_per_s }
    }

    #[must_use]
    pub const fn full_rate(deltas: u32) -> Self {
        Self { deltas, deltas_per_s: 0 }
    }

    /// The message that asks for it.
    #[must_use]
    pub fn message(&self) -> String {
        format!("{MARK}{}:{}; Please say something that is worth measuring.", self.deltas, self.deltas_per_s)
    }

    /// Finds the plan of the last message in the body of a request.
    pub fn find(body: &[u8]) -> Result<Self> {
        let body = std::str::from_utf8(body)?;
        let start = body.rfind(MARK).ok_or("the request has no plan")?;
        let plan = body[start + MARK.len()..].split(';').next().unwrap_or_default();
        let (deltas, rate) = plan.split_once(':').ok_or("the plan has no rate")?;
        let plan = Self { deltas: deltas.parse()?, deltas_per_s: rate.parse()? };
        if plan.deltas > MAX_RECORDS {
            return Err(format!("at most {MAX_RECORDS} deltas can be numbered").into());
        }
        Ok(plan)
    }

    /// How long the answer takes when nothing holds it up.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self.deltas_per_s {
            0 => Duration::ZERO,
            rate => Duration::from_secs(self.deltas.into()) / rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn the_last_plan_counts() {
        let (first, last) = (Plan::full_rate(5), Plan::paced(50, 4.0));
        let body = format!(r#"[{{"text":"{}"}},{{"text":"{}"}}]"#, first.message(), last.message());
        assert_eq!(Plan::find(body.as_bytes()).expect("a plan"), last);
        assert_eq!(last.deltas, 200);
        assert!(Plan::find(b"Hello").is_err());
    }
}
