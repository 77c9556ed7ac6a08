//! What was measured, and how it is shown.

use std::fmt::Write as _;
use std::time::Duration;

/// Why a bench could not run, in one line.
pub(crate) type Failure = String;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    what: String,
    unit: &'static str,
    samples: Vec<f64>,
    ratio: Option<f64>,
    goal: Option<Goal>,
}

/// What a figure should be at most.
#[derive(Debug, Clone, Copy)]
enum Goal {
    Median(f64),
    Ratio(f64),
}

impl Row {
    /// A line for samples in `unit`.
    pub(crate) fn new(
        name: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        samples: Vec<f64>,
    ) -> Self {
        Self { name, what: what.into(), unit, samples, ratio: None, goal: None }
    }

    /// The median should be at most this.
    pub(crate) fn at_most(mut self, median: f64) -> Self {
        self.goal = Some(Goal::Median(median));
        self
    }

    /// A ratio beside the median.
    pub(crate) fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = Some(ratio);
        self
    }

    /// A ratio that should be at most `limit`.
    pub(crate) fn ratio_at_most(mut self, ratio: f64, limit: f64) -> Self {
        self.ratio = Some(ratio);
        self.goal = Some(Goal::Ratio(limit));
        self
    }

    fn cells(&self) -> [String; 9] {
        let (goal, reached) = match self.goal {
            None => (String::new(), None),
            Some(Goal::Median(limit)) => {
                (format!("≤ {limit} {}", self.unit), Some(median(&self.samples) <= limit))
            }
            Some(Goal::Ratio(limit)) => {
                let reached = self.ratio.is_some_and(|ratio| ratio <= limit);
                (format!("ratio ≤ {limit:.2}"), Some(reached))
            }
        };
        let reached = match reached {
            None => "",
            Some(true) => "reached",
            Some(false) => "MISSED",
        };
        [
            self.name.to_owned(),
            self.what.clone(),
            number(median(&self.samples)),
            number(percentile(&self.samples, 95)),
            self.unit.to_owned(),
            self.samples.len().to_string(),
            self.ratio.map_or(String::new(), |ratio| format!("{ratio:.3}")),
            goal,
            reached.to_owned(),
        ]
    }
}

/// Two rows for what windlass takes and what the engine takes alone, and one for what is between.
pub(crate) fn against(
    name: &'static str,
    [ours, alone]: [&str; 2],
    samples: [Vec<f64>; 2],
    ratio_max: f64,
    overhead_max_ms: Option<f64>,
) -> Vec<Row> {
    let [our_samples, alone_samples] = samples;
    let ratio = median(&our_samples) / median(&alone_samples);
    // What comes between two medians; the pairs' own differences would add both sides' noise.
    let overhead = median(&our_samples) - median(&alone_samples);
    let mut rows = vec![
        Row::new(name, ours, "ms", our_samples).ratio_at_most(ratio, ratio_max),
        Row::new(name, alone, "ms", alone_samples),
    ];
    if let Some(limit) = overhead_max_ms {
        let what = "between the two medians";
        rows.push(Row::new(name, what, "ms", vec![overhead]).at_most(limit));
    }
    rows
}

/// The middle of the samples.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let sorted = sorted(samples);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

fn percentile(samples: &[f64], percent: usize) -> f64 {
    let sorted = sorted(samples);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        middle if middle >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// The table, with columns that line up.
pub(crate) fn render(rows: &[Row]) -> String {
    let head =
        ["bench", "what", "median", "p95", "unit", "n", "ratio", "goal", ""].map(str::to_owned);
    let lines: Vec<[String; 9]> =
        std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; 9] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            // Numbers stand at the right.
            let numeric = matches!(column, 2 | 3 | 5 | 6);
            let written = if numeric {
                write!(row, "{cell:>width$}  ")
            } else {
                write!(row, "{cell:<width$}  ")
            };
            // Writing to a text cannot fail.
            debug_assert!(written.is_ok());
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}
