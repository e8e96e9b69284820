//! What was measured, beside what it should be.

use serde::Serialize;

/// One measure.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub what: String,
    pub unit: &'static str,
    /// The product's, as the median of the rounds.
    pub colloquy: f64,
    /// The bare pass-through's, in the same rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// The median over the rounds of the product's value by the floor's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
    /// The least and the greatest of the rounds.
    pub range: (f64, f64),
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Row {
    /// A value that was measured in each round.
    #[must_use]
    pub fn new(what: impl Into<String>, unit: &'static str, rounds: &[f64]) -> Self {
        let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self {
            what: what.into(),
            unit,
            colloquy: crate::stats::median(rounds),
            floor: None,
            ratio: None,
            goal: None,
            met: None,
            range: (least, greatest),
            note: None,
        }
    }

    /// What the floor needed in the same rounds.
    #[must_use]
    pub fn beside(mut self, rounds: &[f64], floor: &[f64]) -> Self {
        let ratios: Vec<f64> = rounds.iter().zip(floor).map(|(ours, floor)| ours / floor).collect();
        self.floor = Some(crate::stats::median(floor));
        self.ratio = Some(crate::stats::median(&ratios));
        self
    }

    /// The product's value may be at most this.
    #[must_use]
    pub fn at_most(self, limit: f64) -> Self {
        let goal = format!("≤ {} {}", number(limit), self.unit);
        let met = self.colloquy <= limit;
        self.judged(goal, met)
    }

    /// The product's value may be at most so many times the floor's.
    #[must_use]
    pub fn at_most_times(self, limit: f64) -> Self {
        let met = self.ratio.is_some_and(|ratio| ratio <= limit);
        self.judged(format!("≤ {limit} x"), met)
    }

    /// The product's value may be at most so much above the floor's.
    #[must_use]
    pub fn at_most_above(self, limit: f64) -> Self {
        let met = self.floor.is_some_and(|floor| self.colloquy <= floor + limit);
        let goal = format!("≤ floor + {} {}", number(limit), self.unit);
        self.judged(goal, met)
    }

    #[must_use]
    pub fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    fn judged(mut self, goal: String, met: bool) -> Self {
        self.goal = Some(goal);
        self.met = Some(met);
        self
    }
}

/// The rows as a table in Markdown.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let head = ["what", "floor", "colloquy", "rounds", "ratio", "goal", ""].map(str::to_owned);
    let body = rows.iter().map(|row| {
        let value = |value: f64| format!("{} {}", number(value), row.unit);
        [
            row.note.as_ref().map_or_else(|| row.what.clone(), |note| format!("{} ({note})", row.what)),
            row.floor.map(value).unwrap_or_default(),
            value(row.colloquy),
            format!("{} - {}", number(row.range.0), number(row.range.1)),
            row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            row.goal.clone().unwrap_or_default(),
            row.met.map(|met| if met { "met" } else { "NOT MET" }.to_owned()).unwrap_or_default(),
        ]
    });
    let lines: Vec<_> = std::iter::once(head).chain(body).collect();
    let widths: [usize; 7] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default());
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let cells: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
        if index == 0 {
            let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            out.push_str(&format!("| {} |\n", rule.join(" | ")));
        }
    }
    out
}

/// Three figures that count, more for what is large.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, markdown};

    #[test]
    fn a_goal_is_judged_by_what_it_is_about() {
        let ours = [3.0, 2.0, 100.0];
        let row = Row::new("x", "us", &ours).beside(&ours, &[2.0, 2.0, 2.0]);
        assert_eq!((row.colloquy, row.floor, row.ratio), (3.0, Some(2.0), Some(1.5)));
        assert_eq!(row.clone().at_most(3.0).met, Some(true));
        assert_eq!(row.clone().at_most(2.9).met, Some(false));
        assert_eq!(row.clone().at_most_times(1.5).met, Some(true));
        assert_eq!(row.clone().at_most_times(1.4).met, Some(false));
        assert_eq!(row.clone().at_most_above(1.0).met, Some(true));
        assert_eq!(row.at_most_above(0.9).met, Some(false));
    }

    #[test]
    fn a_table_has_a_line_for_each_row() {
        let rows = [Row::new("one", "us", &[1.0]).at_most(2.0), Row::new("two", "ms", &[3.0]).at_most(2.0)];
        let table = markdown(&rows);
        assert_eq!(table.lines().count(), 4);
        assert!(table.contains("| met") && table.contains("| NOT MET |"), "{table}");
    }
}
