//! The table of all neighbours, in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::rounds::{Samples, What};
use super::{Healer, compose, docker_run, windlass};
use crate::table::median;

/// The size that goals are about.
const GOAL_SIZE: usize = 50;

/// What was found.
#[derive(Default)]
pub(super) struct Report {
    pub(super) samples: Samples,
    /// Neighbours that ran, in the order of the table, with their versions.
    pub(super) versions: Vec<(&'static str, String)>,
    /// Neighbours that cannot run here, and why.
    pub(super) absent: Vec<(&'static str, String)>,
    /// Lines of specs.
    pub(super) lines: BTreeMap<(&'static str, usize), usize>,
    pub(super) healers: BTreeMap<&'static str, Healer>,
    /// Who does not know what runs, and makes all anew.
    pub(super) replacers: Vec<&'static str>,
    /// What went wrong.
    pub(super) troubles: Vec<String>,
    pub(super) sizes: Vec<usize>,
    pub(super) rounds: usize,
    /// Where and with what it was measured.
    pub(super) facts: String,
    /// Where the table so far is kept.
    pub(super) file: Option<PathBuf>,
}

impl Report {
    /// Writes what there is to its file, for the case that the run does not come to its end.
    pub(super) fn save(&self) {
        if let Some(path) = &self.file {
            // The run itself does not depend on it.
            let _ = fs::write(path, self.render());
        }
    }

    /// The whole text.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        self.times(&mut text, "First deployment", What::Deploy, true);
        self.times(&mut text, "A second run, nothing changed", What::Again, false);
        self.times(&mut text, "One image changed", What::Change, false);
        self.times(&mut text, "One process killed, until one runs in its place", What::Back, false);
        self.memory(&mut text);
        self.spec_lines(&mut text);
        self.goals(&mut text);
        if !self.troubles.is_empty() {
            text.push_str("What went wrong:\n\n");
            for trouble in &self.troubles {
                line(&mut text, &[format!("- {trouble}")], "");
            }
            text.push('\n');
        }
        text.push_str(&self.facts);
        text.push('\n');
        text
    }

    fn median(&self, name: &'static str, size: usize, what: What) -> Option<f64> {
        self.samples.get(&(name, size, what)).map(|samples| median(samples))
    }

    /// One table: a column for each size, with ratios.
    fn times(&self, text: &mut String, title: &str, what: What, base: bool) {
        let mut head = vec!["".to_owned()];
        for size in &self.sizes {
            head.push(size.to_string());
            if base {
                head.push("÷ run".to_owned());
            }
            head.push("÷ compose".to_owned());
        }
        if what == What::Back {
            head.push("by".to_owned());
        }
        let columns = head.len();
        begin(text, title, &head);
        for (name, _) in &self.versions {
            let mut cells = vec![(*name).to_owned()];
            if what == What::Again && self.replacers.contains(name) {
                cells[0].push_str(" (makes all anew)");
            }
            for &size in &self.sizes {
                let value = self.median(name, size, what);
                cells.push(self.cell(name, size, what));
                if base {
                    cells.push(ratio(value, self.median(docker_run::BASE, size, what)));
                }
                cells.push(ratio(value, self.median(compose::NEW_NAME, size, what)));
            }
            if what == What::Back {
                cells.push(match self.healers.get(name) {
                    Some(Healer::Itself) => "itself".to_owned(),
                    Some(Healer::Engine) => "the engine".to_owned(),
                    Some(Healer::Nobody) | None => "nobody".to_owned(),
                });
            }
            line(text, &cells, "|");
        }
        for (name, why) in &self.absent {
            let mut cells = vec![(*name).to_owned(), format!("cannot run here: {why}")];
            cells.resize(columns, String::new());
            line(text, &cells, "|");
        }
        text.push('\n');
    }

    /// A median, and of how many if some are missing.
    fn cell(&self, name: &'static str, size: usize, what: What) -> String {
        let Some(samples) = self.samples.get(&(name, size, what)) else { return "–".to_owned() };
        let mut cell = shown(what, median(samples));
        if samples.len() < self.rounds {
            let _ = write!(cell, " ({} of {})", samples.len(), self.rounds);
        }
        cell
    }

    fn memory(&self, text: &mut String) {
        let mut head = vec!["".to_owned()];
        for size in &self.sizes {
            head.extend([size.to_string(), "÷ compose".to_owned()]);
        }
        head.push("settled".to_owned());
        begin(text, "Peak memory of the largest process, first deployment", &head);
        for (name, _) in &self.versions {
            let mut cells = vec![(*name).to_owned()];
            for &size in &self.sizes {
                let value = self.median(name, size, What::Peak);
                cells.push(self.cell(name, size, What::Peak));
                cells.push(ratio(value, self.median(compose::NEW_NAME, size, What::Peak)));
            }
            let most = self.sizes.iter().max().copied().unwrap_or_default();
            cells.push(match self.median(name, most, What::Settled) {
                Some(settled) => format!("{} PSS with {most}", shown(What::Settled, settled)),
                None => String::new(),
            });
            line(text, &cells, "|");
        }
        text.push('\n');
    }

    fn spec_lines(&self, text: &mut String) {
        let mut head = vec!["".to_owned()];
        head.extend(self.sizes.iter().map(ToString::to_string));
        head.push("version".to_owned());
        begin(text, "Lines of specs", &head);
        for (name, version) in &self.versions {
            let mut cells = vec![(*name).to_owned()];
            for &size in &self.sizes {
                cells.push(
                    self.lines.get(&(*name, size)).map_or_else(String::new, ToString::to_string),
                );
            }
            cells.push(version.clone());
            line(text, &cells, "|");
        }
        text.push('\n');
    }

    /// Goals, at the size that they are about, or the largest that was measured.
    fn goals(&self, text: &mut String) {
        let most = self.sizes.iter().max().copied().unwrap_or_default();
        let size = if self.sizes.contains(&GOAL_SIZE) { GOAL_SIZE } else { most };
        let head = ["goal", "limit", "measured", ""].map(str::to_owned);
        begin(text, &format!("Goals, with {size}"), &head);
        let of = |name, what| self.median(name, size, what);
        let over = |name, peer, what| Some(of(name, what)? / of(peer, what)?);
        let (run, new) = (docker_run::BASE, compose::NEW_NAME);
        let mut goal = |words: String, limit: f64, unit: &str, value: Option<f64>| {
            let outcome = match value {
                None => "not measured",
                Some(value) if value <= limit => "✔ reached",
                Some(_) => "✘ MISSED",
            };
            let value = value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}{unit}"));
            let limit =
                if unit.is_empty() { format!("{limit:.2}") } else { format!("{limit}{unit}") };
            line(text, &[words, format!("≤ {limit}"), value, outcome.to_owned()], "|");
        };
        for name in [windlass::APPLY, windlass::UP] {
            let deploy = |peer| over(name, peer, What::Deploy);
            goal(format!("first deployment, {name} ÷ `docker run -d`"), 0.60, "", deploy(run));
            goal(format!("first deployment, {name} ÷ compose 2.26"), 0.80, "", deploy(new));
        }
        let alone = of(windlass::APPLY, What::Again);
        goal("`apply` without change, alone".to_owned(), 35.0, " ms", alone);
        let against = over(windlass::APPLY, new, What::Again);
        goal("`apply` without change, alone ÷ compose 2.26".to_owned(), 0.60, "", against);
        let beside = of(windlass::UP, What::Again);
        goal("`apply` without change, beside `up`".to_owned(), 12.0, " ms", beside);
        let round = of(windlass::UP, What::Round);
        goal("a settled round of `up`, CPU time".to_owned(), 1.0, " ms", round);
        for name in [windlass::APPLY, windlass::UP] {
            let peak = over(name, new, What::Peak);
            goal(format!("peak memory, {name} ÷ compose 2.26"), 1.0 / 3.0, "", peak);
        }
        text.push('\n');
    }
}

fn begin(text: &mut String, title: &str, head: &[String]) {
    text.push_str(title);
    text.push_str(":\n\n");
    line(text, head, "|");
    line(text, &vec!["---".to_owned(); head.len()], "|");
}

fn line(text: &mut String, cells: &[String], border: &str) {
    let cells = cells.join(if border.is_empty() { "" } else { " | " });
    text.push_str(&match border {
        "" => format!("{cells}\n"),
        border => format!("{border} {cells} {border}\n"),
    });
}

fn ratio(value: Option<f64>, base: Option<f64>) -> String {
    match (value, base) {
        (Some(value), Some(base)) => format!("{:.2}", value / base),
        (None, _) | (_, None) => "–".to_owned(),
    }
}

/// A value with its unit.
fn shown(what: What, value: f64) -> String {
    match what {
        What::Peak | What::Settled => format!("{value:.1} MiB"),
        What::Round => format!("{value:.2} ms"),
        What::Deploy | What::Again | What::Change | What::Back if value >= 1000.0 => {
            format!("{:.2} s", value / 1000.0)
        }
        What::Deploy | What::Again | What::Change | What::Back => format!("{value:.1} ms"),
    }
}

/// One figure of a line of progress.
pub(super) fn told(what: What, value: f64) -> String {
    let word = match what {
        What::Deploy => "first",
        What::Again => "again",
        What::Change => "changed",
        What::Back => "back",
        What::Peak => "peak",
        What::Settled => "settled",
        What::Round => "round",
    };
    format!("{word} {}", shown(what, value))
}
