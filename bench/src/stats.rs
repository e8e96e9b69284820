//! Medians and the like.

/// The value below which this share of the values lies; 0 if there are none.
#[must_use]
pub fn quantile(values: &mut [u64], share: f64) -> u64 {
    if values.is_empty() {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
    let index = ((values.len() - 1) as f64 * share).round() as usize;
    *values.select_nth_unstable(index).1
}

/// The middle value, or the mean of the two middle ones; 0 if there are none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get((sorted.len().max(1) - 1) / 2), sorted.get(sorted.len() / 2)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => 0.0,
    }
}

/// Counts and nanoseconds of a run are far below 2^52.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub const fn float(number: u64) -> f64 {
    number as f64
}

/// Microseconds.
#[must_use]
pub fn in_us(ns: u64) -> f64 {
    float(ns) / 1e3
}

#[cfg(test)]
mod tests {
    use super::{median, quantile};

    #[test]
    fn the_middle_is_found() {
        assert_eq!(quantile(&mut [], 0.5), 0);
        assert_eq!(quantile(&mut [5, 1, 3], 0.5), 3);
        let mut hundred: Vec<u64> = (0..=100).rev().collect();
        assert_eq!((quantile(&mut hundred, 0.99), quantile(&mut hundred, 0.0), quantile(&mut hundred, 1.0)), (99, 0, 100));
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }
}
