//! For a terminal or a pipe.

use super::{Asked, Report, Row, Status, Tested};
use crate::cli::show::table::{Table, cell};
use crate::cli::show::words::count;
use crate::cli::show::{Ink, Style};

/// The report as text; with `all` rows that passed stand there too.
#[must_use]
pub fn render(report: &Report, style: &Style, all: bool) -> String {
    let mut text = String::new();
    for row in report.rows.iter().filter(|row| all || row.status != Status::Passed) {
        text.push_str(&of_row(row, style));
    }
    let is_more = !report.asked.is_empty() || !report.tested.is_empty();
    if is_more && !text.is_empty() {
        text.push('\n');
    }
    if !report.asked.is_empty() {
        text.push_str(&asked(&report.asked).render(style));
    }
    if !report.tested.is_empty() {
        text.push_str(&tested(&report.tested).render(style));
    }
    text
}

/// The last line.
#[must_use]
pub fn verdict(report: &Report) -> String {
    let counts = Status::ALL.iter().filter_map(|status| match report.count(*status) {
        0 => None,
        count => Some(format!("{count} {}", status.as_str())),
    });
    let counts: Vec<String> = counts.collect();
    let counts = if counts.is_empty() { "nothing was asked".to_owned() } else { counts.join(", ") };
    let of = report.summary.iter().map(|(name, value)| format!("{name} {value}"));
    let of: Vec<String> = of.collect();
    format!("{}: {counts} ({})", report.verdict.as_str(), of.join(", "))
}

fn of_row(row: &Row, style: &Style) -> String {
    let ink = match row.status {
        Status::Error | Status::Denied => Ink::Bad,
        Status::Warned => Ink::Odd,
        Status::Waived | Status::Noted => Ink::Dim,
        Status::Passed => Ink::Good,
    };
    let word = style.paint(ink, row.status.as_str());
    let place = row.where_().map(|place| format!("{place} ")).unwrap_or_default();
    let level = row.level.as_ref().map(|level| format!(" {level}")).unwrap_or_default();
    let head = format!("{}{level}, {}", row.rule, row.object);
    let mut text = format!("{}{word} {}\n", plain(&place), plain(&head));
    if row.status == Status::Passed {
        return text;
    }
    let mut line = |line: &str| text.push_str(&format!("    {}\n", plain(line)));
    line(&row.found());
    if let Some(want) = &row.want {
        line(&format!("allowed: {want}"));
    }
    if let Some(fix) = &row.fix {
        line(&format!("fix: {fix}"));
    }
    if let Some(waiver) = &row.waiver {
        line(&format!("waiver {}", waiver.words()));
    }
    text
}

/// What was declared may hold signs that a terminal obeys.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn asked(asked: &[Asked]) -> Table {
    let heads =
        ["BINDING", "POLICY", "LEVEL", "ASKED", "PASSED", "FOUND", "WAIVED", "ERRORS", "NOTE"];
    let mut table = Table::with_heads(&heads);
    for Asked { binding, policy, level, count, elsewhere } in asked {
        let note = match elsewhere {
            Some(elsewhere) => elsewhere.as_str(),
            None if count.asked == 0 => "nothing matched",
            None => "",
        };
        let ink = if count.errors > 0 { Ink::Bad } else { Ink::Plain };
        table.row(vec![
            binding.as_str().into(),
            policy.as_str().into(),
            level.as_str().into(),
            count.asked.to_string().into(),
            count.passed.to_string().into(),
            count.found.to_string().into(),
            count.waived.to_string().into(),
            cell(ink, count.errors.to_string()),
            cell(Ink::Dim, note),
        ]);
    }
    table
}

fn tested(tested: &[Tested]) -> Table {
    let is_counted = tested.iter().any(|one| one.statements.is_some());
    let mut heads = vec!["POLICY", "CASES", "FAILED", "ENDS"];
    if is_counted {
        heads.push("STATEMENTS");
    }
    let mut table = Table::with_heads(&heads);
    for Tested { policy, cases, failed, ends, statements } in tested {
        let ink = if *failed > 0 { Ink::Bad } else { Ink::Plain };
        let mut row = vec![
            policy.as_str().into(),
            cases.to_string().into(),
            cell(ink, failed.to_string()),
            ends.join(" ").into(),
        ];
        row.extend(statements.map(|reached| {
            format!("{} of {}, {} %", reached.reached, reached.all, reached.percent()).into()
        }));
        table.row(row);
    }
    table
}

/// How many of what: `3 objects`.
#[must_use]
pub fn counted(number: usize, noun: &str) -> String {
    count(number, noun)
}
