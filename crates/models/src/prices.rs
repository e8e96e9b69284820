//! What a request costs.

use domain::Usage;

const TOKENS_PER_PRICE: f64 = 1_000_000.0;

/// US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    pub input: f64,
    pub output: f64,
    pub cache_read: f64,
    pub cache_write: f64,
}

impl Prices {
    /// US dollars.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
    pub fn cost(&self, usage: &Usage) -> f64 {
        let dollars = usage.input as f64 * self.input
            + usage.output as f64 * self.output
            + usage.cache_read as f64 * self.cache_read
            + usage.cache_write as f64 * self.cache_write;
        dollars / TOKENS_PER_PRICE
    }
}

#[cfg(test)]
mod tests {
    use domain::Usage;

    use super::Prices;

    #[test]
    fn a_cost_counts_every_kind_of_token() {
        let prices = Prices { input: 3.0, output: 15.0, cache_read: 0.3, cache_write: 3.75 };
        let usage = Usage { input: 1_000_000, output: 100_000, cache_read: 2_000_000, cache_write: 1_000_000 };
        assert!((prices.cost(&usage) - 8.85).abs() < 1e-9);
    }
}
