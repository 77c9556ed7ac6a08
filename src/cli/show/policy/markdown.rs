//! Text with a table, for a comment or a summary on a code host.

use crate::cli::show::escape;
use std::fmt::Write as _;

use super::Report;

/// The report as text.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = format!("# windlass {}: {}\n\n", report.verb, report.verdict.as_str());
    for (name, value) in &report.summary {
        let _ = writeln!(text, "- {name}: {}", escaped(value));
    }
    if report.shown().next().is_some() {
        text.push_str("\n| result | policy | level | object | place | what |\n");
        text.push_str("|---|---|---|---|---|---|\n");
    }
    for row in report.shown() {
        let waiver = row.waiver.as_ref().map(|waiver| format!(" (waiver {})", waiver.words()));
        let cells = [
            row.status.as_str().to_owned(),
            row.rule.clone(),
            row.level.clone().unwrap_or_default(),
            row.object.clone(),
            row.where_().unwrap_or_default(),
            format!("{}{}", row.all(), waiver.unwrap_or_default()),
        ];
        text.push('|');
        for cell in cells {
            let _ = write!(text, " {} |", escaped(&cell));
        }
        text.push('\n');
    }
    if !report.asked.is_empty() {
        text.push_str(
            "\n| binding | policy | level | asked | passed | found | waived | errors |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|---|\n");
    }
    for asked in &report.asked {
        let count = &asked.count;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            escaped(&asked.binding),
            escaped(&asked.policy),
            asked.level,
            count.asked,
            count.passed,
            count.found,
            count.waived,
            count.errors
        );
    }
    if !report.tested.is_empty() {
        text.push_str("\n| policy | cases | failed | ends | statements |\n|---|---|---|---|---|\n");
    }
    for tested in &report.tested {
        let statements = tested.statements.map(|reached| {
            format!("{} of {}, {} %", reached.reached, reached.all, reached.percent())
        });
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            escaped(&tested.policy),
            tested.cases,
            tested.failed,
            tested.ends.join(" "),
            statements.unwrap_or_default()
        );
    }
    text
}

/// What would be read as markup stands as it is, and a mention in a comment mentions nobody.
fn escaped(text: &str) -> String {
    escape::markdown(text, "_@#")
}
